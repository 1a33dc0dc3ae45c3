"""Columns of a csv file as series of real values, at a declared resolution.

A value is a multiple n * delta of the resolution in original units, and the
figures are the nats of these n, whatever the transforms. Without "log" a bin
of the model is one n, and they are exact.

Under "log" the bins of n have many widths. A value is drawn uniformly, by a
fixed seed, from [log(n - 1/2), log(n + 1/2)], and `log_jacobian` is the log of
that width over the width of the model's bins. In the mean over these draws
the figure is an upper bound on the nats of n (Theis et al. 2016, arXiv
1511.01844, section 3.1), so no model can make it too good. The gap is the
mean of (width * slope of the log-density)^2 / 24: measured on a log-normal,
0.0003 nats at widths about 0.05 of its standard deviation, 0.004 at 0.2.

datasets/tiny_series/seasonal.csv is made, not measured: with s = sin(pi t / 6)
the columns of row t are t, load = 10 exp(0.4 s + a_t) and warmth = 12 - 9 s +
b_t, to 0.1, where a_t = 0.8 a_{t-1} + 0.1 e_t and b_t = 0.5 b_{t-1} + 2 f_t;
e_t, f_t = numpy.random.default_rng(0).standard_normal((240, 2))[t].
"""

import csv
import hashlib
import io
import math
import pathlib

import numpy as np

from ar_jax import corpus, data, errors, registry
from ar_jax.media import series
from ar_jax.types import Dataset, DataSpec, Split

_SEASONAL = pathlib.Path(__file__).parent / "tiny_series" / "seasonal.csv"
_TINY = dict(path=str(_SEASONAL), length=8, stride=4)
_BOTH = dict(columns=("load", "warmth"), delta=(0.1, 0.5))
TINY = [
  dict(_TINY, columns="load", delta=0.1, transforms=("standardize",)),
  dict(_TINY, columns="load", delta=0.1, transforms=series.TRANSFORMS),
  dict(_TINY, **_BOTH, transforms=("difference", "standardize"), length=4),
]

_MAX_BIN = 2**22  # numbers of bins that float32 holds apart, with room


def make(
  *,
  path,
  columns,
  delta,
  length=128,
  stride=64,
  split="0.8/0.2",
  transforms=("standardize",),
  delimiter=",",
):
  """Windows of a series that is split by time; several columns interleaved.

  The sites are rows by columns, each value scored given all rows before and
  the columns left of it. Training takes every window. Evaluation scores each
  value exactly once, except that under "difference" the first row of each
  split is not scored: the next is its difference to it. No window, and no
  difference, reaches from one split into another, and mean and scale are
  fitted on the train split alone.

  "standardize" divides by the standard deviation; several columns, which
  share one grid, by multiples of their resolutions that make it 1 in the
  geometric mean, or under "log" each by its own. Without "log" the mean is
  rounded to a multiple of delta, so that 0 is on the grid.

  Args:
    path: one csv file, the rows in order of time.
    columns: names in the first line, as "a,b" or ("a", "b"); or numbers from
      0, of a file without such a line.
    delta: the declared resolution in original units, one number or one for
      each column. Values are rounded to its multiples.
    length, stride: rows of a window, and between windows of evaluation.
    split: fractions of the rows, train/valid or train/valid/test.
    transforms: any of "log", "difference", "standardize", in this order.
    delimiter: between cells.
  Raises:
    DataError: a cell that is no finite number, with its line; values below
      delta under "log"; a column that does not vary; too few rows.
    UsageError: no such column, or an argument out of its range.
  """
  files = corpus.expand(path)
  if len(files) > 1:
    raise errors.UsageError(
      f"config.data.path names {len(files)} files; a series is one file"
    )
  names, value_TC = _read(files[0], _columns(columns), delimiter)
  delta_C = _resolution(delta, len(names))
  if not 1 <= stride <= length:
    raise errors.UsageError(
      f"config.data.stride {stride} must be in 1..{length}, the window"
    )
  n_TC = np.rint(value_TC / delta_C)
  source = files[0].name
  media = series.make_media(source, names, delta_C, transforms=transforms)
  if "log" in transforms and (n_TC < 1).any():
    t, c = np.argwhere(n_TC < 1)[0]
    raise errors.DataError(
      f"{source}: {value_TC[t, c]:g} in column {names[c]!r}, data row {t + 1},"
      f" is no positive multiple of delta {delta_C[c]:g}; leave out log"
    )
  parts = _cut(n_TC, split, length, media)
  arrays = n_TC, *_levels(n_TC, media)
  media, size = _fit(*(a[parts["train"]] for a in arrays), media)
  splits = {}
  for name, part in parts.items():
    train, own = name == "train", (a[part] for a in arrays)
    step = 1 if train else stride
    splits[name] = _split(*own, media, size, length, step, train)
  shape = (length,) if len(names) == 1 else (length, len(names))
  return Dataset(DataSpec(shape, 1, None, size), splits, media)


