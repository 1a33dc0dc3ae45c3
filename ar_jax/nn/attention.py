"""Self-attention over a key-value cache, and attention to a memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ar_jax.nn import position
from ar_jax.nn.dense import Dense
from ar_jax.nn.dropout import dropout

_LEAST = 128  # slots that a step looks at


class Attention(nn.Module):
  """Multi-head attention (Vaswani et al. 2017) with grouped queries.

  heads: query heads H.
  kv_heads: key-value heads G, a divisor of H (Ainslie et al. 2023).
  qk_norm: RMSNorm of queries and keys (Henry et al. 2020).
  bias: in the linear maps.
  rate: of dropout on the attention weights.
  init_in, init_out: of the linear maps into and out of the heads.
  causal: whether steps see those up to their own alone, or all.
  """

  heads: int
  kv_heads: int
  qk_norm: bool
  bias: bool
  rate: float
  init_in: nn.initializers.Initializer
  init_out: nn.initializers.Initializer
  causal: bool = True

  @nn.compact
  def __call__(self, h_BKD, angles, t, cache, key_B):
    """Steps t .. t + K - 1 attend to all steps up to their own.

    Args:
      h_BKD: the steps.
      angles: rotations of queries and of keys, [1|B, K, Dh / 2] each, or
        None.
      t: first step; a Python 0 or int32[].
      cache: dict(k, v) [B, G, capacity, Dh] with steps 0 .. t - 1, see
        `empty`; None: t is 0 and nothing is kept.
      key_B: keys for dropout, or None.
    Returns:
      ([B, K, D], cache with the K steps written).
    """
    B, K, D = h_BKD.shape
    H, G, R = self.heads, self.kv_heads, self.heads // self.kv_heads
    Dh = D // H
    linear = functools.partial(Dense, use_bias=self.bias)
    qkv = linear((H + 2 * G) * Dh, kernel_init=self.init_in, name="qkv")(h_BKD)
    qkv = qkv.reshape(B, K, H + 2 * G, Dh)
    q, k, v = jnp.split(qkv, (H, H + G), axis=2)
    if self.qk_norm:
      q = nn.RMSNorm(epsilon=1e-6, name="norm_q")(q)
      k = nn.RMSNorm(epsilon=1e-6, name="norm_k")(k)
    if angles is not None:
      q, k = position.rotate(q, angles[0]), position.rotate(k, angles[1])
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    # The R queries of a key-value head and the K steps are one axis Q = R K.
    q = q.reshape(B, K, G, R, Dh).transpose(0, 2, 3, 1, 4) * Dh**-0.5
    q = q.reshape(B, G, R * K, Dh)
    step_Q = jnp.tile(t + jnp.arange(K), R) if self.causal else None
    if cache is None:
      out = _attend(q, k, v, step_Q, self.rate, key_B)
    else:
      write = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=2)
      cache = dict(k=write(cache["k"], k, t), v=write(cache["v"], v, t))
      out = _attend_to(cache, q, step_Q, t, K)
    out = out.reshape(B, G, R, K, Dh).transpose(0, 3, 1, 2, 4)
    out = out.reshape(B, K, D)
    return linear(D, kernel_init=self.init_out, name="out")(out), cache


def empty(batch, capacity, kv_heads, head_dim, dtype):
  """A cache of no steps: dict(k, v) [B, G, capacity, Dh].

  Heads lie before steps, as the matrix products of XLA on CPU take them: else
  each step transposes the whole cache.
  """
  shape = batch, kv_heads, capacity, head_dim
  return dict(k=jnp.zeros(shape, dtype), v=jnp.zeros(shape, dtype))


def _attend_to(cache, q_BGQD, step_Q, t, K):
  """Attention to the first t + K steps of a cache, K of them new.

  One step looks at the first 128, 256, ... slots, as few as hold them: what
  it costs follows the steps there are and not the room for them.
  """
  capacity = cache["k"].shape[2]

  def among(count, k_BGMD, v_BGMD, q_BGQD, step_Q):
    k, v = k_BGMD[:, :, :count], v_BGMD[:, :, :count]
    return _attend(q_BGQD, k, v, step_Q)

  args = cache["k"], cache["v"], q_BGQD, step_Q
  if isinstance(t, int | np.integer):
    return among(t + K, *args)
  if K > 1:
    return among(capacity, *args)
  counts = [_LEAST]
  while counts[-1] < capacity:
    counts.append(2 * counts[-1])
  counts[-1] = capacity
  which = sum((t >= count).astype(jnp.int32) for count in counts[:-1])
  branches = [functools.partial(among, count) for count in counts]
  return jax.lax.switch(which, branches, *args)


def _attend(q_BGQD, k_BGMD, v_BGMD, step_Q, rate=0.0, key_B=None):
  """Attention to the steps up to a query's own, step_Q, or to all (None)."""
  score = jnp.einsum("bgqd,bgmd->bgqm", q_BGQD, k_BGMD)
  score = score.astype(jnp.promote_types(score.dtype, jnp.float32))
  if step_Q is not None:
    visible_QM = jnp.arange(k_BGMD.shape[2])[None] <= step_Q[:, None]
    score = jnp.where(visible_QM[None, None], score, -1e30)
  weight = jax.nn.softmax(score).astype(v_BGMD.dtype)
  weight = dropout(weight, rate, key_B)
  return jnp.einsum("bgqm,bgmd->bgqd", weight, v_BGMD)


class CrossAttention(nn.Module):
  """Attention of every step to a memory, which all of them see whole.

  heads: H. The other fields are as in Attention.
  """

  heads: int
  bias: bool
  rate: float
  init_in: nn.initializers.Initializer
  init_out: nn.initializers.Initializer

  @nn.compact
  def __call__(self, h_BKD, memory_BSHE, key_B):
    """[B, K, D]; memory_BSHE: keys and values [1|B, S, 2, H, Dh]."""
    B, K, D = h_BKD.shape
    H, Dh = self.heads, D // self.heads
    linear = functools.partial(Dense, use_bias=self.bias)
    q = linear(D, kernel_init=self.init_in, name="query")(h_BKD)
    q = q.reshape(B, K, H, Dh) * Dh**-0.5
    memory = jnp.broadcast_to(memory_BSHE, (B, *memory_BSHE.shape[1:]))
    score = jnp.einsum("bkhd,bshd->bhks", q, memory[:, :, 0])
    score = score.astype(jnp.promote_types(score.dtype, jnp.float32))
    weight = jax.nn.softmax(score).astype(h_BKD.dtype)
    weight = dropout(weight, self.rate, key_B)
    out = jnp.einsum("bhks,bshd->bkhd", weight, memory[:, :, 1])
    out = out.reshape(B, K, D)
    return linear(D, kernel_init=self.init_out, name="out")(out)
