"""What runs the cells of a sweep: one after the other, in this process."""

import contextlib
import dataclasses
import traceback

import jax

from ar_jax import claims as claiming
from ar_jax import config as configs
from ar_jax import (
  errors,
  launch,
  members,
  preemption,
  record,
  report,
  scoring,
  sweep,
)
from ar_jax import run as runs

# What several runs in one program may end with where each alone would not: a
# member that is no number, or less memory than they need together.
_APART = errors.Error, jax.errors.JaxRuntimeError


def work(folder, view_of, only=None):
  """Trains and scores cells until none of them is to be had.

  A cell that fails is written down as such, and the next one begun.

  Args:
    folder: of the sweep.
    view_of: (list of Cells that are trained together) -> context manager of
      (launch.View, what is called with their members.Gain).
    only: id of a cell, to run it and what is trained with it; None: all.
  Raises:
    Preempted: it was asked to stop, and has saved what there is.
  """
  groups = [
    group
    for group in sweep.groups(folder)
    if only is None or only in [cell.id for cell in group]
  ]
  if not groups:
    raise errors.UsageError(f"{folder} has no cell {only or 'at all'}")
  claims = claiming.Claims(folder)
  with preemption.Watch() as watch:
    while True:
      for group in groups:
        if watch.asked:
          raise errors.Preempted(f"{watch.asked}: no cell was begun")
        claimed = [(cell, claims.claim(cell.id)) for cell in group]
        if had := [pair for pair in claimed if pair[1]]:
          break
      else:
        return
      with contextlib.ExitStack() as stack:
        for _, attempt in had:
          stack.enter_context(attempt)
        told = stack.enter_context(view_of([cell for cell, _ in had]))
        _run(folder, had, *told, watch)


def _run(folder, had, view, measured, watch):
  """Runs cells that this worker has: together if they are several."""
  if len(had) > 1 and not _together(folder, had, view, measured, watch):
    view.warned("they are trained one after the other")
    for pair in had:
      _run(folder, [pair], view, measured, watch)
  elif len(had) == 1:
    [(cell, attempt)] = had
    with _ended(had):
      path = sweep.workdir(folder, cell)
      told = _saying(view, cell, attempt)
      trained, dataset = launch.train(cell.config, path, told)
      attempt.end(0, result=_scored(folder, cell, trained, dataset, watch))


def _together(folder, had, view, measured, watch):
  """Whether cells could be trained in one program, and have been."""
  cells = [cell for cell, _ in had]
  views = [_saying(view, *had[0])]
  quiet = launch.SILENT._replace(warned=view.warned)
  trained = ()
  views += [_saying(quiet, *pair) for pair in had[1:]]
  try:
    with _ended(had, but=_APART):
      trained, dataset = members.train(
        [cell.config for cell in cells],
        [sweep.workdir(folder, cell) for cell in cells],
        views,
        measured,
      )
  except errors.Preempted:
    raise
  except _APART as e:
    view.warned(str(e))
    return False
  for pair, run in zip(had, trained, strict=False):  # none if it broke
    with _ended([pair]):
      cell, attempt = pair
      attempt.end(0, result=_scored(folder, cell, run, dataset, watch))
  return True


@contextlib.contextmanager
def _ended(had, but=()):
  """Writes down how cells end that do not end well.

  Raises what ends the worker, and errors of the class `but`.
  """

  def end(code, message):
    for _, attempt in had:
      attempt.end(code, message)

  try:
    yield
  except errors.Preempted as e:
    end(e.exit_code, str(e))
    raise
  except Exception as e:
    if isinstance(e, but):
      raise
    if isinstance(e, errors.Error):
      end(e.exit_code, str(e))
    else:
      end(1, traceback.format_exc())
  except BaseException as e:  # Ctrl-C where nothing heeds it
    end(errors.Preempted.exit_code, type(e).__name__)
    raise


def _saying(view, cell, attempt):
  """The View whose steps the heartbeats of an attempt say."""

  def stepped(step, metrics):
    attempt.says(step=step)
    view.stepped(step, metrics)

  return view._replace(stepped=stepped)


def _scored(folder, cell, trained, dataset, watch):
  """Scores a run, and says of which state and data the scores are."""
  workdir = sweep.workdir(folder, cell)
  with watch.interruptible():
    if cell.checkpoint != "last":
      trained = runs.load(workdir, cell.checkpoint)
    config = configs.restore(configs.plain(cell.config))
    config.evaluate.split = cell.split
    trained = dataclasses.replace(trained, config=config)
    result = dict(
      step=trained.step,
      same_data=record.same_data(workdir),
      split=cell.split,
      protocol=dataset.splits[cell.split].protocol,
    )
    if sweep.row(folder, cell, result) is None:
      scoring.score(trained, dataset, result["same_data"])
      report.curves(workdir)
    return result
