"""Discretized logistic mixture: ids on a scale, as masses of bins."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import bins, errors
from ar_jax.types import DataSpec, Head

TINY = [
  dict(spec=DataSpec((4,), 1, 4), components=2),
  dict(spec=DataSpec((3,), 1, 5), components=3, levels="mu_law"),
]

MOST = 2**16  # values


def make(spec, *, components=10, levels="uniform"):
  """A mixture of K logistics over the ids 0..V-1; theta [..., P], P = 3 * K.

  theta is K logits of the weights, K means and K log-scales, as offsets from
  `start`, so that theta = 0 covers all ids. The unit is that in which the
  ids, or the amplitudes of mu-law, span [-1, 1]. The bin of id i reaches from
  i - 1/2 to i + 1/2, but id 0 has the whole lower tail and id V - 1 the whole
  upper one. An id outside 0..V-1 has log-probability -inf.
  Source: Salimans et al. 2017 (PixelCNN++), section 2.1; exact for all V, as
  edges go by id.

  Temperature T is that of the components: weights^(1 / T), scales * T. This
  is not p^(1 / T), which no such mixture is. Zero is the mode, the lowest of
  equals, for which all V ids are scored. top_k, top_p and min_p are
  ValueErrors.

  Args:
    spec: DataSpec of one channel and V = 2 to 65,536 values.
    components: K.
    levels: "uniform", or "mu_law": id i stands for the mu-law level
      2 * i / (V - 1) - 1, mu = V - 1, and a component is a logistic in the
      amplitude, whose edges are the expanded edges of the levels.
  Raises:
    UsageError: V, channels, components or levels that it does not take.
  """
  name, V, K = "heads.discretized_logistic", spec.num_values, components
  if V is None or not 2 <= V <= MOST:
    raise errors.UsageError(
      f"{name} takes num_values 2 to {MOST}, got {V}: real values are for"
      " heads.logistic_mixture"
    )
  if spec.channels != 1:
    raise errors.UsageError(
      f"{name} takes 1 channel, got {spec.channels}: make the channels sites,"
      " or take heads.categorical"
    )
  if levels not in _AMPLITUDE:
    raise errors.UsageError(
      f"{name} takes levels {' or '.join(_AMPLITUDE)}, got {levels}"
    )
  bins.check_components(name, K)
  start_means, start_log_scales = start(V, K, levels)
  edges, unit = _edges(V, levels)

  def in_bins(theta):
    """Logits, means and log-scales [..., K], in units of the least bin."""
    logits, means, log_scales = bins.split(theta, 1, K)
    shape = (1,) * (logits.ndim - 1) + (K,)
    means = means[..., 0, :] + start_means.astype(means.dtype).reshape(shape)
    log_scales = log_scales[..., 0, :] + (
      start_log_scales + math.log(unit)
    ).astype(means.dtype).reshape(shape)
    return logits, means * unit, log_scales

  def log_prob(theta, x):
    logits, means, log_scales = in_bins(theta)
    x = x[..., 0].astype(jnp.int32)
    i = jnp.clip(x, 0, V - 1)
    low, high = (
      bins.edge(edges, n, means.dtype)[..., None] for n in (i, i + 1)
    )
    log_masses = bins.logistic(low, high, means, log_scales)
    return jnp.where(x == i, bins.mixed(logits, log_masses), -jnp.inf)

  def sample(key, theta):
    logits, means, log_scales = in_bins(theta)
    pick_key, halve_key = jax.random.split(key)
    k = jax.random.categorical(pick_key, logits)[..., None]
    mean = jnp.take_along_axis(means, k, -1)[..., 0]
    log_scale = jnp.take_along_axis(log_scales, k, -1)[..., 0]
    return bins.draw_id(halve_key, edges, mean, log_scale)[..., None]

  def certain(i, theta):
    """The theta, of the shape of one given, that is certain of the ids i."""
    logits, means, log_scales = bins.split(theta, 1, K)
    # By the component that starts at 0: an offset would round the mean away.
    chosen = jnp.arange(K) == K // 2
    chosen = chosen.reshape((1,) * (logits.ndim - 1) + (K,))
    logits = jnp.where(chosen, jnp.zeros_like(logits), -jnp.inf)
    centers = _AMPLITUDE[levels](_levels(np.arange(V), V), V)
    center = jnp.take(centers.astype(logits.dtype), i)[..., None, None]
    means = jnp.broadcast_to(center, means.shape)
    return bins.join(logits, means, jnp.full_like(log_scales, -1e3))

  def log_probs(theta):
    every = jnp.arange(V, dtype=jnp.int32)
    every = every.reshape((1,) * (theta.ndim - 1) + (V, 1))
    return log_prob(theta[..., None, :], every)

  def adjust(theta, *, temperature=1.0, top_k=None, top_p=None, min_p=None):
    bins.check_uncut(name, top_k, top_p, min_p)
    if temperature == 0:
      return certain(log_probs(theta).argmax(-1), theta)
    logits, means, log_scales = bins.split(theta, 1, K)
    logits, log_scales = bins.warmed(logits, log_scales, temperature)
    return bins.join(logits, means, log_scales)

  return Head(3 * K, log_prob, sample, adjust, log_probs=log_probs)


def start(num_values, components, levels="uniform"):
  """What theta = 0 means: (means, log-scales), float64 [K] each.

  Means at evenly spaced levels, scales of half the way between neighbors.
  """
  V, K, amplitude = num_values, components, _AMPLITUDE[levels]
  level = bins.spread(K)
  scales = (amplitude(level + 1 / K, V) - amplitude(level - 1 / K, V)) / 2
  return amplitude(level, V), np.log(scales)


def _edges(num_values, levels):
  """(the V + 1 edges in units of the least bin, that unit as 1 / width).

  Those of mu-law are rounded, which moves an edge, but the same one for both
  of its bins.
  """
  i = np.arange(num_values + 1) - 0.5
  edges = _AMPLITUDE[levels](_levels(i, num_values), num_values)
  unit = 1 / np.diff(edges).min()
  if levels == "uniform":
    return bins.uniform_edges(num_values), float(unit)
  edges *= unit
  edges[0], edges[-1] = -np.inf, np.inf
  return edges, float(unit)


def _levels(i, num_values):
  """Ids 0..V-1 on the scale from -1 to 1."""
  return (2 * i - (num_values - 1)) / (num_values - 1)


def _mu_law(level, num_values):
  """The amplitude of a mu-law level, mu = V - 1."""
  mu = num_values - 1
  return np.sign(level) * np.expm1(np.abs(level) * np.log1p(mu)) / mu


_AMPLITUDE = dict(uniform=lambda level, num_values: level, mu_law=_mu_law)
