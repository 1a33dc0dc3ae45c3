"""Text to tokens and back, and the data set that one text makes.

`media` is the JSON data that a run keeps to read and write its own text:
dict(kind="text", level="char", vocabulary=[...]) or level="byte".
"""

import numpy as np

from ar_jax import data, errors
from ar_jax.types import Dataset, DataSpec

LEVELS = ("char", "byte")


def dataset(text, *, level, length, stride, train, protocol, name):
  """Splits by position, "train" then "valid", of one text.

  Args:
    text: str.
    level: "char" (the sorted characters of the text) or "byte" (UTF-8).
    length: sites of a window.
    stride: tokens between evaluation windows; unread by "nanogpt".
    train: fraction of the tokens that trains, the first ones.
    protocol: "strided": each token once, the first one too; "nanogpt":
      disjoint windows whose sites have 1 .. length - 1 tokens of context,
      the text's first token is not scored (karpathy/nanoGPT, train.py).
    name: of the source, for messages.
  """
  if level not in LEVELS:
    raise errors.UsageError(
      f"config.data.level {level!r} is none of {', '.join(LEVELS)}"
    )
  protocols = dict(
    strided=(stride, True, f"w{length}/s{stride}/first site scored"),
    nanogpt=(
      length - 1,
      False,
      f"nanogpt: disjoint windows, 1..{length - 1} tokens of context",
    ),
  )
  if protocol not in protocols:
    raise errors.UsageError(
      f"config.data.protocol {protocol!r} is none of {', '.join(protocols)}"
    )
  if not 0 < train < 1:
    raise errors.UsageError(
      f"config.data.train {train} is no fraction between 0 and 1"
    )
  if not text:
    raise errors.DataError(f"{name} is empty")
  vocabulary = sorted(set(text)) if level == "char" else None
  media = dict(kind="text", level=level, vocabulary=vocabulary, source=name)
  tokens = encode(media, text)
  cut = int(train * len(tokens))
  spec = DataSpec((length,), 1, len(vocabulary) if vocabulary else 256)
  stride, first_scored, protocol = protocols[protocol]
  train_split = data.crops(
    tokens[:cut], length, raw=_raw(media, tokens[:cut]), protocol="crops"
  )
  valid = tokens[cut:]
  valid_split = data.windows(
    valid,
    length,
    stride,
    first_scored=first_scored,
    units=units(media, valid if first_scored else valid[1:]),
    raw=_raw(media, valid),
    protocol=protocol,
  )
  return Dataset(spec, dict(train=train_split, valid=valid_split), media)


def encode(media, text):
  """Tokens int32 [T] of a text; UsageError for an unknown character."""
  if media["level"] == "byte":
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
  code_V = _codes("".join(media["vocabulary"]))
  code_T = _codes(text)
  token_T = np.minimum(np.searchsorted(code_V, code_T), len(code_V) - 1)
  unknown = np.flatnonzero(code_V[token_T] != code_T)
  if len(unknown):
    at = int(unknown[0])
    raise errors.UsageError(
      f"character {text[at]!r} at position {at} is not among the"
      f" {len(code_V)} characters that the model knows"
    )
  return token_T.astype(np.int32)


def decode(media, token_T):
  """The text of int [T]; bytes that are no UTF-8 become U+FFFD."""
  if media["level"] == "byte":
    return _raw(media, token_T).decode(errors="replace")
  vocabulary = np.array(media["vocabulary"])
  return "".join(vocabulary[np.asarray(token_T)])


def units(media, token_T):
  """What tokens amount to: dict(byte, char, word); words by white space."""
  raw = _raw(media, token_T)
  text = raw.decode(errors="replace")
  return dict(byte=len(raw), char=len(text), word=len(text.split()))


def _raw(media, token_T):
  if media["level"] == "byte":
    return np.asarray(token_T, np.uint8).tobytes()
  return decode(media, token_T).encode()


def _codes(text):
  """Code points, uint32 [T]."""
  return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
