"""Spiral order: around the edge and inwards, or from the middle outwards."""

import numpy as np

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3)), dict(shape=(3, 2), out=True)]


def make(shape, *, out=False):
  """Clockwise from the first corner; `out`: the same path from its end."""

  def order_of(H, W):
    row, column = np.indices((H, W)).reshape(2, -1)
    order_P = np.lexsort(_keys(row, column, H, W)[::-1])
    return order_P[::-1] if out else order_P

  return ordering.fixed(ordering.over_pixels(shape, order_of))


def _keys(row, column, H, W):
  """(ring, place on the ring) of each pixel."""
  ring = np.minimum.reduce([row, column, H - 1 - row, W - 1 - column])
  down, right = row - ring, column - ring
  h, w = H - 1 - 2 * ring, W - 1 - 2 * ring  # steps along a side
  place = np.select(
    [down == 0, right == w, down == h],
    [right, w + down, 2 * w + h - right],
    2 * w + 2 * h - down,
  )
  return ring, place
