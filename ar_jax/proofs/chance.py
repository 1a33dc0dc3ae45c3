"""Draws against probabilities: what a sampler draws is what the model says.

By chi-square, with bars on p-values; where a test passes, `power` says what it
would not have passed. Checks as in checks.py.
"""

import functools

import jax
import numpy as np
import scipy.stats

from ar_jax.proofs import cases, checks

CHANCE = 1e-6  # p-value below which chance is no excuse
DRAWS = 200_000


def head_follows(head, spec, theta_NP, draws=DRAWS):
  """Draws of one theta agree with log_prob; those at 1.02 do not.

  Of the thetas given, the one whose log_prob varies most: there is power.
  """
  warm_NP = head.adjust(theta_NP, temperature=1.02)
  prob_NM, _ = checks.head_probabilities(head, spec, theta_NP)
  warm_NM, _ = checks.head_probabilities(head, spec, warm_NP)
  change_NM = (prob_NM - warm_NM) ** 2
  # Rare values are merged into one cell: they tell nothing.
  best = (change_NM / np.maximum(prob_NM, 5 / draws)).sum(1).argmax()
  theta_BP = np.broadcast_to(theta_NP[best], (draws, head.num_params))
  x_BC = np.asarray(jax.jit(head.sample)(jax.random.key(0), theta_BP))
  shape = draws, spec.channels
  cases.require(x_BC.shape == shape, f"draws {x_BC.shape}, not {shape}")
  kind = "f" if spec.num_values is None else "i"
  cases.require(x_BC.dtype.kind == kind, f"draws are {x_BC.dtype}")
  cases.require(x_BC.dtype.itemsize == 4, f"draws are {x_BC.dtype}")
  counts_M = count(x_BC, spec)
  p = follows(counts_M, prob_NM[best], "draws of the head", "log_prob")
  power(prob_NM[best], {1.02: lambda: warm_NM[best]}, draws)
  return p


def sampled_equals_scored(case, sampler, settings=(), prefix=0):
  """The sampler's log-probabilities are those of what it drew, both kinds.

  Args:
    case: Case.
    sampler: of a sampler plugin.
    settings: of head.adjust.
    prefix: steps that are given in every row, beside those given here and
      there.
  """
  x_BLC, known_BL, order, y = cases.contents(case, 2)
  given_BL = np.broadcast_to(
    np.arange(case.spec.length) < prefix, known_BL.shape
  )
  known_BL |= cases.from_steps(given_BL, order)
  key = jax.random.key(2)
  sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
  sample = type(sample)(*map(np.asarray, sample))
  theta_BLP, log_prob_BL = cases.forward(case, sample.x_BLC, order, y)
  bar = checks.STEP[str(theta_BLP.dtype)] * case.spec.length
  summed = cases.apart(log_prob_BL.sum(1), sample.log_prob_model_BL.sum(1))
  cases.below(summed, bar, "log_prob of samples, summed")
  sites = cases.apart(log_prob_BL, sample.log_prob_model_BL)
  cases.below(sites, bar, "log_prob of samples, by site")
  drawn_BL = _adjusted_log_prob(case, theta_BLP, sample.x_BLC, order, settings)
  drawn_BL = np.where(known_BL, 0, cases.from_steps(drawn_BL, order))
  drawn = cases.apart(drawn_BL, sample.log_prob_sampler_BL)
  cases.below(drawn, bar, "log_prob under what was drawn from")
  given = np.abs(sample.log_prob_sampler_BL[known_BL]).max()
  cases.require(
    given == 0, f"log_prob_sampler of given sites is {given}, not 0"
  )
  return max(summed, sites, drawn)


def adjusted(case, settings=()):
  """Enumerated probabilities under head.adjust(theta, **settings)."""
  cases.require(cases.num_blocks(case) == 1, "one order, one y")
  x_NLC, order, y = cases.space(case)
  theta_NLP, _ = cases.forward(case, x_NLC, order, y)
  log_prob_NL = _adjusted_log_prob(case, theta_NLP, x_NLC, order, settings)
  prob_N = np.exp(log_prob_NL.astype(float).sum(1))
  cases.below(abs(prob_N.sum() - 1), 1e-5, "sum of the adjusted p")
  return prob_N


def _adjusted_log_prob(case, theta_BLP, x_BLC, order, settings):
  """log_prob [B, L] of adjust(theta), in generation order."""
  settings = tuple(dict(settings).items())
  log_prob = _log_prob_of_adjusted(
    case.head.log_prob, case.head.adjust, settings
  )
  return np.asarray(log_prob(theta_BLP, cases.to_steps(x_BLC, order)))


@functools.cache
def _log_prob_of_adjusted(log_prob, adjust, settings):
  return jax.jit(lambda theta, x: log_prob(adjust(theta, **dict(settings)), x))


