"""Logistic mixture: real values at a resolution, as masses of bins."""

import jax

from ar_jax import bins
from ar_jax.types import DataSpec

TINY = [
  dict(spec=DataSpec((3,), 1, None, 0.5), components=1),
  dict(spec=DataSpec((3,), 1, None, 0.5), components=3),
  dict(spec=DataSpec((2,), 2, None, 8.0), components=2),
]


def make(spec, *, components=5):
  """K products of C logistics; theta [..., P], P = K * (1 + 2 * C).

  Heavier tails than a normal has: exp(-|x| / scale). Otherwise all is as in
  heads/gaussian_mixture.py: theta, its start, bins, temperature, errors.

  Args:
    spec: DataSpec with num_values None and a delta.
    components: K.
  Raises:
    UsageError: discrete values, no delta, or K < 1.
  """
  return bins.real_mixture(
    "heads.logistic_mixture",
    spec,
    components,
    bins.logistic,
    jax.random.logistic,
  )
