"""Where a text ends: at stop strings, found in the bytes of its tokens.

A stop string may begin and end inside of tokens, and lie over any number of
them; what fails to become one may hold the beginning of another ("aab" in
"aaab"). In UTF-8 no character begins inside of another, so a string is found
among bytes where it is found in the text.
"""

import codecs
from typing import NamedTuple

from ar_jax import text


class Cut(NamedTuple):
  """What is shown of tokens.

  text: before the stop string, if there is one.
  tokens: up to and including the one that completes it; else all.
  stopped: whether there is one.
  """

  text: str
  tokens: int
  stopped: bool


def cut(media, token_T, stops=(), more=False):
  """The Cut of int [T].

  Args:
    media: of a text.
    token_T: what was drawn, without the prompt.
    stops: strs; the one that is complete first counts, of two the longer.
    more: whether tokens are to follow: then the text leaves out what may yet
      become a stop string, or a part of a character, so that the text of more
      tokens only adds to it.
  """
  pieces = text.pieces(media, token_T)
  raw = b"".join(pieces)
  found = [_place(raw, stop.encode()) for stop in stops]
  found = [place for place in found if place]
  if found:
    end, start = min(found)
    tokens = total = 0
    while total < end:
      total += len(pieces[tokens])
      tokens += 1
    return Cut(raw[:start].decode(errors="replace"), tokens, True)
  if more:
    held = max((_begun(raw, stop.encode()) for stop in stops), default=0)
    raw = raw[: len(raw) - held]
  decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
  return Cut(decoder.decode(raw, final=not more), len(pieces), False)


def _place(raw, stop):
  """(end, start) of the first place of a stop string; None: there is none."""
  start = raw.find(stop)
  return None if start < 0 else (start + len(stop), start)


def _begun(raw, stop):
  """How many of the last bytes are the first ones of a stop string."""
  longest = min(len(stop) - 1, len(raw))
  return next(k for k in range(longest, -1, -1) if raw.endswith(stop[:k]))
