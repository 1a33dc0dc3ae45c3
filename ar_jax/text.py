"""Text to tokens and back: characters, bytes, or BPE.

`media` is the JSON data that a run keeps to read and write its own text:

  dict(kind="text", level="char", vocabulary=["a", ...], source=name)
  dict(kind="text", level="byte", vocabulary=None, source=name)
  dict(kind="text", level="bpe", tokenizer={tokenizer.json}, source=name)

Items of different lengths also have `end`, the token that ends and fills
them. A token is a string of bytes, so every figure can be given per byte.
"""

import functools
import json
import pathlib
import re

import numpy as np

from ar_jax import errors, registry

LEVELS = ("char", "byte", "bpe")
_CHUNK = 2**16  # characters that a tokenizer is given at once
# GPT-2's printable names of the bytes (Radford et al. 2019, encoder.py).
_PLAIN = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHER = [b for b in range(256) if b not in _PLAIN]
_BYTE_OF = {chr(b): b for b in _PLAIN}
_BYTE_OF |= {chr(256 + i): b for i, b in enumerate(_OTHER)}


def make_media(level, source, texts=(), tokenizer=""):
  """The media of a text source.

  Args:
    level: "char", "byte" or "bpe".
    source: name, for messages.
    texts: strs whose characters are the vocabulary; unread by other levels.
    tokenizer: path of a tokenizer.json; unread by other levels.
  """
  if level not in LEVELS:
    raise errors.UsageError(
      f"config.data.level {level!r} is none of {', '.join(LEVELS)}"
    )
  if level == "bpe":
    values = read_tokenizer(tokenizer)
    return dict(kind="text", level=level, tokenizer=values, source=source)
  vocabulary = None
  if level == "char":
    vocabulary = sorted(set().union(*(set(text) for text in texts)))
  return dict(kind="text", level=level, vocabulary=vocabulary, source=source)


def read_tokenizer(path):
  """The parsed tokenizer.json at `path`; DataError if it is none."""
  if not path:
    raise errors.UsageError(
      "level bpe needs a tokenizer.json: give --config.data.tokenizer=FILE, or"
      " make one with `ar_jax data tokenizer IN... --out=tokenizer.json`"
    )
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    siblings = file.parent.glob("*") if file.parent.is_dir() else []
    near = registry.nearest(file.name, [f.name for f in siblings])
    raise errors.DataError(f"no tokenizer file {file.absolute()}{near}")
  try:
    values = json.loads(file.read_text(encoding="utf-8"))
  except ValueError as e:
    raise errors.DataError(f"{file} is no tokenizer.json: {e}") from e
  _bytes_of_tokens(_tokenizer(dict(tokenizer=values), file))
  return values


def num_values(media):
  """V, the number of token ids."""
  if media["level"] == "byte":
    return 256
  if media["level"] == "char":
    return len(media["vocabulary"])
  vocabulary = _tokenizer(media).get_vocab(with_added_tokens=True)
  return 1 + max(vocabulary.values())


def encode(media, text):
  """Tokens int32 [T] of a text; UsageError for an unknown character."""
  if media["level"] == "byte":
    return encode_bytes(media, text.encode())
  if media["level"] == "bpe":
    return _encode_bpe(media, text)
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


def encode_bytes(media, raw):
  """Tokens int32 [T] of UTF-8 bytes, which at level byte may be any."""
  if media["level"] == "byte":
    return np.frombuffer(raw, np.uint8).astype(np.int32)
  return encode(media, raw.decode())


def decode(media, token_T):
  """The text of int [T]; bytes that are no UTF-8 become U+FFFD."""
  if media["level"] == "char":
    vocabulary = media["vocabulary"]
    return "".join([vocabulary[v] for v in np.asarray(token_T).tolist()])
  return to_bytes(media, token_T).decode(errors="replace")


def to_bytes(media, token_T):
  """The bytes of int [T]."""
  if media["level"] == "byte":
    return np.asarray(token_T, np.uint8).tobytes()
  if media["level"] == "char":
    return decode(media, token_T).encode()
  return b"".join(pieces(media, token_T))


def pieces(media, token_T):
  """The bytes of each token of int [T]; a character may span several."""
  token_T = np.asarray(token_T)
  if media["level"] == "byte":
    return [bytes([b]) for b in token_T.tolist()]
  if media["level"] == "char":
    return [media["vocabulary"][v].encode() for v in token_T.tolist()]
  bytes_V = _bytes_of_tokens(_tokenizer(media))
  return [bytes_V.get(v, b"") for v in token_T.tolist()]


def units_of(raw):
  """What bytes amount to: dict(byte, char, word); words by white space."""
  text = raw.decode(errors="replace")
  return dict(byte=len(raw), char=len(text), word=len(text.split()))


def lengths(media, token_BT):
  """int [B]: tokens up to the first end symbol, it included; else all."""
  token_BT = np.asarray(token_BT)
  if media.get("end") is None:
    return np.full(len(token_BT), token_BT.shape[1])
  if not token_BT.shape[1]:
    return np.zeros(len(token_BT), int)
  ended_BT = token_BT == media["end"]
  first_B = ended_BT.argmax(1) + 1
  return np.where(ended_BT.any(1), first_B, token_BT.shape[1])


