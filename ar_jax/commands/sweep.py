"""Run a study: each of its cells, one after the other, then its report.

  ar_jax sweep experiments/text_order.py --workdir=runs/orders

A study is a file with `sweep() -> list of cells` and `report(rows, folder)`.
A cell that is finished is not run again; one that was cut off goes on.
"""


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("study", metavar="FILE.py", help="the study")
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="of all its runs"
  )


def run(args):
  """Trains and scores the cells that are not finished, then reports."""
  import json
  import pathlib

  import numpy as np

  from ar_jax import config as configs
  from ar_jax import errors, launch, report
  from ar_jax import run as runs
  from ar_jax.commands import _show

  if args.overrides:
    raise errors.UsageError("a study sets its own configs; edit its cells")
  study = configs.load_module(args.study)
  cells = study.sweep()
  folder = pathlib.Path(args.workdir)
  loaded = [_config(cell, configs.load) for cell in cells]  # all errors first
  rows = []
  for number, (cell, config) in enumerate(zip(cells, loaded, strict=True)):
    workdir = folder / f"{number:03d}"
    result = workdir / "reports" / "evaluation.json"
    _show.say(f"cell {number + 1}/{len(cells)}: {_name(cell)}")
    if not result.exists():
      with _show.Progress(config.train.steps) as progress:
        trained, dataset = launch.train(config, workdir, progress.view)
      runs.score(trained, dataset, same_data=True)
      report.curves(workdir)
    elif runs.load(workdir).config != config:
      raise errors.UsageError(
        f"{workdir} holds another cell; choose another --workdir"
      )
    items = np.load(workdir / "reports" / "items.npz")
    rows.append(dict(cell=cell, **json.loads(result.read_text()), items=items))
  for table in study.report(rows, folder):
    _show.show(table)


def _config(cell, load):
  cell = dict(cell)
  return load(cell.pop("config"), cell.items())


def _name(cell):
  return " ".join(f"{key}={value}" for key, value in cell.items())
