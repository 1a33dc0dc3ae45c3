"""What of a window around each site is known, in any order (Jain et al. 2020).

Sites are (H, W, S): S sub-pixels of a pixel. The window of a site is the k x k
pixels around it, each with all its sub-pixels.
"""

import jax.numpy as jnp
import numpy as np


def constant(order_L, grid, k):
  """bool [k, k, S, S], [.., s, c]: sub-pixel s there comes before c here.

  None where that is not the same for all sites: by an order that is not one
  of the raster's symmetries.

  Args:
    order_L: int [L], numpy.
    grid: (H, W, S).
    k: odd.
  """
  rank = np.empty(len(order_L), int)
  rank[order_L] = np.arange(len(order_L))
  rank_HWS = rank.reshape(grid)
  window = _windows(rank_HWS[None], k, -1, np)[0]  # [H, W, k, k, S]
  inside = (window >= 0)[..., None]
  before = window[..., None] < rank_HWS[:, :, None, None, None]
  first = (before & inside).any((0, 1))
  never = (before | ~inside).all((0, 1))  # also beyond a small grid's edge
  return first if (first == (never & inside.any((0, 1)))).all() else None


def known(rank_BHWS, k, own):
  """bool [1|B, H, W, k * k, S, S]: what comes before each sub-pixel.

  Args:
    rank_BHWS: int32 [1|B, H, W, S], the step of each site.
    k: odd.
    own: whether a site knows itself: at all layers but the first.
  """
  L = rank_BHWS[0].size
  window = _windows(rank_BHWS, k, L, jnp)
  window = window.reshape(*rank_BHWS.shape[:3], k * k, -1, 1)
  here = rank_BHWS[:, :, :, None, None]
  return window <= here if own else window < here


def steps(order_BL, rank_BHWS, k, own, xp=jnp):
  """int32 [1|B, L, k * k * S]: the steps that step t has known in its window.

  L where there is none. Arguments as in `known`; order_BL int32 [1|B, L];
  xp: numpy, or jax.numpy.
  """
  L, S = order_BL.shape[1], rank_BHWS.shape[3]
  window = _windows(rank_BHWS, k, L, xp)
  window = window.reshape(-1, L // S, k * k * S)
  at = xp.take_along_axis(window, order_BL[..., None] // S, 1)
  t = xp.arange(L)[None, :, None]
  return xp.where(at <= t if own else at < t, at, L).astype(xp.int32)


def patches(a_BHWSD, k):
  """[B, H, W, k * k, S, D]: the windows of all pixels, zero beyond the edge."""
  window = _windows(a_BHWSD, k, 0, jnp)
  return window.reshape(*a_BHWSD.shape[:3], k * k, *a_BHWSD.shape[3:])


def _windows(a, k, edge, xp):
  """[B, H, W, ...] to [B, H, W, k, k, ...]; `edge` beyond the grid."""
  r, (H, W) = k // 2, a.shape[1:3]
  pad = ((0, 0), (r, r), (r, r)) + ((0, 0),) * (a.ndim - 3)
  a = xp.pad(a, pad, constant_values=edge)
  rows = [
    xp.stack([a[:, i : i + H, j : j + W] for j in range(k)], 3)
    for i in range(k)
  ]
  return xp.stack(rows, 3)
