"""The unigram bar: every value drawn alone from one table of frequencies."""

import numpy as np

from ar_jax import data, errors
from ar_jax.types import DataSpec

TINY = [
  dict(spec=DataSpec((5,), num_values=4)),
  dict(spec=DataSpec((2, 3), channels=2, num_values=3)),
]


def make(spec):
  """Frequencies over all sites and channels alike, with add-one smoothing.

  Returns:
    fit(train) -> score; score(split) -> {"unigram": nats}, summed over the
    scored sites and their channels. Sites of weight 0 are not counted either;
    a stream is counted whole.
  Raises:
    UsageError: real values.
  """
  if spec.num_values is None:
    raise errors.UsageError("marginal takes discrete values, got real ones")

  def fit(train):
    count_V = 1 + _count(train, spec)
    nats_V = np.log(count_V.sum()) - np.log(count_V)

    def score(split):
      batches = data.chunks(split, spec.length)
      return {"unigram": sum(_weigh(nats_V[x], w) for x, w in batches)}

    return score

  return fit


def _count(split, spec):
  """How often each value occurs, weighted: float[V]."""
  count_V = np.zeros(spec.num_values)
  if split.stream is not None:  # perhaps of a file larger than memory
    for first in range(0, len(split.stream), data.AT_ONCE):
      part_T = split.stream[first : first + data.AT_ONCE]
      _check(part_T, first, spec)
      count_V += np.bincount(part_T, minlength=spec.num_values)
    return count_V
  for x_BLC, weight_BL in data.chunks(split, spec.length):
    weight_BLC = np.broadcast_to(weight_BL[..., None], x_BLC.shape)
    count_V += np.bincount(x_BLC.ravel(), weight_BLC.ravel(), spec.num_values)
  return count_V


def _check(part_T, first, spec):
  """DataError for a value out of range; counting it would be another error."""
  largest = int(part_T.max())
  if largest >= spec.num_values:
    offset = first + int(part_T.argmax())
    raise errors.DataError(
      f"token {largest} at offset {offset:,} of the training split is none of"
      f" the {spec.num_values:,} values 0..{spec.num_values - 1}"
    )


def _weigh(nats_BLC, weight_BL):
  return float(np.sum(nats_BLC.sum(-1) * weight_BL))
