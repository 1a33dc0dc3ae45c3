"""One page about many runs: curves, tables, samples, maps, cost.

It needs nothing beside itself. Runs that differ in their seed alone are one
group: one color, one legend entry, one row of means.
"""

import contextlib
import functools
import math
import pathlib
import textwrap
from importlib import resources

import jax
import numpy as np

from ar_jax import (
  chart,
  checkpoint,
  cost,
  errors,
  evaluate,
  markup,
  page,
  paper,
  report,
  results,
  writer,
)
from ar_jax import config as configs
from ar_jax import run as runs

_CHARACTERS = 600  # of a text that is shown
_ACROSS = 100  # characters of a legend's line


def write(folders, path=None, *, shown=6, num=4, length=None, seed=0):
  """Writes the page, and curves.png and curves.svg beside it.

  Args:
    folders: directories of sweeps or runs.
    path: of the page; None: report.html in the first folder.
    shown: groups of which samples are drawn, the best ones.
    num, length, seed: of the samples of each.
  Returns:
    The path of the page.
  Raises:
    DataError: no run. StorageError: the page cannot be written.
  """
  folders = [pathlib.Path(folder) for folder in folders]
  rows = [
    row
    for folder, name in zip(folders, _names(folders), strict=True)
    for row in _rows(folder, name)
  ]
  metric, groups = results.metric(rows), _groups(rows)
  curves = {
    name: [line for row in some if (line := _curve(row, metric))]
    for name, some in groups.items()
  }
  curves = {name: lines for name, lines in curves.items() if lines}
  levels = _levels(rows, metric)
  unit = evaluate.UNITS[metric]
  path = folders[0] / "report.html" if path is None else pathlib.Path(path)
  with _storage(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(curves, levels, unit, path.with_name("curves"))
  best = _best(groups, metric)
  sections = {
    "Curves": _curves(curves, levels, unit),
    "Runs": _table(rows),
    "Means over seeds": _means(groups, metric),
    "Samples": _samples(best[:shown], num, length, seed),
    "Where the nats are": _maps(best),
    "Cost": _cost(rows),
    "What differs": _differences(rows),
  }
  files = resources.files("ar_jax")
  document = markup.document(
    f"{folders[0].resolve().name} - ar_jax report",
    files.joinpath("page.css").read_text(encoding="utf-8"),
    _header(folders, rows, groups, metric),
    *(markup.section(t, body) for t, body in sections.items() if body),
    script=files.joinpath("page.js").read_text(encoding="utf-8"),
  )
  with _storage(path):
    path.write_text(document, encoding="utf-8")
  return path


@contextlib.contextmanager
def _storage(path):
  try:
    yield
  except OSError as e:
    raise errors.StorageError(f"cannot write {path}: {e.strerror}") from e


def draw(curves, levels, unit, path):
  """The curves for print: the mean of each group, and a band of its runs.

  Args:
    curves: {group: [(run, updates, figures)]}.
    levels: {name: figure}.
    unit: of the figures.
    path: of the PNG and the SVG, without their suffixes.
  """
  # Settings may hold $, as those of optimizer.decay do: it is no formula.
  labels = [textwrap.fill(name.replace("$", r"\$"), _ACROSS) for name in curves]
  columns = max(1, _ACROSS // max(len(label) + 8 for label in ["", *labels]))
  entries = sum(label.count("\n") + 1 for label in labels)
  height = 3.4 + 0.14 * math.ceil(entries / columns)
  with paper.picture(path, (6.5, height)) as figure:
    axes = figure.subplots()
    for n, lines in enumerate(curves.values()):
      color = chart.COLORS[n % len(chart.COLORS)]
      style = ("-", "--", ":", "-.")[n // len(chart.COLORS) % 4]
      steps, low, mean, high = band(lines)
      look = dict(color=color, marker="" if len(steps) > 1 else "o", ms=4)
      axes.plot(steps, mean, style, lw=1.3, label=labels[n], **look)
      axes.fill_between(steps, low, high, color=color, alpha=0.2, lw=0)
    ys = [y for lines in curves.values() for *_, ys in lines for y in ys]
    beside = chart.near(levels, ys) if ys else {}
    for level in beside.values():
      axes.axhline(level, color="gray", lw=0.8, ls=":")
    aside = chart.steps_aside(beside, 0.04 * np.ptp(axes.get_ylim()))
    for name, level in beside.items():
      axes.annotate(
        f"{name} {level:.4g}",
        (0.01 + 0.15 * aside[name], level),
        xycoords=("axes fraction", "data"),
        fontsize=6,
        va="bottom",
      )
    axes.set(xlabel="updates", ylabel=unit)
    if curves:
      figure.legend(
        loc="outside lower left", ncols=columns, frameon=False, fontsize=7
      )


def band(lines):
  """(steps, lowest, mean, highest) where all lines have a point."""
  points = [dict(zip(xs, ys, strict=True)) for _, xs, ys in lines]
  steps = sorted(set.intersection(*map(set, points)))
  values_RS = np.array([[p[s] for s in steps] for p in points])
  return steps, values_RS.min(0), values_RS.mean(0), values_RS.max(0)


def _names(folders):
  """What tells several folders apart; None of one."""
  if len(folders) == 1:
    return [None]
  names = [folder.resolve().name for folder in folders]
  return names if len(set(names)) == len(names) else list(map(str, folders))


def _rows(folder, name):
  """The runs of a folder, marked by its name if it has one."""
  found = results.rows(folder)
  for row in found if name else ():
    row["run"] = f"{name}/{row['run']}"
    row["of"] = name
  return found


def _groups(rows):
  """{what sets it apart: rows}, the seed left out."""
  apart = [
    c
    for c in results.columns(rows)
    if c not in ("run", "seed", *results.FIGURES)
  ]
  if not apart:
    return {"all": rows}
  named = results.grouped(rows, apart)
  tags = [key for key in apart if key == "of" or key.startswith("tags.")]
  for keys in (tags, apart):  # the study's own words, where they are enough
    label = functools.partial(_label, keys=keys, others=apart)
    groups = results.by_label(rows, label)
    if len(groups) == len(named):
      return groups
  return named


def _label(row, keys, others):
  """Settings of a run in words; others: where it has none of the keys."""
  return _words(row, keys) or _words(row, others) or "none"


def _words(row, keys):
  words = [(key.split(".")[-1], results.shown(row.get(key))) for key in keys]
  if len(words) == 1:
    return words[0][1]
  return ", ".join(f"{name} {word}" for name, word in words if word)


def _curve(row, metric):
  """(run, updates, figures) of the validation split, or None without one.

  Of a run that diverged the points that are no numbers are left out.
  """
  lines = [x for x in writer.read(row["workdir"]) if x["kind"] == "valid"]
  lines = [x for x in lines if math.isfinite(x.get(metric, math.nan))]
  if not lines:
    return None
  return row["run"], [x["step"] for x in lines], [x[metric] for x in lines]


def _levels(rows, metric):
  """Bars that all evaluated runs share, and the entropy where it is known."""
  found = []
  for row in rows:
    evaluation = report.evaluation_of(row["workdir"])
    if evaluation is None:
      continue
    named = {
      k: round(v[metric], 6)
      for k, v in evaluation["baselines"].items()
      if metric in v and not k.endswith("window")
    }
    model = evaluation["model"]
    if "entropy_nats_per_site" in model:
      scale = model[metric] / model["nats_per_site"]
      named["entropy"] = round(scale * model["entropy_nats_per_site"], 6)
    found.append(named)
  if not found:
    return {}
  first, *rest = found
  return {k: v for k, v in first.items() if all(r.get(k) == v for r in rest)}


def _best(groups, metric):
  """[(group, its best run)], best first; groups with no figure are left out."""
  best = []
  for name, rows in groups.items():
    scored = _scored(rows, metric)
    if scored:
      best.append((name, min(scored, key=lambda row: row[metric])))
  return sorted(best, key=lambda pair: pair[1][metric])


def _scored(rows, metric):
  """The runs with a figure, if it is a number."""
  return [row for row in rows if math.isfinite(row.get(metric, math.nan))]


def _header(folders, rows, groups, metric):
  scored = _scored(rows, metric)
  tiles = {"runs": len(rows), "settings": len(groups), "scored": len(scored)}
  if scored:
    least = min(row[metric] for row in scored)
    tiles[f"best {evaluate.UNITS[metric]}"] = markup.number(least)
  names = " and ".join(folder.resolve().name for folder in folders)
  return markup.tag(
    "header", markup.tag("h1", names), markup.pairs(tiles, "tiles")
  )


def _curves(curves, levels, unit):
  if not curves:
    return None
  means = {name: band(lines)[2] for name, lines in curves.items()}
  ends = [f"{name} {mean[-1]:.4g}" for name, mean in means.items() if len(mean)]
  label = f"Validation {unit} over updates, at the end: " + "; ".join(ends)
  caption = (
    "The whole validation split at each point; a line a run, a color a"
    " setting, no smoothing. Point at a line for its figure; the buttons switch"
    " settings off. curves.png and curves.svg beside this page show the mean of"
    " each setting in the band of its runs. Points that are no finite numbers"
    " are left out. Horizontal: bars of the evaluated split."
  )
  drawn = chart.draw(curves, levels, "updates", unit, label)
  return markup.tag("figure", drawn, markup.tag("figcaption", caption))


def _table(rows):
  titles = results.columns(rows)
  cells = [
    [
      _cell(row.get(k)) if k in results.FIGURES else results.shown(row.get(k))
      for k in titles
    ]
    for row in rows
  ]
  return markup.scroll("Runs", markup.sortable(titles, cells))


def _means(groups, metric):
  if all(len(rows) == 1 for rows in groups.values()):
    return None
  titles = ["", "runs", metric, "s.e.", "95 % low", "95 % high"]
  cells = [
    [g.label, g.count, *map(_known, (g.mean, g.error, g.low, g.high))]
    for g in results.summary(groups, metric)
  ]
  note = "Student's t over the runs of a setting; of one run there is none."
  table = markup.scroll("Means", markup.sortable(titles, cells))
  return markup.join(markup.tag("p", note), table)


def _samples(best, num, length, seed):
  """Pictures, sound or text of the best run of each group, as it was scored."""
  blocks = []
  for name, row in best:
    title = markup.tag("h3", name)
    try:
      run = runs.load(row["workdir"], row["step"])
    except (errors.DataError, errors.UsageError) as e:  # it may be deleted
      blocks.append(markup.tag("div", title, markup.tag("small", str(e))))
      continue
    drawn = run.sample(jax.random.key(seed), num, "", length)
    body = page.medium(run, drawn.x_BTC, f"samples of {name}")
    if run.media.get("kind") == "text":
      said = [text[:_CHARACTERS] for text in drawn.texts]
      body = markup.tag("pre", "\n\n".join(said))
    elif not body:  # sound has no grid
      body = markup.join(
        *(page.medium(run, x_1, f"sample {n}") for n, x_1 in _each(drawn.x_BTC))
      )
    if body:
      about = markup.tag("small", f"{row['run']}, {run.step:,} updates")
      blocks.append(markup.tag("div", title, about, body))
  return blocks and markup.tag("div", *blocks, class_="gallery")


def _each(x_BTC):
  return [(n, x_BTC[n : n + 1]) for n in range(len(x_BTC))]


def _maps(best):
  blocks = []
  for name, row in best:
    path = row["workdir"] / "reports" / "maps.png"
    if path.exists():
      label = f"mean nats of {name} by site and step"
      picture = markup.medium(path, label, "map")
      blocks.append(markup.tag("div", markup.tag("h3", name), picture))
  return blocks and markup.tag("div", *blocks, class_="gallery")


def _cost(rows):
  """What each run took."""
  cells = []
  for row in rows:
    values, spec, _ = checkpoint.load(row["workdir"])
    record = checkpoint.read_record(row["workdir"], "run")
    lines = writer.read(row["workdir"])
    step = max((x["step"] for x in lines), default=0)
    figures = cost.of_run(configs.restore(values), spec, record, lines, step)
    runtime = record.get("runtime", {})
    cells.append(
      [
        row["run"],
        markup.whole(figures["params"]),
        markup.big(figures["flops"]),
        markup.whole(figures["sites"]),
        markup.duration(figures["seconds"]),
        _cell(runtime.get("productive_share")),
        _cell(runtime.get("restarts")),
      ]
    )
  titles = ["run", "parameters", "FLOP", "sites seen", "wall time"]
  titles += ["productive share", "restarts"]
  return markup.scroll("Cost", markup.sortable(titles, cells))


def _differences(rows):
  """Every setting in which the configs differ, and its values."""
  cells = []
  for key in results.columns(rows):
    if key not in ("run", *results.FIGURES):
      values = dict.fromkeys(results.shown(row.get(key)) for row in rows)
      cells.append([key, ", ".join(value or "absent" for value in values)])
  table = markup.table(["setting", "values"], cells)
  return cells and markup.scroll("Settings", table)


def _cell(value):
  if isinstance(value, int | float) and not isinstance(value, bool):
    return markup.number(value)
  return results.shown(value)


def _known(value):
  """A figure of a group, which few runs may not give."""
  return "" if math.isnan(value) else _cell(value)
