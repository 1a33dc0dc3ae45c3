"""Reverse order: the raster read from its end (text right to left)."""

import numpy as np

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3))]


def make(shape):
  """Site L - 1 - t at step t."""
  return ordering.fixed(np.arange(np.prod(shape))[::-1])
