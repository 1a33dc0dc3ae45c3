"""Which network at equal parameters? All of them, on digits and on text.

  ar_jax sweep experiments/architectures.py --workdir=runs/architectures
  ar_jax sweep \\
      experiments/architectures.py:data=text,path=input.txt,seeds=2 \\
      --workdir=runs/architectures --parallel=2

Arguments: data=digits+text, one or both; path=FILE, the text (without one: the
English text that ships with CPython); seeds=1; tiny.

The networks of configs/architectures.py, 100,000 parameters each, the same
batches and number of updates, the optimizer's defaults. Each is trained at
two learning rates, and the one with the better validation is reported, as of
its best validation, on the test split. Equal parameters are neither equal
operations nor equal time: both stand beside. An interval is Student's t over
seeds; the standard error is over the items of the test split and says nothing
of training again.

Writes architectures.md with its pictures beside the runs.
measured: docs/architectures.md
"""

import math

import numpy as np

from ar_jax import checkpoint, cost, results, writer
from ar_jax import config as configs
from configs import architectures, base

RATES = (1e-3, 3e-3)
NAMES = dict(
  gpt="GPT",
  lstm="LSTM",
  gru="GRU",
  wavenet="WaveNet",
  made="MADE",
  nade="NADE",
  ardm="ARDM, any order",
  pixelcnn="PixelCNN",
  gated_pixelcnn="gated PixelCNN",
  pixelcnn_pp="PixelCNN++",
  diagonal_bilstm="Diagonal BiLSTM",
  row_lstm="Row LSTM",
)
# title, figure of evaluation.json, its name.
DATA = dict(
  digits=(
    "scikit-learn's 8 x 8 digits in 17 levels, given the label",
    "bits_per_dim",
    "bits/dim",
  ),
  text=("text by characters, windows of 65", "nats_per_site", "nats/character"),
)
_TITLES = (
  "network",
  "parameters",
  "lr",
  "test",
  "±",
  "s.e., items",
  "valid",
  "updates",
  "MFLOP/update",
  "ms/update",
)


def sweep(arg=None):
  """A cell for each data set, network, learning rate and seed."""
  arg = base.parse(arg, data="digits+text", path="", seeds=1, tiny=False)
  cells = []
  for data in arg.data.split("+"):
    base.choose("data", data, DATA)
    text = "text_file" if arg.path else "python_docs"
    file = "digits" if data == "digits" else text
    kind = "images" if data == "digits" else "text"
    for network in architectures.WIDTHS[kind]:
      words = f"data={file},model={network}{',tiny' if arg.tiny else ''}"
      for rate in RATES:
        for seed in range(arg.seeds):
          cell = {
            "config": f"configs/architectures.py:{words}",
            "optimizer.lr": rate,
            "seed": seed,
            "checkpoint": "best",
            "split": "test",
            "tags": dict(data=data, network=network, rate=rate),
          }
          if arg.path and data == "text":
            cell["data.path"] = arg.path
          cells.append(cell)
  return cells


def report(rows, folder):
  """The tables; writes the page and its pictures."""
  tables, page = [], [_HEAD]
  for data in dict.fromkeys(row["cell"]["tags"]["data"] for row in rows):
    some = [row for row in rows if row["cell"]["tags"]["data"] == data]
    title, figure, unit = DATA[data]
    found = {n: chosen(r, figure) for n, r in _by_network(some).items()}
    cells = _lines(found, some[0]["baselines"], figure)
    model = some[0]["model"]
    about = (
      f"{unit}; {model['split']} split, {model['items']:,} items of"
      f" {some[0]['cell']['config'].partition(':')[0]}; {model['protocol']}"
    )
    tables.append(results.table(f"{title}, {unit}", _TITLES, cells, about))
    page += [f"## {title}\n", results.markdown(_TITLES, cells), f"{about}.\n"]
    name = f"architectures_{data}"
    for kind in ("png", "svg"):
      _draw(found, unit, folder / f"{name}.{kind}")
    page.append(f"![validation while training]({name}.png)\n")
  (folder / "architectures.md").write_text("\n".join(page), encoding="utf-8")
  return tables


def _by_network(rows):
  """{network: {learning rate: rows by seed}}."""
  by = {}
  for row in rows:
    tags = row["cell"]["tags"]
    by.setdefault(tags["network"], {}).setdefault(tags["rate"], []).append(row)
  return by


