"""Random orders that become one order while training goes on.

Yu et al. 2024 (RAR): an example has a random order with a probability that
falls from one to zero, else the order in which the network is used.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import ordering, registry
from ar_jax.types import Ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3), to=dict(name="snake"))]


def make(shape, *, start=0.5, stop=0.75, to=None):
  """Scored and sampled in one order; trained in random ones before.

  Args:
    shape: sites.
    start: the share of the updates up to which all orders are random.
    stop: the share from which on none is; linear between the two.
    to: section of the order; None: raster.
  Raises:
    ValueError: shares that are not 0 <= start <= stop <= 1.
  """
  if not 0 <= start <= stop <= 1:
    raise ValueError(f"0 <= start <= stop <= 1, got {start} and {stop}")
  length = int(np.prod(shape))
  section = dict(name="raster") if to is None else to
  made = registry.build("orderings", section, shape)
  order_L = jnp.asarray(ordering.only(made, section["name"]), jnp.int32)

  def training(key_B, done):
    left = jnp.where(done < start, 1.0, 0.0)
    if stop > start:
      left = jnp.clip((stop - done) / (stop - start), 0, 1)

    def one(key):
      choice, key = jax.random.split(key)
      drawn_L = jax.random.permutation(key, length).astype(jnp.int32)
      return jnp.where(jax.random.uniform(choice) < left, drawn_L, order_L)

    return jax.vmap(one)(key_B)

  return Ordering(made.orders_KL, made.draw, training)
