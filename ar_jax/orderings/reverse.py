"""Reverse order: the raster read from its end (text right to left)."""

import numpy as np

from ar_jax.types import Ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3))]


def make(shape):
  """Site L - 1 - t at step t."""
  length = int(np.prod(shape))
  order_1L = np.arange(length, dtype=np.int32)[None, ::-1].copy()
  return Ordering(order_1L, lambda key_B: order_1L)
