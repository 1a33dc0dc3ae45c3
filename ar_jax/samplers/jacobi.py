"""Fixed-point sampling: guess all sites, draw each given the guess, repeat.

With its noise held, drawing is a function x <- f(x) in which a site depends on
the sites before it alone. Its one fixed point is what ancestral.py draws: the
first site that is not yet right has right ones before it, so each pass makes
one more right at least, and often many. Exact, and never more than L passes.

Jacobi's iteration passes over the whole item (Wiggers & Hoogeboom 2020);
`window` makes it Gauss-Seidel's of Jacobi blocks (Song et al. 2021), but of a
window that slides: what is right enters the cache.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import ordering as orders
from ar_jax.samplers import _shared
from ar_jax.types import Sample

TINY = [
  dict(),
  dict(window=2),
  dict(window=3, top_p=0.8),
]


class _State(NamedTuple):
  """What a pass is given.

  cache: None where a pass is over the whole item.
  sample: Sample in generation order; from step `right` on, x is a guess.
  start: the first step of the window; those before it are in the cache.
  right: steps that are drawn for good, in all rows.
  passes: made so far.
  """

  cache: Any
  sample: Any
  start: Any
  right: Any
  passes: Any


def make(
  model,
  head,
  *,
  window=None,
  temperature=1.0,
  top_k=None,
  top_p=None,
  min_p=None,
):
  """Draws all sites of a pass at once, until none changes.

  Args:
    model: Model.
    head: Head.
    window: steps of a pass, by `extend`; None: all, by `apply`.
    temperature: of the filters, as top_k, top_p, min_p; see filters.py.
      0 is greedy.
  Returns:
    sampler(params, key, order_BL, given, y) -> Sample, as of ancestral.py and
    for the same key the same: in float32 up to ties, for a pass rounds
    otherwise than a step. `sampler.counted(...)` -> (Sample, dict(passes)):
    int32 [], L at most.
  Raises:
    ValueError: a window below 1.
  """
  if window is not None and window < 1:
    raise ValueError(
      f"window={window}: the steps of a pass, 1 or more, or None for passes"
      " over the whole item"
    )
  filters = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
  adjust = _shared.adjust(head, **filters)

  @functools.partial(jax.jit, static_argnames="prefix")
  def run(params, key, order_BL, x_BLC, known_BL, y, prefix):
    B, L, C = x_BLC.shape
    K = L if window is None else min(window, L)
    x_BLC = orders.permute(x_BLC, order_BL)
    known_BL = orders.permute(known_BL, order_BL)
    y = orders.permute_conditions(y, order_BL, model.aligned)
    x_BLC = jnp.where(known_BL[..., None], x_BLC, 0)

    def read(cache, x_BLC, start, entered):
      """theta [B, K, P] of the window; `entered` of its steps are kept."""
      if cache is None:
        whole_BLC = _shared.whole(x_BLC, model)
        return model.apply(params, whole_BLC, order_BL, y)[:, :L], None
      before_BLC = jnp.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))
      x_BKC = jax.lax.dynamic_slice_in_dim(before_BLC, start, K, 1)
      return model.extend(params, cache, x_BKC, start, entered)

    cache = None
    if window is not None:
      cache = model.init_cache(params, B, L, order_BL, y)
    zero = jnp.int32(0)
    theta, _ = jax.eval_shape(read, cache, x_BLC, zero, zero)
    log_prob = jax.eval_shape(head.log_prob, theta, x_BLC[:, :K])
    zeros_BL = jnp.zeros((B, L), log_prob.dtype)
    sample, start = Sample(x_BLC, zeros_BL, zeros_BL), min(prefix, L - K)
    if start:
      before_BKC = jnp.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))[:, :start]
      theta_BKP, cache = model.extend(params, cache, before_BKC, 0)
      log_BK = head.log_prob(theta_BKP, x_BLC[:, :start])
      sample = sample._replace(
        log_prob_model_BL=zeros_BL.at[:, :start].set(log_BK)
      )

    make_noise, draw = _shared.noise(head, theta.dtype)
    row_B = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(B))

    def noise_of(t):
      key_B = jax.vmap(jax.random.fold_in, (0, None))(row_B, t)
      return jax.vmap(make_noise)(key_B)

    held = _shared.is_held(L, jax.eval_shape(noise_of, 0))
    noise_LB = jax.vmap(noise_of)(jnp.arange(L)) if held else None

    def noise_from(start):
      """Of the window, [B, K, ...]."""
      if held:
        cut = functools.partial(
          jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=K
        )
        noise_KB = jax.tree.map(cut, noise_LB)
      else:
        noise_KB = jax.vmap(noise_of)(start + jnp.arange(K))
      return jax.tree.map(lambda a: a.swapaxes(0, 1), noise_KB)

    def one_pass(state):
      start, right = state.start, state.right
      cut = functools.partial(
        jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=K, axis=1
      )
      write = functools.partial(
        jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=1
      )
      # A step may enter when the values before it are drawn for good.
      entered = jnp.minimum(right + 1, L - K) - start
      theta_BKP, cache = read(state.cache, state.sample.x_BLC, start, entered)
      adjusted_BKP = adjust(theta_BKP)
      drawn_BKC = jax.vmap(jax.vmap(draw))(noise_from(start), adjusted_BKP)
      guess_BKC, known_BK = cut(state.sample.x_BLC), cut(known_BL)
      kept_BK = known_BK | (start + jnp.arange(K)[None] < right)
      drawn_BKC = drawn_BKC.astype(guess_BKC.dtype)
      x_BKC = jnp.where(kept_BK[..., None], guess_BKC, drawn_BKC)
      # theta of the first step that changes is right: it saw none that did.
      same_K = (x_BKC == guess_BKC).all((0, 2))
      steady = jnp.cumprod(same_K).sum(dtype=jnp.int32)
      log_drawn_BK = head.log_prob(adjusted_BKP, x_BKC)
      part = Sample(
        x_BKC,
        head.log_prob(theta_BKP, x_BKC),
        jnp.where(known_BK, 0, log_drawn_BK),
      )
      return _State(
        cache,
        jax.tree.map(write, state.sample, part),
        start + entered,
        start + jnp.minimum(steady + 1, K),
        state.passes + 1,
      )

    first = _State(
      cache,
      sample,
      jnp.int32(start),
      jnp.int32(min(prefix, L - 1)),  # one pass at least, for log p
      zero,
    )
    last = jax.lax.while_loop(lambda s: s.right < L, one_pass, first)
    sample = Sample(*(orders.unpermute(a, order_BL) for a in last.sample))
    return sample, dict(passes=last.passes)

  def counted(params, key, order_BL, given, y=None):
    x_BLC, known_BL = given
    prefix = _shared.common_prefix(np.asarray(known_BL), order_BL)
    x_BLC, known_BL = jnp.asarray(x_BLC), jnp.asarray(known_BL)
    return run(params, key, order_BL, x_BLC, known_BL, y, prefix)

  def sampler(*args, **conditions):
    return counted(*args, **conditions)[0]

  sampler.counted = counted
  return sampler
