"""Products of two primes, p x q = n: as easy one way as it is hard the other.

After Papadopoulos et al. 2024 ("Arrows of time for large language models"). An
item is the text of one product, as 11*13=0143. Left to right a network has to
multiply, right to left to factorize: the joint entropy is the same, the log of
the number of pairs, and what a network needs above it is the cost of its
order. The splits are independent draws: of few pairs, those of the test are in
the training split too.
"""

import numpy as np

from ar_jax import errors
from ar_jax.datasets import _known
from ar_jax.types import Dataset, DataSpec

TINY = [dict(digits=1, train_size=7, valid_size=5, test_size=3)]

_VOCABULARY = sorted("0123456789*=")


def make(
  *, digits=4, train_size=100_000, valid_size=5_000, test_size=5_000, seed=0
):
  """Pairs of primes p < q, uniform, with repetition.

  `entropy` of a split is exact: the log of the number of pairs, nats an item.

  Args:
    digits: of each prime, 1 to 4: 6, 210, 10,153 or 562,330 pairs.
    train_size, valid_size, test_size: items.
    seed: of the samples; each split is a stream of its own.
  Raises:
    UsageError: an argument out of its range.
  """
  if type(digits) is not int or not 1 <= digits <= 4:
    raise errors.UsageError(f"products: digits={digits!r}: 1 to 4")
  sizes = dict(train=train_size, valid=valid_size, test=test_size)
  for name, size in sizes.items():
    if type(size) is not int or size < 1:
      raise errors.UsageError(f"products: {name}_size={size!r}: 1 or more")
  prime_P = primes(10 ** (digits - 1), 10**digits)
  first, second = np.triu_indices(len(prime_P), 1)
  nats = np.log(len(first))

  def exact(x_BL):
    return np.full(len(x_BL), nats)  # all pairs are as likely

  splits = {}
  for stream, (name, size) in enumerate(sizes.items()):
    rng = np.random.default_rng([seed, stream])
    drawn = rng.integers(len(first), size=size)
    p, q = prime_P[first[drawn]], prime_P[second[drawn]]
    x_NL = _written(p, q, digits)
    units = dict(char=x_NL.size, item=len(x_NL))
    splits[name] = _known.split(x_NL, nats, exact, units)
  media = dict(
    kind="text", level="char", vocabulary=_VOCABULARY, source="products"
  )
  spec = DataSpec((4 * digits + 2,), 1, len(_VOCABULARY))
  return Dataset(spec, splits, media)


def primes(low, high):
  """The primes p with low <= p < high, int64, by Eratosthenes' sieve."""
  is_prime = np.ones(high, bool)
  is_prime[:2] = False
  for n in range(2, int(high**0.5) + 1):
    is_prime[n * n :: n] = False
  found = np.flatnonzero(is_prime)
  return found[found >= low]


def _written(p_N, q_N, digits):
  """Tokens of "p*q=n", zero-padded, uint8 [N, 4 digits + 2]."""
  rows = zip(p_N, q_N, p_N * q_N, strict=True)
  text = "".join(
    f"{p:0{digits}d}*{q:0{digits}d}={n:0{2 * digits}d}" for p, q, n in rows
  )
  place = np.zeros(128, np.uint8)
  place[[ord(c) for c in _VOCABULARY]] = np.arange(len(_VOCABULARY))
  token_T = place[np.frombuffer(text.encode("ascii"), np.uint8)]
  return token_T.reshape(len(p_N), -1)
