"""Bins: the log mass of an interval, and heads that are mixtures over bins.

A mass is a difference of two values of a distribution function. It is taken
in log space and never as a difference of floats near one, so that it keeps
its relative precision in the tails, for the narrowest bin and for the widest.
Edges are numbers that the dtype holds exactly, in units of about a bin: two
neighbors then share an edge bit for bit, and masses sum to one however small
the scale is.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import errors, filters
from ar_jax.types import Head

# Of log(scale / bin), for scoring and sampling alike. The least one is still
# well above the rounding of an edge between two bins.
LOG_SCALES = (-10.0, 30.0)


def logistic(low, high, mean, log_scale):
  """log P(low < x < high) of a logistic; low may be -inf, high may be inf.

  With a = (low - mean) / scale and b = (high - mean) / scale,
  sigma(b) - sigma(a) = sigma(b) sigma(-a) (1 - exp(a - b)): nothing cancels.

  Args:
    low: edges, in the units of mean and scale.
    high: edges above them.
    mean: to be broadcast with the edges.
    log_scale: likewise; clipped to LOG_SCALES.
  """
  per_scale = jnp.exp(-jnp.clip(log_scale, *LOG_SCALES))
  below, above = jnp.isneginf(low), jnp.isposinf(high)
  # Infinities are replaced before they meet a scale: inf * 0 in the gradient.
  low, high = jnp.where(below, 0, low), jnp.where(above, 0, high)
  width = jnp.where(below | above, 1, high - low) * per_scale
  upper = jnp.where(above, 0, jax.nn.log_sigmoid((high - mean) * per_scale))
  lower = jnp.where(below, 0, jax.nn.log_sigmoid((mean - low) * per_scale))
  return upper + lower + jnp.where(below | above, 0, _log1mexp(width))


def normal(low, high, mean, log_scale):
  """log P(low < x < high) of a normal distribution, for finite edges.

  A wide bin is a difference of log tails, on its own side of the mean; that
  is precise where they differ by about one or more. Where they differ by less,
  the density over the bin is close to a polynomial, and eight nodes of
  Gauss-Legendre are exact to 1e-15. Arguments as in `logistic`.
  """
  per_scale = jnp.exp(-jnp.clip(log_scale, *LOG_SCALES))
  half = (high - low) / 2 * per_scale
  low, high = (low - mean) * per_scale, (high - mean) * per_scale
  center = jnp.abs(low + high) / 2
  narrow = 2 * half * jnp.maximum(center, 1) < 1
  # Each branch works on harmless numbers where the other one is taken.
  quadrature = _normal_quadrature(
    jnp.where(narrow, center, 0), jnp.where(narrow, half, 0.5)
  )
  right = low + high > 0
  near, far = jnp.where(right, low, -high), jnp.where(right, high, -low)
  difference = _normal_difference(
    jnp.where(narrow, 0, near), jnp.where(narrow, 1, far)
  )
  return jnp.where(narrow, quadrature, difference)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def _normal_quadrature(center, half):
  """log of the integral of the density over center +- half."""
  ratio = sum(
    weight / 2 * jnp.exp(-half * node * (center + half * node / 2))
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True)
  )
  log_density = -(center**2) / 2 - math.log(2 * math.pi) / 2
  return log_density + jnp.log(2 * half) + jnp.log(ratio)


def _normal_difference(near, far):
  """log P(near < x < far) for near + far > 0, well apart."""
  log_near, near_ratio = _normal_tail(near)
  _, far_ratio = _normal_tail(far)
  log_ratio = (far - near) * (far + near) / 2 + near_ratio - far_ratio
  return log_near + _log1mexp(log_ratio)


def _normal_tail(t):
  """log P(x > t), and the same without its -t^2 / 2.

  Which is not to be had by subtraction far out, nor is its gradient.
  """
  deep = t > 10
  body, far = jnp.where(deep, 0, t), jnp.where(deep, t, 10)
  log_body = jnp.log(jax.lax.erfc(body / math.sqrt(2)) / 2)
  series = 0.0  # asymptotic, to 2e-14 at 10
  for k in range(14, 0, -1):
    series = (1 - 2 * k) * (1 + series) / far**2
  log_far = jnp.log1p(series) - jnp.log(far) - math.log(2 * math.pi) / 2
  return (
    jnp.where(deep, log_far - far**2 / 2, log_body),
    jnp.where(deep, log_far, log_body + body**2 / 2),
  )


def _log1mexp(x):
  """log(1 - exp(-x)) for x > 0, to the rounding of 1."""
  return jnp.log(-jnp.expm1(-x))


def split(theta, channels, components):
  """theta [..., P] as (logits [..., K], means, log-scales [..., C, K]).

  P = K * (1 + 2 * C), at least float32.
  """
  theta = theta.astype(jnp.promote_types(theta.dtype, jnp.float32))
  shape = theta.shape[:-1] + (1 + 2 * channels, components)
  theta = theta.reshape(shape)
  return (
    theta[..., 0, :],
    theta[..., 1 : 1 + channels, :],
    theta[..., 1 + channels :, :],
  )


def join(logits, means, log_scales):
  """What `split` has split."""
  rows = jnp.concatenate([logits[..., None, :], means, log_scales], -2)
  return rows.reshape(rows.shape[:-2] + (-1,))


def mixed(logits, log_mass):
  """log of the mixture, [...], of log masses [..., K]."""
  return jax.nn.logsumexp(jax.nn.log_softmax(logits) + log_mass, axis=-1)


def spread(components):
  """Where K components start, in [-1, 1): 2 / K apart, one of them at 0.

  Equal components would get equal gradients, and stay equal.
  """
  return 2 * (np.arange(components) - components // 2) / components


def uniform_edges(num_values):
  """The V + 1 edges of ids on a scale, in bins from its middle, float64.

  Halves of integers, and so exact. The ends are infinite: the first and the
  last id have the tails.
  """
  edges = np.arange(num_values + 1) - num_values / 2
  edges[0], edges[-1] = -np.inf, np.inf
  return edges


def edge(edges, i, dtype):
  """The lower edge of the bins i; i + 1 gives the upper one."""
  return jnp.take(edges.astype(dtype), i, mode="clip")


def draw_id(key, edges, mean, log_scale):
  """Ids drawn from logistics by their masses as they are scored, int32 [...].

  The ids are halved log2 V times. One float32 quantile could not tell 65,536
  bins apart evenly.

  Args:
    key: PRNG key.
    edges: float [V + 1], the ends infinite.
    mean: [...], in the units of the edges.
    log_scale: [...].
  """
  V = len(edges) - 1

  def halve(ends, u):
    first, last = ends  # ids first..last - 1 are left
    middle = (first + last) // 2
    low, cut, high = (edge(edges, i, mean.dtype) for i in (first, middle, last))
    lower = logistic(low, cut, mean, log_scale)
    upper = logistic(cut, high, mean, log_scale)
    up = u >= jax.nn.sigmoid(lower - upper)
    one = middle == first
    first = jnp.where(up & ~one, middle, first)
    last = jnp.where(up | one, last, middle)
    return (first, last), None

  u_shape = (V - 1).bit_length(), *mean.shape
  u = jax.random.uniform(key, u_shape, mean.dtype)
  first = jnp.zeros(mean.shape, jnp.int32)
  (first, _), _ = jax.lax.scan(halve, (first, first + V), u)
  return first


def check_components(name, components):
  """Raises UsageError where the number of components is none."""
  if isinstance(components, bool) or not isinstance(components, int):
    components = 0
  if components < 1:
    raise errors.UsageError(f"{name} takes an integer components >= 1")


def check_uncut(name, top_k, top_p, min_p):
  """Raises ValueError where a filter is on that a mixture does not have."""
  cuts = dict(top_k=top_k, top_p=top_p, min_p=min_p)
  off = dict(top_k=(None, 0), top_p=(None, 1), min_p=(None, 0))
  for cut, setting in cuts.items():
    if setting not in off[cut]:
      raise ValueError(
        f"{name} has no {cut}: a mixture with values cut away is none;"
        f" got {cut} {setting}"
      )


def warmed(logits, log_scales, temperature):
  """(logits / T, log-scales + log T) for T > 0: components at temperature T.

  Raises:
    ValueError: T is negative, infinite or NaN.
  """
  logits = filters.temperature(logits, temperature)
  return logits, log_scales + math.log(temperature)


def real_mixture(name, spec, components, log_mass, draw):
  """Head of a mixture of products over values on the grid n * delta.

  Args:
    name: of the head, for messages.
    spec: DataSpec of real values.
    components: K.
    log_mass: `logistic` or `normal`.
    draw: (key, shape, dtype) -> draws of the standard distribution.
  Raises:
    UsageError: discrete values, no delta > 0, or no component.
  """
  check_components(name, components)
  if spec.num_values is not None:
    raise errors.UsageError(
      f"{name} takes real values, got num_values {spec.num_values}:"
      " heads.discretized_logistic or heads.categorical take those"
    )
  if spec.delta is None or not 0 < spec.delta < math.inf:
    raise errors.UsageError(
      f"{name} takes data with a resolution delta > 0, got {spec.delta}"
    )
  C, K, delta = spec.channels, components, float(spec.delta)

  def in_bins(theta):
    """Logits, means and log-scales in units of delta."""
    logits, means, log_scales = split(theta, C, K)
    start = jnp.asarray(spread(K), means.dtype)
    start = start.reshape((1,) * (means.ndim - 1) + (K,))
    return logits, (means + start) / delta, log_scales - math.log(delta)

  def log_prob(theta, x):
    logits, means, log_scales = in_bins(theta)
    x = x.astype(jnp.promote_types(x.dtype, means.dtype))
    n = jnp.round(x / delta)[..., None]
    log_masses = log_mass(n - 0.5, n + 0.5, means, log_scales)
    return mixed(logits, log_masses.sum(axis=-2))

  def sample(key, theta):
    logits, means, log_scales = in_bins(theta)
    pick_key, draw_key = jax.random.split(key)
    k = jax.random.categorical(pick_key, logits)[..., None, None]
    mean = jnp.take_along_axis(means, k, -1)[..., 0]
    log_scale = jnp.take_along_axis(log_scales, k, -1)[..., 0]
    noise = draw(draw_key, mean.shape, mean.dtype)
    noise *= jnp.exp(jnp.clip(log_scale, *LOG_SCALES))
    # Rounded apart from the whole bins: their sum could not tell a narrow
    # component's two sides of an edge far from 0.
    whole = jnp.round(mean)
    n = whole + jnp.round(mean - whole + noise)
    return (n * delta).astype(jnp.float32)

  def adjust(theta, *, temperature=1.0, top_k=None, top_p=None, min_p=None):
    check_uncut(name, top_k, top_p, min_p)
    logits, means, log_scales = split(theta, C, K)
    if temperature == 0 and K > 1:
      raise ValueError(
        f"{name} has no temperature 0 with components > 1: the mode of a"
        " mixture has no closed form"
      )
    if temperature == 0:
      return join(logits, means, jnp.full_like(log_scales, -1e3))
    logits, log_scales = warmed(logits, log_scales, temperature)
    return join(logits, means, log_scales)

  return Head(K * (1 + 2 * C), log_prob, sample, adjust)
