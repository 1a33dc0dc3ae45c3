"""One run: trained from a config, or opened from its directory."""

import json
import pathlib
import platform
import subprocess
import time
from typing import Any, NamedTuple

import jax
import numpy as np

import ar_jax
from ar_jax import (
  assemble,
  checkpoint,
  data,
  errors,
  evaluate,
  parallel,
  writer,
)
from ar_jax import config as configs
from ar_jax import train as training
from ar_jax.types import DataSpec


class Run(NamedTuple):
  """A trained model and what it takes to use it.

  params are the averaged ones where the run keeps an average; raw_params are
  those of the last update.
  """

  workdir: pathlib.Path
  config: Any
  spec: DataSpec
  media: Any
  net: assemble.Network
  params: Any
  raw_params: Any
  step: int


class View(NamedTuple):
  """What a run tells while it goes on; every field is called with values.

  started: (dict of figures about the run).
  stepped: (step, metrics of the step).
  scored: (step, report of the whole validation split).
  """

  started: Any
  stepped: Any
  scored: Any


SILENT = View(*(lambda *_: None for _ in View._fields))


def train(config, workdir, view=SILENT):
  """Trains a run in a new directory.

  Args:
    config: locked ConfigDict.
    workdir: directory; must not hold a run.
    view: View.
  Returns:
    (Run, Dataset).
  """
  dataset = assemble.dataset(config)
  net = assemble.network(config, dataset.spec)
  tx = assemble.optimizer(config)
  step_fn = assemble.train_step(config, net, tx)
  workdir = pathlib.Path(workdir)
  checkpoint.create(
    workdir,
    config=configs.plain(config),
    spec=dataset.spec,
    media=dataset.media,
    run=_provenance(),
  )
  state = parallel.replicate(_init(config, net, tx))
  view.started(_about(config, net, state.params, dataset))
  batch_size = config.train.batch_size
  batches = data.train_batches(dataset.splits["train"], batch_size, config.seed)
  score = evaluate.make_score(net.model, net.head, net.ordering, config.seed)
  checkpoints = checkpoint.Checkpoints(workdir)
  meter = _Meter(workdir, config.train.log_every)

  def on_step(step, metrics):
    meter.add(step, metrics)
    view.stepped(step, metrics)

  def on_state(step, state):
    checkpoints.save(state)
    run = _run(workdir, config, dataset.spec, dataset.media, net, state)
    _, report = _score(run, run.params, dataset, score)
    writer.append(workdir, step, dict(kind="valid", **report))
    view.scored(step, report)
    meter.restart()

  state = training.fit(
    state,
    step_fn,
    lambda step: parallel.shard(batches(step)),
    _keys(config)[1],
    steps=config.train.steps,
    every=config.train.eval_every,
    on_step=on_step,
    on_state=on_state,
  )
  checkpoints.close()
  return _run(workdir, config, dataset.spec, dataset.media, net, state), dataset


def load(workdir, sample=None):
  """Opens the run of a directory at its last checkpoint; needs no data.

  Args:
    workdir: directory of a run.
    sample: values that replace those of config.sample; None: keep.
  """
  values, spec, media = checkpoint.load(workdir)
  config = configs.restore(values)
  for key, value in (sample or {}).items():
    if value is not None:
      configs.override(config, f"sample.{key}", value)
  net = assemble.network(config, spec)
  tx = assemble.optimizer(config)
  like = jax.eval_shape(lambda: _init(config, net, tx))
  checkpoints = checkpoint.Checkpoints(workdir)
  state = jax.device_put(checkpoints.restore(like))
  checkpoints.close()
  return _run(pathlib.Path(workdir), config, spec, media, net, state)


def dataset_of(run, config):
  """The run's data again; DataError where it is not what was trained on."""
  dataset = assemble.dataset(config)
  if dataset.spec != run.spec or dataset.media != run.media:
    raise errors.DataError(
      "the data is not what this run was trained on: it gives"
      f" {dataset.spec.num_values} values in shape {dataset.spec.shape} from"
      f" {dataset.media.get('source')}, the run knows {run.spec.num_values} in"
      f" shape {run.spec.shape} from {run.media.get('source')}, or another"
      " vocabulary; point --config.data.path at the same file"
    )
  return dataset


