"""Snake order: along the rows to and fro, always to a neighbor.

Also called the S-curve (Jain et al. 2020) or boustrophedon.
"""

import numpy as np

from ar_jax import ordering

TINY = [
  dict(shape=(5,)),
  dict(shape=(2, 3)),
  dict(shape=(3, 2), by_columns=True),
]


def make(shape, *, by_columns=False):
  """Every second line backwards; by rows, or by columns."""

  def keys(row, column, H, W):
    line, along = (column, row) if by_columns else (row, column)
    return line, np.where(line % 2, -along, along)

  return ordering.fixed(ordering.by_keys(shape, keys))
