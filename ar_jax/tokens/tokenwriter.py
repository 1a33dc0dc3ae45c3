"""Files of text to token files: in parallel, and resumable at any moment.

Workers turn blocks of the input into tokens; this process alone writes them,
block after block, and notes each in a journal once it is on disk. A run that
was killed is started again by the same call: its files are cut back to what
the journal knows, and it goes on there. What a block holds depends on the
input alone, so the result is that of a calm run, byte for byte.
"""

import contextlib
import functools
import hashlib
import itertools
import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from ar_jax import corpus, errors, text
from ar_jax.tokens import blocks, pool, tokenfile
from ar_jax.tokens import journal as journals

_SETTINGS = ("format", "level", "tokenizer", "split", "block")


class Written(NamedTuple):
  """A finished directory: its manifest, blocks done now and found done."""

  manifest: dict
  done: int
  kept: int


class _Work(NamedTuple):
  """What every stage needs."""

  out: pathlib.Path
  sources: dict
  journal: Any
  each: Any
  view: Any


def write(
  out,
  patterns,
  *,
  level="char",
  tokenizer="",
  split="0.9/0.1",
  valid=(),
  test=(),
  workers=2,
  block=blocks.SIZE,
  view=lambda what, done, total: None,
):
  """Makes a directory of token files, or finishes one; see tokenfile.py.

  The streams are those of the text_file data set, if the tokenizer joins
  nothing across a space after a letter or digit. Memory does not grow with
  the input, the vocabulary of level char aside. A script that calls this with
  several workers needs `if __name__ == "__main__":`, as for multiprocessing.

  Args:
    out: the directory.
    patterns: list of paths and globs, read one after the other.
    level, tokenizer: of text.make_media.
    split: of corpus.cut; unread where there is `valid`.
    valid, test: lists of paths and globs of these splits.
    workers: processes; 1: this one.
    block: bytes of input that a worker holds at a time.
    view: called with what is being done, the bytes done and all bytes.
  Returns:
    Written.
  Raises:
    UsageError: the directory was made of other inputs or settings, or another
      process writes it. DataError: inputs that cannot be read, or are not
      UTF-8. StorageError: the disk is full, or a worker died; what is written
      stays, and the same call goes on from there.
  """
  out = pathlib.Path(out).expanduser()
  given = dict(IN=patterns, valid=valid, test=test)
  sources = {
    name: blocks.source(these, name if name == "IN" else f"--{name}")
    for name, these in given.items()
    if these or name == "IN"
  }
  source = corpus.source([pathlib.Path(p) for p in sources["IN"].paths])
  media = None
  if level != "char":  # whose vocabulary is not known yet
    media = text.make_media(level, source, tokenizer=tokenizer)
  if valid:
    split = None
  else:
    corpus.marks(split, sources["IN"].size, lambda: 0, "--split")
  job = dict(
    format=tokenfile.FORMAT,
    level=level,
    tokenizer=_hash_json(media["tokenizer"]) if level == "bpe" else None,
    split=split,
    block=block,
  )
  with _storing(out), pool.workers(workers) as each:
    job["inputs"] = _inputs(sources, each, view)
    if (out / tokenfile.MANIFEST).exists():
      manifest = tokenfile.read_manifest(out)
      _check_same(out, manifest, job)
      (out / tokenfile.JOURNAL).unlink(missing_ok=True)
      return Written(manifest, 0, 0)
    with _open_journal(out, job) as journal:
      work = _Work(out, sources, journal, each, view)
      kept = len(journal.lines) - 1
      scans = _scan(work, block, alphabet=level == "char")
      parts = _parts(sources, scans, split, level, block)
      if level == "char":
        seen = _alphabet(sources, scans, parts, block)
        media = text.make_media(level, source, [seen])
      manifest = dict(job, **_tokenize(work, parts, media, block))
      _seal(out, manifest)
      return Written(manifest, len(journal.lines) - 1 - kept, kept)


def _hash_json(values):
  raw = json.dumps(values, sort_keys=True).encode()
  return hashlib.sha256(raw).hexdigest()


def _inputs(sources, each, view):
  """{source: [dict(name, bytes, sha256) of each file]}."""
  done, total = 0, sum(s.size for s in sources.values())
  found = {}
  for name, source in sources.items():
    rows = found[name] = []
    hashes = each(_sha256, ((path,) for path in source.paths))
    sizes = (b - a for a, b in itertools.pairwise(source.starts))
    for path, size, sha256 in zip(source.paths, sizes, hashes, strict=True):
      rows.append(dict(name=pathlib.Path(path).name, bytes=size, sha256=sha256))
      done += size
      view("checking the input", done, total)
  return found


