"""Token files: the streams of text_file, at constant memory, past any kill.

Longer than 400 lines because the writer, its kills and the reader share their
texts, and most tests compare two of them.
"""

import hashlib
import json
import multiprocessing
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ar_jax import __main__ as program
from ar_jax import corpus, data, errors, registry, text
from ar_jax.baselines import marginal
from ar_jax.tokens import blocks, bpe, tokenfile, tokenwriter
from ar_jax.tokens import journal as journals
from ar_jax.types import DataSpec, Split

ROOT = pathlib.Path(__file__).parent.parent
WORDS = (
  "the naïve café – “two  words” of 東京 and 🙂 emoji\tor tabs,\n\nnew"
  " paragraphs; don't stop: x\u2003y \u00a0 3.14159 … ends_here\r\n Ünïcödé\n"
)


def _texts():
  """Three files; none ends where a word does, one character is at the end."""
  rng = np.random.default_rng(0)
  words = WORDS.split(" ")
  drawn = " ".join(words[i] for i in rng.integers(0, len(words), 1500))
  return [drawn[:2500], drawn[2500:2600], drawn[2600:] + "Ω"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """a.txt, more/b.txt, more/c.txt, valid.txt, test.txt and tokenizer.json."""
  folder = tmp_path_factory.mktemp("text")
  (folder / "more").mkdir()
  names = ("a.txt", "more/b.txt", "more/c.txt")
  for name, part in zip(names, _texts(), strict=True):
    (folder / name).write_bytes(part.encode())
  (folder / "valid.txt").write_bytes((WORDS * 5).encode())
  (folder / "test.txt").write_bytes(
    ("ß neues 🙃 Zeichen " + WORDS * 3).encode()
  )
  bpe.train(folder / "tokenizer.json", [str(folder / "*.txt")], 400)
  return folder


def _write(folder, out, **changes):
  arguments = dict(level="byte", workers=1, block=300)
  arguments.update(changes)
  if arguments["level"] == "bpe":
    arguments.setdefault("tokenizer", str(folder / "tokenizer.json"))
  patterns = [str(folder / "a.txt"), str(folder / "more" / "*.txt")]
  return tokenwriter.write(out, patterns, **arguments)


def _open(path, **changes):
  section = dict(name="token_files", path=str(path), length=8, stride=4)
  return registry.build("datasets", dict(section, **changes))


def _text_file(folder, level, **changes):
  section = dict(
    name="text_file",
    path=f"{folder}/a.txt,{folder}/more/*.txt",
    length=8,
    stride=4,
    level=level,
    tokenizer=str(folder / "tokenizer.json") if level == "bpe" else "",
  )
  return registry.build("datasets", dict(section, **changes))


def _contents(path):
  return {f.name: f.read_bytes() for f in pathlib.Path(path).iterdir()}


def _same(made, expected):
  assert made.spec == expected.spec
  assert made.media == expected.media
  assert list(made.splits) == list(expected.splits)
  for name, split in expected.splits.items():
    other = made.splits[name]
    np.testing.assert_array_equal(other.stream, split.stream, name)
    assert other.units == split.units, name
    assert (other.size, other.protocol) == (split.size, split.protocol)
    index = np.linspace(0, split.size - 1, 7).astype(int)
    for a, b in zip(split.get(index)[:2], other.get(index)[:2], strict=True):
      assert a.dtype == b.dtype
      np.testing.assert_array_equal(a, b)


# --- the same as text_file ---


@pytest.mark.parametrize("split", ["0.9/0.1", "0.5/0.2/0.1", "4K/1501/1K"])
@pytest.mark.parametrize("level", text.LEVELS)
def test_streams_equal_those_of_text_file(level, split, folder, tmp_path):
  for block in (256, 301, 5000, blocks.SIZE):
    out = tmp_path / str(block)
    _write(folder, out, level=level, split=split, block=block)
    _same(_open(out), _text_file(folder, level, split=split))
  nanogpt = dict(protocol="nanogpt")
  _same(
    _open(out, **nanogpt), _text_file(folder, level, split=split, **nanogpt)
  )


@pytest.mark.parametrize("level", text.LEVELS)
@pytest.mark.parametrize("into", [1, 2])
def test_a_split_that_ends_within_a_character(into, level, folder, tmp_path):
  """Level byte tears it, the others take all of it."""
  at = corpus.read(f"{folder}/a.txt").index("東".encode()) + into
  split = f"{at}/2000"
  _write(folder, tmp_path / "t", level=level, split=split)
  _same(_open(tmp_path / "t"), _text_file(folder, level, split=split))
  nanogpt = dict(protocol="nanogpt")
  made = _open(tmp_path / "t", **nanogpt)
  _same(made, _text_file(folder, level, split=split, **nanogpt))


def test_a_word_that_no_block_holds_is_counted_once(tmp_path):
  file = tmp_path / "long.txt"
  words = "abc " + "x" * 1000 + " d" + "é" * 500
  file.write_text(words)
  made = tokenwriter.write(
    tmp_path / "t", [str(file)], split="0.9/0.1", workers=1, block=100
  )
  train = words[: int(0.9 * len(words) + 1e-9)]
  found = made.manifest["splits"]["train"]["units"]
  assert found == text.units_of(train.encode())
  longer = (" a" + "y" * 400_000 + " b").encode()  # than text.chunks gives
  figures = tokenwriter._units(longer)
  units = {k: figures[k] for k in ("byte", "char", "word")}
  assert units == text.units_of(longer)


@pytest.mark.parametrize("level", text.LEVELS)
def test_splits_of_their_own_files(level, folder, tmp_path):
  valid, test = f"{folder}/valid.txt", f"{folder}/test.txt"
  out = tmp_path / "both"
  _write(folder, out, level=level, valid=[valid], test=[test])
  expected = _text_file(folder, level, valid_path=valid, test_path=test)
  _same(_open(out), expected)
  out = tmp_path / "test"
  _write(folder, out, level=level, test=[test], split="0.5/0.25/0.2")
  expected = _text_file(folder, level, test_path=test, split="0.5/0.25/0.2")
  _same(_open(out), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 127, 1000])
