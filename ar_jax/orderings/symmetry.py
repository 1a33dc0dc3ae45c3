"""The eight raster orders: by rows or by columns, from any corner."""

from ar_jax import ordering

TINY = [
  dict(shape=(5,), leftward=True),
  dict(shape=(2, 3), leftward=True),
  dict(shape=(2, 3), by_columns=True, upward=True),
]


def make(shape, *, by_columns=False, upward=False, leftward=False):
  """One of the eight.

  Args:
    shape: sites; sub-pixels, a third axis, keep their order.
    by_columns: along columns and not along rows.
    upward: from the last row to the first.
    leftward: from the last column to the first.
  """

  def keys(row, column, H, W):
    down = -row if upward else row
    right = -column if leftward else column
    return (right, down) if by_columns else (down, right)

  return ordering.fixed(ordering.by_keys(shape, keys))
