"""The English reference text that every CPython ships: `pydoc_data.topics`.

465,048 characters on Python 3.11; other versions differ a little. The
default of the demo, because nothing has to be downloaded.
"""

from ar_jax import text

TINY = [dict(length=16, stride=8)]


def make(*, length=128, stride=64, level="char", train=0.9, protocol="strided"):
  """The topics in alphabetical order, joined by a newline; see text.py."""
  from pydoc_data import topics

  joined = "\n".join(topics.topics[k] for k in sorted(topics.topics))
  return text.dataset(
    joined,
    level=level,
    length=length,
    stride=stride,
    train=train,
    protocol=protocol,
    name="pydoc_data.topics",
  )