def test_blocks_hold_every_byte_once(size, folder):
  source = blocks.source([f"{folder}/a.txt", f"{folder}/more/*.txt"], "IN")
  whole = blocks.read(blocks.spans(source, 0, source.size))
  for start, stop in ((0, source.size), (7, 3001), (2505, 2700)):
    found = [blocks.load(b) for b in blocks.blocks(source, start, stop, size)]
    assert b"".join(found) == whole[start:stop]
    # What is no longer than half a block belongs to the last one.
    assert len(found) == max(1, -(-(stop - start - size // 2) // size))
    if size >= 128:  # half of what is looked through holds a space
      assert all(part.decode()[0].isspace() for part in found[1:])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 50, 301])
def test_scan_counts_each_character_once(size, folder):
  source = blocks.source([f"{folder}/a.txt", f"{folder}/more/*.txt"], "IN")
  found = [
    blocks.scan(blocks.spans(source, at, min(at + size, source.size)), True)
    for at in range(0, source.size, size)
  ]
  whole = "".join(_texts())
  assert sum(f["char"] for f in found) == len(whole)
  assert set().union(*(f["alphabet"] for f in found)) == set(whole)


def test_workers_change_nothing(folder, tmp_path):
  one = _write(folder, tmp_path / "one", level="bpe")
  two = _write(folder, tmp_path / "two", level="bpe", workers=2)
  assert one == two
  assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


@pytest.mark.parametrize(
  ("num_values", "name"),
  [(2, "uint8"), (256, "uint8"), (257, "uint16"), (2**16, "uint16")]
  + [(2**16 + 1, "uint32")],
)
def test_dtype_is_the_smallest(num_values, name):
  assert tokenfile.dtype_of(num_values) == name
  assert tokenfile.little_endian(name).str[0] in "<|"


def test_manifest_says_what_there_is(folder, tmp_path):
  out = tmp_path / "t"
  manifest = _write(folder, out, level="bpe").manifest
  assert sorted(_contents(out)) == ["manifest.json", "train.bin", "valid.bin"]
  assert manifest == json.loads((out / "manifest.json").read_text())
  raw = (folder / "a.txt").read_bytes()
  assert manifest["inputs"]["IN"][0] == dict(
    name="a.txt", bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest()
  )
  made = _open(out)
  for name, figures in manifest["splits"].items():
    raw = (out / f"{name}.bin").read_bytes()
    tokens = np.frombuffer(raw, "<u2")
    assert figures["tokens"] == len(tokens)
    assert figures["max_token"] == tokens.max()
    assert figures["sha256"] == hashlib.sha256(raw).hexdigest()
    assert made.splits[name].fingerprint == figures["sha256"]


def test_the_sample_in_the_package_still_opens():
  path = ROOT / "ar_jax" / "datasets" / "tiny_tokens"
  made = _open(path)
  stream = np.concatenate([s.stream for s in made.splits.values()])
  words = text.decode(made.media, stream)
  assert words.startswith("Shall I compare thee to a summer’s day?\n")
  assert made.splits["valid"].units == text.units_of(
    text.to_bytes(made.media, made.splits["valid"].stream)
  )
  for name, split in made.splits.items():
    raw = (path / f"{name}.bin").read_bytes()
    assert split.fingerprint == hashlib.sha256(raw).hexdigest()


# --- stopped and started again ---


class _Killed(BaseException):
  """What no handler takes for an error of its own."""


def _kill_at(monkeypatch, number, moment):
  """Ends the writer at its `number`-th line of the journal."""
  add, count = journals.Journal.add, 0

  def dying(self, values):
    nonlocal count
    count += 1
    if count < number or moment == "after":
      add(self, values)
    elif moment == "within":
      self._file.write(json.dumps(values).encode()[:-4])
      self._file.flush()
    if count == number:
      raise _Killed

  monkeypatch.setattr(journals.Journal, "add", dying)


@pytest.mark.parametrize("moment", ["before", "within", "after"])
def test_killed_at_any_line_it_ends_as_a_calm_run(
  moment, folder, tmp_path, monkeypatch
):
  made = dict(level="char", block=1500, split="0.6/0.2/0.2")
  calm = _write(folder, tmp_path / "calm", **made)
  lines = 1 + calm.done  # the job, then each block
  assert lines > 12
  for number in range(1, lines + 1):
    out = tmp_path / f"{number}"
    with monkeypatch.context() as patch:
      _kill_at(patch, number, moment)
      with pytest.raises(_Killed):
        _write(folder, out, **made)
    again = _write(folder, out, **made)
    kept = number - 1 if moment == "after" else max(0, number - 2)
    assert (again.kept, again.done) == (kept, calm.done - kept)
    assert _contents(out) == _contents(tmp_path / "calm")


def test_killed_again_and_again(folder, tmp_path, monkeypatch):
  out = tmp_path / "out"
  for moment in ("within", "after", "within", "before", "after"):
    with monkeypatch.context() as patch:
      _kill_at(patch, 4, moment)
      with pytest.raises(_Killed):
        _write(folder, out)
  lines = 3 + 4 + 3 + 3 + 4
  assert _write(folder, out).kept == lines - 1  # the first is the job
  _write(folder, tmp_path / "calm")
  assert _contents(out) == _contents(tmp_path / "calm")


def test_killed_around_the_manifest(folder, tmp_path, monkeypatch):
  def die(*_):
    raise _Killed

  def half(values, file, **_):
    file.write("{")
    file.flush()
    raise _Killed

  moments = dict(
    dump=(json, "dump", half),
    replace=(os, "replace", die),
    unlink=(pathlib.Path, "unlink", die),
  )
  calm = _write(folder, tmp_path / "calm")
  for name, patched in moments.items():
    out = tmp_path / name
    with monkeypatch.context() as patch:
      patch.setattr(*patched)
      with pytest.raises(_Killed):
        _write(folder, out)
    assert (out / tokenfile.JOURNAL).exists()
    again = _write(folder, out)
    assert again.manifest == calm.manifest
    assert again.done == 0
    assert _contents(out) == _contents(tmp_path / "calm")


def test_kill_9_leaves_no_worker_and_loses_no_block(folder, tmp_path):
  big = tmp_path / "big.txt"
  big.write_bytes("".join(_texts()).encode() * 12)
  out = tmp_path / "out"
  code = (
    "from ar_jax.tokens import tokenwriter\n"
    "if __name__ == '__main__':\n"
    f"  tokenwriter.write({str(out)!r}, [{str(big)!r}], level='bpe',"
    f" tokenizer={str(folder / 'tokenizer.json')!r}, block=1000)\n"
  )
  script = tmp_path / "script.py"
  script.write_text(code)
  process = subprocess.Popen([sys.executable, script], cwd=ROOT)
  journal = out / tokenfile.JOURNAL
  _until(lambda: journal.exists() and _lines(journal) >= 20)
  children = _children(process.pid)
  assert len(children) >= 2
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  assert not (out / tokenfile.MANIFEST).exists()
  known = _lines(journal)
  with pytest.raises(errors.DataError, match="unfinished: run the same"):
    _open(out)
  _until(lambda: not any(_alive(pid) for pid in children))
  again = _rewrite(big, folder, out)
  assert again.kept >= known + 90  # and the scan
  assert again.done > 0
  calm = _rewrite(big, folder, tmp_path / "calm")
  assert calm.done == again.kept + again.done
  assert _contents(out) == _contents(tmp_path / "calm")


def _rewrite(big, folder, out):
  tokenizer = str(folder / "tokenizer.json")
  return tokenwriter.write(
    out, [str(big)], level="bpe", tokenizer=tokenizer, block=1000, workers=1
  )


def _lines(journal):
  """How many blocks of tokens a journal knows."""
  return journal.read_bytes().count(b'{"tokens"')


def _children(pid):
  return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _alive(pid):
  try:
    state = pathlib.Path(f"/proc/{pid}/stat").read_text()
  except (FileNotFoundError, ProcessLookupError):
    return False
  return state.rsplit(")", 1)[1].split()[0] != "Z"


def _until(done, seconds=30):
  end = time.monotonic() + seconds
  while not done():
    assert time.monotonic() < end, "waited in vain"
    time.sleep(0.01)


def test_a_worker_that_dies_is_one_line(folder, tmp_path):
  def kill(what, *_):
    if what == "writing tokens":
      for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)

  out = tmp_path / "out"
  with pytest.raises(errors.StorageError, match="a worker process died") as e:
    _write(folder, out, workers=2, view=kill)
  assert "\n" not in str(e.value)
  again = _write(folder, out)
  assert again.kept > 0
  _write(folder, tmp_path / "calm")
  assert _contents(out) == _contents(tmp_path / "calm")


