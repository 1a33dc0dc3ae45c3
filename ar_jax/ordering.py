"""Orders applied to data: the one place where anything is reordered.

`order[t] = site`. Data order is the order of sites; generation order is the
order of steps.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax.types import Ordering


def fixed(order_L):
  """The Ordering of one order; the identity's `draw` gives None."""
  order_1L = np.asarray(order_L, np.int32)[None]
  identity = bool((order_1L == np.arange(order_1L.size)).all())
  return Ordering(order_1L, lambda key_B: None if identity else order_1L)


def by_keys(shape, keys):
  """The order of sites sorted by what `keys` says of their pixels: int [L].

  Args:
    shape: (T,), a grid of one row; (H, W); or (H, W, S), whose S sub-pixels
      follow one another.
    keys: (row, column, H, W) -> tuple of int arrays like row, the first one
      decides; ties are left as in the raster.
  """

  def order_of(H, W):
    row, column = np.indices((H, W)).reshape(2, -1)
    return np.lexsort(keys(row, column, H, W)[::-1])

  return over_pixels(shape, order_of)


def over_pixels(shape, order_of):
  """The order of sites whose pixels lie as `order_of(H, W)`: int [L].

  Args:
    shape: as in `by_keys`.
    order_of: (H, W) -> int [H * W].
  """
  H, W, S = grid(shape)
  pixel_P = np.asarray(order_of(H, W))
  return (pixel_P[:, None] * S + np.arange(S)).reshape(-1)


def grid(shape):
  """(H, W, S) of a sequence, a grid, or a grid with sub-pixels as sites.

  Raises:
    ValueError: more axes.
  """
  if len(shape) == 1:
    return 1, shape[0], 1
  if len(shape) == 2:
    return (*shape, 1)
  if len(shape) == 3:
    return tuple(shape)
  name = " x ".join(map(str, shape))
  raise ValueError(f"takes (T,), (H, W) or (H, W, S), got the shape {name}")


def only(ordering, name):
  """The order of a family that has one: int [L].

  Raises:
    ValueError: several, or all; `name` is what they are called.
  """
  orders_KL = ordering.orders_KL
  if orders_KL is None or len(orders_KL) != 1 or ordering.training:
    raise ValueError(f"{name} is not one order, but a family of them")
  return orders_KL[0]


def trained(ordering):
  """int32 [K, L], the orders that a network must take; None: all."""
  return None if ordering.training is not None else ordering.orders_KL


def draw_training(ordering, key_B, done):
  """The orders that examples are trained in: of `training`, else of `draw`."""
  if ordering.training is None:
    return ordering.draw(key_B)
  return ordering.training(key_B, done)


def is_identity(ordering):
  """Whether every order of the family is the identity."""
  orders_KL = ordering.orders_KL
  if orders_KL is None:
    return False
  return bool((orders_KL == np.arange(orders_KL.shape[1])).all())


def first(ordering, num, seed, length):
  """`num` orders of a family, int32 [num, L], in one sequence for a seed.

  All there are, in their order, where the family lists them.

  Args:
    ordering: Ordering.
    num: K.
    seed: of the draws from a family that is not listed.
    length: L.
  """
  if ordering.orders_KL is not None:
    return np.asarray(ordering.orders_KL[:num], np.int32)
  # Folded in and not split: more orders go on from fewer.
  fold = jax.vmap(jax.random.fold_in, (None, 0))
  key_K = fold(jax.random.key(seed), np.arange(num))
  drawn = [np.asarray(ordering.draw(key_K[k : k + 1])) for k in range(num)]
  return np.concatenate(drawn).reshape(num, length)


def rank(order_BL):
  """The inverse permutation: rank[site] = step. None stays None."""
  if order_BL is None:
    return None
  order_BL = jnp.asarray(order_BL)
  step_L = jnp.arange(order_BL.shape[-1], dtype=order_BL.dtype)

  def inverse(order_L):  # a scatter: sorting takes twenty times as long
    return jnp.zeros_like(order_L).at[order_L].set(step_L, unique_indices=True)

  return jax.vmap(inverse)(order_BL)


def permute(x_BL, order_BL):
  """From data order to generation order along axis 1; None: unchanged.

  Args:
    x_BL: [B, L, ...].
    order_BL: int32 [1, L] or [B, L], or None.
  """
  if order_BL is None:
    return x_BL
  if order_BL.shape[0] == 1:
    return jnp.take(x_BL, order_BL[0], axis=1)
  index = order_BL.reshape(order_BL.shape + (1,) * (x_BL.ndim - 2))
  return jnp.take_along_axis(x_BL, index, axis=1)


def unpermute(x_BL, order_BL):
  """From generation order back to data order along axis 1."""
  return permute(x_BL, rank(order_BL))


def permute_conditions(y, order_BL, aligned):
  """y with the conditions named in `aligned` in generation order."""
  if not y or order_BL is None:
    return y
  moved = {k: permute(v, order_BL) for k, v in y.items() if k in aligned}
  return {**y, **moved}


def symmetry(shape, orders_KL):
  """The grid of a raster order in the order of generation.

  Of the eight raster orders of a grid, each by rows or by columns, from any
  corner: a network that sees the sequence of the order as this grid needs no
  flip, for it is the raster of the flipped or transposed image. Sub-pixels, a
  third axis, come one after the other, forwards or backwards.

  Args:
    shape: (H, W) or (H, W, S), of the sites.
    orders_KL: int [K, L] of an Ordering, or None.
  Returns:
    (H, W) or (H, W, S) in the order of generation: by columns, (W, H).
  Raises:
    ValueError: another order, or several.
  """
  name = " x ".join(map(str, shape))
  if orders_KL is None or len(orders_KL) != 1:
    several = "all orders" if orders_KL is None else f"{len(orders_KL)} orders"
    raise ValueError(
      f"takes one of the eight raster orders of {name}, got {several}"
    )
  if len(shape) not in (2, 3):
    raise ValueError(f"takes a grid (H, W) or (H, W, S), got the shape {name}")
  site = np.arange(np.prod(shape)).reshape(shape)
  for grid in (site, site.swapaxes(0, 1)):
    for turned in (grid, grid[::-1], grid[:, ::-1], grid[::-1, ::-1]):
      for sites in (turned, turned[..., ::-1])[: len(shape) - 1]:
        if np.array_equal(sites.ravel(), orders_KL[0]):
          return sites.shape
  raise ValueError(
    f"takes the eight raster orders of {name}, got another one, which begins"
    f" {', '.join(map(str, orders_KL[0][:8]))}, ..."
  )


def known_first(order_BL, known_BL):
  """The orders with the known sites moved to the front, int32 [B, L].

  The known sites in the order they come, then the others in the order they
  come: a uniformly random order stays one of both.

  Args:
    order_BL: int [1, L] or [B, L]; None: the identity.
    known_BL: bool [1, L] or [B, L], in data order.
  """
  known_BL = np.asarray(known_BL)
  if order_BL is None:
    order_BL = np.arange(known_BL.shape[1])[None]
  shape = np.broadcast_shapes(np.shape(order_BL), known_BL.shape)
  order_BL = np.broadcast_to(order_BL, shape)
  later_BL = ~np.take_along_axis(np.broadcast_to(known_BL, shape), order_BL, 1)
  step_BL = np.argsort(later_BL, axis=1, kind="stable")
  return np.take_along_axis(order_BL, step_BL, 1).astype(np.int32)
