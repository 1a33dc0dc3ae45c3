"""Labels as biases: p(x | y) for y of kind "label", in every layer."""

import jax.numpy as jnp
from flax import linen as nn


def check(conditions, takes, name):
  """Raises ValueError for a condition whose kind a model cannot take."""
  for key, condition in conditions.items():
    if condition.kind not in takes:
      raise ValueError(
        f"{name} cannot take condition {key!r} of kind {condition.kind!r};"
        f" it takes: {', '.join(takes)}"
      )


class LabelBias(nn.Module):
  """One bias for each layer from the labels in y.

  A label that is absent from y is the learned null, row num_values.
  """

  conditions: tuple  # of (name, num_values)
  layers: int
  width: int

  @nn.compact
  def __call__(self, y):
    """[1|B, N, D]: the sum over all labels; y: dict of int32[B], or None.

    None where the data has no labels.
    """
    y = dict(y or {})
    tables = []
    for name, num_values in self.conditions:
      shape = (num_values + 1, self.layers, self.width)
      table = self.param(name, nn.initializers.normal(0.02), shape)
      label = y.pop(name, jnp.full((1,), num_values, jnp.int32))
      tables.append(table[label])
    if y:
      known = ", ".join(name for name, _ in self.conditions) or "no condition"
      raise ValueError(f"y has {', '.join(y)}, but the data has {known}")
    return sum(tables) if tables else None
