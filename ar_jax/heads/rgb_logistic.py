"""Discretized logistic mixture of three channels, as PixelCNN++ has it."""

import math

import jax
import jax.numpy as jnp

from ar_jax import bins, errors
from ar_jax.types import DataSpec, Head

TINY = [
  dict(spec=DataSpec((2,), 3, 4), components=2),
  dict(spec=DataSpec((3,), 3, 2), components=1),
]

MOST = 2**16  # values


def make(spec, *, components=10):
  """A mixture of K colors of three logistics; theta [..., P], P = 10 * K.

  A component is chosen once for a site. Its red is a discretized logistic;
  the mean of its green moves with the red that was drawn, and that of its
  blue with both:

      mean of green + tanh(a) * red
      mean of blue + tanh(b) * red + tanh(c) * green

  in the unit in which the ids 0..V-1 span [-1, 1]. theta is K logits, 3 * K
  means, 3 * K log-scales and 3 * K coefficients a, b, c; means and log-scales
  are offsets from a start that spreads the components over all ids, so that
  theta = 0 covers them. Bins are those of heads/discretized_logistic.py: the
  first and the last id have the tails, and ids outside have -inf.
  Source: Salimans et al. 2017 (PixelCNN++), sections 2.1 and 2.2. Exact: the
  density that stands there for masses below 1e-5 does not sum to one.

  Temperature T is that of the components: weights^(1 / T), scales * T. Zero
  is a ValueError: to find the mode, all V^3 colors would have to be scored.
  top_k, top_p and min_p are ValueErrors.

  Args:
    spec: DataSpec of 3 channels and V = 2 to 65,536 values.
    components: K.
  Raises:
    UsageError: V, channels or components that it does not take.
  """
  name, V, K = "heads.rgb_logistic", spec.num_values, components
  if V is None or not 2 <= V <= MOST:
    raise errors.UsageError(
      f"{name} takes num_values 2 to {MOST}, got {V}: real values are for"
      " heads.logistic_mixture"
    )
  if spec.channels != 3:
    raise errors.UsageError(
      f"{name} takes 3 channels, got {spec.channels}: one channel is for"
      " heads.discretized_logistic, others are for heads.categorical"
    )
  bins.check_components(name, K)
  edges, unit = bins.uniform_edges(V), (V - 1) / 2
  spread = bins.spread(K)

  def in_bins(theta):
    """Logits [..., K] and [..., 3, K] each: means, log-scales, coefficients.

    Means and log-scales in units of a bin.
    """
    logits, means, log_scales = bins.split(theta[..., : 7 * K], 3, K)
    coefficients = jnp.tanh(theta[..., 7 * K :].astype(means.dtype))
    coefficients = coefficients.reshape(means.shape)
    start = jnp.asarray(spread, means.dtype)
    start = start.reshape((1,) * (means.ndim - 1) + (K,))
    return (
      logits,
      (means + start) * unit,
      log_scales + _start(V, K),
      coefficients,
    )

  def log_prob(theta, x):
    logits, means, log_scales, coefficients = in_bins(theta)
    x = x.astype(jnp.int32)
    i = jnp.clip(x, 0, V - 1)
    centered = _centered(i, V, means.dtype)[..., None]  # in bins
    red, green = centered[..., :1, :], centered[..., 1:2, :]
    a, b, c = jnp.split(coefficients, 3, -2)
    moved = [jnp.zeros_like(a * red), a * red, b * red + c * green]
    means += jnp.concatenate(moved, -2)
    low, high = (
      bins.edge(edges, n, means.dtype)[..., None] for n in (i, i + 1)
    )
    log_masses = bins.logistic(low, high, means, log_scales)
    log_mixed = bins.mixed(logits, log_masses.sum(-2))
    return jnp.where((x == i).all(-1), log_mixed, -jnp.inf)

  def sample(key, theta):
    logits, *rest = in_bins(theta)
    pick_key, *keys = jax.random.split(key, 4)
    k = jax.random.categorical(pick_key, logits)[..., None, None]
    rest = (jnp.take_along_axis(part, k, -1)[..., 0] for part in rest)
    means, log_scales, coefficients = rest  # [..., 3] each
    a, b, c = (coefficients[..., n] for n in range(3))

    def draw(n, moved):
      mean, log_scale = means[..., n] + moved, log_scales[..., n]
      i = bins.draw_id(keys[n], edges, mean, log_scale)
      return i, _centered(i, V, mean.dtype)

    red_id, red = draw(0, jnp.zeros_like(a))
    green_id, green = draw(1, a * red)
    blue_id, _ = draw(2, b * red + c * green)
    return jnp.stack([red_id, green_id, blue_id], -1)

  def adjust(theta, *, temperature=1.0, top_k=None, top_p=None, min_p=None):
    bins.check_uncut(name, top_k, top_p, min_p)
    if temperature == 0:
      raise ValueError(
        f"{name} has no temperature 0: to find the mode, all V^3 colors would"
        " have to be scored"
      )
    logits, means, log_scales = bins.split(theta[..., : 7 * K], 3, K)
    logits, log_scales = bins.warmed(logits, log_scales, temperature)
    adjusted = bins.join(logits, means, log_scales)
    return jnp.concatenate(
      [adjusted, theta[..., 7 * K :].astype(adjusted.dtype)], -1
    )

  return Head(10 * K, log_prob, sample, adjust)


def _start(num_values, components):
  """The log-scale of theta = 0, in bins: half the way between components."""
  return math.log((num_values - 1) / (2 * components))


def _centered(i, num_values, dtype):
  """Ids in bins from the middle of the scale: [-1, 1] times (V - 1) / 2."""
  return i.astype(dtype) - (num_values - 1) / 2
