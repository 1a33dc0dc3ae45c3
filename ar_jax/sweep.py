"""A study's cells, frozen in a directory, and what came of them.

A study is a file with `sweep() -> list of cells` and `report(rows, folder)`,
or `sweep(arg)`. A cell names its config and what it overrides; `checkpoint`,
`split` and `tags` are no part of the config. A cell is known by the hash of
its resolved config, so that the same one is never trained twice:

  sweep.json       the cells, in the order of the study
  cells/ID.json    the config of one, as it was when the sweep was submitted
  claims/ID/       who works at it: see claims.py
  runs/ID/         its run: an ordinary directory of `ar_jax train`
"""

import hashlib
import inspect
import json
import pathlib
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np

from ar_jax import assemble, checkpoint, errors, preflight, writer
from ar_jax import config as configs

_OWN = ("checkpoint", "split", "tags")  # keys of a cell that set no config
_DIGITS = 12  # of an id


class Cell(NamedTuple):
  """A run of a sweep.

  id: hash of its config.
  name: what tells it from the others, in words.
  values: as the study gives it.
  config: locked ConfigDict.
  """

  id: str
  name: str
  values: dict
  config: Any

  @property
  def split(self):
    """The split that the run is scored on in the end."""
    return self.values.get("split", self.config.evaluate.split)

  @property
  def checkpoint(self):
    """The checkpoint that is scored, as of run.load."""
    return self.values.get("checkpoint", "last")


def study(path):
  """(module, its cells) of "FILE.py" or "FILE.py:arguments".

  Raises:
    UsageError: there is no such file, or it does not take the arguments.
  """
  file, _, arg = path.partition(":")
  module = configs.load_module(file)
  for name in ("sweep", "report"):
    if not hasattr(module, name):
      raise errors.UsageError(
        f"{file} is no study: it has no `{name}`; see experiments/"
      )
  args = (arg,) if arg else ()
  try:
    inspect.signature(module.sweep).bind(*args)
  except TypeError as e:
    raise errors.UsageError(f"{path}: sweep(): {e}") from e
  try:
    cells = list(module.sweep(*args))
  except ValueError as e:
    raise errors.UsageError(f"{path}: {e}") from e
  if not cells:
    raise errors.UsageError(f"{path} gives no cells")
  return module, cells


def checked(cells):
  """The Cells of a study; their data is read once, and so prepared.

  Args:
    cells: list of dicts.
  Raises:
    Error: what is wrong with any of the cells, all at once.
  """
  found, wrong, data = [], {}, {}
  names = _names(cells)
  for number, values in enumerate(cells):
    try:
      found.append(_checked(values, names[number], data))
    except errors.Error as e:
      wrong[number] = e
  if not wrong:
    _check_same(found)
    return found
  lines = [f"cell {n + 1} ({names[n]}): {e}" for n, e in wrong.items()]
  if len(lines) > 1:
    lines.insert(0, f"{len(wrong)} of {len(cells)} cells cannot be run:")
  first = next(iter(wrong.values()))
  raise type(first)("\n  ".join(lines)) from first


def _checked(values, name, data):
  """A Cell whose parts can be put together; data: {section: Dataset}."""
  if "config" not in values:
    raise errors.UsageError("a cell needs a config, as configs/ising.py")
  overrides = {k: v for k, v in values.items() if k not in (*_OWN, "config")}
  config = assemble.kept(configs.load(values["config"], overrides.items()))
  preflight.check_numbers(config)
  cell = Cell(_identity(config), name, values, config)
  section = json.dumps(configs.plain(config.data), sort_keys=True)
  if section not in data:
    made = assemble.dataset(config)
    # Without the items, which may fill the memory.
    data[section] = made._replace(splits=dict.fromkeys(made.splits))
  dataset = data[section]
  assemble.check_dataset(config, dataset)
  if cell.split not in dataset.splits:
    known = ", ".join(dataset.splits)
    raise errors.UsageError(f"no split {cell.split!r}; there are: {known}")
  which = str(cell.checkpoint)
  if which not in ("last", "best") and not which.isdecimal():
    raise errors.UsageError(
      f"no checkpoint {which!r}; there are: last, best, or a number of updates"
    )
  net = assemble.network(config, dataset.spec)
  assemble.check_network(config, net)
  assemble.objective(config, net)
  assemble.baselines(config, dataset.spec)
  assemble.optimizer(config)
  writer.check(config.train.trackers)
  return cell


def _check_same(cells):
  """UsageError for two cells that are one run, scored in two ways."""
  first = {}
  for number, cell in enumerate(cells, 1):
    how = cell.split, cell.checkpoint
    other, before = first.setdefault(cell.id, (number, how))
    if before != how:
      raise errors.UsageError(
        f"cells {other} and {number} are one run, scored as {before} and"
        f" {how}; let them differ, as by `seed`"
      )


