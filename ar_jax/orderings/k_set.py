"""A set of K orders, one of them chosen for each example."""

import jax
import numpy as np

from ar_jax import ordering, registry
from ar_jax.types import Ordering

TINY = [
  dict(shape=(5,), count=3),
  dict(shape=(2, 3), of=(dict(name="snake"), dict(name="column"))),
]


def make(shape, *, of=(), count=0, seed=0):
  """A uniform choice of K: a network of them all.

  It is scored under one drawn order an item, a bound, or under K of them,
  mixed, with config.evaluate.orders=K.

  Args:
    shape: sites.
    of: sections of orders.
    count: random orders besides.
    seed: of these.
  Raises:
    ValueError: no order at all.
  """
  if not len(of) + count or count < 0:
    raise ValueError("an order at the least: of=(dict(name=...), ...) or count")
  length = int(np.prod(shape))
  listed = [
    ordering.only(registry.build("orderings", s, shape), s["name"]) for s in of
  ]
  rng = np.random.default_rng(seed)
  drawn = [rng.permutation(length) for _ in range(count)]
  orders_KL = np.stack([*listed, *drawn]).astype(np.int32)

  def draw(key_B):
    def one(key):
      return jax.random.randint(key, (), 0, len(orders_KL))

    return jax.numpy.asarray(orders_KL)[jax.vmap(one)(key_B)]

  return Ordering(orders_KL, draw)
