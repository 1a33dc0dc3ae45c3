"""What `ar_jax sweep` does, and how it shows it."""

import contextlib
import os
import pathlib
import shlex
import time

import jax
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ar_jax import claims as claiming
from ar_jax import errors, fleet, slurm, sweep, worker
from ar_jax.commands import _show

_SECONDS = 30.0  # between lines where the output is no terminal
_STYLES = dict(done="green", running="cyan", failed="red", stopped="yellow")


def submit(args):
  """Runs what is missing of a study, where it is told; then the report."""
  folder, parallel = pathlib.Path(args.workdir), args.parallel or 1
  if args.on != "local" or parallel > 1:
    # The workers' device is not taken from them.
    jax.config.update("jax_platforms", "cpu")
  if args.on == "slurm":
    executor = slurm.executor(folder, args.parallel, args.slurm)
  module, cells = sweep.study(args.study)
  cells = sweep.checked(cells)
  if args.vmap:
    cells = sweep.sharing_batches(cells)
  sweep.submit(folder, args.study, cells, args.vmap)
  claims = claiming.Claims(folder)
  claims.resume()
  _reopen(folder, cells, claims)
  todo = [
    [cell.id for cell in group]
    for group in sweep.groups(folder)
    if any(_is_open(claims.state(cell.id)) for cell in group)
  ]
  if args.on == "print":
    for group in todo:
      _show.say(shlex.join(fleet.command(folder, f"--cell={group[0]}")))
    return
  if todo and args.on == "slurm":
    first = [group[0] for group in todo]
    jobs = slurm.submit(executor, folder, first)
    _show.say(
      f"{len(jobs)} jobs submitted ({', '.join(jobs[:3])} ...), {len(todo)}"
      f" needed; `ar_jax sweep status {folder}` shows the runs, the same"
      " command reports when they are done"
    )
    return
  if todo and parallel > 1:
    with _watched(folder) as look:
      fleet.run(folder, [c.id for c in cells], parallel, look)
  elif todo:
    worker.work(folder, _view)
  _report(module, folder, cells, claims)


def _is_open(state):
  return state.name in ("waiting", "stopped")


def _reopen(folder, cells, claims):
  """Lets cells run whose stop counts no more, or whose scores are not there."""
  for cell in cells:
    state = claims.state(cell.id)
    lost = state.name == "done" and not sweep.row(folder, cell, state.result)
    if state.name == "stopped" or lost:
      claims.again(cell.id, state)


def _report(module, folder, cells, claims):
  """The study's report, if no run is missing."""
  states = [claims.state(cell.id) for cell in cells]
  failed = [s for s in states if s.name == "failed"]
  if failed:
    _show.show(_table(folder, cells))
    raise _failure(
      failed,
      f"{len(failed)} of {len(cells)} runs failed, so there is no report:"
      f" mend what is wrong, `ar_jax sweep retry {folder}`, then this again",
    )
  if any(s.name != "done" for s in states):
    _show.show(_table(folder, cells))
    _show.say("the report comes with the same command, when all are done")
    return
  rows = [
    sweep.row(folder, cell, state.result)
    for cell, state in zip(cells, states, strict=True)
  ]
  if None in rows:
    raise errors.DataError(
      f"scores in {folder} were changed meanwhile; the same command makes them"
      " again"
    )
  for table in module.report(rows, folder):
    _show.show(table)


@contextlib.contextmanager
def _view(cells):
  """What is told of runs that are trained together in this process."""
  first, *others = cells
  for cell in cells:
    _show.say(f"run {cell.id}: {cell.name}")
  with _show.Progress(first.config.train.steps, brief=True) as progress:
    yield progress.view, _gain if others else None


def _gain(gain):
  """What training together has brought."""
  _show.say(
    f"{gain.members} runs in one step: {1000 * gain.together:.1f} ms, one alone"
    f" {1000 * gain.alone:.1f} ms: {gain.ratio:.2f} x as fast"
  )