def score(run, dataset):
  """The report of a whole split beside its baselines.

  Writes it to reports/evaluation.json, and the nats and the weight of each
  item to reports/items.npz, for paired comparisons of runs.

  Returns:
    dict(step, model=report, raw=report or None, baselines={name: figures},
    and the source's entropy_rate in nats per site where it is known).
  """
  score_fn = evaluate.make_score(
    run.net.model, run.net.head, run.net.ordering, run.config.seed
  )
  averaged = run.params is not run.raw_params
  split = _split(run, dataset)
  items, model = _score(run, run.params, dataset, score_fn)
  raw = None
  if averaged:
    _, raw = _score(run, run.raw_params, dataset, score_fn)
  bars = {}
  for fit in assemble.baselines(run.config, run.spec):
    for name, nats in fit(dataset.splits["train"])(split).items():
      bars[name] = evaluate.in_units(nats, model["sites"], split.units)
  result = dict(step=run.step, model=model, raw=raw, baselines=bars)
  if "entropy_rate" in run.media:
    result["entropy_rate"] = run.media["entropy_rate"]
  folder = run.workdir / "reports"
  text = json.dumps(result, indent=2) + "\n"
  (folder / "evaluation.json").write_text(text, encoding="utf-8")
  np.savez(folder / "items.npz", nats=items.nats_N, weight=items.weight_N)
  return result


def _score(run, params, dataset, score_fn):
  """(Score, its report) of the split that the config names."""
  split = _split(run, dataset)
  total = evaluate.evaluate(
    score_fn,
    parallel.replicate(params),
    split,
    run.config.evaluate.split,
    run.config.evaluate.batch_size,
    run.net.ordering,
  )
  return total, evaluate.report(total, split.units, split.entropy)


def _split(run, dataset):
  name = run.config.evaluate.split
  if name not in dataset.splits:
    raise errors.UsageError(
      f"config.evaluate.split: no split {name!r};"
      f" there are: {', '.join(dataset.splits)}"
    )
  return dataset.splits[name]


def _run(workdir, config, spec, media, net, state):
  averaged = state.ema_params is not None
  params = state.ema_params if averaged else state.params
  step = int(state.step)
  return Run(workdir, config, spec, media, net, params, state.params, step)


def _keys(config):
  """(key of the parameters, key of the run)."""
  return jax.random.split(jax.random.key(config.seed))


def _init(config, net, tx):
  @jax.jit
  def init(key):
    params = net.model.init(key)
    return training.init_state(params, tx, config.train.ema_decay)

  return init(_keys(config)[0])


def _about(config, net, params, dataset):
  """Figures about a run before its first step."""
  batch, length = config.train.batch_size, dataset.spec.length
  x_BLC = jax.ShapeDtypeStruct((batch, length, dataset.spec.channels), np.int32)
  forward = jax.jit(net.model.apply).lower(params, x_BLC).cost_analysis()
  return dict(
    model=config.model.name,
    ordering=config.ordering.name,
    data=config.data.name,
    params=sum(p.size for p in jax.tree.leaves(params)),
    # Forward once and backward twice as much.
    flops_per_step=3 * forward["flops"],
    sites_per_step=batch * length,
    steps=config.train.steps,
    items=dataset.splits["train"].size,
    devices=f"{jax.device_count()} x {jax.devices()[0].device_kind}",
  )


def _provenance():
  """Versions, devices and revision, for run.json."""
  return dict(
    ar_jax=ar_jax.__version__,
    revision=_revision(),
    python=platform.python_version(),
    jax=jax.__version__,
    numpy=np.__version__,
    devices=[d.device_kind for d in jax.devices()],
    platform=jax.default_backend(),
    started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
  )


def _revision():
  """The commit of the code, or None where there is no repository or git."""
  folder = str(pathlib.Path(__file__).parent)
  command = ["git", "-C", folder, "rev-parse", "HEAD"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
  except OSError:
    return None
  return done.stdout.strip() or None


class _Meter:
  """Training lines of metrics.jsonl: sums since the last line."""

  def __init__(self, workdir, every):
    self._workdir, self._every = workdir, every
    self._nats = self._weight = 0.0
    self.restart()

  def restart(self):
    """Leaves out of the speed what was no training."""
    self._since, self._timed = time.perf_counter(), 0.0

  def add(self, step, metrics):
    self._nats += metrics["nats"]
    self._weight += metrics["weight"]
    self._timed += metrics["weight"]
    if step % self._every:
      return
    seconds = time.perf_counter() - self._since
    line = dict(
      kind="train",
      nats_per_site=self._nats / self._weight,
      grad_norm=metrics["grad_norm"],
      sites_per_second=self._timed / seconds,
    )
    writer.append(self._workdir, step, line)
    self._nats = self._weight = 0.0
    self.restart()
