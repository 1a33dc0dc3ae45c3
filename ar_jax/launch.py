"""A run in its directory: started, gone on with, or made of parameters."""

import contextlib
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
  keeper,
  parallel,
  preemption,
  record,
  states,
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
  in one piece, on the same versions, devices and number of threads. Asked to
  stop by a signal, it saves first.

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
    NumericalError: a loss, a gradient or a state that is not finite.
    StorageError: the disk does not take what the run writes.
    Preempted: it was asked to stop, and has saved what there is.
  """
  workdir = pathlib.Path(workdir)
  with preemption.Watch() as watch:
    with watch.interruptible():
      parts, first_state = _prepare(config, workdir, init_from)
      like = jax.eval_shape(first_state)  # refuses before anything is written
    with _directory(workdir, parts.config, view) as (lock, checkpoints):
      with watch.interruptible():
        checkpoints.check_room(like)
        if checkpoint.exists(workdir):
          _check_config(parts.config, workdir)
          start = _go_on(
            workdir, first_state, parts, checkpoints, view, allow_data_change
          )
        else:
          start = _begin(workdir, first_state(), parts, checkpoints, init_from)
      trained = _train(workdir, parts, *start, view, watch, lock, checkpoints)
  return trained, parts.dataset


def _prepare(config, workdir, init_from):
  """(_Parts, () -> the first state) of a run; nothing is written."""
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
  layout = assemble.layout(config)
  source = None if init_from is None else runs.load(init_from)
  step = assemble.train_step(config, net, tx, layout)
  parts = _Parts(config, dataset, net, tx, step, layout)
  return parts, functools.partial(_first_state, parts, source)


@contextlib.contextmanager
def _directory(workdir, config, view):
  """(Lock, Checkpoints) of a directory that this process alone writes to."""
  train = config.train
  keep = train.keep, train.keep_best, train.keep_every
  with checkpoint.locked(workdir) as lock:
    checkpoints = states.Checkpoints(workdir, *keep, warn=view.warned)
    with contextlib.closing(checkpoints):
      yield lock, checkpoints


class _Parts(NamedTuple):
  """What a run is put together from."""

  config: Any
  dataset: Any
  net: assemble.Network
  tx: Any
  train_step: Any
  layout: parallel.Layout


def _train(workdir, parts, state, progress, view, watch, lock, checkpoints):
  """The Run that training from `state` on ends with."""
  config, dataset, net = parts[:3]
  layout = parts.layout
  state = layout.place(state)
  view.started(_about(config, net, state, dataset))
  opened = runs.opened(workdir, config, dataset.spec, dataset.media, net, state)
  finished = opened.step >= config.train.steps
  if finished and not (progress or {}).get("unscored"):
    return opened
  attendance = record.Attendance(workdir, lock, opened.step)
  with (
    _told(attendance, checkpoints),
    contextlib.closing(_log(workdir, config, opened.step, view)) as log,
  ):
    keep = keeper.Keeper(
      opened,
      dataset,
      log=log,
      checkpoints=checkpoints,
      watch=watch,
      view=view,
      attendance=attendance,
      progress=progress,
    )
    keep.begin()
    batch_size = config.train.batch_size
    rows = layout.rows(batch_size)
    batches = data.train_batches(
      dataset.splits["train"], batch_size, config.seed, rows
    )
    periods = config.train.eval_every, config.train.save_every
    state = training.fit(
      state,
      parts.train_step,
      lambda step: layout.feed(batches(step)),
      runs.keys(config)[1],
      steps=config.train.steps,
      every=tuple(filter(None, (*periods, config.train.keep_every))),
      on_step=keep.on_step,
      on_state=keep.on_state,
      due=keep.due,
    )
    checkpoints.wait()
  return runs.opened(workdir, config, dataset.spec, dataset.media, net, state)


def _log(workdir, config, step, view):
  return writer.Writer(
    workdir,
    config.train.trackers,
    step=step,
    identity=checkpoint.read_record(workdir, "run")["id"],
    config=configs.plain(config),
    warn=view.warned,
  )


@contextlib.contextmanager
def _told(attendance, checkpoints):
  """Writes down how what runs within has ended."""
  reason = "done"
  try:
    yield
  except BaseException as e:
    reason = f"{type(e).__name__}: {e}"
    raise
  finally:
    with contextlib.suppress(errors.StorageError):  # not over the first one
      checkpoints.wait()
    kept = checkpoints.steps()
    with contextlib.suppress(errors.StorageError):
      attendance.end(reason, kept[-1] if kept else 0)


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
  with contextlib.closing(states.Checkpoints(workdir)) as checkpoints:
    _save_first(workdir, checkpoints, state)
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
    "train.keep_every": 1,
    "train.keep": 1,
    "train.keep_best": 0,
    "evaluate.batch_size": 1,
  }
  values = configs.flat(configs.plain(config))
  for key, low in least.items():
    value = values.get(key)
    if value is None and key in ("train.save_every", "train.keep_every"):
      continue
    if type(value) is not int or value < low:
      raise errors.UsageError(
        f"config.{key} {value} must be an integer of at least {low}"
      )
  decay = values.get("train.ema_decay")
  if decay is not None and not 0 <= decay < 1:
    raise errors.UsageError(f"config.train.ema_decay {decay} must be in [0, 1)")
  minutes = values.get("train.save_minutes")
  if minutes is not None and not minutes > 0:
    raise errors.UsageError(
      f"config.train.save_minutes {minutes} must be more than 0"
    )


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


def _save_first(workdir, checkpoints, state):
  """Keeps a first state that the config cannot make again."""
  if any(checkpoints.steps()):  # that of step 0 is of a start that was killed
    raise errors.DataError(
      f"{workdir}/checkpoints holds states, but there is no run; remove it, or"
      " choose another --workdir"
    )
  checkpoints.drop_after(-1)
  checkpoints.save(state)
  checkpoints.wait()


def _begin(workdir, state, parts, checkpoints, init_from):
  """(state, progress) of a run that is new; makes its directory."""
  config, dataset = parts[:2]
  if init_from is not None:  # which may be gone when this run goes on
    _save_first(workdir, checkpoints, state)
  about = record.first(data.fingerprints(dataset), init_from)
  _create(workdir, config, dataset.spec, dataset.media, about)
  return state, None


def _go_on(workdir, first_state, parts, checkpoints, view, allow_data_change):
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
  checkpoints.check()
  if checkpoints.steps():
    state = checkpoints.restore(jax.eval_shape(first_state))
    progress = checkpoints.progress(int(state.step))
  elif checkpoint.read_record(workdir, "run")["init_from"] is not None:
    raise errors.DataError(
      f"{workdir}: the checkpoints are gone, and with them the parameters that"
      " this run began with; start it again in another --workdir"
    )
  else:
    view.warned(f"{workdir} has no checkpoint yet: its run starts again")
  done = 0 if state is None else int(state.step)
  prints = data.fingerprints(dataset)
  finished = done >= config.train.steps
  for warning in record.resume(
    workdir, done, prints, allow_data_change, finished
  ):
    view.warned(warning)
  checkpoints.drop_after(done)  # only those that were passed over
  checkpoint.write_record(workdir, "config", configs.plain(config))
  return first_state() if state is None else state, progress


def _check_config(config, workdir):
  """UsageError that names the first key in which the run's config differs.

  Where the data lies may differ: what it holds is compared by itself. So may
  how the run lies on devices.
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
    free = key in _PLACES or key.startswith("parallel.")
    if here != there and not free:
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
