"""The checks on a trained model: on all there is, or on sampled cells of it.

A space of few sequences is enumerated. Of a larger one, sequences are drawn
from the model, and as many cells of each check are sampled as a minute on two
cores takes. The cost of a forward says how many those are, so the same run is
checked on the same cells everywhere.
"""

import functools

import jax
import numpy as np

from ar_jax.proofs import cases, chance, checks, findings

VALUES = 2**17  # of a site, that can be summed over


def trained(model, head, ordering, spec, params, sampler):
  """Findings about a trained model with discrete values.

  Args:
    model, head, ordering, spec: of the run.
    params: its parameters.
    sampler: of the model, at its own probabilities: no temperature, no filter.
  """
  with jax.default_matmul_precision("highest"):
    # Two orders, where each example has one of its own.
    order_KL = ordering.draw(jax.random.split(jax.random.key(0), 2))
    order_KL = None if order_KL is None else np.asarray(order_KL)
    K = 1 if order_KL is None else len(order_KL)
    y = cases.conditions(spec, K)
    case = cases.Case(model, head, spec, params, order_KL, y)
    run = _whole if is_small(case) else _part
    return findings.guarded("model", lambda: run(case, sampler))


def cost(case):
  """About the operations of one forward of one sequence."""
  size = sum(p.size for p in jax.tree.leaves(case.params))
  return 2 * case.spec.length * size


def is_small(case):
  """Whether every swap in every sequence can be tried."""
  spec = case.spec
  count = spec.num_values ** (spec.length * spec.channels)
  swaps = spec.length * spec.channels * (spec.num_values - 1)
  forwards = count * cases.num_blocks(case) * (swaps + 8)
  return count <= cases.ENUMERABLE and forwards * cost(case) < 1e12


def _whole(case, sampler):
  found = findings.of_case("model", case, sampler=sampler)
  draws = _clip(1e11 / cost(case), 10_000, 50_000)
  one = _one_block(case)
  return found + findings.of_draws("model", one, sampler, draws=draws)


def _one_block(case):
  """The case in its first order, with its first labels."""
  order, y = case.order_KL, case.y
  y = y and {k: v[:1] for k, v in y.items()}
  return case._replace(order_KL=None if order is None else order[:1], y=y)


def _clip(number, least, most):
  return int(max(least, min(number, most)))


