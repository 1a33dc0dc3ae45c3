"""What does an order cost a network? Orders x networks x seeds, with a zero.

  ar_jax sweep experiments/order_ablation.py:data=ising+text \\
      --workdir=runs/orders
  ar_jax sweep experiments/order_ablation.py:data=digits,seeds=3 \\
      --workdir=runs/digits

Arguments: data=ising+text+digits+products+positions+bmnist+rolls, one or
several; seeds=0, how many (0: those of the data); path=DIR, where the files of
bmnist and rolls lie; tiny. `positions` crosses orders with what a GPT is told
of where it is.

The joint entropy is the same for every order, so a gap between orders is the
cost of an order for that network and that training. Of Ising it is known
exactly: that is the true zero. The replicate is the seed: networks of one seed
have the same first parameters, batches and dropout in every order, and their
gap is one draw. The interval is Student's t over seeds; p is adjusted by Holm
over the orders of a network. "test-set error of these networks" asks about
other items for these networks, and says nothing of training again.

Writes order_ablation.md with its pictures beside the runs.
measured: docs/order_ablation.md
"""

import math

import numpy as np

from ar_jax import compare, likelihood, paper, studies
from configs import base

_BITS = likelihood.bits(1.0)
_IMAGES = (
  "raster",
  "column",
  "snake",
  "hilbert",
  "spiral",
  "diagonal",
  "checkerboard",
  "subsample",
  "random",
)
_STEPS = {"train.steps": 1200, "train.eval_every": 1200}
_GPT = {"model.depth": 2, "model.width": 64, "model.heads": 4}
_ISING_GPT = {**_STEPS, **_GPT, "train.batch_size": 50}
_CNN = {"model.blocks": 4, "model.width": 48, "model.first_kernel": 5}
_TEXT = {
  "data.length": 64,
  "data.stride": 64,  # the window: windows that do not overlap
  "train.steps": 3000,
  "train.eval_every": 3000,
  **_GPT,
}
_SITES = {"model.source": True, "model.target": True, "model.step": False}
_STEP = {"model.source": False, "model.target": False, "model.step": True}
_TOLD = {
  "rotary, sites": {"model.position": "rotary", **_SITES},
  "rotary, step": {"model.position": "rotary", **_STEP},
  "learned, sites": {"model.position": "learned", **_SITES},
  "learned, step": {"model.position": "learned", **_STEP},
}
# networks: {label: (config, its sizes here, what else is set)};
# unit: (label, figure of evaluation.json, factor).
STUDIES = dict(
  ising=dict(
    title="Ising model, 8 x 8, at the critical temperature",
    networks={
      "PixelCNN": ("ising.py:model=pixelcnn", {**_STEPS, **_CNN}, {}),
      "GPT": ("ising.py:model=gpt", _ISING_GPT, {}),
    },
    orders=_IMAGES,
    seeds=5,
    unit=("bits/image", "nats_per_item", _BITS),
  ),
  text=dict(
    title="Python's documentation, characters, windows of 64",
    networks={"GPT": ("text_gpt.py:preset=modern", _TEXT, {})},
    orders=("raster", "reverse", "interpolated", "random"),
    seeds=3,
    split="valid",
    unit=("nats/character", "nats_per_site", 1),
  ),
  digits=dict(
    title="scikit-learn's 8 x 8 digits, 17 levels, given the label",
    networks={
      "PixelCNN": ("digits_pixelcnn.py:labels=true", {}, {}),
      "GPT": ("digits_gpt.py:labels=true", _GPT, {}),
    },
    orders=_IMAGES,
    seeds=5,
    unit=("bits/dim", "bits_per_dim", 1),
  ),
  products=dict(
    title="p x q = n, primes of four digits",
    networks={"GPT": ("products_gpt.py:ordering=raster", {}, {})},
    orders=("raster", "reverse", "middle_out", "random"),
    seeds=3,
    unit=("nats/item", "nats_per_item", 1),
  ),
  positions=dict(
    title="Ising model, 8 x 8: what a GPT is told of where it is",
    networks={
      f"GPT: {told}": ("ising.py:model=gpt", _ISING_GPT, options)
      for told, options in _TOLD.items()
    },
    orders=("raster", "hilbert", "random"),
    seeds=3,
    unit=("bits/image", "nats_per_item", _BITS),
  ),
  bmnist=dict(
    title="static binarized MNIST",
    networks={
      "PixelCNN": ("bmnist_pixelcnn.py:ordering=raster", {}, {}),
      "GPT": ("bmnist_gpt.py:ordering=raster", {}, {}),
    },
    orders=_IMAGES,
    seeds=3,
    unit=("nats/image", "nats_per_item", 1),
    files={
      "data.path": "binarized_mnist_train.amat",
      "data.valid_path": "binarized_mnist_valid.amat",
      "data.test_path": "binarized_mnist_test.amat",
    },
  ),
  rolls=dict(
    title="JSB chorales, the notes of a chord in turn",
    networks={"GPT": ("jsb_gpt.py:form=events", {}, {})},
    orders=("ascending", "descending", "random"),
    word="notes",
    seeds=3,
    unit=("nats/frame", "nats_per_frame", 1),
    files={"data.path": "JSB_Chorales.mat"},
  ),
)
_ITEMS = "test-set error of these networks"
# Other data and networks than ours, none with an interval over seeds.
PUBLISHED = dict(
  ising="MaM (Liu et al. 2024), Ising 10 x 10, bits/dim: forward 0.79, learned"
  " order 0.78.",
  text="ARDM (Hoogeboom et al. 2022), text8, bits/character: left to right"
  " 1.35, any order (a bound) 1.43.",
  bmnist="EoNADE of two layers (Uria et al. 2014), nats, 1, 2, 4, 8, 16, 32"
  " orders mixed: 89.17, 87.96, 87.10, 86.41, 85.96, 85.60.",
)


