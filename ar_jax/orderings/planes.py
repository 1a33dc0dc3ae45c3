"""Plane by plane: all sites of one channel, then those of the next."""

import numpy as np

from ar_jax import ordering, registry

TINY = [dict(shape=(5,)), dict(shape=(2, 1, 3), of=dict(name="snake"))]


def make(shape, *, of=None):
  """Sub-pixels as sites, one plane after the other.

  Other families visit the sub-pixels of a pixel one after the other.

  Args:
    shape: (H, W, S); others are of one plane.
    of: section of the order within each plane; None: raster.
  """
  H, W, S = ordering.grid(shape)
  section = dict(name="raster") if of is None else of
  made = registry.build("orderings", section, shape[:2])
  pixel_P = ordering.only(made, section["name"])
  return ordering.fixed((pixel_P * S + np.arange(S)[:, None]).reshape(-1))
