"""What sampling costs: passes, time, exactness, by network and by sampler.

  ar_jax sweep experiments/sampling_cost.py --workdir=runs/sampling
  ar_jax sweep experiments/sampling_cost.py:tiny --workdir=runs/tiny

Every network of the library on the Ising model at its critical temperature, of
16, 64 and 256 sites, briefly trained: how many passes an exact sampler needs
depends on what the network has learned. Then each is sampled in every way:

  naive        one forward over all sites for each of them
  cached       one step for each site, what it needs of the others kept
  levels       sites that cannot see each other at once, the same samples
  Jacobi       all sites at once until they stand still, the same samples
  speculative  a draft, by what the row has said before, judged at once: the
               same distribution
  schedule     groups of sites at once, an approximation (order-agnostic
               networks alone)

Times are medians of runs that take turns, measured once for each run and kept
in its reports/sampling.json. Writes sampling_cost.md with its pictures.
measured: docs/sampling_cost.md
"""

import json
import os
import statistics
import time

import jax
import numpy as np

from ar_jax import assemble, bench, errors, levels, paper, schedules, scoring
from ar_jax import report as report_of
from ar_jax import run as runs
from configs import base

NETWORKS = dict(
  pixelcnn="PixelCNN",
  gated_pixelcnn="gated PixelCNN",
  pixelcnn_pp="PixelCNN++",
  diagonal_bilstm="Diagonal BiLSTM",
  gpt="GPT",
  lstm="LSTM",
  wavenet="WaveNet",
  made="MADE",
  nade="NADE",
  ardm="ARDM",
)
_LABELS = dict(
  levels="levels", jacobi="Jacobi", speculative="speculative (3-gram)"
)
_BATCH = 16
_DRAWS = 64  # of a schedule


def sweep(arg=None):
  """A cell for each network and size."""
  tiny = base.parse(arg, tiny=False).tiny
  steps = 5 if tiny else 100
  return [
    {
      "config": f"configs/ising.py:model={name},size={size}",
      "data.num_train": 100 if tiny else 20_000,
      "data.num_valid": 64,
      "data.num_test": 64,
      "train.batch_size": 50,
      "train.steps": steps,
      "train.eval_every": steps,
      "evaluate.batch_size": 64,
      "tags": dict(network=name, size=size),
    }
    for size in ((4,) if tiny else (4, 8, 16))
    for name in NETWORKS
  ]


def report(rows, folder):
  """The tables; writes sampling_cost.md and its pictures."""
  found = []
  for row in rows:
    figures = _kept(row["workdir"], _measure)
    tags = row["cell"]["tags"]
    label = NETWORKS[tags["network"]]
    found.append(dict(figures, network=label, length=tags["size"] ** 2))
  tables = _tables(found)
  _lengths(found, folder / "sampling_cost_lengths")
  _passes(found, folder / "sampling_cost_passes")
  path = folder / "sampling_cost.md"
  path.write_text(_page(tables, found), encoding="utf-8")
  return [paper.table(*table) for table in tables]


# --- what is measured of a run ---


def _kept(workdir, measure):
  """What `measure` gives of a run; read where it was measured before."""
  path = workdir / "reports" / "sampling.json"
  if not path.exists():
    scoring.write(workdir, "sampling", measure(runs.load(workdir)))
  return json.loads(path.read_text(encoding="utf-8"))


def _measure(run):
  length = run.spec.length
  subject = bench.Subject("", run.net, run.spec, run.params)
  names = [name for name in _LABELS if _takes(run, name)]
  beside = bench.samplers(subject, names)
  batches = (1, _BATCH) if length == 256 else (_BATCH,)
  return dict(
    batches=[
      bench.sampling(subject, batch, length, 3, beside) for batch in batches
    ],
    levels=_levels(run),
    same={name: _same(run, name) for name in names if name != "speculative"},
    schedules=_schedules(run),
  )


def _takes(run, name):
  """Whether a sampler is for the network, and may gain something."""
  if _is_agnostic(run) and name != "jacobi":
    return False  # a step of it is a pass: `schedule` is its way
  if name == "levels" and _levels(run) == run.spec.length:
    return False
  try:
    assemble.sampler(dict(name=name), run.net.model, run.net.head)
  except errors.UsageError:
    return False
  return True


