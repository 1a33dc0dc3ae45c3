"""Grouped sampling: several sites from one pass of an order-agnostic network.

Hoogeboom et al. 2021. The sites of a group are drawn side by
side, none of them told the others: fewer passes, and an approximation. See
schedules.py for the sizes of the groups.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import likelihood
from ar_jax import ordering as orders
from ar_jax.samplers import _shared
from ar_jax.types import Sample

_MODEL = dict(name="ardm", trunk="mlp", depth=1, width=8)
TINY = [
  dict(model=_MODEL),
  dict(model=_MODEL, temperature=0.7, top_k=2),
  dict(model=_MODEL, steps=(1, 2, 1)),
]


def make(
  model,
  head,
  *,
  temperature=1.0,
  top_k=None,
  top_p=None,
  min_p=None,
  steps=(),
  score=True,
):
  """Draws groups of sites from adjust(theta), in the order of generation.

  Args:
    model: Model with `predict`.
    head: Head.
    temperature: of the filters, as top_k, top_p, min_p; see filters.py.
      0 is greedy.
    steps: sites of each pass, as many as an item has in all; (): one a pass,
      which is exact and draws what samplers/ancestral.py draws.
    score: whether samples of groups are scored under the model, by L more
      passes; False: their log_prob_model is NaN.
  Returns:
    sampler(params, key, order_BL, given, y) -> Sample, as of ancestral.py.
    log_prob_sampler is that of what was drawn from, the product over groups
    and sites; log_prob_model is exact, under the order. `sampler.exact` says
    whether groups are of one site. A known site is forced when its group
    comes, and seen by the groups after it: an order which begins with the
    known sites makes them seen by all.
  Raises:
    ValueError: a model without `predict`; sizes below 1. The sampler: sizes
      whose sum is not L.
  """
  if model.predict is None:
    raise ValueError(
      "grouped takes a network that predicts all unknown sites at once, as"
      " models/ardm.py; sample from this one by ancestral"
    )
  steps = tuple(steps)
  if any(n < 1 or n != int(n) for n in steps):
    raise ValueError(f"steps {steps}: a pass draws one site or more")
  filters = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
  adjust = _shared.adjust(head, **filters)
  exact = all(n == 1 for n in steps)

  @jax.jit
  def run(params, key, order_BL, x_BLC, known_BL, y):
    B, L, _ = x_BLC.shape
    sizes = steps or (1,) * L
    M = max(sizes)
    site_BL = jnp.arange(L)[None] if order_BL is None else order_BL
    rank_BL = site_BL if order_BL is None else orders.rank(order_BL)
    row_B = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(B))
    # Every pass draws M sites; those beyond its group are drawn again. By the
    # rank of its sites a row goes back to data order.
    padded_BL = jnp.pad(site_BL, ((0, 0), (0, M)))
    theta = jax.eval_shape(model.predict, params, x_BLC, known_BL, y)
    x_BLC = x_BLC.astype(jax.eval_shape(head.sample, key, theta).dtype)
    log_prob = jax.eval_shape(head.log_prob, theta, x_BLC)
    zeros_BL = jnp.zeros((B, L + M), log_prob.dtype)
    given_BLC = _pad(orders.permute(x_BLC, order_BL), M)
    forced_BL = _pad(orders.permute(known_BL, order_BL), M)

    def body(sample, t):
      at = functools.partial(
        jax.lax.dynamic_slice_in_dim, start_index=t, slice_size=M, axis=1
      )
      drawn_BLC = orders.permute(sample.x_BLC[:, :L], rank_BL)
      theta_BLP = model.predict(params, drawn_BLC, rank_BL < t, y)
      theta_BMP = jnp.take_along_axis(theta_BLP, at(padded_BL)[..., None], 1)
      adjusted_BMP = adjust(theta_BMP)
      key_BM = _keys(row_B, t + jnp.arange(M))
      x_BMC = jax.vmap(jax.vmap(head.sample))(key_BM, adjusted_BMP)
      forced_BM = at(forced_BL)
      x_BMC = jnp.where(forced_BM[..., None], at(given_BLC), x_BMC)
      log_drawn_BM = head.log_prob(adjusted_BMP, x_BMC)
      group = Sample(
        x_BMC,
        head.log_prob(theta_BMP, x_BMC),
        jnp.where(forced_BM, 0, log_drawn_BM),
      )
      write = functools.partial(
        jax.lax.dynamic_update_slice_in_dim, start_index=t, axis=1
      )
      return jax.tree.map(write, sample, group), None

    sample = Sample(given_BLC, zeros_BL, zeros_BL)
    starts = jnp.asarray(np.cumsum((0, *sizes[:-1])), jnp.int32)
    sample, _ = jax.lax.scan(body, sample, starts)
    sample = Sample(*(orders.permute(a[:, :L], rank_BL) for a in sample))
    if exact:
      return sample
    log_model_BL = jnp.full((B, L), jnp.nan, sample.log_prob_model_BL.dtype)
    if score:
      log_model_BL = likelihood.log_prob(
        model, head, params, sample.x_BLC, order_BL, y
      )
    return sample._replace(log_prob_model_BL=log_model_BL)

  def sampler(params, key, order_BL, given, y=None):
    x_BLC, known_BL = map(jnp.asarray, given)
    L = x_BLC.shape[1]
    if steps and sum(steps) != L:
      raise ValueError(f"steps draw {sum(steps)} sites, an item has {L}")
    order_BL = None if order_BL is None else jnp.asarray(order_BL)
    return run(params, key, order_BL, x_BLC, known_BL, y)

  sampler.exact = exact
  return sampler


def _pad(a_BL, M):
  return jnp.pad(a_BL, ((0, 0), (0, M), *((0, 0),) * (a_BL.ndim - 2)))


def _keys(row_B, t_M):
  """Keys [B, M]: those of ancestral.py, by row and step."""
  fold = jax.vmap(jax.random.fold_in, (0, None))
  return jax.vmap(fold, (None, 0), 1)(row_B, t_M)
