"""The factorised bar: every site drawn alone, from a table of its own."""

import numpy as np

from ar_jax import data, errors
from ar_jax.types import DataSpec

TINY = [
  dict(spec=DataSpec((5,), num_values=3)),
  dict(spec=DataSpec((2, 3), channels=2, num_values=2), alpha=0.5),
]

_MAX_ENTRIES = 2**26  # of the table, in float64: 512 MiB


def make(spec, *, alpha=1.0):
  """Frequencies of each site and channel: what is left without any context.

  Args:
    spec: discrete values.
    alpha: added to every count (0.5: Krichevsky-Trofimov, 1: Laplace).
  Returns:
    fit(train) -> score; score(split) -> {"factorised": nats}, summed over the
    scored sites and their channels. Sites of weight 0 are not counted either.
  Raises:
    UsageError: real values, an alpha of 0 or below, too large a table; from
      `fit`, a stream, whose sites are all alike.
  """
  _check(spec, alpha)

  def fit(train):
    if train.stream is not None:
      raise errors.UsageError(
        "factorised takes items, got windows of a stream, where no site differs"
        " from the next; take the baseline marginal"
      )
    count_LCV = alpha + _count(train, spec)
    total_LC1 = count_LCV.sum(-1, keepdims=True)
    nats_LCV = np.log(total_LC1) - np.log(count_LCV)

    def score(split):
      nats = 0.0
      for x_BLC, weight_BL in data.chunks(split, spec.length):
        nats_BLC = np.take_along_axis(nats_LCV[None], x_BLC[..., None], -1)
        nats += float(np.sum(nats_BLC[..., 0].sum(-1) * weight_BL))
      return {"factorised": nats}

    return score

  return fit


def _check(spec, alpha):
  if spec.num_values is None:
    raise errors.UsageError("factorised takes discrete values, got real ones")
  if not alpha > 0:
    raise errors.UsageError(f"factorised takes alpha > 0, got {alpha!r}")
  entries = spec.length * spec.channels * spec.num_values
  if entries > _MAX_ENTRIES:
    raise errors.UsageError(
      f"factorised: {spec.length} sites x {spec.channels} channels x"
      f" {spec.num_values} values make {entries:,} entries of its table; it"
      f" takes {_MAX_ENTRIES:,}"
    )


def _count(split, spec):
  """How often each value occurs at each place, weighted: float[L, C, V]."""
  shape = spec.length, spec.channels, spec.num_values
  count = np.zeros(np.prod(shape))
  place_LC = np.arange(len(count) // spec.num_values).reshape(shape[:2])
  for x_BLC, weight_BL in data.chunks(split, spec.length):
    at_BLC = place_LC * spec.num_values + x_BLC
    weight_BLC = np.broadcast_to(weight_BL[..., None], x_BLC.shape)
    count += np.bincount(at_BLC.ravel(), weight_BLC.ravel(), len(count))
  return count.reshape(shape)
