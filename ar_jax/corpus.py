"""A text and its splits: from bytes of files to windows of tokens."""

import glob
import itertools
import math
import pathlib
import re

import numpy as np

from ar_jax import data, errors, registry, text
from ar_jax.types import Dataset, DataSpec

NAMES = ("train", "valid", "test")
_SUFFIX = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def dataset(parts, media, *, length, stride, protocol):
  """The Dataset of texts by split; "train" gives every window of its text.

  Args:
    parts: {split: bytes}, "train" among them.
    media: of text.make_media.
    length: sites of a window.
    stride: tokens between evaluation windows; unread by "nanogpt".
    protocol: "strided": each token once, the first one too; "nanogpt":
      disjoint windows whose sites have 1 .. length - 1 tokens of context,
      a split's first token is not scored (karpathy/nanoGPT, train.py).
  """
  spec = DataSpec((length,), 1, text.num_values(media))
  stride, first_scored, words = windowing(protocol, length, stride)
  splits = {}
  for name, raw in parts.items():
    token_T = text.encode_bytes(media, raw)
    try:
      if name == "train":
        splits[name] = data.crops(token_T, length, raw=raw, protocol="crops")
        continue
      skipped = text.to_bytes(media, token_T[: 0 if first_scored else 1])
      splits[name] = data.windows(
        token_T,
        length,
        stride,
        first_scored=first_scored,
        units=text.units_of(raw[len(skipped) :]),
        raw=raw,
        protocol=words,
      )
    except errors.DataError as e:
      raise errors.DataError(f"{name} split of {media['source']}: {e}") from e
  return Dataset(spec, splits, media)


def windowing(protocol, length, stride):
  """(stride, whether the first token is scored, the words of a record)."""
  known = dict(
    strided=(stride, True, f"w{length}/s{stride}/first site scored"),
    nanogpt=(
      length - 1,
      False,
      f"nanogpt: disjoint windows, 1..{length - 1} tokens of context",
    ),
  )
  if protocol not in known:
    raise errors.UsageError(
      f"config.data.protocol {protocol!r} is none of {', '.join(known)}"
    )
  return known[protocol]


def cut(raw, split, level, key="config.data.split"):
  """Consecutive parts of UTF-8 bytes, {"train": ..., "valid": ..., ...}.

  Args:
    raw: bytes.
    split: "0.9/0.1", fractions of the characters (nanoGPT's cut: rounded
      down), or "90M/5M/5M", bytes; train/valid or train/valid/test. What is
      left over stays out.
    level: of the media; "byte" cuts at the very byte, others at the next
      character.
    key: what the user gave the split as, for messages.
  """
  unit, ends = marks(split, len(raw), lambda: int(_begins(raw).sum()), key)
  if unit == "char":
    begins = np.append(np.flatnonzero(_begins(raw)), len(raw))
    ends = [int(begins[end]) for end in ends]
  if level != "byte":
    ends = [_next_character(raw, end) for end in ends]
  starts = [0, *ends]
  names = NAMES[: len(ends)]
  return {n: raw[a:b] for n, a, b in zip(names, starts, ends, strict=False)}


def marks(split, num_bytes, count_chars, key="config.data.split"):
  """Where the parts of a text end: ("char" or "byte", how many of them).

  Args:
    split: of `cut`.
    num_bytes: of the text.
    count_chars: () -> characters of the text; called for fractions only.
    key: what the user gave the split as, for messages.
  """
  *words, unit = _sizes(split, key)
  ends = list(itertools.accumulate(words))
  if unit == "fraction":
    total = count_chars()
    return "char", [min(total, int(total * end + 1e-9)) for end in ends]
  if ends[-1] > num_bytes:
    raise errors.DataError(
      f"{key} {split!r} needs {ends[-1]:,} bytes, the text has {num_bytes:,}"
    )
  return "byte", ends


def fractions(split, total, what):
  """{split: (first, end)} of so many items, by fractions of them.

  Args:
    split: of `cut`, fractions only.
    total: how many there are.
    what: they are, for messages, as "files".
  Raises:
    UsageError: a split by bytes. DataError: one that gets none.
  """
  unit, ends = marks(split, math.inf, lambda: total)
  if unit != "char":
    raise errors.UsageError(
      f"config.data.split {split!r}: {what} are split by fractions, as 0.9/0.1"
    )
  bounds = zip(NAMES, zip([0, *ends], ends, strict=False), strict=False)
  parts = dict(bounds)
  for name, (first, end) in parts.items():
    if first == end:
      raise errors.DataError(
        f"{total:,} {what} leave none for the {name} split of {split!r}"
      )
  return parts


def shuffled(split, total, seed, what):
  """{split: numbers of its items}, shuffled by the seed; see `fractions`."""
  order = np.random.default_rng(seed).permutation(total)
  parts = fractions(split, total, what)
  return {name: order[a:b] for name, (a, b) in parts.items()}


