"""What an order is like, before any network has seen it.

Orders are int [L], `order[t] = site`; all is numpy.
"""

import numpy as np

_PAIRS = 2**24  # comparisons that are held at once


def jumps(order_L, shape):
  """Euclidean distance between sites of successive steps, float [L - 1]."""
  at_LA = np.stack(np.unravel_index(order_L, shape), -1)
  return np.linalg.norm(np.diff(at_LA, axis=0), axis=-1)


def known_neighbors(order_L, shape, radius=1):
  """How many sites near each one are known when it is generated: int [L].

  Args:
    order_L: the order.
    shape: of the sites, one number for each axis.
    radius: r; near are the (2 r + 1)^axes - 1 sites of a window.
  Returns:
    In data order.
  """
  rank_L = np.argsort(order_L)
  L = rank_L.size
  padded = np.pad(rank_L.reshape(shape), radius, constant_values=L)
  count_L = np.zeros(L, int)
  for offset in np.ndindex(*(2 * radius + 1,) * len(shape)):
    near = padded[
      tuple(slice(o, o + n) for o, n in zip(offset, shape, strict=True))
    ]
    count_L += near.reshape(-1) < rank_L
  return count_L


def discordant(order_L, other_L):
  """The number of pairs of sites that two orders visit the other way round.

  Their Kendall distance, of L (L - 1) / 2 at most.
  """
  rank_L = np.argsort(other_L)[order_L]
  L, total = rank_L.size, 0
  rows = max(1, _PAIRS // L)
  for start in range(0, L, rows):
    some = rank_L[start : start + rows, None] > rank_L[None, start:]
    total += int(np.triu(some).sum())
  return total


def kendall_tau(order_L, other_L):
  """Kendall's tau of the ranks under two orders: 1 the same, -1 reversed."""
  pairs = len(order_L) * (len(order_L) - 1) / 2
  if not pairs:
    return 1.0
  return 1 - 2 * discordant(order_L, other_L) / pairs


def autocorrelation(x_NL, order_L, lags):
  """Correlation of values that lie `lag` steps apart, float [len(lags)].

  Over all items and steps, about their common mean: so it sees what the
  sites have in common, and what each one has by itself.

  Args:
    x_NL: items in data order.
    order_L: the order.
    lags: ints from 0 to L - 1.
  """
  centered_NL = np.asarray(x_NL, np.float64)[:, order_L]
  centered_NL = centered_NL - centered_NL.mean()
  variance = (centered_NL**2).mean()
  if not variance:
    return np.full(len(lags), np.nan)
  L = len(order_L)
  products = [
    (centered_NL[:, : L - k] * centered_NL[:, k:]).mean() for k in lags
  ]
  return np.array(products) / variance


def summary(order_L, shape, radius=1):
  """Figures of one order, by name.

  Known neighbors are given as quantiles over sites, 10, 50 and 90 %: their
  mean is that of every order, for of two near sites one is known to the other.
  `alone` is the share of sites with none.
  """
  jump = jumps(order_L, shape)
  known_L = known_neighbors(order_L, shape, radius)
  raster_L = np.arange(len(order_L))
  return dict(
    mean_jump=float(jump.mean()) if len(jump) else 0.0,
    largest_jump=float(jump.max()) if len(jump) else 0.0,
    known_neighbors=np.quantile(known_L, [0.1, 0.5, 0.9]).tolist(),
    alone=float((known_L == 0).mean()),
    kendall_tau=kendall_tau(order_L, raster_L),
  )
