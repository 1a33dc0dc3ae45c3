"""Beam search: the likeliest continuation, by keeping the W best beginnings.

A mode and not a sample: of text of a few tokens, where a model is used to say
its best guess. The likeliest image or wave is no typical one, nor is a long
text: their mass is elsewhere (Dieleman 2020, "Musings on typicality").
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import proposal
from ar_jax.types import Sample


def search(
  model,
  head,
  params,
  prompt_T,
  steps,
  width,
  *,
  length_penalty=0.0,
  end=None,
  y=None,
):
  """The `width` best continuations that a beam of that width finds.

  From left to right by the cached step: of all continuations of the beams by
  one value, the best are kept. Width 1 is greedy; from V**(steps - 1) on
  nothing is ever dropped that could win, and the first is the mode.

  Args:
    model: Model, of the identity order.
    head: Head of one channel and V values that can be listed.
    params: of the model.
    prompt_T: int [T], T >= 0.
    steps: values after the prompt, 1 or more.
    width: W, beams.
    length_penalty: a: beams compare by log q / n**a, n values after the
      prompt, the end among them. 0: by log q itself, for which alone the
      claims above hold.
    end: value after which a beam stands still, and goes on competing; None:
      there is none.
    y: conditions by name, of one row: [1, ...].
  Returns:
    Sample of numpy arrays [<= W, T + steps, ...], best first; after the end
    the value is `end`, its log-probabilities 0. log_prob_sampler is that of q,
    by which beams are compared: of a penalized model; else p itself.
  Raises:
    ValueError: a head whose values cannot be listed, a width below 1, steps
      that no cache holds.
  """
  V = proposal.num_values(head, "beam search")
  if width < 1 or steps < 1:
    raise ValueError(f"width={width}, steps={steps}: 1 or more of each")
  prompt_T = np.asarray(prompt_T, np.int32)
  end = -1 if end is None else end
  fixed = model, head, V, steps, width, length_penalty
  run = jax.jit(functools.partial(_search, *fixed))
  sample, total_W = run(params, prompt_T, end, y)
  sample, total_W = jax.tree.map(np.asarray, (sample, total_W))
  found_W = total_W > -np.inf  # there may be fewer continuations than beams
  return Sample(*(a[found_W] for a in sample))


def _search(
  model, head, V, steps, width, length_penalty, params, prompt_T, end, y
):
  """(Sample, log q [W]), best first."""
  W, T = width, len(prompt_T)
  y_W = jax.tree.map(lambda a: jnp.repeat(a, W, 0), y)
  axes = _batch_axes(model, params, W, T + steps, y)
  cache = model.init_cache(params, W, T + steps, None, y_W)
  x_WT = jnp.broadcast_to(prompt_T, (W, T))
  before_WT = jnp.pad(x_WT, ((0, 0), (1, 0)))[:, :-1]
  log_prompt_WT = jnp.zeros((W, 0))
  if T:
    theta, cache = model.extend(params, cache, before_WT[..., None], 0)
    log_prompt_WT = head.log_prob(theta, x_WT[..., None])
  last_W1 = x_WT[:, -1:] if T else jnp.zeros((W, 1), jnp.int32)
  theta, _ = jax.eval_shape(model.step, params, cache, last_W1, jnp.int32(0))
  dtype = jax.eval_shape(head.log_probs, theta).dtype
  zeros_WK = jnp.zeros((W, steps), dtype)
  found = Sample(jnp.zeros((W, steps), jnp.int32), zeros_WK, zeros_WK)
  # All beams begin alike, and one of them counts.
  total_W = jnp.where(jnp.arange(W) == 0, 0, -jnp.inf).astype(dtype)
  count_W = jnp.zeros(W, jnp.int32)
  ended_W = jnp.zeros(W, bool)

  def body(carry, k):
    cache, last_W1, found, total_W, count_W, ended_W = carry
    theta_WP, cache = model.step(params, cache, last_W1, T + k)
    log_q_WV, log_p_WV = proposal.split(head, theta_WP)
    # What has ended has one continuation, for nothing.
    only_V = jnp.where(jnp.arange(V) == end, 0, -jnp.inf).astype(dtype)
    stay_W1 = ended_W[:, None]
    log_q_WV = jnp.where(stay_W1, only_V[None], log_q_WV)
    log_p_WV = jnp.where(stay_W1, jnp.zeros((1, V), dtype), log_p_WV)
    count_W = count_W + ~ended_W
    total_WV = total_W[:, None] + log_q_WV
    score_WV = total_WV / count_W[:, None].astype(dtype) ** length_penalty
    _, best_W = jax.lax.top_k(score_WV.reshape(-1), W)
    parent_W, value_W = best_W // V, (best_W % V).astype(jnp.int32)
    cache = jax.tree.map(
      lambda a, axis: a if axis < 0 else jnp.take(a, parent_W, axis),
      cache,
      axes,
    )
    new = value_W, log_p_WV[parent_W, value_W], log_q_WV[parent_W, value_W]
    found = Sample(
      *(a[parent_W].at[:, k].set(b) for a, b in zip(found, new, strict=True))
    )
    ended_W = ended_W[parent_W] | (value_W == end)
    total_W, count_W = total_WV[parent_W, value_W], count_W[parent_W]
    carry = cache, value_W[:, None], found, total_W, count_W, ended_W
    return carry, None

  first = cache, last_W1, found, total_W, count_W, ended_W
  last, _ = jax.lax.scan(body, first, jnp.arange(steps))
  _, _, found, total_W, _, _ = last
  prompt = Sample(x_WT, log_prompt_WT, jnp.zeros_like(log_prompt_WT))
  x_WT, *logs = (jnp.concatenate(a, 1) for a in zip(prompt, found, strict=True))
  return Sample(x_WT[..., None], *logs), total_W


def _batch_axes(model, params, batch, length, y):
  """Which axis of each leaf of a cache numbers the rows; -1: none does."""

  def shapes(rows):
    y_R = jax.tree.map(lambda a: jnp.repeat(a, rows, 0), y)
    return model.init_cache(params, rows, length, None, y_R)

  def axis(one, more):
    differ = [i for i, n in enumerate(one.shape) if n != more.shape[i]]
    if not differ:
      return -1
    (i,) = differ
    if (one.shape[i], more.shape[i]) != (batch, batch + 1):
      raise ValueError(f"a cache of {one.shape} has no axis of rows")
    return i

  return jax.tree.map(
    axis, *(jax.eval_shape(lambda n=n: shapes(n)) for n in (batch, batch + 1))
  )
