"""Text larger than memory: files as one text, in blocks cut where it is safe.

Blocks lie `size` bytes apart. Where a block really begins is decided by the
text around that place alone, so the blocks can be read in any order and by
any process, and together hold every byte once.
"""

import bisect
import itertools
from typing import NamedTuple

import numpy as np

from ar_jax import corpus, errors, text

SIZE = 2**23
_REACH = 2**16  # bytes after its place within which a safe cut is looked for
_LONGEST = 3  # bytes of a UTF-8 character after its first


class Source(NamedTuple):
  """Files that are read one after the other, as `cat` does.

  starts: byte offset of each file, then the end of the last.
  """

  paths: list[str]
  starts: list[int]

  @property
  def size(self):
    """Bytes of all files."""
    return self.starts[-1]


class Span(NamedTuple):
  """Bytes of one file; last: whether the file ends with them."""

  path: str
  offset: int
  count: int
  last: bool


class Block(NamedTuple):
  """What `load` needs to know.

  spans: of the bytes from its place to its end and `reach` further.
  count: bytes from its place to that of the next block.
  first, last: whether it begins or ends at its very place.
  """

  spans: list[Span]
  count: int
  reach: int
  first: bool
  last: bool


def source(patterns, key):
  """The Source of paths and globs; DataError for a file that is not there.

  Args:
    patterns: list of what corpus.expand takes.
    key: what the user gave them as, for messages.
  """
  files = [f for pattern in patterns for f in corpus.expand(pattern, key)]
  sizes = (f.stat().st_size for f in files)
  return Source([str(f) for f in files], [0, *itertools.accumulate(sizes)])


def spans(source, start, stop):
  """The Spans of bytes [start, stop) of a Source."""
  found = []
  for i in range(bisect.bisect(source.starts, start) - 1, len(source.paths)):
    begin, end = source.starts[i : i + 2]
    if begin >= stop:
      break
    a, b = max(start, begin), min(stop, end)
    found.append(Span(source.paths[i], a - begin, b - a, b == end))
  return found


def read(spans):
  """Their bytes, joined; DataError where a file does not have them."""
  return b"".join(_read(s.path, s.offset, s.count) for s in spans)


def _read(path, offset, count, more=0):
  """`count` bytes of a file, and up to `more` after them."""
  try:
    with open(path, "rb") as f:
      f.seek(offset)
      raw = f.read(count + more)
  except OSError as e:
    raise errors.DataError(f"cannot read {path}: {e.strerror}") from e
  if len(raw) < count:
    raise errors.DataError(
      f"{path} became shorter while it was read: it ends at byte"
      f" {offset + len(raw):,}, not after {offset + count:,}"
    )
  return raw


def scan(spans, alphabet):
  """Counts the characters that begin in spans, and checks that they are UTF-8.

  Args:
    spans: list of Span.
    alphabet: whether to collect the characters.
  Returns:
    dict(char=how many, alphabet=str of those seen, sorted).
  Raises:
    DataError: bytes that are no UTF-8, with file and offset.
  """
  count, seen = 0, set()
  for span in spans:
    more = 0 if span.last else _LONGEST
    raw = _read(span.path, span.offset, span.count, more)
    first = _torn(raw) if span.offset else 0
    last = span.count + _torn(raw[span.count :])
    part = corpus.decode(raw[first:last], span.path, span.offset + first)
    count += len(part)
    if alphabet:
      seen.update(part)
  return dict(char=count, alphabet="".join(sorted(seen)))


def _torn(raw):
  """How many bytes at the start belong to a character before them."""
  head = raw[: _LONGEST + 1]
  count = next((i for i, b in enumerate(head) if b & 0xC0 != 0x80), len(head))
  return min(count, _LONGEST)


def next_character(source, at):
  """The first place from byte `at` on where a character begins."""
  return at + _torn(read(spans(source, at, min(at + _LONGEST, source.size))))


def after(source, start, stop, count):
  """The byte where character `count` of those in [start, stop) begins."""
  code = np.frombuffer(read(spans(source, start, stop)), np.uint8)
  return start + int(np.flatnonzero((code & 0xC0) != 0x80)[count])


def blocks(source, start, stop, size):
  """Yields the Blocks of bytes [start, stop) of a Source."""
  reach = min(_REACH, size // 2)
  # A rest too short to look for a cut in belongs to the last block.
  places = range(start, max(start + 1, stop - reach), size)
  for at in places:
    last = at == places[-1]
    end = stop if last else at + size
    near = spans(source, at, min(end + reach, stop))
    yield Block(near, end - at, reach, at == start, last)


def load(block):
  """The bytes of a Block."""
  raw = read(block.spans)
  begin = 0 if block.first else _safe(raw[: block.reach])
  end = len(raw)
  if not block.last:
    end = block.count + _safe(raw[block.count :])
  return raw[begin:end]


def _safe(window):
  """Where text.chunks would cut a window of bytes."""
  torn = _torn(window)
  words = window[torn:].decode(errors="ignore")  # its last character is torn
  size = (len(words) - 1) // 2
  if size < 1:
    return torn
  return torn + len(next(text.chunks(words, size)).encode())
