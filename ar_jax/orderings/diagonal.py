"""Diagonal order: wavefronts from the first corner to the last."""

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3))]


def make(shape):
  """By row + column; down each of the diagonals."""
  return ordering.fixed(ordering.by_keys(shape, _keys))


def _keys(row, column, H, W):
  return row + column, row
