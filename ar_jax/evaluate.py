"""Scores of a whole split: sums first, one division at the edge.

A number never travels alone: a Score carries its split, protocol, estimator
and how much was scored.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import data, errors, likelihood, parallel

# What the figures of `in_units` are called where people read them.
UNITS = dict(
  nats_per_site="nats/token",
  bits_per_site="bits/token",
  bits_per_dim="bits/dim",
  bits_per_char="bits/char",
  bits_per_byte="bits/byte",
  bits_per_sample="bits/sample",
  nats_per_frame="nats/frame",
  nats_per_item="nats/item",
  perplexity_per_site="ppl/token",
  perplexity_per_word="ppl/word",
)


class Score(NamedTuple):
  """Totals of one split.

  nats: negative log-likelihood, summed over what is scored, float64.
  weight: number of scored sites.
  nats_N, weight_N: the same for each item.
  estimator: "exact", "exact: mixture of K orders", or "bound": one drawn
    order for each item.
  site_L, step_L: Along, the same at each site and at each step of the order;
    of several orders that all items are scored under, summed over them.
  """

  nats: float
  weight: float
  nats_N: Any
  weight_N: Any
  estimator: str
  split: str
  protocol: str
  site_L: Any = None
  step_L: Any = None


class Along(NamedTuple):
  """Totals along the axis L, summed over items, float64 [L]."""

  nats: Any
  weight: Any

  def mean(self):
    """Mean nats of each site or step: the cross-entropy; nan if unscored."""
    with np.errstate(invalid="ignore"):
      return self.nats / self.weight


def make_score(model, head, ordering, seed):
  """(params, batch) -> nats [B, L], without dropout; one compiled function.

  A family of several orders is scored under one order for each item, drawn
  from the seed and the item's number.
  """

  def score(params, batch):
    order_BL = ordering.draw(_keys(seed, batch.index_B))
    return -likelihood.log_prob(
      model, head, params, batch.x_BLC, order_BL, batch.y
    )

  return parallel.map_batch(score)


def evaluate(score, params, split, name, batch_size, ordering, seed=0):
  """Scores every item of a split exactly once.

  Args:
    score: of make_score.
    params: of the model.
    split: Split.
    name: of the split, for the record.
    batch_size: made divisible by the devices; the last batch is padded.
    ordering: Ordering, which decides the estimator.
    seed: of make_score; the orders of the items are drawn again by it.
  Returns:
    Score.
  """

  def draw(_, index_B):
    order_BL = ordering.draw(_keys(seed, index_B))
    return jnp.broadcast_to(order_BL, (len(index_B), order_BL.shape[1]))

  exact = ordering.orders_KL is not None and len(ordering.orders_KL) == 1
  drawn = parallel.map_batch(draw)  # on the devices that score, as they do

  def order_of(index_B):
    return ordering.orders_KL if exact else drawn((), index_B)

  items = _items(score, params, split, batch_size, order_of)
  estimator = "exact" if exact else "bound: one drawn order an item"
  return _score(*items, estimator, name, split)


def _keys(seed, index_B):
  """The key that each item's order is drawn from."""
  fold = jax.vmap(jax.random.fold_in, (None, 0))
  return fold(jax.random.key(seed), index_B)


def _score(nats_N, weight_N, site_L, step_L, estimator, name, split):
  nats, weight = float(nats_N.sum()), float(weight_N.sum())
  figures = nats, weight, nats_N, weight_N, estimator, name, split.protocol
  return Score(*figures, site_L, step_L)


def _items(score, params, split, batch_size, order_of):
  """(nats, weight) of each item, float64 [N], and Along sites and steps.

  Each item is scored exactly once; order_of: (index [B]) -> order_BL, which
  it is scored under.
  """
  nats_N = np.zeros(split.size)
  weight_N = np.zeros(split.size)
  site_2L, step_2L = 0, 0
  seen_N = np.zeros(split.size, int)
  size = parallel.padded(min(batch_size, split.size))
  for k, batch in enumerate(data.eval_batches(split, size)):
    nats_BL = np.asarray(score(params, batch), np.float64)
    if split.log_jacobian is not None:
      nats_BL = nats_BL - split.log_jacobian(batch.index_B)
    real = min(size, split.size - k * size)
    index = batch.index_B[:real]
    weight_BL = np.asarray(batch.weight_BL, np.float64)[:real]
    scored_BL = np.where(weight_BL > 0, nats_BL[:real], 0) * weight_BL
    nats_N[index] = scored_BL.sum(1)
    weight_N[index] = weight_BL.sum(1)
    seen_N[index] += 1
    order_BL = np.asarray(order_of(batch.index_B))[:real]
    both = np.stack([scored_BL, weight_BL])
    index_BL = np.broadcast_to(order_BL, scored_BL.shape)
    site_2L = site_2L + both.sum(1)
    step_2L = step_2L + np.take_along_axis(both, index_BL[None], 2).sum(1)
  assert (seen_N == 1).all(), "an item was scored more than once, or never"
  return nats_N, weight_N, Along(*site_2L), Along(*step_2L)


