"""The states of a run: written by orbax, committed by us, newest sound first.

Orbax has no checksums of arrays and knows no step before the last; so each
state lies in a folder that `commit` seals, named by the updates done. Writing
goes on behind the training; what fails there is raised at the next call.
"""

import concurrent.futures
import errno
import functools
import math
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import checkpoint, commit, errors

_STATE = "state"
_RETRY_SECONDS = 1.0
_SAVING = threading.Lock()  # two saves at once would wait for each other


def _tell(message):
  print(f"ar_jax: warning: {message}", file=sys.stderr)


class Row(NamedTuple):
  """A committed state: seconds since 1970, bytes, and its score or None."""

  step: int
  time: float
  bytes: int
  score: float | None


class Checkpoints:
  """The committed states of one run.

  Args:
    workdir: of the run.
    keep: how many of the last ones stay.
    keep_best: how many of those with the lowest score stay besides.
    keep_every: states of these multiples stay too; None: none.
    read_only: nothing is written or tidied up: a state that another process is
      writing stays as it is.
    warn: called with a line about a state that is passed over.
  """

  def __init__(
    self,
    workdir,
    keep=1,
    keep_best=0,
    keep_every=None,
    read_only=False,
    warn=_tell,
  ):
    self._folder = pathlib.Path(workdir).absolute() / "checkpoints"
    self._keep, self._keep_best = keep, keep_best
    self._keep_every, self._warn = keep_every, warn
    self._writing = None
    if not read_only and jax.process_index() == 0:
      self._stored(commit.tidy, self._folder)

  @functools.cached_property
  def _orbax(self):
    return _orbax().AsyncCheckpointer(_orbax().StandardCheckpointHandler())

  @functools.cached_property
  def _thread(self):
    return concurrent.futures.ThreadPoolExecutor(1, "checkpoints")

  def check(self):
    """DataError where states lie that were not committed by `save`."""
    if self._folders() and not self.steps():
      raise self._none()

  def steps(self):
    """Steps of the committed states, ascending."""
    return [s for s in self._folders() if commit.is_committed(self.path(s))]

  def table(self):
    """[Row] of the committed states, ascending; DataError if one is damaged."""
    return [self._stored(self._row, step) for step in self.steps()]

  def _row(self, step):
    folder = self.path(step)
    score = commit.about(folder)["score"]
    return Row(step, commit.committed_at(folder), commit.size(folder), score)

  def path(self, step):
    """The folder of a state."""
    return self._folder / str(step)

  def check_room(self, state):
    """StorageError where two of these states do not fit on the disk."""
    need = 2 * sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(state))
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
      with tempfile.TemporaryFile(dir=self._folder) as f:
        f.write(b"probe")
        f.flush()
        os.fsync(f.fileno())
      free = shutil.disk_usage(self._folder).free
    except OSError as e:
      raise errors.StorageError(
        f"cannot write {self._folder}: {e.strerror}"
      ) from e
    if free < need:
      raise errors.StorageError(
        f"{self._folder}: two states of this run need {_size(need)}, the disk"
        f" has {_size(free)} free; make room, or choose another --workdir"
      )

  def save(self, state, progress=None, score=None):
    """Takes a copy of the state and writes it behind the caller's back.

    Waits for the one before; the state is safe when `wait` has returned.

    Args:
      state: TrainState.
      progress: JSON data that goes with it.
      score: what the best ones are lowest in; None: never among them.
    Raises:
      NumericalError: a number of the state is not finite; names its leaf.
      StorageError: this one, or the one before, cannot be written.
    """
    self.wait()
    step = int(state.step)
    tree = state._asdict()
    _check_finite(tree, step)
    if jax.process_count() == 1:  # the next step reuses these buffers
      tree = jax.tree.map(np.array, tree)
    about = dict(
      step=step,
      score=_finite(score),
      progress=progress or {},
      leaves=checkpoint.leaves(tree),
    )
    if jax.process_count() > 1:  # its copy needs all of them, here and now
      self._start(step, tree)
    self._writing = self._thread.submit(self._write, step, tree, about)

  def rescore(self, step, progress=None, score=None):
    """Replaces what was said beside the state of a step."""
    self.wait()
    values = dict(step=step, score=_finite(score), progress=progress or {})
    if jax.process_index() == 0:
      self._stored(commit.amend, self.path(step), self._about(step) | values)

  def poll(self):
    """Raises what has gone wrong behind the caller's back so far."""
    if self._writing is not None and self._writing.done():
      self.wait()

  def wait(self):
    """Returns when the last state is committed; raises if it could not be."""
    if self._writing is not None:
      writing, self._writing = self._writing, None
      writing.result()

  def find(self, which="last"):
    """The step of a state: "last", "best", or a number of updates."""
    steps = self.steps()
    if not steps:
      raise self._none()
    if which == "last":
      return steps[-1]
    if which == "best":
      scores = {step: self._score(step) for step in steps}
      best = min(scores, key=scores.get)
      if math.isinf(scores[best]):
        raise errors.DataError(f"{self._folder}: no checkpoint has a score")
      return best
    if str(which).isdecimal() and int(which) in steps:
      return int(which)
    raise errors.UsageError(
      f"no checkpoint {which!r} in {self._folder}; there are: last, best,"
      f" {', '.join(map(str, steps))}"
    )

  def restore(self, like, step=None):
    """A state, as a TrainState of numpy arrays.

    Args:
      like: TrainState of shapes and dtypes, as jax.eval_shape gives.
      step: of `find`; None: the last one that is sound.
    Raises:
      DataError: there is none, it has changed since it was committed, or it
        does not fit `like`.
    """
    try:
      if step is None:
        step = self.sound()
      else:
        self.verify(step)
      if step is None:
        raise self._none()
      return self._read(like, step)
    except commit.Damaged as e:
      raise errors.DataError(f"checkpoint of step {step}: {e}") from e

  def sound(self):
    """The last step whose state is as it was committed, or None.

    With a warning for each one that is passed over.
    """
    for step in reversed(self.steps()):
      try:
        self.verify(step)
      except commit.Damaged as e:
        self._warn(
          f"checkpoint of step {step}: {e}; it is passed over for the one"
          " before"
        )
      else:
        return step
    return None

  def progress(self, step):
    """The JSON data that went with a state."""
    try:
      return self._about(step)["progress"]
    except commit.Damaged as e:
      raise errors.DataError(f"checkpoint of step {step}: {e}") from e

  def drop_after(self, step):
    """Removes the states of later steps, which a run writes again."""
    for later in self.steps():
      if later > step:
        self._stored(commit.remove, self.path(later))

  def verify(self, step):
    """Reads all of a state again; commit.Damaged if it has changed."""
    commit.verify(self.path(step))

  def close(self):
    """Waits for what is being written, and ends the background threads."""
    try:
      self.wait()
    finally:
      if "_thread" in self.__dict__:
        self._thread.shutdown()
      if "_orbax" in self.__dict__:
        self._orbax.close()

  def _none(self):
    left = [s for s in self._folders() if s not in self.steps()]
    if left:
      return errors.DataError(
        f"{self.path(left[-1])} is no checkpoint: it has no {commit.MANIFEST};"
        " it was written by an earlier version, or has lost it"
      )
    return errors.DataError(
      f"{self._folder} holds no checkpoint that is whole: `ar_jax train` on its"
      " directory goes on"
    )

  def _folders(self):
    if not self._folder.is_dir():
      return []
    names = [f.name for f in self._folder.iterdir()]
    return sorted(int(n) for n in names if n.isdecimal())

  def _about(self, step):
    return commit.about(self.path(step))

  def _score(self, step):
    try:
      score = self._about(step)["score"]
    except commit.Damaged as e:
      self._warn(f"checkpoint of step {step}: {e}; it is passed over")
      score = None
    return math.inf if score is None else score

  def _read(self, like, step):
    """The state of a step that is as it was committed."""
    wanted = checkpoint.leaves(like._asdict())
    wrong = checkpoint.first_difference(self._about(step)["leaves"], wanted)
    if wrong is not None:
      raise errors.DataError(
        f"checkpoint of step {step} in {self._folder} does not fit the config:"
        f" {wrong}"
      )
    # Of numpy arrays: whatever devices the state was on, it can be read.
    target = jax.tree.map(
      lambda a: np.broadcast_to(np.zeros((), a.dtype), a.shape), like._asdict()
    )
    try:
      args = _orbax().args.StandardRestore(target)
      found = self._orbax.restore(self.path(step) / _STATE, args)
    except (KeyError, ValueError, OSError) as e:
      raise commit.Damaged(f"{self.path(step)} cannot be read: {e}") from e
    return type(like)(**found)

  def _write(self, step, tree, about):
    """In the background: the state, its manifest, then the older ones."""
    for last in (False, True):
      try:
        with _SAVING:
          if jax.process_count() == 1:
            self._start(step, tree)
          self._orbax.wait_until_finished()
        if jax.process_index() == 0:
          commit.commit(self.path(step), about)
        break
      except (OSError, ValueError) as e:
        shutil.rmtree(commit.part(self.path(step)), ignore_errors=True)
        if last or jax.process_count() > 1:
          need = sum(a.nbytes for a in jax.tree.leaves(tree))
          raise self._unwritten(step, e, need) from e
        time.sleep(_RETRY_SECONDS)
    if jax.process_index() == 0:
      for old in self._superfluous():
        self._stored(commit.remove, self.path(old))

  def _start(self, step, tree):
    """Orbax takes its copy, and goes on writing."""
    folder = commit.part(self.path(step))
    if jax.process_index() == 0:
      folder.mkdir(parents=True, exist_ok=True)
    self._orbax.save(folder / _STATE, _orbax().args.StandardSave(tree))

  def _superfluous(self):
    """Steps that are neither among the last, nor the best, nor for ever."""
    steps = self.steps()
    scores = {s: self._score(s) for s in steps}
    scored = [s for s in steps if math.isfinite(scores[s])]
    kept = {*steps[-self._keep :]}
    kept |= {*sorted(scored, key=scores.get)[: self._keep_best]}
    if self._keep_every:
      kept |= {s for s in steps if s % self._keep_every == 0}
    return [s for s in steps if s not in kept]

  def _unwritten(self, step, error, need):
    """StorageError of a state that could not be written."""
    what = f"checkpoint of step {step} in {self._folder}"
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full or "RESOURCE_EXHAUSTED" in str(error):
      free = shutil.disk_usage(self._folder).free
      return errors.StorageError(
        f"{what}: the disk is full: it needs {_size(need)}, {_size(free)} are"
        " free; make room: `ar_jax train` on the directory goes on from the"
        " state before"
      )
    return errors.StorageError(f"{what}: {' '.join(str(error).split())[:300]}")

  def _stored(self, function, *args):
    try:
      return function(*args)
    except OSError as e:
      raise errors.StorageError(
        f"cannot write {self._folder}: {e.strerror}"
      ) from e
    except commit.Damaged as e:
      raise errors.DataError(str(e)) from e


def _check_finite(tree, step):
  """NumericalError that names the first leaf with a number that is none."""
  for (name, _), finite in zip(
    checkpoint.named(tree), jax.device_get(_finite_leaves(tree)), strict=True
  ):
    if not finite:
      raise errors.NumericalError(
        f"step {step}: {name} is not finite; this state was not saved, the one"
        " before stays. Lower config.optimizer.lr, or set config.optimizer.clip"
      )


@jax.jit
def _finite_leaves(tree):
  return [jnp.isfinite(a).all() for a in jax.tree.leaves(tree)]


def _finite(score):
  """The score as JSON can hold it."""
  return score if score is not None and math.isfinite(score) else None


def _size(count):
  power = min(3, (len(str(int(count))) - 1) // 3)
  return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def _orbax():
  """Half a second to import: not before the first state."""
  import orbax.checkpoint

  return orbax.checkpoint
