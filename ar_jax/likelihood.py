"""Exact log-likelihood of any model, head and order, and its units.

Everything is in nats per site, in data coordinates; sums, averages and other
units are made once, at the edge.
"""

import math

import numpy as np

from ar_jax import ordering as orders


def log_prob(model, head, params, x_BLC, order_BL=None, y=None, *, key_B=None):
  """Per-site log p(x at site | earlier sites, y), nats [B, L], data order.

  Its sum over L is the exact joint log-probability under the given order.

  Args:
    model: Model.
    head: Head.
    params: of the model.
    x_BLC: values in data coordinates.
    order_BL: int32 [1, L] or [B, L]; None is the identity.
    y: conditions by name, in data coordinates.
    key_B: keys of the examples; dropout is on when given.
  """
  x_BLC = orders.permute(x_BLC, order_BL)
  y = orders.permute_conditions(y, order_BL, model.aligned)
  theta_BLP = model.apply(params, x_BLC, order_BL, y, key_B=key_B)
  return orders.unpermute(head.log_prob(theta_BLP, x_BLC), order_BL)


def mix(log_prob_KN):
  """log of the mean of p over K orders: float64 [N].

  The orders are mixed at the joint level, the only mixture there is: a mean
  of logits or of conditionals of several orders does not sum to one.

  Args:
    log_prob_KN: of whole items, nats, one row for each order.
  """
  log_prob_KN = np.asarray(log_prob_KN, np.float64)
  return np.logaddexp.reduce(log_prob_KN, axis=0) - math.log(len(log_prob_KN))


def bits(nats):
  """Nats to bits."""
  return nats / math.log(2)


def perplexity(nats, count):
  """exp(nats / count): inverse geometric mean probability of a unit.

  Infinite where the mean no longer fits a float; never clipped.
  """
  mean = nats / count
  return math.exp(mean) if mean < 709 else math.inf


def effective_samples(log_p_N, log_q_N):
  """How many draws from p the N from q are worth as importance weights.

  (sum w)^2 / sum w^2, w = p / q: N where q is p, near 1 where one draw holds
  all the weight. Source: Kong 1992.

  Args:
    log_p_N: nats of whole items under the distribution that is meant.
    log_q_N: under the one drawn from.
  """
  log_w_N = np.asarray(log_p_N, np.float64) - np.asarray(log_q_N, np.float64)
  w_N = np.exp(log_w_N - log_w_N.max())
  return float(w_N.sum() ** 2 / np.square(w_N).sum())
