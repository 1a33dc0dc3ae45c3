"""Random orders: one fixed by a seed, or fresh ones."""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax.types import Ordering

TINY = [
  dict(shape=(5,), seed=1),
  dict(shape=(2, 3), seed=2),
  dict(shape=(5,), fresh=True),
  dict(shape=(5,), fresh=True, shared=True),
]


def make(shape, *, seed=0, fresh=False, shared=False):
  """One uniformly random order, or all of them.

  Args:
    shape: sites.
    seed: which order; unread when `fresh`.
    fresh: a new order for each example, from the example's own key. This is
      the any-order model: its NLL over drawn orders is a bound.
    shared: with `fresh`, one new order for all examples that are drawn for
      together, a batch on one device, from the key of the first: as MADE and
      NADE were trained, with one mask for the batch. The gradient's mean is
      that of orders for each example, its variance is larger; and what an
      example is scored under depends on its batch.
  Raises:
    ValueError: `shared` without `fresh`.
  """
  if shared and not fresh:
    raise ValueError("shared=True is said of fresh orders: fresh=True")
  length = int(np.prod(shape))
  if fresh:

    def draw(key_B):
      def one(key):
        return jax.random.permutation(key, length)

      key_B = key_B[:1] if shared else key_B
      return jax.vmap(one)(key_B).astype(jnp.int32)

    return Ordering(None, draw)
  order_1L = np.random.default_rng(seed).permutation(length)[None]
  order_1L = order_1L.astype(np.int32)
  return Ordering(order_1L, lambda key_B: order_1L)
