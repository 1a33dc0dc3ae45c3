"""Labels and aligned features as biases: p(x | y) in every layer.

A condition that is absent from y is a learned null, so one network is both
the conditional and the unconditional model.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from ar_jax.nn.dense import Dense


def check(conditions, takes, name):
  """Raises ValueError for a condition whose kind a model cannot take."""
  for key, condition in conditions.items():
    if condition.kind not in takes:
      raise ValueError(
        f"{name} cannot take condition {key!r} of kind {condition.kind!r};"
        f" it takes: {', '.join(takes)}"
      )


def tupled(conditions):
  """The conditions of a DataSpec as a hashable tuple, for linen modules."""
  items = conditions.items()
  return tuple((k, c._replace(shape=tuple(c.shape))) for k, c in items)


def aligned(conditions):
  """Names of the conditions of kind "aligned"."""
  return tuple(k for k, c in conditions.items() if c.kind == "aligned")


class Bias(nn.Module):
  """One bias for each layer from the labels and the aligned features of y.

  Aligned features are in generation order, as x: row t belongs to the site
  that step t predicts. Computed once for all layers and steps.
  """

  conditions: tuple  # of `tupled`; those of kind "sequence" are passed over
  layers: int
  width: int

  @nn.compact
  def __call__(self, y):
    """[1|B, 1|L, N, D], the sum over the conditions; None without any.

    Args:
      y: name -> int32 [B] of a label, [B, L] or [B, L, F] of aligned
        features, int32 or float; None: no condition is given.
    Raises:
      ValueError: y has a name that the data has not.
    """
    y = dict(y or {})
    total = None
    for name, condition in self.conditions:
      values = y.pop(name, None)
      if condition.kind == "sequence":
        continue
      bias = self._one(name, condition, values)
      total = bias if total is None else total + bias
    if y:
      known = ", ".join(name for name, _ in self.conditions) or "no condition"
      raise ValueError(f"y has {', '.join(y)}, but the data has {known}")
    return total

  def _one(self, name, condition, values):
    normal = nn.initializers.normal(0.02)
    layers = self.layers, self.width
    if condition.kind == "label":
      table = self.param(name, normal, (condition.num_values + 1, *layers))
      index = jnp.full((1,), condition.num_values, jnp.int32)
      return table[index if values is None else values][:, None]
    null = self.param(f"{name}_null", normal, layers)[None, None]
    features = Features(condition, self.layers * self.width, name=name)
    if values is None:
      if not self.is_initializing():
        return null
      values = placeholder(condition)  # only the parameters are wanted
    return features(values).reshape(*values.shape[:2], *layers)


class Features(nn.Module):
  """Feature rows to vectors: tables of whole numbers, a map of real ones."""

  condition: tuple
  width: int

  @nn.compact
  def __call__(self, values):
    """[B, S] or [B, S, F] to [B, S, width]."""
    values = jnp.asarray(values)
    values = values[..., None] if values.ndim == 2 else values
    if self.condition.num_values is None:
      dtype = jnp.promote_types(values.dtype, jnp.float32)
      return Dense(self.width, name="linear")(values.astype(dtype))
    shape = values.shape[-1], self.condition.num_values, self.width
    table = self.param("table", nn.initializers.normal(0.02), shape)
    return sum(table[f][values[..., f]] for f in range(shape[0]))


def placeholder(condition):
  """Zeros of one item's shape, to initialize with."""
  dtype = jnp.float32 if condition.num_values is None else jnp.int32
  return jnp.zeros((1, *condition.shape), dtype)


def at(bias, t, K):
  """The biases of steps t .. t + K - 1: [1|B, 1|K, N, D]; None stays None."""
  if bias is None or bias.shape[1] == 1:
    return bias
  return jax.lax.dynamic_slice_in_dim(bias, t, K, axis=1)
