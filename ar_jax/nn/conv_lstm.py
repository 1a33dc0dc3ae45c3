"""An LSTM whose state is a line of cells, each of which is told of others.

ConvLSTM (Shi et al. 2015) in one dimension: the gates of a cell take h of some
cells of the line before, by offset, and c of its own place in it.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

_CLOSED = -1e4  # of a gate: its logistic function is 0, with no rounding


def cell(gates, c):
  """(h, c) after a step.

  Args:
    gates: [..., 4D], of input, forget, cell and output in turn, before their
      nonlinearities. To that of forget 1 is added.
    c: [..., D] before the step.
  """
  part = jnp.arange(gates.shape[-1]) // c.shape[-1]
  part = part.reshape((1,) * (gates.ndim - 1) + part.shape)
  # All four by one tanh: XLA on CPU takes five times as long for a logistic.
  scale = jnp.where(part == 2, 1, 0.5).astype(gates.dtype)
  forget = (part == 1).astype(gates.dtype)
  gates = scale * jnp.tanh(scale * (gates + forget)) + (1 - scale)
  i, f, g, o = jnp.split(gates, 4, -1)
  c = f * c + i * g
  return o * jnp.tanh(c), c


def scan(gates_KRBMG, kernel_RIG, offsets):
  """h of K lines of M cells, from a zero line on: [K, R, B, M, D].

  Args:
    gates_KRBMG: what inputs and biases give to the gates of R networks of
      the same size.
    kernel_RIG: from h of a cell's neighbors, I = D * len(offsets), to gates.
    offsets: of those neighbors; beyond the ends they are 0.
  """
  _, R, B, M, G = gates_KRBMG.shape
  zero = jnp.zeros((R, B, M, G // 4), gates_KRBMG.dtype)

  def step(state, gates):
    h, c = state
    told = neighbors(h, offsets).reshape(R, B * M, -1)
    h, c = cell(gates + (told @ kernel_RIG).reshape(R, B, M, G), c)
    return (h, c), h

  # A step is computed again in the backward pass: half the memory, and on CPU
  # three quarters of the time, for less is written and read.
  step = jax.checkpoint(step, prevent_cse=False)
  return jax.lax.scan(step, (zero, zero), gates_KRBMG)[1]


def neighbors(h, offsets):
  """[..., M, D] to [..., M, D * len(offsets)]: h at m + offset, beside h."""
  before, after = max(0, -min(offsets)), max(0, max(offsets))
  pad = [(0, 0)] * (h.ndim - 2) + [(before, after), (0, 0)]
  h, M = jnp.pad(h, pad), h.shape[-2]
  starts = [before + offset for offset in offsets]
  return jnp.concatenate([h[..., s : s + M, :] for s in starts], -1)


def orthogonal(key, shape):
  """A kernel [N, R, I, 4D]: an orthogonal matrix for each gate of each cell."""
  N, R, I, G = shape
  init = nn.initializers.orthogonal()
  keys = jax.random.split(key, N * R * 4)
  gates = jax.vmap(lambda key: init(key, (I, G // 4)))(keys)
  return gates.reshape(N, R, 4, I, G // 4).swapaxes(2, 3).reshape(shape)


# --- diagonals as columns ---


def skew(gates_HWG):
  """[..., H, W, G] to [..., H, W + H - 1, G]: row i moved i to the right.

  What is before and after a row are closed gates, whose states are zero.
  """
  *many, H, W, G = gates_HWG.shape
  gap = jnp.full_like(gates_HWG[..., :1, :], _CLOSED)
  gap = jnp.broadcast_to(gap, (*many, H, H, G))
  # Rows of W + H in one line, then cut into rows that are one shorter.
  line = jnp.concatenate([gates_HWG, gap], -2).reshape(*many, -1, G)
  return line[..., : H * (W + H - 1), :].reshape(*many, H, W + H - 1, G)


def unskew(h_HKD):
  """[..., H, W + H - 1, D] back to [..., H, W, D]."""
  *many, H, K, D = h_HKD.shape
  line = h_HKD.reshape(*many, H * K, D)
  line = jnp.pad(line, [(0, 0)] * len(many) + [(0, H), (0, 0)])
  return line.reshape(*many, H, K + 1, D)[..., : K + 1 - H, :]
