"""Bit reversal: sites far apart first, the gaps halved again and again.

van der Corput's sequence; on a grid, of the interleaved bits of row and column.
"""

import numpy as np

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3))]


def make(shape):
  """By the bits of the place, the last one first."""
  return ordering.fixed(ordering.by_keys(shape, _keys))


def _keys(row, column, H, W):
  bits = int(max(H, W) - 1).bit_length()
  code = np.zeros(row.shape, np.int64)
  for bit in range(bits):
    last = 2 * (bits - 1 - bit)
    code |= ((row >> bit) & 1).astype(np.int64) << (last + 1)
    code |= ((column >> bit) & 1).astype(np.int64) << last
  return (code,)
