"""Devices and processes: how a run lies on them.

A Layout says where the state and the batches of a run are. `pmapped`: every
device has the whole state and some rows of the batch. `sharded`: the arrays
of the state are cut over a mesh of devices too, by rules on their paths, for
models that outgrow one device. Both run the one train step, and a batch gives
the same losses in both, on any number of devices and processes.
"""

import functools
import os
import re
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ar_jax import debugging, errors, optim

AXIS = "data"
MODEL = "model"

# Where no rules are given: what a map gives is cut over the model axis, and
# what it takes where that lies so already (Shoeybi et al. 2019).
RULES = (
  (r"(out|down)/kernel$", -2, MODEL),
  (r"(kernel|embedding)$", -1, MODEL),
)


class Layout(NamedTuple):
  """Where a run's state and batches are.

  ways: parts that a batch is cut into.
  rows: (batch size) -> slice, the rows of a batch that this process reads.
  feed: (those rows, numpy) -> the batch, as the step takes it.
  sharding: (state or shapes) -> the shardings of its leaves.
  compile: (make_step, debug=False) -> (state, batch, run_key) -> (state,
    metrics), the state donated; make_step: (reduce=...) -> train_step; debug:
    see `debugging.checked`.
  by_shapes: whether a compiled step can be looked at before there is a state.
  """

  ways: int
  rows: Any
  feed: Any
  sharding: Any
  compile: Any
  by_shapes: bool = True

  def place(self, state):
    """Lays out a state that every process has whole, or that lies so.

    With several processes pmap gives each of them an array of its own; this
    makes one of all, such as a checkpoint is written of.
    """
    if jax.process_count() > 1:
      state = jax.tree.map(_own, state)
    return jax.device_put(state, self.sharding(state))

  def make(self, init):
    """The state that `init` gives, no device making more than its share."""
    return jax.jit(init, out_shardings=self.sharding(jax.eval_shape(init)))()

  def shapes(self, state):
    """The state, or shapes of it, as shapes that are laid out."""
    return jax.tree.map(
      lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
      state,
      self.sharding(state),
    )


def pmapped(*, model=1, rules=None):
  """The Layout whose devices have the whole state each."""
  if model != 1 or rules is not None:
    raise errors.UsageError(
      "config.parallel.model and config.parallel.rules cut the state over"
      " devices, which takes --config.parallel.name=sharded"
    )

  def compile(make_step, debug=False):
    step = make_step(reduce=functools.partial(jax.lax.psum, axis_name=AXIS))
    # Donation under pmap fails with several processes of several devices.
    donate = (0,) if jax.process_count() == 1 else ()
    mapped = functools.partial(
      jax.pmap, axis_name=AXIS, in_axes=(None, 0, None), donate_argnums=donate
    )
    if debug:
      mapped = functools.partial(mapped, out_axes=(0, None))
      return debugging.checked(mapped, step)
    return mapped(step, out_axes=None)

  def sharding(state):  # else pmap would compile twice
    return jax.tree.map(lambda _: _everywhere(), state)

  # In several processes jax.pmap lowers arrays only.
  ways, alone = jax.device_count(), jax.process_count() == 1
  return Layout(ways, _rows, _split, sharding, compile, by_shapes=alone)