def test_a_full_disk_is_a_storage_error(folder, tmp_path):
  out = tmp_path / "out"
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
  try:
    with pytest.raises(errors.StorageError, match="cannot write .*too large"):
      _write(folder, out, block=1000)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert _write(folder, out, block=1000).kept > 0
  _write(folder, tmp_path / "calm", block=1000)
  assert _contents(out) == _contents(tmp_path / "calm")


def test_a_folder_that_cannot_be_made_is_a_storage_error(folder, tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.StorageError, match="cannot write"):
    _write(folder, tmp_path / "file" / "out")


def test_one_writer_at_a_time(folder, tmp_path):
  with (
    journals.opened(tmp_path / tokenfile.JOURNAL),
    pytest.raises(errors.UsageError, match="another process writes"),
  ):
    _write(folder, tmp_path)
  assert _write(folder, tmp_path).done > 0


def test_one_tokenizer_serves_all_blocks(folder):
  """The library gives the memory of one that encoded not wholly back."""
  path = str(folder / "tokenizer.json")
  media = [text.make_media("bpe", "x", tokenizer=path) for _ in range(2)]
  assert media[0]["tokenizer"] is not media[1]["tokenizer"]
  assert text._tokenizer(media[0]) is text._tokenizer(media[1])


@pytest.mark.slow
@pytest.mark.parametrize("level", text.LEVELS)
def test_memory_does_not_grow_with_the_input(level, folder, tmp_path):
  """200 MB, or 64 of bpe, which is slow: less than 128 MB more than at rest.

  A worker holds a block of 8 MiB as bytes, as str (32 MiB, for this text has
  characters beyond 16 bits) and as int32 tokens (32 MiB); the parent holds
  the tokens of 4 blocks. Whoever held the input would hold 200 MB.
  """
  part = "".join(_texts()).encode() * 100
  big = tmp_path / "big.txt"
  with big.open("wb") as f:
    for _ in range((64 if level == "bpe" else 200) * 10**6 // len(part)):
      f.write(part)
  script = tmp_path / "script.py"
  script.write_text(
    "import resource, sys\n"
    "from ar_jax.tokens import tokenwriter\n"
    "def peak(who):\n"
    "  return resource.getrusage(who).ru_maxrss // 1024\n"
    "if __name__ == '__main__':\n"
    "  rest = peak(resource.RUSAGE_SELF)\n"
    "  out, level, tokenizer, *inputs = sys.argv[1:]\n"
    "  tokenwriter.write(out, inputs, level=level, tokenizer=tokenizer)\n"
    "  print(rest, peak(resource.RUSAGE_SELF), peak(resource.RUSAGE_CHILDREN))"
  )
  command = [sys.executable, script, tmp_path / "out", level]
  command += [folder / "tokenizer.json", big]
  done = subprocess.run(
    command, cwd=ROOT, check=True, capture_output=True, text=True
  )
  rest, parent, worker = map(int, done.stdout.split())
  assert parent < rest + 128, f"{rest} MB at rest, {parent} MB at the peak"
  assert worker < rest + 128, f"{rest} MB at rest, {worker} MB in a worker"


# --- the same command again, and others ---


def test_a_finished_directory_is_left_alone(folder, tmp_path):
  out = tmp_path / "t"
  first = _write(folder, out)
  before = {f: f.stat().st_mtime_ns for f in out.iterdir()}
  again = _write(folder, out)
  assert (again.done, again.manifest) == (0, first.manifest)
  assert {f: f.stat().st_mtime_ns for f in out.iterdir()} == before


def _other_tokenizer(folder):
  path = folder / "other.json"
  if not path.exists():
    bpe.train(path, [str(folder / "*.txt")], 300)
  return str(path)


@pytest.mark.parametrize("finished", [True, False])
def test_what_differs_is_named(finished, folder, tmp_path, monkeypatch):
  out, own = tmp_path / "t", tmp_path / "own"
  shutil.copytree(folder, own)
  made = dict(level="bpe", valid=[str(own / "valid.txt")])
  with monkeypatch.context() as patch:
    if not finished:
      _kill_at(patch, 60, "before")
    try:
      _write(own, out, **made)
    except _Killed:
      assert not finished
  before = _contents(out)
  cases = [
    (dict(made, level="byte"), "level was 'bpe', now it is 'byte'"),
    (dict(level="bpe"), "split was None, now it is '0.9/0.1'"),
    (dict(made, block=500), "block was 300, now it is 500"),
    (dict(made, tokenizer=_other_tokenizer(own)), "the tokenizer was another"),
    (dict(made, test=[str(own / "test.txt")]), "--test was 0 files, now"),
    (
      dict(made, valid=[str(own / "test.txt")]),
      "of --valid was valid.txt, now it is test.txt",
    ),
  ]
  for changes, message in cases:
    with pytest.raises(errors.UsageError, match=message):
      _write(own, out, **changes)
  raw = (own / "more" / "b.txt").read_bytes()
  for new, message in (
    (raw + b"!", "b.txt of IN had [0-9]+ bytes, now it has"),
    (raw.replace(b"e", b"i", 1), "b.txt of IN held other bytes"),
  ):
    (own / "more" / "b.txt").write_bytes(new)
    with pytest.raises(errors.UsageError, match=message):
      _write(own, out, **made)
  (own / "more" / "b.txt").write_bytes(raw)
  assert _contents(out) == before
  _write(own, out, **made)
  _write(own, tmp_path / "calm", **made)
  assert _contents(out) == _contents(tmp_path / "calm")


def test_counts_of_other_inputs_are_forgotten(folder, tmp_path, monkeypatch):
  own, out = tmp_path / "own", tmp_path / "t"
  shutil.copytree(folder, own)
  with monkeypatch.context() as patch:
    _kill_at(patch, 6, "after")
    with pytest.raises(_Killed):
      _write(own, out, level="char")
  (own / "a.txt").write_text("“…” " * 500)
  assert _write(own, out, level="char").kept == 0
  _write(own, tmp_path / "calm", level="char")
  assert _contents(out) == _contents(tmp_path / "calm")


def test_a_damaged_journal_is_named(folder, tmp_path):
  (tmp_path / tokenfile.JOURNAL).write_text("{}\nnonsense\n{}\n")
  with pytest.raises(errors.DataError, match="unfinished.jsonl is damaged"):
    _write(folder, tmp_path)


def test_files_of_others_are_not_touched(folder, tmp_path):
  (tmp_path / "valid.bin").write_bytes(b"nanoGPT's")
  with pytest.raises(errors.UsageError, match="valid.bin that this command"):
    _write(folder, tmp_path)
  assert _contents(tmp_path) == {"valid.bin": b"nanoGPT's"}


# --- inputs that cannot be used ---


@pytest.mark.parametrize("block", [64, 99, 2**20])
@pytest.mark.parametrize(
  ("where", "bad", "shift"),
  [
    ("middle", b"\xff", 0),
    ("middle", b"\xe2\x82", 0),
    ("middle", b"\x80\x80\x80\x80\x80", 0),
    ("middle", "é".encode() + b"\xa9", 2),
    ("end", b"\xf0\x9f\x99", 0),
  ],
)
def test_what_is_not_utf8_is_named(where, bad, shift, block, tmp_path):
  first, second = tmp_path / "1.txt", tmp_path / "2.txt"
  good = "fine wörds so far, " * 20
  first.write_text(good)
  head = good.encode()[:231]
  tail = b" and more" * 9 if where == "middle" else b""
  second.write_bytes(head + bad + tail)
  offset = len(head) + shift
  byte = bad[shift]
  message = f"2.txt is not UTF-8: byte 0x{byte:02x} at offset {offset};"
  out = tmp_path / "out"
  arguments = dict(level="byte", workers=1, block=block)
  with pytest.raises(errors.DataError, match=message):
    corpus.read(f"{first},{second}")
  with pytest.raises(errors.DataError, match=message):
    tokenwriter.write(out, [str(first), str(second)], **arguments)
  second.write_text(good)  # mended: nothing stands in the way
  made = tokenwriter.write(out, [str(first), str(second)], **arguments)
  assert made.manifest["inputs"]["IN"][1]["bytes"] == len(good.encode())


def test_wrong_inputs_are_named(folder, tmp_path):
  (tmp_path / "empty.txt").write_bytes(b"")
  (tmp_path / "one.txt").write_text("x")

  def write(*patterns, **changes):
    arguments = dict(level="byte", workers=1)
    arguments.update(changes)
    return tokenwriter.write(tmp_path / "out", patterns, **arguments)

  one = f"{folder}/a.txt"
  cases = [
    ((f"{tmp_path}/empty.txt",), {}, errors.DataError, "empty.txt is empty"),
    ((f"{folder}/b.txt",), {}, errors.DataError, "no file .*nearest: a.txt"),
    ((one,), dict(valid=["no.txt"]), errors.DataError, "--valid: no file"),
    ((one,), dict(split="0.9"), errors.UsageError, "--split '0.9' is neither"),
    ((one,), dict(split="1G/1"), errors.DataError, "--split '1G/1' needs"),
    ((one,), dict(workers=0), errors.UsageError, "--workers must be"),
    ((one,), dict(level="word"), errors.UsageError, "'word' is none of"),
  ]
  for patterns, changes, error, message in cases:
    with pytest.raises(error, match=message):
      write(*patterns, **changes)
    assert not (tmp_path / "out").exists()
  with pytest.raises(errors.DataError, match="train split would hold nothing"):
    write(f"{tmp_path}/one.txt")


def test_a_file_that_shrinks_is_named(folder, tmp_path):
  file = tmp_path / "a.txt"
  file.write_text("words and words " * 100)

  def shrink(what, *_):
    if what == "checking the input":
      file.write_text("words")

  with pytest.raises(errors.DataError, match="a.txt became shorter"):
    tokenwriter.write(
      tmp_path / "out", [str(file)], level="byte", workers=1, view=shrink
    )


def test_a_tokenizer_that_changes_the_text_is_refused(folder, tmp_path):
  values = json.loads((folder / "tokenizer.json").read_text())
  values["normalizer"] = dict(type="Lowercase")
  (tmp_path / "lower.json").write_text(json.dumps(values))
  with pytest.raises(errors.DataError, match="the tokenizer changes the text"):
    _write(
      folder,
      tmp_path / "out",
      level="bpe",
      tokenizer=str(tmp_path / "lower.json"),
    )


# --- reading ---


@pytest.fixture
def tokens(folder, tmp_path):
  """A finished directory of bpe tokens, uint16."""
  _write(folder, tmp_path / "tokens", level="bpe")
  return tmp_path / "tokens"


def test_a_truncated_file_is_named_with_its_bytes(tokens):
  file = tokens / "train.bin"
  raw = file.read_bytes()
  file.write_bytes(raw[:-3])
  message = f"train.bin has {len(raw) - 3:,} bytes, the last token torn after 1"
  with pytest.raises(errors.DataError, match=message) as e:
    _open(tokens)
  assert f"says {len(raw):,}: {len(raw) // 2:,} tokens of 2 bytes" in str(
    e.value
  )
  file.write_bytes(b"")
  with pytest.raises(errors.DataError, match="train.bin has 0 bytes; its"):
    _open(tokens)
  file.unlink()
  with pytest.raises(errors.DataError, match="cannot read .*train.bin"):
    _open(tokens)


@pytest.mark.parametrize("name", ["train", "valid"])
def test_a_token_out_of_range_is_named_with_its_offset(name, tokens):
  made = _open(tokens)
  num_values = made.spec.num_values
  count = len(made.splits[name].stream)
  with (tokens / f"{name}.bin").open("r+b") as f:
    f.seek(2 * (count - 3))
    f.write(num_values.to_bytes(2, "little"))
  split = _open(tokens).splits[name]
  split.get(np.arange(5))
  message = f"{name}.bin: token {num_values} at offset {count - 3:,} is none"
  for index in ([split.size - 1], range(split.size)):
    with pytest.raises(errors.DataError, match=message):
      split.get(np.array(index))


def test_a_token_beyond_int32_is_out_of_range(tmp_path):
  """As int32 it would be negative."""
  np.array([0, 1, 2**32 - 5, 3] * 4, "<u4").tofile(tmp_path / "train.bin")
  figures = dict(tokens=16, max_token=3, sha256="", units={})
  media = dict(kind="text", level="byte", vocabulary=None, source="x")
  manifest = dict(
    format=1, dtype="uint32", media=media, splits=dict(train=figures)
  )
  (tmp_path / "manifest.json").write_text(json.dumps(manifest))
  split = _open(tmp_path).splits["train"]
  with pytest.raises(errors.DataError, match="token 4294967291 at offset 2 "):
    split.get(np.arange(3))
  spec = DataSpec((8,), 1, 256)
  with pytest.raises(errors.DataError, match="4294967291 at offset 2 of"):
    marginal.make(spec)(split)


def test_a_first_token_out_of_range_is_left_to_get(folder, tmp_path):
  _write(folder, tmp_path / "t", level="char")
  with (tmp_path / "t" / "valid.bin").open("r+b") as f:
    f.write(b"\xff")
  split = _open(tmp_path / "t", protocol="nanogpt").splits["valid"]
  with pytest.raises(errors.DataError, match="token 255 at offset 0 is none"):
    split.get(np.array([0]))


def _edit(tokens, **changes):
  file = tokens / "manifest.json"
  file.write_text(json.dumps(dict(json.loads(file.read_text()), **changes)))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(format=2), "its format is 2, not 1"),
    (dict(dtype="float32"), "its dtype 'float32' is none of uint8"),
    (dict(splits={}), "it has no split 'train'"),
    (dict(splits=dict(train={})), "its split 'train' lacks 'tokens'"),
  ],
)
def test_a_wrong_manifest_is_named(changes, message, tokens):
  _edit(tokens, **changes)
  with pytest.raises(errors.DataError, match=message):
    _open(tokens)


