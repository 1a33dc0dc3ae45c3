"""The contract, check by check: what makes a figure of ar_jax believable.

A check is a plain function of what it checks. It returns the worst figure it
met, and raises AssertionError with figures where a bar is broken. Spaces are
tiny, so nothing is sampled that can be enumerated: all sequences, under all
orders of a case, are one batch of one compiled call. test_contract.py applies
the checks to every plugin, test_contract_catches.py to broken ones. Those that
`ar_jax selftest` runs as well live in ar_jax/proofs/.

Longer than 400 lines because it is one list: the bars stand side by side, and
most checks share the space and the compiled forward of their case.
"""

import contextlib
import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from ar_jax import decode, evaluate
from ar_jax import ordering as orders
from ar_jax.proofs import cases, chance, checks
from ar_jax.proofs.cases import Case, random_params  # noqa: F401
from ar_jax.proofs.chance import head_follows, sampled_equals_scored  # noqa: F401
from ar_jax.proofs.checks import (  # noqa: F401
  causal,
  extend_equals_apply,
  head_normalised,
  normalised,
  step_equals_apply,
)
from ar_jax.types import Batch, Split

SEEN = 1e-9  # a smaller change of theta, in float64, is none


@contextlib.contextmanager
def precision(dtype):
  """Arrays of `dtype`, and matmuls that do not round further.

  Programs in float64 are compiled with few optimizations, in two thirds of
  the time: the bits of those that users run are checked in float32.
  """
  double = dtype == "float64"
  highest = jax.default_matmul_precision("highest")
  jax.config.update("jax_disable_most_optimizations", double)
  try:
    with jax.enable_x64(double), highest:
      yield
  finally:
    jax.config.update("jax_disable_most_optimizations", False)


# --- what the checks share ---


def _raises(call, what):
  try:
    call()
  except ValueError as e:
    assert str(e), f"{what}: a ValueError without a message"
    return
  raise AssertionError(f"{what} raised no ValueError")


# --- a model: what its forward means ---


def initialized(model):
  """Initial parameters are finite float32 and follow the key alone."""
  uncached = cases.initial.__wrapped__
  one, same, other = (
    jax.tree.leaves(uncached(model.init, seed)) for seed in (0, 0, 1)
  )
  assert one, "init gives no parameters"
  dtypes = {str(p.dtype) for p in one}
  assert dtypes == {"float32"}, f"init gives {dtypes}"
  assert all(np.isfinite(p).all() for p in one), "init is not finite"
  pairs = list(zip(one, same, strict=True))
  assert all((a == b).all() for a, b in pairs), "init differs at one key"
  moved = any((a != b).any() for a, b in zip(one, other, strict=True))
  assert moved, "init does not use its key"


def complete(case, draws=3):
  """Each step depends on exactly the steps that `sees` declares."""
  every = [case.params]
  every += [cases.perturbed(case.params, seed) for seed in range(1, draws)]
  change_KLL = np.max([checks.dependencies(case, p)[0] for p in every], axis=0)
  declared_KLL = checks.declared(case)
  wrong = np.argwhere((change_KLL > SEEN) != declared_KLL)
  if len(wrong):
    k, t, s = wrong[0]
    said = declared_KLL[k, t, s]
    raise AssertionError(
      f"step {t} {'misses' if said else 'reads'} step {s}, which"
      f" `sees` {'declares' if said else 'excludes'} (change"
      f" {change_KLL[k, t, s]:.3g}); {len(wrong)} pairs differ from `sees`"
    )
  return float(change_KLL[declared_KLL].min(initial=np.inf))


# --- the checks themselves ---


def caught(check, right, wrong, match):
  """The check passes what is right and fails on what is broken."""
  check(*right)
  with pytest.raises(AssertionError, match=match):
    check(*wrong)


# --- a model: declared inputs matter ---


