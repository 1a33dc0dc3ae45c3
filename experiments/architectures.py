"""Which network at equal parameters? All of them, on digits and on text.

  ar_jax sweep experiments/architectures.py --workdir=runs/architectures
  ar_jax sweep \\
      experiments/architectures.py:data=text,path=input.txt,seeds=2 \\
      --workdir=runs/architectures --parallel=2

Arguments: data=digits+text, one or both; path=FILE, the text (without one: the
English text that ships with CPython); seeds=1; tiny.

The networks of configs/architectures.py, 100,000 parameters each at a
vocabulary of 65, the same batches and number of updates, the optimizer's
defaults, dropout .2 on digits (NADE has none). Each is trained at several
learning rates, and the one with the best validation is reported, as of its best
validation, on the test split. Equal parameters are not equal operations, which
stand beside. A gap is to the network of the best validation, paired: over items
it is about these networks and says nothing of training again, which takes
several seeds.

Writes architectures.md with its pictures beside the runs.
measured: docs/architectures.md
"""

import numpy as np

from ar_jax import compare, cost, paper, studies, writer
from configs import architectures, base

RATES = (3e-3, 1e-2, 3e-2)
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
  "gap",
  "95 %, items",
  "95 %, seeds",
  "valid",
  "updates",
  "MFLOP/update",
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
  for data, some in studies.by_tags(rows, "data").items():
    title, figure, unit = DATA[data]
    by_network = studies.by_tags(some, "network", "rate")
    found = {n: chosen(by_rate, figure) for n, by_rate in by_network.items()}
    best = min(found, key=lambda n: found[n]["valid"])  # not by the test
    scores = {n: f["scores"] for n, f in found.items()}
    gaps = compare.summary(scores, best)
    cells = _lines(found, gaps, some[0]["baselines"], figure)
    model = some[0]["model"]
    about = (
      f"{unit}; {model['split']} split, {model['items']:,} items,"
      f" {model['protocol']}; gaps to {NAMES[best]}"
    )
    tables.append(paper.table(f"{title}, {unit}", _TITLES, cells, about))
    page += [f"## {title}\n", paper.markdown(_TITLES, cells), f"{about}.\n"]
    name = f"architectures_{data}"
    _draw(found, unit, folder / name)
    page.append(f"![validation while training]({name}.png)\n")
  (folder / "architectures.md").write_text("\n".join(page), encoding="utf-8")
  return tables


def chosen(by_rate, figure):
  """Figures of the learning rate whose best validation is the lowest.

  Args:
    by_rate: {learning rate: rows by seed} of a network.
    figure: name of that of validation and of the test.
  Returns:
    dict(rate, edge, scores, valid, updates, curve, params, flops, ...): edge:
    whether it is the least or the largest; scores: of the test, [seeds,
    items], whose mean is the figure; curve: (updates [V], validation [V]),
    the mean over seeds.
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
  values_SV = np.array([value_V for _, value_V in curves[rate]])
  return dict(
    rate=rate,
    edge=rate in (min(by_rate), max(by_rate)),
    scores=studies.per_item(rows, figure),
    valid=valid[rate],
    updates=[row["step"] for row in rows],
    curve=(curves[rate][0][0], values_SV.mean(0)),
    **cost.of_folders([row["workdir"] for row in rows]),
  )


def _curve(workdir, figure):
  """(updates, validation) of a run, arrays [V]."""
  lines = [x for x in writer.read(workdir) if x["kind"] == "valid"]
  steps_V = np.array([x["step"] for x in lines])
  return steps_V, np.array([x[figure] for x in lines])


def _lines(found, gaps, bars, figure):
  """Cells of the table, the best first."""
  lines = []
  for network, f in found.items():
    test, gap = f["scores"].mean(), ["", "", ""]
    if network in gaps:
      row = gaps[network]
      gap = [
        f"{row.paired.mean:+.4f}",
        *map(studies.interval, (row.items, row.paired)),
      ]
    updates = ", ".join(f"{step:,}" for step in f["updates"])
    rate = f"{f['rate']:g}{' (edge)' if f['edge'] else ''}"
    cells = [NAMES[network], f"{f['params']:,}", rate, f"{test:.4f}", *gap]
    cells += [f"{f['valid']:.4f}", updates, f"{f['flops'] / 1e6:,.0f}"]
    lines.append((test, cells))
  for name, row in bars.items():
    rest = [""] * (len(_TITLES) - 4)
    cells = [f"*{name}*", "", "", f"{row[figure]:.4f}"]
    lines.append((row[figure], [*cells, *rest]))
  return [cells for _, cells in sorted(lines, key=lambda line: line[0])]


def _draw(found, unit, path):
  """Validation against updates and against operations."""
  from matplotlib import colormaps

  with paper.picture(path, (9, 4)) as figure:
    by_updates, by_flop = figure.subplots(1, 2, sharey=True)
    colors = colormaps["tab20"].colors
    for color, (network, f) in zip(colors, found.items(), strict=False):
      steps_V, value_V = f["curve"]
      style = dict(color=color, marker="o", ms=2, lw=1, label=NAMES[network])
      by_updates.plot(steps_V, value_V, **style)
      by_flop.plot(steps_V * f["flops"] / 1e12, value_V, **style)
    best = min(f["valid"] for f in found.values())
    width = max(f["valid"] for f in found.values()) - best
    top = max(f["curve"][1].max() for f in found.values())
    top = min(top, best + 2 * width)  # where some began would flatten the rest
    by_updates.set(xlabel="updates", ylabel=f"validation, {unit}")
    by_updates.set_ylim(best - 0.1 * width, top + 0.1 * width)
    by_flop.set(xlabel="TFLOP", xscale="log")
    figure.legend(
      *by_updates.get_legend_handles_labels(), loc="outside right upper"
    )


_HEAD = f"""# Networks at equal parameters

Written by `ar_jax sweep experiments/architectures.py`, whose docstring says
how: {architectures.PARAMS:,} parameters each at a vocabulary of 65, the same
batches and updates, the best of the learning rates
{", ".join(f"{rate:g}" for rate in RATES)} by validation ("edge": a further one
might be better). "test" is the test split at the best validation ("valid"). A
gap is to the network of the best validation, paired; each interval is of one
gap alone, over items (for neighboring windows of a text too narrow) or, where
there are several, over seeds. Operations are the products of the forward pass
x 3. Bars in italics. ARDM is validated under one order drawn for each item,
which is a bound; the test is a mixture of eight orders on images, and that
bound on text.
"""