def test_no_split_leads_out_of_the_directory(tokens):
  splits = json.loads((tokens / "manifest.json").read_text())["splits"]
  _edit(tokens, splits=dict(splits, **{"../valid": splits["valid"]}))
  with pytest.raises(errors.DataError, match="'../valid' is none of train"):
    _open(tokens)


def test_a_manifest_of_another_tokenizer_is_named(tokens, folder):
  values = json.loads(pathlib.Path(_other_tokenizer(folder)).read_text())
  media = json.loads((tokens / "manifest.json").read_text())["media"]
  _edit(tokens, media=dict(media, tokenizer=values))
  with pytest.raises(
    errors.DataError, match="largest token is .* has 300 values"
  ):
    _open(tokens)


def test_wrong_paths_are_named(tokens, folder):
  with pytest.raises(
    errors.DataError, match="no directory .*; nearest: tokens"
  ):
    _open(tokens.with_name("tokkens"))
  with pytest.raises(errors.DataError, match="a.txt is a file"):
    _open(folder / "a.txt")
  with pytest.raises(errors.UsageError, match="--config.data.path=DIR"):
    _open("")
  with pytest.raises(errors.DataError, match="holds no token files"):
    _open(folder)
  (tokens / "manifest.json").write_text("{")
  with pytest.raises(errors.DataError, match="cannot read .*manifest.json"):
    _open(tokens)


