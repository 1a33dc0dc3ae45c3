"""The bars of the byte compressors in the standard library."""

import bz2
import lzma
import math

from ar_jax.types import DataSpec

TINY = [dict(spec=DataSpec((5,), num_values=4))]

_COMPRESS = {
  "bzip2": lambda raw: bz2.compress(raw, 9),
  "xz": lambda raw: lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME),
}


def make(spec):
  """What the raw bytes of a split cost after those of the training split.

  A model has seen the training data, so a compressor may as well: the cost is
  C(train + split) - C(train). Two limits are the programs' own: bzip2 forgets
  what lies outside its block of 900 kB, and xz ends on a multiple of 4 bytes.

  Returns:
    fit(train) -> score; score(split) -> {"bzip2": nats, "xz": nats} of all of
    `split.raw`, whatever the weights exclude; {} where either split has none.
  """
  del spec  # Bytes are bytes.

  def fit(train):
    if train.raw is None:
      return lambda split: {}
    known = {name: len(c(train.raw)) for name, c in _COMPRESS.items()}

    def score(split):
      if split.raw is None:
        return {}
      raw = train.raw + split.raw
      return {
        name: (len(compress(raw)) - known[name]) * 8 * math.log(2)
        for name, compress in _COMPRESS.items()
      }

    return score

  return fit
