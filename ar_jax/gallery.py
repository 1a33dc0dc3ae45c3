"""Pictures of orders, and the page that shows the families side by side."""

import numpy as np

from ar_jax import (
  assemble,
  errors,
  levels,
  order_statistics,
  ordering,
  registry,
)
from ar_jax.types import DataSpec

# Title and section: the families that are an order of a grid.
ORDERS = (
  ("raster", dict(name="raster")),
  ("column", dict(name="column")),
  ("reverse", dict(name="reverse")),
  ("symmetry, leftward", dict(name="symmetry", leftward=True)),
  ("snake", dict(name="snake")),
  ("hilbert", dict(name="hilbert")),
  ("z_curve", dict(name="z_curve")),
  ("spiral", dict(name="spiral")),
  ("spiral, out", dict(name="spiral", out=True)),
  ("diagonal", dict(name="diagonal")),
  ("checkerboard", dict(name="checkerboard")),
  ("subsample", dict(name="subsample")),
  ("bit_reversal", dict(name="bit_reversal")),
  ("center_out", dict(name="center_out")),
  ("center_out, inward", dict(name="center_out", inward=True)),
  ("middle_out", dict(name="middle_out")),
  (
    "blocks 4 x 4, snake in snake",
    dict(
      name="blocks",
      size=(4, 4),
      outer=dict(name="snake"),
      inner=dict(name="snake"),
    ),
  ),
  (
    "interpolated, 0.1 to random",
    dict(name="interpolated", share=0.1),
  ),
  (
    "interpolated, 0.5 to random",
    dict(name="interpolated", share=0.5),
  ),
  ("random", dict(name="random")),
)
SHAPE = (16, 16)
_COLUMNS = 5


def figures(order_L, shape, x_NL=None, network=None):
  """Statistics of an order by what they are called where people read them.

  Args:
    order_L: the order.
    shape: of the sites.
    x_NL: data, whose autocorrelation along the order is given; or None.
    network: Model, whose dependency levels are given; or None.
  """
  found = order_statistics.summary(order_L, shape)
  named = {
    "mean jump": f"{found['mean_jump']:.2f}",
    "largest jump": f"{found['largest_jump']:.2f}",
    "known neighbors": "{:.0f}, {:.0f}, {:.0f}".format(
      *found["known_neighbors"]
    ),
    "alone": f"{found['alone']:.2f}",
    "tau to raster": f"{found['kendall_tau']:+.2f}",
  }
  if x_NL is not None and len(order_L) > 1:
    lags = [k for k in (1, 2, 4) if k < len(order_L)]
    found = order_statistics.autocorrelation(x_NL, order_L, lags)
    label = f"autocorrelation at {', '.join(map(str, lags))}"
    named[label] = ", ".join(f"{r:.2f}" for r in found)
  if network is not None:
    level_L = levels.of(network, len(order_L), order_L)
    named["levels"] = f"{level_L.max() + 1:,} of {len(order_L):,} steps"
  return named


