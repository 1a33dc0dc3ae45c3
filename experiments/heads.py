"""Softmax or mixture? Heads on the same values, in bits at equal resolution.

  ar_jax sweep experiments/heads.py --workdir=runs/heads --parallel=2 \\
      --vmap=seed

Arguments: data=process+few+tones+digits+photos+real, one or several; seeds=3;
tiny.

A head gives the probability of a value. A softmax (categorical) has a free
parameter for each of the values and knows nothing of their order; a mixture of
discretized logistics knows that 17 lies beside 18, and has to fit a shape.
Both give probabilities of the same values, so their bits compare; those of
real values are the log-mass of bins of one declared width. Of `process`, `few`
(the same source with 1/256 of the items) and `real` the exact log-probability
of the items is known, and with it what each head still needs. On `photos` the
colors of a pixel are sites of a softmax, with a layer for the colors before
them, or one joint mixture.

Elsewhere the network before the head is the same, and so are items, batches and
updates. The gap is to the first head of each section, paired by seed, with
Student's 95 % interval over seeds: by --vmap=seed they share the order of the
data too, and it is about init and dropout alone.

Writes heads.md with its picture beside the runs.
measured: docs/heads.md
"""

import math

import numpy as np

from ar_jax import compare, cost, likelihood, paper, studies
from configs import base

_AUDIO = {
  "softmax": "head=categorical",
  "10 logistics": "head=discretized_logistic",
}
_COLORS = {
  "softmax of sites": "head=sites",
  "10 logistics": "head=rgb_logistic",
}
_REAL = {
  "a Gaussian": ("head=gaussian_mixture", {}),
  "5 Gaussians": ("head=gaussian_mixture", {"head.components": 5}),
  "5 logistics": ("head=logistic_mixture", {"head.components": 5}),
}


def _heads(words, options=None):
  return {name: (word, options or {}) for name, word in words.items()}


_WAVENET = {"model.residual": 32, "model.skip": 64}
# title, config, its options here, {head: (argument, its options)}, split,
# figure and its unit.
DATA = dict(
  process=(
    "a process of 256 mu-law levels, 65,536 items of 128",
    "mu_law_ar_wavenet.py",
    {"train.steps": 1000, "train.eval_every": 250},
    _heads(_AUDIO),
    "valid",
    ("bits_per_sample", "bits/sample"),
  ),
  few=(
    "the same, 256 items; the best validation, which is also the figure",
    "mu_law_ar_wavenet.py",
    {"data.train_size": 256, "train.steps": 300, "train.eval_every": 25},
    _heads(_AUDIO),
    "valid",
    ("bits_per_sample", "bits/sample"),
  ),
  tones=(
    "plucked strings and vowels, 256 mu-law levels, windows of 256",
    "tones_wavenet.py",
    {
      "data.length": 256,
      "data.valid_size": 512,
      "train.batch_size": 16,
      "train.steps": 400,
      "train.eval_every": 100,
      "model.dilations": (1, 2, 4, 8, 16, 32, 64),
      **_WAVENET,
    },
    _heads(_AUDIO),
    "valid",
    ("bits_per_sample", "bits/sample"),
  ),
  digits=(
    "8 x 8 digits in 17 levels, given the label, the best validation",
    "digits_pixelcnn.py",
    {"train.steps": 1000, "train.eval_every": 50, "model.width": 64},
    _heads(_AUDIO),
    "test",
    ("bits_per_dim", "bits/dim"),
  ),
  photos=(
    "8 x 8 patches of photographs, 3 x 256 levels, the best validation",
    "photos_gated_pixelcnn.py",
    {
      "data.size": 8,
      "train.steps": 300,
      "train.eval_every": 100,
      "model.layers": 4,
      "model.width": 24,
      "model.first_kernel": 5,
    },
    _heads(_COLORS),
    "test",
    ("bits_per_dim", "bits/dim"),
  ),
  real=(
    "AR(2) processes of real values at a resolution of .01, given the class",
    "ar2_classes_wavenet.py",
    {"train.steps": 800, "train.eval_every": 200},
    _REAL,
    "valid",
    ("bits_per_sample", "bits/sample"),
  ),
)
_TITLES = (
  "head",
  "parameters",
  "ms/update",
  "figure",
  "±",
  "over p(x)",
  "gap to the first",
  "95 %, seeds",
  "p (Holm)",
)


