"""Run a study: each of its cells, one after the other, then its report.

  ar_jax sweep experiments/text_order.py --workdir=runs/orders
  ar_jax sweep experiments/order_ablation.py:data=ising --workdir=runs/ising

A study is a file with `sweep() -> list of cells` and `report(rows, folder)`,
or `sweep(arg)` where it takes arguments after a colon, as configs do. A
cell names its config and what it overrides. By checkpoint="best" the run is
scored as of its best validation and not of its last update, by split="test"
on another split than the one it was watched on; `tags` are the study's own.
A cell that is finished is not run again; one that was cut off goes on. Scores
that `evaluate` left there with other flags are made again.
"""

OVERRIDES = True  # to say why there are none
_OWN = ("checkpoint", "split", "tags")  # keys of a cell that set no config


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("study", metavar="FILE.py[:ARGS]", help="the study")
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="of all its runs"
  )


def run(args):
  """Trains and scores the cells that are not finished, then reports."""
  import dataclasses
  import pathlib

  from ar_jax import config as configs
  from ar_jax import errors, launch, record, report, scoring
  from ar_jax import run as runs
  from ar_jax.commands import _show

  if args.overrides:
    raise errors.UsageError("a study sets its own configs; edit its cells")
  file, _, arg = args.study.partition(":")
  study = configs.load_module(file)
  try:
    cells = study.sweep(arg) if arg else study.sweep()
  except ValueError as e:
    raise errors.UsageError(f"{args.study}: {e}") from e
  folder = pathlib.Path(args.workdir)
  loaded = [_config(cell, configs.load) for cell in cells]  # all errors first
  rows = []
  for number, (cell, config) in enumerate(zip(cells, loaded, strict=True)):
    workdir = folder / f"{number:03d}"
    _show.say(f"cell {number + 1}/{len(cells)}: {_name(cell)}")
    with _show.Progress(config.train.steps, brief=True) as progress:
      trained, dataset = launch.train(config, workdir, progress.view)
    if (which := cell.get("checkpoint", "last")) != "last":
      trained = runs.load(workdir, which)
    split = cell.get("split", config.evaluate.split)
    if split not in dataset.splits:
      known = ", ".join(dataset.splits)
      raise errors.UsageError(f"a cell's split {split!r}; there are: {known}")
    config = configs.restore(configs.plain(config))
    config.evaluate.split = split
    trained = dataclasses.replace(trained, config=config)
    same = record.same_data(workdir)
    wanted = trained.step, same, split
    scores = _scores(workdir, wanted, dataset)
    if scores is None:
      scoring.score(trained, dataset, same)
      report.curves(workdir)
      scores = _scores(workdir, wanted, dataset)
    rows.append(dict(cell=cell, **scores))
  for table in study.report(rows, folder):
    _show.show(table)


def _config(cell, load):
  cell = {k: v for k, v in cell.items() if k not in _OWN}
  return load(cell.pop("config"), cell.items())


def _scores(workdir, wanted, dataset):
  """evaluation.json and the items; None where they are not those wanted.

  Args:
    workdir: of the run.
    wanted: (step, same_data, split).
    dataset: Dataset, for the protocol of the split.
  """
  import json
  import zipfile
  import zlib

  import numpy as np

  folder = workdir / "reports"
  try:
    text = (folder / "evaluation.json").read_text(encoding="utf-8")
    result = json.loads(text)
    model = result["model"]
    # Opened here, for np.load does not close a file that is damaged.
    with (folder / "items.npz").open("rb") as raw, np.load(raw) as file:
      items = dict(nats=file["nats"], weight=file["weight"])
    if (result["step"], result["same_data"], model["split"]) != wanted:
      return None
    if model["protocol"] != dataset.splits[model["split"]].protocol:
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
  cell = {k: v for k, v in cell.items() if k != "tags"}
  return " ".join(f"{key}={value}" for key, value in cell.items())
