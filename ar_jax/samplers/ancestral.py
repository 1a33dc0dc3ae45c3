"""Ancestral sampling: one `lax.scan` over the model's cached step.

Or several, with the cache carried from one to the next: the same samples, told
as they come.
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
  dict(temperature=0.7, top_k=2),
  dict(top_p=0.8),
  dict(min_p=0.1),
]


def make(model, head, *, temperature=1.0, top_k=None, top_p=None, min_p=None):
  """Draws each site from adjust(theta), in the order of generation.

  Args:
    model: Model.
    head: Head.
    temperature: of the filters, as top_k, top_p, min_p; see filters.py.
      0 is greedy.
  Returns:
    sampler(params, key, order_BL, given, y) -> Sample. `given` is
    (x_BLC, known_BL) in data coordinates: known sites keep their values (they
    are forced when their step comes), and its shape says what is drawn. The
    noise of a site depends on the key, its row and its step alone.
    In chunks, in generation order: `sampler.begin(...)` of the same arguments
    -> (state, Sample of the first steps, those known in every row), and
    `sampler.go_on(params, state, t, steps)` -> (state, Sample of the steps
    from t on, as many as there are left). A state is used up by going on.
    The pure function behind it is `sampler.rows(params, row_B, order_BL, x_BLC,
    known_BL, y, prefix)`, of a key for each row and a static number of first
    steps that all rows know; `sampler.arguments(...)` of the sampler's own
    arguments gives (those before prefix, prefix).
  """
  filters = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
  adjust = _shared.adjust(head, **filters)

  def first(params, row_B, order_BL, x_BLC, known_BL, y, prefix):
    """(_State before step `prefix`, Sample of the steps before it)."""
    B, L, _ = x_BLC.shape
    x_BLC = orders.permute(x_BLC, order_BL)
    known_BL = orders.permute(known_BL, order_BL)
    y = orders.permute_conditions(y, order_BL, model.aligned)
    cache = model.init_cache(params, B, L, order_BL, y)
    prompt_BKC = x_BLC[:, :prefix]
    log_prompt_BK = jnp.zeros((B, 0))
    if prefix:
      before_BKC = jnp.pad(prompt_BKC, ((0, 0), (1, 0), (0, 0)))[:, :-1]
      theta_BKP, cache = model.extend(params, cache, before_BKC, 0)
      log_prompt_BK = head.log_prob(theta_BKP, prompt_BKC)
    # At t = 0 nothing has been drawn, and step does not read what it is given.
    last_BC = x_BLC[:, max(prefix - 1, 0)]
    state = _State((cache, last_BC), x_BLC, known_BL, row_B)
    zeros_BK = jnp.zeros_like(log_prompt_BK)
    return state, Sample(prompt_BKC, log_prompt_BK, zeros_BK)

  def advance(params, state, t, steps, guard=lambda body: body):
    """(carry, Sample) after `steps` of them from t on, in generation order."""
    read = model.step, params, *state.carry, jnp.int32(0)
    make_noise, draw = _shared.noise(head, jax.eval_shape(*read)[0].dtype)

    def noise_of(t):
      key_B = jax.vmap(jax.random.fold_in, (0, None))(state.row_B, t)
      return jax.vmap(make_noise)(key_B)

    t_K = t + jnp.arange(steps)
    held = _shared.is_held(steps, jax.eval_shape(noise_of, 0))
    noise_K = jax.vmap(noise_of)(t_K) if held else None

    def body(carry, inputs):
      cache, x_BC = carry
      t, given_BC, known_B, noise_B = inputs
      theta_BP, cache = model.step(params, cache, x_BC, t)
      adjusted_BP = adjust(theta_BP)
      noise_B = noise_B if held else noise_of(t)
      drawn_BC = jax.vmap(draw)(noise_B, adjusted_BP)
      drawn_BC = drawn_BC.astype(given_BC.dtype)
      x_BC = jnp.where(known_B[:, None], given_BC, drawn_BC)
      log_drawn_B = head.log_prob(adjusted_BP, x_BC)
      log_sampler_B = jnp.where(known_B, 0, log_drawn_B)
      log_model_B = head.log_prob(theta_BP, x_BC)
      return (cache, x_BC), Sample(x_BC, log_model_B, log_sampler_B)

    inputs = t_K, *_at(state, t_K), noise_K
    carry, sample = jax.lax.scan(guard(body), state.carry, inputs)
    return carry, Sample(*(a.swapaxes(0, 1) for a in sample))

  @functools.partial(jax.jit, static_argnames="prefix")
  def run(params, row_B, order_BL, x_BLC, known_BL, y, prefix):
    state, prompt = first(params, row_B, order_BL, x_BLC, known_BL, y, prefix)
    steps = x_BLC.shape[1] - prefix
    _, drawn = advance(params, state, prefix, steps)
    sample = jax.tree.map(lambda *a: jnp.concatenate(a, 1), prompt, drawn)
    return Sample(*(orders.unpermute(a, order_BL) for a in sample))

  start = jax.jit(first, static_argnames="prefix")

  @functools.partial(jax.jit, static_argnames="steps", donate_argnames="carry")
  def more(params, carry, state, t, steps):
    state = state._replace(carry=carry)
    guard = functools.partial(_guarded, length=state.x_BLC.shape[1])
    return advance(params, state, t, steps, guard)

  def arguments(params, key, order_BL, given, y):
    x_BLC, known_BL = given
    prefix = _shared.common_prefix(np.asarray(known_BL), order_BL)
    x_BLC, known_BL = jnp.asarray(x_BLC), jnp.asarray(known_BL)
    row_B = _shared.row_keys(key, len(x_BLC))
    return (params, row_B, order_BL, x_BLC, known_BL, y), prefix

  def sampler(params, key, order_BL, given, y=None):
    args, prefix = arguments(params, key, order_BL, given, y)
    return run(*args, prefix)

  def begin(params, key, order_BL, given, y=None):
    args, prefix = arguments(params, key, order_BL, given, y)
    return start(*args, prefix=prefix)

  def go_on(params, state, t, steps):
    rest = state._replace(carry=None)
    carry, sample = more(params, state.carry, rest, np.int32(t), steps)
    left = state.x_BLC.shape[1] - t
    return state._replace(carry=carry), Sample(*(a[:, :left] for a in sample))

  sampler.begin, sampler.go_on = begin, go_on
  sampler.arguments, sampler.rows = arguments, run
  return sampler


def _guarded(body, length):
  """The body of a scan that does nothing from step `length` on.

  So chunks of one length do for a number of steps that it does not divide.
  """

  def guarded(carry, inputs):
    result = jax.eval_shape(body, carry, inputs)[1]

    def rest(carry, inputs):
      return carry, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), result)

    return jax.lax.cond(inputs[0] < length, body, rest, carry, inputs)

  return guarded


class _State(NamedTuple):
  """What the next step is drawn from, in generation order.

  carry: (cache, x_BC of the last step).
  x_BLC, known_BL: given.
  row_B: a key for each row.
  """

  carry: Any
  x_BLC: Any
  known_BL: Any
  row_B: Any


def _at(state, t_K):
  """(x_KBC, known_KB) of steps."""
  return state.x_BLC[:, t_K].swapaxes(0, 1), state.known_BL[:, t_K].T
