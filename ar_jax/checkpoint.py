"""What a run keeps: config, spec, versions, and the state through orbax."""

import functools
import json
import pathlib

import jax

from ar_jax import errors
from ar_jax.types import Condition, DataSpec

_RECORDS = ("config", "spec", "run")


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
  if (workdir / "config.json").exists():
    raise errors.UsageError(
      f"{workdir} already holds a run; choose another --workdir, or remove it"
    )
  records = dict(
    config=config, spec=dict(data=spec_to_json(spec), media=media), run=run
  )
  try:
    (workdir / "reports").mkdir(parents=True, exist_ok=True)
    for name in reversed(_RECORDS):
      text = json.dumps(records[name], indent=2, ensure_ascii=False)
      (workdir / f"{name}.json").write_text(text + "\n", encoding="utf-8")
  except OSError as e:
    raise errors.StorageError(f"cannot write {workdir}: {e.strerror}") from e


def load(workdir):
  """(config, spec, media) of a run; DataError where there is none."""
  workdir = pathlib.Path(workdir)
  try:
    config, spec, _ = (
      json.loads((workdir / f"{name}.json").read_text(encoding="utf-8"))
      for name in _RECORDS
    )
  except OSError as e:
    raise errors.DataError(
      f"{workdir} holds no run: {e.filename} is missing; `ar_jax train"
      " --config=... --workdir=...` makes one"
    ) from e
  except json.JSONDecodeError as e:
    raise errors.DataError(f"{workdir}: a record is no JSON: {e}") from e
  return config, spec_from_json(spec["data"]), spec["media"]


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


class Checkpoints:
  """The states of one run, named by the number of updates done."""

  def __init__(self, workdir, keep=1):
    self._folder = pathlib.Path(workdir).absolute() / "checkpoints"
    self._keep = keep

  @functools.cached_property
  def _manager(self):
    options = _orbax().CheckpointManagerOptions(
      max_to_keep=self._keep, cleanup_tmp_directories=True
    )
    return _orbax().CheckpointManager(self._folder, options=options)

  def save(self, state):
    """Writes the state and waits until it is committed."""
    step = int(state.step)
    args = _orbax().args.StandardSave(jax.device_get(state._asdict()))
    try:
      self._manager.save(step, args=args)
      self._manager.wait_until_finished()
    except (OSError, ValueError) as e:
      raise errors.StorageError(
        f"checkpoint of step {step} in {self._folder}: {e}"
      ) from e

  def restore(self, like):
    """The last state, a TrainState of numpy arrays.

    Args:
      like: TrainState of shapes and dtypes, as jax.eval_shape gives.
    """
    step = self._manager.latest_step()
    if step is None:
      raise errors.DataError(
        f"{self._folder} holds no checkpoint; the run was stopped before its"
        " first one"
      )
    args = _orbax().args.StandardRestore(like._asdict())
    try:
      return type(like)(**self._manager.restore(step, args=args))
    except (KeyError, ValueError, OSError) as e:
      raise errors.DataError(
        f"checkpoint of step {step} in {self._folder} does not fit the"
        f" config: {e}"
      ) from e

  def close(self):
    """Ends the background threads."""
    self._manager.close()


def _orbax():
  """Half a second to import: not before the first step of a run."""
  import orbax.checkpoint

  return orbax.checkpoint