def sweep(arg=None):
  """A cell for each data set, network, order and seed."""
  arg = base.parse(arg, data="ising+text", seeds=0, path="data", tiny=False)
  cells = []
  for name in arg.data.split("+"):
    study = base.choose("data", name, STUDIES)
    files = study.get("files", {})
    for network, (config, sizes, options) in study["networks"].items():
      for order in study["orders"]:
        word = study.get("word", "ordering")
        head = config.replace("ordering=raster", "").rstrip(",")
        comma = "" if head.endswith(":") else ","
        path = f"configs/{head}{comma}{word}={order}"
        for seed in range(arg.seeds or study["seeds"]):
          cell = {
            "config": f"{path},tiny" if arg.tiny else path,
            "tags": dict(data=name, network=network, order=order, seed=seed),
            "split": study.get("split", "test"),
            "seed": seed,
            "evaluate.baselines": (),
            **{key: f"{arg.path}/{file}" for key, file in files.items()},
            **({} if arg.tiny else sizes),
            **options,
          }
          cells.append(cell)
  return cells


def report(rows, folder):
  """The tables; order_ablation.md and its pictures in `folder`."""
  for row in rows:
    with np.load(row["workdir"] / "reports" / "maps.npz") as file:
      row["maps"] = file["site_nats"], file["step_nats"]
  tables, page = [], [_HEAD]
  for data, by in studies.by_tags(rows, "data", "network", "order").items():
    study = STUDIES[data]
    found = {network: _compared(by[network], study) for network in by}
    page.append(f"## {study['title']}\n")
    for network, lines in found.items():
      known = "excess" in next(iter(lines.values()))
      table, text = _tables(network, lines, study["unit"][0], known)
      tables.append(table)
      page.append(text)
    for what, draw in (("gaps", _draw_gaps), ("maps", _draw_maps)):
      name = f"order_ablation_{data}_{what}"
      draw(found if what == "gaps" else by, study, folder / name)
      page.append(f"![{what} of {study['title']}]({name}.png)\n")
    if data in PUBLISHED:
      page.append(f"Published, for other data: {PUBLISHED[data]}\n")
    if data == "positions":
      page.append(_contrasts(by, study))
  (folder / "order_ablation.md").write_text("\n".join(page), encoding="utf-8")
  return tables


def _compared(by_order, study):
  """{order: figures} of one network, all in the unit of the study."""
  _, figure, factor = study["unit"]
  first = next(iter(by_order.values()))[0]
  weight_N, truth_N = first["items"]["weight"], studies.exact(first)
  cubes, lines = {}, {}
  for order, rows in by_order.items():
    cubes[order] = studies.per_item(rows, figure) * factor
    lines[order] = dict(mean=cubes[order].mean())
    if truth_N is not None:
      # Item by item, which takes the scatter of log p itself away.
      truth = dict(first, items=dict(nats=truth_N, weight=weight_N))
      truth_1N = studies.per_item([truth], figure) * factor
      truth_SN = np.broadcast_to(truth_1N, cubes[order].shape)
      lines[order]["excess"] = compare.paired(truth_SN, cubes[order])
  for order, row in compare.summary(cubes, study["orders"][0]).items():
    lines[order]["gap"] = row
  return lines


def _contrasts(by, study):
  """Markdown: is an order's gap another one where a GPT is told the step?

  The difference of two gaps of one seed, that of the step less that of sites.
  """
  first, *others = study["orders"]
  unit, figure, factor = study["unit"]
  titles = ["gap by step less gap by sites", "order", unit, "95 %, seeds", "p"]
  lines = []

  def gaps(network, order):
    rows = zip(by[network][order], by[network][first], strict=True)
    nats = [a["items"]["nats"] - b["items"]["nats"] for a, b in rows]
    return np.stack(nats) * factor

  for how in ("rotary", "learned"):
    for order in others:
      found = compare.paired(
        *(gaps(f"GPT: {how}, {told}", order) for told in ("sites", "step"))
      )
      cells = [how, order, f"{found.mean:+.4f}", studies.interval(found)]
      lines.append([*cells, f"{found.p:.2g}"])
  return paper.markdown(titles, lines)


