"""Does it matter in which order a text is read?

  ar_jax sweep experiments/text_order.py --workdir=runs/text_order

Left to right, right to left and one random order of the sites of a window;
two seeds, the tiny network of configs/text_gpt.py. The windows do not
overlap (but the last two), so every order factorizes the same joint
distribution: its entropy is the same for all, and a gap is the cost of an
order for this network and this training, nothing else.

Two intervals stand beside each gap, because two things vary. "Over windows"
holds the trained networks fixed and asks about other text; "over seeds" asks
about training again, and with two seeds it is Student's t with one degree of
freedom: wide, as two seeds deserve.

measured: gaps to left to right: right to left +0.0190, random +0.6182
  nats/character; 2026-11-20, 1 minute on 2 CPU cores
"""

import numpy as np

from ar_jax import compare, evaluate, paper

ORDERINGS = ("raster", "reverse", "random")
SEEDS = (0, 1)
_NAMES = dict(raster="left to right", reverse="right to left", random="random")


def sweep():
  """One cell for each order and seed."""
  return [
    {
      "config": f"configs/text_gpt.py:tiny,ordering={ordering}",
      "seed": seed,
      "data.stride": 64,  # the window: windows that do not overlap
      "evaluate.baselines": ("ngram",),
    }
    for ordering in ORDERINGS
    for seed in SEEDS
  ]


def report(rows, folder):
  """The table of orders, and orders.png in `folder`."""
  by_order = {
    o: rows[i * len(SEEDS) :][: len(SEEDS)] for i, o in enumerate(ORDERINGS)
  }
  nats = {o: np.array([_mean(r) for r in by_order[o]]) for o in ORDERINGS}
  titles = ["order", "by seed", "mean", "gap to left to right"]
  titles += ["95 % over windows", "95 % over seeds"]
  gaps, lines = {}, []
  for order in ORDERINGS:
    seeds = " ".join(f"{n:.4f}" for n in nats[order])
    gap_S = nats[order] - nats["raster"]
    windows = _half_over_windows(by_order[order], by_order["raster"])
    gaps[order] = gap_S.mean(), windows
    cells = [
      f"{gap_S.mean():+.4f}",
      f"± {windows:.4f}",
      f"± {compare.half_width(gap_S):.4f}",
    ]
    line = [_NAMES[order], seeds, f"{nats[order].mean():.4f}"]
    lines.append([*line, *(cells if order != "raster" else ("", "", ""))])
  _draw(gaps, folder / "orders")
  model = rows[0]["model"]
  title = "validation nats/character, disjoint windows of 64"
  about = (
    f"{model['protocol']}; {model['sites']:,} characters, each scored once;"
    f" {model['estimator']}; intervals paired by window and by seed"
  )
  return [paper.table(title, titles, lines, about)]


def _mean(row):
  return row["model"]["nats_per_site"]


def _half_over_windows(rows, base):
  """Half width of the 95 % interval of the gap, paired by window, in nats.

  The seeds are averaged first, so only the text varies.
  """
  pairs = zip(rows, base, strict=True)
  gap_N = np.mean(
    [a["items"]["nats"] - b["items"]["nats"] for a, b in pairs], 0
  )
  weight_N = base[0]["items"]["weight"]
  return 1.96 * evaluate.standard_error(gap_N, weight_N)


def _draw(gaps, path):
  names = [_NAMES[o] for o in gaps]
  mean, half = np.array(list(gaps.values())).T
  with paper.picture(path, (6, 2.6)) as figure:
    axes = figure.subplots()
    axes.errorbar(mean, names, xerr=half, fmt="o", capsize=4)
    axes.axvline(0, color="black", lw=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("nats/character above left to right (95 % over windows)")