def _sha256(path):
  try:
    with open(path, "rb") as f:
      return hashlib.file_digest(f, "sha256").hexdigest()
  except OSError as e:
    raise errors.DataError(f"cannot read {path}: {e.strerror}") from e


def _check_same(out, old, new):
  """UsageError, naming what differs, unless two jobs are the same."""
  what = _difference(old, new)
  if what:
    raise errors.UsageError(
      f"{out} was made otherwise: {what}; choose another --out, or remove it"
    )


def _difference(old, new):
  for key in _SETTINGS:
    if old.get(key) != new[key]:
      if key == "tokenizer" and old.get(key) and new[key]:
        return "the tokenizer was another"
      return f"{key} was {old.get(key)!r}, now it is {new[key]!r}"
  for name in ("IN", "valid", "test"):
    where = name if name == "IN" else f"--{name}"
    was, now = (job.get("inputs", {}).get(name, []) for job in (old, new))
    for a, b in zip(was, now, strict=False):
      if a["name"] != b["name"]:
        return f"a file of {where} was {a['name']}, now it is {b['name']}"
      if a["bytes"] != b["bytes"]:
        return (
          f"{a['name']} of {where} had {a['bytes']:,} bytes, now it has"
          f" {b['bytes']:,}"
        )
      if a["sha256"] != b["sha256"]:
        return f"{a['name']} of {where} held other bytes"
    if len(was) != len(now):
      return f"{where} was {len(was)} files, now it is {len(now)}"
  return None


def _scan(work, block, alphabet):
  """{source: [what blocks.scan found in each of its blocks]}."""
  found = {name: work.journal.of("scan", name) for name in work.sources}
  total = sum(s.size for s in work.sources.values())
  done = 0
  for name, source in work.sources.items():
    starts = range(0, source.size, block)
    tasks = (
      (blocks.spans(source, at, min(at + block, source.size)), alphabet)
      for at in starts[len(found[name]) :]
    )
    for values in work.each(blocks.scan, tasks):
      work.journal.add(dict(scan=name, **values))
      found[name].append(values)
      reached = min(len(found[name]) * block, source.size)
      work.view("counting characters", done + reached, total)
    done += source.size
  return found


def _parts(sources, scans, split, level, block):
  """{split: (source, first byte, byte after the last)}."""
  parts = {name: (name, 0, s.size) for name, s in sources.items()}
  whole = parts.pop("IN")
  if split is None:
    parts = dict(train=whole) | parts
  else:
    ends = _ends(sources["IN"], scans["IN"], split, level, block)
    starts = [0, *ends]
    cut = zip(tokenfile.SPLITS, starts, ends, strict=False)
    parts = {name: ("IN", a, b) for name, a, b in cut} | parts
  for name, (_, start, stop) in parts.items():
    if start == stop:
      raise errors.DataError(
        f"the {name} split would hold nothing: give more text, or another"
        f" --split than {split}"
      )
  return parts


def _ends(source, scans, split, level, block):
  """The bytes after each part of a Source."""
  counts = [found["char"] for found in scans]
  totals = list(itertools.accumulate(counts))
  unit, ends = corpus.marks(split, source.size, lambda: totals[-1], "--split")
  if unit == "byte":
    if level == "byte":
      return ends
    return [blocks.next_character(source, end) for end in ends]
  found = []
  for end in ends:
    if end >= totals[-1]:
      found.append(source.size)
      continue
    i = next(i for i, total in enumerate(totals) if end < total)
    start, stop = i * block, min((i + 1) * block, source.size)
    found.append(blocks.after(source, start, stop, end - totals[i] + counts[i]))
  return found


def _alphabet(sources, scans, parts, block):
  """The characters of all parts, as one str."""
  seen = set()
  for name, source in sources.items():
    stop = max((p[2] for p in parts.values() if p[0] == name), default=0)
    whole, rest = divmod(stop, block)
    if stop == source.size:
      whole, rest = len(scans[name]), 0
    seen.update(*(found["alphabet"] for found in scans[name][:whole]))
    if rest:
      spans = blocks.spans(source, whole * block, stop)
      seen.update(blocks.scan(spans, alphabet=True)["alphabet"])
  return "".join(sorted(seen))


