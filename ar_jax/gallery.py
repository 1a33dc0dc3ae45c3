"""Pictures of orders, and the page that shows the families side by side."""

import numpy as np

from ar_jax import errors, levels, order_statistics, ordering, registry

# Title, section, shape: one for each family that is an order or has one.
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


def build(section, shape):
  """int [L], the order of a section.

  Raises:
    UsageError: a family that is not one order, or does not take the shape.
  """
  try:
    made = registry.build("orderings", section, shape)
    return ordering.only(made, section["name"])
  except ValueError as e:
    raise errors.UsageError(f"{section['name']}: {e}") from e


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
  made = [(title, build(section, SHAPE)) for title, section in ORDERS]
  draw(made, SHAPE, folder / "orderings.png")
  digits = registry.build(
    "datasets", dict(name="digits", labels=False, split="0.8/0.1/0.1", seed=0)
  )
  x_NL = digits.splits["train"].get(np.arange(digits.splits["train"].size))[0]
  rows = []
  for title, section in ORDERS:
    figure = figures(build(section, SHAPE), SHAPE)
    small = build(section, digits.spec.shape)
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
  text = _TEXT.format(table="\n".join(lines))
  path = folder / "orderings.md"
  try:
    path.write_text(text, encoding="utf-8")
  except OSError as e:
    raise errors.StorageError(f"cannot write {path}: {e.strerror}") from e


_TEXT = """# Orders

Written by `ar_jax show_order --gallery docs`. Any network that takes all
orders is trained in one of them by the argument of its config, as
`configs/digits_gpt.py:ordering=hilbert`; options are overrides, as
`--config.ordering.share=0.2`. One order alone, on any shape:

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
which is scored in that one). `planes` visits sub-pixels channel by channel,
all others pixel by pixel. `from_file` reads an order from an .npy, as
`experiments/find_order.py` writes them.
"""
