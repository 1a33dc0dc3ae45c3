"""metrics.jsonl: one line of JSON for each set of figures; and trackers.

The file is the record and is always written. TensorBoard and Weights & Biases
are told the same figures where the config asks for them; one that fails is
dropped with a warning, and the run goes on.
"""

import json
import numbers
import os
import pathlib
import time

from ar_jax import errors, registry


class Writer:
  """Writes the figures of one run.

  Args:
    workdir: of the run.
    trackers: names out of TRACKERS, or one of them; None: none.
    step: updates done before; later lines of an earlier start are dropped.
    identity: str that stays the same when the run is resumed.
    config: plain dict, shown by trackers that can.
    warn: called with a line when a tracker fails.
  Raises:
    StorageError: metrics.jsonl cannot be written; also `append`.
    DataError: what it holds is damaged.
  """

  def __init__(
    self, workdir, trackers=(), *, step=0, identity="", config=None, warn=print
  ):
    self._file = pathlib.Path(workdir) / "metrics.jsonl"
    self._warn = warn
    self._trackers = {}
    _truncate(self._file, step)
    for name in _names(trackers):
      start = TRACKERS[name]
      self._try(name, lambda s=start: s(workdir, step, identity, config or {}))

  def append(self, step, values):
    """Adds a line: the step, the time in seconds, and the figures."""
    line = dict(step=step, time=round(time.time(), 3), **values)
    try:
      with self._file.open("a", encoding="utf-8") as f:
        f.write(json.dumps(line) + "\n")
    except OSError as e:
      raise _unwritten(self._file, e) from e
    for name, (log, _) in list(self._trackers.items()):
      self._try(name, lambda log=log: log(step, _numbers(values)))

  def close(self):
    """Lets the trackers write what they still hold."""
    for name, (_, end) in list(self._trackers.items()):
      self._try(name, end)

  def _try(self, name, action):
    try:
      result = action()
    # Whatever a tracker raises, the run goes on; Ctrl-C still ends it.
    except (Exception, SystemExit) as e:
      self._trackers.pop(name, None)
      reason = " ".join(str(e).split()) or type(e).__name__
      if isinstance(e, ImportError):
        reason += f": pip install 'ar_jax[{name}]'"
      self._warn(f"no more figures go to {name}: {reason}; the run goes on")
    else:
      if result is not None:
        self._trackers[name] = result


def check(trackers):
  """UsageError for a tracker that there is not."""
  for name in _names(trackers):
    if name not in TRACKERS:
      raise errors.UsageError(
        f"config.train.trackers: no tracker {name!r}"
        f"{registry.nearest(name, TRACKERS)}; there are: {', '.join(TRACKERS)}"
      )


def read(workdir):
  """All lines as dicts; a torn last line is left out.

  Raises:
    DataError: another line is damaged.
  """
  file = pathlib.Path(workdir) / "metrics.jsonl"
  if not file.exists():
    return []
  lines = file.read_bytes().split(b"\n")[:-1]
  return [_parsed(file, *numbered) for numbered in enumerate(lines, 1)]


def _parsed(file, number, line):
  try:
    values = json.loads(line)
  except ValueError:
    values = None
  if not isinstance(values, dict) or "step" not in values:
    raise errors.DataError(
      f"{file}, line {number}, is no line of figures: {line[:40]!r};"
      " delete the line"
    )
  return values


def _names(trackers):
  """A tuple of names; a str is one name, not its letters."""
  return (trackers,) if isinstance(trackers, str) else tuple(trackers or ())


def _truncate(file, step):
  """Drops the lines after `step`, which a resumed run writes again."""
  try:
    if not file.exists():
      return
    lines = read(file.parent)
    kept = "".join(json.dumps(r) + "\n" for r in lines if r["step"] <= step)
    if kept.encode() == file.read_bytes():
      return
    part = file.with_suffix(".part")
    part.write_text(kept, encoding="utf-8")
    os.replace(part, file)
  except OSError as e:
    raise _unwritten(file, e) from e


def _unwritten(file, error):
  return errors.StorageError(f"cannot write {file}: {error.strerror or error}")


def _numbers(values):
  """{"train/nats_per_site": 1.2, ...}: what a tracker can draw."""
  kind = values["kind"]
  return {
    f"{kind}/{key}": float(value)
    for key, value in values.items()
    if isinstance(value, numbers.Real)
  }


def _tensorboard(workdir, step, identity, config):
  del identity, config
  import tensorboardX

  folder = str(pathlib.Path(workdir) / "tensorboard")
  board = tensorboardX.SummaryWriter(
    folder,
    purge_step=step + 1,
    filename_suffix=f".{step}",  # two starts within a second are two files
  )

  def log(step, values):
    for key, value in values.items():
      board.add_scalar(key, value, step)

  return log, board.close


def _wandb(workdir, step, identity, config):
  """Offline where the environment says WANDB_MODE=offline."""
  del step
  import wandb

  # Without credentials `init` asks for them and waits, in a terminal for ever.
  online = os.environ.get("WANDB_MODE", "online") == "online"
  if online and not wandb.login(prompt=False):
    raise RuntimeError(
      "no credentials: run `wandb login`, or set WANDB_MODE=offline"
    )
  run = wandb.init(
    project="ar_jax",
    name=pathlib.Path(workdir).name,
    dir=str(workdir),
    id=identity or None,
    resume="allow",
    config=config,
    settings=wandb.Settings(silent=True),
  )
  # A resumed run repeats steps, and W&B's own step only grows.
  run.define_metric("*", step_metric="step")

  def log(step, values):
    run.log(dict(values, step=step))

  return log, run.finish


TRACKERS = dict(tensorboard=_tensorboard, wandb=_wandb)