def _columns(columns):
  """Names, or ints."""
  given = columns.split(",") if isinstance(columns, str) else columns
  given = [given] if isinstance(given, int) else list(given)
  given = [str(column).strip() for column in given]
  if not given or "" in given or len(set(given)) < len(given):
    raise errors.UsageError(
      f"config.data.columns {columns!r}; allowed: different names, as a,b, or"
      " numbers from 0"
    )
  numbers = all(column.isdecimal() for column in given)
  return [int(column) for column in given] if numbers else given


def _resolution(delta, count):
  given = delta if isinstance(delta, tuple | list) else (delta,) * count
  for value in given:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if len(given) != count or not (number and 0 < value < math.inf):
      raise errors.UsageError(
        f"config.data.delta is {delta!r}; allowed: the resolution of the"
        f" values in original units, > 0, one or {count} of them"
      )
  return np.array(given, np.float64)


def _read(file, columns, delimiter):
  """(names, float64 [T, C]) of a csv file."""
  text = corpus.read_one(file).decode("utf-8-sig").rstrip("\r\n")
  lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
  names = [str(column) for column in columns]
  if isinstance(columns[0], str):
    header = [cell.strip() for cell in next(lines)]
    for column in columns:
      if header.count(column) != 1:
        raise errors.UsageError(
          f"{file.name} has {header.count(column)} columns named {column!r}"
          f"{registry.nearest(column, header)}; line 1 names:"
          f" {', '.join(header)}"
        )
    columns = [header.index(column) for column in columns]
  rows = []
  for cells in lines:
    cells = cells or [""]
    where = f"{file.name}, line {lines.line_num}"
    if len(cells) <= max(columns):
      raise errors.DataError(
        f"{where}: {len(cells)} cells, column {max(columns)} (from 0) is"
        " wanted; mend or cut the line"
      )
    pairs = zip(names, columns, strict=True)
    rows.append([_number(cells[c], name, where) for name, c in pairs])
  if not rows:
    raise errors.DataError(f"{file.name} has no rows of values")
  return names, np.array(rows)


def _number(cell, name, where):
  try:
    value = float(cell)
  except ValueError:
    value = math.nan
  if math.isfinite(value):
    return value
  what = repr(cell.strip()) if cell.strip() else "a missing value"
  raise errors.DataError(
    f"{where}: {what} in column {name!r} is no finite number; fill it in, or"
    " cut the file to rows without gaps"
  )


def _cut(n_TC, split, length, media):
  """{split: slice of rows}, consecutive parts."""
  unit, ends = corpus.marks(split, math.inf, lambda: len(n_TC))
  if unit != "char":
    raise errors.UsageError(
      f"config.data.split {split!r}: rows are split by fractions, as 0.8/0.2"
    )
  starts, needed = [0, *ends], length + ("difference" in media["transforms"])
  parts = zip(corpus.NAMES, starts, ends, strict=False)
  parts = {name: slice(a, b) for name, a, b in parts}
  for name, part in parts.items():
    rows = part.stop - part.start
    if rows < needed:
      raise errors.DataError(
        f"{media['source']}: {rows} rows of the {name} split of {split!r} are"
        f" fewer than {needed} for a window; give more rows, or lower"
        " config.data.length"
      )
  return parts


