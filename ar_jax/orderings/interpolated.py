"""An order between two others, at a requested Kendall distance.

As the "closer" permutations of Kim et al. 2025, with the distance exact.
"""

import numpy as np

from ar_jax import order_statistics, ordering, registry

TINY = [
  dict(shape=(5,), share=0.5),
  dict(shape=(2, 3), share=0.3, seed=1),
]


def make(shape, *, share, start=None, end=None, seed=0):
  """The order of `share` of the way from one order to the other.

  Random pairs of successive sites that the end visits the other way round are
  swapped: each swap is one pair nearer. So it lies on a shortest path, and
  differs from the start in exactly round(share * d) of the d pairs in which
  the two ends differ.

  Args:
    shape: sites.
    share: 0 is the start, 1 the end.
    start: section of an order; None: raster.
    end: section of an order; None: random by the seed.
    seed: of the swaps.
  Raises:
    ValueError: a share outside [0, 1].
  """
  if not 0 <= share <= 1:
    raise ValueError(f"share={share}: from 0 (the start) to 1 (the end)")
  start = dict(name="raster") if start is None else start
  end = dict(name="random", seed=seed) if end is None else end
  start_L, end_L = (
    ordering.only(registry.build("orderings", s, shape), s["name"])
    for s in (start, end)
  )
  swaps = round(share * order_statistics.discordant(start_L, end_L))
  return ordering.fixed(_swapped(start_L, end_L, swaps, seed))


def _swapped(start_L, end_L, swaps, seed):
  rng = np.random.default_rng(seed)
  key_L = np.argsort(end_L)[start_L]  # sorted, it is the end
  site_L = np.array(start_L)
  number = 0
  while swaps:
    number += 1
    # All pairs (t, t + 1) of one parity at once: they do not overlap.
    t = np.arange(number % 2, len(site_L) - 1, 2)
    t = t[(key_L[t] > key_L[t + 1]) & (rng.random(len(t)) < 0.5)]
    t = rng.permutation(t)[:swaps]
    for a in (key_L, site_L):
      a[t], a[t + 1] = a[t + 1], a[t]
    swaps -= len(t)
  return site_L
