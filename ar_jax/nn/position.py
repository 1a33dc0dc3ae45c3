"""Where a step is: coordinates of the sites, told to a network three ways.

Tables have L + 1 rows: row 0 is the start, where nothing has been read yet,
row s + 1 is site s. A step is told about its source (the site whose value it
reads) and, where a network wants it, its target (the site it predicts).
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

_BASE = 10_000.0  # of Vaswani et al. 2017 and Su et al. 2021


def rows(order_BL):
  """Table rows of the sources, then targets: int32 [1|B, L + 1], or None.

  Step t reads row index t (its source) and row index t + 1 (its target).
  None (the identity order) stays None: rows are then consecutive.
  """
  if order_BL is None:
    return None
  return jnp.pad(jnp.asarray(order_BL) + 1, ((0, 0), (1, 0)))


def take(table, rows_BL, start, count):
  """Rows start .. start + count - 1 of `rows`: [1|B, count, ...]."""
  if rows_BL is None:
    return jax.lax.dynamic_slice_in_dim(table, start, count)[None]
  index = jax.lax.dynamic_slice_in_dim(rows_BL, start, count, axis=1)
  return table[index]


def coordinates(shape):
  """Coordinates of the rows, float64 [L + 1, axes]; the start is at -1."""
  sites = np.indices(shape).reshape(len(shape), -1).T
  return np.concatenate([np.full((1, len(shape)), -1), sites]).astype(float)


def learned(param, name, shape, width):
  """A learned table [L + 1, width]: the sum of one table for each axis.

  Args:
    param: of the linen module that owns it; name: of its parameters, before
      the number of the axis.
  """
  init = nn.initializers.normal(0.02)
  index = coordinates(shape).astype(int) + 1
  total = 0
  for axis, size in enumerate(shape):
    table = param(f"{name}_{axis}", init, (size + 1, width))
    one_axis = len(shape) == 1
    total = total + (table if one_axis else table[index[:, axis]])
  return total


def sinusoidal(shape, width):
  """Sine and cosine features of the coordinates, float64 [L + 1, width].

  Vaswani et al. 2017, section 3.5; the axes share the width evenly.
  """
  pairs = _pairs(width, len(shape), "width")
  angles = _angles(coordinates(shape), pairs)
  features = np.concatenate([np.sin(angles), np.cos(angles)], -1)
  features = features.reshape(len(features), -1)
  return np.pad(features, ((0, 0), (0, width - features.shape[1])))


def rotary(shape, head_dim):
  """Rotation angles of the rows, float64 [L + 1, head_dim // 2].

  Su et al. 2021; the axes share the pairs evenly, pairs left over stay.
  """
  pairs = _pairs(head_dim, len(shape), "head dimension")
  angles = _angles(coordinates(shape), pairs).reshape(-1, len(shape) * pairs)
  return np.pad(angles, ((0, 0), (0, head_dim // 2 - angles.shape[1])))


def rotate(x_BKHD, angles_BKD):
  """Rotates pairs (i, i + D/2) of the last axis by [1|B, K, D/2] angles."""
  # In bfloat16 an angle of 300 is known to within one turn of 6.
  wide = jnp.promote_types(x_BKHD.dtype, jnp.float32)
  angles = jnp.asarray(angles_BKD, wide)[:, :, None]
  cos, sin = (f(angles).astype(x_BKHD.dtype) for f in (jnp.cos, jnp.sin))
  a, b = jnp.split(x_BKHD, 2, axis=-1)
  return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def _pairs(size, axes, name):
  if size % 2 or size < 2 * axes:
    raise ValueError(
      f"{name} {size} cannot hold positions of {axes} axes: it must be even"
      f" and at least {2 * axes}"
    )
  return size // 2 // axes


def _angles(coordinates_LA, pairs):
  frequency = _BASE ** (-np.arange(pairs) / pairs)
  return coordinates_LA[..., None] * frequency
