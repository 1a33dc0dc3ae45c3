"""Runs as one tidy table: a row a run, a column a setting or a figure."""

import contextlib
import json
import math
import operator
import pathlib
import re
from typing import NamedTuple

import numpy as np

from ar_jax import checkpoint, compare, errors, evaluate, registry, report
from ar_jax import config as configs

_WAY = ("split", "protocol", "estimator")  # in which a run was scored
FIGURES = (
  "step",
  *_WAY,
  *evaluate.UNITS,
  "standard_error",
  "seconds",
  "exit",
)
_COMPARISONS = {
  "!=": operator.ne,
  "<=": operator.le,
  ">=": operator.ge,
  "=": operator.eq,
  "<": operator.lt,
  ">": operator.gt,
}


class Group(NamedTuple):
  """A metric over the runs of a setting.

  label: the setting in words.
  count: runs that have the metric.
  mean, error: of them, and its standard error; nan of one run.
  low, high: Student's 95 % interval of the mean; nan of one run.
  """

  label: str
  count: int
  mean: float
  error: float
  low: float
  high: float


def rows(folder):
  """A dict for each run under a folder, in the order of its sweep if any.

  Keys: run, what its study calls it as tags.KEY, the settings of config.json
  by their paths, and FIGURES where they are known. workdir: its path.

  Raises:
    DataError: there is no run.
  """
  folder = pathlib.Path(folder)
  paths = [f.parent for f in folder.rglob("config.json")]
  paths = [path for path in paths if (path / "run.json").exists()]
  if not paths:
    raise errors.DataError(
      f"{folder} holds no run; `ar_jax train` or `ar_jax sweep` makes some"
    )
  tags = _tags(folder)
  order = {name: n for n, name in enumerate(tags)}
  paths.sort(key=lambda p: (order.get(p.name, len(order)), str(p)))
  return [_row(folder, path, tags.get(path.name, {})) for path in paths]


def _tags(folder):
  """{id: tags} of the cells of the sweeps under a folder, in their order."""
  return {
    cell["id"]: cell["values"].get("tags", {})
    for path in sorted(folder.rglob("sweep.json"))
    for cell in checkpoint.read_json(path, "")["cells"]
  }


def _row(folder, path, tags):
  config = configs.flat(checkpoint.read_record(path, "config"))
  found = dict(run=str(path.relative_to(folder)), workdir=path)
  found |= {f"tags.{k}": v for k, v in tags.items()}
  found |= {k: v for k, v in config.items() if k != "data.data_dir"}
  evaluation = report.evaluation_of(path)
  if evaluation is not None:
    model = evaluation["model"]
    found |= {k: model[k] for k in FIGURES if k in model}
    found["step"] = evaluation["step"]
  runtime = checkpoint.read_record(path, "run").get("runtime", {})
  found |= {k: runtime[k] for k in ("seconds", "exit") if k in runtime}
  return found


def chosen(rows, conditions):
  """The rows that all conditions hold of, as "seed=0" or "optimizer.lr<1e-3".

  Raises:
    UsageError: a condition that is none, or names no column.
  """
  kept = rows
  for text in conditions:
    parts = re.fullmatch(r"([^!<>=]+)(!=|<=|>=|=|<|>)(.*)", text)
    if parts is None:
      raise errors.UsageError(f"--where={text}: as seed=0, optimizer.lr<1e-3")
    key, sign, wanted = parts.groups()
    _check_column(rows, key)
    kept = [r for r in kept if _holds(r.get(key), sign, wanted)]
  return kept


def _holds(value, sign, wanted):
  """Whether a value compares; numbers as such, the rest as text."""
  compare = _COMPARISONS[sign]
  with contextlib.suppress(ValueError, TypeError):
    if not isinstance(value, bool):
      return compare(float(value), float(wanted))
  if value is None and sign not in ("=", "!="):
    return False
  return compare(shown(value), wanted)


def columns(rows):
  """Names of the columns that tell the rows apart, then the figures.

  Where the plugin of a section differs, what comes with each is left out.
  Settings come last where a study has tags.
  """
  keys = dict.fromkeys(key for row in rows for key in row)
  settings = [k for k in keys if k not in (*FIGURES, "run", "workdir")]
  apart = [k for k in settings if _tells(rows, k)]
  figures = [k for k in FIGURES if k in keys]
  for key in ("protocol", "estimator", "exit"):
    if key in figures and len({r.get(key) for r in rows}) == 1:
      figures.remove(key)
  if not any(k.startswith("tags.") for k in apart):
    return ["run", *apart, *figures]
  first = [k for k in apart if k.startswith("tags.") or k == "seed"]
  return ["run", *first, *figures, *(k for k in apart if k not in first)]


