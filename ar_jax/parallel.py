"""Data parallelism: a batch over devices, the state in its natural shape."""

import functools

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ar_jax import errors

AXIS = "data"


def data_parallel(make_step):
  """Compiles a train step under pmap.

  Args:
    make_step: (reduce=...) -> train_step; reduce is the sum over devices.
  Returns:
    (state, sharded batch, run_key) -> (state, metrics), the state donated.
  """
  step = make_step(reduce=functools.partial(jax.lax.psum, axis_name=AXIS))
  # Donation under pmap fails with several processes of several devices.
  donate = (0,) if jax.process_count() == 1 else ()
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, 0, None),
    out_axes=None,
    donate_argnums=donate,
  )


def map_batch(function):
  """(params, batch) -> one result a row, the rows over all devices."""
  mapped = jax.pmap(function, in_axes=(None, 0))

  def call(params, batch):
    rows = mapped(params, shard(batch))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), rows)

  return call


def over_rows(sampler):
  """The sampler, its rows over all local devices where there are several.

  The noise of a row is that of its number, so the rows are the same whatever
  the devices, but for rounding: a row that lies beside others is computed in
  products of another size. Rows that the devices do not divide are filled up.
  A sampler without `rows` (see samplers/ancestral.py) is left as it is; so is
  one that goes on in chunks.
  """
  if not hasattr(sampler, "rows"):
    return sampler

  @functools.lru_cache(maxsize=8)
  def mapped(prefix, own_orders):
    return jax.pmap(
      functools.partial(sampler.rows, prefix=prefix),
      in_axes=(None, 0, 0 if own_orders else None, 0, 0, 0),
    )

  @functools.wraps(sampler)  # begin, go_on and what else it has
  def call(params, key, order_BL, given, y=None):
    B = len(given[0])
    if jax.local_device_count() == 1 or B == 1:
      return sampler(params, key, order_BL, given, y)
    args, prefix = sampler.arguments(params, key, order_BL, given, y)
    params, row_B, order_BL, *rest = args
    own_orders = order_BL is not None and len(order_BL) > 1
    filled_B = np.minimum(np.arange(padded(B)), B - 1)
    row_B, order, rest = shard(
      jax.tree.map(
        lambda a: a[filled_B],
        (row_B, order_BL if own_orders else None, rest),
      )
    )
    order = order if own_orders else order_BL
    found = mapped(prefix, own_orders)(params, row_B, order, *rest)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:B], found)

  return call


def replicate(tree):
  """Puts a pytree on all devices; without it pmap would compile twice."""
  mesh = Mesh(jax.devices(), (AXIS,))
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard(batch):
  """[B, ...] leaves to [devices, B / devices, ...]."""
  n = jax.local_device_count()

  def split(a):
    return a.reshape(n, a.shape[0] // n, *a.shape[1:])

  return jax.tree.map(split, batch)


def check_batch_size(batch_size, accumulate):
  """Raises UsageError where a training batch does not divide evenly."""
  n = jax.device_count()
  if batch_size % (n * accumulate):
    raise errors.UsageError(
      f"config.train.batch_size {batch_size} must divide by {n} devices x"
      f" config.train.accumulate {accumulate}"
    )


def padded(batch_size):
  """The next batch size that divides by the devices."""
  n = jax.local_device_count()
  return -(-batch_size // n) * n