def _tables(network, lines, unit, known):
  """(rich table, markdown) of a network's orders."""
  titles = [network, unit]
  titles += ["over the entropy, ± by seeds"] if known else []
  titles += ["gap to the first", "95 %, seeds", "p (Holm)", "bootstrap"]
  titles += [_ITEMS, "detectable"]
  rows = []
  for order, line in lines.items():
    cells = [order, f"{line['mean']:.4f}"]
    if known:
      over = line["excess"]
      cells.append(f"{over.mean:+.4f} ± {(over.high - over.low) / 2:.4f}")
    if "gap" in line:
      row = line["gap"]
      cells += [
        f"{row.paired.mean:+.4f}",
        studies.interval(row.paired),
        f"{row.holm:.2g}",
        studies.interval(row.bootstrap),
        studies.interval(row.items),
        f"{row.paired.detectable:.4f}",
      ]
    rows.append([*cells, *[""] * (len(titles) - len(cells))])
  text = paper.markdown(titles, rows)
  # The terminal is narrower.
  kept = [n for n, t in enumerate(titles) if t not in ("bootstrap", _ITEMS)]
  narrow = [[line[n] for n in kept] for line in (titles, *rows)]
  narrow[0][0] = "order"
  return paper.table(f"{network}, {unit}", narrow[0], narrow[1:]), text


def _draw_gaps(found, study, path):
  """Gaps to the first order, or to the entropy where it is known."""
  with paper.picture(path, (3.6 * len(found), 3.2)) as figure:
    panels = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for axes, (network, lines) in zip(panels, found.items(), strict=True):
      known = "excess" in next(iter(lines.values()))
      for order, line in lines.items():
        gap = line["excess"] if known else None
        if not known and "gap" in line:
          gap = line["gap"].paired
        mean, half = (gap.mean, (gap.high - gap.low) / 2) if gap else (0, 0)
        half = 0 if math.isnan(half) else half
        axes.errorbar(
          mean, order, xerr=half, fmt="o", ms=4, capsize=3, color="C0"
        )
      axes.axvline(0, color="black", lw=0.8)
      axes.set_title(network)
      above = "the entropy" if known else study["orders"][0]
      axes.set_xlabel(f"{study['unit'][0]} above {above}")
    panels[0].invert_yaxis()


def _draw_maps(by, study, path):
  """Mean nats of each site (grids) or step (sequences), over the seeds."""
  orders = study["orders"]
  size = 1.3 * len(orders) + 0.8, 1.6 * len(by) + 0.3
  maps = {
    network: [
      np.mean([_map(*row["maps"]) for row in rows], 0) for rows in d.values()
    ]
    for network, d in by.items()
  }
  most = max(np.nanmax(m) for ms in maps.values() for m in ms)
  with paper.picture(path, size) as figure:
    panels = figure.subplots(len(by), len(orders), squeeze=False)
    for row_panels, (network, ms) in zip(panels, maps.items(), strict=True):
      for axes, order, site in zip(row_panels, orders, ms, strict=True):
        if site.ndim == 2:
          shown = axes.imshow(site, cmap="magma", vmin=0, vmax=most)
          axes.set_axis_off()
        else:
          axes.plot(site, lw=0.7)
          axes.set(ylim=(0, most), xlabel="step", ylabel="nats")
        axes.set_title(
          f"{network}\n{order}" if order == orders[0] else order, fontsize=7
        )
    if site.ndim == 2:
      figure.colorbar(shown, ax=panels, label="nats", shrink=0.8)


def _map(site_nats, step_L):
  return step_L if site_nats.ndim == 1 else site_nats


_HEAD = """# What an order costs

Written by `ar_jax sweep experiments/order_ablation.py`, whose docstring says
how. The joint entropy is the same for every order; a gap is the cost of an
order for that network and that training. The replicate is the seed: the
interval is Student's t over seeds, paired, p adjusted by Holm over the orders
of a network, the bootstrap over seeds and items (too narrow for few seeds).
"Test-set error of these networks" holds the networks and asks about other
items as if they were independent, which windows of one text are not; it is
left out where the unit is no count of what an item scores. "Detectable" is the
smallest gap that one test at 95 % would find four times in five at the spread
that was seen; it and the intervals are each of one gap alone, p is adjusted.
`random` and `interpolated` are one permutation each, the same for all seeds.
"""
