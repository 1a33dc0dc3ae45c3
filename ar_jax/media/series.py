"""Series of numbers: from the values a model sees to original units.

`media` is the JSON data that a run keeps to write its own series:

  dict(kind="series", columns=["load"], transforms=["log", "standardize"],
       mean=[...], scale=[...], delta=[...], start=[...], fitted="train",
       source=name)

Of each column: the declared resolution `delta` in original units, and the
numbers of the transforms. A value of the model is z = (u - mean) / scale,
where u is the value, its log under "log", or the difference of the one or
the other to the row before under "difference"; `start` is the row, in
original units, that the first difference was taken to.
Sites run through time, and at each time through the columns.
"""

import pathlib

import numpy as np

from ar_jax import errors
from ar_jax.media import _look

TRANSFORMS = ("log", "difference", "standardize")  # in the order they apply
_LINE = "#2f6fb3"


def make_media(
  source,
  columns,
  delta,
  *,
  transforms=(),
  mean=None,
  scale=None,
  start=None,
  fitted="train",
):
  """The media of a series.

  Args:
    source: name, for messages.
    columns: names.
    delta: resolution of each column in original units.
    transforms: names out of TRANSFORMS, in that order.
    mean, scale, start: numbers of each column; None: 0, 1 and 0.
    fitted: the split that mean and scale come from.
  Raises:
    UsageError: transforms that do not exist, or in another order.
  """
  if list(transforms) != [name for name in TRANSFORMS if name in transforms]:
    raise errors.UsageError(
      f"config.data.transforms {tuple(transforms)!r}; allowed: any of"
      f" {', '.join(TRANSFORMS)}, each once and in this order"
    )
  numbers = dict(delta=delta, mean=mean, scale=scale, start=start)
  empty = dict(mean=0.0, scale=1.0, start=0.0)
  for name, values in numbers.items():
    values = [empty[name]] * len(columns) if values is None else values
    numbers[name] = [float(value) for value in values]
    if len(values) != len(columns):
      raise ValueError(f"{name} of {len(columns)} columns: got {values}")
  return dict(
    kind="series",
    columns=list(columns),
    transforms=list(transforms),
    **numbers,
    fitted=fitted,
    source=source,
  )


def decode(media, x, start=None):
  """Values in original units, multiples of delta: float64 [..., T, columns].

  Under "log" values come back to the bin they lay in, and no closer; under
  "log" and "difference" what is lost in the bins adds up along the rows.

  Args:
    media: of make_media.
    x: values of the model, [..., L, 1].
    start: the row before the first, in original units, [..., columns]; used
      under "difference"; None: the media's own.
  """
  columns, transforms = media["columns"], media["transforms"]
  x = np.asarray(x, np.float64)
  x = x.reshape(*x.shape[:-2], -1, len(columns))
  x = x * media["scale"] + media["mean"]
  if "difference" in transforms:
    start = np.asarray(media["start"] if start is None else start, np.float64)
    base = np.log(start) if "log" in transforms else start
    x = base[..., None, :] + x.cumsum(-2)
  x = np.exp(x) if "log" in transforms else x
  return np.rint(x / media["delta"]) * media["delta"]


def save(media, x_LC, folder, name):
  """Writes NAME.csv and NAME.png; returns the two paths.

  Args:
    media: of make_media.
    x_LC: values of the model [L, 1], whole rows.
    folder: exists.
    name: of the files, without a suffix.
  """
  value_TC = decode(media, x_LC)
  path = pathlib.Path(folder) / f"{name}.csv"
  picture = path.with_name(f"{name}.png")
  write(media, value_TC, path)
  draw(media, value_TC, picture, name)
  return [path, picture]


def write(media, value_TC, path):
  """Values as a csv file with a header, as read by datasets/series_file."""
  import csv

  # rint(x / delta) * delta ends in dust such as 0.30000000000000004.
  rows = [[f"{value:.12g}" for value in row] for row in value_TC.tolist()]
  with open(path, "w", newline="", encoding="utf-8") as file:
    csv.writer(file, lineterminator="\n").writerows([media["columns"], *rows])


def draw(media, value_TC, path, title):
  """A line for each column, one above the other."""
  import matplotlib
  from matplotlib.figure import Figure

  columns = media["columns"]
  with matplotlib.rc_context(_look.LOOK):
    size = 7, 0.7 + 1.5 * len(columns)
    figure = Figure(figsize=size, layout="constrained")
    axes_C = figure.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    dots = dict(marker="o", ms=2) if len(value_TC) <= 100 else {}
    for axes, values_T, column in zip(axes_C, value_TC.T, columns, strict=True):
      axes.plot(values_T, color=_LINE, lw=0.9, **dots)
      axes.set_ylabel(column)
      axes.margins(x=0.01)
    words = f"{title}  ({media['source']})"
    axes_C[0].set_title(words, loc="left", fontsize=8)
    axes_C[-1].set_xlabel("step")
    axes_C[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=150)
