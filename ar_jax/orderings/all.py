"""All orders: a new random one for each example. The any-order family."""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax.types import Ordering

TINY = [dict(shape=(5,)), dict(shape=(5,), shared=True)]


def make(shape, *, shared=False):
  """Every one of the L! orders, as likely as any other.

  The NLL over drawn orders is a bound on that of their mixture.

  Args:
    shape: sites.
    shared: one new order for all examples that are drawn for together, a
      batch on one device, from the key of the first: as MADE and NADE were
      trained, with one mask for the batch. The gradient's mean is that of
      orders for each example, its variance is larger; and what an example is
      scored under depends on its batch.
  """
  length = int(np.prod(shape))

  def draw(key_B):
    def one(key):
      return jax.random.permutation(key, length)

    key_B = key_B[:1] if shared else key_B
    return jax.vmap(one)(key_B).astype(jnp.int32)

  return Ordering(None, draw)
