"""Speculative sampling: distributed as the model, whatever the draft."""

import functools

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import cases, caught
from test_contract import SPEC, small_case, stack
from test_jacobi import echo

from ar_jax import registry
from ar_jax.samplers import ancestral, speculative
from ar_jax.types import DataSpec

DRAFTS = ("itself", "near", "another", "ngram", "stubborn")
SLOW = [pytest.mark.slow]


def case_of(settings=()):
  """A GPT of 4 ternary sites whose probabilities differ, in a random order."""
  case = small_case(SPEC, dtype=np.float32, order_KL=stack(4)[2:3])
  return contract.spiky(case, settings)


def draft_of(case, name, **filters):
  """A Draft: of the model's own parameters, or of ever worse ones."""
  if name == "ngram":
    return None
  if name == "stubborn":  # sure of what the model hardly ever says
    log_q_V = jnp.log(jnp.array([0.0, 1e-3, 1 - 1e-3], jnp.float32))
    return speculative.Draft(
      lambda length, order_1L, y: (), lambda cache, x_LC, t: (log_q_V, cache)
    )
  other = contract.random_params(case.model, seed=5, dtype=np.float32)
  share = dict(itself=0.0, near=0.1, another=1.0)[name]
  params = jax.tree.map(
    lambda a, b: ((1 - share) * a + share * b).astype(np.float32),
    case.params,
    other,
  )
  return speculative.network(case.model, case.head, params, **filters)


def check(case, module, draft, steps, settings=(), draws=200_000):
  """Draws agree with the enumerated probabilities, and have power."""

  def make_sampler(**settings):
    made = draft_of(case, draft, **settings)
    return module.make(
      case.model, case.head, steps=steps, draft=made, **settings
    )

  return contract.sampler_follows_model(case, make_sampler, settings, draws)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("draft", "steps"),
  [
    pytest.param(d, n, marks=SLOW * ((d, n) not in {("another", 2)}))
    for d in DRAFTS
    for n in (1, 2, 3, 4)
  ],
)
def test_draws_are_those_of_the_model(draft, steps):
  with contract.precision("float32"):
    check(case_of(), speculative, draft, steps)


@pytest.mark.slow
@pytest.mark.parametrize(
  "settings", [dict(temperature=0.7, top_k=2), dict(top_p=0.8, min_p=0.1)]
)
@pytest.mark.parametrize("draft", ["near", "another"])
def test_draws_are_those_of_the_adjusted_model(draft, settings):
  with contract.precision("float32"):
    check(case_of(settings), speculative, draft, 2, settings)


def blank(rows, length):
  return np.zeros((rows, length, 1), np.int32), np.zeros((rows, length), bool)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3])
