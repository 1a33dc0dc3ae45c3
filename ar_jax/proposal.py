"""The head of a proposal q beside the model's p.

What is drawn from may be another distribution than the model: penalized,
guided. A view of a (model, head) whose theta is [log q (V) | log p (V)] lets
every sampler draw from q, filtered or not, and report log_prob_model under p
and log_prob_sampler under q, both normalized. Views of views compose: q of the
one below is what the next one starts from.
"""

import jax
import jax.numpy as jnp

from ar_jax import registry
from ar_jax.types import DataSpec, Head


def head(num_values):
  """Head of theta [..., 2V]: log q, of any constant, and log p.

  log_prob, log_probs, sample, noise and draw read p; adjust filters q, and
  says it twice: the result is q in both halves, as samplers take it.
  """
  V = num_values
  plain = registry.build(
    "heads", dict(name="categorical"), DataSpec((1,), 1, V)
  )

  def adjust(theta, **settings):
    log_q = plain.adjust(theta[..., :V], **settings)
    return join(log_q, log_q)

  return Head(
    2 * V,
    lambda theta, x: plain.log_prob(theta[..., V:], x),
    lambda key, theta: plain.sample(key, theta[..., V:]),
    adjust,
    plain.noise,
    lambda noise, theta: plain.draw(noise, theta[..., V:]),
    lambda theta: plain.log_probs(theta[..., V:]),
  )


def join(log_q, log_p):
  """theta [..., 2V] of the head."""
  return jnp.concatenate([log_q, log_p], axis=-1)


def split(head, theta):
  """(log q, log p), each [..., V]: of a plain head twice the same."""
  return head.log_probs(head.adjust(theta)), head.log_probs(theta)


def num_values(head, what):
  """V of a head; ValueError where its values cannot be listed.

  Args:
    head: Head.
    what: needs them, for the message.
  """
  if head.log_probs is None:
    raise ValueError(
      f"{what} weighs all values of a site: it takes a head of one channel and"
      " finitely many values, as categorical"
    )
  theta = jax.ShapeDtypeStruct((head.num_params,), jnp.float32)
  return len(jax.eval_shape(head.log_probs, theta))