def _tokenize(work, parts, media, block):
  """Writes the files of all splits; dict(dtype, media, splits)."""
  dtype = tokenfile.dtype_of(text.num_values(media))
  media_json = json.dumps(media)
  total = sum(stop - start for _, start, stop in parts.values())
  rows, done = {}, 0
  for name, (source, start, stop) in parts.items():
    found = work.journal.of("tokens", name)
    size = sum(r["count"] for r in found) * np.dtype(dtype).itemsize
    todo = blocks.blocks(work.sources[source], start, stop, block)
    todo = itertools.islice(todo, len(found), None)
    tasks = ((media_json, dtype, b) for b in todo)
    done += sum(r["byte"] for r in found)
    with _append(work.out / f"{name}.bin", size) as add:
      for raw, values in work.each(_encode, tasks):
        add(raw)
        work.journal.add(dict(tokens=name, **values))
        found.append(values)
        done += values["byte"]
        work.view("writing tokens", done, total)
    rows[name] = found
  paths = ((str(work.out / f"{name}.bin"),) for name in rows)
  hashes = dict(zip(rows, work.each(_sha256, paths), strict=True))
  splits = {name: _figures(rows[name], hashes[name]) for name in rows}
  return dict(dtype=dtype, media=media, splits=splits)


def _figures(rows, sha256):
  """What the manifest says of a split, from what each block gave."""
  # A word that goes on in the next block was counted in both.
  twice = sum(a["ends"] and b["begins"] for a, b in itertools.pairwise(rows))
  units = {unit: sum(r[unit] for r in rows) for unit in ("byte", "char")}
  return dict(
    tokens=sum(r["count"] for r in rows),
    max_token=max(r["max"] for r in rows),
    sha256=sha256,
    units=dict(units, word=sum(r["word"] for r in rows) - twice),
  )


def _encode(media_json, dtype, block):
  """(tokens as bytes, figures) of a Block; what a worker does."""
  media = _media(media_json)
  raw = blocks.load(block)
  if media["level"] == "char":  # in parts, for they are large between
    parts = (text.encode(media, t) for t in text.chunks(raw.decode()))
  else:
    parts = [text.encode_bytes(media, raw)]
  dtype = tokenfile.little_endian(dtype)
  token_T = np.concatenate(
    [np.zeros(0, dtype), *(part.astype(dtype) for part in parts)]
  )
  figures = dict(count=len(token_T), max=int(token_T.max(initial=0)))
  return token_T.tobytes(), figures | _units(raw)


@functools.lru_cache(maxsize=1)
def _media(media_json):
  return json.loads(media_json)


def _units(raw):
  """byte, char and word of bytes; whether a word begins and ends them."""
  count, word = 0, 0
  begins = ends = False
  for part in text.chunks(raw.decode(errors="replace")):
    inside = not part[0].isspace()
    begins = begins if count else inside
    word += len(part.split()) - (ends and inside)
    ends = not part[-1].isspace()
    count += len(part)
  return dict(byte=len(raw), char=count, word=word, begins=begins, ends=ends)


@contextlib.contextmanager
def _append(file, size):
  """add(raw), to a file cut back to `size` bytes; done when it returns."""
  with open(file, "ab") as f:
    if f.tell() < size:
      raise errors.DataError(
        f"{file} has {f.tell():,} bytes, its journal knows of {size:,}:"
        f" remove {file.parent} and start again"
      )
    f.truncate(size)

    def add(raw):
      f.write(raw)
      f.flush()
      os.fsync(f.fileno())

    yield add


def _seal(out, manifest):
  """Writes the manifest, whole or not at all, and ends the journal."""
  new = out / f"{tokenfile.MANIFEST}.new"
  with open(new, "w", encoding="utf-8") as f:
    json.dump(manifest, f, indent=1, ensure_ascii=False)
    f.write("\n")
    f.flush()
    os.fsync(f.fileno())
  os.replace(new, out / tokenfile.MANIFEST)
  folder = os.open(out, os.O_RDONLY)
  os.fsync(folder)
  os.close(folder)
  (out / tokenfile.JOURNAL).unlink()


@contextlib.contextmanager
def _open_journal(out, job):
  """The journal of a job, new or to go on with; no other process has it."""
  out.mkdir(parents=True, exist_ok=True)
  path = out / tokenfile.JOURNAL
  for name in tokenfile.SPLITS:
    if (out / f"{name}.bin").exists() and not path.exists():
      raise errors.UsageError(
        f"{out} holds a {name}.bin that this command did not write; choose"
        " another --out"
      )
  with journals.opened(path) as journal:
    if journal.lines and _difference(journal.lines[0], job):
      if any("tokens" in line for line in journal.lines):
        _check_same(out, journal.lines[0], job)
      journal.clear()  # it only counted: perhaps a file was mended
    if not journal.lines:
      journal.add(job)
    yield journal


@contextlib.contextmanager
def _storing(out):
  """OSError, of what is written, as StorageError."""
  try:
    yield
  except OSError as e:
    raise errors.StorageError(
      f"cannot write {out}: {e.strerror}; what is written stays, and the same"
      " command goes on from there"
    ) from e
