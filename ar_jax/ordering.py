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
