"""Column order: down each column, from the first one on."""

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3))]


def make(shape):
  """Sites by column, then by row; a sequence is one row."""
  return ordering.fixed(ordering.by_keys(shape, _keys))


def _keys(row, column, H, W):
  return column, row
