"""Images as networks read them: a grid, and values beside a channel of ones."""

from typing import NamedTuple

import jax.numpy as jnp

from ar_jax import ordering as orders


class Grid(NamedTuple):
  """Rows, columns, and sites of one pixel."""

  height: int
  width: int
  subpixels: int


def shape(spec, name):
  """The Grid of the data.

  Args:
    spec: DataSpec of shape (H, W), or (H, W, S) with one channel.
    name: of the model, for messages.
  Raises:
    ValueError: another shape.
  """
  if len(spec.shape) == 3 and spec.channels != 1:
    raise ValueError(
      f"{name} takes sub-pixels as sites or as channels, not both: shape"
      f" {spec.shape} with {spec.channels} channels"
    )
  if len(spec.shape) not in (2, 3):
    raise ValueError(
      f"{name} takes images, of shape (H, W) or (H, W, S); got {spec.shape}"
    )
  return Grid(*spec.shape, *(1,) * (3 - len(spec.shape)))


def grid(spec, ordering, name):
  """The Grid in the order of generation, one of the eight raster orders.

  Raises:
    ValueError: another shape or order.
  """
  shape(spec, name)
  try:
    turned = orders.symmetry(spec.shape, orders.trained(ordering))
  except ValueError as e:
    raise ValueError(f"{name} {e}") from e
  return Grid(*turned, *(1,) * (3 - len(turned)))


def code(x, num_values, dtype):
  """[..., C] to [..., C + 1]: values in [-1, 1], real ones as they are.

  The last channel is one: what is beyond the edge is padded with zeros, and
  is told from every value.
  """
  x = x.astype(dtype)
  if num_values is not None:
    x = 2 * x / max(num_values - 1, 1) - 1
  return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
