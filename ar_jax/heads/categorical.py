"""Categorical: a softmax over V values for each channel of a site."""

import jax
import jax.numpy as jnp

from ar_jax import errors, filters
from ar_jax.types import DataSpec, Head

TINY = [
  dict(spec=DataSpec((5,), 1, 3)),
  dict(spec=DataSpec((2, 2), 2, 3)),
]


def make(spec):
  """C independent softmaxes; theta [..., P] is the logits, P = C * V.

  Channels that depend on each other are sites instead. A value outside
  0..V-1, or whose logit is -inf, has log-probability -inf.

  Args:
    spec: DataSpec with num_values = V.
  Raises:
    UsageError: num_values is None.
  """
  if spec.num_values is None:
    raise errors.UsageError(
      "heads.categorical takes data of num_values = V discrete values,"
      " got num_values None"
    )
  shape_CV = (spec.channels, spec.num_values)

  def logits(theta):
    theta = theta.reshape(theta.shape[:-1] + shape_CV)
    return theta.astype(jnp.promote_types(theta.dtype, jnp.float32))

  def log_prob(theta, x):
    return _log_prob(logits(theta), x).sum(axis=-1)

  def sample(key, theta):
    return jax.random.categorical(key, logits(theta)).astype(jnp.int32)

  def adjust(theta, **settings):
    adjusted = filters.apply(logits(theta), **settings)
    return adjusted.reshape(theta.shape)

  def noise(key, dtype):
    dtype = jnp.promote_types(dtype, jnp.float32)
    return jax.random.gumbel(key, shape_CV, dtype)

  def draw(noise, theta):  # as jax.random.categorical does
    return (logits(theta) + noise).argmax(axis=-1).astype(jnp.int32)

  def log_probs(theta):
    return jax.nn.log_softmax(logits(theta)[..., 0, :])

  num_params = spec.channels * spec.num_values
  made = Head(num_params, log_prob, sample, adjust, noise, draw)
  return made._replace(log_probs=log_probs) if spec.channels == 1 else made


def _log_prob(logits, x):
  """log softmax(logits)[x] for logits [..., V] and integers x [...]."""
  num_values = logits.shape[-1]
  # Select and sum, not gather: the gradient of a gather is a scatter, which
  # is slow on CPU. A selection, not a product: 0 * -inf would be NaN.
  values = jnp.arange(num_values).reshape((1,) * x.ndim + (num_values,))
  chosen = values == x[..., None]
  # Next to the largest logit, so that the sum, which is then near one, is not
  # rounded as a number of the logits' size is. (With no finite logit: as is.)
  top = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
  logits = logits - jnp.where(top == -jnp.inf, 0, top)
  logit = jnp.where(chosen, logits, 0).sum(axis=-1)
  total = jnp.exp(logits).sum(axis=-1)
  normalizer = jnp.log(jnp.where(total == 0, 1, total))
  # Also where all logits are -inf, and the difference would be NaN. A NaN
  # among the logits is the model's, and shows.
  impossible = (x < 0) | (x >= num_values) | (logit == -jnp.inf)
  return jnp.where(impossible, -jnp.inf, logit - normalizer)
