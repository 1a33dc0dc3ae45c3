"""Run a study: each of its cells, one after the other, then its report.

  ar_jax sweep experiments/text_order.py --workdir=runs/orders

A study is a file with `sweep() -> list of cells` and `report(rows, folder)`.
A cell that is finished is not run again; one that was cut off goes on. Scores
that `evaluate` left there with other flags are made again.
"""

OVERRIDES = True  # to say why there are none


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("study", metavar="FILE.py", help="the study")
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="of all its runs"
  )


def run(args):
  """Trains and scores the cells that are not finished, then reports."""
  import pathlib

  from ar_jax import config as configs
  from ar_jax import errors, launch, record, report, scoring
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
    _show.say(f"cell {number + 1}/{len(cells)}: {_name(cell)}")
    with _show.Progress(config.train.steps, brief=True) as progress:
      trained, dataset = launch.train(config, workdir, progress.view)
    same = record.same_data(workdir)
    scores = _scores(workdir, config, dataset, same)
    if scores is None:
      scoring.score(trained, dataset, same)
      report.curves(workdir)
      scores = _scores(workdir, config, dataset, same)
    rows.append(dict(cell=cell, **scores))
  for table in study.report(rows, folder):
    _show.show(table)


def _config(cell, load):
  cell = dict(cell)
  return load(cell.pop("config"), cell.items())


def _scores(workdir, config, dataset, same_data):
  """evaluation.json and the items, or None where `config` makes others."""
  import json
  import zipfile
  import zlib

  import numpy as np

  folder = workdir / "reports"
  name = config.evaluate.split
  wanted = config.train.steps, same_data, name
  try:
    text = (folder / "evaluation.json").read_text(encoding="utf-8")
    result = json.loads(text)
    model = result["model"]
    # Opened here, for np.load does not close a file that is damaged.
    with (folder / "items.npz").open("rb") as raw, np.load(raw) as file:
      items = dict(nats=file["nats"], weight=file["weight"])
    if (result["step"], result["same_data"], model["split"]) != wanted:
      return None
    if model["protocol"] != dataset.splits[name].protocol:
      return None
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
  return dict(result, items=items)


def _name(cell):
  return " ".join(f"{key}={value}" for key, value in cell.items())
