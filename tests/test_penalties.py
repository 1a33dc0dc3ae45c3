"""Penalties and bans: a view of a model that is a distribution of its own."""

import contract
import jax
import numpy as np
import pytest
from contract import cases, chance
from test_contract import LABELED, SPEC, small_case, stack

from ar_jax import penalties, registry
from ar_jax.samplers import ancestral, jacobi, levels, speculative
from ar_jax.types import DataSpec

ALL = dict(repetition=1.7, presence=0.6, frequency=0.4)


def viewed(module=penalties, case=None, **settings):
  """A Case of the view, in two orders with two labels."""
  y = dict(label=np.array([0, 1], np.int32))
  case = case or small_case(LABELED, order_KL=stack(4, 3)[1:], y=y)
  model, head = module.penalized(case.model, case.head, **(settings or ALL))
  return case._replace(model=model, head=head), case


def log_q_of(theta_BLV, x_BL, repetition, presence, frequency):
  """By the words of the definition, one value at a time; generation order."""
  log_q = theta_BLV - np.logaddexp.reduce(theta_BLV, -1, keepdims=True)
  for b, t, v in np.ndindex(log_q.shape):
    count = list(x_BL[b, :t]).count(v)
    if count:
      log_q[b, t, v] *= repetition
      log_q[b, t, v] -= presence + frequency * count
  return log_q - np.logaddexp.reduce(log_q, -1, keepdims=True)


def check(module, settings=ALL):
  """The contract of the view, and that it is what it says."""
  case, plain = viewed(module, **settings)
  contract.normalised(case)
  contract.causal(case)
  contract.step_equals_apply(case)
  contract.extend_equals_apply(case)
  x_BLC, order, y = cases.space(plain)
  theta, _ = cases.forward(plain, x_BLC, order, y)
  wanted = log_q_of(theta, cases.to_steps(x_BLC, order)[..., 0], **settings)
  joint, _ = cases.forward(case, x_BLC, order, y)
  log_q = case.head.log_probs(case.head.adjust(joint))
  cases.below(cases.apart(wanted, log_q), 1e-12, "log q")
  log_p, plain_p = case.head.log_probs(joint), plain.head.log_probs(theta)
  cases.below(cases.apart(plain_p, log_p), 1e-12, "log p")


@pytest.fixture
def double():
  with contract.precision("float64"):
    yield


@pytest.mark.slow
def test_the_view_keeps_the_contract(double):
  check(penalties)


@pytest.mark.parametrize(
  "name",
  ["ancestral", pytest.param("speculative", marks=pytest.mark.slow)],
)
def test_both_log_probabilities_are_told(double, name):
  case, _ = viewed()
  settings = dict(temperature=0.7, top_k=2)
  section = dict(settings, name=name)
  sampler = registry.build("samplers", section, case.model, case.head)
  contract.sampled_equals_scored(case, sampler, settings)


@pytest.mark.parametrize(
  "make", [jacobi.make, pytest.param(levels.make, marks=pytest.mark.slow)]
)
def test_other_samplers_draw_the_same(double, make):
  case, _ = viewed()
  one, two = (m(case.model, case.head) for m in (make, ancestral.make))
  contract.cached_equals_naive(case, one, two)


@pytest.mark.slow
def test_draws_follow_it():
  with contract.precision("float32"):
    case = small_case(SPEC, dtype=np.float32, order_KL=stack(4)[2:3])
    case, plain = viewed(case=case)
    sampler = speculative.make(case.model, case.head)
    prob_N = chance.adjusted(case)
    chance.sampler_follows(case, sampler, prob_N, 20_000)
    chance.power(prob_N, {"model": lambda: chance.adjusted(plain)}, 20_000)


@pytest.mark.slow
def test_what_is_off_changes_no_sample(double):
  case, plain = viewed(repetition=1.0)
  one, two = (ancestral.make(c.model, c.head) for c in (case, plain))
  contract.cached_equals_naive(case, one, two)


