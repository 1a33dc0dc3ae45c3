"""What a run keeps beside its states: config, spec, versions; and its lock."""

import contextlib
import fcntl
import functools
import json
import os
import pathlib
import socket
import time

import jax
import numpy as np

from ar_jax import errors
from ar_jax.types import Condition, DataSpec

_RECORDS = ("config", "spec", "run")
_SECTIONS = ("seed", "data", "ordering", "head", "model", "objective")
_SECTIONS += ("optimizer", "train", "evaluate", "sample", "parallel")


def exists(workdir):
  """Whether the directory holds a run."""
  return (pathlib.Path(workdir) / "config.json").exists()


def create(workdir, *, config, spec, media, run):
  """Makes the directory of a new run and writes its three records.

  Args:
    workdir: directory; must not hold a run.
    config: plain dict.
    spec: DataSpec.
    media: JSON data of the Dataset.
    run: dict of versions, devices and the like.
  Raises:
    UsageError: it holds a run. StorageError: it cannot be written.
  """
  workdir = pathlib.Path(workdir)
  if exists(workdir):
    raise errors.UsageError(
      f"{workdir} already holds a run; choose another --workdir, or remove it"
    )
  records = dict(
    config=config, spec=dict(data=spec_to_json(spec), media=media), run=run
  )
  # config.json comes last: a directory that has it is whole.
  for name in reversed(_RECORDS):
    write_record(workdir, name, records[name])


class Lock:
  """Held by the one process that trains in a directory.

  Its file says who that is and how far it is; what it said last stays there
  when the process is killed.
  """

  def __init__(self, file):
    self._file = file
    self.before = _said(file)  # by a process that ended without a word

  def beat(self, **values):
    """Says that the process lives, and JSON data about how far it is."""
    who = dict(pid=os.getpid(), host=socket.gethostname(), time=time.time())
    self._write(json.dumps(who | values))

  def clear(self):
    """Says that the process has ended in order."""
    self._write("")

  def _write(self, text):
    self._file.seek(0)
    self._file.truncate()
    self._file.write(text)
    self._file.flush()


@contextlib.contextmanager
def locked(workdir):
  """Keeps other processes from training in a directory; makes it.

  Yields:
    Lock.
  Raises:
    StorageError: another one does, or the directory cannot be written.
  """
  workdir = pathlib.Path(workdir)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = (workdir / ".lock").open("a+", encoding="utf-8")
  except OSError as e:
    raise errors.StorageError(f"cannot write {workdir}: {e.strerror}") from e
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
      raise errors.StorageError(
        f"another process trains in {workdir}{_who(_said(file))}; wait for it,"
        " or stop it"
      ) from e
    yield Lock(file)  # it goes with the file, also when the process is killed


def _said(file):
  """What stands in a lock's file; None if nothing that can be read."""
  file.seek(0)
  try:
    found = json.loads(file.read())
  except ValueError:
    return None
  return found if isinstance(found, dict) and "pid" in found else None


def _who(said):
  if said is None:
    return ""
  ago = max(0.0, time.time() - said["time"])
  at = f" at step {said['step']}" if "step" in said else ""
  return f": pid {said['pid']} on {said['host']}{at}, seen {ago:.0f} s ago"


def write_record(workdir, name, values):
  """Writes `name`.json whole or not at all."""
  workdir = pathlib.Path(workdir)
  try:
    (workdir / "reports").mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise errors.StorageError(f"cannot write {workdir}: {e.strerror}") from e
  write_json(workdir / f"{name}.json", values)


def write_json(file, values):
  """Writes JSON data whole or not at all; StorageError where that fails."""
  text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
  # A name of its own: others may write the same file of a sweep.
  writer = f"{socket.gethostname()}.{os.getpid()}"
  part = file.with_name(f".{file.name}.{writer}.part")
  try:
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
  except OSError as e:
    raise errors.StorageError(
      f"cannot write {file.parent}: {e.strerror}"
    ) from e


def read_record(workdir, name):
  """The JSON data of `name`.json; DataError where there is none."""
  file = pathlib.Path(workdir) / f"{name}.json"
  return read_json(
    file,
    f"{workdir} holds no run: {file} is missing; `ar_jax train --config=..."
    " --workdir=...` makes one",
  )


def read_json(file, missing):
  """The JSON data of a file; DataError that says `missing` without it."""
  try:
    return json.loads(file.read_text(encoding="utf-8"))
  except OSError as e:
    raise errors.DataError(missing) from e
  except ValueError as e:
    raise errors.DataError(f"{file} is no JSON: {e}") from e


def load(workdir):
  """(config, spec, media) of a run; DataError where there is none."""
  config, spec, run = (read_record(workdir, name) for name in _RECORDS)
  try:
    found = spec_from_json(spec["data"]), spec["media"]
    run["data"], [config[name] for name in _SECTIONS]
  except (KeyError, TypeError) as e:
    raise errors.DataError(
      f"{workdir}: config.json, spec.json or run.json lacks {e}; it is damaged,"
      " or of another version"
    ) from e
  return config, *found


def spec_to_json(spec):
  """DataSpec as JSON data."""
  conditions = {k: c._asdict() for k, c in spec.conditions.items()}
  return dict(spec._asdict(), conditions=conditions)


def spec_from_json(values):
  """The DataSpec that `spec_to_json` wrote."""
  conditions = {
    k: Condition(c["kind"], c["num_values"], tuple(c["shape"]))
    for k, c in values["conditions"].items()
  }
  shape = tuple(values["shape"])
  return DataSpec(**dict(values, shape=shape, conditions=conditions))


def difference(found, wanted):
  """The first leaf in which two pytrees of arrays differ, as words, or None.

  Shapes and dtypes are compared, and the names of the leaves.
  """
  return first_difference(leaves(found), leaves(wanted))


def first_difference(found, wanted):
  """`difference` of what `leaves` gives."""
  for name in [*wanted, *found]:
    texts = [tree.get(name, "absent") for tree in (found, wanted)]
    if texts[0] != texts[1]:
      return f"{name} is {texts[0]}, wanted {texts[1]}"
  return None


def leaves(tree):
  """{"params.gpt.bias": "float32[8]"} of a pytree of arrays."""
  return {
    name: f"{np.dtype(a.dtype)}{list(a.shape)}" for name, a in named(tree)
  }


def named(tree):
  """[("params.gpt.bias", array), ...] of a pytree of arrays."""
  paths = jax.tree_util.tree_flatten_with_path(tree)[0]
  name = functools.partial(jax.tree_util.keystr, simple=True, separator=".")
  return [(name(path), leaf) for path, leaf in paths]
