"""Dilated causal convolution, and rings that hold what it still needs.

A ring [S, B, D] holds the inputs of the last S steps, that of step t in slot
t mod S: nothing is ever shifted. Before the first step it is zero, which is
the padding of the convolution.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax.nn import conv


def convolve(a_BTD, kernel_kDF, dilation):
  """[B, T - (k - 1) * dilation, F]: VALID, the oldest input first."""
  kernel = kernel_kDF.astype(a_BTD.dtype)[None]
  return conv.convolve(a_BTD[:, None], kernel, dilation=(1, dilation))[:, 0]


def unrolled(ring_SBD, t):
  """The inputs [B, S, D] of steps t - S .. t - 1 out of a ring."""
  return jnp.roll(ring_SBD, -t, axis=0).swapaxes(0, 1)


def rolled(a_BTD, slots, t, n):
  """The ring [slots, B, D] after n steps.

  Args:
    a_BTD: inputs of steps t - slots .. t + K - 1.
    slots: of the ring.
    t: first of the K steps.
    n: how many of them count.
  """
  last_BSD = jax.lax.dynamic_slice_in_dim(a_BTD, n, slots, axis=1)
  return jnp.roll(last_BSD.swapaxes(0, 1), t + n, axis=0)


def offsets(dilations, kernel):
  """Where the ring of each layer begins in a buffer of all; the end."""
  sizes = [(kernel - 1) * d for d in dilations]
  return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def slots(dilations, kernel, t):
  """Slots [k - 1, N] of a buffer of all rings that step t reads.

  The oldest tap is first: its slot is the one that the step then overwrites.
  """
  first_N = offsets(dilations, kernel)[:-1]
  dilation_N = np.array(dilations, np.int32)
  back_JN = np.arange(kernel - 1, 0, -1, dtype=np.int32)[:, None] * dilation_N
  return first_N[None] + (t - back_JN) % back_JN[:1]
