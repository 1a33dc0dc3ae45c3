"""What a step reads: the embedding of the value before it."""

import jax.numpy as jnp
from flax import linen as nn

from ar_jax.nn.dense import Dense, matmul
from ar_jax.types import DataSpec


class Embed(nn.Module):
  """Embeds values; before the first one stands a vector of its own.

  spec: DataSpec; discrete values have one table for each channel, real ones
    a linear map.
  width: D.
  std: of the initial tables.
  rows: of a table, at least V; None: V.
  start: value of channel 0 that stands before the first one; None: a vector
    of its own.
  """

  spec: DataSpec  # with hashable conditions, or None
  width: int
  std: float = 1.0
  rows: int | None = None
  start: int | None = None

  @nn.compact
  def __call__(self, x_BKC, t):
    """[B, K, D] of what steps t .. t + K - 1 read.

    Args:
      x_BKC: values of steps t - 1 .. t + K - 2; unread at step -1.
      t: first step; a Python 0 or int32[].
    """
    C, V = self.spec.channels, self.spec.num_values
    init = nn.initializers.normal(self.std)
    if self.start is None:
      start_D = self.param("start", init, (self.width,))
    if V is None:
      x_BKC = x_BKC.astype(jnp.promote_types(x_BKC.dtype, start_D.dtype))
      embedded = Dense(self.width, name="values")(x_BKC)
    else:
      shape = C, V if self.rows is None else self.rows, self.width
      table = self.param("embedding", init, shape)
      embedded = sum(table[c][x_BKC[..., c]] for c in range(C))
    if self.start is not None:
      start_D = table[0, self.start]
    first = (t + jnp.arange(embedded.shape[1]) == 0)[None, :, None]
    return jnp.where(first, start_D[None, None], embedded)

  def logits(self, h_BKD, num_values):
    """[B, K, V] from the table of channel 0, which is then tied."""
    table_VD = self.get_variable("params", "embedding")[0]
    return matmul(h_BKD, table_VD[:num_values].T)
