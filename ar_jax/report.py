"""Pictures of a run, from what its directory holds."""

import json
import pathlib

from ar_jax import writer


def curves(workdir):
  """Draws reports/curves.png: losses, bars and entropy; returns its path."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  workdir = pathlib.Path(workdir)
  lines = writer.read(workdir)
  figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
  for kind, style in (("train", dict(lw=0.8, alpha=0.7)), ("valid", _MARKED)):
    rows = [line for line in lines if line["kind"] == kind]
    axes.plot(
      [r["step"] for r in rows],
      [r["nats_per_site"] for r in rows],
      label=kind,
      **style,
    )
  _bars(axes, workdir / "reports" / "evaluation.json", lines)
  axes.set_xlabel("updates")
  axes.set_ylabel("nats per token")
  axes.set_title(f"{workdir.name}: {_protocol(lines)}", fontsize=10)
  axes.grid(alpha=0.2)
  axes.legend(loc="upper right", fontsize=8)
  path = workdir / "reports" / "curves.png"
  figure.savefig(path, dpi=120)
  pyplot.close(figure)
  return path


def _protocol(lines):
  line = next(r for r in lines if r["kind"] == "valid")
  return f"{line['split']} {line['protocol']}, {line['estimator']}"


_MARKED = dict(marker="o", ms=4, lw=1.6)


def _bars(axes, file, lines):
  """Baselines and entropy as lines, named at the right edge."""
  evaluation = json.loads(file.read_text(encoding="utf-8"))
  bars = {
    name: figures["nats_per_site"]
    for name, figures in evaluation["baselines"].items()
    if not name.endswith("window")
  }
  bound = evaluation["model"].get("entropy_nats_per_site")
  if bound is not None:
    bars["entropy"] = bound
  final = evaluation["model"]["nats_per_site"]
  shown = [r["nats_per_site"] for r in lines] + [final, *bars.values()]
  low, high = min(shown), max(shown)
  axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
  places = _apart(list(bars.values()), 0.024 * (high - low))
  for (name, nats), place in zip(bars.items(), places, strict=True):
    strong = name == "entropy"
    color = "black" if strong else "gray"
    axes.axhline(nats, color=color, lw=1.2 if strong else 0.6, ls="--")
    axes.annotate(
      f" {name} {nats:.3f}",
      (1, place),
      xycoords=("axes fraction", "data"),
      fontsize=7,
      color=color,
      va="center",
    )


def _apart(values, gap):
  """The values moved up, as little as need be, to lie `gap` apart."""
  places = dict.fromkeys(values)
  last = float("-inf")
  for value in sorted(places):
    last = places[value] = max(value, last + gap)
  return [places[v] for v in values]
