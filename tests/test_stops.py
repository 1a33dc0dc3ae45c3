"""Where a text is cut: stop strings in the bytes of tokens."""

import itertools

import numpy as np
import pytest

from ar_jax import stops, text

BYTES = text.make_media("byte", "t")


def cut(words, *stop, more=False, media=BYTES):
  return stops.cut(media, text.encode(media, words), stop, more)


@pytest.mark.parametrize(
  ("words", "stop", "shown", "tokens"),
  [
    ("aaab rest", ["aab"], "a", 4),  # overlaps its own false start
    ("aab rest", ["aab"], "", 3),  # at the first token
    ("abcabd", ["abd"], "abc", 6),
    ("abc", ["abd"], "abc", 3),
    ("one two", ["two", "ne"], "o", 3),  # the one that is complete first
    ("xab", ["b", "ab"], "x", 3),  # of two at once the longer
    ("ab", [], "ab", 2),
    ("", ["a"], "", 0),
    ("né–x", ["–"], "né", 6),
  ],
)
def test_a_text_is_cut_before_the_first(words, stop, shown, tokens):
  found = cut(words, *stop)
  assert (found.text, found.tokens) == (shown, tokens)
  assert found.stopped == (shown != words)


def test_a_stop_may_lie_inside_of_tokens(monkeypatch):
  """Tokens of several bytes: counted up to the one that completes it."""
  pieces = [b"ab", b"cd", b"ef", b"gh"]
  monkeypatch.setattr(text, "pieces", lambda media, token_T: pieces)
  media = dict(kind="text", level="bpe")
  for stop, shown, tokens in (
    ("d", "abc", 2),
    ("bcde", "a", 3),
    ("ab", "", 1),
    ("hx", "abcdefgh", 4),
  ):
    found = stops.cut(media, range(4), [stop])
    assert (found.text, found.tokens) == (shown, tokens), stop


def follow(module, words, stop):
  """All that is shown while tokens come one by one; it only ever grows."""
  token_T = text.encode(BYTES, words)
  shown = ""
  for n in range(len(token_T) + 1):
    found = module.cut(BYTES, token_T[:n], stop, more=n < len(token_T))
    assert found.text.startswith(shown), f"{shown!r} was shown"
    assert "\ufffd" not in found.text, "a part of a character"
    shown = found.text
    if found.stopped:
      break
  return shown


def check(module):
  for letters in itertools.product("ab", repeat=7):
    words = "".join(letters)
    for stop in (["aab"], ["abab", "bb"], ["aaa"], []):
      places = [words.find(s) + len(s) for s in stop if s in words]
      first = min(places, default=None)
      wanted = words
      if first is not None:
        (match,) = [s for s in stop if words[:first].endswith(s)]
        wanted = words[: first - len(match)]
      assert follow(module, words, stop) == wanted
      token_T = text.encode(BYTES, words)
      assert module.cut(BYTES, token_T, stop).text == wanted
  odd = "naïve – “café” 🙂"
  assert follow(module, odd, ["🙃", "–x"]) == odd
  assert follow(module, odd, ["“c"]) == "naïve – "


def test_what_is_shown_meanwhile_is_never_taken_back():
  check(stops)


def test_what_is_no_text_is_shown_in_the_end():
  token_T = np.array([97, 0xF0, 0x9F, 98, 0xC3])
  assert stops.cut(BYTES, token_T).text == "a\ufffdb\ufffd"
  assert stops.cut(BYTES, token_T, more=True).text == "a\ufffdb"


WRONG = {
  "nothing is held back": {"raw[: len(raw) - held]": "raw"},
  "a character is broken": {"final=not more": "final=True"},
  "the last to be complete": {
    "end, start = min(found)": "end, start = max(found)"
  },
}


@pytest.mark.parametrize("breakage", WRONG)
def test_another_cut_is_seen(breakage, mutated):
  with pytest.raises(AssertionError):
    check(mutated("stops", WRONG[breakage]))
