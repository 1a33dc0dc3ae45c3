"""Recurrent layers over K steps from a carried state: LSTM and GRU.

Steps lead here: [K, B, D], one step a contiguous block. What does not depend
on the state is one matrix product before the scan, so that only `h @ kernel`
is left inside it. The gradient is written out: its scan gives the gradients
at the gates, and the kernel's is one matrix product after it, where autodiff
adds up one product for each step.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from ar_jax.nn.dense import Dense


class LSTM(nn.Module):
  """Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.

  Its bias starts at 1 (Jozefowicz et al. 2015); no peepholes. The state is
  (h, c).
  """

  width: int

  @nn.compact
  def __call__(self, x_KBD, state, n=None):
    """(h [K, B, width], state after the first n steps).

    Args:
      x_KBD: inputs of K steps.
      state: of `zero_state`, or from an earlier call.
      n: how many of the steps count, int32[]; None: all.
    """
    gates_KBG = _gates(self.width, 4, x_KBD, forget=1)
    kernel_DG = _recurrent_kernel(self, 4, gates_KBG.dtype)
    state = tuple(a.astype(gates_KBG.dtype) for a in state)
    steps = lstm(gates_KBG, *state, kernel_DG)
    return steps[0], tuple(map(_after, state, steps, (n, n)))

  def zero_state(self, batch, dtype):
    """Before the first step."""
    return (jnp.zeros((batch, self.width), dtype),) * 2


class GRU(nn.Module):
  """Cho et al. 2014, the reset gate after the recurrent product.

  This is the form of cuDNN and of torch.nn.GRU; in the paper's the gate comes
  before the product. Its candidate has a bias on both sides of the gate. The
  state is (h,).
  """

  width: int

  @nn.compact
  def __call__(self, x_KBD, state, n=None):
    """(h [K, B, width], state after the first n steps); see LSTM."""
    gates_KBG = _gates(self.width, 3, x_KBD)
    kernel_DG = _recurrent_kernel(self, 3, gates_KBG.dtype)
    zeros = nn.initializers.zeros
    bias_D = self.param("recurrent_bias", zeros, (self.width,))
    h_BD, bias_D = (a.astype(gates_KBG.dtype) for a in (*state, bias_D))
    h_KBD = gru(gates_KBG, h_BD, kernel_DG, bias_D)
    return h_KBD, (_after(h_BD, h_KBD, n),)

  def zero_state(self, batch, dtype):
    """Before the first step."""
    return (jnp.zeros((batch, self.width), dtype),)


CELLS = dict(lstm=LSTM, gru=GRU)


def _gates(width, count, x_KBD, forget=None):
  """The inputs' part of the gates, [K, B, count * width]; 1 added to one."""
  gates_KBG = Dense(count * width, name="input")(x_KBD)
  if forget is None:
    return gates_KBG
  # A constant beside the bias, so that no weight decay pulls it to 0.
  ones_G = jnp.arange(count * width) // width == forget
  return gates_KBG + ones_G.astype(gates_KBG.dtype)[None, None]


def _recurrent_kernel(module, count, dtype):
  """[D, count * D], an orthogonal matrix for each gate at first."""
  D = module.width

  def init(key, shape):
    orthogonal = nn.initializers.orthogonal()
    keys = jax.random.split(key, count)
    return jnp.concatenate([orthogonal(k, (D, D)) for k in keys], 1)

  return module.param("recurrent_kernel", init, (D, count * D)).astype(dtype)


def _after(first_BD, later_KBD, n):
  """The state after n steps; None: after all."""
  if n is None:
    return later_KBD[-1]
  states = _from(first_BD, later_KBD, len(later_KBD) + 1)
  return jax.lax.dynamic_index_in_dim(states, n, keepdims=False)


def _from(first_BD, later_KBD, count):
  """The first state and those that follow, `count` in all."""
  return jnp.concatenate([first_BD[None], later_KBD[: count - 1]])


def _sigmoid(a):
  # XLA on CPU takes five times as long for a logistic function.
  return 0.5 * jnp.tanh(0.5 * a) + 0.5


# --- LSTM ---


@jax.custom_vjp
def lstm(gates_KBG, h_BD, c_BD, kernel_DG):
  """(h, c) of K steps, each [K, B, D].

  Args:
    gates_KBG: what inputs and biases give to the gates: input, forget, cell
      and output in turn, before their nonlinearities; G = 4D.
    h_BD, c_BD: the state.
    kernel_DG: from h to the gates.
  """
  return _lstm_forward(gates_KBG, h_BD, c_BD, kernel_DG)[0]


def _lstm_gates(gates_BG):
  """All four after their nonlinearities, by one tanh; see `_sigmoid`."""
  G = gates_BG.shape[-1]
  candidate_G = jnp.arange(G) // (G // 4) == 2
  scale_G = jnp.where(candidate_G, 1, 0.5).astype(gates_BG.dtype)[None]
  return scale_G * jnp.tanh(scale_G * gates_BG) + (1 - scale_G)


