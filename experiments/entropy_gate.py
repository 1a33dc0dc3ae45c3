"""Do networks reach the entropy of known sources, and does any go below it?

  ar_jax sweep experiments/entropy_gate.py --workdir=runs/gate --parallel=2

Arguments: steps=1000, updates of each; tiny.

All sources of the library whose entropy is known: four of Markov's kind (one
of them, even, with unbounded memory), the Ising model, products of primes and
three autoregressive processes, with the networks that suit them, in several
orders. Every excess is of a whole item, against two truths:

  over H      the entropy of the source. Its error is the luck of the draw: a
              validation split of easy items has a lower mean.
  over p(x)   the exact log-probability of the same items, which takes that luck
              away. Its mean is a Kullback-Leibler divergence, so never below
              zero but by chance.

The verdict is about the second: "leak" if it lies below zero by more than the
bound of 1 % over all the runs (Bonferroni, one-sided, normal), else "ok". What
a network gains by seeing what it predicts, by a probability that does not sum
to one, or by a mean over the wrong count is found where it is more than what
the network still misses: the smaller the excess, the sharper the gate.

Writes entropy_gate.md with its picture beside the runs.
measured: docs/entropy_gate.md
"""

import math

from scipy import stats

from ar_jax import likelihood, paper, studies
from configs import base

_LEVEL = 0.01  # of a false alarm in all the runs
_GPT = {"model.depth": 2, "model.width": 64, "model.heads": 4}
_MU_LAW = "mu_law_ar_wavenet.py:head="
_HEADS = dict(softmax="categorical", mixture="discretized_logistic")
_AR2 = {"data.coefficients": (1.6, -0.81)}
# (source, network, order, config, what else it sets)
RUNS = (
  *(
    (
      source,
      "GPT",
      order,
      f"markov_gpt.py:source={source},ordering={order}",
      {},
    )
    for source in ("two_state", "golden_mean", "even", "random")
    for order in ("raster", "reverse")
  ),
  *(
    ("Ising, 8 x 8", "GPT", order, f"ising.py:model=gpt,ordering={order}", _GPT)
    for order in ("raster", "random")
  ),
  *(
    ("Ising, 8 x 8", name, "raster", f"ising.py:model={model}", {})
    for name, model in (("PixelCNN", "pixelcnn"), ("MADE", "made"))
  ),
  (
    "products of two digits",
    "GPT",
    "raster",
    "products_gpt.py",
    {"data.digits": 2, "data.valid_size": 10_000, **_GPT},
  ),
  *(
    (f"mu-law AR({k})", f"WaveNet, {word}", "raster", _MU_LAW + head, more)
    for k, more in ((1, {}), (2, _AR2))
    for word, head in _HEADS.items()
  ),
  (
    "AR(2) in classes",
    "WaveNet, Gaussians",
    "raster",
    "ar2_classes_wavenet.py",
    {},
  ),
)
_TITLES = (
  "source",
  "network",
  "order",
  "bits/item",
  "entropy",
  "over H",
  "±",
  "over p(x)",
  "±",
  "z",
  "verdict",
)


def sweep(arg=None):
  """A cell for each source, network and order."""
  arg = base.parse(arg, steps=1000, tiny=False)
  cells = []
  for source, network, order, config, more in RUNS:
    if arg.tiny:
      config += ",tiny" if ":" in config else ":tiny"
      kept = ("data.coefficients",)
      more = {k: v for k, v in more.items() if k in kept}
    else:
      more = {**more, "train.steps": arg.steps, "train.eval_every": arg.steps}
    cells.append(
      {
        "config": f"configs/{config}",
        "evaluate.baselines": (),
        "tags": dict(source=source, network=network, order=order),
        **more,
      }
    )
  return cells


def report(rows, folder):
  """The table; writes the page and its picture."""
  limit = stats.norm.ppf(_LEVEL / len(rows))
  found = [excess(row) for row in rows]
  cells = []
  for row, f in zip(rows, found, strict=True):
    tags = row["cell"]["tags"]
    line = [tags["source"], tags["network"], tags["order"]]
    line += [f"{f['bits']:.4f}", paper.known(f["entropy"], ".4f")]
    known = f["error"] if f["entropy"] == f["entropy"] else math.nan
    line += [
      paper.known(f["over_entropy"], "+.4f"),
      paper.known(known, ".4f"),
    ]
    line += [f"{f['over_exact']:+.4f}", f"{f['exact_error']:.4f}"]
    cells.append([*line, f"{f['z']:+.1f}", _verdict(f["z"], limit)])
  items = sorted({row["model"]["items"] for row in rows})
  about = (
    f"bits an item, validation, {' or '.join(f'{n:,}' for n in items)} items,"
    f" exact; ± is one standard error over items; a leak is z < {limit:.2f}"
  )
  _draw(rows, found, folder / "entropy_gate")
  page = [_HEAD, paper.markdown(_TITLES, cells), f"{about}.\n"]
  page.append("![excess of each run](entropy_gate.png)\n")
  (folder / "entropy_gate.md").write_text("\n".join(page), encoding="utf-8")
  return [paper.table("held to the entropy", _TITLES, cells, about)]


def excess(row):
  """Figures of a run, in bits an item.

  Returns:
    dict(bits, entropy, over_entropy, error, over_exact, exact_error, z):
    entropy and what is over it nan where it is not known in closed form;
    the errors are standard errors over items.
  """
  bits_N = likelihood.bits(row["items"]["nats"])
  over_N = bits_N - likelihood.bits(studies.exact(row))
  model, root = row["model"], math.sqrt(len(bits_N))
  sites = model["sites"] / model["items"]
  entropy = sites * model.get("entropy_nats_per_site", math.nan)
  entropy = likelihood.bits(entropy)
  error = over_N.std(ddof=1) / root
  return dict(
    bits=bits_N.mean(),
    entropy=entropy,
    over_entropy=bits_N.mean() - entropy,
    error=bits_N.std(ddof=1) / root,
    over_exact=over_N.mean(),
    exact_error=error,
    z=over_N.mean() / error,
  )


def _verdict(z, limit):
  if math.isnan(z):
    return "no number"
  return "ok" if z >= limit else "leak"


def _draw(rows, found, path):
  """What each run needs above the exact log-probability of its items."""
  names = [" | ".join(row["cell"]["tags"].values()) for row in rows]
  mean = [f["over_exact"] for f in found]
  half = [1.96 * f["exact_error"] for f in found]
  with paper.picture(path, (7, 0.28 * len(rows) + 1)) as figure:
    axes = figure.subplots()
    axes.errorbar(mean, range(len(rows)), xerr=half, fmt="o", ms=4, capsize=3)
    axes.set_yticks(range(len(rows)), names)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xscale("symlog", linthresh=1e-2)
    axes.invert_yaxis()
    axes.set_xlabel("bits an item above the exact log p(x), 95 % over items")


_HEAD = """# Networks held to the entropy of known sources

Written by `ar_jax sweep experiments/entropy_gate.py`, whose docstring says how.
"over H" is over the entropy of the source, "over p(x)" over the exact
log-probability of the same items, whose mean no model can go below but by
chance; "±" is over items, and training again moves an excess by far more. Where
the entropy has no closed form its cells are empty.
"""
