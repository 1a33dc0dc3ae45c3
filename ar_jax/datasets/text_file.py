"""UTF-8 text files, as characters, bytes or the tokens of a tokenizer."""

from ar_jax import corpus, text

TINY = [dict(path=__file__, length=16, stride=8)]


def make(
  *,
  path,
  length=256,
  stride=128,
  level="char",
  tokenizer="",
  split="0.9/0.1",
  valid_path="",
  test_path="",
  protocol="strided",
):
  """The text of one or more files, cut by position, or by file.

  The same bytes are the validation split at every level, so figures per byte
  compare tokenizers; but a split by bytes, exact at level byte, moves to the
  next character at the others.

  Args:
    path: "a.txt,more/*.txt": files and globs, read one after the other as
      `cat` does.
    length, stride, protocol: of the windows; see corpus.dataset.
    level: "char", "byte" or "bpe".
    tokenizer: path of a tokenizer.json, for "bpe".
    split: "0.9/0.1" or "90M/5M/5M"; see corpus.cut. Unread with valid_path.
    valid_path, test_path: files and globs of these splits; path then trains.
  Raises:
    DataError: no such file, an empty one, one that is not UTF-8, or a split
      shorter than a window; a file that is named twice.
  """
  patterns = dict(train=path, valid=valid_path, test=test_path)
  keys = dict(train="path", valid="valid_path", test="test_path")
  keys = {n: f"config.data.{k}" for n, k in keys.items()}
  given = [n for n, pattern in patterns.items() if pattern or n == "train"]
  raw = corpus.read_parts({keys[n]: patterns[n] for n in given})
  parts = {n: raw[keys[n]] for n in given}
  if not valid_path:
    parts = corpus.cut(raw[keys["train"]], split, level) | {
      n: parts[n] for n in given if n != "train"
    }
  source = corpus.source(corpus.expand(path))
  texts = (part.decode() for part in parts.values()) if level == "char" else ()
  media = text.make_media(level, source, texts, tokenizer)
  return corpus.dataset(
    parts, media, length=length, stride=stride, protocol=protocol
  )
