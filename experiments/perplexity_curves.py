"""Perplexity while a network trains: against updates, tokens, FLOP and time.

  ar_jax sweep experiments/perplexity_curves.py:path=input.txt \\
      --workdir=runs/curves --vmap=seed --parallel=2

Arguments: path=FILE, tiny Shakespeare or another text; without one the English
text that ships with CPython; seeds=3; steps=0 (0: those of nanoGPT's CPU
setting, 1,969); tiny.

The networks of nanoGPT's CPU setting (karpathy/nanoGPT, README: 4 layers, 4
heads, width 128, context 64, batch 12), as it stands there and with what was
learned since, each from several seeds. A curve is the mean over seeds, its
band Student's 95 % interval of that mean. Validation is the whole split at
each point, training the mean since the point before: nothing is smoothed
besides. Time is that of the updates alone, without starting, compiling,
scoring and saving; by --vmap=seed those of all seeds together, which then share
the order of the data: the band is about init alone. FLOP are the products of
the forward pass x 3.

Writes perplexity_curves.md with its pictures (PNG, SVG) beside the runs.
measured: docs/perplexity_curves.md
"""

import math
import pathlib

import numpy as np

from ar_jax import chart, compare, cost, evaluate, paper, studies, writer
from configs import base

NETWORKS = {
  "nanoGPT's": "",
  "with lr 3e-3": "",
  "with Muon": ",optimizer=muon",
  "modern, with Muon": ",preset=modern,optimizer=muon",
}
_LR = {"with lr 3e-3": {"optimizer.lr": 3e-3}}
# README of karpathy/nanoGPT: the CPU setting, random windows of the validation
# split; ours are all windows of it under the same protocol.
_TINY_SHAKESPEARE_BYTES = 1_115_394
PUBLISHED = {"nanoGPT, published": 1.88}
AXES = dict(
  step="updates",
  tokens="training tokens",
  flops="FLOP",
  seconds="seconds of updates",
)
_COLORS = ("#2f7de1", "#c2571a", "#0d8f6f", "#b0569c")


def sweep(arg=None):
  """A cell for each network and seed."""
  arg = base.parse(arg, path="", seeds=3, steps=0, tiny=False)
  cells = []
  for network, options in NETWORKS.items():
    file = "shakespeare_char.py:setting=cpu" + options
    file += "" if arg.path else ",data=python_docs"
    text = {"data.path": arg.path} if arg.path else {}
    for seed in range(arg.seeds):
      steps = {"train.steps": arg.steps} if arg.steps else {}
      cells.append(
        {
          "config": f"configs/{file}{',tiny' if arg.tiny else ''}",
          "seed": seed,
          "tags": dict(network=network, tiny=arg.tiny),
          **text,
          **steps,
          **_LR.get(network, {}),
        }
      )
  return cells


def report(rows, folder):
  """The table of the ends; writes the page and its pictures."""
  by = studies.by_tags(rows, "network")
  curves = {name: curve(some) for name, some in by.items()}
  model, levels = rows[0]["model"], _levels(rows)
  draw(curves, levels, folder / "perplexity_curves")
  titles = ["network", "seeds", "nats/token", "95 %", "perplexity"]
  titles += ["bits/byte", "tokens", "FLOP", "seconds"]
  cells = [_end(name, by[name], curves[name]) for name in by]
  for name, nats in levels.items():
    bits = nats * model["bits_per_byte"] / model["nats_per_site"]
    line = [name, "", f"{nats:.4f}", "", f"{math.exp(nats):.3f}", f"{bits:.4f}"]
    cells.append([*line, "", "", ""])
  cells.sort(key=lambda line: float(line[2]))
  about = (
    f"{model['split']} split, {model['protocol']}, {model['sites']:,} tokens,"
    f" {model['estimator']}; intervals are Student's t over seeds"
  )
  page = [_HEAD, paper.markdown(titles, cells), f"{about}.\n"]
  page.append("![Curves](perplexity_curves.png)\n")
  (folder / "perplexity_curves.md").write_text(
    "\n".join(page), encoding="utf-8"
  )
  return [paper.table("at the end of training", titles, cells, about)]


def curve(rows):
  """dict of arrays: the axes [T], train_ST and valid_ST in nats a token.

  At the points of the validation curve, which the seeds share.
  """
  made = [_run(row["workdir"]) for row in rows]
  first = made[0]
  found = {axis: first[axis] for axis in ("step", "tokens", "flops")}
  found["seconds"] = np.mean([run["seconds"] for run in made], 0)
  for kind in ("train", "valid"):
    found[f"{kind}_ST"] = np.stack([run[kind] for run in made])
  return found


def _run(workdir):
  """The points of a run."""
  lines = writer.read(workdir)
  valid = [x for x in lines if x["kind"] == "valid"]
  train = [x for x in lines if x["kind"] == "train"]
  figures = cost.of_folders([workdir])
  step_V = np.array([x["step"] for x in valid])
  step_T = np.array([x["step"] for x in train])
  nats_T = np.array([x["nats_per_site"] for x in train])
  updates_T = np.diff(step_T, prepend=0)
  since = [0, *step_V[:-1]]
  return dict(
    step=step_V,
    tokens=step_V * figures["sites"],
    flops=step_V * figures["flops"],
    seconds=step_V * figures["ms"] / 1e3,
    train=np.array(
      [
        _mean(nats_T, updates_T, (step_T > low) & (step_T <= high))
        for low, high in zip(since, step_V, strict=True)
      ]
    ),
    valid=np.array([x["nats_per_site"] for x in valid]),
  )


