"""Guidance: p(x | y) against p(x), as a view of a model.

At every step what is drawn from is

    q(v) proportional to p(v | y)^s * p(v)^(1 - s)

where p(v) knows no condition, by the learned null. s = 0 is the model without
y, s = 1 the model, below 1 is between them, above 1 stresses what y makes
likelier. Normalized at each step, it is an autoregressive distribution of its
own: scored as it is sampled, and drawn by every sampler. It is not the
normalized product of the joint distributions, whose constants would need a
sum over all that may follow. Source: classifier-free guidance, Ho and Salimans
2022, on logits as Sanchez et al. 2023 have it.
"""

import math

import jax.numpy as jnp

from ar_jax import proposal
from ar_jax.types import Model

_LEAST = -1e30  # of a log-probability: so that infinities do not cancel


def guided(model, head, scale):
  """(model, head) whose theta is [log q | log p(. | y)] of proposal.py.

  Twice the work of the model: a pass with y, and one without.

  Args:
    model: Model, of conditions that it also was trained without.
    head: Head of one channel and V values that can be listed.
    scale: s, finite.
  Raises:
    ValueError: a head whose values cannot be listed, a scale that is no number.
  """
  V = proposal.num_values(head, "guidance")
  if not math.isfinite(scale):
    raise ValueError(f"guidance takes a finite number, got {scale}")

  def view(theta, null):
    log_q, log_p = proposal.split(head, theta)
    log_null, _ = proposal.split(head, null)
    told, untold = (jnp.maximum(a, _LEAST) for a in (log_q, log_null))
    return proposal.join(scale * told + (1 - scale) * untold, log_p)

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    theta, null = (
      model.apply(params, x_BLC, order_BL, one, key_B=key_B)
      for one in (y, None)
    )
    return view(theta, null)

  def init_cache(params, batch, length, order_BL=None, y=None):
    return tuple(
      model.init_cache(params, batch, length, order_BL, one)
      for one in (y, None)
    )

  def both(advance):
    """A function of a cache, as one of the two of them."""

    def run(params, cache, *args):
      (theta, told), (null, untold) = (
        advance(params, part, *args) for part in cache
      )
      return view(theta, null), (told, untold)

    return run

  def enter(params, cache, x_BKC, t):
    return tuple(model.enter(params, part, x_BKC, t) for part in cache)

  step, extend = both(model.step), both(model.extend)
  viewed = Model(model.init, apply, init_cache, step, extend, model.sees)
  viewed = viewed._replace(enter=model.enter and enter, aligned=model.aligned)
  return viewed, proposal.head(V)