def _part(case, sampler):
  """Sequences drawn from the model stand for all, some swaps for every one."""
  spec, K = case.spec, cases.num_blocks(case)
  L, V = spec.length, spec.num_values
  rng = np.random.default_rng(0)
  count = max(1, _clip(2e10 / cost(case), 1, 16) // K)
  # Sampling reads all parameters at every step; what is not drawn is given.
  drawn = _clip(4e9 * L / cost(case), min(L, 16), L)
  x_NLC = rng.integers(0, V, (count, L, spec.channels), np.int32)
  case = case._replace(x_NLC=x_NLC)
  x_NLC = _drawn(case, sampler, L - drawn)[:count]
  case = case._replace(x_NLC=x_NLC)
  some = _clip(1e11 / cost(case) / count / K, 1, 24)
  swaps = [
    (int(s), int(rng.integers(spec.channels)), int(rng.integers(1, V)))
    for s in (0, max(L - 2, 0), *rng.integers(0, L, some))
  ]
  stretches, cut = None, L // 2
  if min(drawn, 256) < L:
    stretches, cut = [(0, 16), (L // 2, 16), (L - 16, 16)], L - 16
  plan = findings.Plan(swaps, stretches, (cut,), L - drawn)
  return [
    *_site(_one_block(case), sampler, rng),
    *findings.of_case("model", case, plan, sampler),
  ]


def _drawn(case, sampler, prefix):
  """The sequences of the case, drawn anew after their first steps."""
  x_BLC, order, y = cases.space(case)
  known_BL = np.broadcast_to(
    np.arange(case.spec.length) < prefix, x_BLC.shape[:2]
  )
  given = x_BLC, cases.from_steps(known_BL, order)
  sample = sampler(case.params, jax.random.key(0), order, given, y)
  return np.asarray(sample.x_BLC)


def _site(case, sampler, rng):
  """Findings about the head at sampled sites, and of draws of one of them."""
  spec, head = case.spec, case.head
  L, values = spec.length, spec.num_values**spec.channels
  if values > VALUES:
    why = f"{values:,} values a site"
    return [findings.left_out("model", why, "normalised")]
  x_BLC, order, y = cases.space(case)
  theta_BLP, _ = cases.forward(case, x_BLC, order, y)
  count = _clip(4e8 / values**2, 1, 64)
  rows_S = rng.integers(0, len(x_BLC), count)
  steps_S = rng.integers(0, L, count)
  if order is None:
    # What follows a site need not be drawn then: early ones are cheap.
    steps_S[::2] = rng.integers(0, min(L, 8), len(steps_S[::2]))
  theta_SP = theta_BLP[rows_S, steps_S]
  # The log of the normalizer is rounded as numbers of theta's size are.
  rounding = np.finfo(theta_SP.dtype).eps * float(np.abs(theta_SP).max())
  bar = 1e-5 + 2 * rounding
  normalised = findings.find(
    "model",
    "normalised",
    f"sampled: {count} sites, all {values:,} values",
    f"<= {bar:.2g}",
    lambda: checks.head_normalised(head, spec, theta_SP, bar),
  )
  cheap_S = np.flatnonzero(steps_S < 8) if order is None else np.arange(count)
  best = cheap_S[_most_telling(case, theta_SP[cheap_S])]
  x_LC, t = x_BLC[rows_S[best]], int(steps_S[best])
  return [normalised, *_next(case, sampler, x_LC, t, theta_SP[best])]


def _probabilities(case, theta_SP, temperature=None):
  """Of all values of sites, [S, V ** C]; at another temperature."""
  head = case.head
  if temperature is not None:
    theta_SP = head.adjust(theta_SP, temperature=temperature)
  return checks.head_probabilities(head, case.spec, theta_SP)[0]


def _most_telling(case, theta_SP):
  """Which of the sites temperature changes most."""
  if len(theta_SP) == 1:
    return 0
  prob_SM = _probabilities(case, theta_SP)
  change_SM = _probabilities(case, theta_SP, 1.02) - prob_SM
  return (change_SM**2 / np.maximum(prob_SM, 1e-30)).sum(1).argmax()


def _next(case, sampler, x_LC, t, theta_P):
  """Findings about draws of step t after what x holds, and of their power."""
  L, order = case.spec.length, case.order_KL
  site = t if order is None else int(order[0, t])
  known_L = np.arange(L) != site
  if order is None:  # nothing after the site need be run
    x_LC, known_L = x_LC[: t + 1], known_L[: t + 1]
  draws = _clip(1e11 * L / cost(case) / len(x_LC), 200, 20_000)
  draws = _clip(2e8 / len(x_LC) / len(theta_P), 200, draws)  # of memory
  prob_M = _probabilities(case, theta_P[None])[0]
  group_M = chance.groups(prob_M, draws)

  def grouped(temperature):
    other_M = _probabilities(case, theta_P[None], temperature)[0]
    return np.bincount(group_M, other_M)

  # A pass over as many values as a tokenizer has takes seconds.
  shifts = findings.SHIFTS[3::2] if len(prob_M) > 4096 else findings.SHIFTS
  others = {
    shift: functools.partial(grouped, shift)
    for shift in shifts
    if not 1 < shift < 1 + draws**-0.5  # no use to try
  }
  return findings.of_chance(
    "model",
    f"sampled: {draws:,} draws of step {t}",
    lambda: chance.next_follows(
      case, sampler, prob_M, x_LC, known_L, site, draws
    ),
    lambda: chance.power(np.bincount(group_M, prob_M), others, draws),
  )