@pytest.mark.slow
def test_a_view_of_a_view_adds_up(double):
  case, plain = viewed(presence=0.5)
  case, _ = viewed(case=case, frequency=0.25, banned=(1,))
  both, _ = viewed(presence=0.5, frequency=0.25, banned=(1,))
  x_BLC, order, y = cases.space(plain)
  x_BLC = cases.to_steps(x_BLC, order)
  y = cases.y_to_steps(case.model, y, order)

  def log_q(case):
    theta = case.model.apply(case.params, x_BLC, order, y)
    return np.asarray(case.head.log_probs(case.head.adjust(theta)))

  np.testing.assert_allclose(np.exp(log_q(case)), np.exp(log_q(both)))
  assert (log_q(case)[..., 1] == -np.inf).all()


def check_bans(module):
  case, _ = viewed(module, banned=(0, 2))
  x_BLC, known_BL, order, y = cases.contents(case, 0)
  given = x_BLC, known_BL
  # A draft may say what is banned.
  sampler = speculative.make(case.model, case.head)
  sample = sampler(case.params, jax.random.key(0), order, given, y)
  x_BL = np.asarray(sample.x_BLC)[..., 0]
  assert set(x_BL[~known_BL].tolist()) == {1}, "a banned value is drawn"
  # What is given may be what is banned; of two bans one value is left.
  assert {0, 2} <= set(x_BL[known_BL].tolist())
  log_q = np.asarray(sample.log_prob_sampler_BL)
  assert cases.apart(np.zeros_like(log_q), log_q) < 1e-12
  assert (np.asarray(sample.log_prob_model_BL) < 0).all()


def test_what_is_banned_is_not_drawn(double):
  check_bans(penalties)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(repetition=0.0), "repetition takes a finite number > 0, got 0"),
    (dict(repetition=np.inf), "repetition takes"),
    (dict(presence=np.nan), "presence takes a finite number, got nan"),
    (dict(frequency=np.inf), "frequency takes"),
    (dict(banned=(3,)), r"banned \(3,\): values are 0..2"),
    (dict(banned=(0, 1, 2)), "all 3 values are banned"),
  ],
)
def test_wrong_settings_are_named(settings, message):
  with pytest.raises(ValueError, match=message):
    viewed(**settings)


def test_a_head_whose_values_are_not_listed_is_refused():
  head = registry.build("heads", dict(name="categorical"), DataSpec((4,), 2, 3))
  with pytest.raises(ValueError, match="a penalty .* a head of one channel"):
    penalties.penalized(None, head)


WRONG = {
  "a step counts its own value": {
    "counts(jnp.roll(x_BLC, 1, axis=1), 0)": "counts(x_BLC, 1)"
  },
  "the unread value counts": {"> 0  # step 0": ">= 0  # step 0"},
  "refused values are counted": {
    "n = x_BKC.shape[1] if n is None else n": "n = x_BKC.shape[1]"
  },
  "a step forgets": {"count_BV += counts": "count_BV = counts"},
  "positive factor": {"repetition * log_q": "log_q / repetition"},
  "presence by count": {"presence * there": "presence * count"},
  "q and p in turn": {"[log_q, log_p], axis": "[log_p, log_q], axis"},
}


@pytest.mark.slow
@pytest.mark.parametrize("breakage", WRONG)
def test_another_view_is_seen(breakage, mutated, double):
  wrong = mutated("penalties", WRONG[breakage])
  with pytest.raises(AssertionError, match="off by|moves by|sum|extend"):
    check(wrong)


@pytest.mark.slow
def test_a_lost_ban_is_seen(mutated, double):
  lost = {"jnp.where(allowed, log_q, -jnp.inf)": "log_q"}
  with pytest.raises(AssertionError, match="a banned value is drawn"):
    check_bans(mutated("penalties", lost))