@contextlib.contextmanager
def _watched(folder):
  """A function that shows how the cells stand, again and again."""
  cells = sweep.load(folder)
  if _show.is_terminal():
    with Live(_table(folder, cells), refresh_per_second=2) as live:
      yield lambda: live.update(_table(folder, cells))
      live.update(_table(folder, cells))
    return
  last = [0.0]

  def look():
    if time.monotonic() - last[0] > _SECONDS:
      last[0] = time.monotonic()
      _show.say(_line(_states(folder, cells)))

  yield look
  _show.say(_line(_states(folder, cells)))


def _states(folder, cells):
  claims = claiming.Claims(folder)
  return [claims.state(cell.id) for cell in cells]


def _line(states):
  """How many cells stand how."""
  names = [state.name for state in states]
  counts = {name: names.count(name) for name in dict.fromkeys(names)}
  return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))


def _table(folder, cells):
  """A row for each cell."""
  states = _states(folder, cells)
  table = Table(title=escape(str(folder)), caption=_line(states))
  for title in ("run", "cell", "state", "step", "tries", "where", ""):
    table.add_column(title, overflow="fold")
  for cell, state in zip(cells, states, strict=True):
    said, style = state.said, _STYLES.get(state.name)
    steps = cell.config.train.steps
    step = steps if state.name == "done" else said.get("step")
    where = f"{said['host']}:{said['pid']}" if "pid" in said else ""
    table.add_row(
      cell.id,
      escape(cell.name),
      f"[{style}]{state.name}[/]" if style else state.name,
      "" if step is None else f"{step:,}/{steps:,}",
      str(state.attempts),
      where if state.name == "running" else "",
      escape(_how(state)),
    )
  return table


def _how(state):
  """How a cell's last attempt ended, if not well."""
  if not state.code:
    return ""
  return f"exit {state.code}: {state.message.strip().splitlines()[-1]}"


def _failure(failed, message):
  """The error whose exit code is that of the first of the failed cells."""
  code, error = failed[0].code, errors.Error(message)
  if code not in (claiming.KILLED, errors.Preempted.exit_code):
    error.exit_code = code  # what was stopped too often does not go on either
  return error


def _status(args):
  """The table, live in a terminal until nothing is left to wait for."""
  folder, cells = args.folder, sweep.load(args.folder)
  if not _show.is_terminal():
    _show.show(_table(folder, cells))
    return
  with Live(_table(folder, cells), refresh_per_second=2) as live:
    while any(s.name in ("running", "waiting") for s in _states(folder, cells)):
      time.sleep(1)
      live.update(_table(folder, cells))


def _cancel(args):
  """Asks the workers to save and stop, wherever they are."""
  states = _states(args.folder, sweep.load(args.folder))
  claiming.Claims(args.folder).cancel()
  slurm.cancel(args.folder)
  running = sum(state.name == "running" for state in states)
  _show.say(
    f"{running} runs save and stop, none is begun; the sweep's own command goes"
    " on with them"
  )


def _retry(args):
  """Lets the failed cells be tried again."""
  claims, count = claiming.Claims(args.folder), 0
  for cell in sweep.load(args.folder):
    state = claims.state(cell.id)
    if state.name == "failed":
      claims.again(cell.id, state)
      count += 1
  _show.say(f"{count} failed runs are tried again by the sweep's own command")


def _work(args):
  """A worker: what a sweep starts, and what --on=print prints."""
  if args.cores:
    os.sched_setaffinity(0, {int(core) for core in args.cores.split(",")})
  worker.work(args.folder, _view, args.cell)
  if args.cell is None:
    return
  state = claiming.Claims(args.folder).state(args.cell)
  if state.name == "failed":
    raise _failure([state], f"run {args.cell} failed: {_how(state)}")
  if state.name != "done":
    raise errors.Preempted(
      f"run {args.cell} is {state.name}; start it again, or see `ar_jax sweep"
      f" status {args.folder}`"
    )


VERBS = dict(status=_status, cancel=_cancel, retry=_retry, work=_work)
