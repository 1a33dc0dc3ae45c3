"""Speculative sampling: a cheap draft runs ahead, the model judges it at once.

Leviathan et al. 2023, Chen et al. 2023. Of a drafted value x with probability
q(x) under the draft and p(x) under the model, min(1, p / q) is kept; in place
of the first that is not, one is drawn from max(p - q, 0), normalized; after a
draft that is kept whole, one more from p. What comes out is distributed as
p, whatever the draft: a bad one costs time alone. Each row keeps its own
length, by `vmap` over caches of one row.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import ordering as orders
from ar_jax.samplers import _shared
from ar_jax.types import Sample

TINY = [
  dict(),
  dict(steps=2, order=1, temperature=0.7, top_k=2),
]

_TEST, _INSTEAD, _DRAFT = range(3)  # what noise of a step is for


class Draft(NamedTuple):
  """What runs ahead, of one row, in generation order.

  init_cache: (length, order_1L, y) -> cache; y of one row, [1, ...].
  step: (cache, x_LC, t) -> (log q [V] of step t, cache). It may read x_LC up
    to step t; in the cache are the steps before it.
  """

  init_cache: Callable
  step: Callable


class _State(NamedTuple):
  """Of one row: see jacobi.py. kept and drafted: counts of drafted values."""

  caches: Any
  sample: Any
  start: Any
  right: Any
  passes: Any
  kept: Any
  drafted: Any


def ngram(num_values, order):
  """A Draft that goes on as the row did after its last `order` values before.

  The latest place where these stood is looked up; where there is none, that of
  fewer, and at last the uniform distribution. Needs no training and no cache.
  """

  def step(cache, x_LC, t):
    x_L = x_LC[:, 0]
    t_L = jnp.arange(len(x_L))
    length_L = jnp.zeros(len(x_L), jnp.int32)  # of what agrees before a step
    agrees_L = (t_L < t) & (t_L > 0)
    for back in range(1, order + 1):
      before_L = jnp.roll(x_L, back)
      agrees_L &= (before_L == x_L[t - back]) & (t_L >= back) & (t >= back)
      length_L += agrees_L
    place = (length_L * len(x_L) + t_L).argmax()
    sure = jax.nn.one_hot(x_L[place], num_values, dtype=jnp.float32)
    found = length_L.max() > 0
    q_V = jnp.where(found, sure, 1 / num_values)
    return jnp.log(q_V), cache

  return Draft(lambda length, order_1L, y: (), step)


def network(model, head, params, **filters):
  """A Draft of a smaller network that takes the same orders and conditions."""
  adjust = _shared.adjust(head, **filters)
  # A numpy table cannot be read by a traced value.
  params = jax.tree.map(jnp.asarray, params)

  def init_cache(length, order_1L, y):
    return model.init_cache(params, 1, length, order_1L, y)

  def step(cache, x_LC, t):
    before_1C = jnp.where(t > 0, x_LC[t - 1], 0)[None]
    theta_1P, cache = model.step(params, cache, before_1C, t)
    return head.log_probs(adjust(theta_1P[0])), cache

  return Draft(init_cache, step)


def make(
  model,
  head,
  *,
  steps=4,
  order=3,
  draft=None,
  temperature=1.0,
  top_k=None,
  top_p=None,
  min_p=None,
):
  """Draws `steps` values by a draft, and keeps those that the model would.

  Args:
    model: Model.
    head: Head of one channel and values that can be listed.
    steps: values of a draft, 1 or more.
    order: of the n-gram that drafts where there is no other.
    draft: Draft; None: `ngram(order)` of the row itself.
    temperature: of the filters, as top_k, top_p, min_p; see filters.py.
      0 is greedy: then the same values as of ancestral.py.
  Returns:
    sampler(params, key, order_BL, given, y) -> Sample, distributed as that of
    ancestral.py, but not the same. `sampler.counted(...)` -> (Sample,
    dict(passes, kept, drafted)): int32 [B], passes of the model, values that
    were drafted, and how many of them were kept.
    The noise of a site depends on the key, its row and its step alone.
  Raises:
    ValueError: a head whose values cannot be listed, steps or order below 1.
  """
  if head.log_probs is None:
    raise ValueError(
      "speculative weighs all values of a site: it takes a head of one channel"
      " and finitely many values, as categorical; draw by ancestral or jacobi"
    )
  if steps < 1 or order < 1:
    raise ValueError(f"steps={steps}, order={order}: 1 or more of each")
  filters = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
  adjust = _shared.adjust(head, **filters)
  if draft is None:
    theta = jax.ShapeDtypeStruct((head.num_params,), jnp.float32)
    draft = ngram(len(jax.eval_shape(head.log_probs, theta)), order)

  def of_row(params, key, order_L, x_LC, known_L, y):
    """One row, in generation order."""
    L, C = x_LC.shape
    # Of the last pass what has not entered yet, and the draft after it.
    W = min(2 * steps + 1, L)
    order_1L = None if order_L is None else order_L[None]
    y = jax.tree.map(lambda a: a[None], y)
    step_key = jax.vmap(functools.partial(jax.random.fold_in, key))(
      jnp.arange(L)
    )
    noise_L = jax.vmap(lambda k: jax.random.split(k, 3))(step_key)
    caches = (
      model.init_cache(params, 1, L, order_1L, y),
      draft.init_cache(L, order_1L, y),
    )
    theta = jax.eval_shape(
      model.extend, params, caches[0], x_LC[None, :W], jnp.int32(0), None
    )[0]
    log_prob = jax.eval_shape(head.log_prob, theta, x_LC[None, :W])
    zeros_L = jnp.zeros(L, log_prob.dtype)

    def run_ahead(state):
      """(x with the drafted values, log q [W, V], cache of the draft)."""

      def body(carry, s):
        x_LC, cache, kept = carry
        log_q_V, cache = draft.step(cache, x_LC, s)
        entered = s < jnp.minimum(state.right + 1, L - W)
        kept = jax.tree.map(lambda a, b: jnp.where(entered, a, b), cache, kept)
        value = jax.random.categorical(noise_L[s, _DRAFT], log_q_V)
        fixed = known_L[s] | (s < state.right)
        value = jnp.where(fixed, x_LC[s, 0], value.astype(x_LC.dtype))
        return (x_LC.at[s, 0].set(value), cache, kept), log_q_V

      first = state.sample.x_BLC, state.caches[1], state.caches[1]
      at_W = state.start + jnp.arange(W)
      (x_LC, _, kept), log_q_WV = jax.lax.scan(body, first, at_W)
      return x_LC, log_q_WV, kept

    def one_pass(state):
      start, right = state.start, state.right
      at_W = start + jnp.arange(W)
      # A step may enter when the values before it are drawn for good.
      entered = jnp.minimum(right + 1, L - W) - start
      x_LC, log_q_WV, drafting = run_ahead(state)
      before_LC = jnp.pad(x_LC, ((1, 0), (0, 0)))
      theta_1WP, cache = model.extend(
        params, state.caches[0], before_LC[at_W][None], start, entered
      )
      theta_WP = theta_1WP[0]
      adjusted_WP = adjust(theta_WP)
      log_p_WV = head.log_probs(adjusted_WP)
      x_W, known_W = x_LC[at_W, 0], known_L[at_W]
      # Only so many steps are of the draft; the one after them is the bonus.
      drafted_W = (at_W >= right) & (at_W < right + steps)

      def at_x(log_WV):
        return jnp.take_along_axis(log_WV, x_W[:, None], 1)[:, 0]

      uniform_W = jax.vmap(jax.random.uniform)(noise_L[at_W, _TEST])
      fine_W = jnp.log(uniform_W) < at_x(log_p_WV) - at_x(log_q_WV)
      pass_W = (at_W < right) | (drafted_W & (known_W | fine_W))
      r = jnp.cumprod(pass_W).sum(dtype=jnp.int32)  # the first that is not
      r_in = jnp.minimum(r, W - 1)
      rest_V = jnp.exp(log_p_WV[r_in])
      refused_V = jnp.maximum(rest_V - jnp.exp(log_q_WV[r_in]), 0)
      # Where p and q are equal but for rounding there is nothing left of p.
      spare = drafted_W[r_in] & (refused_V.sum() > 0)
      rest_V = jnp.where(spare, refused_V, rest_V)
      drawn = jax.random.categorical(
        noise_L[at_W[r_in], _INSTEAD], jnp.log(rest_V)
      )
      drawn = jnp.where(known_W[r_in], x_W[r_in], drawn.astype(x_W.dtype))
      x_W = jnp.where(jnp.arange(W) == r, drawn, x_W)
      x_WC = x_W[:, None]
      now_right = jnp.minimum(start + r + 1, L)
      log_sampler_W = jnp.where(known_W, 0, head.log_prob(adjusted_WP, x_WC))
      part = Sample(x_WC, head.log_prob(theta_WP, x_WC), log_sampler_W)
      final_W = at_W < now_right
      sample = jax.tree.map(
        lambda a, b: a.at[at_W].set(
          jnp.where(
            jnp.expand_dims(final_W, tuple(range(1, b.ndim))), b, a[at_W]
          )
        ),
        state.sample,
        part,
      )
      judged_W = drafted_W & ~known_W
      return _State(
        (cache, drafting),
        sample,
        start + entered,
        now_right,
        state.passes + 1,
        state.kept + (judged_W & (jnp.arange(W) < r)).sum(dtype=jnp.int32),
        state.drafted + judged_W.sum(dtype=jnp.int32),
      )

    zero = jnp.int32(0)
    first = _State(
      caches, Sample(x_LC, zeros_L, zeros_L), zero, zero, zero, zero, zero
    )
    last = jax.lax.while_loop(lambda s: s.right < L, one_pass, first)
    counts = dict(passes=last.passes, kept=last.kept, drafted=last.drafted)
    return last.sample, counts

  @jax.jit
  def run(params, key, order_BL, x_BLC, known_BL, y):
    B = len(x_BLC)
    x_BLC = orders.permute(x_BLC, order_BL)
    known_BL = orders.permute(known_BL, order_BL)
    y = orders.permute_conditions(y, order_BL, model.aligned)
    x_BLC = jnp.where(known_BL[..., None], x_BLC, 0)
    row_B = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(B))
    several = order_BL is not None and len(order_BL) > 1
    order_axis = 0 if several else None
    shared = order_BL[0] if order_BL is not None and not several else order_BL
    sample, counts = jax.vmap(of_row, (None, 0, order_axis, 0, 0, 0))(
      params, row_B, shared, x_BLC, known_BL, y
    )
    return Sample(*(orders.unpermute(a, order_BL) for a in sample)), counts

  def counted(params, key, order_BL, given, y=None):
    x_BLC, known_BL = map(jnp.asarray, given)
    if order_BL is not None:
      order_BL = np.asarray(order_BL, np.int32)
    return run(params, key, order_BL, x_BLC, known_BL, y)

  def sampler(*args, **conditions):
    return counted(*args, **conditions)[0]

  sampler.counted = counted
  return sampler
