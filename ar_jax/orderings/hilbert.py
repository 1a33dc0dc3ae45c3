"""Hilbert order of a grid of any size: a path that stays near where it was.

Hilbert 1891, for rectangles by halving (after Červený's generalization). Each
step goes to a neighbor; on some grids with an odd side one goes to a diagonal
one.
"""

import numpy as np

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3))]


def make(shape):
  """From the first corner on; where it can, to the end of the longer side."""
  return ordering.fixed(ordering.over_pixels(shape, _order))


def _order(H, W):
  down, right = np.array([1, 0]), np.array([0, 1])
  long, short = (W * right, H * down) if W >= H else (H * down, W * right)
  at_PA = np.concatenate(list(_walk(np.zeros(2, int), long, short)))
  return at_PA[:, 0] * W + at_PA[:, 1]


def _walk(at, along, across):
  """Visits the rectangle that two vectors span, from `at` to at + along - 1.

  Args:
    at: (row, column) of the corner it begins at.
    along: vector of the side it ends at the other end of.
    across: vector of the other side.
  Yields:
    int [n, 2], sites in turn.
  """
  w, h = abs(along).sum(), abs(across).sum()
  ahead, aside = np.sign(along), np.sign(across)
  if h == 1:
    yield at + ahead * np.arange(w)[:, None]
    return
  if w == 1:
    yield at + aside * np.arange(h)[:, None]
    return
  if 2 * w > 3 * h:  # two of them, one after the other
    part = ahead * _even(w // 2, w)
    yield from _walk(at, part, across)
    yield from _walk(at + part, along - part, across)
    return
  part, half = aside * _even(h // 2, h), ahead * (w // 2)
  yield from _walk(at, part, half)
  yield from _walk(at + part, along, across - part)
  corner = at + (along - ahead) + (part - aside)
  yield from _walk(corner, -part, half - along)


def _even(part, whole):
  """The part of a side, made even where it can: else a step jumps."""
  return part + 1 if part % 2 and whole > 2 else part
