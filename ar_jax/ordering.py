"""Orders applied to data: the one place where anything is reordered.

`order[t] = site`. Data order is the order of sites; generation order is the
order of steps.
"""

import jax.numpy as jnp
import numpy as np


def is_identity(ordering):
  """Whether every order of the family is the identity."""
  orders_KL = ordering.orders_KL
  if orders_KL is None:
    return False
  return bool((orders_KL == np.arange(orders_KL.shape[1])).all())


def rank(order_BL):
  """The inverse permutation: rank[site] = step. None stays None."""
  return None if order_BL is None else jnp.argsort(order_BL, -1)


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


def jumps(order_L, shape):
  """Euclidean distance between sites of successive steps, float [L - 1]."""
  at_LA = np.stack(np.unravel_index(order_L, shape), -1)
  return np.linalg.norm(np.diff(at_LA, axis=0), axis=-1)