def _identity(config):
  text = json.dumps(configs.plain(config), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _names(cells):
  """What each cell sets that not all of them set alike."""
  said = [{k: str(v) for k, v in c.items() if k != "tags"} for c in cells]
  keys = {key for c in said for key in c}
  same = {k for k in keys if len({c.get(k) for c in said}) == 1}
  same = same if len(said) > 1 else set()
  return [
    " ".join(f"{k}={v}" for k, v in c.items() if k not in same)
    or "as the others"
    for c in said
  ]


def sharing_batches(cells):
  """The Cells, those that differ in `seed` alone with the same batches.

  The order of the data is that of the first one's seed, where the config does
  not say another: then one program can train them; see members.py.
  """
  shared = {}
  for group in together(cells):
    first = group[0].config
    if len(group) > 1 and first.train.shuffle_seed is None:
      for cell in group:
        config = configs.restore(configs.plain(cell.config))
        config.train.shuffle_seed = first.seed
        new = cell._replace(id=_identity(config), config=config)
        shared[cell.id] = new
  return [
    shared[c.id]._replace(name=c.name, values=c.values) if c.id in shared else c
    for c in cells
  ]


def together(cells):
  """Lists of Cells whose configs differ in `seed` alone, each cell once."""
  groups = {}
  for cell in {cell.id: cell for cell in cells}.values():
    key = json.dumps(dict(configs.plain(cell.config), seed=0), sort_keys=True)
    groups.setdefault(key, []).append(cell)
  return list(groups.values())


def submit(folder, name, cells, vmap=None):
  """Freezes the cells in a directory, which may hold an earlier sweep.

  Args:
    folder: of the sweep.
    name: of the study, as its command names it.
    cells: list of Cell.
    vmap: "seed": cells that differ in it alone are trained together.
  Raises:
    StorageError: the directory cannot be written.
  """
  folder = pathlib.Path(folder)
  try:
    (folder / "cells").mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise errors.StorageError(f"cannot write {folder}: {e.strerror}") from e
  for cell in cells:
    checkpoint.write_json(
      folder / "cells" / f"{cell.id}.json", configs.plain(cell.config)
    )
  rows = [dict(id=c.id, name=c.name, values=c.values) for c in cells]
  about = dict(study=name, vmap=vmap, cells=rows)
  checkpoint.write_json(folder / "sweep.json", about)


def load(folder):
  """The Cells that were submitted to a directory.

  Raises:
    DataError: it holds no sweep, or one that was changed since.
  """
  folder = pathlib.Path(folder)
  found = []
  for row in _about(folder)["cells"]:
    path = folder / "cells" / f"{row['id']}.json"
    missing = f"{path} is missing; submit the sweep again"
    config = configs.restore(checkpoint.read_json(path, missing))
    if _identity(config) != row["id"]:
      raise errors.DataError(
        f"{path} is not as it was submitted; submit the sweep again"
      )
    found.append(Cell(row["id"], row["name"], row["values"], config))
  return found


def groups(folder):
  """Lists of the Cells of a directory that are trained together."""
  cells = load(folder)
  if _about(folder)["vmap"]:
    return together(cells)
  return [[cell] for cell in {cell.id: cell for cell in cells}.values()]


def _about(folder):
  return checkpoint.read_json(
    pathlib.Path(folder) / "sweep.json",
    f"{folder} holds no sweep: `ar_jax sweep FILE.py --workdir=DIR` makes one",
  )


def workdir(folder, cell):
  """The directory of a cell's run."""
  return pathlib.Path(folder) / "runs" / cell.id


def row(folder, cell, result):
  """What a study's report is given of a cell: dict(cell, workdir, ...).

  Beside what reports/evaluation.json holds, items: nats and weight of each.

  Args:
    folder: of the sweep.
    cell: Cell.
    result: what its worker said of the scores.
  Returns:
    The dict; None where the scores are not those, or not whole.
  """
  path = workdir(folder, cell)
  try:
    text = (path / "reports" / "evaluation.json").read_text(encoding="utf-8")
    scores = json.loads(text)
    model = scores["model"]
    found = dict(
      step=scores["step"],
      same_data=scores["same_data"],
      split=model["split"],
      protocol=model["protocol"],
    )
    if found != result:
      return None
    # Opened here, for np.load does not close a file that is damaged.
    with (
      (path / "reports" / "items.npz").open("rb") as raw,
      np.load(raw) as file,
    ):
      items = dict(nats=file["nats"], weight=file["weight"])
  except (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
  ):
    return None
  return dict(scores, cell=cell.values, workdir=path, items=items)
