"""One random order, fixed by a seed."""

import numpy as np

from ar_jax import ordering

TINY = [dict(shape=(5,), seed=1), dict(shape=(2, 3), seed=2)]


def make(shape, *, seed=0):
  """A uniformly random order; which one, the seed says."""
  rng = np.random.default_rng(seed)
  return ordering.fixed(rng.permutation(int(np.prod(shape))))
