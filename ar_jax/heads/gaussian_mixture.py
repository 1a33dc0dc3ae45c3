"""Gaussian mixture: real values at a resolution, as masses of bins."""

import jax

from ar_jax import bins
from ar_jax.types import DataSpec

TINY = [
  dict(spec=DataSpec((3,), 1, None, 0.5)),
  dict(spec=DataSpec((3,), 1, None, 0.5), components=2),
  dict(spec=DataSpec((2,), 2, None, 8.0), components=2),
]


def make(spec, *, components=1):
  """K products of C normals; theta [..., P], P = K * (1 + 2 * C).

  theta is K logits of the weights, then for each channel K means, then for
  each channel K log-scales, in the units of x. The channels of a site depend
  on each other by the component alone. At theta = 0 the scales are 1 and the
  means lie 2 / K apart in [-1, 1), one of them at 0: made for values of about
  unit scale. log_prob is the log of the mass of [x - delta / 2, x + delta / 2]
  at the multiple of delta next to x, up to 4e6 of them from 0 in float32, so
  that bits compare with those of discrete heads; a sample is such a multiple.

  Temperature T is that of the components: weights^(1 / T), scales * T. This
  is not p^(1 / T). Zero, the mode, is there for one component only; top_k,
  top_p and min_p are ValueErrors.

  Args:
    spec: DataSpec with num_values None and a delta.
    components: K.
  Raises:
    UsageError: discrete values, no delta, or K < 1.
  """
  return bins.real_mixture(
    "heads.gaussian_mixture", spec, components, bins.normal, jax.random.normal
  )