def _sizes(split, key):
  """[0.9, 0.1, "fraction"] or [90000000, 5000000, "byte"]."""
  message = (
    f"{key} {split!r} is neither fractions, as 0.9/0.1, nor bytes,"
    " as 90M/5M/5M, of train/valid or train/valid/test"
  )
  parts = [part.strip() for part in str(split).split("/")]
  if not 2 <= len(parts) <= len(NAMES):
    raise errors.UsageError(message)
  if all(re.fullmatch(r"0?\.\d+", part) for part in parts):
    sizes = [float(part) for part in parts]
    if min(sizes) <= 0 or sum(sizes) > 1 + 1e-9:
      raise errors.UsageError(f"{message}; fractions are > 0, their sum <= 1")
    return [*sizes, "fraction"]
  found = [re.fullmatch(r"(\d+)([KMG]?)B?", part) for part in parts]
  if not all(found) or not all(int(m[1]) for m in found):
    raise errors.UsageError(message)
  return [*(int(m[1]) * _SUFFIX[m[2]] for m in found), "byte"]


def _begins(raw):
  """bool by byte: whether a character begins; those are not 0b10xxxxxx."""
  return (np.frombuffer(raw, np.uint8) & 0xC0) != 0x80


def _next_character(raw, at):
  while at < len(raw) and raw[at] & 0xC0 == 0x80:
    at += 1
  return at


def read(pattern, key="config.data.path"):
  """The bytes of the files that `pattern` names, one after the other.

  Raises:
    UsageError: none is named. DataError: no such file, an empty one, or one
      that is not UTF-8.
  """
  return b"".join(map(read_one, expand(pattern, key)))


def read_one(file):
  """The bytes of a file; DataError where they are not UTF-8."""
  raw = file.read_bytes()
  decode(raw, file)
  return raw


def read_parts(patterns):
  """{key: bytes} of what is read for different ends: no file is in two.

  Args:
    patterns: {what the user gave it as: pattern of `expand`}.
  """
  files = {key: expand(pattern, key) for key, pattern in patterns.items()}
  key_of = {}
  for key, found in files.items():
    for file in found:
      other = key_of.setdefault(file.resolve(), key)
      if other != key:
        raise errors.DataError(
          f"{key}: {file} is also in {other}; give each file to one of them"
        )
  return {k: b"".join(map(read_one, found)) for k, found in files.items()}


def source(files):
  """The name of a text from files, for messages."""
  more = f" and {len(files) - 1} more" if len(files) > 1 else ""
  return f"{files[0].name}{more}"


def decode(raw, file, offset=0):
  """The text of UTF-8 bytes; DataError, with what is none and where.

  Args:
    raw: bytes that lie at `offset` of the file.
    file: name, for messages.
    offset: in bytes.
  """
  try:
    return raw.decode()
  except UnicodeDecodeError as e:
    raise errors.DataError(
      f"{file} is not UTF-8: byte 0x{raw[e.start]:02x} at offset"
      f" {offset + e.start}; convert the file, as iconv does"
    ) from e


def expand(pattern, key="config.data.path"):
  """The files that paths and globs name, in order; each holds something.

  Args:
    pattern: "a.txt,more/*.txt"; the files of a glob are sorted.
    key: what the user gave it as, for messages.
  Raises:
    UsageError: no file is named. DataError: one is not there, is empty, or is
      named twice.
  """
  parts = [part for part in map(str.strip, pattern.split(",")) if part]
  if not parts:
    raise errors.UsageError(f"give the text file as --{key}=FILE")
  if pathlib.Path(pattern).expanduser().exists():
    parts = [pattern]
  found, seen = [], set()
  for part in parts:
    path = pathlib.Path(part).expanduser()
    matches = []
    if glob.has_magic(part) and not path.exists():
      matches = sorted(glob.glob(str(path), recursive=True))
    files = [f for f in map(pathlib.Path, matches) if f.is_file()] or [path]
    for file in files:
      _check_file(file, key)
      if file.resolve() in seen:
        raise errors.DataError(
          f"{key}: {file} is named twice; name each file once"
        )
      seen.add(file.resolve())
    found += files
  return found


def _check_file(file, key):
  """DataError unless `file` is one that holds something."""
  if not file.is_file():
    folder = file.parent
    siblings = [f.name for f in folder.iterdir()] if folder.is_dir() else []
    what = (
      f"{file.absolute()} is a folder"
      if file.is_dir()
      else (f"no file {file.absolute()}")
    )
    raise errors.DataError(
      f"{key}: {what}{registry.nearest(file.name, siblings)}"
    )
  if not file.stat().st_size:
    raise errors.DataError(f"{key}: {file} is empty")
