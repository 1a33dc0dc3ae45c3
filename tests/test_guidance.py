"""Guidance: a distribution of its own at every scale, and its price."""

import dataclasses

import contract
import jax
import numpy as np
import pytest
from contract import cases
from test_contract import LABELED, small_case, stack

from ar_jax import (
  assemble,
  errors,
  guidance,
  likelihood,
  registry,
  tradeoff,
  views,
)
from ar_jax import config as configs
from ar_jax import run as runs
from ar_jax.samplers import ancestral, jacobi
from ar_jax.types import DataSpec

SCALES = (-0.5, 0.0, 0.5, 1.0, 3.0)


@pytest.fixture
def double():
  with contract.precision("float64"):
    yield


def viewed(scale, module=guidance):
  """(Case of the view, Case of the model), in two orders with two labels."""
  y = dict(label=np.array([0, 1], np.int32))
  case = small_case(LABELED, order_KL=stack(4, 3)[1:], y=y)
  model, head = module.guided(case.model, case.head, scale)
  return case._replace(model=model, head=head), case


def thetas(case, y=None):
  """theta of the whole space, given y of the case unless said."""
  x_BLC, order, own = cases.space(case)
  return cases.forward(case, x_BLC, order, own if y is None else y)[0]


def is_what_it_says(module, scale):
  """q by the words of the definition, beside p."""
  case, plain = viewed(scale, module)
  log_y, log_null = (
    np.asarray(plain.head.log_probs(theta))
    for theta in (thetas(plain), thetas(plain, {}))
  )
  wanted = np.exp(log_y) ** scale * np.exp(log_null) ** (1 - scale)
  wanted /= wanted.sum(-1, keepdims=True)
  theta = thetas(case)
  log_q = case.head.log_probs(case.head.adjust(theta))
  cases.below(cases.apart(wanted, np.exp(log_q)), 1e-12, "q")
  log_p = case.head.log_probs(theta)
  cases.below(cases.apart(log_y, log_p), 1e-12, "log p")


@pytest.mark.parametrize("scale", SCALES)
def test_q_is_what_it_says(double, scale):
  is_what_it_says(guidance, scale)


@pytest.mark.slow
def test_the_view_keeps_the_contract(double):
  case, _ = viewed(3.0)
  contract.normalised(case)
  contract.causal(case)
  contract.step_equals_apply(case)
  contract.extend_equals_apply(case)


@pytest.mark.parametrize(
  "changes",
  [
    {"scale * told": "told"},
    {"(1 - scale) * untold": "scale * untold"},
    {"for one in (y, None)": "for one in (None, None)"},
  ],
)
def test_another_q_is_seen(double, changes, mutated):
  with pytest.raises(AssertionError, match="q: off by"):
    is_what_it_says(mutated("guidance", changes), 3.0)


def test_both_log_probabilities_are_told(double):
  case, _ = viewed(2.0)
  settings = dict(temperature=0.7, top_k=2)
  sampler = ancestral.make(case.model, case.head, **settings)
  contract.sampled_equals_scored(case, sampler, settings)


@pytest.mark.slow
def test_other_samplers_draw_the_same(double):
  case, _ = viewed(2.0)
  one, two = (m(case.model, case.head) for m in (jacobi.make, ancestral.make))
  contract.cached_equals_naive(case, one, two)


def test_scale_one_draws_as_the_model_does(double):
  case, plain = viewed(1.0)
  one, two = (ancestral.make(c.model, c.head) for c in (case, plain))
  contract.cached_equals_naive(case, one, two)


def test_what_cannot_be_is_impossible_and_no_nan():
  """A value of mass zero to both, to the one, to the other."""
  head = registry.build("heads", dict(name="categorical"), DataSpec((1,), 1, 4))
  told = np.array([[[0.0, 1.0, -np.inf, -np.inf]]])
  untold = np.array([[[1.0, -np.inf, 0.0, -np.inf]]])

  class _Model:
    sees, aligned, enter = None, (), None
    init = init_cache = step = extend = None

    @staticmethod
    def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
      return told if y else untold

  for scale, certain in ((0.5, 0), (3.0, 1), (-1.0, 2)):
    model, q = guidance.guided(_Model, head, scale)
    theta = model.apply(None, None, None, dict(label=0))
    prob_V = np.exp(q.log_probs(q.adjust(theta)))[0, 0]
    np.testing.assert_allclose(prob_V, np.eye(4)[certain], atol=1e-6)


