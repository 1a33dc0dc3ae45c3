"""The Chow-Liu bar: of all trees over the sites, the likeliest, in closed form.

A tree says p(x) = p(x_root) prod over the others of p(x_m | x_parent(m)). Its
training log-likelihood is a sum over its edges of their mutual information,
and a constant: the best tree is a maximum spanning tree. Chow and Liu (1968),
"Approximating discrete probability distributions with dependence trees".

The axis letter M stands for the variables, here only: the channels of sites.
"""

import numpy as np

from ar_jax import data, errors
from ar_jax.types import DataSpec

TINY = [
  dict(spec=DataSpec((5,), num_values=3)),
  dict(spec=DataSpec((2, 3), channels=2, num_values=2), alpha=0.5),
]

_MAX_ENTRIES = 2**25  # of the pair counts, in float64: 256 MiB


def make(spec, *, alpha=1.0):
  """The maximum-likelihood tree over all sites and channels.

  Smoothing keeps the tables of a pair those of its variables: alpha is added
  to each count of a value, alpha / V to each of a pair of values, so that the
  root does not matter.

  Args:
    spec: discrete values; the memory grows as (L C V)**2.
    alpha: observations of each value that are taken for granted.
  Returns:
    fit(train) -> score; score(split) -> {"Chow-Liu tree": nats}, summed over
    the items.
  Raises:
    UsageError: real values, an alpha of 0 or below, more variables than fit;
      from `fit`, a stream, or items of which a part only is scored.
  """
  _check(spec, alpha)

  def fit(train):
    p_MV, p_MVMV, information_MM = pairs(train, spec, alpha)
    parent_M = _tree(information_MM)
    del information_MM
    nats_MVV = _conditionals(p_MV, p_MVMV, parent_M)
    del p_MVMV  # the one large array
    m_M = np.arange(len(parent_M))

    def score(split):
      nats = 0.0
      for x_BM, weight_B in _batches(split, spec):
        nats += weight_B @ nats_MVV[m_M, x_BM[:, parent_M], x_BM].sum(1)
      return {"Chow-Liu tree": float(nats)}

    return score

  return fit


def pairs(train, spec, alpha=1.0):
  """What is known of each pair of variables of a training split.

  Returns:
    (p [M, V] of the values of each variable, p [M, V, M, V] of the values of
    each pair, their mutual information in nats [M, M], whose diagonal is not
    meant), smoothed as in `make`.
  Raises:
    UsageError: as `make` and its `fit`.
  """
  _check(spec, alpha)
  if train.stream is not None:
    raise errors.UsageError(
      "chow_liu takes items, got windows of a stream; take the baseline ngram"
    )
  p_MV, p_MVMV = _smoothed(*_count(train, spec), alpha)
  return p_MV, p_MVMV, _mutual_information(p_MV, p_MVMV)


def _check(spec, alpha):
  if spec.num_values is None:
    raise errors.UsageError("chow_liu takes discrete values, got real ones")
  if not alpha > 0:
    raise errors.UsageError(f"chow_liu takes alpha > 0, got {alpha!r}")
  side = spec.length * spec.channels * spec.num_values
  if side**2 > _MAX_ENTRIES:
    raise errors.UsageError(
      f"chow_liu: {spec.length} sites x {spec.channels} channels x"
      f" {spec.num_values} values = {side:,} make a table of pairs too large;"
      f" it takes {int(_MAX_ENTRIES**0.5):,}"
    )


def _count(split, spec):
  """(weighted counts of pairs of values [M, V, M, V], sum of weights).

  The last value is counted by what the others leave: a quarter of the work
  where V is 2.
  """
  M, V = spec.length * spec.channels, spec.num_values
  rest = np.arange(V - 1)
  pair = np.zeros((M * (V - 1), M * (V - 1)))
  total = 0.0
  for x_BM, weight_B in _batches(split, spec, values=V):
    # Sums of ones are exact in float32 up to 2**24, more than a batch holds.
    one_hot = (x_BM[..., None] == rest).astype(np.float32)
    one_hot *= np.sqrt(weight_B)[:, None, None]
    one_hot = one_hot.reshape(len(x_BM), -1)
    pair += one_hot.T @ one_hot
    total += weight_B.sum(dtype=np.float64)
  pair = pair.reshape(M, V - 1, M, V - 1)
  count_MV = np.einsum("mvmv->mv", pair)
  count_MVMV = np.empty((M, V, M, V))
  count_MVMV[:, :-1, :, :-1] = pair
  count_MVMV[:, :-1, :, -1] = count_MV[..., None] - pair.sum(3)
  last_M1 = total - count_MV.sum(1, keepdims=True)
  count_MV = np.concatenate([count_MV, last_M1], 1)
  count_MVMV[:, -1] = count_MV - count_MVMV[:, :-1].sum(1)
  # Roots of weights other than 0 and 1 are rounded.
  return np.maximum(count_MVMV, 0, out=count_MVMV), total


def _smoothed(count_MVMV, total, alpha):
  """(p_MV, p_MVMV), the second in place of the counts."""
  V = count_MVMV.shape[1]
  p_MV = np.einsum("mvmv->mv", count_MVMV) + alpha
  p_MV /= total + alpha * V
  count_MVMV += alpha / V
  count_MVMV /= total + alpha * V
  return p_MV, count_MVMV


def _mutual_information(p_MV, p_MVMV):
  """Nats [M, M]; the diagonal is not meant."""
  log_MV = np.log(p_MV)
  rows = [
    np.einsum(
      "vmw,vmw->m", p_VMV, np.log(p_VMV) - log_V[:, None, None] - log_MV
    )
    for p_VMV, log_V in zip(p_MVMV, log_MV, strict=True)
  ]
  return np.stack(rows)


def _tree(weight_MM):
  """int [M]: the parents in a maximum spanning tree; 0, the root, is its own.

  Prim's algorithm: M steps of M operations.
  """
  parent_M = np.zeros(len(weight_MM), int)
  best_M = weight_MM[0].copy()  # to the nearest vertex of the tree
  best_M[0] = -np.inf
  for _ in range(len(weight_MM) - 1):
    m = int(best_M.argmax())
    best_M[m] = -np.inf
    closer_M = (weight_MM[m] > best_M) & (best_M > -np.inf)
    best_M[closer_M] = weight_MM[m][closer_M]
    parent_M[closer_M] = m
  return parent_M


def _conditionals(p_MV, p_MVMV, parent_M):
  """-log p(x_m = w | x_parent = v) as [M, v, w]; the root alone."""
  m_M = np.arange(len(p_MV))
  pair_MVV = p_MVMV[parent_M, :, m_M]
  nats_MVV = np.log(p_MV[parent_M])[..., None] - np.log(pair_MVV)
  nats_MVV[0] = -np.log(p_MV[0])
  return nats_MVV


def _batches(split, spec, values=1):
  """(x_BM, weight_B) of all items, a bounded number of sites at once.

  Args:
    split: Split.
    spec: of it.
    values: numbers that a variable takes up.
  """
  width = spec.length * spec.channels * values
  for x_BLC, weight_BL in data.chunks(split, width):
    weight_B = weight_BL[:, 0]
    if (weight_BL != weight_B[:, None]).any():
      raise errors.UsageError(
        "chow_liu takes items whose sites weigh the same; some of these are"
        " scored in part; take the baseline factorised"
      )
    yield x_BLC.reshape(len(weight_B), -1), weight_B
