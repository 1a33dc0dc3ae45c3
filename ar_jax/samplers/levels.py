"""Sampling by dependency levels: sites that do not need each other at once.

Exact: a site is drawn from what ancestral.py draws it from, by the same noise.
One scan over the levels of the model's dependency graph. A network that is the
same function where sites come level by level, as masked convolutions are, is
extended by a level at a time; any other has one forward a level. Where each
step sees the one before it, levels are steps, and this is ancestral.py.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import levels
from ar_jax import ordering as orders
from ar_jax.samplers import _shared
from ar_jax.types import Sample

TINY = [
  dict(),
  dict(temperature=0.7, top_k=2),
  dict(top_p=0.8),
  dict(min_p=0.1),
]


def make(model, head, *, temperature=1.0, top_k=None, top_p=None, min_p=None):
  """Draws the sites of a level from adjust(theta), level after level.

  Args:
    model: Model.
    head: Head.
    temperature: of the filters, as top_k, top_p, min_p; see filters.py.
      0 is greedy.
  Returns:
    sampler(params, key, order_BL, given, y) -> Sample, as of ancestral.py. The
    noise of a site depends on the key, its row and its step in the order
    alone, so both draw the same. Known sites are forced when their level
    comes. Levels are those of one order: rows of different orders, of a model
    whose graph depends on the order, are drawn step by step.
  """
  filters = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
  adjust = _shared.adjust(head, **filters)

  @functools.partial(jax.jit, static_argnames=("cached", "width"))
  def run(params, key, order_BL, x_BLC, known_BL, y, table, cached, width):
    B, L, C = x_BLC.shape
    G, M = table.level.step_M.shape  # levels, and steps of the widest
    place_BL = order_BL
    if table.by_level_L is not None:
      place_BL = jnp.arange(L)[None] if order_BL is None else order_BL
      place_BL = place_BL[:, table.by_level_L]
    x_BLC = orders.permute(x_BLC, place_BL)
    known_BL = orders.permute(known_BL, place_BL)
    y = orders.permute_conditions(y, place_BL, model.aligned)
    cache = model.init_cache(params, B, L, place_BL, y) if cached else None

    def read(cache, before_BLC, level):
      """theta [B, M, P] of a level; what it depends on enters the cache."""
      if not cached:
        x_BLC = _shared.whole(before_BLC[:, 1:], model)
        theta_BLP = model.apply(params, x_BLC, place_BL, y)
        return _take(theta_BLP, level.at_M), cache
      t = level.cursor
      inputs = functools.partial(
        jax.lax.dynamic_slice_in_dim, before_BLC, slice_size=width, axis=1
      )
      if model.enter is not None and width > 1:
        cache = model.enter(params, cache, inputs(t), t)
        t = level.start
      x_BKC = inputs(t)
      if width == 1:
        theta_BP, cache = model.step(params, cache, x_BKC[:, 0], t)
        return theta_BP[:, None], cache
      theta_BKP, cache = model.extend(params, cache, x_BKC, t, level.entered)
      return _take(theta_BKP, level.at_M - t), cache

    # Slot t holds what step t reads: the value of the step before it.
    before_BLC = jnp.zeros((B, L + 1, C), x_BLC.dtype)
    first = jax.tree.map(lambda a: a[0], table.level)
    theta, _ = jax.eval_shape(read, cache, before_BLC, first)
    make_noise, draw = _shared.noise(head, theta.dtype)
    row_B = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(B))

    def noise_of(step_M):
      fold = jax.vmap(jax.random.fold_in, (None, 0))
      key_BM = jax.vmap(fold, (0, None))(row_B, step_M)
      return jax.vmap(jax.vmap(make_noise))(key_BM)

    held = _shared.is_held(G, jax.eval_shape(noise_of, first.step_M))
    noise_G = jax.vmap(noise_of)(table.level.step_M) if held else None

    def body(carry, inputs):
      cache, before_BLC = carry
      level, given_BMC, known_BM, noise_BM = inputs
      theta_BMP, cache = read(cache, before_BLC, level)
      adjusted_BMP = adjust(theta_BMP)
      noise_BM = noise_BM if held else noise_of(level.step_M)
      drawn_BMC = jax.vmap(jax.vmap(draw))(noise_BM, adjusted_BMP)
      drawn_BMC = drawn_BMC.astype(given_BMC.dtype)
      x_BMC = jnp.where(known_BM[..., None], given_BMC, drawn_BMC)
      before_BLC = before_BLC.at[:, level.at_M + 1].set(x_BMC, mode="drop")
      log_drawn_BM = head.log_prob(adjusted_BMP, x_BMC)
      log_sampler_BM = jnp.where(known_BM, 0, log_drawn_BM)
      log_model_BM = head.log_prob(theta_BMP, x_BMC)
      return (cache, before_BLC), Sample(x_BMC, log_model_BM, log_sampler_BM)

    def of_levels(a_BL):
      a_BR = _take(a_BL, table.level.at_M.reshape(-1))
      return a_BR.reshape(B, G, M, *a_BL.shape[2:]).swapaxes(0, 1)

    xs = table.level, of_levels(x_BLC), of_levels(known_BL), noise_G
    _, sample = jax.lax.scan(body, (cache, before_BLC), xs)

    def of_sites(a_GBM):
      a_BR = a_GBM.swapaxes(0, 1).reshape(B, G * M, *a_GBM.shape[3:])
      return orders.unpermute(a_BR[:, table.slot_L], order_BL)

    return Sample(*map(of_sites, sample))

  @functools.lru_cache(maxsize=8)
  def plan(length, order_bytes):
    order_L = order_bytes and np.frombuffer(order_bytes, np.int32)
    if order_bytes is not None and len(order_L) != length:
      return _plan(model, np.arange(length))
    return _plan(model, levels.of(model, length, order_L), order_L)

  def sampler(params, key, order_BL, given, y=None):
    x_BLC, known_BL = map(jnp.asarray, given)
    said = None
    if order_BL is not None:
      order_BL = np.asarray(order_BL, np.int32)
      if (order_BL == order_BL[0]).all():
        order_BL = order_BL[:1]
      said = order_BL.tobytes() if callable(model.sees) else None
    static = plan(x_BLC.shape[1], said)
    args = params, key, order_BL, x_BLC, known_BL, y
    return run(*args, static.table, static.cached, static.width)

  return sampler


class _Level(NamedTuple):
  """What is drawn at once, and how the cache is brought there.

  step_M: steps of the order; L where there is none.
  at_M: where these are in the sequence as the model is given it, likewise.
  cursor: how many values the cache has been told.
  start: the first of its steps, or an earlier one.
  entered: how many more the steps before this level make.
  """

  step_M: Any
  at_M: Any
  cursor: Any
  start: Any
  entered: Any


class _Table(NamedTuple):
  """Arrays of a plan: a _Level of arrays whose first axis is the levels G.

  by_level_L: the steps, where the model is given them by level; None: in turn.
  slot_L: where in [G * M] each step is drawn.
  """

  level: _Level
  by_level_L: Any
  slot_L: Any


class _Plan(NamedTuple):
  """cached: by `extend`, of `width` steps a level; else by `apply`."""

  table: _Table
  cached: bool
  width: int


def _plan(model, level_L, order_L=None):
  """The _Plan of drawing steps of these levels under an order."""
  L = len(level_L)
  by_level_L, size_G = levels.sort(level_L), levels.sizes(level_L)
  start_G = np.cumsum(size_G) - size_G
  turn_L = np.arange(L)
  in_turn = np.array_equal(by_level_L, turn_L)
  order_L = turn_L if order_L is None else order_L
  moved = not in_turn and levels.same_function(
    model, order_L, order_L[by_level_L]
  )
  row_L = level_L[by_level_L]
  column_L = turn_L - start_G[row_L]
  step_GM = np.full((len(size_G), size_G.max()), L)
  at_GM, slot_L = step_GM.copy(), np.empty(L, int)
  step_GM[row_L, column_L] = by_level_L
  at_GM[row_L, column_L] = turn_L if moved else by_level_L
  slot_L[by_level_L] = row_L * size_G.max() + column_L
  # An extension enters all values of the level before it but the first, which
  # the last one entered, and reads the parameters of this level.
  # Where values enter by themselves, this level is extended by alone.
  width = max((size_G[1:] + size_G[:-1] - 1).max(initial=0), size_G[0])
  if model.enter is not None:
    width = size_G.max()
  cursor_G = np.minimum(np.append(0, start_G[:-1] + 1), L - width)
  entered_G = np.append(np.diff(cursor_G), 0)
  table = _Table(
    _Level(step_GM, at_GM, cursor_G, np.minimum(start_G, L - width), entered_G),
    by_level_L if moved else None,
    slot_L,
  )
  table = jax.tree.map(lambda a: np.asarray(a, np.int32), table)
  return _Plan(table, in_turn or moved, int(width))


def _take(a_BL, index_M):
  """[B, M, ...]; what is beyond the end is some value."""
  return jnp.take(a_BL, index_M, axis=1, mode="clip")