def orders_matter(case):
  """theta tells apart all it should know: what lies where, and what is next.

  Values are fixed in generation order, and all orders of the sites tried. So
  two rows whose values lie on other sites, or that predict another site, must
  differ at that step, the first one included; rows alike so far, in the same
  order, must not.
  """
  x_BLC, order_BL, y = _all_orders(case)
  theta_BLP, _ = cases.forward(
    case, cases.from_steps(x_BLC, order_BL), order_BL, y
  )
  least = np.inf
  for t in range(case.spec.length):
    known = [_known(case, *row, t) for row in zip(x_BLC, order_BL, strict=True)]
    past = [
      (*o[: t + 1], *x[:t].ravel())
      for x, o in zip(x_BLC, order_BL, strict=True)
    ]
    _, first, same = np.unique(
      past, axis=0, return_index=True, return_inverse=True
    )
    moved = cases.apart(theta_BLP[:, t], theta_BLP[first[same.ravel()], t])
    cases.below(
      moved, 1e-12, f"theta of step {t} under orders that differ later"
    )
    rows = list({k: row for row, k in enumerate(known)}.values())
    if len(rows) > 1:
      tree = scipy.spatial.cKDTree(theta_BLP[rows, t])
      apart, pair = tree.query(theta_BLP[rows, t], k=2)
      i = apart[:, 1].argmin()
      a, b = rows[i], rows[pair[i, 1]] if pair[i, 1] != i else rows[pair[i, 0]]
      assert apart[i, 1] > SEEN, (
        f"theta of step {t} is the same ({apart[i, 1]:.3g} apart) for orders"
        f" {order_BL[a]} and {order_BL[b]} with the values"
        f" {x_BLC[a, :t, 0]} and {x_BLC[b, :t, 0]} in turn"
      )
      least = min(least, apart[i, 1])
  return float(least)


