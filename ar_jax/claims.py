"""Who works at which cell of a sweep, on any number of machines.

claims/CELL/1, 2, ... are its attempts. Whoever makes the directory of the next
one has it: making a directory is atomic, also on shared file systems, so that
no two workers run one cell. An attempt says that it lives by `beat.json`, and
how it ended by `end.json`; one that does neither is over. What is over and
may be tried again is claimed by the next directory, and nothing is removed.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import threading
import time
from typing import NamedTuple

from ar_jax import checkpoint, errors

RETRIES = 3  # of an attempt that was stopped or killed
STALE_SECONDS = 60.0  # clocks of machines must agree better than this
_BEAT_SECONDS = 2.0
# Of an attempt whose process is gone without a word.
KILLED = -9


class State(NamedTuple):
  """How a cell stands.

  name: waiting, running, stopped (it is tried again), done, failed.
  attempts: how many there were.
  code: exit code of the last one where it is over; KILLED: without a word.
  message: how it ended.
  said: what its last heartbeat said, with its host, pid, time and step.
  result: JSON data of an attempt that is done.
  """

  name: str
  attempts: int = 0
  code: int | None = None
  message: str = ""
  said: dict = {}
  result: dict = {}


class Claims:
  """The attempts at the cells of a sweep's directory."""

  def __init__(self, folder):
    self._folder = pathlib.Path(folder) / "claims"
    self._cancelled = pathlib.Path(folder) / "cancelled"
    self._stopped = threading.Lock()

  def state(self, cell):
    """The State of a cell."""
    attempts = self._attempts(cell)
    if not attempts or (attempts[-1] / "again").exists():
      return State("waiting", len(attempts))
    last = attempts[-1]
    said = _read(last / "beat.json") or {}
    alive = _is_alive(last, said)
    end = _read(last / "end.json")  # after that: it is written before it goes
    common = dict(attempts=len(attempts), said=said)
    if end is None:
      if alive:
        return State("running", **common)
      gone = f"its process on {said.get('host', 'a machine')} is gone"
      end = dict(code=KILLED, message=gone)
    code, message = end["code"], end["message"]
    if code == 0:
      return State("done", code=0, result=end["result"], **common)
    if code not in (KILLED, errors.Preempted.exit_code):
      return State("failed", code=code, message=message, **common)
    forgiven = [n for n, a in enumerate(attempts, 1) if (a / "again").exists()]
    tries = len(attempts) - max(forgiven, default=0)
    if tries > RETRIES:
      message = f"stopped {tries} times, last: {message}"
      return State("failed", code=code, message=message, **common)
    return State("stopped", code=code, message=message, **common)

  def claim(self, cell):
    """An Attempt, or None where the cell is not to be had.

    Raises:
      StorageError: the directory cannot be written.
    """
    state = self.state(cell)
    if state.name not in ("waiting", "stopped") or self.cancelled():
      return None
    path = self._folder / cell / str(state.attempts + 1)
    try:
      path.mkdir(parents=True)
    except FileExistsError:
      return None  # another worker was faster
    except OSError as e:
      raise errors.StorageError(f"cannot write {path}: {e.strerror}") from e
    return Attempt(path, self._stop)

  def _stop(self):
    """Stops this process if `cancel` was called; by one signal alone.

    It may beat for several attempts, and SLURM sends SIGTERM meanwhile: the
    same signal again would mean "at once".
    """
    if self.cancelled() and self._stopped.acquire(blocking=False):
      os.kill(os.getpid(), signal.SIGUSR1)

  def again(self, cell, state):
    """Lets a cell that is over be tried again, as if for the first time.

    state: as it was found; an attempt that began since goes on.
    """
    if state.attempts:
      _touch(self._folder / cell / str(state.attempts) / "again")

  def cancel(self):
    """Asks all workers to save and stop, and to begin nothing."""
    _touch(self._cancelled)

  def cancelled(self):
    """Whether `cancel` was called since the last `resume`."""
    return self._cancelled.exists()

  def resume(self):
    """Takes `cancel` back."""
    self._cancelled.unlink(missing_ok=True)

  def _attempts(self, cell):
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
      names = [int(p.name) for p in (self._folder / cell).iterdir()]
      return [self._folder / cell / str(n) for n in sorted(names)]
    return []


class Attempt:
  """A cell that this process has, and beats for while it is entered.

  Args:
    path: its directory.
    stop: called with each beat, to stop the process if it is to.
  """

  def __init__(self, path, stop):
    self._path, self._stop = path, stop
    self._said = dict(pid=os.getpid(), host=socket.gethostname())
    self._over = threading.Event()
    self._thread = threading.Thread(target=self._beat, daemon=True)
    self._write("beat", dict(self._said, time=time.time()))

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *_):
    self._over.set()
    self._thread.join()

  def says(self, **values):
    """What the next heartbeat says, as the step that was reached."""
    self._said = {**self._said, **values}

  def end(self, code, message="", result=None):
    """Writes down how it ended: an exit code, and JSON data if that is 0."""
    values = dict(code=code, message=message, result=result or {})
    self._write("end", dict(values, time=time.time()))

  def _beat(self):
    while not self._over.wait(_BEAT_SECONDS):
      # A disk that is full now may take the next one.
      with contextlib.suppress(errors.StorageError):
        self._write("beat", dict(self._said, time=time.time()))
      self._stop()

  def _write(self, name, values):
    checkpoint.write_json(self._path / f"{name}.json", values)


def _touch(path):
  try:
    path.touch()
  except OSError as e:
    raise errors.StorageError(f"cannot write {path}: {e.strerror}") from e


def _read(path):
  """JSON data, or None where there is none yet."""
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return None


def _is_alive(path, said):
  """Whether an attempt that has not ended is still worked at."""
  try:
    last = said.get("time", path.stat().st_mtime)
  except OSError:
    return False
  if time.time() - last > STALE_SECONDS:
    return False
  if said.get("host") != socket.gethostname():
    return True
  try:
    os.kill(said["pid"], 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    pass
  return True