def ended(media, token_T):
  """Tokens up to the end symbol of an item, which is added where none is.

  Raises:
    UsageError: something else follows the end symbol.
  """
  end = int(lengths(media, token_T[None])[0])
  if (token_T[end:] != media["end"]).any():
    raise errors.UsageError(
      f"the text of an item goes on after its end symbol, token {end}:"
      f" {decode(media, token_T)!r}; give one item at a time"
    )
  if end and token_T[end - 1] == media["end"]:
    return token_T[:end]
  return np.pad(token_T, (0, 1), constant_values=media["end"])


def chunks(text, size=_CHUNK):
  """Cuts a text where no tokenizer of words joins what lies on both sides.

  A cut stands before a space that follows a letter or digit, or else before
  any white space that follows none, `size` to twice as many characters after
  the last one; anywhere in text that has neither.
  """
  start = 0
  while len(text) - start > 2 * size:
    window = start + size, start + 2 * size
    found = _CUT.search(text, *window) or _POOR.search(text, *window)
    end = found.end() if found else window[1]
    yield text[start:end]
    start = end
  if start < len(text):
    yield text[start:]


_CUT = re.compile(r"[^\W_](?= )")
_POOR = re.compile(r"\S(?=\s)")


def _encode_bpe(media, text):
  tokenizer = _tokenizer(media)
  bytes_V = _bytes_of_tokens(tokenizer)

  def ids_and_bytes(part):
    # Without offsets into the text: 1.4 times as fast as `encode`.
    found = tokenizer.encode_batch_fast([part], add_special_tokens=False)
    return found[0].ids, b"".join([bytes_V[i] for i in found[0].ids])

  parts = [np.zeros(0, np.int32)]
  start = 0
  for part in chunks(text):
    ids, back = ids_and_bytes(part)
    if back != part.encode():
      words = _lossy(part, back, start, lambda c: ids_and_bytes(c)[1])
      raise errors.DataError(words)
    parts.append(np.array(ids, np.int32))
    start += len(part)
  return np.concatenate(parts)


def _lossy(text, back, start, bytes_of):
  """Words for text that comes back as other bytes; it begins at `start`."""
  back = back.decode(errors="replace")
  pairs = enumerate(zip(text, back, strict=False))
  at = next((i for i, (a, b) in pairs if a != b), min(len(text), len(back)))
  seen = slice(max(0, at - 10), at + 10)
  alone = bytes_of(text[at : at + 1]).decode(errors="replace")
  first = ""
  if text[at : at + 1] not in alone:
    first = (
      f"character {text[at]!r} at position {start + at} comes back as"
      f" {alone!r}: "
    )
  return (
    f"{first}the tokenizer changes the text: {text[seen]!r} comes back as"
    f" {back[seen]!r}, so its figures would be of another text; use one"
    " without normalizer and prefix space, as byte-level BPE"
  )


def bpe_library():
  """The package tokenizers; UsageError where it is not installed."""
  try:
    import tokenizers
  except ImportError as e:
    raise errors.UsageError(
      "BPE needs the library tokenizers: pip install 'ar_jax[text]'"
    ) from e
  return tokenizers


def _tokenizer(media, source="spec.json"):
  """The Tokenizer of the `tokenizers` library that media holds."""
  return _load(json.dumps(media["tokenizer"]), source)


@functools.lru_cache(maxsize=4)  # each one that encodes costs 1 MB for good
def _load(values_json, source):
  tokenizers = bpe_library()
  try:
    result = tokenizers.Tokenizer.from_str(values_json)
  except Exception as e:  # the library raises nothing narrower
    raise errors.DataError(f"{source} is no tokenizer.json: {e}") from e
  result.no_truncation()
  result.no_padding()
  return result


@functools.lru_cache(maxsize=4)
def _bytes_of_tokens(tokenizer):
  """{id: bytes} of a tokenizer whose tokens are strings of bytes.

  Byte-level BPE spells bytes by GPT-2's table; BPE with byte fallback spells
  a space as U+2581 and a byte as <0x0A>.
  """
  decoder = json.loads(tokenizer.to_str())["decoder"] or {}
  kinds = {d["type"] for d in decoder.get("decoders", [decoder]) if d}
  if "ByteLevel" in kinds:
    spell = _byte_level
  elif kinds & {"ByteFallback", "Metaspace"}:
    spell = _byte_fallback
  else:
    raise errors.DataError(
      f"a tokenizer whose decoder is {decoder.get('type')} does not spell its"
      " tokens as bytes; ByteLevel, ByteFallback and Metaspace do"
    )
  added = tokenizer.get_added_tokens_decoder()
  vocabulary = tokenizer.get_vocab(with_added_tokens=False)
  result = {i: spell(token) for token, i in vocabulary.items()}
  return result | {i: token.content.encode() for i, token in added.items()}


def _byte_level(token):
  if all(c in _BYTE_OF for c in token):
    return bytes(_BYTE_OF[c] for c in token)
  return token.encode()


def _byte_fallback(token):
  byte = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
  return bytes.fromhex(byte[1]) if byte else token.replace("▁", " ").encode()


def _codes(text):
  """Code points, uint32 [T]."""
  return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