def draw(titled, shape, path):
  """Writes a picture of orders: the rank of each site, and the path.

  Args:
    titled: list of (title, order int [L]).
    shape: (T,), (H, W) or (H, W, S); of sub-pixels the first is drawn.
    path: of the PNG.
  """
  import matplotlib
  from matplotlib.figure import Figure

  columns = min(_COLUMNS, len(titled))
  rows = -(-len(titled) // columns)
  H, W, S = ordering.grid(shape)
  size = 2.1 * columns, 2.25 * rows * max(H / W, 0.3)
  figure = Figure(figsize=size, layout="constrained")
  with matplotlib.rc_context({"text.parse_math": False}):
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in panels:
      axes.set_axis_off()
    for axes, (title, order_L) in zip(panels, titled, strict=False):
      _panel(axes, title, np.asarray(order_L), (H, W, S))
    try:
      figure.savefig(path, dpi=80)
    except OSError as e:
      raise errors.StorageError(f"cannot write {path}: {e.strerror}") from e


def _panel(axes, title, order_L, grid):
  H, W, S = grid
  first = order_L[order_L % S == 0] // S  # one sub-pixel of each pixel
  rank_HW = np.argsort(first).reshape(H, W)
  axes.imshow(rank_HW, cmap="viridis", interpolation="nearest")
  row, column = np.divmod(first, W)
  far = order_statistics.summary(first, (H, W))["mean_jump"] > 3
  axes.plot(column, row, color="white", lw=0.2 if far else 0.8)
  axes.plot(column[0], row[0], "o", color="white", ms=3)
  axes.set_title(title, fontsize=7)


def page(folder):
  """Writes orderings.md and orderings.png, the gallery of all families.

  The autocorrelation is that of scikit-learn's 8x8 digits.
  """
  made = [(title, assemble.order(section, SHAPE)) for title, section in ORDERS]
  draw(made, SHAPE, folder / "orderings.png")
  digits = registry.build(
    "datasets", dict(name="digits", labels=False, split="0.8/0.1/0.1", seed=0)
  )
  x_NL = digits.splits["train"].get(np.arange(digits.splits["train"].size))[0]
  rows = []
  for title, section in ORDERS:
    figure = figures(assemble.order(section, SHAPE), SHAPE)
    small = assemble.order(section, digits.spec.shape)
    found = figures(small, digits.spec.shape, x_NL[..., 0])
    rows.append([title, *figure.values(), list(found.values())[-1]])
  titles = [
    "order",
    *list(figure),
    f"{list(found)[-1]}, digits",
  ]
  lines = [
    "| " + " | ".join(cells) + " |"
    for cells in (titles, ["---", *["---:"] * (len(titles) - 1)], *rows)
  ]
  text = _TEXT.format(table="\n".join(lines), levels=_levels_table())
  path = folder / "orderings.md"
  try:
    path.write_text(text, encoding="utf-8")
  except OSError as e:
    raise errors.StorageError(f"cannot write {path}: {e.strerror}") from e


# Networks of the table of levels: title and section.
_NETWORKS = (
  ("PixelCNN, 3 x 3", dict(name="pixelcnn", first_kernel=3)),
  ("PixelCNN, 7 x 7 first", dict(name="pixelcnn")),
  ("gated PixelCNN", dict(name="gated_pixelcnn", layers=6, width=64)),
  ("Row LSTM", dict(name="pixel_rnn", cell="row_lstm", layers=7, width=64)),
  (
    "Diagonal BiLSTM",
    dict(name="pixel_rnn", cell="diagonal_bilstm", layers=7, width=64),
  ),
  ("GPT", dict(name="gpt", depth=1, width=8, heads=1, target=True)),
)
_LEVELS = ("raster", "snake", "hilbert", "diagonal", "checkerboard", "random")


def _levels_table():
  spec = DataSpec(SHAPE, 1, 2)
  head = registry.build("heads", dict(name="categorical"), spec)
  rows = [["network", *_LEVELS], ["---", *["---:"] * len(_LEVELS)]]
  for title, section in _NETWORKS:
    cells = [title]
    for name in _LEVELS:
      made = registry.build("orderings", dict(name=name), SHAPE)
      try:
        model = registry.build("models", section, spec, head, made)
      except ValueError:  # it does not take the order
        cells.append("")
        continue
      level_L = levels.of(model, spec.length, made.orders_KL[0])
      cells.append(str(level_L.max() + 1))
    rows.append(cells)
  return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


_TEXT = """# Orders

Written by `ar_jax show_order --gallery docs`. Any network that takes all
orders is trained in one of them by the argument of its config, as
`configs/digits_gpt.py:ordering=hilbert`; numbers and switches are overrides,
as `--config.ordering.share=0.2`, and orders within orders (`outer`, `inner`,
`of`, `to`, `start`, `end`) stand in a config of your own. One order alone, on
any shape:

    ar_jax show_order blocks --shape 28x28 --set size=[7,7] --out blocks.png

Brightness is the step at which a site is generated; the path starts at the
dot.

![The orders of a grid of 16 x 16](orderings.png)

On 16 x 16: the Euclidean distance between the sites of successive steps; how
many of the 8 neighbors of a site are known when it is generated, at 10, 50
and 90 % of the sites (their mean, 3.63, is that of every order), and the
share of sites that begin alone; Kendall's tau to the raster. On scikit-learn's
8x8 digits: the correlation of values that lie 1, 2 and 4 steps apart.

{table}

Families that are several orders: `all` (a new random one for each example),
`k_set` (one of K), `annealed` (random ones that become one order in training,
which is scored in that one). Where sub-pixels are sites, `planes` visits them
channel by channel, and the orders above pixel by pixel, but for `random`,
`interpolated` and `middle_out`, which are of sites. `from_file` reads an order
from an .npy, as `experiments/find_order.py` writes them.

## Dependency levels

The steps that remain on 16 x 16 when sites that do not need each other are
taken together, of 256; `ar_jax show_order --config=FILE.py` tells those of a
config's network.

{levels}
"""