def test_short_splits_and_wrong_strides_are_named(tokens):
  with pytest.raises(errors.DataError, match="train.bin: a split of"):
    _open(tokens, length=10**6, stride=1)
  with pytest.raises(errors.UsageError, match="stride 9 must be in 1..8"):
    _open(tokens, stride=9)
  with pytest.raises(errors.UsageError, match="'hf' is none of strided"):
    _open(tokens, protocol="hf")


def test_reading_keeps_no_pages(tmp_path):
  """20 MB are read through, one window a page; no page stays."""
  _big_tokens(tmp_path, 20 * 2**20)
  split = _open(tmp_path, length=16, stride=16).splits["train"]
  start = _resident("RssFile")
  for first in range(0, split.size, 2**17):
    split.get(np.arange(first, min(first + 2**17, split.size), 4096))
  assert _resident("RssFile") - start < 2 * 2**20
  assert split.stream[:: 2**12].max() == 255  # the mapping still works
  assert _resident("RssFile") - start > 10 * 2**20  # and this would be seen


def _big_tokens(folder, count):
  """A directory of `count` random bytes as tokens."""
  rng = np.random.default_rng(0)
  with (folder / "train.bin").open("wb") as f:
    for first in range(0, count, 2**24):
      f.write(rng.bytes(min(2**24, count - first)))
  figures = dict(tokens=count, max_token=255, sha256="x", units={})
  media = dict(kind="text", level="byte", vocabulary=None, source="x")
  manifest = dict(
    format=1, dtype="uint8", media=media, splits=dict(train=figures)
  )
  (folder / "manifest.json").write_text(json.dumps(manifest))


