"""Text to tokens and back; the splits and the units of one text."""

import math

import numpy as np
import pytest

from ar_jax import corpus, errors, registry, text

SAMPLE = "naïve – “café”\n  two words\ttab \0 🙂 end"


def _dataset(raw=SAMPLE * 5, level="char", split="0.5/0.5", **changes):
  parts = corpus.cut(raw.encode(), split, level)
  media = text.make_media(level, "t", [raw])
  arguments = dict(length=8, stride=4, protocol="strided")
  return corpus.dataset(parts, media, **dict(arguments, **changes))


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
  # The same characters at every level, so that figures per byte compare.
  assert made.splits["train"].raw.decode() == (SAMPLE * 5)[:95]
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
    (dict(level="word"), "level 'word' is none of char, byte, bpe"),
    (dict(protocol="hf"), "protocol 'hf' is none of strided, nanogpt"),
    (dict(split="0.9"), "split '0.9' is neither fractions"),
    (dict(split="0.9/0.2"), "their sum <= 1"),
    (dict(split="0.9/5M"), "split '0.9/5M' is neither fractions"),
    (dict(split="90M/0"), "split '90M/0' is neither fractions"),
    (dict(stride=9), "stride 9 must be in 1..8"),
  ],
)
def test_wrong_arguments_are_named(changes, message):
  with pytest.raises(errors.UsageError, match=message):
    _dataset(**changes)


def test_python_docs_is_real_english():
  made = registry.build("datasets", dict(name="python_docs"))
  stream = made.splits["train"].stream
  start = text.decode(made.media, stream[:100_000])
  assert len(stream) > 300_000
  assert start.split().count("the") > 500
  count = np.bincount(stream)
  p = count[count > 0] / len(stream)
  assert 4 < -(p * np.log(p)).sum() / math.log(2) < 5  # bits per character
