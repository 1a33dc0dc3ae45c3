"""Fixed points: the samples of ancestral.py, in no more passes than steps."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import cases, caught
from test_contract import model_case, order_names, section_of

from ar_jax import registry
from ar_jax.proofs.cases import Case
from ar_jax.samplers import _shared, ancestral, jacobi
from ar_jax.types import DataSpec, Model

QUICK = ("gated_pixelcnn", "gpt", "wavenet")
MODELS = [
  pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
  for name in registry.names("models")
]
WINDOWS = (None, 1, 5)


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def tiny(name):
  """The first entry of a model under its last orders, with conditions."""
  section = section_of("models", name, 0)
  y = "given" if section["spec"].conditions else "none"
  return model_case(name, 0, order_names(section)[-1], y)


def check(case, sampler):
  """The samples of ancestral.py; how many passes they took."""
  contract.cached_equals_naive(
    case, sampler, ancestral.make(case.model, case.head)
  )
  x_BLC, known_BL, order, y = cases.contents(case, 0)
  args = case.params, jax.random.key(1), order, (x_BLC, known_BL), y
  sample, counts = sampler.counted(*args)
  passes = int(counts["passes"])
  assert 1 <= passes <= case.spec.length, f"{passes} passes"
  for one, two in zip(sample, sampler(*args), strict=True):
    np.testing.assert_array_equal(one, two)
  return passes


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name != "gpt"))
    for name in registry.names("models")
  ],
)
def test_samples_are_those_of_ancestral(name):
  case = tiny(name)
  for window in WINDOWS:
    check(case, jacobi.make(case.model, case.head, window=window))


def echo(length, bits, reach):
  """A Case whose step t follows the value `reach` steps before, nearly.

  bits: how sure it is; at 0 every step is a fair coin.
  """
  spec = DataSpec((length,), 1, 2)
  head = registry.build("heads", dict(name="categorical"), spec)

  def logits(x):
    return bits * jnp.log(2.0) * jnp.stack([-x, x], -1) / 2

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    padded_BL = jnp.pad(2.0 * x_BLC[..., 0] - 1, ((0, 0), (reach, 0)))
    return logits(padded_BL[:, : x_BLC.shape[1]])

  def init_cache(params, batch, length, order_BL=None, y=None):
    return jnp.zeros((batch, length))

  def extend(params, cache, x_BKC, t, n=None):
    steps_K = t + jnp.arange(x_BKC.shape[1])
    value_BK = jnp.where(steps_K[None] > 0, 2.0 * x_BKC[..., 0] - 1, 0)
    told_BL = cache.at[:, steps_K].set(value_BK)
    at_K = steps_K - reach + 1
    seen_BK = jnp.where(at_K[None] > 0, told_BL[:, at_K], 0)
    entered_K = jnp.arange(x_BKC.shape[1]) < (len(steps_K) if n is None else n)
    kept_BK = jnp.where(entered_K[None], value_BK, cache[:, steps_K])
    return logits(seen_BK), cache.at[:, steps_K].set(kept_BK)

  def step(params, cache, x_BC, t):
    theta_BKP, cache = extend(params, cache, x_BC[:, None], t)
    return theta_BKP[:, 0], cache

  model = Model(lambda key: {}, apply, init_cache, step, extend)
  rng = np.random.default_rng(0)
  x_NLC = cases.values(spec, rng, (8, length, 1))
  return Case(model, head, spec, {}, None, None, x_NLC)


@pytest.mark.parametrize("window", WINDOWS)
def test_passes_are_those_that_the_noise_needs(window):
  """None is needed but one for coins; copies of a zero need one a step."""
  coins = echo(12, 0.0, 1)
  passes = check(coins, jacobi.make(coins.model, coins.head, window=window))
  # The first pass draws, and one more sees that nothing changes: as far as a
  # window reaches.
  assert passes <= {None: 2, 1: 12, 5: 6}[window]
  case = echo(12, 200.0, 1)
  sampler = jacobi.make(case.model, case.head, window=window)
  blank = np.zeros((6, 12, 1), np.int32), np.zeros((6, 12), bool)
  sample, counts = sampler.counted({}, jax.random.key(0), None, blank)
  x_BL = np.asarray(sample.x_BLC[..., 0])
  np.testing.assert_array_equal(x_BL, x_BL[:, :1].repeat(12, 1))
  assert x_BL.any()  # a row of ones is guessed wrong at every step
  assert not x_BL.all()
  assert counts["passes"] == 12
  known = np.ones((6, 12, 1), np.int32), np.zeros((6, 12), bool)
  known[1][:, :11] = True
  sample, counts = sampler.counted({}, jax.random.key(0), None, known)
  assert counts["passes"] == 1  # what is known needs none
  assert np.asarray(sample.x_BLC).all()


@pytest.mark.parametrize("window", [None, 4])
def test_noise_of_all_steps_or_of_each_is_the_same(window, monkeypatch):
  monkeypatch.setattr(_shared, "MOST", 0)
  case = tiny("gpt")
  check(case, jacobi.make(case.model, case.head, window=window))


@pytest.mark.slow
def test_all_given_is_scored_in_one_pass():
  case = tiny("gpt")
  x_BLC, known_BL, order, y = cases.contents(case, 0)
  given = x_BLC, np.ones_like(known_BL)
  args = case.params, jax.random.key(1), order, given, y
  wanted = ancestral.make(case.model, case.head)(*args)
  for window in WINDOWS:
    sampler = jacobi.make(case.model, case.head, window=window)
    sample, counts = sampler.counted(*args)
    assert counts["passes"] == 1
    for one, two in zip(sample, wanted, strict=True):
      np.testing.assert_allclose(one, two, rtol=0, atol=1e-12)


def test_a_window_of_no_step_is_refused():
  case = tiny("gpt")
  with pytest.raises(ValueError, match="window=0: the steps of a pass"):
    jacobi.make(case.model, case.head, window=0)


WRONG = {
  "stops a pass early": {"steady + 1, K)": "steady + 2, K)"},
  "noise by the place in the window": {
    "start_index=start, slice_size=K\n": "start_index=0, slice_size=K\n"
  },
  "guesses enter the cache": {
    "entered = jnp.minimum(right + 1, L - K) - start": "entered = L - K - start"
  },
  "known sites are drawn": {
    "kept_BK = known_BK | (": "kept_BK = (known_BK & False) | ("
  },
  "rows stop with the first": {".all((0, 2))": ".all(2).any(0)"},
  "a pass too many": {"lambda s: s.right < L": "lambda s: s.passes <= L"},
}


@pytest.mark.parametrize("breakage", WRONG)
def test_other_samples_are_seen(breakage, mutated):
  case = echo(12, 2.0, 1)
  make = mutated("samplers.jacobi", WRONG[breakage]).make
  right = case, jacobi.make(case.model, case.head, window=4)
  wrong = case, make(case.model, case.head, window=4)
  caught(check, right, wrong, "differ|off by|passes")
