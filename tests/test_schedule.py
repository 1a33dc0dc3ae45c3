"""Schedules of passes, and the sampler that draws by them."""

import itertools

import contract
import jax
import numpy as np
import pytest

from ar_jax import registry, schedules
from ar_jax.models import ardm
from ar_jax.proofs import cases, chance
from ar_jax.samplers import ancestral, grouped
from ar_jax.types import Condition, DataSpec

SPEC = DataSpec((4,), 1, 3, None, dict(label=Condition("label", 2)))


def compositions(total, parts):
  """All tuples of `parts` sizes with the given sum."""
  for cuts in itertools.combinations(range(1, total), parts - 1):
    yield tuple(np.diff([0, *cuts, total]).tolist())


@pytest.fixture(scope="module")
def case():
  """A Case of one small network, in float64."""
  head = registry.build("heads", dict(name="categorical"), SPEC)
  every = registry.build("orderings", dict(name="all"), (4,))
  model = ardm.make(SPEC, head, every, trunk="mlp", depth=1, width=8)
  params = cases.random_params(model, scale=1.0)
  return cases.Case(model, head, SPEC, params, np.array([[2, 0, 3, 1]]))


# --- the dynamic program ---


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_dynamic_is_optimal(length):
  rng = np.random.default_rng(length)
  for falling in (True, False):
    losses_L = rng.random(length)
    losses_L = -np.sort(-losses_L) if falling else losses_L
    for K in range(1, length + 1):
      sizes = schedules.dynamic(losses_L, K)
      assert len(sizes) == K and sum(sizes) == length and min(sizes) >= 1
      starts = [sum(sizes[:i]) for i in range(K)]
      nats = sum(n * losses_L[s] for n, s in zip(sizes, starts, strict=True))
      assert nats == pytest.approx(schedules.expected_nats(losses_L, sizes))
      best = min(
        schedules.expected_nats(losses_L, c) for c in compositions(length, K)
      )
      assert nats == pytest.approx(best, rel=1e-12)


def test_dynamic_of_an_image():
  """L = 784: where losses fall fast passes are short."""
  losses_L = np.exp(-np.arange(784) / 100) + 0.05
  sizes = schedules.dynamic(losses_L, 50)
  assert len(sizes) == 50 and sum(sizes) == 784
  nats = schedules.expected_nats(losses_L, sizes)
  assert losses_L.sum() < nats
  even = schedules.expected_nats(losses_L, schedules.even(784, 50))
  assert nats < losses_L.sum() + 0.6 * (even - losses_L.sum())
  assert sizes[0] < 8 < 16 < sizes[-1]


def test_even():
  assert schedules.even(7, 3) == (2, 3, 2)
  assert schedules.even(4, 4) == (1, 1, 1, 1)


@pytest.mark.parametrize("K", [0, 4])
def test_schedules_refuse(K):
  with pytest.raises(ValueError, match=f"{K} passes cannot draw 3 sites"):
    schedules.dynamic(np.ones(3), K)
  with pytest.raises(ValueError, match=f"{K} passes cannot draw 3 sites"):
    schedules.even(3, K)
  with pytest.raises(ValueError, match="not finite"):
    schedules.dynamic([1, np.nan, 1], 2)


@pytest.mark.slow
def test_step_losses_are_those_of_all_orders(case):
  """By enumeration of all orders; and they add up to the bound."""
  draws, L = 4000, SPEC.length
  x_BLC = np.array([[0], [2], [1], [1]], np.int32)[None]
  perms = np.array(list(itertools.permutations(range(L))), np.int32)
  with contract.precision("float64"):
    y = dict(label=np.ones(len(perms), np.int32))
    x_all = np.repeat(x_BLC, len(perms), 0)
    _, log_prob_BL = cases.forward(case, x_all, perms, y)
    exact_L = -cases.to_steps(log_prob_BL, perms).mean(0)
    losses_L = schedules.step_losses(
      case.model,
      case.head,
      case.params,
      np.repeat(x_BLC, draws, 0),
      jax.random.key(0),
      dict(label=np.ones(draws, np.int32)),
    )
  assert losses_L.dtype == np.float64
  assert np.ptp(exact_L) > 0.3
  assert losses_L == pytest.approx(exact_L, abs=0.1)
  assert losses_L[0] == pytest.approx(exact_L[0], abs=1e-9)


# --- the sampler ---


def draw(case, sampler, seed=0):
  """(Sample as numpy, x, known, order, y) of rows that are given in part."""
  rng = np.random.default_rng(seed)
  B, L = 64, SPEC.length
  x_BLC = rng.integers(0, SPEC.num_values, (B, L, 1), np.int32)
  known_BL = rng.random((B, L)) < 0.3
  y = dict(label=rng.integers(0, 2, B).astype(np.int32))
  order = case.order_KL
  if order is not None and len(order) > 1:
    order = order[rng.integers(len(order), size=B)]
  key = jax.random.key(seed)
  sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
  return type(sample)(*map(np.asarray, sample)), x_BLC, known_BL, order, y


