"""Z order of a grid of any size: by the interleaved bits of row and column.

Morton 1966.
"""

import numpy as np

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(3, 2))]


def make(shape):
  """Quadrants of quadrants; codes outside the grid are left out."""
  return ordering.fixed(ordering.by_keys(shape, _keys))


def _keys(row, column, H, W):
  return (interleaved(row, column),)


def interleaved(row, column):
  """The bits of two numbers below 2^31 in turn, the row's first: int64."""
  code = np.zeros(row.shape, np.int64)
  for bit in range(int(max(row.max(), column.max())).bit_length()):
    code |= ((column >> bit) & 1).astype(np.int64) << (2 * bit)
    code |= ((row >> bit) & 1).astype(np.int64) << (2 * bit + 1)
  return code