def _resident(kind, pid="self"):
  """Bytes of a line of /proc/PID/status."""
  lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
  found = next((line for line in lines if line.startswith(f"{kind}:")), None)
  return 1024 * int(found.split()[1]) if found else 0


def test_marginal_counts_a_stream_in_blocks(monkeypatch):
  rng = np.random.default_rng(0)
  stream = rng.integers(0, 5, 1003).astype(np.uint8)
  split = Split(996, lambda i: None, stream=stream)
  spec = DataSpec((8,), 1, 7)
  whole = marginal._count(split, spec)
  monkeypatch.setattr(data, "AT_ONCE", 100)
  np.testing.assert_array_equal(marginal._count(split, spec), whole)
  np.testing.assert_array_equal(whole, np.bincount(stream, minlength=7))


# --- tokenizers ---


def test_a_tokenizer_is_the_same_each_time(folder, tmp_path):
  pattern = [f"{folder}/a.txt", f"{folder}/more/*.txt"]
  figures = [
    bpe.train(tmp_path / name, pattern, 350, block=block)
    for name, block in (("1", blocks.SIZE), ("2", blocks.SIZE), ("3", 400))
  ]
  one, two, three = ((tmp_path / n).read_bytes() for n in "123")
  assert one == two == three
  assert figures[0] == figures[2]
  assert figures[0]["tokens"] == 350
  raw = "".join(_texts()).encode()
  assert figures[0]["measured"] == len(raw)
  media = text.make_media("bpe", "x", tokenizer=str(tmp_path / "1"))
  token_T = text.encode_bytes(media, raw)
  assert figures[0]["bytes_per_token"] == len(raw) / len(token_T)
  assert text.to_bytes(media, token_T) == raw
  assert text.to_bytes(media, [0]) == b"<|endoftext|>"
  every = bytes(range(128)).decode() + "".join(map(chr, range(128, 5000)))
  assert text.decode(media, text.encode(media, every)) == every