def _is_agnostic(run):
  """Whether it predicts all sites that are not known, in any order."""
  every = run.net.ordering.orders_KL is None
  return every and run.net.model.predict is not None


def _levels(run):
  """Of the dependency graph, in the order of the run; all: no gain."""
  if run.net.ordering.orders_KL is None:
    return run.spec.length
  order_L = run.net.ordering.orders_KL[0]
  level_L = levels.of(run.net.model, run.spec.length, order_L)
  return int(level_L.max()) + 1


def _same(run, name):
  """Share of the rows that a sampler draws as the cached step does."""
  other = assemble.sampler(dict(name=name), run.net.model, run.net.head)
  one, two = (
    _draw(run, sampler, 7).x_BLC for sampler in (run.net.sampler, other)
  )
  return float((one == two).all((1, 2)).mean())


def _schedules(run):
  """Of groups: passes, seconds, KL(q || p) of a draw in nats, its s.e."""
  if not _is_agnostic(run):
    return []
  found, step_nats = [], report_of.evaluation_of(run.workdir)["step_nats"]
  for count in (8, 16, 32, 64, 128):
    if count >= run.spec.length:
      break
    section = dict(name="grouped", steps=schedules.dynamic(step_nats, count))
    scored, quick = (
      assemble.sampler(dict(section, score=score), run.net.model, run.net.head)
      for score in (True, False)
    )
    parts = [_draw(run, scored, seed) for seed in range(_DRAWS // _BATCH)]
    gap_B = np.concatenate(
      [
        (part.log_prob_sampler_BL - part.log_prob_model_BL).sum(1)
        for part in parts
      ]
    )
    found.append(
      dict(
        passes=count,
        seconds=_seconds(run, quick),
        gap=float(gap_B.mean()),
        gap_error=float(gap_B.std(ddof=1) / len(gap_B) ** 0.5),
      )
    )
  return found


def _draw(run, sampler, seed):
  """A batch of the run by a sampler: a Sample of numpy arrays."""
  shape, key = (_BATCH, run.spec.length), jax.random.key(seed)
  order_BL = run.net.ordering.draw(jax.random.split(key, _BATCH))
  given = np.zeros((*shape, 1), np.int32), np.zeros(shape, bool)
  return jax.tree.map(np.asarray, sampler(run.params, key, order_BL, given))


def _seconds(run, sampler, repeats=3):
  """Of a batch, the median of calls after the first."""
  seconds = []
  for _ in range(1 + repeats):
    start = time.perf_counter()
    _draw(run, sampler, 3)
    seconds.append(time.perf_counter() - start)
  return statistics.median(seconds[1:])


# --- tables, pictures, page ---


def _tables(found):
  """[(title, columns, rows of cells)]."""
  longest = max(row["length"] for row in found)
  tables = [
    _by_network([r for r in found if r["length"] == longest], number)
    for number in range(2 if longest == 256 else 1)
  ]
  tables.append(_by_length(found))
  tables.append(_by_schedule(found))
  return tables


def _by_network(found, number):
  batch = found[0]["batches"][number]["batch"]
  title = (
    f"{found[0]['length']} sites, batch {batch}: milliseconds a batch, and"
    " passes of the network in brackets"
  )
  columns = ["network", "naive", "cached", "x naive"]
  columns += [f"{label}, x cached" for label in _LABELS.values()]
  cells = []
  for row in found:
    one = row["batches"][number]
    rate, naive = one["samples_per_s"], one["naive_samples_per_s"]
    values = batch * row["length"]
    line = [row["network"], _ms(values / naive), _ms(values / rate)]
    line.append(f"{rate / naive:,.0f}")
    for name in _LABELS:
      line.append(_beside(row, one, name))
    cells.append(line)
  return title, columns, cells


def _beside(row, one, name):
  if name not in one["beside"]:
    return "-"
  other = one["beside"][name]
  passes = row["levels"] if name == "levels" else other["passes"]
  return f"{other['samples_per_s'] / one['samples_per_s']:.2f} ({passes})"


def _ms(seconds):
  return f"{1e3 * seconds:,.1f}"


def _by_length(found):
  rows = {(row["network"], row["length"]): row for row in found}
  lengths = sorted({length for _, length in rows})
  asked = [(name, length) for name in _LABELS for length in lengths]
  columns = ["network", *(f"{_LABELS[name]}, {n} sites" for name, n in asked)]
  cells = []
  for network in dict.fromkeys(network for network, _ in rows):
    passes = [_passes_of(rows[network, n], name) for name, n in asked]
    cells.append([network, *("-" if n is None else str(n) for n in passes)])
  return f"passes of the network for a batch of {_BATCH}", columns, cells


def _passes_of(row, name):
  """Of the larger batch; None where the sampler is not for the network."""
  beside = row["batches"][-1]["beside"]
  if name not in beside:
    return None
  return row["levels"] if name == "levels" else beside[name]["passes"]


def _by_schedule(found):
  columns = ["sites", "passes", "ms a batch", "KL(q || p), nats a draw", "s.e."]
  cells = []
  for row in (row for row in found if row["schedules"]):
    sites, one = str(row["length"]), row["batches"][-1]
    for few in row["schedules"]:
      gap = f"{few['gap']:.3f}", f"{few['gap_error']:.3f}"
      cells.append([sites, str(few["passes"]), _ms(few["seconds"]), *gap])
    all_of_them = _ms(one["batch"] * row["length"] / one["samples_per_s"])
    cells.append([sites, sites, all_of_them, "0", "exact"])
  return f"ARDM in groups of sites, batch {_BATCH}", columns, cells


def _lengths(found, path):
  """Seconds of an item by its length: the naive way, and cached steps."""

  def seconds(rate):
    def of(row):
      return row["length"] / row["batches"][-1][rate]

    return of

  ways = dict(naive="naive_samples_per_s", cached="samples_per_s")
  _curves(
    found,
    {title: seconds(rate) for title, rate in ways.items()},
    "seconds an item",
    path,
  )


def _passes(found, path):
  """Passes over sites by length: Jacobi, and speculative."""

  def share(name):
    def of(row):
      passes = _passes_of(row, name)
      return None if passes is None else passes / row["length"]

    return of

  ways = {_LABELS[n]: share(n) for n in ("jacobi", "speculative")}
  _curves(found, ways, "passes a site", path)


def _curves(found, ways, label, path):
  networks = dict.fromkeys(row["network"] for row in found)
  with paper.picture(path, (8, 3.6)) as figure:
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (title, of) in zip(panels, ways.items(), strict=True):
      for name in networks:
        points = [(r["length"], of(r)) for r in found if r["network"] == name]
        points = [p for p in points if p[1] is not None]
        axes.plot(*zip(*points, strict=True), ".-", lw=1, label=name)
      axes.set_title(f"{title}, batch {_BATCH}")
      axes.set_xscale("log", base=2)
      axes.set_yscale("log")
      axes.set_xlabel("sites of an item")
      axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(label)
    panels[0].legend(frameon=False, fontsize=7)


def _page(tables, found):
  same = {
    (row["network"], name): share
    for row in found
    for name, share in row["same"].items()
    if share < 1
  }
  told = "all of them, in every network and of every length."
  if same:
    told = "all but for ties that rounding breaks, " + ", ".join(
      f"{_LABELS[name]} of {network} {share:.0%}"
      for (network, name), share in same.items()
    )
  return _TEXT.format(
    machine=f"{os.cpu_count()} cores of a {jax.devices()[0].device_kind},"
    f" jax {jax.__version__}",
    tables="\n".join(
      f"## {title}\n\n{paper.markdown(*table)}" for title, *table in tables
    ),
    same=told,
    batch=_BATCH,
  )


_TEXT = """# What sampling costs

Written by `ar_jax sweep experiments/sampling_cost.py --workdir=DIR`, which
trains each network for 100 updates on the Ising model at its critical
temperature and then times every way of sampling it, in turns, on {machine}.

{tables}
![Seconds of an item by its length](sampling_cost_lengths.png)

![Passes by length](sampling_cost_passes.png)

## Exactness

Naive, cached, levels and Jacobi draw the same samples from the same key, in
float64 bit for bit, in float32 but for ties. Rows of {batch} that levels and
Jacobi draw as the cached step does: {same} Speculative sampling draws others,
distributed alike, which is tested against the enumeration of small spaces. A
schedule is an approximation, and its distance to the model is in the table: the
mean of log q - log p over draws from q, both exact. ARDM's exact log p takes a
pass for each site, and so does a step of it; naive repeats all of them.
"""
