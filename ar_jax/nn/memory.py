"""Conditions of kind "sequence" as a memory that every step attends to."""

import jax.numpy as jnp
from flax import linen as nn

from ar_jax.nn.condition import Features, placeholder
from ar_jax.nn.dense import Dense


class Memory(nn.Module):
  """Keys and values of all layers, computed once for all steps.

  A sequence that is absent from y is one learned row.
  """

  conditions: tuple  # of condition.tupled; only kind "sequence" is read
  layers: int
  width: int
  heads: int

  @nn.compact
  def __call__(self, y):
    """[1|B, S, N, 2, H, D / H]; None where the data has no sequence.

    Args:
      y: name -> int32 or float [B, S] or [B, S, F]; None: all are absent.
    """
    rows = [
      self._rows(name, condition, (y or {}).get(name))
      for name, condition in self.conditions
      if condition.kind == "sequence"
    ]
    if not rows:
      return None
    B = max(len(r) for r in rows)
    rows = [jnp.broadcast_to(r, (B, *r.shape[1:])) for r in rows]
    rows_BSD = nn.RMSNorm(1e-6, name="norm")(jnp.concatenate(rows, 1))
    pairs = Dense(2 * self.layers * self.width, False, name="key_value")
    shape = self.layers, 2, self.heads, self.width // self.heads
    return pairs(rows_BSD).reshape(*rows_BSD.shape[:2], *shape)

  def _rows(self, name, condition, values):
    normal = nn.initializers.normal(1.0)
    null_D = self.param(f"{name}_null", normal, (self.width,))
    place = (condition.shape[0], self.width)
    place_SD = self.param(f"{name}_place", nn.initializers.normal(0.02), place)
    features = Features(condition, self.width, name=name)
    if values is None:
      if not self.is_initializing():
        return null_D[None, None]
      values = placeholder(condition)  # only the parameters are wanted
    return features(values) + place_SD[None]