@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_no_number_is_no_scale(scale):
  with pytest.raises(ValueError, match="guidance takes a finite number"):
    viewed(scale)


def test_a_head_whose_values_are_not_listed_is_refused():
  head = registry.build("heads", dict(name="categorical"), DataSpec((4,), 2, 3))
  with pytest.raises(ValueError, match="guidance weighs all values"):
    guidance.guided(None, head, 2.0)


# --- what it costs ---


def test_effective_samples():
  same_N = np.log([0.1, 0.2, 0.3])
  assert likelihood.effective_samples(same_N, same_N) == pytest.approx(3)
  two_N = np.array([-1000.0, -1000.0, -2000.0])
  assert likelihood.effective_samples(two_N, 0 * two_N) == pytest.approx(2)
  p_N, q_N = np.array([0.4, 0.1]), np.array([0.1, 0.1])  # w = 4, 1
  found = likelihood.effective_samples(np.log(p_N), np.log(q_N))
  assert found == pytest.approx(25 / 17)


@pytest.fixture(scope="module")
def digits():
  """(Run of random parameters that know the label, Dataset)."""
  config = configs.load("configs/digits_gated_pixelcnn.py:tiny", [])
  dataset = assemble.dataset(config)
  net = assemble.network(config, dataset.spec)
  params = jax.jit(net.model.init)(jax.random.key(0))
  params["condition"]["label"] *= 100.0
  run = runs.Run(
    None, config, dataset.spec, dataset.media, net, params, params, 0
  )
  return run, dataset


def figures(digits, module=tradeoff):
  run, dataset = digits
  return module.of_run(
    run, dataset, "valid", "label", (0.0, 1.0, 2.0), 40, jax.random.key(3)
  )


def hangs_together(digits, result):
  """Each figure against another way to it."""
  run, dataset = digits
  null, own, strong = result["rows"]
  split = dataset.splits["valid"]
  log_N = run.log_prob_of(split).sum(1)
  np.testing.assert_allclose(own["nats"], -log_N.mean(), rtol=1e-5)
  assert own["over_model"] == pytest.approx(0, abs=1e-4)
  assert own["effective"] == pytest.approx(40, abs=1e-3)
  assert own["entropy"] == pytest.approx(own["model_nats"], abs=1e-3)
  bare = split._replace(get=lambda i: (*split.get(i)[:2], {}))
  null_N = run.log_prob_of(bare).sum(1)
  np.testing.assert_allclose(null["nats"], -null_N.mean(), rtol=1e-5)
  # q is a distribution of its own: the draws of another are less likely to it.
  assert strong["model_nats"] > strong["entropy"] + 1
  assert 1 <= strong["effective"] < 20
  assert null["inferred"] < own["inferred"] < strong["inferred"] + 1e-9
  assert abs(null["inferred"] - 0.1) < 0.2


@pytest.mark.slow
def test_figures_of_scales(digits, tmp_path):
  result = figures(digits)
  hangs_together(digits, result)
  assert result["items"] == 180 and result["sites"] == 64
  assert tradeoff.draw(result, tmp_path).stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
  "changes",
  [
    {"views.scored_as_drawn(guided)": "guided"},
    {"likelihood.effective_samples(log_p_N, log_q_N)": "num * 1.0"},
  ],
)
def test_figures_of_another_distribution_are_seen(digits, changes, mutated):
  wrong = mutated("tradeoff", changes)
  with pytest.raises(AssertionError):
    hangs_together(digits, figures(digits, wrong))


def test_a_run_without_conditions_cannot_be_guided(digits):
  run, _ = digits
  bare = run.spec._replace(conditions={})
  with pytest.raises(errors.UsageError, match="no labels"):
    views.guided(dataclasses.replace(run, spec=bare), 2.0)
