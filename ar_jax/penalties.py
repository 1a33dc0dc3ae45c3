"""Repetition, presence and frequency penalties, and bans: a view of a model.

What is drawn from is q, the model's p with values that were generated before
made less likely. The counts of values so far are a part of the cache, so q is
an autoregressive distribution of its own: normalized, causal, scored as it is
sampled, and drawn by every sampler.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import proposal
from ar_jax.types import Model


def penalized(
  model, head, *, repetition=1.0, presence=0.0, frequency=0.0, banned=()
):
  """(model, head) whose theta is [log q | log p] of proposal.py.

  All values so far count, in generation order: those given, as a prompt, with
  those drawn, as far back as the model's own window or item begins.

  Args:
    model: Model.
    head: Head of one channel and V values that can be listed.
    repetition: log-probabilities of values that are there are multiplied by
      it. CTRL (Keskar et al. 2019) does so to negative logits and divides
      positive ones, which another constant in the logits would change; of
      log-probabilities, all negative, one rule is left. 1 is off.
    presence: subtracted from those of values that are there (nats).
    frequency: subtracted for each time that a value is there (nats).
    banned: values that are never drawn.
  Raises:
    ValueError: a head whose values cannot be listed, a setting out of its
      range, no value left.
  """
  V = proposal.num_values(head, "a penalty or a ban")
  if not 0 < repetition < math.inf:
    raise ValueError(f"repetition takes a finite number > 0, got {repetition}")
  for name, value in dict(presence=presence, frequency=frequency).items():
    if not math.isfinite(value):
      raise ValueError(f"{name} takes a finite number, got {value}")
  if any(not 0 <= v < V for v in banned):
    raise ValueError(f"banned {tuple(banned)}: values are 0..{V - 1}")
  allowed_V = ~np.isin(np.arange(V), banned)
  if not allowed_V.any():
    raise ValueError(f"all {V} values are banned")

  def view(theta, count):
    """theta [..., 2V] of theta [..., P] and counts [..., V]."""
    log_q, log_p = proposal.split(head, theta)
    there = count > 0
    log_q = jnp.where(there, repetition * log_q, log_q)
    log_q -= presence * there + frequency * count
    allowed = allowed_V.reshape((1,) * (log_q.ndim - 1) + (V,))
    return proposal.join(jnp.where(allowed, log_q, -jnp.inf), log_p)

  def counts(x_BKC, t):
    """int32 [B, K, V]: of steps t - 1 .. t + K - 2, up to each of them."""
    real_K = t + jnp.arange(x_BKC.shape[1]) > 0  # step 0 reads nothing
    one_BKV = jax.nn.one_hot(x_BKC[..., 0], V, dtype=jnp.int32)
    return jnp.cumsum(one_BKV * real_K[None, :, None], axis=1)

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    theta_BLP = model.apply(params, x_BLC, order_BL, y, key_B=key_B)
    return view(theta_BLP, counts(jnp.roll(x_BLC, 1, axis=1), 0))

  def init_cache(params, batch, length, order_BL=None, y=None):
    cache = model.init_cache(params, batch, length, order_BL, y)
    return cache, jnp.zeros((batch, V), jnp.int32)

  def step(params, cache, x_BC, t):
    cache, count_BV = cache
    theta_BP, cache = model.step(params, cache, x_BC, t)
    count_BV += counts(x_BC[:, None], t)[:, 0]
    return view(theta_BP, count_BV), (cache, count_BV)

  def extend(params, cache, x_BKC, t, n=None):
    cache, count_BV = cache
    theta_BKP, cache = model.extend(params, cache, x_BKC, t, n)
    count_BKV = count_BV[:, None] + counts(x_BKC, t)
    # After n steps; n = 0 leaves what was.
    all_BKV = jnp.concatenate([count_BV[:, None], count_BKV], axis=1)
    n = x_BKC.shape[1] if n is None else n
    kept_BV = jax.lax.dynamic_index_in_dim(all_BKV, n, 1, keepdims=False)
    return view(theta_BKP, count_BKV), (cache, kept_BV)

  # By the counts a step depends on all before it, whatever the model sees.
  sees = None
  if isinstance(model.sees, np.ndarray):
    sees = np.tri(len(model.sees), k=-1, dtype=bool)
  viewed = Model(model.init, apply, init_cache, step, extend, sees)
  return viewed._replace(aligned=model.aligned), proposal.head(V)