def _levels(n_TC, media):
  """(values to scale, or to take differences of, width of each n in them)."""
  if "log" not in media["transforms"]:
    return n_TC * media["delta"], np.broadcast_to(media["delta"], n_TC.shape)
  low_TC, high_TC = np.log(n_TC - 0.5), np.log(n_TC + 0.5)
  # Rows are drawn in order, so a longer file repeats the shorter one.
  share_TC = np.random.default_rng(0).random(n_TC.shape)
  width_TC = high_TC - low_TC
  return low_TC + share_TC * width_TC + np.log(media["delta"]), width_TC


def _differences(level_TC, media):
  """What is left to center and scale."""
  rows = "difference" in media["transforms"]
  return np.diff(level_TC, axis=0) if rows else level_TC


def _fit(n_TC, level_TC, width_TC, media):
  """(media with mean, scale and start, width of a bin), of the train split."""
  delta_C, u_TC = np.array(media["delta"]), _differences(level_TC, media)
  log, standardize = (n in media["transforms"] for n in ("log", "standardize"))
  width_C = np.exp(np.log(width_TC).mean(0))
  mean_C, scale_C = np.zeros(len(delta_C)), np.ones(len(delta_C))
  if standardize:
    # Under log the draws vary, even where the values do not.
    _check_varies(n_TC if log else _differences(n_TC, media), media)
    mean_C, scale_C = u_TC.mean(0), u_TC.std(0)
  if log:
    size = (width_C / scale_C).min() / 4  # so that rounding adds no gap
  else:
    wide_C = delta_C / scale_C
    size = math.exp(np.log(wide_C).mean()) if standardize else wide_C.max()
    mean_C, scale_C = np.rint(mean_C / delta_C) * delta_C, delta_C / size
  numbers = dict(mean=mean_C, scale=scale_C, start=n_TC[0] * delta_C)
  numbers = {name: (a + 0.0).tolist() for name, a in numbers.items()}  # no -0
  return media | numbers, float(size)


def _check_varies(n_TC, media):
  for name, same in zip(
    media["columns"], (n_TC == n_TC[0]).all(0), strict=True
  ):
    if same:
      raise errors.DataError(
        f"{media['source']}: column {name!r} does not vary in the train split"
        f" after {', '.join(media['transforms'])}; leave it out"
      )


def _split(n_TC, level_TC, width_TC, media, size, length, stride, train):
  """Windows of a part of the series; size: width of a bin."""
  scale_C, u_TC = np.array(media["scale"]), _differences(level_TC, media)
  bin_TC = np.floor((u_TC - media["mean"]) / (scale_C * size) + 0.5)
  if np.abs(bin_TC).max() > _MAX_BIN:
    raise errors.DataError(
      f"{media['source']}: values lie {np.abs(bin_TC).max():.0f} bins from the"
      f" mean, over {_MAX_BIN}, where float32 blurs them; declare a coarser"
      " delta"
    )
  x_TC = (bin_TC * size).astype(np.float32)
  jacobian_TC = np.log(width_TC / (scale_C * size))[-len(x_TC) :]
  start_N = data.window_starts(len(x_TC), length, stride)
  scored_N = np.concatenate([[0], start_N[:-1] + length])
  scored_N = np.zeros_like(scored_N) if train else scored_N

  def rows(index_B):
    return start_N[index_B][:, None] + np.arange(length)

  def get(index_B):
    at_BT = rows(index_B)
    x_BL1 = x_TC[at_BT].reshape(len(at_BT), -1, 1)
    weight_BT = (at_BT >= scored_N[index_B][:, None]).astype(np.float32)
    return x_BL1, weight_BT.repeat(x_TC.shape[1], 1), {}

  def log_jacobian(index_B):
    return jacobian_TC[rows(index_B)].reshape(len(index_B), -1)

  first = "given" if "difference" in media["transforms"] else "scored"
  content = n_TC.astype(np.int64).tobytes() + repr(media["delta"]).encode()
  return Split(
    len(start_N),
    get,
    units=dict(value=x_TC.size),
    protocol="crops" if train else f"w{length}/s{stride}/first row {first}",
    fingerprint=hashlib.sha256(content).hexdigest(),
    log_jacobian=log_jacobian if "log" in media["transforms"] else None,
  )
