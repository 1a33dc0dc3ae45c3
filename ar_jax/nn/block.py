"""The Transformer block of GPT and of order-agnostic networks."""

import jax.numpy as jnp
from flax import linen as nn

from ar_jax.nn.attention import Attention, CrossAttention
from ar_jax.nn.dense import Dense
from ar_jax.nn.dropout import dropout, fold
from ar_jax.nn.kept import kept

NORMS = dict(
  layernorm=lambda bias, name: nn.LayerNorm(1e-5, use_bias=bias, name=name),
  rmsnorm=lambda bias, name: nn.RMSNorm(1e-6, name=name),
)
MLPS = ("gelu", "relu2", "swiglu")
INITS = ("gpt2", "zero_residual")


class Block(nn.Module):
  """Attention and MLP, each after a norm, each added to the stream.

  Between them attention to a memory, where there is one.

  scheme: of the initial values, see `INITS`; depth: blocks N, for "gpt2".
  The other fields are those of models/gpt.py.
  """

  heads: int
  kv_heads: int
  width: int
  mlp: str
  mlp_ratio: float
  qk_norm: bool
  norm: str
  bias: bool
  dropout: float
  scheme: str
  depth: int
  causal: bool = True

  @nn.compact
  def __call__(self, h_BKD, angles, t, cache, key_B=None, memory=None):
    """(h [B, K, D], cache); see Attention.

    Args:
      h_BKD, angles, t, cache: of Attention.
      key_B: keys for dropout, or None.
      memory: keys and values [1|B, S, 2, H, Dh] of a memory, or None.
    """
    norm = NORMS[self.norm]
    attention = Attention(
      self.heads,
      self.kv_heads,
      self.qk_norm,
      self.bias,
      self.dropout,
      self._init(),
      self._init(residual=True),
      self.causal,
      name="attention",
    )
    a_BKD, cache = attention(
      norm(self.bias, "norm_1")(h_BKD), angles, t, cache, fold(key_B, 0)
    )
    h_BKD = h_BKD + dropout(a_BKD, self.dropout, fold(key_B, 1))
    if memory is not None:
      c_BKD = self._cross()(
        norm(self.bias, "norm_cross")(h_BKD), memory, fold(key_B, 3)
      )
      h_BKD = h_BKD + dropout(c_BKD, self.dropout, fold(key_B, 4))
    m_BKD = self._mlp(norm(self.bias, "norm_2")(h_BKD))
    h_BKD = h_BKD + dropout(m_BKD, self.dropout, fold(key_B, 2))
    return kept(h_BKD), cache

  def _cross(self):
    return CrossAttention(
      self.heads,
      self.bias,
      self.dropout,
      self._init(),
      self._init(residual=True),
      name="cross",
    )

  def _mlp(self, h_BKD):
    D = h_BKD.shape[-1]
    if self.mlp == "swiglu":
      hidden = 2 * round(self.mlp_ratio * D / 3)
      gate = nn.silu(self._dense("gate", hidden)(h_BKD))
      h = gate * self._dense("up", hidden)(h_BKD)
    else:
      h = self._dense("up", round(self.mlp_ratio * D))(h_BKD)
      h = nn.gelu(h) if self.mlp == "gelu" else jnp.square(nn.relu(h))
    return self._dense("down", D, residual=True)(h)

  def _dense(self, name, features, residual=False):
    return Dense(features, self.bias, self._init(residual), name=name)

  def _init(self, residual=False):
    """Of a linear map; residual: of one whose result joins the stream."""
    if self.scheme == "gpt2":
      std = 0.02 / (2 * self.depth) ** 0.5 if residual else 0.02
      return nn.initializers.normal(std)
    if residual:
      return nn.initializers.zeros
    return nn.initializers.variance_scaling(1.0, "fan_in", "normal")
