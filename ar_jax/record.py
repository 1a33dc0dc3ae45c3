"""What is written down about a run: versions, its starts, its figures."""

import os
import pathlib
import platform
import subprocess
import time
import uuid

import jax
import numpy as np

import ar_jax
from ar_jax import checkpoint, errors


def provenance():
  """Versions, devices and revision, for run.json."""
  return dict(
    ar_jax=ar_jax.__version__,
    revision=_revision(),
    python=platform.python_version(),
    jax=jax.__version__,
    numpy=np.__version__,
    devices=[d.device_kind for d in jax.devices()],
    platform=jax.default_backend(),
    # XLA's sums on CPU depend on the number of threads, in the last bit.
    threads=os.environ.get("NPROC", str(_cores())),
    time=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
  )


def first(data, init_from=None):
  """The run.json of a new run.

  Args:
    data: of data.fingerprints.
    init_from: directory of the run that the first parameters come from.
  """
  origin = None if init_from is None else str(init_from)
  more = dict(id=uuid.uuid4().hex[:12], init_from=origin, data=data, resumed=[])
  return dict(provenance(), **more)


def resume(workdir, step, data, allow_data_change, finished=False):
  """Notes in run.json that a run goes on from `step`.

  Args:
    workdir: of the run.
    step: updates done.
    data: of data.fingerprints.
    allow_data_change: whether other data than before is accepted.
    finished: nothing is left to train, so that nothing is to be noted.
  Returns:
    Warnings: what is not as it was, so that the bits may differ.
  Raises:
    DataError: the data has changed.
  """
  record = checkpoint.read_record(workdir, "run")
  warnings, changed = [], {}
  before = record["data"] or data  # a run that was imported knows none
  for name in {**before, **data}:
    if before.get(name) == data.get(name):
      continue
    if not allow_data_change:
      raise errors.DataError(
        f"{workdir}: the data is not what this run began with: its {name} split"
        " differs; bring the data back, or go on with --allow_data_change"
      )
    warnings.append(f"the {name} split is not the one this run began with")
    changed[name] = before.get(name)
  now = provenance()
  if finished and not changed:
    return []
  last = (record["resumed"] or [record])[-1]
  for key in ("jax", "platform", "devices", "threads", "revision"):
    if last[key] != now[key]:
      warnings.append(
        f"this run went on under {key} {last[key]} and now has {now[key]}:"
        " its bits may differ from those of a run in one piece"
      )
  record["resumed"].append(dict(now, step=step, changed_splits=changed))
  checkpoint.write_record(workdir, "run", dict(record, data=data))
  return warnings


def same_data(workdir):
  """Whether all starts of a run had the data that it began with."""
  resumed = checkpoint.read_record(workdir, "run")["resumed"]
  return not any(start["changed_splits"] for start in resumed)


def _cores():
  """Cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count()


def _revision():
  """The commit of the code, or None where it is in no repository of its own."""
  root = pathlib.Path(__file__).parent.parent
  command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
  except OSError:
    return None
  # An installed package may lie inside somebody else's repository.
  top, _, commit = done.stdout.strip().partition("\n")
  return commit if commit and pathlib.Path(top) == root.resolve() else None


_BEAT_SECONDS = 1.0


class Attendance:
  """How the time of a run was spent, over all its starts; for run.json.

  Productive are the seconds in updates that were kept: not those of starting,
  compiling, scoring and saving, nor updates that had to be done again. Of a
  start that was killed, what its last heartbeat said is counted.

  Args:
    workdir: of the run.
    lock: checkpoint.Lock.
    step: updates done when this start began.
  """

  def __init__(self, workdir, lock, step):
    self._workdir, self._lock = workdir, lock
    self._began = time.time()
    self._first = self._last = step
    self._seconds = 0.0
    self._total = dict(seconds=0.0, productive_seconds=0.0, lost_updates=0)
    if lock.before is not None:
      self._total = lock.before["total"]
      self._add(lock.before, step)
    else:
      runtime = checkpoint.read_record(workdir, "run").get("runtime", {})
      self._total |= {k: runtime[k] for k in self._total if k in runtime}
    self._beaten = -_BEAT_SECONDS
    self.reached(step, 0.0)

  def reached(self, step, seconds):
    """Notes how far the run is: `seconds` were spent in updates by now."""
    self._last, self._seconds = step, seconds
    now = time.monotonic()
    if now - self._beaten >= _BEAT_SECONDS:
      self._beaten = now
      self._lock.beat(**self._now())

  def end(self, reason, kept):
    """Writes down how it ended, in a few words, and the last step kept."""
    self._add(self._now() | dict(time=time.time()), kept)
    values = checkpoint.read_record(self._workdir, "run")
    share = self._total["productive_seconds"] / self._total["seconds"]
    runtime = self._total | dict(
      productive_share=share,
      restarts=len(values["resumed"]),
      exit=reason,
      step=kept,
    )
    checkpoint.write_record(self._workdir, "run", dict(values, runtime=runtime))
    self._lock.clear()

  def _now(self):
    return dict(
      began=self._began,
      first=self._first,
      step=self._last,
      update_seconds=self._seconds,
      total=self._total,
    )

  def _add(self, said, kept):
    """Adds a start to the totals, of whose updates those to `kept` count."""
    done = said["step"] - said["first"]
    lost = max(0, said["step"] - kept)
    share = max(0, done - lost) / done if done else 0.0
    self._total = dict(
      seconds=self._total["seconds"] + said["time"] - said["began"],
      productive_seconds=self._total["productive_seconds"]
      + share * said["update_seconds"],
      lost_updates=self._total["lost_updates"] + lost,
    )


class Meter:
  """Training lines of metrics.jsonl: sums since the last line.

  seconds: spent in updates since this was made, but for the first one, which
    compiles.
  """

  def __init__(self, append, every, progress=None):
    self._append, self._every = append, every
    kept = dict(nats=0.0, weight=0.0) | (progress or {})
    self._nats, self._weight = kept["nats"], kept["weight"]
    self.seconds = 0.0
    self._stamp = None  # of the last update; the first one compiles
    self.restart()

  def restart(self):
    """Leaves out of the time what was no training."""
    self._since, self._timed = time.perf_counter(), 0.0
    if self._stamp is not None:
      self._stamp = self._since

  def progress(self):
    """What a resumed run goes on from, for its first line to be the same."""
    return dict(nats=self._nats, weight=self._weight)

  def add(self, step, metrics):
    """Counts a step; each `every` steps a line is written."""
    self._nats += metrics["nats"]
    self._weight += metrics["weight"]
    self._timed += metrics["weight"]
    now = time.perf_counter()
    if self._stamp is not None:
      self.seconds += now - self._stamp
    self._stamp = now
    if step % self._every:
      return
    line = dict(
      kind="train",
      nats_per_site=self._nats / self._weight,
      grad_norm=metrics["grad_norm"],
      sites_per_second=self._timed / (now - self._since),
    )
    self._append(step, line)
    self._nats = self._weight = 0.0
    self.restart()
