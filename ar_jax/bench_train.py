"""How fast a network trains: its step, its input, and its first step."""

import os
import pathlib
import statistics
import time
from typing import NamedTuple

import jax
import numpy as np

from ar_jax import assemble, bench, cost, data
from ar_jax import run as runs
from ar_jax.types import Batch, DataSpec

# Operations/s of dense bfloat16 products, as the makers publish them. What is
# not here is refused: a peak that is guessed makes a percentage that is wrong.
PEAKS = {
  "NVIDIA A100-SXM4-40GB": 312e12,
  "NVIDIA A100-SXM4-80GB": 312e12,
  "NVIDIA H100 80GB HBM3": 989e12,
  "NVIDIA H200": 989e12,
  "TPU v4": 275e12,
  "TPU v5 lite": 197e12,
  "TPU v6 lite": 918e12,
}
FORMULA = (
  "3 x (matrix products and convolutions of a forward pass of the batch, a"
  " multiplication and an addition being two operations): the backward pass"
  " has twice as many; masked pairs of attention count, all else does not"
)


class Subject(NamedTuple):
  """What is trained: the train step of a config, with random parameters.

  batch_at: (step) -> Batch on the host.
  state: first TrainState, on the devices; a step takes it away.
  """

  config: object
  spec: DataSpec
  net: assemble.Network
  layout: object
  train_step: object
  batch_at: object
  state: object


def subject(config, spec, split=None):
  """The Subject of a config.

  Args:
    config: ConfigDict.
    spec: DataSpec of its data.
    split: training Split of it; None: values drawn at random, all scored.
  """
  net, tx = assemble.network(config, spec), assemble.optimizer(config)
  layout = assemble.layout(config)
  train_step = assemble.train_step(config, net, tx, layout)
  size = config.train.batch_size
  if split is None:
    batch_at = noise(spec, size)
  else:
    batch_at = data.train_batches(split, size, config.seed)
  state = layout.place(runs.first_state(config, net, tx))
  return Subject(config, spec, net, layout, train_step, batch_at, state)


def noise(spec, batch_size):
  """(step) -> Batch of values drawn at random, without conditions."""

  def batch_at(step):
    key = np.random.default_rng(step)
    shape = batch_size, spec.length, spec.channels
    if spec.num_values is None:
      x_BLC = key.normal(size=shape).astype(np.float32)
    else:
      x_BLC = key.integers(0, spec.num_values, shape, np.int32)
    index_B = np.arange(batch_size, dtype=np.int32)
    return Batch(x_BLC, np.ones(shape[:2], np.float32), {}, index_B)

  return batch_at


def first_step(subject):
  """(seconds by stage, compiled step, state after it) of the first step.

  The stages: trace, compile (or reading what was compiled), first_step.
  """
  batch = subject.layout.feed(subject.batch_at(0))
  args = subject.state, batch, _key(subject)
  lowered, trace = timed(subject.train_step.lower, *args)
  step, compile = timed(lowered.compile)
  (state, _), first = timed(step, *args)
  return dict(trace=trace, compile=compile, first_step=first), step, state


def since_start():
  """Seconds since this process began; None where the system does not tell."""
  try:
    fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2]
    ticks = int(fields.split()[19])  # starttime of proc(5)
  except (OSError, ValueError, IndexError):
    return None
  now = time.clock_gettime(time.CLOCK_BOOTTIME)
  return now - ticks / os.sysconf("SC_CLK_TCK")


def training(subject, step, state, *, repeats=5, count=10, peer=None):
  """Times of a train step, medians of runs that take turns.

  Args:
    subject: Subject.
    step: its train step, compiled.
    state: TrainState, which is taken away.
    repeats: runs of each.
    count: steps of a run.
    peer: peer_step.Peer of the same network, or None.
  Returns:
    dict(batch, sites, step_ms, cpu_ms, quickest_ms, sites_per_s, params, flops,
    flops_per_s, matmul, published, batch_ms, wait_ms, peer): sites of a batch;
    cpu_ms of all threads; quickest_ms of the quickest run; flops of a step, see
    `FORMULA`; matmul: the best rate of a matrix product, measured in the same
    turns; published: that of the makers of all devices, None where it is not
    known; batch_ms to make a batch; wait_ms that a step waits for its batch
    while others are made beside it; peer = dict(name, params, first_s, step_ms,
    cpu_ms) or None, the last three by name of its steps.
  """
  batches = [subject.batch_at(n) for n in range(count)]
  peers = peer.steps if peer else {}

  def train(batch_at):
    """Seconds that it waited for batches."""
    nonlocal state
    waited = 0.0
    for n in range(count):
      batch, seconds = timed(batch_at, n)
      waited += seconds
      state, metrics = step(state, subject.layout.feed(batch), _key(subject))
    jax.block_until_ready((state, metrics))
    return waited

  def waiting():
    with data.ahead(subject.batch_at, 0, count) as batch_at:
      return train(batch_at)

  def each(function, values):
    for value in values:
      function(value)

  turns = {name: (each, run, batches) for name, run in peers.items()}
  turns["ours"] = train, batches.__getitem__
  turns["made"] = each, subject.batch_at, range(count)
  first = {name: timed(run, batches[0])[1] for name, run in peers.items()}
  seconds, cpu = ({name: [] for name in turns} for _ in range(2))
  waited, rates = [], []
  for _ in range(1 + repeats):  # the first of each warms up
    for name, run in turns.items():
      before = time.process_time()
      seconds[name].append(timed(*run)[1])
      cpu[name].append(time.process_time() - before)
    waited.append(waiting())
    rates.append(bench.matmul_rate(_size()))
  ms, cpu_ms = (
    {k: 1e3 * statistics.median(s[1:]) / count for k, s in times.items()}
    for times in (seconds, cpu)
  )
  size = subject.config.train.batch_size
  params, flops = cost.of_step(subject.config, subject.net, subject.spec)
  sites = size * subject.spec.length
  return dict(
    batch=size,
    sites=sites,
    step_ms=ms["ours"],
    cpu_ms=cpu_ms["ours"],
    quickest_ms=1e3 * min(seconds["ours"][1:]) / count,
    sites_per_s=1e3 * sites / ms["ours"],
    params=params,
    flops=flops,
    flops_per_s=1e3 * flops / ms["ours"],
    matmul=max(rates) * jax.device_count(),
    published=published([d.device_kind for d in jax.devices()]),
    batch_ms=ms["made"],
    wait_ms=1e3 * statistics.median(waited[1:]) / count,
    peer=peer
    and dict(
      name=peer.name,
      params=peer.params,
      first_s=first,
      step_ms={name: ms[name] for name in peers},
      cpu_ms={name: cpu_ms[name] for name in peers},
    ),
  )


def published(kinds):
  """Operations/s of these devices together; None where one is not known."""
  peaks = [PEAKS.get(kind) for kind in kinds]
  return None if None in peaks else sum(peaks)


def apart(subject, peer, batch):
  """The largest difference of theta, over the largest theta; no dropout."""
  params = subject.state.params
  theta = jax.jit(subject.net.model.apply)(params, batch.x_BLC, None, batch.y)
  ours, theirs = np.asarray(theta), peer.logits(batch.x_BLC, batch.y)
  return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def _key(subject):
  return runs.keys(subject.config)[1]


def _size():
  """Of the matrices whose product is the ceiling."""
  return 1024 if jax.default_backend() == "cpu" else 8192


def timed(function, *args):
  """(result, seconds until it is there)."""
  start = time.perf_counter()
  result = function(*args)
  if not callable(result):
    jax.block_until_ready(result)
  return result, time.perf_counter() - start
