"""Pictures of a run, from what its directory holds, and what it lacks."""

import io
import json
import pathlib
import re

from ar_jax import errors, writer

WIDE, NARROW = (9, 4.6), (4.2, 4.4)  # inches
_INK = "#010203"  # stands for the color of the text around a figure
# 3:1 or more on white and on near black, also for the color-blind.
_TRAIN, _VALID = "#8593a3", "#2f7de1"
_LOOK = {
  "font.size": 8,
  "axes.edgecolor": _INK,
  "axes.labelcolor": _INK,
  "axes.linewidth": 0.6,
  "axes.spines.right": False,
  "axes.spines.top": False,
  "text.color": _INK,
  "text.parse_math": False,
  "xtick.color": _INK,
  "xtick.major.width": 0.6,
  "ytick.color": _INK,
  "ytick.major.width": 0.6,
  "svg.fonttype": "path",  # the same everywhere, whatever fonts there are
  "svg.hashsalt": "ar_jax",
}
# Where a figure is no part of a page, it also darkens its own ground.
_ALONE = (
  "<style>*{stroke-linejoin:round;stroke-linecap:butt}"
  "svg{color:#1b1d21;color-scheme:light dark}"
  "@media (prefers-color-scheme:dark){svg{color:#e4e6ea}}</style>"
)


def curves(workdir):
  """Draws reports/curves.png and .svg: losses, bars and entropy.

  Returns:
    The path of the PNG; None where the directory holds no figures yet.
  """
  workdir = pathlib.Path(workdir)
  if not writer.read(workdir) and evaluation_of(workdir) is None:
    return None
  path = workdir / "reports" / "curves.png"
  path.write_bytes(_saved(workdir, WIDE, True, format="png", dpi=120))
  markup = curves_svg(workdir, WIDE, titled=True)
  markup = re.sub(r"(<svg[^>]*>)", rf"\g<1>{_ALONE}", markup, count=1)
  path.with_suffix(".svg").write_text(markup + "\n", encoding="utf-8")
  return path


def curves_svg(workdir, size, prefix="", titled=False):
  """The figure of `curves` as an <svg> to stand in a page.

  Its ground is transparent and its ink currentColor; the same figures make
  the same bytes.

  Args:
    workdir: of the run.
    size: (width, height) in inches.
    prefix: of its ids, which a page must not hold twice.
    titled: whether the name of the run and the protocol stand above.
  """
  unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
  more = dict(format="svg", transparent=True, metadata=unsaid)
  markup = _saved(workdir, size, titled, **more).decode()
  markup = markup[markup.index("<svg") :].strip()
  markup = re.sub(r"<!--.*?-->\s*", "", markup, flags=re.DOTALL)
  # Matplotlib's style would hold for the whole page.
  markup = re.sub(r"<style.*?</style>", "", markup, count=1, flags=re.DOTALL)
  markup = re.sub(r' (?:width|height)="[\d.]+pt"', "", markup, count=2)
  markup = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{prefix}", markup)
  return markup.replace(_INK, "currentColor")


def evaluation_of(workdir):
  """reports/evaluation.json; None where the run was not evaluated yet."""
  file = pathlib.Path(workdir) / "reports" / "evaluation.json"
  if not file.exists():
    return None
  try:
    return json.loads(file.read_text(encoding="utf-8"))
  except ValueError as e:
    raise errors.DataError(
      f"{file} is no JSON: {e}; `ar_jax evaluate` writes it anew"
    ) from e


def bars(lines, evaluation):
  """{name: nats per site} of what a model is held against.

  Args:
    lines: of writer.read.
    evaluation: of evaluation_of.
  """
  found = {} if evaluation is None else evaluation["baselines"]
  result = {
    name: figures["nats_per_site"]
    for name, figures in found.items()
    if not name.endswith("window")
  }
  known = [] if evaluation is None else [evaluation["model"]]
  known += [line for line in lines if line["kind"] == "valid"]
  for line in known[:1]:
    if "entropy_nats_per_site" in line:
      result["entropy"] = line["entropy_nats_per_site"]
  return result


def in_words(lines, evaluation):
  """The figure for who cannot see it; arguments as of `bars`."""
  said = []
  for kind in ("train", "valid"):
    rows = [r for r in lines if r["kind"] == kind]
    ends = [f"{r['nats_per_site']:.3f} at step {r['step']}" for r in rows]
    if ends:
      said.append(f"{kind} from {ends[0]} to {ends[-1]}")
  if evaluation is not None:
    nats = evaluation["model"]["nats_per_site"]
    said.append(f"evaluated {nats:.3f} at step {evaluation['step']}")
  levels = bars(lines, evaluation)
  said += [f"{name} {nats:.3f}" for name, nats in levels.items()]
  return "Curves, nats per token over updates: " + "; ".join(said)