ORDERS = dict(
  identity=None,
  several=np.array([[2, 0, 3, 1], [3, 1, 0, 2], [0, 1, 2, 3]], np.int32),
)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_one_site_a_pass_is_ancestral(case, order):
  """The same keys draw the same values, with the same log-probabilities."""
  case = case._replace(order_KL=ORDERS[order])
  settings = dict(temperature=0.8, top_k=2)
  with contract.precision("float64"):
    ones = grouped.make(case.model, case.head, **settings)
    cached = ancestral.make(case.model, case.head, **settings)
    one, other = (draw(case, s)[0] for s in (cached, ones))
  assert ones.exact
  assert grouped.make(case.model, case.head, steps=(1,) * 4).exact
  assert (one.x_BLC == other.x_BLC).all()
  for a, b in zip(one[1:], other[1:], strict=True):
    cases.below(cases.apart(a, b), 1e-12, "log-probabilities")


@pytest.mark.slow
@pytest.mark.parametrize(
  ("order", "steps"),
  [("identity", (1, 3)), ("several", (1, 2, 1))],
)
def test_groups_are_scored_as_drawn(case, order, steps):
  case = case._replace(order_KL=ORDERS[order])
  settings = dict(temperature=0.7)
  with contract.precision("float64"):
    sampler = grouped.make(case.model, case.head, **settings, steps=steps)
    assert not sampler.exact
    sample, x_BLC, known_BL, order, y = draw(case, sampler)
    assert (sample.x_BLC[known_BL] == x_BLC[known_BL]).all()
    assert (sample.log_prob_sampler_BL[known_BL] == 0).all()
    by_group_BL = log_prob_of_groups(
      case, sample.x_BLC, order, y, steps, settings
    )
    by_group_BL = np.where(known_BL, 0, by_group_BL)
    _, exact_BL = cases.forward(case, sample.x_BLC, order, y)
  off = cases.apart(by_group_BL, sample.log_prob_sampler_BL)
  cases.below(off, 1e-12, "log_prob_sampler")
  off = cases.apart(exact_BL, sample.log_prob_model_BL)
  cases.below(off, 1e-12, "log_prob_model")


def log_prob_of_groups(case, x_BLC, order, y, steps, settings=()):
  """log p of each site given the groups before its own, in data order."""
  B, L, _ = x_BLC.shape
  order = np.broadcast_to(np.arange(L) if order is None else order, (B, L))
  rank_BL = np.argsort(order, -1)
  predict = jax.jit(case.model.predict)
  result = np.zeros((B, L))
  start = 0
  for size in steps:
    theta = predict(case.params, x_BLC, rank_BL < start, y)
    theta = case.head.adjust(theta, **dict(settings))
    log_prob_BL = np.asarray(case.head.log_prob(theta, x_BLC))
    here_BL = (rank_BL >= start) & (rank_BL < start + size)
    result = np.where(here_BL, log_prob_BL, result)
    start += size
  return result


def test_groups_follow_their_distribution(case):
  """Draws of two groups: not those of the exact model, which they are near."""
  steps, draws = (2, 2), 50_000
  x_NLC, _, _ = cases.space(case)
  with contract.precision("float64"):
    log_prob_NL = log_prob_of_groups(case, x_NLC, case.order_KL, None, steps)
    exact_N = chance.adjusted(case)
    sampler = grouped.make(case.model, case.head, steps=steps, score=False)
    prob_N = np.exp(log_prob_NL.sum(1))
    cases.below(abs(prob_N.sum() - 1), 1e-12, "sum over all sequences")
    assert chance.p_value_of_other(exact_N, prob_N, draws) < chance.CHANCE
    chance.sampler_follows(case, sampler, prob_N, draws)


def test_greedy(case):
  """Temperature 0 takes the likeliest value of each site of a group."""
  with contract.precision("float64"):
    sampler = grouped.make(
      case.model, case.head, temperature=0, steps=(2, 2), score=False
    )
    sample, _, known_BL, order, y = draw(case, sampler)
    first_BL = np.isin(np.arange(4), order[0, :2])[None] & ~known_BL
    none_BL = np.zeros_like(known_BL)
    theta = jax.jit(case.model.predict)(case.params, sample.x_BLC, none_BL, y)
  best_BL = np.asarray(theta).argmax(-1)
  assert (sample.x_BLC[..., 0] == best_BL)[first_BL].all()
  assert (sample.log_prob_sampler_BL == 0).all()
  assert np.isnan(sample.log_prob_model_BL).all()  # was not asked for


def test_make_refuses(case):
  model, head = case.model, case.head
  with pytest.raises(ValueError, match="sample from this one by ancestral"):
    grouped.make(model._replace(predict=None), head)
  with pytest.raises(ValueError, match="a pass draws one site or more"):
    grouped.make(model, head, steps=(2, 0, 2))
  sampler = grouped.make(model, head, steps=(2, 1))
  with pytest.raises(ValueError, match="steps draw 3 sites, an item has 4"):
    draw(case, sampler)
