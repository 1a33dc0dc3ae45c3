"""What a run costs: parameters, operations and time."""

import datetime
import math
import pathlib

import jax
import numpy as np

from ar_jax import assemble, checkpoint, data, errors, operations, writer
from ar_jax import config as configs


def of_run(config, spec, record, lines, step):
  """Figures of a run, for which neither data nor a checkpoint is needed.

  Args:
    config: ConfigDict.
    spec: DataSpec.
    record: run.json.
    lines: of metrics.jsonl.
    step: updates done.
  Returns:
    dict(params, flops_per_step, flops, sites, seconds, sites_per_second):
    flops_per_step is three times the products of the forward pass of a batch;
    sites those of all updates; seconds as `wall_time` says; sites_per_second
    a list, of each line of training.
  """
  net = assemble.network(config, spec)
  params, flops = of_step(config, net, spec)
  return dict(
    params=params,
    flops_per_step=flops,
    flops=flops * step,
    sites=step * config.train.batch_size * spec.length,
    seconds=wall_time(record, lines),
    sites_per_second=[
      r["sites_per_second"] for r in lines if r["kind"] == "train"
    ],
  )


def of_folders(workdirs):
  """Figures of runs that differ in their seed alone.

  Returns:
    dict(params, flops, sites, ms): of an update; ms: its median milliseconds,
    of all runs together where they were trained as one program; nan of runs
    too short for a line of metrics.
  """
  values, spec, _ = checkpoint.load(workdirs[0])
  config = configs.restore(values)
  params, flops = of_step(config, assemble.network(config, spec), spec)
  rates = [
    line["sites_per_second"]
    for workdir in workdirs
    for line in writer.read(workdir)
    if line["kind"] == "train"
  ]
  sites = config.train.batch_size * spec.length
  ms = 1e3 * sites / np.median(rates) if rates else math.nan
  return dict(params=params, flops=flops, sites=sites, ms=ms)


def of_step(config, net, spec):
  """(number of parameters, operations of an update), as `of_run` says."""
  params = jax.eval_shape(net.model.init, jax.random.key(0))
  shape = (config.train.batch_size, spec.length, spec.channels)
  x_BLC = jax.ShapeDtypeStruct(shape, np.int32)
  if config.objective.name == "order_agnostic":  # one pass trains it
    known_BL = jax.ShapeDtypeStruct(shape[:2], bool)
    forward = operations.flops(net.model.predict, params, x_BLC, known_BL)
  else:
    forward = operations.flops(net.model.apply, params, x_BLC)
  flops = 3 * forward  # forward once, backward twice as much
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params)), flops


def about(config, net, dataset, step, memory):
  """Figures about a run before its first step; memory: of `memory`."""
  batch_size = config.train.batch_size
  params, flops = of_step(config, net, dataset.spec)
  return dict(
    model=config.model.name,
    ordering=config.ordering.name,
    data=config.data.name,
    params=params,
    flops_per_step=flops,
    sites_per_step=batch_size * dataset.spec.length,
    step=step,
    steps=config.train.steps,
    items=dataset.splits["train"].size,
    devices=f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    memory=memory,
  )


def memory(step, layout, state, split, batch_size):
  """Bytes that a train step holds at once on each device; None: not known.

  It is compiled for that, and calling it afterwards compiles nothing. What
  lies beside it, as data in the memory of the host, is not counted.

  Args:
    step: compiled by the layout.
    layout: parallel.Layout.
    state: shapes of the TrainState.
    split, batch_size: what its batches are made of.
  Raises:
    UsageError: a device has less.
  """
  if not layout.by_shapes:
    return None
  batch = data.any_batch(split, batch_size, layout.rows(batch_size))
  key = jax.eval_shape(jax.random.key, 0)
  args = layout.shapes(state), layout.feed(batch), key
  used = step.lower(*args).compile().memory_analysis()
  needed = (
    used.argument_size_in_bytes
    + used.output_size_in_bytes
    - used.alias_size_in_bytes  # results in the place of arguments
    + used.temp_size_in_bytes
    + used.generated_code_size_in_bytes
  )
  free = _free_memory()
  if free is not None and needed > free:
    raise errors.UsageError(
      f"a step of this run needs {gib(needed)} on each device, which has"
      f" {gib(free)} free; lower config.train.batch_size, raise"
      " config.train.accumulate, set config.train.remat=dots_saveable, or cut"
      " the state over devices: config.parallel.name=sharded"
    )
  return needed


def gib(count):
  """Bytes as text."""
  return f"{count / 2**30:.3g} GiB"


def _free_memory():
  """Free bytes of a device; of the host by devices, on CPU; None: unknown."""
  stats = jax.local_devices()[0].memory_stats()
  if stats and "bytes_limit" in stats:
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
  if jax.default_backend() != "cpu":
    return None
  meminfo = pathlib.Path("/proc/meminfo")
  if not meminfo.exists():
    return None
  lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
  free = 1024 * int(lines["MemAvailable"].split()[0])
  limit, used = (
    pathlib.Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current")
  )
  if limit.exists() and limit.read_text().strip() != "max":
    # Cached files count as used, and are given back.
    stat = pathlib.Path("/sys/fs/cgroup/memory.stat").read_text().split()
    cached = int(stat[stat.index("inactive_file") + 1])
    left = int(limit.read_text()) - int(used.read_text()) + cached
    free = min(free, left)
  return free // jax.local_device_count()


def wall_time(record, lines):
  """Seconds from each start in run.json to the last line that it wrote.

  What lies between two starts is left out, and so is work that a start did
  and the next one did again.
  """
  starts = [_seconds(start["time"]) for start in (record, *record["resumed"])]
  spent = 0.0
  for start, end in zip(starts, [*starts[1:], math.inf], strict=True):
    times = [r["time"] for r in lines if start <= r["time"] < end]
    spent += max(times, default=start) - start
  return spent


def _seconds(time):
  when = datetime.datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z")
  return when.timestamp()