def test_wrong_arguments_of_a_tokenizer_are_named(folder, tmp_path):
  (tmp_path / "there").write_text("")
  (tmp_path / "bad.txt").write_bytes(b"good \xff")
  pattern = [f"{folder}/a.txt"]
  out = tmp_path / "t"
  cases = [
    ((out, pattern, 256), errors.UsageError, "256 is too small: 257"),
    ((out, pattern, 300, 0), errors.UsageError, "--min_frequency must"),
    ((tmp_path / "there", pattern), errors.UsageError, "there exists"),
    ((tmp_path / "no" / "t", pattern), errors.UsageError, "no directory"),
    ((out, ["no.txt"]), errors.DataError, "IN: no file"),
    ((out, [f"{tmp_path}/bad.txt"]), errors.DataError, "0xff at offset 5"),
  ]
  for arguments, error, message in cases:
    with pytest.raises(error, match=message):
      bpe.train(*arguments)
  assert not out.exists()


# --- the command ---


@pytest.mark.slow
def test_from_text_to_a_trained_model(folder, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  inputs = [f"{folder}/a.txt", f"{folder}/more/*.txt"]
  tokenizer, tokens = f"{tmp_path}/tokenizer.json", f"{tmp_path}/tokens"
  argv = ["data", "tokenizer", *inputs, f"--out={tokenizer}"]
  assert program.main([*argv, "--vocab_size=300"]) == 0
  assert "300 tokens; " in capsys.readouterr().out
  argv = ["data", "tokenize", *inputs, f"--out={tokens}", "--workers=1"]
  argv += ["--level=bpe", f"--tokenizer={tokenizer}"]
  assert program.main(argv) == 0
  out = capsys.readouterr().out
  assert f"{tokens}/train.bin: " in out
  assert "(uint16)" in out
  assert program.main(argv) == 0
  assert "is finished: nothing to do" in capsys.readouterr().out
  argv = ["train", "--config=configs/text_gpt.py:tiny,data=token_files"]
  argv += [f"--config.data.path={tokens}", f"--workdir={tmp_path}/run"]
  argv += ["--config.train.steps=2", "--config.train.eval_every=2"]
  argv += ["--config.model.depth=1", "--config.data.length=16"]
  argv += ["--config.data.stride=16", "--config.optimizer.name=adamw"]
  assert program.main(argv) == 0
  out = capsys.readouterr().out
  assert "unigram" in out
  assert "bits/byte" in out
  record = json.loads((tmp_path / "run" / "run.json").read_text())
  manifest = json.loads((pathlib.Path(tokens) / "manifest.json").read_text())
  prints = {k: v["sha256"] for k, v in manifest["splits"].items()}
  assert record["data"] == prints
  file = pathlib.Path(tokens) / "train.bin"
  file.write_bytes(b"\xff\xff" * (file.stat().st_size // 2))
  argv = [a.replace("/run", "/other") for a in argv]
  assert program.main(argv) == 3
  err = capsys.readouterr().err
  assert "train.bin: token 65535 at offset" in err
  assert err.count("\n") == 1


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    ([], "required: ACTION"),
    (["tokenise"], "invalid choice: 'tokenise'"),
    (["tokenize"], "required: IN, --out"),
    (["tokenize", "a", "--out=b", "--level=bpe"], "go together"),
    (["tokenize", "a", "--out=b", "--tokenizer=c"], "go together"),
    (["tokenize", "a", "--out=b", "--split=.5/.5", "--valid=c"], "not both"),
    (["tokenize", "a", "--out=b", "--config.seed=1"], "reads no config"),
    (["tokenize", "a", "--out=b", "--workers=two"], "invalid int value"),
    (["tokenizer", "a", "--out=b", "--vocab_size=9"], "9 is too small"),
    (["prepare", "a"], "required: --data_dir"),
  ],
)
def test_a_mistake_is_one_line(argv, message, capsys):
  assert program.main(["data", *argv]) == 2
  err = capsys.readouterr().err
  assert err.startswith("ar_jax: error: ")
  assert err.count("\n") == 1
  assert message in err


@pytest.mark.parametrize("action", ["tokenizer", "tokenize", "prepare"])
def test_each_action_has_an_example(action, capsys):
  with pytest.raises(SystemExit) as stop:
    program.main(["data", action, "--help"])
  assert stop.value.code == 0
  assert f"  ar_jax data {action} " in capsys.readouterr().out


def test_neither_the_command_nor_its_workers_load_jax(folder, tmp_path):
  code = (
    "import sys\n"
    "from ar_jax import __main__\n"
    "from ar_jax.tokens import bpe, pool, tokenwriter\n"
    "from ar_jax.commands import data\n"
    f"argv = ['data', 'tokenize', {str(folder / 'a.txt')!r},"
    f" '--out={tmp_path}/t', '--workers=1', '--level=byte']\n"
    "assert __main__.main(argv) == 0\n"
    "sys.exit('jax' in sys.modules)\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