def _tells(rows, key):
  """Whether a setting differs in rows that have its plugin in common."""
  name = f"{key.rpartition('.')[0]}.name"
  values = {}
  for row in rows:
    plugin = None if key == name else row.get(name)
    values.setdefault(plugin, set()).add(shown(row.get(key)))
  return any(len(of_plugin) > 1 for of_plugin in values.values())


def metric(rows, name=None):
  """The name of the metric: that which is asked for, or the data's own."""
  if name is not None:
    _check_column(rows, name)
    for row in rows:
      value = row.get(name, 0)
      if not isinstance(value, int | float):
        raise errors.UsageError(
          f"--metric={name}: {shown(value)!r} is no number"
        )
    return name
  units = ("bits_per_dim", "bits_per_byte", "nats_per_site")
  scored = [row for row in rows if "split" in row]
  known = [u for u in units if scored and all(u in row for row in scored)]
  return (known or ["nats_per_site"])[0]


def grouped(rows, by):
  """{label: rows} of each combination of the columns `by`; see by_label."""
  for key in by:
    _check_column(rows, key)
  return by_label(
    rows, lambda row: " ".join(shown(row.get(key)) or "none" for key in by)
  )


def by_label(rows, label):
  """{label: rows} of the labels that a function gives, in their order.

  Runs that were not scored in the same way are no group.
  """
  groups = {}
  for row in rows:
    groups.setdefault(label(row), []).append(row)
  return {
    name: some
    for word, alike in groups.items()
    for name, some in _alike(word, alike).items()
  }


def _alike(label, rows):
  """{label: rows}, by split, protocol and estimator if those differ."""
  found = {}
  for row in rows:
    found.setdefault(_way(row), []).append(row)
  unscored = found.pop("", [])
  if len(found) < 2:
    return {label: rows}
  named = {f"{label} ({way})": some for way, some in found.items()}
  next(iter(named.values())).extend(unscored)
  return named


def _way(row):
  """How a run was scored, in words; "" where it was not."""
  return ", ".join(row[key] for key in _WAY if key in row)


def summary(groups, metric):
  """A Group for each of `grouped`; runs without the metric are left out."""
  found = []
  for label, rows in groups.items():
    values = [row[metric] for row in rows if metric in row]
    mean = float(np.mean(values)) if values else math.nan
    error = low = high = math.nan
    if len(values) > 1:
      error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
      half = float(compare.half_width(values))
      low, high = mean - half, mean + half
    found.append(Group(label, len(values), mean, error, low, high))
  return found


def paired(groups, base, metric):
  """compare.Row of every group against a base: {label: Row}.

  Runs are paired by seed.

  Raises:
    UsageError: no such base, or not the same seeds in each group, or scored
    in another way.
  """
  if base not in groups:
    raise errors.UsageError(
      f"--base={base}: no such group{registry.nearest(base, groups)};"
      f" there are: {', '.join(groups)}"
    )
  seeds = {}
  way = next(filter(None, map(_way, groups[base])), "")
  for label, rows in groups.items():
    for other in filter(None, map(_way, rows)):
      if other != way:
        raise errors.UsageError(
          f"{label} was scored on {other}, {base} on {way}: they cannot be"
          " compared; score them alike by `ar_jax evaluate`"
        )
    seeds[label] = [row["seed"] for row in rows if metric in row]
    if sorted(seeds[label]) != sorted(set(seeds[label])):
      raise errors.UsageError(
        f"{label} has several runs of a seed; choose by --where, or add what"
        " they differ in to --by"
      )
    if set(seeds[label]) != set(seeds[base]):
      raise errors.UsageError(
        f"{label} has the seeds {sorted(seeds[label])}, {base}"
        f" {sorted(seeds[base])}: they are not paired"
      )
  scores = {}
  for label, rows in groups.items():
    values = {row["seed"]: row[metric] for row in rows if metric in row}
    scores[label] = np.array([[values[seed]] for seed in sorted(values)])
  return compare.summary(scores, base)


def _check_column(rows, key):
  known = dict.fromkeys(k for row in rows for k in row if k != "workdir")
  if key not in known:
    raise errors.UsageError(
      f"no column {key!r}{registry.nearest(key, known)}; those that differ:"
      f" {', '.join(columns(rows))}"
    )


def shown(value):
  """A value as it stands in a table."""
  if value is None:
    return ""
  return value if isinstance(value, str) else json.dumps(value)
