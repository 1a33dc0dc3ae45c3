"""What a step reads: the embedding of the value before it."""

import jax.numpy as jnp
from flax import linen as nn

from ar_jax.nn.dense import Dense
from ar_jax.types import DataSpec


class Embed(nn.Module):
  """Embeds values; before the first one stands a vector of its own.

  spec: DataSpec; discrete values have one table for each channel, real ones
    a linear map.
  width: D.
  std: of the initial tables.
  """

  spec: DataSpec  # with hashable conditions, or None
  width: int
  std: float = 1.0

  @nn.compact
  def __call__(self, x_BKC, t):
    """[B, K, D] of what steps t .. t + K - 1 read.

    Args:
      x_BKC: values of steps t - 1 .. t + K - 2; unread at step -1.
      t: first step; a Python 0 or int32[].
    """
    C, V = self.spec.channels, self.spec.num_values
    init = nn.initializers.normal(self.std)
    start_D = self.param("start", init, (self.width,))
    if V is None:
      x_BKC = x_BKC.astype(jnp.promote_types(x_BKC.dtype, start_D.dtype))
      embedded = Dense(self.width, name="values")(x_BKC)
    else:
      table = self.param("embedding", init, (C, V, self.width))
      embedded = sum(table[c][x_BKC[..., c]] for c in range(C))
    return after_start(embedded, start_D, t)


def after_start(embedded_BKD, start_D, t):
  """The same with the start vector where step 0 is among the K steps."""
  first = (t + jnp.arange(embedded_BKD.shape[1]) == 0)[None, :, None]
  return jnp.where(first, start_D[None, None], embedded_BKD)
