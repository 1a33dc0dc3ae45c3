"""What a run is refused for before it starts: its numbers, its directory."""

import pathlib

from ar_jax import checkpoint, errors
from ar_jax import config as configs

_PLACES = ("path", "valid_path", "test_path", "tokenizer", "data_dir")
_PLACES = (*(f"data.{name}" for name in _PLACES), "ordering.path")


_TRAIN = ("batch_size", "steps", "shuffle_seed", "accumulate", "ema_decay")
_TRAIN += ("log_every",)
_TRAIN += ("eval_every", "save_every", "save_minutes", "keep", "keep_best")
_TRAIN += ("keep_every", "trackers", "precision", "remat")
_OPTIONAL = ("train.shuffle_seed", "train.save_every", "train.keep_every")


def check_numbers(config):
  """UsageError for a number of the config that is none, or is not there."""
  for key in _TRAIN:
    if key not in config.train:
      raise errors.UsageError(
        f"config.train.{key} is missing: this config is of an earlier version;"
        " start a new run from one made with configs/base.py"
      )
  least = {
    "seed": 0,
    "train.batch_size": 1,
    "train.accumulate": 1,
    "train.steps": 1,
    "train.shuffle_seed": 0,
    "train.log_every": 1,
    "train.eval_every": 1,
    "train.save_every": 1,
    "train.keep_every": 1,
    "train.keep": 1,
    "train.keep_best": 0,
    "evaluate.batch_size": 1,
  }
  values = configs.flat(configs.plain(config))
  for key, low in least.items():
    value = values.get(key)
    if value is None and key in _OPTIONAL:
      continue
    if type(value) is not int or value < low:
      raise errors.UsageError(
        f"config.{key} {value} must be an integer of at least {low}"
      )
  decay = values.get("train.ema_decay")
  if decay is not None and not 0 <= decay < 1:
    raise errors.UsageError(f"config.train.ema_decay {decay} must be in [0, 1)")
  minutes = values.get("train.save_minutes")
  if minutes is not None and not minutes > 0:
    raise errors.UsageError(
      f"config.train.save_minutes {minutes} must be more than 0"
    )


def check_origin(init_from, workdir):
  """UsageError where a run that goes on began elsewhere than is said now."""
  kept = checkpoint.read_record(workdir, "run")["init_from"]
  if init_from is not None and pathlib.Path(init_from) != pathlib.Path(
    kept or ""
  ):
    raise errors.UsageError(
      f"{workdir} holds a run that did not start from {init_from}; leave"
      " --init_from out to go on with it, or choose another --workdir"
    )


def check_config(config, workdir):
  """UsageError that names the first key in which the run's config differs.

  Where the data lies may differ: what it holds is compared by itself. So may
  how the run lies on devices.
  """
  kept, given = (
    configs.flat(values)
    for values in (checkpoint.load(workdir)[0], configs.plain(config))
  )
  for key in {**kept, **given}:
    there, here = (
      repr(values[key]) if key in values else "absent"
      for values in (kept, given)
    )
    free = key in _PLACES or key.startswith("parallel.")
    if here != there and not free:
      raise errors.UsageError(
        f"{workdir} holds a run of another config: {key} is {there} there,"
        f" {here} here; choose another --workdir, or go on with that run:"
        f" ar_jax train --workdir={workdir}"
      )
