"""The English reference text that every CPython ships: `pydoc_data.topics`.

465,048 characters on Python 3.11; other versions differ a little. The
default of the demo, because nothing has to be downloaded.
"""

from ar_jax import corpus, text

TINY = [dict(length=16, stride=8)]


def make(
  *,
  length=128,
  stride=64,
  level="char",
  tokenizer="",
  split="0.9/0.1",
  protocol="strided",
):
  """The topics in alphabetical order, joined by a newline.

  The arguments are those of the text_file data set.
  """
  from pydoc_data import topics

  raw = "\n".join(topics.topics[k] for k in sorted(topics.topics)).encode()
  parts = corpus.cut(raw, split, level)
  media = text.make_media(level, "pydoc_data.topics", [raw.decode()], tokenizer)
  return corpus.dataset(
    parts, media, length=length, stride=stride, protocol=protocol
  )