def sharded(*, model=1, rules=None):
  """The Layout over a mesh of devices, "data" by "model".

  The batch is cut over "data". An array of the state is cut over an axis by
  the first rule for that axis that its path matches and that divides it; one
  that no rule cuts is whole on every device.

  Args:
    model: devices along "model"; the others lie along "data".
    rules: of (regular expression, dimension, axis); None: RULES. The path of
      a kernel is "params/gpt/block_0/up/kernel", that of its first moment
      "opt_state/1/mu/gpt/block_0/up/kernel".
  Raises:
    UsageError: a mesh that cannot be, or a rule that is none.
  """
  count = jax.device_count()
  if type(model) is not int or model < 1 or count % model:
    raise errors.UsageError(
      f"config.parallel.model {model} must divide the {count} devices"
    )
  rules = RULES if rules is None else rules
  for rule in rules:
    _check_rule(rule)
  auto = (AxisType.Auto, AxisType.Auto)
  mesh = jax.make_mesh((count // model, model), (AXIS, MODEL), axis_types=auto)

  def sharding(state):
    def leaf(path, a):
      return NamedSharding(mesh, _spec(mesh, rules, optim.path_name(path), a))

    return jax.tree_util.tree_map_with_path(leaf, state)

  def compile(make_step, debug=False):
    step = make_step()

    def laid_out(state, batch, run_key):
      state, metrics = step(state, batch, run_key)
      whole = jax.tree.map(
        lambda _: NamedSharding(mesh, PartitionSpec()), metrics
      )
      shardings = sharding(state), whole
      return jax.lax.with_sharding_constraint((state, metrics), shardings)

    compiled = functools.partial(jax.jit, donate_argnums=0)
    return (
      debugging.checked(compiled, laid_out) if debug else compiled(laid_out)
    )

  rows = functools.partial(_rows_over, mesh)
  feed = functools.partial(_feed_over, mesh)
  return Layout(count // model, rows, feed, sharding, compile)


def _check_rule(rule):
  try:
    pattern, dimension, axis = rule
    re.compile(pattern)
    if axis in (AXIS, MODEL) and type(dimension) is int:
      return
  except (TypeError, ValueError, re.error):
    pass
  raise errors.UsageError(
    f"config.parallel.rules: {rule!r} is no rule (regular expression,"
    f" dimension, {AXIS!r} or {MODEL!r})"
  )


def _spec(mesh, rules, name, a):
  """The PartitionSpec of the array of a path."""
  axes = [None] * a.ndim
  for pattern, dimension, axis in rules:
    if axis in axes or not re.search(pattern, name):
      continue
    free = -a.ndim <= dimension < a.ndim and axes[dimension] is None
    if free and a.shape[dimension] % mesh.shape[axis] == 0:
      axes[dimension] = axis
  return PartitionSpec(*axes)


def _rows(batch_size):
  """The rows of a batch that the devices of this process have."""
  count = batch_size // jax.process_count()
  return slice(jax.process_index() * count, (jax.process_index() + 1) * count)


def _split(batch):
  """[B, ...] leaves to [local devices, B / devices, ...]."""
  n = jax.local_device_count()

  def split(a):
    return a.reshape(n, a.shape[0] // n, *a.shape[1:])

  return jax.tree.map(split, batch)


def _rows_over(mesh, batch_size):
  """The same where a batch is cut over the "data" axis of a mesh."""
  cut = NamedSharding(mesh, PartitionSpec(AXIS))
  places = cut.addressable_devices_indices_map((batch_size,)).values()
  ranges = [rows.indices(batch_size) for (rows,) in places]
  return slice(min(r[0] for r in ranges), max(r[1] for r in ranges))


def _feed_over(mesh, batch):
  """The whole batch, cut over "data", of the rows of each process."""
  cut = NamedSharding(mesh, PartitionSpec(AXIS))
  make = functools.partial(jax.make_array_from_process_local_data, cut)
  return jax.tree.map(lambda a: make(np.asarray(a)), batch)


def map_batch(function):
  """(params, batch) -> one result a row, the rows over all devices.

  Parameters that are cut over a mesh are used as they lie. Each process gives
  the whole batch, computes its rows and gets those of all.
  """
  mapped = jax.pmap(function, in_axes=(None, 0))
  jitted = jax.jit(function)

  def call(params, batch):
    mesh = _mesh(params)
    size = len(jax.tree.leaves(batch)[0])
    own = _rows(size) if mesh is None else _rows_over(mesh, size)
    batch = jax.tree.map(lambda a: a[own], batch)
    if mesh is not None:
      return fetch(jitted(params, _feed_over(mesh, batch)))
    rows = mapped(params, _split(batch))
    rows = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), rows)
    if jax.process_count() == 1:
      return rows
    return multihost_utils.process_allgather(rows, tiled=True)

  return call


def over_rows(sampler):
  """The sampler, its rows over all local devices where there are several.

  The noise of a row is that of its number, so the rows are the same whatever
  the devices, but for rounding: a row that lies beside others is computed in
  products of another size. Rows that the devices do not divide are filled up.
  A sampler without `rows` (see samplers/ancestral.py) is left as it is; so is
  one that goes on in chunks. Every process draws all rows. Parameters that
  are cut over a mesh are put together on every device.
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
    if _mesh(params) is not None:
      params = jax.device_put(params, _everywhere())
    args, prefix = sampler.arguments(params, key, order_BL, given, y)
    params, row_B, order_BL, *rest = args
    own_orders = order_BL is not None and len(order_BL) > 1
    filled_B = np.minimum(np.arange(padded(B)), B - 1)
    row_B, order, rest = _split(
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
  """Puts a pytree on all devices; what is cut over a mesh stays as it is."""
  mesh = _mesh(tree)
  whole = NamedSharding(mesh, PartitionSpec()) if mesh else _everywhere()

  def leaf(a):
    if mesh is not None and _mesh(a) is not None:
      return a
    return jax.device_put(a, whole)

  if mesh is None and jax.process_count() > 1:
    tree = fetch(tree)
  return jax.tree.map(leaf, tree)


def fetch(tree):
  """The arrays of a pytree as numpy, whole in every process.

  All processes must call it, where there are several.
  """

  def leaf(a):
    elsewhere = isinstance(a, jax.Array) and not a.is_fully_addressable
    if elsewhere and not a.is_fully_replicated:
      return multihost_utils.process_allgather(a, tiled=True)
    return np.asarray(a)

  return jax.tree.map(leaf, tree)


def _own(a):
  """An array of this process as numpy; one of all stays."""
  alone = not isinstance(a, jax.Array) or a.is_fully_addressable
  return np.asarray(a) if alone else a


def _everywhere():
  return NamedSharding(Mesh(jax.devices(), (AXIS,)), PartitionSpec())


def _mesh(tree):
  """The mesh of a `sharded` Layout that the arrays lie on, or None."""
  for a in jax.tree.leaves(tree):
    mesh = getattr(getattr(a, "sharding", None), "mesh", None)
    if mesh is not None and MODEL in mesh.axis_names:
      return mesh
  return None


def check_batch_size(batch_size, accumulate, ways):
  """Raises UsageError where a training batch does not divide evenly."""
  if batch_size % (ways * accumulate):
    raise errors.UsageError(
      f"config.train.batch_size {batch_size} must divide by {ways} parts on"
      f" devices x config.train.accumulate {accumulate}"
    )


def padded(batch_size):
  """The next batch size that divides by the devices."""
  n = jax.device_count()
  return -(-batch_size // n) * n


def start(coordinator=None, num_processes=None, process_id=None):
  """Joins the processes of one run; to be called before JAX sees a device.

  Nothing happens where there is one process. The tasks of a SLURM step are
  joined by themselves, unless num_processes is 1.

  Args:
    coordinator: HOST:PORT of process 0; "auto": what JAX detects, as on TPU
      pods, under SLURM, Open MPI and Kubernetes.
    num_processes, process_id: of the run, of this one; None: as detected.
  Raises:
    UsageError: the processes cannot be joined.
  """
  tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
  asked = coordinator is not None or process_id is not None
  if num_processes == 1 or not (asked or num_processes or tasks > 1):
    return
  given = coordinator, num_processes, process_id
  if tasks == 1 and coordinator != "auto" and None in given:
    raise errors.UsageError(
      "--coordinator=HOST:PORT, --num_processes and --process_id go together"
    )
  try:
    jax.distributed.initialize(
      coordinator_address=None if coordinator == "auto" else coordinator,
      num_processes=num_processes,
      process_id=process_id,
    )
  except (ValueError, RuntimeError) as e:
    said = str(e).splitlines()[0]
    raise errors.UsageError(
      f"the processes cannot be joined: {said}; give each of them"
      " --coordinator=HOST:PORT --num_processes=N --process_id=0..N-1"
    ) from e


def is_first():
  """Whether this is the process that writes and prints."""
  return jax.process_index() == 0


def largest(value):
  """The largest of the numbers that the processes say."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.process_allgather(np.int32(value)).max())


def agreed(value):
  """What the first process says, in all of them: a number or an array."""
  if jax.process_count() == 1:
    return value
  return multihost_utils.broadcast_one_to_all(value)
