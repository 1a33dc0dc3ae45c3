"""Which pixels a pixel can depend on, followed through the layers.

An array is bool [H, W, H, W]: of each pixel, those it depends on.
"""

import numpy as np


def own(height, width):
  """Each pixel depends on itself."""
  return np.eye(height * width, dtype=bool).reshape((height, width) * 2)


def moved(seen, rows, columns):
  """What the pixel that many rows below and columns to the right depends on.

  Nothing where that is beyond the edge.
  """
  result = np.zeros_like(seen)
  by = (rows, columns)
  sizes = list(zip(by, seen.shape[:2], strict=True))
  if all(abs(n) < size for n, size in sizes):
    at = tuple(slice(max(0, -n), size - max(0, n)) for n, size in sizes)
    of = tuple(slice(max(0, n), size + min(0, n)) for n, size in sizes)
    result[at] = seen[of]
  return result


def union(seen, offsets):
  """What a kernel of these (rows, columns) reads."""
  result = np.zeros_like(seen)
  for rows, columns in offsets:
    result |= moved(seen, rows, columns)
  return result


def sites(seen, subpixels):
  """bool [L, L] of sites, in raster order of sub-pixels; None: all before.

  Each sub-pixel depends on all of the pixels, and on those before it.
  """
  H, W = seen.shape[:2]
  S = subpixels
  every = np.ones((S, S), bool)
  seen_LL = np.kron(seen.reshape(H * W, H * W), every)
  seen_LL |= np.kron(np.eye(H * W, dtype=bool), np.tri(S, k=-1, dtype=bool))
  before = np.tri(len(seen_LL), k=-1, dtype=bool)
  return None if np.array_equal(seen_LL, before) else seen_LL
