"""Random orders: one fixed by a seed, or a fresh one for each example."""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax.types import Ordering

TINY = [
  dict(shape=(5,), seed=1),
  dict(shape=(2, 3), seed=2),
  dict(shape=(5,), fresh=True),
]


def make(shape, *, seed=0, fresh=False):
  """One uniformly random order, or all of them.

  Args:
    shape: sites.
    seed: which order; unread when `fresh`.
    fresh: a new order for each example, from the example's own key. This is
      the any-order model: its NLL over drawn orders is a bound.
  """
  length = int(np.prod(shape))
  if fresh:

    def draw(key_B):
      def one(key):
        return jax.random.permutation(key, length)

      return jax.vmap(one)(key_B).astype(jnp.int32)

    return Ordering(None, draw)
  order_1L = np.random.default_rng(seed).permutation(length)[None]
  order_1L = order_1L.astype(np.int32)
  return Ordering(order_1L, lambda key_B: order_1L)
