"""Ancestral sampling: one `lax.scan` over the model's cached step."""

import functools

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
  """
  filters = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
  adjust = _shared.adjust(head, **filters)

  @functools.partial(jax.jit, static_argnames="prefix")
  def run(params, key, order_BL, x_BLC, known_BL, y, prefix):
    B, L, C = x_BLC.shape
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
    row_B = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(B))
    # At t = 0 nothing has been drawn, and step does not read what it is given.
    last_BC = x_BLC[:, max(prefix - 1, 0)]
    first = model.step, params, cache, last_BC, jnp.int32(0)
    make_noise, draw = _shared.noise(head, jax.eval_shape(*first)[0].dtype)

    def noise_of(t):
      key_B = jax.vmap(jax.random.fold_in, (0, None))(row_B, t)
      return jax.vmap(make_noise)(key_B)

    t_K = jnp.arange(prefix, L)
    held = _shared.is_held(L - prefix, jax.eval_shape(noise_of, 0))
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
      return (cache, x_BC), (x_BC, head.log_prob(theta_BP, x_BC), log_sampler_B)

    xs = (
      t_K,
      x_BLC[:, prefix:].swapaxes(0, 1),
      known_BL[:, prefix:].swapaxes(0, 1),
      noise_K,
    )
    _, ys = jax.lax.scan(body, (cache, last_BC), xs)
    drawn_BKC, log_model_BK, log_sampler_BK = (a.swapaxes(0, 1) for a in ys)
    sample = Sample(
      jnp.concatenate([prompt_BKC, drawn_BKC], 1),
      jnp.concatenate([log_prompt_BK, log_model_BK], 1),
      jnp.concatenate([jnp.zeros_like(log_prompt_BK), log_sampler_BK], 1),
    )
    return Sample(*(orders.unpermute(a, order_BL) for a in sample))

  def sampler(params, key, order_BL, given, y=None):
    x_BLC, known_BL = given
    prefix = _shared.common_prefix(np.asarray(known_BL), order_BL)
    x_BLC, known_BL = jnp.asarray(x_BLC), jnp.asarray(known_BL)
    return run(params, key, order_BL, x_BLC, known_BL, y, prefix)

  return sampler
