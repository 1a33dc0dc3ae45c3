"""The last layers of an image model: a pixel's feature to its sites' theta."""

import jax.numpy as jnp
from flax import linen as nn

from ar_jax.nn.dense import Dense


class Tail(nn.Module):
  """relu, 1x1, relu, 1x1; sub-pixels are told those before them.

  With S sub-pixels as sites the layers below run once a pixel, and this once
  a site: no layer below needs groups of channels.

  hidden: width between the two maps.
  num_params: P of the head.
  subpixels: S; 1: the pixel is the site.
  """

  hidden: int
  num_params: int
  subpixels: int

  @nn.compact
  def __call__(self, h, value=None, index=None):
    """theta [..., P] of sites; [..., D] is of one site each.

    Args:
      h: [..., D].
      value: [..., S], the pixel's values on the scale of `pixels.code`; what
        is not before the site is not read. None where S is 1.
      index: int, [] or [...], of the last axes of h: which sub-pixel.
    """
    if self.subpixels > 1:
      before = jnp.tri(self.subpixels, k=-1, dtype=value.dtype)[index]
      before = before.reshape((1,) * (value.ndim - before.ndim) + before.shape)
      before = jnp.broadcast_to(before, value.shape)
      known = jnp.concatenate([value * before, before], -1)
      h = h + Dense(h.shape[-1], name="known")(known)
    h = nn.relu(Dense(self.hidden, name="hidden")(nn.relu(h)))
    return Dense(self.num_params, name="theta")(h)

  def every(self, h_BHWD, value_BHWS):
    """theta [B, H, W, S, P] of all sites of a grid."""
    if self.subpixels == 1:
      return self(h_BHWD)[:, :, :, None]
    (B, H, W, D), S = h_BHWD.shape, self.subpixels
    h = jnp.broadcast_to(h_BHWD[:, :, :, None], (B, H, W, S, D))
    value = jnp.broadcast_to(value_BHWS[:, :, :, None], (B, H, W, S, S))
    return self(h, value, jnp.arange(S))
