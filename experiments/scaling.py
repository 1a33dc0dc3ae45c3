"""How does the loss fall with parameters and tokens? A power law, fitted.

  ar_jax sweep experiments/scaling.py --workdir=runs/scaling --parallel=2
  ar_jax sweep experiments/scaling.py:path=input.txt --workdir=runs/scaling
  ar_jax sweep experiments/scaling.py:setting=accelerator,path=tokens \\
      --workdir=runs/large --on=slurm --slurm=gpus_per_node=8

Arguments: path=FILE, a text, or DIR with token files in the setting
accelerator (without one: the English text that ships with CPython);
setting=cpu|accelerator, the grid and what configs/scaling_text.py says; tiny.

GPTs of several sizes N, each trained on several numbers of tokens D. N counts
the parameters without the embeddings and the output (Kaplan et al. 2020). To
the validation losses the parametric form of Hoffmann et al. 2022 (approach 3)
is fitted, L(N, D) = E + A / N^alpha + B / D^beta, by the Huber loss of log L,
as there; intervals are percentiles of a bootstrap over the runs. The runs with
most tokens are also predicted from the others, which says more than the fit's
residuals.

A small text is read several times: tokens that come again count like new ones
here, which is right for a few epochs (Muennighoff et al. 2023: four).

Writes scaling.md with its pictures beside the runs.
measured: docs/scaling.md; the accelerator's grid: not yet
"""

import math
from typing import NamedTuple

import jax
import numpy as np

from ar_jax import assemble, checkpoint, cost, errors, optim, paper
from ar_jax import config as configs
from configs import base

# size: WIDTHxDEPTH; tokens: of each size.
GRIDS = dict(
  cpu=dict(
    sizes=("16x2", "32x2", "48x3", "64x4", "96x4", "128x5"),
    tokens=(200_000, 400_000, 800_000, 1_600_000),
  ),
  accelerator=dict(
    sizes=("256x6", "384x8", "512x8", "768x12", "1024x16"),
    tokens=(10**9, 2 * 10**9, 4 * 10**9, 8 * 10**9),
  ),
)
_TINY = dict(sizes=("16x1", "32x1", "32x2"), tokens=(1_000, 2_000, 4_000))
_DELTA = 1e-3  # of the Huber loss, as Hoffmann et al. have it
_DRAWS = 500
_NAMES = ("E", "A", "B", "alpha", "beta")


def sweep(arg=None):
  """A cell for each size and number of tokens, the dear ones first."""
  arg = base.parse(arg, path="", setting="cpu", tiny=False)
  grid = _TINY if arg.tiny else base.choose("setting", arg.setting, GRIDS)
  cells = []
  for tokens in reversed(grid["tokens"]):
    for size in reversed(grid["sizes"]):
      words = f"size={size},tokens={tokens},setting={arg.setting}"
      if arg.path and arg.setting == "cpu":
        words += ",data=text_file"
      cells.append(
        {
          "config": f"configs/scaling_text.py:{words}"
          + (",tiny" if arg.tiny else ""),
          **({"data.path": arg.path} if arg.path else {}),
          "tags": dict(size=size, tokens=tokens),
        }
      )
  return cells


def report(rows, folder):
  """The tables; writes the page and its pictures."""
  points = [point(row) for row in rows]
  law = fit(points)
  draws = bootstrap(points, law)
  last = max(p.tokens for p in points)
  held = [p for p in points if p.tokens == last]
  rest = [p for p in points if p.tokens < last]
  ahead = fit(rest).loss(held) if len(rest) > len(_NAMES) else None
  titles, cells = _points(points, law, held, ahead)
  model, baselines = rows[0]["model"], rows[0]["baselines"]
  about = (
    f"nats/token, {model['split']} split, {model['protocol']},"
    f" {model['sites']:,} tokens, one seed"
  )
  tables = [paper.table("losses, and the law's", titles, cells, about)]
  page = [_HEAD, paper.markdown(titles, cells), f"{about}.\n"]
  law_titles, law_cells = _law(law, draws)
  tables.append(paper.table("the law", law_titles, law_cells))
  page += ["## The law\n", paper.markdown(law_titles, law_cells)]
  bars = ", ".join(
    f"{name} {row['nats_per_site']:.4f}" for name, row in baselines.items()
  )
  page.append(f"Beside it, nats/token: {bars}.\n")
  draw(points, law, folder / "scaling")
  page.append("![losses and the law](scaling.png)\n")
  (folder / "scaling.md").write_text("\n".join(page), encoding="utf-8")
  return tables


class Point(NamedTuple):
  """A run: parameters N, tokens D, operations of it, nats a token."""

  size: str
  params: int
  tokens: int
  flops: float
  nats: float


class Law(NamedTuple):
  """L(N, D) = E + A / N^alpha + B / D^beta, nats a token."""

  E: float
  A: float
  B: float
  alpha: float
  beta: float

  def loss(self, points):
    """Of each point, [P]."""
    N_P = np.array([p.params for p in points], float)
    D_P = np.array([p.tokens for p in points], float)
    return self.E + self.A / N_P**self.alpha + self.B / D_P**self.beta

  @property
  def share(self):
    """a in N ~ (N D)^a of the best network for a product N D."""
    return self.beta / (self.alpha + self.beta)


