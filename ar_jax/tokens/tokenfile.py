"""Token files: a directory of SPLIT.bin, and the manifest that explains them.

A .bin is nothing but tokens, one after the other, little-endian. The manifest
is written last: a directory without one is unfinished. It holds

  format    1
  level, tokenizer (a hash), split, block    what `tokenwriter.write` was given
  inputs    {"IN": [{name, bytes, sha256}, ...], "--valid": ..., "--test": ...}
  dtype     "uint8", "uint16" or "uint32"
  media     what turns tokens into text; see text.py
  splits    {"train": {tokens, max_token, sha256, units: {byte, char, word}}}
"""

import json
import mmap
import pathlib

import numpy as np

from ar_jax import errors, registry

FORMAT = 1
MANIFEST = "manifest.json"
JOURNAL = "unfinished.jsonl"
SPLITS = ("train", "valid", "test")
DTYPES = ("uint8", "uint16", "uint32")
_FIGURES = ("tokens", "max_token", "sha256", "units")


def dtype_of(num_values):
  """The name of the smallest dtype that holds 0 .. num_values - 1."""
  return next(d for d in DTYPES if num_values <= np.iinfo(d).max + 1)


def little_endian(name):
  """The numpy dtype of a file."""
  return np.dtype(name).newbyteorder("<")


def folder_of(path):
  """The directory `path`; DataError where there is none."""
  if not path:
    raise errors.UsageError(
      "give the directory of token files as --config.data.path=DIR;"
      " `ar_jax data tokenize IN... --out=DIR` makes one"
    )
  folder = pathlib.Path(path).expanduser()
  if folder.is_dir():
    return folder
  if folder.is_file():
    raise errors.DataError(
      f"{folder.absolute()} is a file; token files are a directory, which"
      f" `ar_jax data tokenize {folder.name} --out=DIR` makes"
    )
  siblings = folder.parent.iterdir() if folder.parent.is_dir() else []
  near = registry.nearest(folder.name, [f.name for f in siblings if f.is_dir()])
  raise errors.DataError(f"no directory {folder.absolute()}{near}")


def read_manifest(folder):
  """The manifest of a directory; DataError where it has none that is whole."""
  file = folder / MANIFEST
  try:
    values = json.loads(file.read_text(encoding="utf-8"))
  except FileNotFoundError as e:
    if (folder / JOURNAL).exists():
      raise errors.DataError(
        f"{folder} is unfinished: run the same `ar_jax data tokenize` again"
      ) from e
    raise errors.DataError(
      f"{folder} holds no token files: there is no {MANIFEST};"
      " `ar_jax data tokenize IN... --out=DIR` makes a directory of them"
    ) from e
  except (OSError, ValueError) as e:
    raise errors.DataError(f"cannot read {file}: {e}") from e
  wrong = _wrong(values)
  if wrong:
    raise errors.DataError(
      f"{file} is no manifest that this version reads: {wrong}"
    )
  return values


def _wrong(values):
  """What keeps values from being a manifest, or None."""
  if not isinstance(values, dict) or "format" not in values:
    return "it has no format"
  if values["format"] != FORMAT:
    return f"its format is {values['format']!r}, not {FORMAT}"
  for key in ("dtype", "media", "splits"):
    if key not in values:
      return f"it lacks {key!r}"
  if values["dtype"] not in DTYPES:
    return f"its dtype {values['dtype']!r} is none of {', '.join(DTYPES)}"
  if "train" not in values["splits"]:
    return "it has no split 'train'"
  for name, figures in values["splits"].items():
    if name not in SPLITS:
      return f"its split {name!r} is none of {', '.join(SPLITS)}"
    lacks = [key for key in _FIGURES if key not in figures]
    if lacks:
      return f"its split {name!r} lacks {lacks[0]!r}"
  return None


def open_stream(folder, manifest, name):
  """The tokens of a split, mapped and not read.

  Returns:
    (token_T of the manifest's dtype, forget): `forget()` hands the pages that
    were read back to the system, which may keep them in its cache.
  Raises:
    DataError: a file of another length than the manifest says.
  """
  file = folder / f"{name}.bin"
  dtype = little_endian(manifest["dtype"])
  count = manifest["splits"][name]["tokens"]
  try:
    with file.open("rb") as f:
      _check_size(file, f.seek(0, 2), count, dtype)
      pages = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
  except OSError as e:
    raise errors.DataError(f"cannot read {file}: {e.strerror}") from e

  def forget():
    if hasattr(mmap, "MADV_DONTNEED"):
      pages.madvise(mmap.MADV_DONTNEED)

  return np.frombuffer(pages, dtype), forget


def _check_size(file, found, count, dtype):
  expected = count * dtype.itemsize
  if found == expected and count:
    return
  rest = found % dtype.itemsize
  torn = f", the last token torn after {rest}" if rest else ""
  raise errors.DataError(
    f"{file} has {found:,} bytes{torn}; its manifest says {expected:,}:"
    f" {count:,} tokens of {dtype.itemsize} bytes. Make it again in an empty"
    " directory"
  )