def sampler_follows(case, sampler, prob_N, draws=DRAWS):
  """p-value of unconditional samples against the enumeration.

  Args:
    case: Case of one block.
    sampler: of a sampler plugin.
    prob_N: of all sequences, from `adjusted`.
    draws: how many.
  """
  spec, at_once = case.spec, min(draws, 50_000)
  given = (
    np.zeros((at_once, spec.length, spec.channels), np.int32),
    np.zeros((at_once, spec.length), bool),
  )
  y = case.y and {k: np.repeat(v, at_once) for k, v in case.y.items()}
  counts_N = np.zeros(len(prob_N))
  for i in range(draws // at_once):
    key = jax.random.key(i)
    sample = sampler(case.params, key, case.order_KL, given, y)
    counts_N += count(np.asarray(sample.x_BLC), spec)
  return follows(counts_N, prob_N, f"{draws} draws", "the model")


def next_follows(case, sampler, prob_M, x_LC, known_L, site, draws):
  """p-value of draws of one site, what is known being the same in each.

  Args:
    case: Case of one block.
    sampler: of a sampler plugin.
    prob_M: of the values of the site, from `head_probabilities`.
    x_LC: values; of a first stretch of the sites where the order is None.
    known_L: which of them are given.
    site: the one that is counted.
    draws: how many.
  """
  given = tuple(np.repeat(a[None], draws, 0) for a in (x_LC, known_L))
  y = case.y and {k: np.repeat(v, draws) for k, v in case.y.items()}
  sample = sampler(case.params, jax.random.key(0), case.order_KL, given, y)
  x_BC = np.asarray(sample.x_BLC)[:, site]
  counts_M = count(x_BC, case.spec)
  group_M = groups(prob_M, draws)
  counts_G, prob_G = (np.bincount(group_M, a) for a in (counts_M, prob_M))
  return follows(counts_G, prob_G, f"{draws} draws of a site", "the model")


def groups(prob_M, draws, least=10):
  """A number for each value; values of like p share one, to expect `least`.

  Of thousands of values most are too rare to be counted one by one.
  """
  order_M = np.argsort(-prob_M, kind="stable")
  expected_M = prob_M[order_M] * draws
  middle_M = np.cumsum(expected_M) - expected_M / 2
  group_M = np.empty(len(prob_M), int)
  group_M[order_M] = np.unique(middle_M // least, return_inverse=True)[1]
  return group_M


def count(x_BC, spec):
  """How often each content of a row is met, all V ** (values of a row).

  Of real values, each point of the grid of `checks.site_values`.
  """
  x_BS = x_BC.reshape(len(x_BC), -1)
  size = spec.num_values
  if size is None:
    reach = checks.reach(spec)
    x_BS = np.rint(x_BS / spec.delta).astype(int) + reach
    size = 2 * reach + 1
    cases.require((x_BS >= 0).all() and (x_BS < size).all(), "beyond the grid")
  cell_B = np.ravel_multi_index(x_BS.T, (size,) * x_BS.shape[1])
  return np.bincount(cell_B, minlength=size ** x_BS.shape[1])


def follows(counts_N, prob_N, what, whom):
  """p-value of counts; Broken where chance is no excuse."""
  p = chi_square(counts_N, prob_N)
  cases.require(p > CHANCE, f"{what} do not follow {whom}: p = {p:.2g}", p)
  return p


def power(prob_N, others, draws):
  """The first of other distributions that as many draws tell apart.

  A chi-square that would pass anything proves nothing.

  Args:
    prob_N: what is tested for.
    others: temperature -> function that gives its probabilities [N].
    draws: how many.
  Returns:
    (temperature, p-value).
  """
  for temperature, other in others.items():
    p = p_value_of_other(prob_N, other(), draws)
    if p < CHANCE:
      return temperature, p
  raise cases.Broken(
    f"no power: {draws} draws at temperature {temperature} pass as well,"
    f" p = {p:.2g}",
    p,
  )


def p_value_of_other(prob_N, other_N, draws):
  """Of draws from another distribution, as if they were of the first."""
  rng = np.random.default_rng(0)
  counts_N = rng.multinomial(draws, other_N / other_N.sum())
  return chi_square(counts_N, prob_N)


def chi_square(counts_N, prob_N):
  """p-value; cells that expect fewer than 5 are merged into one.

  A draw of an impossible cell has p-value 0.
  """
  if counts_N[prob_N == 0].any():
    return 0.0
  expected_N = prob_N / prob_N.sum() * counts_N.sum()
  small_N = expected_N < 5
  counts = np.append(counts_N[~small_N], counts_N[small_N].sum())
  expected = np.append(expected_N[~small_N], expected_N[small_N].sum())
  if expected[-1] < 5 and len(expected) > 1:
    i = expected[:-1].argmin()
    counts[i] += counts[-1]
    expected[i] += expected[-1]
    counts, expected = counts[:-1], expected[:-1]
  if len(expected) == 1:
    return 1.0
  return float(scipy.stats.chisquare(counts, expected).pvalue)
