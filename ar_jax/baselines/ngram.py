"""The n-gram bar: interpolated Witten-Bell over dense ids of contexts.

Everything is one recursion. With c(hw) counts, T(h) the number of distinct
values seen after h, and h' the context h without its first value,

  p(w | h) = (c(hw) + T(h) p(w | h')) / (c(h) + T(h))
           = share[hw] + rest[h] p(w | h')

so that `share` and `rest` sum to one for each context and so does p. The
recursion starts at the uniform 1 / V, with which the empty context mixes like
any other. A gram never seen has share 0; a context never seen has rest 1: it
backs off.

A gram of k values is a dense id, found among those of its length by the id of
its first k - 1 values and by the last one. So no key exceeds (number of grams
of one length) * V, where V**n would overflow.

Witten and Bell (1991), "The zero-frequency problem", method C; interpolated
as in Chen and Goodman (1999), "An empirical study of smoothing techniques for
language modeling", section 2.6.
"""

import numpy as np

from ar_jax import data, errors
from ar_jax.types import DataSpec

TINY = [
  dict(spec=DataSpec((7,), num_values=4)),
  dict(spec=DataSpec((2, 3), num_values=3), orders=(1, 3)),
]

_SITES_AT_ONCE = 2**20
_UNSEEN = -1  # The id of what training lacks: the last entry of every table.
_NO_KEY = np.iinfo(np.int64).max


def make(spec, *, orders=(2, 3, 4, 5, 6)):
  """Interpolated Witten-Bell n-grams, in data order.

  Args:
    spec: one channel of discrete values.
    orders: the n to report; n - 1 values of context.

  Returns:
    fit(train) -> score; score(split) -> nats summed over the scored sites, by
    name. Of a stream, "5-gram" predicts each token from the 4 before it, and
    "5-gram, window" sees what the network sees: the tokens of the item.
    Without a stream the items are the sequences: "5-gram" alone. Training
    items count by their weights; a training stream counts whole.
  Raises:
    UsageError: spec or orders of another kind; from `score`, a stream of
      which more than the first token is not scored exactly once.
  """
  _check(spec, orders)

  def fit(train):
    levels = _fit_levels(*_sequences(train), spec.num_values, max(orders))

    def score(split):
      items, weight = _score_items(levels, split, spec)
      if split.stream is None:
        return {f"{n}-gram": items[n] for n in orders}
      stream = _score_stream(levels, split.stream, weight, spec)
      return {
        **{f"{n}-gram": stream[n] for n in orders},
        **{f"{n}-gram, window": items[n] for n in orders},
      }

    return score

  return fit


def _check(spec, orders):
  if spec.num_values is None:
    raise errors.UsageError("ngram takes discrete values, got real ones")
  if spec.channels != 1:
    raise errors.UsageError(
      f"ngram takes one channel a site, got {spec.channels}"
    )
  if not orders or min(orders) < 1:
    raise errors.UsageError(f"ngram takes orders from 1 up, got {orders}")


def _sequences(split):
  """(x_BL, weight_BL) to count: the stream as one row, or the items."""
  if split.stream is not None:
    x_BL = np.asarray(split.stream)[None]
    return x_BL, np.ones(x_BL.shape)
  x_BLC, weight_BL, _ = split.get(np.arange(split.size))
  return np.asarray(x_BLC)[..., 0], np.asarray(weight_BL)


def _score_items(levels, split, spec):
  """({n: nats}, weight), both summed over all items, contexts cut at each."""
  nats = np.zeros(len(levels))
  weight = 0.0
  size = max(1, min(split.size, _SITES_AT_ONCE // spec.length))
  for x_BLC, weight_BL, _, _ in data.eval_batches(split, size):
    p_NBL = _probabilities(levels, x_BLC[..., 0], spec.num_values)
    nats += [-np.sum(np.log(p_BL) * weight_BL) for p_BL in p_NBL]
    weight += np.sum(weight_BL, dtype=np.float64)
  return _by_order(nats), weight


def _score_stream(levels, stream, weight, spec):
  """{n: nats} of the stream, less its first token where `weight` lacks it."""
  skip = len(stream) - round(weight)
  if skip not in (0, 1):
    raise errors.UsageError(
      "ngram takes items that score each token of their stream once, the first"
      f" perhaps not; got weight {weight:g} for {len(stream)} tokens"
    )
  x_1T = np.asarray(stream)[None]
  p_N1T = _probabilities(levels, x_1T, spec.num_values)
  return _by_order([-np.sum(np.log(p_1T[:, skip:])) for p_1T in p_N1T])


def _by_order(nats_N):
  return {n: float(nats) for n, nats in enumerate(nats_N, start=1)}


def _fit_levels(x_BL, weight_BL, num_values, order):
  """Tables (keys_G, share_G, rest_H) of the grams of 1 to `order` values.

  keys are sorted, G counts the grams of one length and H those one shorter,
  the contexts. Each table ends with the entry of `_UNSEEN`.
  """
  levels = []
  context_BL, num_contexts = np.zeros(x_BL.shape, np.int64), 1
  for _ in range(order):
    key_BL = context_BL * num_values + x_BL
    keys = np.append(np.unique(key_BL[context_BL != _UNSEEN]), _NO_KEY)
    gram_BL = _find(keys, key_BL)
    seen_BL = gram_BL != _UNSEEN
    count = np.bincount(gram_BL[seen_BL], weight_BL[seen_BL], len(keys) - 1)
    levels.append((keys, *_mix(count, keys[:-1] // num_values, num_contexts)))
    context_BL, num_contexts = _shift(gram_BL), len(count)
  return levels


def _mix(count_G, context_G, num_contexts):
  """(share, rest) of one level, each ending with the entry of `_UNSEEN`.

  A context that nothing follows, as at the end of a stream, is given T = 1:
  all of it is rest.
  """
  total = np.bincount(context_G, count_G, num_contexts)
  distinct = np.bincount(context_G, count_G > 0, num_contexts)
  distinct = np.maximum(distinct, 1)
  share_G = count_G / (total + distinct)[context_G]
  return np.append(share_G, 0.0), np.append(distinct / (total + distinct), 1.0)


def _probabilities(levels, x_BL, num_values):
  """Yields p_BL of order 1, 2, ...: of each value given those before it."""
  p_BL = np.full(x_BL.shape, 1 / num_values)
  context_BL = np.zeros(x_BL.shape, np.int64)
  for keys, share, rest in levels:
    gram_BL = _find(keys, context_BL * num_values + x_BL)
    p_BL = share[gram_BL] + rest[context_BL] * p_BL
    yield p_BL
    context_BL = _shift(gram_BL)


def _find(keys, key_BL):
  """Ids of keys; the key of an unseen context is negative, so unseen too."""
  id_BL = np.searchsorted(keys, key_BL)
  return np.where(keys[id_BL] == key_BL, id_BL, _UNSEEN)


def _shift(gram_BL):
  """The gram that ends before each site is its context; none at the first."""
  first_B1 = np.full_like(gram_BL[:, :1], _UNSEEN)
  return np.concatenate([first_B1, gram_BL[:, :-1]], axis=1)
