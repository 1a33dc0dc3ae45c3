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
    (kh, kw), (dh, dw), D = self.kernel, self.dilation, x_BHWD.shape[-1]
    init = nn.initializers.lecun_normal()
    shape = kh, kw, D, self.features
    kernel = self.param("kernel", init, shape).astype(x_BHWD.dtype)
    if x_BHWD.shape[1:3] == ((kh - 1) * dh + 1, (kw - 1) * dw + 1):
      window_BX = x_BHWD[:, ::dh, ::dw].reshape(-1, kh * kw * D)
      y_BHWF = matmul(window_BX, kernel.reshape(-1, self.features))
      y_BHWF = y_BHWF[:, None, None]
    else:
      y_BHWF = jax.lax.conv_general_dilated(
        x_BHWD,
        kernel,
        window_strides=(1, 1),
        padding="VALID",
        rhs_dilation=self.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
      )
    if self.use_bias:
      zeros = nn.initializers.zeros
      bias = self.param("bias", zeros, (self.features,)).astype(x_BHWD.dtype)
      y_BHWF = y_BHWF + bias.reshape(1, 1, 1, -1)
    return y_BHWF
