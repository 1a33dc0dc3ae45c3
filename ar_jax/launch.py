"""A run in its directory: started, gone on with, or made of parameters."""

import contextlib
import functools
import pathlib
import types
from typing import Any, NamedTuple

import jax

from ar_jax import (
  assemble,
  beginning,
  checkpoint,
  cost,
  data,
  errors,
  inputs,
  keeper,
  parallel,
  preemption,
  preflight,
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


SILENT = View(*(lambda *_: None for _ in View._fields))
# What processes other than the first one write.
_IDLE = types.SimpleNamespace(
  append=SILENT.warned,
  close=SILENT.warned,
  reached=SILENT.warned,
  end=SILENT.warned,
)


def train(
  config,
  workdir,
  view=SILENT,
  *,
  init_from=None,
  allow_data_change=False,
  debug=False,
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
    debug: whether every number of a step is checked where it is made.
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
  with _together(), preemption.Watch() as watch:
    with watch.interruptible():
      parts, first_state = prepare(config, workdir, init_from, debug)
      # Both refuse before anything is written.
      like = jax.eval_shape(first_state)
      parts = parts._replace(memory=_memory(workdir, parts, like))
    given = init_from, allow_data_change
    with started(workdir, parts, first_state, view, watch, *given) as (
      state,
      keep,
    ):
      if keep is not None:
        state = _fit(parts, state, keep)
  return opened(workdir, parts, state), parts.dataset


@contextlib.contextmanager
def _together():
  """Errors of what several processes do together, as Preempted."""
  try:
    yield
  except jax.errors.JaxRuntimeError as e:
    if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(e):
      raise
    raise errors.Preempted(
      f"another process of this run has ended or does not answer:"
      f" {str(e).splitlines()[0]}; start all of them again"
    ) from e


def prepare(config, workdir, init_from=None, debug=False):
  """(Parts, () -> the first state) of a run; nothing is written."""
  config = assemble.kept(config)
  preflight.check_numbers(config)
  if checkpoint.exists(workdir):
    preflight.check_config(config, workdir)
    preflight.check_origin(init_from, workdir)
  writer.check(config.train.trackers)
  dataset = assemble.dataset(config)
  net = assemble.network(config, dataset.spec)
  assemble.check_network(config, net)
  assemble.baselines(config, dataset.spec)
  tx = assemble.optimizer(config)
  layout = assemble.layout(config)
  source = None if init_from is None else runs.load(init_from)
  step = assemble.train_step(config, net, tx, layout, debug)
  parts = Parts(config, dataset, net, tx, step, layout)
  return parts, functools.partial(beginning.first_state, parts, source)


def prepare_like(parts, config, workdir):
  """`prepare` of a run whose config differs from another's in the seed."""
  config = assemble.kept(config)
  if checkpoint.exists(workdir):
    preflight.check_config(config, workdir)
  parts = parts._replace(config=config)
  return parts, functools.partial(beginning.first_state, parts, None)


@contextlib.contextmanager
def _directory(workdir, config, view):
  """(Lock, Checkpoints) of a directory that no other run writes to.

  Of the processes of a run the first one has the lock, and writes.
  """
  train = config.train
  keep = train.keep, train.keep_best, train.keep_every
  first = parallel.is_first()
  lock = checkpoint.locked(workdir) if first else contextlib.nullcontext()
  with lock as held:
    checkpoints = states.Checkpoints(workdir, *keep, warn=view.warned)
    with contextlib.closing(checkpoints):
      yield held, checkpoints


class Parts(NamedTuple):
  """What a run is put together from."""

  config: Any
  dataset: Any
  net: assemble.Network
  tx: Any
  train_step: Any
  layout: parallel.Layout
  memory: int | None = None


@contextlib.contextmanager
def started(
  workdir,
  parts,
  first_state,
  view,
  watch,
  init_from=None,
  allow_data_change=False,
):
  """A run in its directory, that nobody else trains in meanwhile.

  Yields:
    (the state that training goes on from, its keeper.Keeper; None: nothing is
    left to train). How what runs within ends is written down.
  """
  config, dataset = parts[:2]
  with _directory(workdir, config, view) as (lock, checkpoints):
    with watch.interruptible():
      checkpoints.check_room(jax.eval_shape(first_state))
      if parallel.agreed(checkpoint.exists(workdir)):
        preflight.check_config(config, workdir)
        state, progress = _go_on(
          workdir, first_state, parts, checkpoints, view, allow_data_change
        )
      else:
        state, progress = beginning.begin(
          workdir, first_state, parts, checkpoints, init_from
        )
    state = parts.layout.place(state)
    step = int(state.step)
    view.started(cost.about(config, parts.net, dataset, step, parts.memory))
    if step >= config.train.steps and not (progress or {}).get("unscored"):
      yield state, None
      return
    attendance = _IDLE
    if parallel.is_first():
      attendance = record.Attendance(workdir, lock, step)
    with (
      _told(attendance, checkpoints),
      contextlib.closing(_log(workdir, config, step, view)) as log,
    ):
      yield (
        state,
        keeper.Keeper(
          opened(workdir, parts, state),
          dataset,
          log=log,
          checkpoints=checkpoints,
          watch=watch,
          view=view,
          attendance=attendance,
          progress=progress,
        ),
      )
      checkpoints.wait()


def opened(workdir, parts, state):
  """The run.Run of a state."""
  config, dataset, net = parts[:3]
  return runs.opened(workdir, config, dataset.spec, dataset.media, net, state)


def batches(parts, rows):
  """(step) -> the rows of its batch that are asked for, as data.train_batches.

  Runs of one `shuffle_seed` see the same batches, whatever their seed.
  """
  config = parts.config
  seed = config.train.shuffle_seed
  seed = config.seed if seed is None else seed
  split = parts.dataset.splits["train"]
  return data.train_batches(split, config.train.batch_size, seed, rows)


def periods(train):
  """Updates after which a state is kept."""
  every = train.eval_every, train.save_every, train.keep_every
  return tuple(filter(None, every))


def _fit(parts, state, keep):
  """The state that training from `state` on ends with."""
  config, layout = parts.config, parts.layout
  steps = config.train.steps
  rows_at = batches(parts, layout.rows(config.train.batch_size))
  with data.ahead(
    lambda step: layout.feed(rows_at(step)), int(state.step), steps
  ) as batch_at:
    keep.begin()
    return training.fit(
      state,
      parts.train_step,
      batch_at,
      runs.keys(config)[1],
      steps=steps,
      every=periods(config.train),
      on_step=keep.on_step,
      on_state=lambda n, state: keep.on_state(n, layout.place(state)),
      due=keep.due,
    )


def _log(workdir, config, step, view):
  if not parallel.is_first():
    return _IDLE
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


def _memory(workdir, parts, like):
  """Bytes of a step on each device; None: not known, or nothing to train."""
  config = parts.config
  if checkpoint.exists(workdir):
    steps = states.Checkpoints(workdir, read_only=True).steps()
    if steps and steps[-1] >= config.train.steps:
      return None
  train = parts.dataset.splits["train"], config.train.batch_size
  return cost.memory(parts.train_step, parts.layout, like, *train)


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
  step = checkpoints.sound() if parallel.is_first() else None
  step = int(parallel.agreed(-1 if step is None else step))
  if step >= 0:
    state = checkpoints.restore(jax.eval_shape(first_state), step)
    progress = checkpoints.progress(step)
  elif checkpoints.steps():
    raise errors.DataError(
      f"{workdir}: none of the checkpoints is as it was committed; `ar_jax"
      f" checkpoints verify {workdir}` tells more; start the run again in"
      " another --workdir"
    )
  elif checkpoint.read_record(workdir, "run")["init_from"] is not None:
    raise errors.DataError(
      f"{workdir}: the checkpoints are gone, and with them the parameters that"
      " this run began with; start it again in another --workdir"
    )
  else:
    view.warned(f"{workdir} has no checkpoint yet: its run starts again")
  if parallel.is_first():
    done, prints = max(step, 0), data.fingerprints(dataset)
    finished = done >= config.train.steps
    args = workdir, done, prints, allow_data_change, finished
    for warning in record.resume(*args):
      view.warned(warning)
    checkpoints.drop_after(done)  # only those that were passed over
    checkpoint.write_record(workdir, "config", configs.plain(config))
  return parts.layout.make(first_state) if state is None else state, progress