def chosen(by_rate, figure):
  """Figures of the learning rate whose best validation is lower.

  Args:
    by_rate: {learning rate: rows by seed} of a network.
    figure: name of that of validation and of the test.
  Returns:
    dict(rate, test, half, error, valid, updates, curve, params, mflop, ms):
    half: of Student's 95 % interval over seeds; error: standard error over
    items, the mean of the seeds'; curve: (updates [V], validation [V]), the
    mean over seeds.
  """
  curves = {
    rate: [_curve(row["workdir"], figure) for row in rows]
    for rate, rows in by_rate.items()
  }
  valid = {
    rate: np.mean([value_V.min() for _, value_V in some])
    for rate, some in curves.items()
  }
  rate = min(valid, key=valid.get)
  rows = by_rate[rate]
  test_S = np.array([row["model"][figure] for row in rows])
  scale = test_S[0] / rows[0]["model"]["nats_per_site"]
  errors = [row["model"]["standard_error"] * scale for row in rows]
  values_SV = np.array([value_V for _, value_V in curves[rate]])
  return dict(
    rate=rate,
    test=test_S.mean(),
    half=results.half_width(test_S),
    error=np.mean(errors),
    valid=valid[rate],
    updates=[row["step"] for row in rows],
    curve=(curves[rate][0][0], values_SV.mean(0)),
    **_cost(rows[0]["workdir"]),
  )


def _curve(workdir, figure):
  """(updates, validation) of a run, arrays [V]."""
  lines = [x for x in writer.read(workdir) if x["kind"] == "valid"]
  steps_V = np.array([x["step"] for x in lines])
  return steps_V, np.array([x[figure] for x in lines])


def _cost(workdir):
  """Parameters, and millions of operations and milliseconds of an update."""
  values, spec, _ = checkpoint.load(workdir)
  record, lines = checkpoint.read_record(workdir, "run"), writer.read(workdir)
  figures = cost.of_run(configs.restore(values), spec, record, lines, 1)
  rate = np.median(figures["sites_per_second"])
  return dict(
    params=figures["params"],
    mflop=figures["flops_per_step"] / 1e6,
    ms=1e3 * figures["sites"] / rate,
  )


def _lines(found, bars, figure):
  """Cells of the table, the best first."""
  lines = []
  for network, f in found.items():
    half = "" if math.isnan(f["half"]) else f"{f['half']:.4f}"
    updates = ", ".join(f"{step:,}" for step in f["updates"])
    cells = [NAMES[network], f"{f['params']:,}", f"{f['rate']:g}"]
    cells += [f"{f['test']:.4f}", half, f"{f['error']:.4f}"]
    cells += [f"{f['valid']:.4f}", updates, f"{f['mflop']:,.0f}"]
    lines.append((f["test"], [*cells, f"{f['ms']:.0f}"]))
  for name, row in bars.items():
    rest = [""] * (len(_TITLES) - 4)
    cells = [f"*{name}*", "", "", f"{row[figure]:.4f}"]
    lines.append((row[figure], [*cells, *rest]))
  return [cells for _, cells in sorted(lines, key=lambda line: line[0])]


def _draw(found, unit, path):
  """Validation against updates and against operations."""
  import matplotlib
  from matplotlib.figure import Figure

  with matplotlib.rc_context({"svg.hashsalt": "ar_jax", "font.size": 8}):
    figure = Figure(figsize=(9, 4), layout="constrained")
    by_updates, by_flop = figure.subplots(1, 2, sharey=True)
    colors = matplotlib.colormaps["tab20"].colors
    for color, (network, f) in zip(colors, found.items(), strict=False):
      steps_V, value_V = f["curve"]
      style = dict(color=color, marker="o", ms=2, lw=1, label=NAMES[network])
      by_updates.plot(steps_V, value_V, **style)
      by_flop.plot(steps_V * f["mflop"] / 1e6, value_V, **style)
    best = min(f["valid"] for f in found.values())
    worst = max(f["valid"] for f in found.values())
    by_updates.set(xlabel="updates", ylabel=f"validation, {unit}")
    by_updates.set_ylim(best - 0.1 * (worst - best), best + 2 * (worst - best))
    by_flop.set(xlabel="TFLOP", xscale="log")
    figure.legend(
      *by_updates.get_legend_handles_labels(), loc="outside right upper"
    )
    more = dict(metadata={"Date": None}) if path.suffix == ".svg" else {}
    figure.savefig(path, dpi=130, **more)


_HEAD = f"""# Networks at equal parameters

Written by `ar_jax sweep experiments/architectures.py`, whose docstring says
how: {architectures.PARAMS:,} parameters each, the same batches and updates, the
better of two learning rates by validation. "test" is the test split at the best
validation ("valid"), "±" half of Student's 95 % interval over seeds, where
there are several. Operations are the products of the forward pass x 3. Bars in
italics. ARDM is a mixture of eight orders on images; on text it is a bound, one
order drawn for each window.
"""