def point(row):
  """The Point of a run."""
  values, spec, _ = checkpoint.load(row["workdir"])
  config = configs.restore(values)
  net = assemble.network(config, spec)
  _, flops = cost.of_step(config, net, spec)
  return Point(
    row["cell"]["tags"]["size"],
    _hidden(net.model),
    config.train.steps * config.train.batch_size * spec.length,
    flops * config.train.steps,
    row["model"]["nats_per_site"],
  )


def _hidden(model):
  """Parameters of the blocks of a GPT."""
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  leaves = jax.tree_util.tree_leaves_with_path(shapes)
  return sum(
    math.prod(leaf.shape)
    for path, leaf in leaves
    if "block_" in optim.path_name(path)
  )


def fit(points, starts=None):
  """The Law of some points, by the Huber loss of log L.

  Args:
    points: list of Point.
    starts: Laws to begin at, the best end counts; None: a grid of them.
  Raises:
    DataError: there are fewer points than parameters of the law.
  """
  from scipy import optimize, special

  if len(points) < len(_NAMES):
    raise errors.DataError(
      f"a law of {len(_NAMES)} parameters takes as many runs, got {len(points)}"
    )
  log_N = np.log([p.params for p in points])
  log_D = np.log([p.tokens for p in points])
  log_L = np.log([p.nats for p in points])

  def terms(given):
    e, a, b, alpha, beta = given
    return np.stack([0 * log_N + e, a - alpha * log_N, b - beta * log_D])

  def residual(given):
    return np.logaddexp.reduce(terms(given), 0) - log_L

  def slopes(given):
    share_3P = special.softmax(terms(given), axis=0)
    by_power = -share_3P[1:] * [log_N, log_D]
    return np.concatenate([share_3P, by_power]).T

  if starts is None:
    begins = [
      (e, alpha * log_N.min(), beta * log_D.min(), alpha, beta)
      for e in (-1.0, 0.0, 0.5)
      for alpha in (0.2, 0.5, 1.0)
      for beta in (0.2, 0.5, 1.0)
    ]
  else:
    begins = [(*np.log(start[:3]), *start[3:]) for start in starts]
  found = (
    optimize.least_squares(residual, s, slopes, loss="huber", f_scale=_DELTA)
    for s in begins
  )
  best = min(found, key=lambda result: result.cost).x
  return Law(*map(float, (*np.exp(best[:3]), *best[3:])))


def bootstrap(points, law, draws=_DRAWS, seed=0):
  """Laws of runs drawn with repetition, a list; law: of the points."""
  rng = np.random.default_rng(seed)
  index = rng.integers(len(points), size=(draws, len(points)))
  # Where E comes near 0 its log is flat, and no fit would leave it.
  starts = law, law._replace(E=max(law.E, 0.5))
  return [fit([points[i] for i in drawn], starts) for drawn in index]


def _points(points, law, held, ahead):
  """(titles, cells) of the runs beside the law."""
  titles = ["size", "N", "D", "FLOP", "nats/token", "law"]
  titles.append("from fewer tokens")
  by_point = {} if ahead is None else dict(zip(held, ahead, strict=True))
  cells = []
  for p, nats in zip(points, law.loss(points), strict=True):
    line = [p.size, f"{p.params:,}", f"{p.tokens:,}", f"{p.flops:.2e}"]
    line += [f"{p.nats:.4f}", f"{nats:.4f}"]
    cells.append([*line, f"{by_point[p]:.4f}" if p in by_point else ""])
  return titles, cells


def _law(law, draws):
  """(titles, cells) of the parameters with their 95 % intervals."""
  rows = [(name, getattr(law, name)) for name in (*_NAMES, "share")]
  cells = []
  for name, value in rows:
    drawn = [getattr(one, name) for one in draws]
    low, high = np.percentile(drawn, [2.5, 97.5])
    word = "a, of N ~ (N D)^a" if name == "share" else name
    cells.append([word, f"{value:.4g}", f"{low:.4g} .. {high:.4g}"])
  return ["", "value", "95 %, bootstrap"], cells


def draw(points, law, path):
  """Losses against operations, and against the law."""
  from matplotlib import colormaps

  with paper.picture(path, (9, 4)) as figure:
    left, right = figure.subplots(1, 2)
    sizes = sorted({(p.params, p.size) for p in points})
    for number, (params, size) in enumerate(sizes):
      some = sorted(
        (p for p in points if p.size == size), key=lambda p: p.tokens
      )
      flops = [p.flops for p in some]
      style = dict(color=colormaps["viridis"](number / len(sizes)))
      label = f"{size}, N = {params:,}"
      left.plot(flops, [p.nats for p in some], "o", ms=4, label=label, **style)
      left.plot(flops, law.loss(some), lw=1, **style)
      right.plot(law.loss(some), [p.nats for p in some], "o", ms=4, **style)
    left.set(xscale="log", xlabel="FLOP", ylabel="nats/token")
    left.legend(title="dots: runs; lines: the law", fontsize=7)
    ends = right.get_xlim()
    right.plot(ends, ends, color="gray", lw=0.8)
    right.set(xlabel="nats/token of the law", ylabel="of the run")


_HEAD = """# Loss against parameters and tokens

Written by `ar_jax sweep experiments/scaling.py`, whose docstring says how. N
counts the parameters of the blocks, D the tokens trained on, those that come
again too; FLOP are the products of the forward pass x 3. "law" is the fit to
all runs, "from fewer tokens" the fit to those with fewer tokens. The product N
D is no compute here, for head and attention are in FLOP and not in N: a is not
comparable with Hoffmann's.
"""
