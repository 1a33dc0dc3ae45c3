"""A run in its directory: started, gone on with, or made of parameters."""

import functools
import pathlib
from typing import Any, NamedTuple

import jax

from ar_jax import (
  assemble,
  checkpoint,
  cost,
  data,
  errors,
  inputs,
  parallel,
  record,
  scoring,
  writer,
)
from ar_jax import config as configs
from ar_jax import run as runs
from ar_jax import train as training


class View(NamedTuple):
  """What a run tells while it goes on; every field is called with values.

  started: (dict of figures about the run).
  stepped: (step, metrics of the step).
  scored: (step, report of the whole validation split).
  warned: (a line).
  """

  started: Any
  stepped: Any
  scored: Any
  warned: Any


_PLACES = ("path", "valid_path", "test_path", "tokenizer", "data_dir")
_PLACES = (*(f"data.{name}" for name in _PLACES), "ordering.path")

SILENT = View(*(lambda *_: None for _ in View._fields))


def train(
  config, workdir, view=SILENT, *, init_from=None, allow_data_change=False
):
  """Trains a run in a new directory, or goes on with the one that it holds.

  Stopped at any time and called again, it ends with the same bits as a run
  in one piece, on the same versions, devices and number of threads.

  Args:
    config: locked ConfigDict.
    workdir: directory.
    view: View.
    init_from: directory of a run whose parameters are the first ones.
    allow_data_change: whether a run may go on with other data.
  Returns:
    (Run, Dataset).
  Raises:
    UsageError: the directory holds a run of another config.
    DataError: the data is not what the run began with.
  """
  workdir = pathlib.Path(workdir)
  config = assemble.kept(config)
  _check_numbers(config)
  if checkpoint.exists(workdir):
    _check_config(config, workdir)
    _check_origin(init_from, workdir)
  writer.check(config.train.trackers)
  dataset = assemble.dataset(config)
  net = assemble.network(config, dataset.spec)
  assemble.baselines(config, dataset.spec)
  tx = assemble.optimizer(config)
  source = None if init_from is None else runs.load(init_from)
  parts = _Parts(config, dataset, net, tx, assemble.train_step(config, net, tx))
  first_state = functools.partial(_first_state, parts, source)
  jax.eval_shape(first_state)  # it may refuse, before anything is written
  with checkpoint.locked(workdir):
    if checkpoint.exists(workdir):
      _check_config(config, workdir)
      start = _go_on(workdir, first_state, parts, view, allow_data_change)
    else:
      start = _begin(workdir, first_state(), parts, init_from)
    return _train(workdir, parts, *start, view), dataset


class _Parts(NamedTuple):
  """What a run is put together from."""

  config: Any
  dataset: Any
  net: assemble.Network
  tx: Any
  train_step: Any


def _train(workdir, parts, state, progress, view):
  """The Run that training from `state` on ends with."""
  config, dataset, net = parts[:3]
  checkpoints = checkpoint.Checkpoints(
    workdir, config.train.keep, config.train.keep_best
  )
  state = parallel.replicate(jax.device_put(state))
  view.started(_about(config, net, state, dataset))
  opened = runs.opened(workdir, config, dataset.spec, dataset.media, net, state)
  if opened.step >= config.train.steps:
    return opened
  log = writer.Writer(
    workdir,
    config.train.trackers,
    step=int(state.step),
    identity=checkpoint.read_record(workdir, "run")["id"],
    config=configs.plain(config),
    warn=view.warned,
  )
  meter = record.Meter(log.append, config.train.log_every, progress)
  batch_size = config.train.batch_size
  batches = data.train_batches(dataset.splits["train"], batch_size, config.seed)
  periods = config.train.eval_every, config.train.save_every

  def on_step(step, metrics):
    meter.add(step, metrics)
    view.stepped(step, metrics)

  def on_state(step, state):
    nats = None
    if step % periods[0] == 0 or step == config.train.steps:
      params, _ = runs.params_of(state)
      _, report = scoring.score_split(opened, params, dataset)
      nats = report["nats_per_site"]
      log.append(step, dict(kind="valid", **report))
      view.scored(step, report)
    checkpoints.save(state, meter.progress(), nats)
    meter.restart()

  try:
    state = training.fit(
      state,
      parts.train_step,
      lambda step: parallel.shard(batches(step)),
      runs.keys(config)[1],
      steps=config.train.steps,
      every=tuple(filter(None, periods)),
      on_step=on_step,
      on_state=on_state,
    )
  finally:
    log.close()
    checkpoints.close()
  return runs.opened(workdir, config, dataset.spec, dataset.media, net, state)


def write(workdir, config, spec, media, params):
  """Makes a run at step 0 of parameters that come from elsewhere.

  Args:
    workdir: directory; must not hold a run.
    config: locked ConfigDict, whose network `params` fit.
    spec: DataSpec.
    media: JSON data of a Dataset.
    params: pytree.
  Returns:
    run.Run.
  Raises:
    DataError: the parameters do not fit; says which.
  """
  net = assemble.network(config, spec)
  tx = assemble.optimizer(config)
  like = jax.eval_shape(lambda: runs.first_state(config, net, tx))
  wrong = checkpoint.difference(params, like.params)
  if wrong is not None:
    raise errors.DataError(f"the parameters do not fit the config: {wrong}")
  state = training.init_state(params, tx, config.train.ema_decay)
  if checkpoint.exists(workdir):
    raise errors.UsageError(
      f"{workdir} already holds a run; choose another --workdir"
    )
  _save_first(workdir, state)
  _create(workdir, config, spec, media, record.first({}))
  return runs.opened(pathlib.Path(workdir), config, spec, media, net, state)