def test_a_draft_that_is_right_saves_passes(steps):
  """Itself is kept whole; what the model never says costs a pass a step."""
  case = echo(13, 2.0, 1)
  draft = speculative.network(case.model, case.head, {})
  sampler = speculative.make(case.model, case.head, steps=steps, draft=draft)
  given = blank(5, 13)
  sample, count = sampler.counted({}, jax.random.key(0), None, given)
  assert len(np.unique(sample.x_BLC, axis=0)) == 5
  np.testing.assert_array_equal(count["passes"], -(-13 // (steps + 1)))
  np.testing.assert_array_equal(count["kept"], count["drafted"])
  sure = echo(13, 200.0, 1)
  never = speculative.Draft(
    lambda length, order_1L, y: (),
    lambda cache, x_LC, t: (
      jnp.where(jnp.arange(2) == x_LC[t - 1, 0], -jnp.inf, 0.0),
      cache,
    ),
  )
  sampler = speculative.make(sure.model, sure.head, steps=steps, draft=never)
  known = blank(5, 13)
  known[1][:, 0] = True
  sample, count = sampler.counted({}, jax.random.key(0), None, known)
  assert not np.asarray(sample.x_BLC).any()
  np.testing.assert_array_equal(count["kept"], 0)
  np.testing.assert_array_equal(count["passes"], 12)


@pytest.mark.slow
def test_rows_keep_their_own_length():
  """One that copies a long run is done before one that tosses coins."""
  case = echo(24, 3.0, 1)
  sampler = speculative.make(case.model, case.head, steps=4, order=2)
  given = blank(3, 24)
  given[0][1, :, 0] = 1
  given[1][1] = True  # all of it is known
  given[0][2, :20, 0] = 1
  given[1][2, :20] = True
  _, count = sampler.counted({}, jax.random.key(0), None, given)
  passes_B = np.asarray(count["passes"])
  assert passes_B[1] == -(-24 // 5)
  assert passes_B[0] > passes_B[1]
  assert np.asarray(count["drafted"])[1] == np.asarray(count["kept"])[1] == 0
  alone = [a[2:] for a in given]
  _, one = sampler.counted({}, jax.random.key(0), None, alone)
  assert one["passes"].shape == (1,)


def check_scores(case, module, steps):
  """What is told of long items, most of which has entered the caches."""
  for draft in ("itself", "ngram"):
    made = draft_of(case, draft)
    sampler = module.make(case.model, case.head, steps=steps, draft=made)
    contract.sampled_equals_scored(case, sampler)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3])
def test_scores_of_long_items(steps):
  with contract.precision("float64"):
    check_scores(echo(13, 2.0, 3), speculative, steps)


@pytest.mark.slow
def test_greedy_is_that_of_ancestral():
  with contract.precision("float64"):
    case = small_case(SPEC, order_KL=stack(4, 3))
    args = case.params, jax.random.key(0), case.order_KL
    given = blank(3, 4)
    wanted = ancestral.make(case.model, case.head, temperature=0)(*args, given)
    for draft in ("ngram", "stubborn"):
      made = draft_of(case, draft)
      sampler = speculative.make(
        case.model, case.head, draft=made, temperature=0
      )
      sample = sampler(*args, given)
      np.testing.assert_array_equal(sample.x_BLC, wanted.x_BLC)


def test_an_ngram_goes_on_as_the_row_did():
  draft = speculative.ngram(5, 2)

  def after(*values):
    x_LC = jnp.array([*values, 0, 0], jnp.int32)[:, None]
    log_q_V, _ = draft.step((), x_LC, jnp.int32(len(values)))
    np.testing.assert_allclose(jnp.exp(log_q_V).sum(), 1, rtol=1e-6)
    return [round(float(q), 3) for q in jnp.exp(log_q_V)]

  def sure(v):
    return [float(v == i) for i in range(5)]

  assert after(1, 2, 3, 1, 2) == sure(3)
  assert after(1, 2, 3, 4, 2, 4, 1, 2) == sure(3)  # of two before of one
  assert after(2, 3, 2, 4, 2) == sure(4)  # the latest
  assert after(1, 2, 3) == [0.2] * 5
  assert after() == [0.2] * 5


def test_what_it_does_not_take_is_said():
  case = echo(4, 1.0, 1)
  with pytest.raises(ValueError, match="steps=0, order=3: 1 or more"):
    speculative.make(case.model, case.head, steps=0)
  spec = DataSpec((4,), 2, 3)
  head = registry.build("heads", dict(name="categorical"), spec)
  with pytest.raises(ValueError, match="a head of one channel"):
    speculative.make(case.model, head)


WRONG = {
  "every draft is kept": {
    "known_W | fine_W": "known_W | fine_W | True",
  },
  "what is refused is drawn from p": {
    "jnp.where(spare, refused_V, rest_V)": "rest_V"
  },
  "kept by equal chance": {"at_x(log_p_WV) - at_x(log_q_WV)": "at_x(log_p_WV)"},
  "one noise for the test and the draw": {
    "range(3)  # what": "(0, 0, 0)  # what"
  },
}
UNTOLD = {
  "one step too few": {"start, entered\n": "start, entered - 1\n"},
  "one step too many": {
    "jnp.minimum(right + 1, L - W)": "jnp.minimum(right + 2, L - W)"
  },
}


@pytest.mark.slow
@pytest.mark.parametrize("breakage", WRONG)
def test_other_draws_are_seen(breakage, mutated):
  with contract.precision("float32"):
    wrong = mutated("samplers.speculative", WRONG[breakage])
    case = case_of()
    run = functools.partial(check, draft="another", steps=1)
    caught(run, (case, speculative), (case, wrong), "p-value|p = |chance")


@pytest.mark.parametrize("whom", UNTOLD)
def test_other_caches_are_seen(whom, mutated):
  with contract.precision("float64"):
    wrong = mutated("samplers.speculative", UNTOLD[whom])
    case = echo(13, 2.0, 3)
    run = functools.partial(check_scores, steps=1)
    caught(run, (case, speculative), (case, wrong), "off by|differ|score")


@pytest.mark.slow
def test_log_probs_are_of_every_value():
  for name in ("categorical", "discretized_logistic"):
    head = registry.build("heads", dict(name=name), DataSpec((4,), 1, 5))
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((3, 2, head.num_params)).astype(np.float32)
    said = head.log_probs(theta)
    for v in range(5):
      x_C = np.full((3, 2, 1), v)
      np.testing.assert_allclose(
        said[..., v], head.log_prob(theta, x_C), rtol=1e-5, atol=1e-5
      )
    assert cases.apart(np.exp(said).sum(-1), np.ones((3, 2))) < 1e-5