def _all_orders(case):
  """(x_BLC in generation order, order_BL, y): sequences under all L! orders."""
  rng = np.random.default_rng(0)
  x_BLC, _, _ = cases.space(case)
  B, L, _ = x_BLC.shape
  perms = np.array(list(itertools.permutations(range(L))), np.int32)
  perms = rng.permutation(perms)[: B // 2]
  row_B = np.arange(B)
  # The first values are alike: only their sites tell such rows apart.
  x_BLC = cases.values(case.spec, rng, x_BLC.shape)
  x_BLC = x_BLC[row_B // len(perms)]
  x_BLC[row_B < len(perms)] = 0
  x_BLC[row_B < len(perms), -2:] = 1
  _, y = cases.rows_of(case, np.zeros(B, int))
  return x_BLC, perms[row_B % len(perms)], y


def _known(case, x_LC, order_L, t):
  """What step t is to know: values on the sites it sees, and its own site."""
  sees_LL = decode.sees(case.model, case.spec.length, order_L)
  seen = np.flatnonzero(sees_LL[t])
  return frozenset((order_L[s], *x_LC[s]) for s in seen), order_L[t]


def order_shapes_agree(case):
  """None, [1, L] and [B, L] are three ways to say one order."""
  x_BLC, _, _ = cases.space(case)
  order_1L = np.arange(case.spec.length, dtype=np.int32)[None]
  order_BL = np.repeat(order_1L, len(x_BLC), 0)
  _, y = cases.rows_of(case, np.zeros(len(x_BLC), int))
  one, *others = (
    cases.forward(case, x_BLC, o, y)[0] for o in (None, order_1L, order_BL)
  )
  worst = max(cases.apart(one, other) for other in others)
  return cases.below(
    worst, checks.STEP[str(one.dtype)], "theta by the shape of the order"
  )


def conditions_matter(case):
  """At every step, each content of a condition moves theta, or its absence.

  Of a label all values are tried; of features some. What an aligned row says
  is seen at its own step, whatever the other rows say.
  """
  x_BLC, order, _ = cases.space(case)
  least = np.inf
  for name, condition in case.spec.conditions.items():
    count = condition.num_values if condition.kind == "label" else 3
    drawn = cases.conditions(case.spec, count)[name]
    contents = [
      {name: np.repeat(values[None], len(x_BLC), 0)} for values in drawn
    ]
    if condition.kind == "aligned" and condition.num_values is not None:
      contents = contents[:1] + [_other_rows(contents[0], condition)]
    thetas = [
      cases.forward(case, x_BLC, order, y)[0] for y in (None, *contents)
    ]
    for (i, a), (j, b) in itertools.combinations(enumerate(thetas), 2):
      change_L = np.abs(a - b).max((0, 2))
      assert change_L.min() > SEEN, (
        f"{name}: theta of step {change_L.argmin()} is the same for two of"
        f" (absent, 0, 1, ...), numbers {i} and {j}"
      )
      least = min(least, change_L.min())
  return float(least)


def _other_rows(content, condition):
  """Another value in every row of whole-numbered features."""
  return {k: (v + 1) % condition.num_values for k, v in content.items()}


def conditions_reach(case):
  """d theta / d y: the Jacobian is zero where y must not reach, and only there.

  Step t sees the aligned rows of the steps up to its own, its own one always;
  all rows of a sequence; and nothing of another item. Real features go by the
  exact Jacobian, whole-numbered ones by every row's being replaced.
  """
  x_BLC, _, _ = cases.space(case)
  B, least = 3, np.inf
  x_BLC = x_BLC[:: max(1, len(x_BLC) // B)][:B]
  order = case.order_KL
  if order is not None:
    order = np.resize(order, (B, order.shape[1]))
  y = cases.y_to_steps(case.model, cases.conditions(case.spec, B), order)
  x_BLC = cases.to_steps(x_BLC, order)
  for name, condition in case.spec.conditions.items():
    if condition.kind == "label":
      change = _rows_moved(case, x_BLC, order, y, name, condition)
      assert (change[~np.eye(B, dtype=bool)] == 0).all(), (
        f"{name}: a label moves another item"
      )
      assert change.diagonal().all(), f"{name}: a label moves nothing"
      continue
    reach = _jacobian if condition.num_values is None else _replaced
    change_BLBS = reach(case, x_BLC, order, y, name, condition)
    least = min(least, _check_reach(change_BLBS, name, condition))
  return float(least)


def _check_reach(change_BLBS, name, condition):
  B, L, _, S = change_BLBS.shape
  own_BB = np.eye(B, dtype=bool)
  others = change_BLBS.swapaxes(1, 2)[~own_BB]
  assert (others == 0).all(), f"{name}: an item reads that of another"
  change_LS = change_BLBS[np.arange(B), :, np.arange(B)].max(0)
  if condition.kind == "sequence":
    assert (change_LS > 0).all(), f"{name}: a step does not see all rows"
    return change_LS.min()
  later = np.triu(np.ones((L, S), bool), 1)
  leaks = np.argwhere((change_LS > 0) & later)
  assert not len(leaks), (
    f"{name}: step {leaks[0][0]} reads the row of step {leaks[0][1]}"
  )
  assert (change_LS.diagonal() > 0).all(), (
    f"{name}: a step does not read its own row"
  )
  return change_LS.diagonal().min()


def _rows_moved(case, x_BLC, order, y, name, condition):
  """[i, j]: how far theta of item i moves with the label of item j."""
  apply = jax.jit(case.model.apply)
  before = np.asarray(apply(case.params, x_BLC, order, y))
  change = np.zeros((len(x_BLC), len(x_BLC)))
  for j in range(len(x_BLC)):
    label = y[name].copy()
    label[j] = (label[j] + 1) % condition.num_values
    after = apply(case.params, x_BLC, order, {**y, name: label})
    change[:, j] = np.abs(np.asarray(after) - before).max((1, 2))
  return change


def _jacobian(case, x_BLC, order, y, name, condition):
  """|d theta / d y| [B, L, B, S], the largest over parameters, features."""

  params, x_BLC, order = jax.tree.map(jnp.asarray, (case.params, x_BLC, order))

  def theta(values):
    return case.model.apply(params, x_BLC, order, {**y, name: values})

  jacobian = np.abs(jax.jit(jax.jacobian(theta))(jnp.asarray(y[name])))
  return (
    jacobian.max(2).reshape(*jacobian.shape[:2], *y[name].shape[:2], -1).max(-1)
  )


def _replaced(case, x_BLC, order, y, name, condition):
  """The same where one whole number at a time is replaced."""
  apply = jax.jit(case.model.apply)
  before = np.asarray(apply(case.params, x_BLC, order, y))
  B, S = y[name].shape[:2]
  change = np.zeros((*before.shape[:2], B, S))
  for b, s in itertools.product(range(B), range(S)):
    values = y[name].copy()
    values[b, s] = (values[b, s] + 1) % condition.num_values
    after = apply(case.params, x_BLC, order, {**y, name: values})
    change[:, :, b, s] = np.abs(np.asarray(after) - before).max(-1)
  return change


def examples_own_dropout(case):
  """Dropout is on when keys are given, and each row's mask is its key's."""
  x_BLC, order, y = cases.space(case)
  key_B = jax.random.split(jax.random.key(0), len(x_BLC))
  apply = jax.jit(case.model.apply)

  def rolled(a):
    return np.roll(a, 1, 0)

  off, _ = cases.forward(case, x_BLC, order, y)
  x_BLC = cases.to_steps(x_BLC, order)
  y = cases.y_to_steps(case.model, y, order)
  on = apply(case.params, x_BLC, order, y, key_B=key_B)
  assert cases.apart(off, on) > 0.01, "keys change nothing: dropout stays off"
  order = order if order is None or len(order) == 1 else rolled(order)
  y = jax.tree.map(rolled, y)
  key_B = jnp.roll(key_B, 1)
  moved = apply(case.params, rolled(x_BLC), order, y, key_B=key_B)
  worst = cases.apart(rolled(on), moved)
  return cases.below(
    worst, checks.STEP[str(off.dtype)], "theta of a row moved with its key"
  )


# --- a model: the cached paths ---


def capacity(case):
  """A cache refuses what it cannot hold; one that is shorter works."""
  L, B = case.spec.length, 2
  x_BLC, order, y = cases.space(case)
  y = y and {k: v[:B] for k, v in y.items()}
  order = order if order is None else order[:B]
  for length in (0, L + 1):
    _raises(
      lambda: checks.cache_of(case, B, order, y, length),
      f"init_cache for {length} of {L} steps",
    )
  cache = checks.cache_of(case, B, order, y, L - 1)
  params, x_BKC = jax.tree.map(jnp.asarray, (case.params, x_BLC[:B, :2]))
  for t in (L - 2, np.int32(L - 2), jnp.int32(L - 1)):
    _raises(
      lambda: case.model.extend(params, cache, x_BKC, t),
      f"extend by 2 from step {t} in a cache of {L - 1}",
    )
  x_BLC, order, y = cases.space(case)
  theta_BLP = cases.forward(case, x_BLC, order, y)[0][:, :-1]
  clean = checks.cache_of(case, len(x_BLC), order, y, L - 1)
  slots = checks.slots_of(case, len(x_BLC), order, y, L - 1)
  cache = checks.soiled(clean, clean, slots, 0)
  before = checks.before(x_BLC, order)[:, :-1]
  short, _ = jax.jit(case.model.extend)(case.params, cache, before, 0)
  bar = checks.STEP[str(theta_BLP.dtype)]
  return cases.below(
    cases.apart(theta_BLP, short), bar, "theta of a shorter cache"
  )


# --- a head ---


def noise_is_apart(head, theta_NP):
  """`sample` is `draw` of the noise of its key, bit for bit."""
  key_N = jax.random.split(jax.random.key(0), len(theta_NP))
  dtype = theta_NP.dtype
  noise_N = jax.vmap(lambda key: head.noise(key, dtype))(key_N)
  drawn_NC = jax.vmap(head.draw)(noise_N, theta_NP)
  sampled_NC = jax.vmap(head.sample)(key_N, theta_NP)
  assert drawn_NC.dtype == sampled_NC.dtype
  np.testing.assert_array_equal(drawn_NC, sampled_NC)


# --- a sampler ---


def cached_equals_naive(case, cached, naive):
  """The same keys give the same samples without any cache.

  Args:
    case: Case, in float64.
    cached: sampler of the model.
    naive: the same sampler, of the model completed by decode.naive_cache.
  """
  x_BLC, known_BL, order, y = cases.contents(case, 0)
  key = jax.random.key(1)
  one, two = (
    sampler(case.params, key, order, (x_BLC, known_BL), y)
    for sampler in (cached, naive)
  )
  differ = int((np.asarray(one.x_BLC) != np.asarray(two.x_BLC)).sum())
  assert not differ, f"{differ} of {x_BLC.size} sampled values differ"
  pairs = zip(one[1:], two[1:], strict=True)
  worst = max(cases.apart(a, b) for a, b in pairs)
  return cases.below(worst, 1e-12, "log-probabilities of the sampler")


def sampler_follows_model(case, make_sampler, settings=(), draws=chance.DRAWS):
  """Draws agree with the enumerated probabilities, by chi-square.

  A chi-square that would pass anything proves nothing: the same number of
  draws at temperature 1.02 has to fail.

  Args:
    case: Case of one block.
    make_sampler: (**settings) -> sampler.
    settings: of head.adjust.
    draws: how many.
  """
  prob_N = chance.adjusted(case, settings)
  sampler = make_sampler(**dict(settings))
  p = chance.sampler_follows(case, sampler, prob_N, draws)
  warm = {1.02: lambda: chance.adjusted(case, warmer(settings))}
  chance.power(prob_N, warm, draws)
  return p


def warmer(settings):
  """The settings at 1.02 times the temperature."""
  settings = dict(settings)
  return dict(settings, temperature=1.02 * settings.get("temperature", 1))


def spiky(case, settings=(), tries=400, draws=chance.DRAWS):
  """The case with other parameters, such that 1.02 is seen in the draws.

  Found by hill climbing: each try perturbs the best so far.
  """
  least = 1.0
  for seed in range(tries):
    scale = (0.1, 0.3, 1.0)[seed % 3]
    other = case._replace(params=cases.perturbed(case.params, seed, scale))
    prob_N, warm_N = (
      chance.adjusted(other, s) for s in (settings, warmer(settings))
    )
    if ((prob_N > 0) != (warm_N > 0)).any():
      continue  # it would only be tested which values are kept
    p = chance.p_value_of_other(prob_N, warm_N, draws)
    if p < least:
      least, case = p, other
    if p < chance.CHANCE**2:
      break
  return case


def given_is_kept(case, sampler):
  """Known values stay; what else was passed does not matter.

  Under random masks; token 0 is a value like any other.
  """
  x_BLC, known_BL, order, y = cases.contents(case, 3)
  assert (x_BLC[known_BL] == 0).any(), "no token 0 was given"
  sample = _kept(case, sampler, x_BLC, known_BL, order, y)
  other_BLC = np.where(known_BL[..., None], x_BLC, 1 - np.minimum(x_BLC, 1))
  other = _kept(case, sampler, other_BLC, known_BL, order, y)
  differ = int((sample.x_BLC != other.x_BLC).sum())
  assert not differ, f"values that are not known change {differ} samples"
  return 0.0


def prompts_are_forced(case, sampler):
  """Prompts of other lengths in each row; what is all given is scored.

  A prefix common to all rows may be taken in one piece: that is the same as
  to force it step by step.
  """
  x_BLC, known_BL, order, y = cases.contents(case, 3)
  B, L = known_BL.shape
  prompt_B = np.random.default_rng(3).integers(2, L + 1, (B, 1))
  known_BL = cases.from_steps(np.arange(L) < prompt_B, order)
  whole = _kept(case, sampler, x_BLC, known_BL, order, y)
  known_BL[0] = False
  forced = _kept(case, sampler, x_BLC, known_BL, order, y)
  differ = int((whole.x_BLC[1:] != forced.x_BLC[1:]).any((1, 2)).sum())
  assert not differ, f"{differ} of {B - 1} rows are not what forcing gives"
  known_BL[:] = True
  given = _kept(case, sampler, x_BLC, known_BL, order, y)
  assert (given.log_prob_sampler_BL == 0).all(), "given sites were drawn"
  _, log_prob_BL = cases.forward(case, x_BLC, order, y)
  worst = cases.apart(log_prob_BL, given.log_prob_model_BL)
  return cases.below(
    worst, checks.STEP[str(log_prob_BL.dtype)], "log_prob of given sites"
  )


def _kept(case, sampler, x_BLC, known_BL, order, y):
  """The sample, numpy; what was known is unchanged in it."""
  key = jax.random.key(3)
  sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
  sample = type(sample)(*map(np.asarray, sample))
  moved = int((sample.x_BLC[known_BL] != x_BLC[known_BL]).sum())
  assert not moved, f"{moved} of {known_BL.sum()} given values were changed"
  return sample


def rows_independent(case, sampler):
  """A row does not feel the others: not their content, not their noise."""
  one = cases.contents(case, 4)
  two = [
    a if a is None else jax.tree.map(np.copy, a)
    for a in cases.contents(case, 5)
  ]
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
    b[0] = a[0]
  results = []
  for x_BLC, known_BL, order, y in (one, two):
    key = jax.random.key(4)
    sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
    results.append([*sample, *cases.forward(case, x_BLC, order, y)])
  names = ("sample", "log_prob_model", "log_prob_sampler", "theta", "log_prob")
  for name, a, b in zip(names, *results, strict=True):
    assert (np.asarray(a[0]) == np.asarray(b[0])).all(), (
      f"{name} of row 0 changes with the content of other rows"
    )
  return _neighbors_agree_by_chance(case, sampler)


def _neighbors_agree_by_chance(case, sampler):
  """Rows of the same content are as often equal as independent draws are."""
  x_BLC, order, y = cases.space(case)
  B, L, _ = x_BLC.shape
  _, log_prob_BL = cases.forward(case, x_BLC, order, y)
  log_prob_N = log_prob_BL[: B // cases.num_blocks(case)].sum(1)
  chance = float(np.exp(2 * log_prob_N).sum())
  order, y = cases.rows_of(case, np.zeros(B, int))
  given = np.zeros_like(x_BLC), np.zeros((B, L), bool)
  sample = sampler(case.params, jax.random.key(5), order, given, y)
  x = np.asarray(sample.x_BLC)
  equal = (x[1:] == x[:-1]).all((1, 2)).mean()
  if case.spec.num_values is None:
    assert equal < 0.2, f"{equal:.3f} of neighboring rows are equal"
    return equal
  error = math.sqrt(chance * (1 - chance) / (B - 1))
  assert abs(equal - chance) < 6 * error + 2 / B, (
    f"{equal:.3f} of neighboring rows are equal, {chance:.3f} would be by"
    f" chance: their noise is not independent"
  )
  return abs(equal - chance) / error


def greedy_is_argmax(case, sampler):
  """Temperature 0 takes the likeliest value, by the full forward."""
  x_BLC, known_BL, order, y = cases.contents(case, 6)
  key = jax.random.key(6)
  sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
  x_BLC = np.asarray(sample.x_BLC)
  theta_BLP, _ = cases.forward(case, x_BLC, order, y)
  values = cases.sequences(case.spec.num_values, 1, case.spec.channels)[:, 0]
  every = (
    theta_BLP[:, :, None],
    np.broadcast_to(values, (*x_BLC.shape[:2], *values.shape)),
  )
  best_BL = np.asarray(case.head.log_prob(*every)).argmax(-1)
  wrong_BL = (values[best_BL] != cases.to_steps(x_BLC, order)).any(-1)
  wrong_BL &= ~cases.to_steps(known_BL, order)
  assert not wrong_BL.any(), (
    f"{wrong_BL.sum()} of {(~known_BL).sum()} greedy values are not the argmax"
  )
  return 0.0


# --- a head ---


def head_adjusts(head, spec, theta_NP):
  """Settings that are off change nothing; temperature 0 is the mode."""
  values = checks.site_values(spec)

  def log_prob(theta_NP):
    run = jax.jit(head.log_prob)
    return np.asarray(run(theta_NP[:, None], values[None]))

  plain = log_prob(theta_NP)
  off = head.adjust(theta_NP, temperature=1.0, top_k=None, top_p=None, min_p=0)
  worst = cases.below(
    cases.apart(plain, log_prob(off)), 1e-6, "log_prob, settings off"
  )
  try:
    adjusted = head.adjust(theta_NP, temperature=0)
  except ValueError as e:  # a mixture has no theta that is its mode alone
    assert "temperature" in str(e), e
    return worst
  greedy = log_prob(adjusted)
  assert (greedy.argmax(1) == plain.argmax(1)).all(), "temperature 0: the mode"
  cases.below(float(np.abs(greedy.max(1)).max()), 1e-6, "log_prob of the mode")
  return worst


# --- an ordering ---


def ordering_keeps(ordering, length):
  """Orders are permutations of the family, drawn by the key alone."""
  family = ordering.orders_KL
  key_B = jax.random.split(jax.random.key(0), 64)
  drawn = ordering.draw(key_B)
  if family is not None:
    _permutations(family, length)
    single = len(family) == 1
    identity = single and (family == np.arange(length)).all()
    assert (drawn is None) == identity, (
      "draw gives None for the identity, and for it alone"
    )
    if single:
      _same_order(ordering.draw(None), drawn, "draw without keys")
  if drawn is None:
    return
  drawn = np.asarray(drawn)
  _permutations(drawn, length)
  assert len(drawn) in (1, len(key_B)), f"{len(drawn)} orders for 64 keys"
  _same_order(ordering.draw(key_B), drawn, "draw again with the same keys")
  if len(drawn) > 1:
    moved = ordering.draw(jnp.roll(key_B, 1))
    _same_order(moved, np.roll(drawn, 1, 0), "draw for keys in other rows")
  if family is not None:
    known = {tuple(o) for o in family.tolist()}
    strange = [o for o in drawn.tolist() if tuple(o) not in known]
    assert not strange, f"draw gives {strange[0]}, which orders_KL has not"
  rank_BL = np.asarray(orders.rank(drawn))
  step_BL = np.take_along_axis(rank_BL, drawn, -1)
  assert (step_BL == np.arange(length)).all(), "rank[order[t]] is not t"
  x_BL = np.random.default_rng(0).random((len(drawn), length))
  steps_BL = np.asarray(orders.permute(x_BL, drawn))
  assert cases.apart(cases.to_steps(x_BL, drawn), steps_BL) < 1e-6, "permute"
  assert cases.apart(x_BL, orders.unpermute(steps_BL, drawn)) < 1e-6, (
    "unpermute"
  )


def _permutations(order_KL, length):
  order_KL = np.asarray(order_KL)
  assert order_KL.dtype == np.int32, f"orders are {order_KL.dtype}, not int32"
  assert order_KL.shape[1:] == (length,), f"orders of shape {order_KL.shape}"
  wrong = (np.sort(order_KL, -1) != np.arange(length)).any(-1)
  assert not wrong.any(), f"{order_KL[wrong][0]} is no permutation"


def _same_order(a, b, what):
  same = a is None if b is None else np.array_equal(a, b)
  assert same, f"{what}: {a} is not {b}"


def draws_uniform(ordering, length, draws=20_000):
  """Each order of a family is drawn equally often; all L! where it is None."""
  family = ordering.orders_KL
  if family is None:
    family = np.array(list(itertools.permutations(range(length))))
  code = length ** np.arange(length)
  cell = {int(o @ code): i for i, o in enumerate(np.asarray(family))}
  key_B = jax.random.split(jax.random.key(1), draws)
  drawn = np.asarray(ordering.draw(key_B))
  if len(drawn) == 1:  # one order for a batch: here, a batch for each key
    drawn = jax.vmap(lambda key: ordering.draw(key[None])[0])(key_B)
    drawn = np.asarray(drawn)
  assert len(drawn) == draws, f"{len(drawn)} orders for {draws} keys"
  counts = np.bincount(
    [cell[int(o @ code)] for o in drawn], minlength=len(cell)
  )
  p = chance.chi_square(counts, np.full(len(cell), 1 / len(cell)))
  assert p > chance.CHANCE, f"orders are drawn {counts} times: p = {p:.2g}"
  return p


# --- objectives, data, baselines ---


def objective_is_nll(objective, case, ordering, draws=2048):
  """The mean over keys is the exact NLL, averaged over the orders drawn.

  For a family of one order that holds without any averaging.
  """
  rng = np.random.default_rng(0)
  spec = case.spec
  shape = draws, spec.length, spec.channels
  x_BLC = rng.integers(0, spec.num_values, shape, np.int32)
  x_BLC[1:] = x_BLC[0]  # one item under many keys
  weight_BL = rng.integers(0, 3, shape[:2]) / np.float32(2)
  y = {
    name: np.full(draws, condition.num_values - 1, np.int32)
    for name, condition in spec.conditions.items()
  }
  batch = Batch(x_BLC, weight_BL, y, np.arange(draws, dtype=np.int32))
  key_B = jax.random.split(jax.random.key(0), draws)

  def total(params):
    nats_BL, weight_BL = objective(params, batch, key_B)
    return (nats_BL * weight_BL).sum(), (nats_BL, weight_BL)

  graded = jax.jit(jax.value_and_grad(total, has_aux=True))
  (_, (nats_BL, weights)), grads = graded(case.params)
  nats_BL = np.asarray(nats_BL)
  assert nats_BL.shape == shape[:2], f"nats of shape {nats_BL.shape}"
  assert np.isfinite(nats_BL).all(), "nats are not finite"
  assert np.array_equal(weights, weight_BL), "weights are not the batch's"
  grads = jax.tree.leaves(grads)
  assert all(np.isfinite(g).all() for g in grads), "gradients are not finite"
  assert any((g != 0).any() for g in grads), "gradients are all zero"
  family = ordering.orders_KL
  if family is None:
    perms = itertools.permutations(range(spec.length))
    family = np.array(list(perms), np.int32)
  rows = np.arange(draws) % len(family)
  _, log_prob_BL = cases.forward(case, x_BLC, family[rows], y)
  exact_L = -log_prob_BL[: len(family)].mean(0)
  mean_L = nats_BL.mean(0)
  error_L = nats_BL.std(0) / math.sqrt(draws)
  bar_L = 6 * error_L + checks.STEP[str(nats_BL.dtype)]
  worst = np.abs(mean_L - exact_L)
  assert (worst <= bar_L).all(), (
    f"mean nats by site {mean_L} are not the exact {exact_L}, within {bar_L}"
  )
  return float(worst.max())


def dataset_keeps(dataset):
  """Items have the declared shape and values, and are the same each time."""
  spec = dataset.spec
  json.dumps(dataset.media)
  assert dataset.splits, "no splits"
  for name, split in dataset.splits.items():
    assert split.size > 0, f"{name} is empty"
    index = np.unique(np.linspace(0, split.size - 1, 5).astype(int))[::-1]
    x_BLC, weight_BL, y = split.get(index)
    shape = len(index), spec.length, spec.channels
    assert x_BLC.shape == shape, f"{name}: x {x_BLC.shape}, spec {shape}"
    assert weight_BL.shape == shape[:2], f"{name}: weight {weight_BL.shape}"
    assert np.isfinite(weight_BL).all(), f"{name}: weight is not finite"
    assert (weight_BL >= 0).all(), f"{name}: weight below 0"
    if spec.num_values is not None:
      assert x_BLC.dtype == np.int32, f"{name}: values are {x_BLC.dtype}"
      inside = (x_BLC >= 0) & (x_BLC < spec.num_values)
      assert inside.all(), f"{name}: values outside 0..{spec.num_values - 1}"
    assert set(y) == set(spec.conditions), f"{name}: conditions {set(y)}"
    again = split.get(index)
    alone = [split.get(index[i : i + 1]) for i in range(len(index))]
    joined = jax.tree.map(lambda *a: np.concatenate(a), *alone)
    for other, what in ((again, "twice"), (joined, "one by one")):
      _same_items((x_BLC, weight_BL, y), other, f"{name}, read {what}")
    units = all(isinstance(n, int) and n > 0 for n in split.units.values())
    assert units, f"{name}: units {split.units}"
    assert split.entropy is None or 0 <= split.entropy < math.inf


def _same_items(a, b, what):
  leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  assert all(np.array_equal(*pair) for pair in leaves), f"{what}: items differ"


def baseline_keeps(fit, spec):
  """A bar gives finite nats of a whole split, by name, the same each time."""
  rng = np.random.default_rng(0)

  def split(size):
    x_NLC = rng.integers(
      0, spec.num_values, (size, spec.length, spec.channels), np.int32
    )
    weight_NL = np.ones(x_NLC.shape[:2], np.float32)
    raw = x_NLC.astype(np.uint8).tobytes()
    return Split(size, lambda i: (x_NLC[i], weight_NL[i], {}), raw=raw)

  train, valid = split(300), split(80)
  score = fit(train)
  bars = score(valid)
  assert bars, "no bars"
  for name, nats in bars.items():
    assert isinstance(nats, float), f"{name}: {type(nats)}"
    assert math.isfinite(nats), f"{name}: {nats}"
    # What is uniform costs log V a value, and cannot be guessed.
    uniform = 80 * spec.length * spec.channels * math.log(spec.num_values)
    assert nats > 0.9 * uniform, f"{name}: {nats} nats, entropy {uniform}"
  assert score(valid) == bars, "bars differ when scored twice"


# --- scores ---


def whole_split(case, ordering, evaluate_split=evaluate.evaluate, report=None):
  """13 items in batches of 4: each is scored once, then one division.

  Args:
    case: Case without conditions, of the ordering's one order.
    ordering: Ordering.
    evaluate_split: evaluate.evaluate, or what is to replace it.
    report: evaluate.report, or what is to replace it.
  """
  rng = np.random.default_rng(0)
  spec = case.spec
  shape = 13, spec.length, spec.channels
  x_NLC = rng.integers(0, spec.num_values, shape, np.int32)
  weight_NL = np.ones(shape[:2], np.float32)
  weight_NL[rng.random(shape[:2]) < 0.4] = 0  # a mean of means is wrong
  split = Split(13, lambda index: (x_NLC[index], weight_NL[index], {}))
  score = evaluate.make_score(case.model, case.head, ordering, seed=0)
  result = evaluate_split(score, case.params, split, "valid", 4, ordering)
  order = ordering.draw(None)
  _, log_prob_NL = cases.forward(case, x_NLC, order, {})
  nats_N = -(log_prob_NL.astype(float) * weight_NL).sum(1)
  assert len(result.nats_N) == 13, f"{len(result.nats_N)} of 13 items scored"
  assert result.weight == weight_NL.sum(), (
    f"weight {result.weight}, the split has {weight_NL.sum()}"
  )
  worst = cases.below(
    cases.apart(nats_N, result.nats_N), checks.NLL, "nats of the items"
  )
  cases.below(
    abs(result.nats / nats_N.sum() - 1), checks.NLL, "nats of the split"
  )
  report = evaluate.report if report is None else report
  mean = report(result, {})["nats_per_site"]
  exact = nats_N.sum() / weight_NL.sum()
  cases.below(abs(mean - exact), checks.NLL, f"nats per site {mean}")
  return worst


def batches_cover(eval_batches, size, batch_size):
  """Batches of one size hold every item once; the padding weighs 0."""
  x_NLC = np.arange(size, dtype=np.int32)[:, None, None]
  weight_NL = np.ones((size, 1), np.float32)
  split = Split(size, lambda index: (x_NLC[index], weight_NL[index], {}))
  counts_N = np.zeros(size, int)
  for batch in eval_batches(split, batch_size):
    assert len(batch.x_BLC) == batch_size, f"a batch of {len(batch.x_BLC)}"
    np.add.at(counts_N, batch.x_BLC[:, 0, 0], batch.weight_BL[:, 0] > 0)
  assert (counts_N == 1).all(), f"items are scored {counts_N} times"


def entropy_gate(mean, error, entropy, tolerance):
  """entropy - 4 s.e. <= mean NLL <= entropy + tolerance; below is a leak.

  Args:
    mean: nats per site of a trained model.
    error: its standard error, over independent sequences.
    entropy: of the source, nats per site.
    tolerance: nats per site.
  """
  figures = f"NLL {mean:.5f} +- {error:.5f}, entropy {entropy:.5f} nats"
  assert error < tolerance, f"no power: {figures}"
  assert mean >= entropy - 4 * error, f"below the entropy, a leak: {figures}"
  assert mean <= entropy + tolerance, f"not learned: {figures}"
  return (mean - entropy) / error


def entropy_floor(losses, num_values, small=0.01):
  """Uniform random tokens cost log V, however long one trains on them."""
  mean = float(np.mean(losses[-20:]))
  floor = math.log(num_values)
  assert mean >= floor - small, (
    f"uniform tokens cost {mean:.4f} nats, below log V = {floor:.4f}: a leak"
  )
  return mean - floor
