"""Text that was turned into tokens beforehand, read from disk as needed.

`ar_jax data tokenize IN... --out=DIR` makes the directory; see tokenfile.py.
It may be larger than memory.
"""

import pathlib

import numpy as np

from ar_jax import corpus, data, errors, text
from ar_jax.tokens import tokenfile
from ar_jax.types import Dataset, DataSpec

_SAMPLE = pathlib.Path(__file__).parent / "tiny_tokens"
TINY = [dict(path=str(_SAMPLE), length=16, stride=8)]

_HEAD = 64  # tokens whose text shows what leaving out the first one changes


def make(*, path, length=256, stride=128, protocol="strided"):
  """The splits of a directory of token files, as windows.

  The same text gives the same items as from text_file; compressors have no
  bytes of it, and the n-grams would read it whole.

  Args:
    path: the directory.
    length, stride, protocol: of the windows; see corpus.dataset.
  Raises:
    DataError: no such directory, an unfinished one, files of another length
      than the manifest says, a split shorter than a window; from `get`, a
      token that is none.
  """
  folder = tokenfile.folder_of(path)
  manifest = tokenfile.read_manifest(folder)
  media = manifest["media"]
  num_values = text.num_values(media)
  stride, first_scored, words = corpus.windowing(protocol, length, stride)
  splits = {}
  for name, figures in manifest["splits"].items():
    token_T, forget = tokenfile.open_stream(folder, manifest, name)
    file = folder / f"{name}.bin"
    if figures["max_token"] >= num_values:
      raise errors.DataError(
        f"{file}: its largest token is {figures['max_token']}, the tokenizer in"
        f" the manifest has {num_values:,} values: it is another one"
      )
    fields = dict(fingerprint=figures["sha256"])
    try:
      if name == "train":
        apart = 1
        split = data.crops(token_T, length, protocol="crops", **fields)
      else:
        apart = stride
        fields.update(units=figures["units"], protocol=words)
        if not first_scored:
          # What is no token is for `get` to name.
          head_T = np.minimum(token_T[:_HEAD], num_values - 1)
          fields["units"] = _without_first(media, head_T, figures["units"])
        fields["first_scored"] = first_scored
        split = data.windows(token_T, length, stride, **fields)
    except errors.DataError as e:
      raise errors.DataError(f"{file}: {e}") from e
    splits[name] = _guarded(split, file, num_values, length, apart, forget)
  return Dataset(DataSpec((length,), 1, num_values), splits, media)


def _without_first(media, head_T, units):
  """Units of a stream without its first token."""
  whole = text.to_bytes(media, head_T)
  rest = whole[len(text.to_bytes(media, head_T[:1])) :]
  more, less = text.units_of(whole), text.units_of(rest)
  return {unit: n - more[unit] + less[unit] for unit, n in units.items()}


def _guarded(split, file, num_values, length, stride, forget):
  """The split, whose `get` refuses what is no token and keeps no pages."""

  def get(index_B):
    x_BLC, weight_BL, y = split.get(index_B)
    forget()
    # As unsigned, what is below 0 is too large as well.
    if x_BLC.view(np.uint32).max(initial=0) >= num_values:
      starts = data.window_starts(len(split.stream), length, stride)
      wrong = x_BLC[..., 0].view(np.uint32) >= num_values
      at_BL = starts[index_B][:, None] + np.arange(length)
      offset = int(at_BL[wrong].min())
      raise errors.DataError(
        f"{file}: token {split.stream[offset]} at offset {offset:,} is none of"
        f" the {num_values:,} values 0..{num_values - 1}; the file is damaged,"
        " make it again in an empty directory"
      )
    return x_BLC, weight_BL, y

  return split._replace(get=get)
