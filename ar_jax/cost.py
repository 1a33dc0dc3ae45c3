"""What a run costs: parameters, operations and time."""

import datetime
import math

import jax
import numpy as np

from ar_jax import assemble, operations


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
  params, flops = of_step(net, spec, config.train.batch_size)
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


def of_step(net, spec, batch_size):
  """(number of parameters, operations of an update), as `of_run` says."""
  params = jax.eval_shape(net.model.init, jax.random.key(0))
  shape = (batch_size, spec.length, spec.channels)
  x_BLC = jax.ShapeDtypeStruct(shape, np.int32)
  forward = operations.flops(net.model.apply, params, x_BLC)
  flops = 3 * forward  # forward once, backward twice as much
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params)), flops


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