def _mean(nats_T, weight_T, chosen_T):
  """Of the lines since the point before; nan where there is none."""
  weight = weight_T[chosen_T].sum()
  return (nats_T * weight_T)[chosen_T].sum() / weight if weight else math.nan


def interval(nats_ST):
  """(mean, half width of Student's 95 % interval over seeds), nan of one."""
  return nats_ST.mean(0), compare.half_width(nats_ST)


def _levels(rows):
  """Baselines, the entropy where it is known, and what was published."""
  bars = {
    name: figures["nats_per_site"]
    for name, figures in rows[0]["baselines"].items()
    if name in ("5-gram", "bzip2", "xz")
  }
  model, cell = rows[0]["model"], rows[0]["cell"]
  if "entropy_nats_per_site" in model:
    bars["entropy"] = model["entropy_nats_per_site"]
  tags, path = cell["tags"], cell.get("data.path")
  if path and not tags["tiny"] and _is_tiny_shakespeare(path):
    bars |= PUBLISHED
  return bars


def _is_tiny_shakespeare(path):
  return pathlib.Path(path).stat().st_size == _TINY_SHAKESPEARE_BYTES


def _end(name, rows, curve):
  """The line of a network in the table."""
  nats_S = np.array([row["model"]["nats_per_site"] for row in rows])
  mean, half = interval(nats_S[:, None])
  spread = "" if math.isnan(half[0]) else f"± {half[0]:.4f}"
  bits = [row["model"]["bits_per_byte"] for row in rows]
  return [
    name,
    str(len(rows)),
    f"{mean[0]:.4f}",
    spread,
    f"{math.exp(mean[0]):.3f}",
    f"{np.mean(bits):.4f}",
    f"{curve['tokens'][-1]:,}",
    f"{curve['flops'][-1]:.3g}",
    f"{curve['seconds'][-1]:.0f}",
  ]


def draw(curves, levels, path):
  """Validation nats and perplexity over the four axes, and training."""
  limits = _limits(curves, levels)
  with paper.picture(path, (9, 6.4)) as figure:
    panels = figure.subplots(2, 2, sharey=True)
    for axes, (axis, title) in zip(panels.flat, AXES.items(), strict=True):
      for color, (name, found) in zip(_COLORS, curves.items(), strict=False):
        x_T = found[axis]
        mean_T, half_T = interval(found["valid_ST"])
        axes.plot(x_T, mean_T, color=color, lw=1.4, label=name)
        axes.fill_between(
          x_T, mean_T - half_T, mean_T + half_T, color=color, alpha=0.25, lw=0
        )
        train_T = found["train_ST"].mean(0)
        axes.plot(x_T, train_T, color=color, lw=0.8, ls=":")
      aside = chart.steps_aside(levels, 0.05 * np.ptp(limits))
      for name, nats in levels.items():
        axes.axhline(nats, color="gray", lw=0.7, ls="--")
        axes.annotate(
          f"{name} {nats:.3f}",
          (0.99 - 0.2 * aside[name], nats),
          xycoords=("axes fraction", "data"),
          ha="right",
          va="bottom",
          fontsize=6,
        )
      axes.set(xlabel=title, ylabel="nats/token")
      axes.set_ylim(limits)
      right, ticks = axes.secondary_yaxis("right"), _perplexities(*limits)
      right.set_ylabel("perplexity")
      right.set_yticks(np.log(ticks), [f"{tick:g}" for tick in ticks])
    figure.legend(
      *panels[0, 0].get_legend_handles_labels(),
      loc="outside upper center",
      ncols=4,
      frameon=False,
    )
    figure.text(0.01, 0.005, "dotted: training", fontsize=6)


def _limits(curves, levels):
  """From the lowest figure to where the curves have come down to."""
  ends = [found["valid_ST"] for found in curves.values()]
  low = min(min(np.nanmin(nats) for nats in ends), *levels.values(), 9.0)
  high = max(np.nanmax(nats[:, min(1, nats.shape[1] - 1)]) for nats in ends)
  margin = 0.04 * (high - low) or 0.1
  return low - margin, high + margin


def _perplexities(low, high):
  """Round numbers between two figures in nats."""
  ticks = [m * 10**k for k in range(4) for m in (1, 1.5, 2, 3, 4, 5, 6, 8)]
  return [t for t in ticks if low <= math.log(t) <= high]


_HEAD = f"""# Perplexity while a network trains

Written by `ar_jax sweep experiments/perplexity_curves.py`, whose docstring
says how: the networks of nanoGPT's CPU setting, several seeds each. Lines:
{evaluate.UNITS["nats_per_site"]} of the whole validation split, the mean over
seeds in its 95 % band; dotted: training, the mean since the point before. The
right axes are the same curves as perplexity. Seconds are those of the updates
alone, at the median rate; by --vmap=seed those of all seeds together, where
tokens and FLOP are those of one.
"""
