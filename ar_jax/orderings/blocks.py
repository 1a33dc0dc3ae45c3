"""Blocks in one order, the pixels of a block in another."""

import numpy as np

from ar_jax import ordering, registry

TINY = [
  dict(shape=(5,), size=(2, 2)),
  dict(shape=(3, 3), size=(2, 2), outer=dict(name="snake")),
]


def make(shape, *, size, outer=None, inner=None):
  """Blocks of a grid, smaller ones at its end where the size does not divide.

  Args:
    shape: sites; a sequence is a grid of one row.
    size: (h, w) of a block, in pixels.
    outer: section of the order of blocks; None: raster.
    inner: section of the order within each; None: raster.
  Raises:
    ValueError: a size below 1, or a section that stands for several orders.
  """
  if len(size) != 2 or min(size) < 1:
    raise ValueError(f"size={tuple(size)}: two numbers, 1 or more")

  def order_of(H, W):
    site = np.arange(H * W).reshape(H, W)
    h, w = size
    rows, columns = -(-H // h), -(-W // w)
    parts = []
    for block in _one(outer, (rows, columns)):
      i, j = divmod(int(block), columns)
      part = site[i * h : (i + 1) * h, j * w : (j + 1) * w]
      parts.append(part.reshape(-1)[_one(inner, part.shape)])
    return np.concatenate(parts)

  return ordering.fixed(ordering.over_pixels(shape, order_of))


def _one(section, shape):
  section = dict(name="raster") if section is None else section
  made = registry.build("orderings", section, shape)
  return ordering.only(made, section["name"])