def _check_numbers(config):
  """UsageError for a number of the config that is none."""
  least = {
    "seed": 0,
    "train.batch_size": 1,
    "train.accumulate": 1,
    "train.steps": 1,
    "train.log_every": 1,
    "train.eval_every": 1,
    "train.save_every": 1,
    "train.keep": 1,
    "train.keep_best": 0,
    "evaluate.batch_size": 1,
  }
  values = configs.flat(configs.plain(config))
  for key, low in least.items():
    value = values.get(key)
    if value is None and key == "train.save_every":
      continue
    if type(value) is not int or value < low:
      raise errors.UsageError(
        f"config.{key} {value} must be an integer of at least {low}"
      )
  decay = values.get("train.ema_decay")
  if decay is not None and not 0 <= decay < 1:
    raise errors.UsageError(f"config.train.ema_decay {decay} must be in [0, 1)")


def _check_origin(init_from, workdir):
  """UsageError where a run that goes on began elsewhere than is said now."""
  kept = checkpoint.read_record(workdir, "run")["init_from"]
  if init_from is not None and pathlib.Path(init_from) != pathlib.Path(
    kept or ""
  ):
    raise errors.UsageError(
      f"{workdir} holds a run that did not start from {init_from}; leave"
      " --init_from out to go on with it, or choose another --workdir"
    )


def _create(workdir, config, spec, media, run):
  checkpoint.create(
    workdir, config=configs.plain(config), spec=spec, media=media, run=run
  )


def _save_first(workdir, state):
  """Keeps a first state that the config cannot make again."""
  checkpoints = checkpoint.Checkpoints(workdir)
  if checkpoints.steps():
    raise errors.DataError(
      f"{workdir}/checkpoints holds states, but there is no run; remove it, or"
      " choose another --workdir"
    )
  checkpoints.save(state)
  checkpoints.close()


def _begin(workdir, state, parts, init_from):
  """(state, progress) of a run that is new; makes its directory."""
  config, dataset = parts[:2]
  if init_from is not None:  # which may be gone when this run goes on
    _save_first(workdir, state)
  about = record.first(data.fingerprints(dataset), init_from)
  _create(workdir, config, dataset.spec, dataset.media, about)
  return state, None


def _go_on(workdir, first_state, parts, view, allow_data_change):
  """(state, progress) of the last checkpoint, or of the start without one."""
  config, dataset = parts[:2]
  _, spec, media = checkpoint.load(workdir)
  kept = dataset._replace(spec=spec, media=media)
  if dataset.spec != spec or not inputs.same_values(kept, dataset):
    raise errors.DataError(
      f"{workdir}: the data is not what this run began with: it gives"
      f" {dataset.spec.num_values} values in shape {dataset.spec.shape}, the"
      f" run knows {spec.num_values} in shape {spec.shape}, or another"
      " vocabulary; bring the data back"
    )
  state, progress = None, None
  checkpoints = checkpoint.Checkpoints(workdir)
  if checkpoints.steps():
    progress = checkpoints.progress()
    state = checkpoints.restore(jax.eval_shape(first_state))
  elif checkpoint.read_record(workdir, "run")["init_from"] is not None:
    raise errors.DataError(
      f"{workdir}: the checkpoints are gone, and with them the parameters that"
      " this run began with; start it again in another --workdir"
    )
  else:
    view.warned(f"{workdir} has no checkpoint yet: its run starts again")
  checkpoints.close()
  done = 0 if state is None else int(state.step)
  prints = data.fingerprints(dataset)
  finished = done >= config.train.steps
  for warning in record.resume(
    workdir, done, prints, allow_data_change, finished
  ):
    view.warned(warning)
  checkpoint.write_record(workdir, "config", configs.plain(config))
  return first_state() if state is None else state, progress


def _check_config(config, workdir):
  """UsageError that names the first key in which the run's config differs.

  Where the data lies may differ: what it holds is compared by itself.
  """
  kept, given = (
    configs.flat(values)
    for values in (checkpoint.load(workdir)[0], configs.plain(config))
  )
  for key in {**kept, **given}:
    there, here = (
      repr(values[key]) if key in values else "absent"
      for values in (kept, given)
    )
    if here != there and key not in _PLACES:
      raise errors.UsageError(
        f"{workdir} holds a run of another config: {key} is {there} there,"
        f" {here} here; choose another --workdir, or go on with that run:"
        f" ar_jax train --workdir={workdir}"
      )


def _first_state(parts, source):
  """The state before the first update, of another run's parameters or not."""
  state = runs.first_state(parts.config, parts.net, parts.tx)
  if source is None:
    return state
  return _from_run(state, source, parts.dataset, parts.config, parts.tx)


def _from_run(state, source, dataset, config, tx):
  """The first state of a run that starts from another one's parameters."""
  wrong = checkpoint.difference(source.params, state.params)
  if wrong is None and not inputs.same_values(source, dataset):
    wrong = "it reads other values, or the same ones in another sense"
  if wrong is not None:
    raise errors.DataError(
      f"--init_from: {source.workdir} does not fit this run: {wrong}"
    )
  return training.init_state(source.params, tx, config.train.ema_decay)


def _about(config, net, state, dataset):
  """Figures about a run before its first step."""
  batch_size = config.train.batch_size
  params, flops = cost.of_step(net, dataset.spec, batch_size)
  return dict(
    model=config.model.name,
    ordering=config.ordering.name,
    data=config.data.name,
    params=params,
    flops_per_step=flops,
    sites_per_step=batch_size * dataset.spec.length,
    step=int(state.step),
    steps=config.train.steps,
    items=dataset.splits["train"].size,
    devices=f"{jax.device_count()} x {jax.devices()[0].device_kind}",
  )