def missing(step, steps, lines, evaluation):
  """[(what a report lacks, the command that makes it)].

  Args:
    step: of the checkpoint that is shown; None where there is none.
    steps: updates that the config asks for.
    lines, evaluation: as of `bars`.
  """
  go_on = "ar_jax train --workdir=DIR"
  score = "ar_jax evaluate --workdir=DIR"
  found = []
  if step is None:
    found.append(("Samples: there is no checkpoint yet", go_on))
  elif step < steps:
    found.append((f"What comes after step {step:,} of {steps:,}", go_on))
  if not lines:
    found.append(("Curves: metrics.jsonl holds no line yet", go_on))
  if evaluation is None:
    found.append(
      ("Scores of a whole split", score if step is not None else go_on)
    )
  elif step is not None and evaluation["step"] != step:
    shown = f"{evaluation['step']:,}"
    what = f"Scores of step {step:,}; those below are of step {shown}"
    found.append((what, f"{score} --checkpoint={step}"))
  return found


def _saved(workdir, size, titled, **how):
  """The bytes of the figure; `how` goes to matplotlib's savefig."""
  import matplotlib
  from matplotlib.figure import Figure

  lines, evaluation = writer.read(workdir), evaluation_of(workdir)
  with matplotlib.rc_context(_LOOK):
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    _losses(axes, lines, evaluation)
    _levels(axes, bars(lines, evaluation))
    axes.set_xlabel("updates")
    axes.set_ylabel("nats per token")
    axes.grid(alpha=0.15, color=_INK, lw=0.6)
    if titled:
      title = _title(pathlib.Path(workdir), lines, evaluation)
      axes.set_title(title, loc="left", fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, **how)
  return file.getvalue()


def _losses(axes, lines, evaluation):
  """Training and validation over updates, in limits that hold all figures."""
  styles = dict(
    train=dict(lw=1, color=_TRAIN),
    valid=dict(lw=1.8, color=_VALID, marker="o", ms=4),
  )
  shown = list(bars(lines, evaluation).values())
  for kind, style in styles.items():
    rows = [line for line in lines if line["kind"] == kind]
    nats = [r["nats_per_site"] for r in rows]
    shown += nats
    if len(rows) == 1:
      style["marker"] = "o"
    if rows:
      axes.plot([r["step"] for r in rows], nats, label=kind, **style)
  if evaluation is not None:
    model = evaluation["model"]
    shown.append(model["nats_per_site"])
    axes.plot(
      [evaluation["step"]],
      [model["nats_per_site"]],
      label=f"evaluated on {model['split']}",
      ls="",
      marker="D",
      ms=6,
      mfc="none",
      mec=_INK,
    )
  low, high = min(shown), max(shown)
  margin = 0.05 * (high - low) or 0.05
  axes.set_ylim(low - margin, high + margin)
  axes.get_figure().legend(loc="outside upper right", ncols=3, frameon=False)


def _levels(axes, levels):
  """Baselines and entropy as lines, named at the right edge."""
  low, high = axes.get_ylim()
  width, height = axes.get_figure().get_size_inches()
  places = _apart(list(levels.values()), 0.16 * (high - low) / height)
  for (name, nats), place in zip(levels.items(), places, strict=True):
    strong = name == "entropy"
    look = dict(color=_INK, alpha=1 if strong else 0.75)
    axes.axhline(nats, lw=1.4 if strong else 0.7, ls=(0, (4, 3)), **look)
    axes.annotate(
      f"{name} {nats:.3f}",
      (1, nats),
      (1 + 0.13 / width, place),
      xycoords=("axes fraction", "data"),
      va="center",
      arrowprops=dict(
        shrinkA=1, shrinkB=0, arrowstyle="-", lw=0.5, relpos=(0, 0.5), **look
      ),
      **look,
    )


def _apart(values, gap):
  """The values, moved as little as need be to lie `gap` apart.

  Least squares under that constraint, by pooling neighbors that collide.
  """
  order = sorted(range(len(values)), key=values.__getitem__)
  pools = []  # (labels, sum of their values less the gaps below them)
  for rank, k in enumerate(order):
    size, total = 1, values[k] - gap * rank
    while pools and pools[-1][1] / pools[-1][0] > total / size:
      size, total = size + pools[-1][0], total + pools.pop()[1]
    pools.append((size, total))
  bases = [total / size for size, total in pools for _ in range(size)]
  places = dict(zip(order, bases, strict=True))
  return [places[k] + gap * order.index(k) for k in range(len(values))]


def _title(workdir, lines, evaluation):
  """The run, and the protocols: of the curve, of the levels if another."""
  known = [r for r in lines if r["kind"] == "valid"][-1:]
  known += [] if evaluation is None else [evaluation["model"]]
  said = [f"{r['split']} {r['protocol']}, {r['estimator']}" for r in known]
  said = list(dict.fromkeys(said))
  if len(said) == 2:
    said = [f"curve: {said[0]}", f"levels: {said[1]}"]
  name = workdir.resolve().name.encode("latin-1", "replace").decode("latin-1")
  return f"{name}: " + "\n".join(said or ["training"])