def make_score_under(model, head):
  """((params, order_1L), batch) -> nats [B, L]: every row in one order."""

  def score(given, batch):
    params, order_1L = given
    return -likelihood.log_prob(
      model, head, params, batch.x_BLC, order_1L, batch.y
    )

  return parallel.map_batch(score)


def mixture(score, params, split, name, batch_size, orders_KL):
  """Scores every item under each of K orders, mixed at the joint level.

  Args:
    score: of make_score_under.
    params, split, name, batch_size: as of `evaluate`.
    orders_KL: int32 [K, L].
  Returns:
    (Score of the mixture of all K, {k: nats an item of the mixture of the
    first k, for k = 1, 2, 4, ... K}, nats an item of each order; their mean
    bounds the mixture).
  Raises:
    UsageError: sites that are not scored; the rest is then no joint
      probability, and what is mixed would not sum to one.
  """
  nats_KN = np.zeros((len(orders_KL), split.size))
  along = []
  for k, order_1L in enumerate(orders_KL[:, None]):
    given = parallel.replicate((params, order_1L))
    nats_KN[k], weight_N, *sums = _items(
      score, given, split, batch_size, lambda index, order_1L=order_1L: order_1L
    )
    along.append(sums)
    if (weight_N != order_1L.size).any():
      raise errors.UsageError(
        f"config.evaluate.orders: items of the {name} split have sites that"
        " are not scored, and only whole items can be mixed over orders"
      )
  counts = [2**i for i in range(len(nats_KN).bit_length())]
  counts = sorted({*(c for c in counts if c <= len(nats_KN)), len(nats_KN)})
  curve = {k: float(-likelihood.mix(-nats_KN[:k]).mean()) for k in counts}
  nats_N = -likelihood.mix(-nats_KN)
  estimator = f"exact: mixture of {len(nats_KN)} orders"
  site_L, step_L = (
    Along(*np.sum([[a.nats, a.weight] for a in sums], 0))
    for sums in zip(*along, strict=True)
  )
  score = _score(nats_N, weight_N, site_L, step_L, estimator, name, split)
  return score, curve, nats_KN.mean(1).tolist()


def standard_error(nats_N, weight_N):
  """Of sum(nats) / sum(weight), over items as independent draws.

  The windows of one text are neighbors: there it is a lower bound.
  """
  n, weight = len(nats_N), weight_N.sum()
  if n < 2:
    return math.nan
  residual_N = nats_N - weight_N * nats_N.sum() / weight
  return float(np.sqrt(n / (n - 1) * (residual_N**2).sum()) / weight)


def report(score, units, entropy=None):
  """The Score as JSON data in every unit there is.

  Args:
    score: Score.
    units: of the Split: bytes, words, frames, ... behind what is scored.
    entropy: exact entropy of one item in nats, where it is known.
  """
  items = len(score.nats_N)
  result = dict(
    split=score.split,
    protocol=score.protocol,
    estimator=score.estimator,
    items=items,
    sites=_whole(score.weight),
    standard_error=standard_error(score.nats_N, score.weight_N),
    **in_units(score.nats, score.weight, units),
  )
  if entropy is not None:
    bound = entropy * items / score.weight
    result["entropy_nats_per_site"] = bound
    result["excess_nats_per_site"] = result["nats_per_site"] - bound
  return result


def precision(params):
  """How figures of these parameters are computed, in words."""
  dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)})
  matmul = jax.config.jax_default_matmul_precision or "default"
  x64 = "on" if jax.config.jax_enable_x64 else "off"
  return f"{', '.join(dtypes)}, matmul {matmul}, x64 {x64}"


def in_units(nats, sites, units):
  """A total of nats per site and per each of the units that are counted."""
  result = dict(
    nats_per_site=nats / sites,
    bits_per_site=likelihood.bits(nats) / sites,
    perplexity_per_site=likelihood.perplexity(nats, sites),
  )
  for unit in ("byte", "char", "dim", "sample"):
    if unit in units:
      result[f"bits_per_{unit}"] = likelihood.bits(nats) / units[unit]
  for unit in ("frame", "item"):
    if unit in units:
      result[f"nats_per_{unit}"] = nats / units[unit]
  if "word" in units:
    result["perplexity_per_word"] = likelihood.perplexity(nats, units["word"])
  return result


def _whole(count):
  """A count as int where it is one; weights may be fractions."""
  return int(count) if count == int(count) else count