def _lstm_forward(gates_KBG, h_BD, c_BD, kernel_DG):
  def step(state, gates_BG):
    h, c = state
    gates_BG = _lstm_gates(gates_BG + h @ kernel_DG)
    i, f, g, o = jnp.split(gates_BG, 4, -1)
    c = f * c + i * g
    h = o * jnp.tanh(c)
    return (h, c), (h, c, gates_BG)

  _, (h_KBD, c_KBD, gates_KBG) = jax.lax.scan(step, (h_BD, c_BD), gates_KBG)
  saved = gates_KBG, h_BD, c_BD, h_KBD, c_KBD, kernel_DG
  return (h_KBD, c_KBD), saved


def _lstm_backward(saved, grads):
  gates_KBG, h_BD, c_BD, h_KBD, c_KBD, kernel_DG = saved
  K = len(h_KBD)
  kernel_GD = kernel_DG.T

  def step(state, inputs):
    dh, dc = state
    dh_out, dc_out, gates_BG, c_before, c = inputs
    i, f, g, o = jnp.split(gates_BG, 4, -1)
    tanh_c = jnp.tanh(c)
    dh = dh + dh_out
    dc = dc + dc_out + dh * o * (1 - tanh_c**2)
    di = dc * g * i * (1 - i)
    df = dc * c_before * f * (1 - f)
    dg = dc * i * (1 - g**2)
    do = dh * tanh_c * o * (1 - o)
    dgates_BG = jnp.concatenate([di, df, dg, do], -1)
    return (dgates_BG @ kernel_GD, dc * f), dgates_BG

  zero = jnp.zeros_like(h_BD), jnp.zeros_like(c_BD)
  inputs = *grads, gates_KBG, _from(c_BD, c_KBD, K), c_KBD
  (dh, dc), dgates_KBG = jax.lax.scan(step, zero, inputs, reverse=True)
  return dgates_KBG, dh, dc, _kernel_grad(_from(h_BD, h_KBD, K), dgates_KBG)


def _kernel_grad(h_KBD, dgates_KBG):
  """Of all steps in one product, [D, G]."""
  h, dgates = (a.reshape(-1, a.shape[-1]) for a in (h_KBD, dgates_KBG))
  return h.T @ dgates


lstm.defvjp(_lstm_forward, _lstm_backward)


# --- GRU ---


@jax.custom_vjp
def gru(gates_KBG, h_BD, kernel_DG, bias_D):
  """h of K steps, [K, B, D].

  Args:
    gates_KBG: what inputs and biases give to the gates: reset, update and
      candidate in turn, before their nonlinearities; G = 3D.
    h_BD: the state.
    kernel_DG: from h to the gates.
    bias_D: of the candidate, under the reset gate.
  """
  return _gru_forward(gates_KBG, h_BD, kernel_DG, bias_D)[0]


def _gru_gates(gates_BG, product_BG, bias_D):
  """(reset, update, candidate, what reset is a factor of)."""
  D = bias_D.shape[0]
  both = _sigmoid(gates_BG[:, : 2 * D] + product_BG[:, : 2 * D])
  reset, update = jnp.split(both, 2, -1)
  recurrent = product_BG[:, 2 * D :] + bias_D[None]
  candidate = jnp.tanh(gates_BG[:, 2 * D :] + reset * recurrent)
  return reset, update, candidate, recurrent


def _gru_forward(gates_KBG, h_BD, kernel_DG, bias_D):
  def step(h, gates_BG):
    saved = _gru_gates(gates_BG, h @ kernel_DG, bias_D)
    _, update, candidate, _ = saved
    h = (1 - update) * candidate + update * h
    return h, (h, saved)

  _, (h_KBD, gates) = jax.lax.scan(step, h_BD, gates_KBG)
  return h_KBD, (gates, h_BD, h_KBD, kernel_DG)


def _gru_backward(saved, grads_KBD):
  gates, h_BD, h_KBD, kernel_DG = saved
  kernel_GD = kernel_DG.T
  before_KBD = _from(h_BD, h_KBD, len(h_KBD))

  def step(dh, inputs):
    dh_out, before, (reset, update, candidate, recurrent) = inputs
    dh = dh + dh_out
    dn = dh * (1 - update) * (1 - candidate**2)
    dr = dn * recurrent * reset * (1 - reset)
    du = dh * (before - candidate) * update * (1 - update)
    dproduct_BG = jnp.concatenate([dr, du, dn * reset], -1)
    dgates_BG = jnp.concatenate([dr, du, dn], -1)
    return dh * update + dproduct_BG @ kernel_GD, (dgates_BG, dproduct_BG)

  inputs = grads_KBD, before_KBD, gates
  dh, (dgates_KBG, dproduct_KBG) = jax.lax.scan(
    step, jnp.zeros_like(h_BD), inputs, reverse=True
  )
  dbias_D = dproduct_KBG[..., -h_BD.shape[-1] :].sum((0, 1))
  return dgates_KBG, dh, _kernel_grad(before_KBD, dproduct_KBG), dbias_D


gru.defvjp(_gru_forward, _gru_backward)
