"""Convolution without padding: one map for whole grids and for one window."""

import jax
from flax import linen as nn

from ar_jax.nn.dense import matmul


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
  """VALID convolution with a kernel [kh, kw, D, F]; one matmul of a window."""
  (kh, kw, D, F), (dh, dw) = kernel.shape, dilation
  if x_BHWD.shape[1:3] == ((kh - 1) * dh + 1, (kw - 1) * dw + 1):
    window_BX = x_BHWD[:, ::dh, ::dw].reshape(-1, kh * kw * D)
    return matmul(window_BX, kernel.reshape(-1, F))[:, None, None]
  return jax.lax.conv_general_dilated(
    x_BHWD,
    kernel,
    window_strides=(stride, stride),
    padding="VALID",
    rhs_dilation=dilation,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
