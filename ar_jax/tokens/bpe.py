"""Byte-level BPE learned from text that may be larger than memory.

The tokenizer of GPT-2 (Radford et al. 2019), with another vocabulary: words
with the space before them, spelled as bytes, so every text can be written.
"""

import os
import pathlib

from ar_jax import errors, text
from ar_jax.tokens import blocks

END = "<|endoftext|>"
_SMALLEST = 256 + 1  # every byte, and END
_SHOWN = 2**20  # bytes on which the result is measured


def train(out, patterns, vocab_size=1024, min_frequency=2, block=blocks.SIZE):
  """Learns merges and writes a tokenizer.json.

  The same text gives the same file. What grows with the text is the table of
  its different words alone.

  Args:
    out: the file; must not exist.
    patterns: list of paths and globs of UTF-8 text.
    vocab_size: the most tokens, the 256 bytes and END (which is 0) included.
    min_frequency: how often a pair must occur to be merged.
    block: bytes of text to hold at a time.
  Returns:
    dict(tokens=of the vocabulary, bytes_per_token=, measured=bytes at the
    start of the text on which that is).
  Raises:
    UsageError: a vocabulary too small, or `out` exists. DataError: text that
      cannot be read. StorageError: `out` cannot be written.
  """
  if vocab_size < _SMALLEST:
    raise errors.UsageError(
      f"--vocab_size {vocab_size} is too small: {_SMALLEST} are needed for the"
      f" 256 bytes and {END}"
    )
  if min_frequency < 1:
    raise errors.UsageError(
      f"--min_frequency must be at least 1, got {min_frequency}"
    )
  out = pathlib.Path(out).expanduser()
  if out.exists():
    raise errors.UsageError(f"{out} exists; choose another --out, or remove it")
  if not out.parent.is_dir():
    raise errors.UsageError(f"no directory {out.parent.absolute()} for --out")
  source = blocks.source(patterns, "IN")
  for start in range(0, source.size, block):
    stop = min(start + block, source.size)
    blocks.scan(blocks.spans(source, start, stop), alphabet=False)
  tokenizer = _learn(source, vocab_size, min_frequency, block)
  _write(out, tokenizer.to_str(pretty=True) + "\n")
  media = text.make_media("bpe", out.name, tokenizer=str(out))
  whole = source.size <= _SHOWN
  stop = source.size if whole else blocks.next_character(source, _SHOWN)
  raw = blocks.read(blocks.spans(source, 0, stop))
  count = len(text.encode_bytes(media, raw))
  return dict(
    tokens=tokenizer.get_vocab_size(),
    bytes_per_token=len(raw) / count,
    measured=len(raw),
  )


def _learn(source, vocab_size, min_frequency, block):
  tokenizers = text.bpe_library()
  byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
  tokenizer.pre_tokenizer = byte_level
  tokenizer.decoder = tokenizers.decoders.ByteLevel()
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=vocab_size,
    min_frequency=min_frequency,
    special_tokens=[END],
    initial_alphabet=sorted(byte_level.alphabet()),
    show_progress=False,
  )
  parts = (
    part
    for b in blocks.blocks(source, 0, source.size, block)
    for part in text.chunks(blocks.load(b).decode())
  )
  tokenizer.train_from_iterator(parts, trainer)
  return tokenizer


def _write(out, content):
  """Writes the file, whole or not at all."""
  new = out.with_name(out.name + ".new")
  try:
    new.write_text(content, encoding="utf-8")
    os.replace(new, out)
  except OSError as e:
    raise errors.StorageError(f"cannot write {out}: {e.strerror}") from e
