"""Center-out order: by the distance from the middle."""

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3))]


def make(shape, *, inward=False):
  """Euclidean distance, ties as in the raster; `inward`: the far ones first."""

  def keys(row, column, H, W):
    distance = (2 * row - (H - 1)) ** 2 + (2 * column - (W - 1)) ** 2
    return (-distance if inward else distance, row, column)

  return ordering.fixed(ordering.by_keys(shape, keys))
