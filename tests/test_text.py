"""Text to tokens and back; the splits and the units of one text."""

import math

import numpy as np
import pytest

from ar_jax import errors, registry, text

SAMPLE = "naïve – “café”\n  two words\ttab 🙂 end"


def _dataset(raw=SAMPLE * 5, **changes):
  arguments = dict(
    level="char", length=8, stride=4, train=0.5, protocol="strided", name="t"
  )
  return text.dataset(raw, **dict(arguments, **changes))


@pytest.mark.parametrize("level", ["char", "byte"])
def test_round_trip(level):
  media = _dataset(level=level).media
  tokens = text.encode(media, SAMPLE)
  assert text.decode(media, tokens) == SAMPLE
  size = len(SAMPLE) if level == "char" else len(SAMPLE.encode())
  assert tokens.shape == (size,)


def test_unknown_character_is_named_with_its_position():
  media = _dataset("abcabc" * 5).media
  with pytest.raises(errors.UsageError, match="'x' at position 2 .* 3 char"):
    text.encode(media, "abxz")
  with pytest.raises(errors.UsageError, match="'🙂' at position 0"):
    text.encode(media, "🙂")


@pytest.mark.parametrize("level", ["char", "byte"])
def test_splits_are_by_position_and_lose_nothing(level):
  made = _dataset(level=level)
  streams = [made.splits[name].stream for name in ("train", "valid")]
  joined = text.decode(made.media, np.concatenate(streams))
  assert joined == SAMPLE * 5
  assert abs(len(streams[0]) - len(streams[1])) <= 1
  raw = b"".join(s.raw for s in made.splits.values())
  assert raw == (SAMPLE * 5).encode()


def test_units_count_bytes_characters_and_words():
  made = _dataset()
  valid = text.decode(made.media, made.splits["valid"].stream)
  assert made.splits["valid"].units == dict(
    byte=len(valid.encode()), char=len(valid), word=len(valid.split())
  )
  nanogpt = _dataset(protocol="nanogpt").splits["valid"]
  assert nanogpt.units["char"] == len(valid) - 1
  assert nanogpt.protocol.startswith("nanogpt")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(level="word"), "level 'word' is none of char, byte"),
    (dict(protocol="hf"), "protocol 'hf' is none of strided, nanogpt"),
    (dict(train=1.0), "train 1.0 is no fraction"),
    (dict(stride=9), "stride 9 must be in 1..8"),
  ],
)
def test_wrong_arguments_are_named(changes, message):
  with pytest.raises(errors.UsageError, match=message):
    _dataset(**changes)


def test_empty_text_is_named():
  with pytest.raises(errors.DataError, match="t is empty"):
    _dataset("")


def _file(path):
  return registry.build("datasets", dict(name="text_file", path=str(path)))


def test_file_errors_say_what_and_where(tmp_path):
  (tmp_path / "input.txt").write_bytes(b"fine so far\xff\xfe")
  with pytest.raises(errors.DataError, match="0xff at offset 11"):
    _file(tmp_path / "input.txt")
  with pytest.raises(errors.DataError, match="nearest: input.txt"):
    _file(tmp_path / "imput.txt")
  with pytest.raises(errors.DataError, match="no file"):
    _file(tmp_path / "no" / "such.txt")
  with pytest.raises(errors.UsageError, match="--config.data.path=FILE"):
    _file("")
  (tmp_path / "empty.txt").write_bytes(b"")
  with pytest.raises(errors.DataError, match="empty.txt is empty"):
    _file(tmp_path / "empty.txt")
  (tmp_path / "short.txt").write_text("short")
  with pytest.raises(errors.DataError, match="shorter than a window of 256"):
    _file(tmp_path / "short.txt")


def test_python_docs_is_real_english():
  made = registry.build("datasets", dict(name="python_docs"))
  stream = made.splits["train"].stream
  start = text.decode(made.media, stream[:100_000])
  assert len(stream) > 300_000
  assert start.split().count("the") > 500
  count = np.bincount(stream)
  p = count[count > 0] / len(stream)
  assert 4 < -(p * np.log(p)).sum() / math.log(2) < 5  # bits per character
