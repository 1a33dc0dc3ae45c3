"""Convolution without padding: one map for whole grids and for one window."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from ar_jax.nn.dense import matmul

_MANY = 16  # features
_SMALL = 256  # pixels of a grid


class Conv(nn.Module):
  """VALID convolution of [B, H, W, D] with a kernel of kh x kw.

  Callers pad (a whole grid) or hand over a window as large as the kernel
  reaches (one site), which is one matrix product: both run these parameters.
  """

  features: int
  kernel: tuple
  dilation: tuple = (1, 1)
  use_bias: bool = True

  @nn.compact
  def __call__(self, x_BHWD):
    """[B, H - reach, W - reach, features], reach = (k - 1) * dilation."""
    init = nn.initializers.lecun_normal()
    shape = *self.kernel, x_BHWD.shape[-1], self.features
    kernel = self.param("kernel", init, shape).astype(x_BHWD.dtype)
    y_BHWF = convolve(x_BHWD, kernel, dilation=self.dilation)
    if self.use_bias:
      zeros = nn.initializers.zeros
      bias = self.param("bias", zeros, (self.features,)).astype(x_BHWD.dtype)
      y_BHWF = y_BHWF + bias.reshape(1, 1, 1, -1)
    return y_BHWF


def convolve(x_BHWD, kernel, *, dilation=(1, 1), stride=1):
  """VALID convolution with a kernel [kh, kw, D, F].

  A window as large as the kernel reaches is one matrix product, and so is a
  kernel of one tap: as a convolution XLA on CPU takes up to five times as long
  for the gradient of its weights.
  """
  (kh, kw, D, F), (dh, dw) = kernel.shape, dilation
  if x_BHWD.shape[1:3] == ((kh - 1) * dh + 1, (kw - 1) * dw + 1):
    window_BX = x_BHWD[:, ::dh, ::dw].reshape(-1, kh * kw * D)
    return matmul(window_BX, kernel.reshape(-1, F))[:, None, None]
  if stride > 1:
    return _lax(x_BHWD, kernel, dilation, stride)
  if kh == kw == 1:
    return matmul(x_BHWD, kernel[0, 0])
  return _taps(x_BHWD, kernel, dilation)


def _lax(x_BHWD, kernel, dilation, stride=1):
  return jax.lax.conv_general_dilated(
    x_BHWD,
    kernel,
    window_strides=(stride, stride),
    padding="VALID",
    rhs_dilation=dilation,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _taps(x_BHWD, kernel, dilation):
  """The convolution, with gradients that are quick on a CPU too."""
  return _lax(x_BHWD, kernel, dilation)


def _forward(x_BHWD, kernel, dilation):
  return _taps(x_BHWD, kernel, dilation), (x_BHWD, kernel)


def _backward(dilation, saved, g_BHWF):
  gradients = functools.partial(_gradients, dilation)
  return jax.lax.platform_dependent(
    *saved, g_BHWF, cpu=gradients, default=functools.partial(_plain, dilation)
  )


_taps.defvjp(_forward, _backward)


def _plain(dilation, x_BHWD, kernel, g_BHWF):
  """The gradients as XLA derives them: convolutions."""
  return jax.vjp(lambda *args: _lax(*args, dilation), x_BHWD, kernel)[1](g_BHWF)


def _gradients(dilation, x_BHWD, kernel, g_BHWF):
  """The gradients tap by tap, where that is the quicker way on a CPU.

  Of the weights each tap is a product, with the incoming gradient transposed
  once for all of them; of the input one product makes what all taps send back,
  which does not work on the edge that a convolution would pad: a third of the
  work on a grid of 8 x 8.
  """
  (kh, kw, D, F), (dh, dw) = kernel.shape, dilation
  (B, H, W, _), g_NF = g_BHWF.shape, g_BHWF.reshape(-1, F)
  taps = [(a * dh, b * dw) for a in range(kh) for b in range(kw)]
  grad_x, grad_kernel = _plain(dilation, x_BHWD, kernel, g_BHWF)
  if D >= _MANY:
    barrier = jax.lax.optimization_barrier
    g_FN = barrier(g_NF.T)
    each = [
      g_FN @ x_BHWD[:, i : i + H, j : j + W].reshape(-1, D) for i, j in taps
    ]
    grad_kernel = barrier(jnp.stack(each)).swapaxes(1, 2).reshape(kernel.shape)
  if H * W <= _SMALL:
    sent = g_NF @ kernel.transpose(3, 0, 1, 2).reshape(F, -1)
    sent = jnp.split(sent.reshape(B, H, W, -1), len(taps), axis=-1)
    below, right = (kh - 1) * dh, (kw - 1) * dw
    grad_x = sum(
      jnp.pad(s, ((0, 0), (i, below - i), (j, right - j), (0, 0)))
      for s, (i, j) in zip(sent, taps, strict=True)
    )
  return grad_x, grad_kernel
