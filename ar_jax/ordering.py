"""Orders applied to data: the one place where anything is reordered.

`order[t] = site`. Data order is the order of sites; generation order is the
order of steps.
"""

import jax
import jax.numpy as jnp
import numpy as np


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


def jumps(order_L, shape):
  """Euclidean distance between sites of successive steps, float [L - 1]."""
  at_LA = np.stack(np.unravel_index(order_L, shape), -1)
  return np.linalg.norm(np.diff(at_LA, axis=0), axis=-1)


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
