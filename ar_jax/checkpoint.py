"""What a run keeps: config, spec, versions, and the states through orbax."""

import contextlib
import fcntl
import functools
import json
import math
import os
import pathlib

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


@contextlib.contextmanager
def locked(workdir):
  """Keeps other processes from training in a directory; makes it.

  Raises:
    StorageError: another one does, or the directory cannot be written.
  """
  workdir = pathlib.Path(workdir)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = (workdir / ".lock").open("w")
  except OSError as e:
    raise errors.StorageError(f"cannot write {workdir}: {e.strerror}") from e
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
      raise errors.StorageError(
        f"another process trains in {workdir}; wait for it, or stop it"
      ) from e
    yield  # the lock goes with the file, also when the process is killed


def write_record(workdir, name, values):
  """Writes `name`.json whole or not at all."""
  workdir = pathlib.Path(workdir)
  text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
  part = workdir / f".{name}.json.part"
  try:
    (workdir / "reports").mkdir(parents=True, exist_ok=True)
    part.write_text(text, encoding="utf-8")
    os.replace(part, workdir / f"{name}.json")
  except OSError as e:
    raise errors.StorageError(f"cannot write {workdir}: {e.strerror}") from e


def read_record(workdir, name):
  """The JSON data of `name`.json; DataError where there is none."""
  file = pathlib.Path(workdir) / f"{name}.json"
  try:
    return json.loads(file.read_text(encoding="utf-8"))
  except OSError as e:
    raise errors.DataError(
      f"{workdir} holds no run: {file} is missing; `ar_jax train"
      " --config=... --workdir=...` makes one"
    ) from e
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
  found, wanted = (
    {jax.tree_util.keystr(path, simple=True, separator="."): a for path, a in t}
    for t in map(_leaves, (found, wanted))
  )
  for name in [*wanted, *found]:
    texts = [_describe(tree.get(name)) for tree in (found, wanted)]
    if texts[0] != texts[1]:
      return f"{name} is {texts[0]}, wanted {texts[1]}"
  return None


def _leaves(tree):
  return jax.tree_util.tree_flatten_with_path(tree)[0]


def _describe(array):
  if array is None:
    return "absent"
  return f"{np.dtype(array.dtype)}{list(array.shape)}"


class Checkpoints:
  """The states of one run, named by the number of updates done.

  keep: how many of the last ones stay.
  keep_best: how many of those with the lowest score stay besides.
  read_only: nothing is written or tidied up: a state that another process is
    writing stays as it is.
  """

  def __init__(self, workdir, keep=1, keep_best=0, read_only=False):
    self._folder = pathlib.Path(workdir).absolute() / "checkpoints"
    self._keep, self._keep_best = keep, keep_best
    self._read_only = read_only

  @functools.cached_property
  def _manager(self):
    policies = _orbax().checkpoint_managers
    keep = [policies.LatestN(self._keep)]
    if self._keep_best:
      best = policies.BestN(
        get_metric_fn=lambda metrics: metrics["score"],
        reverse=True,  # the lowest first
        n=self._keep_best,
      )
      keep.append(best)
    options = _orbax().CheckpointManagerOptions(
      best_fn=lambda metrics: metrics["score"],  # without it none is written
      best_mode="min",
      preservation_policy=policies.AnyPreservationPolicy(keep),
      # Orbax's own read_only warns of itself at each start.
      cleanup_tmp_directories=not self._read_only,
      create=not self._read_only,
    )
    handlers = dict(
      state=_orbax().StandardCheckpointHandler(),
      progress=_orbax().JsonCheckpointHandler(),
    )
    return _orbax().CheckpointManager(
      self._folder, options=options, item_handlers=handlers
    )

  def steps(self):
    """Steps of the states there are, ascending."""
    if not self._folder.is_dir():  # which the manager would make
      return []
    return sorted(self._manager.all_steps())

  def save(self, state, progress=None, score=None):
    """Writes the state and waits until it is committed.

    Args:
      state: TrainState.
      progress: JSON data that goes with it.
      score: what the best ones are lowest in; None: never among them.
    """
    step = int(state.step)
    args = _orbax().args.Composite(
      state=_orbax().args.StandardSave(jax.device_get(state._asdict())),
      progress=_orbax().args.JsonSave(progress or {}),
    )
    finite = score is not None and math.isfinite(score)
    metrics = dict(score=score if finite else math.inf)
    try:
      self._manager.save(step, args=args, metrics=metrics)
      self._manager.wait_until_finished()
    except (OSError, ValueError) as e:
      raise errors.StorageError(
        f"checkpoint of step {step} in {self._folder}: {e}"
      ) from e

  def find(self, which="last"):
    """The step of a state: "last", "best", or a number of updates."""
    steps = self.steps()
    if not steps:
      raise errors.DataError(
        f"{self._folder} holds no checkpoint; the run was stopped before its"
        " first one: `ar_jax train` on its directory goes on"
      )
    if which == "last":
      return steps[-1]
    if which == "best":
      scores = {
        step: (self._manager.metrics(step) or {}).get("score", math.inf)
        for step in steps
      }
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
      step: of `find`; None: the last.
    """
    step = self.find() if step is None else step
    args = _orbax().args
    try:
      found = self._manager.item_metadata(step)["state"]
      wrong = difference(found.tree, like._asdict())
      if wrong is None:
        kept = self._manager.restore(
          step, args=args.Composite(state=args.StandardRestore(like._asdict()))
        )
        return type(like)(**kept["state"])
    except (KeyError, ValueError, OSError, AttributeError) as e:
      raise errors.DataError(
        f"checkpoint of step {step} in {self._folder} cannot be read: {e}"
      ) from e
    raise errors.DataError(
      f"checkpoint of step {step} in {self._folder} does not fit the config:"
      f" {wrong}"
    )

  def progress(self, step=None):
    """The JSON data that went with a state; DataError if it is gone."""
    step = self.find() if step is None else step
    args = _orbax().args
    wanted = args.Composite(progress=args.JsonRestore())
    try:
      return self._manager.restore(step, args=wanted)["progress"]
    except (KeyError, ValueError, OSError) as e:
      raise errors.DataError(
        f"checkpoint of step {step} in {self._folder} cannot be read: {e}"
      ) from e

  def close(self):
    """Ends the background threads."""
    self._manager.close()


def _orbax():
  """Half a second to import: not before the first step of a run."""
  import orbax.checkpoint

  return orbax.checkpoint