def sweep(arg=None):
  """A cell for each data set, head and seed."""
  arg = base.parse(arg, data="+".join(DATA), seeds=3, tiny=False)
  cells = []
  for data in arg.data.split("+"):
    _, file, options, heads, split, _ = base.choose("data", data, DATA)
    for head, (word, more) in heads.items():
      watched = split == "test" or data == "few"
      for seed in range(arg.seeds):
        tiny = {k: v for k, v in options.items() if k == "data.train_size"}
        cells.append(
          {
            "config": f"configs/{file}:{word}{',tiny' if arg.tiny else ''}",
            "seed": seed,
            "checkpoint": "best" if watched else "last",
            "split": split,
            "evaluate.baselines": (),
            "tags": dict(data=data, head=head),
            **(tiny if arg.tiny else options),
            **more,
          }
        )
  return cells


def report(rows, folder):
  """The tables; writes the page and its picture."""
  tables, page, found = [], [_HEAD], {}
  for data, some in studies.by_tags(rows, "data").items():
    title, *_, unit = DATA[data]
    found[data] = compared(some, unit[0])
    cells = [_line(head, line) for head, line in found[data].items()]
    model = some[0]["model"]
    about = (
      f"{unit[1]}; {model['split']} split, {model['items']:,} items,"
      f" {model['protocol']}, {model['estimator']}"
    )
    tables.append(paper.table(f"{title}, {unit[1]}", _TITLES, cells, about))
    page += [f"## {title}\n", paper.markdown(_TITLES, cells), f"{about}.\n"]
  _draw(found, folder / "heads")
  page.append("![gap of each head](heads.png)\n")
  (folder / "heads.md").write_text("\n".join(page), encoding="utf-8")
  return tables


def compared(rows, figure):
  """{head: figures} of a data set, the figure in its unit.

  dict(params, ms, mean, half, excess, gap): half of Student's 95 % interval
  over seeds; excess: bits a site over the exact -log p of the same items, nan
  where it is not known; gap: the compare.Row against the first head, which has
  none.
  """
  by = studies.by_tags(rows, "head")
  exact_N = studies.exact(rows[0])
  scores = {
    head: np.array([[row["model"][figure]] for row in some])
    for head, some in by.items()
  }
  gaps = compare.summary(scores, next(iter(scores)))
  found = {}
  for head, some in by.items():
    excess = math.nan
    if exact_N is not None:
      over = np.mean([row["items"]["nats"] - exact_N for row in some])
      sites = some[0]["items"]["weight"].mean()
      excess = likelihood.bits(over / sites)
    found[head] = dict(
      cost.of_folders([row["workdir"] for row in some]),
      mean=scores[head].mean(),
      half=float(compare.half_width(scores[head][:, 0])),
      excess=excess,
      gap=gaps.get(head),
    )
  return found


def _line(head, line):
  """Cells of a head."""
  cells = [head, f"{line['params']:,}", paper.known(line["ms"], ".0f")]
  cells += [f"{line['mean']:.4f}", paper.known(line["half"], ".4f")]
  cells.append(paper.known(line["excess"], "+.4f"))
  if line["gap"] is None:
    return [*cells, "", "", ""]
  gap, holm = line["gap"].paired, line["gap"].holm
  cells += [f"{gap.mean:+.4f}", studies.interval(gap)]
  return [*cells, paper.known(holm, ".2g")]


def _draw(found, path):
  """The gap of each head to the first one, with its interval over seeds."""
  lines = [
    (f"{data}: {head}", line["gap"].paired)
    for data, heads in found.items()
    for head, line in heads.items()
    if line["gap"] is not None
  ]
  with paper.picture(path, (6, 0.4 * len(lines) + 1)) as figure:
    axes = figure.subplots()
    for name, gap in lines:
      half = 0 if math.isnan(gap.low) else gap.high - gap.mean
      axes.errorbar(
        gap.mean, name, xerr=half, fmt="o", ms=4, capsize=3, color="C0"
      )
    axes.axvline(0, color="black", lw=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("bits above the first head, 95 % over seeds")


_HEAD = """# Softmax or mixture

Written by `ar_jax sweep experiments/heads.py`, whose docstring says how. The
figure is in bits at equal resolution, "±" half of Student's 95 % interval over
seeds, "over p(x)" over the exact log-probability of the same items, the gap to
the first head paired by seed, each interval of one gap alone, p adjusted by
Holm over the heads of a section. By --vmap=seed ms/update is that of all seeds
together.
"""
