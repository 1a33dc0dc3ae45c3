"""Where the nats are: a picture of the cross-entropy by site and by step."""

import numpy as np


def draw(site_nats, step_L, path):
  """Writes a PNG: a map of the sites beside the curve of the steps.

  Args:
    site_nats: mean nats of each site, in the shape of an item; nan where none
      is scored. Of a sequence it is a curve too.
    step_L: mean nats of each step of the order.
    path: of the file, of any name.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8, 3.4), layout="constrained")
  left, right = figure.subplots(1, 2)
  if site_nats.ndim == 1:
    _curve(left, site_nats, "site")
  else:
    grid = _flat(site_nats)
    shown = left.imshow(grid, cmap="magma", interpolation="nearest")
    figure.colorbar(shown, ax=left, label="nats", shrink=0.8)
    left.set_title("by site", fontsize=9)
  _curve(right, step_L, "step of the order")
  figure.savefig(path, dpi=120, format="png")


def _flat(site_nats):
  """A grid to look at; the planes of sub-pixels side by side."""
  if site_nats.ndim == 2:
    return site_nats
  planes = np.moveaxis(site_nats, -1, 0).reshape(-1, *site_nats.shape[:2])
  return np.concatenate(list(planes), 1)


def _curve(axes, nats_L, what):
  axes.plot(np.arange(len(nats_L)), nats_L, lw=0.9, color="#2f7de1")
  axes.set_xlabel(what)
  axes.set_ylabel("nats")
  axes.set_ylim(bottom=min(0, np.nanmin(nats_L, initial=0)))
  axes.spines[["top", "right"]].set_visible(False)
  axes.set_title(f"by {what.split()[0]}", fontsize=9)
