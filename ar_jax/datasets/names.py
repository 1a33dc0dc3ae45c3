"""Short texts, one a line, such as names: items that an end symbol fills.

The line end is the end symbol: it follows an item and fills the rest of its
sites, so the bytes of the figures are those of the file.
"""

import numpy as np

from ar_jax import corpus, errors, text
from ar_jax.types import Dataset, DataSpec, Split

TINY = [dict(path=__file__, length=96, unique=True)]


def make(
  *,
  path,
  length=16,
  level="char",
  split="0.8/0.1/0.1",
  seed=0,
  fill="unscored",
  unique=False,
):
  """The lines of UTF-8 files, shuffled by a seed and then split.

  Left to right, what follows the first end symbol is certain and weighs 0
  ("unscored"). In every other order the fill is seen before what it follows
  and gives the length away: all sites must weigh 1 ("scored"), which is the
  log-likelihood of item and length in another sense. The two figures are not
  compared; the protocol says which one it is.

  Args:
    path: files and globs, as in text_file. Empty lines are left out; a line
      ends with its file, or with "\\n" or "\\r\\n".
    length: sites; the longest item takes one less.
    level: "char" or "byte".
    split: fractions of the items, train/valid or train/valid/test.
    seed: of the shuffle before the split.
    fill: "unscored" or "scored".
    unique: whether a line that comes again is left out, so that no item of
      one split is in another.
  Raises:
    DataError: a line that is too long, a file without any, as well as what
      text_file raises.
  """
  if level not in ("char", "byte"):
    raise errors.UsageError(f"names takes level char or byte, got {level!r}")
  if fill not in ("unscored", "scored"):
    raise errors.UsageError(
      f"config.data.fill {fill!r} is neither unscored nor scored"
    )
  files = corpus.expand(path)
  lines = [line for file in files for line in _lines(file)]
  lines = list(dict.fromkeys(lines)) if unique else lines
  source = corpus.source(files)
  media = text.make_media(level, source, [*lines, "\n"])
  media = dict(media, end=int(text.encode(media, "\n")[0]), fill=fill)
  rows = [text.encode(media, line) for line in lines]
  longest = max(range(len(rows)), key=lambda i: len(rows[i]))
  if len(rows[longest]) >= length:
    raise errors.DataError(
      f"{source}: the item {lines[longest]!r} of {len(rows[longest])} tokens"
      f" does not fit config.data.length {length} with its end symbol; set"
      f" {len(rows[longest]) + 1} or more"
    )
  x_NL = np.full((len(rows), length), media["end"], np.int32)
  for row_L, row in zip(x_NL, rows, strict=True):
    row_L[: len(row)] = row
  parts = corpus.shuffled(split, len(rows), seed, f"items of {source}")
  splits = {n: _split(x_NL[index], media) for n, index in parts.items()}
  spec = DataSpec((length,), 1, text.num_values(media))
  return Dataset(spec, splits, media)


def _lines(file):
  lines = corpus.read_one(file).decode().split("\n")
  lines = [line.removesuffix("\r") for line in lines]
  lines = [line for line in lines if line]
  if not lines:
    raise errors.DataError(f"{file} holds empty lines only")
  return lines


def _split(x_NL, media):
  end_N = text.lengths(media, x_NL)
  weight_NL = np.ones(x_NL.shape, np.float32)
  if media["fill"] == "unscored":
    weight_NL[np.arange(x_NL.shape[1]) >= end_N[:, None]] = 0
  rows = zip(x_NL, end_N, strict=True)
  raw = b"".join(text.to_bytes(media, row[:end]) for row, end in rows)

  def get(index_B):
    return x_NL[index_B][..., None], weight_NL[index_B], {}

  scored = (
    "up to the end symbol"
    if media["fill"] == "unscored"
    else ("with the fill after the end symbol")
  )
  units = text.units_of(raw)
  return Split(len(x_NL), get, units=units, protocol=f"items {scored}", raw=raw)
