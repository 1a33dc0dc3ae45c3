"""Beam search against the enumeration of everything there is."""

import contract
import jax
import numpy as np
import pytest
from contract import cases
from test_contract import SPEC, small_case

from ar_jax import beam, penalties, registry
from ar_jax.types import DataSpec

V, L = SPEC.num_values, SPEC.length


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def best(case, prompt_T, steps):
  """(all continuations [N, T + steps], log p of each), best first."""
  x_NK = cases.sequences(V, steps, 1)[..., 0]
  x_NT = np.concatenate([np.tile(prompt_T, (len(x_NK), 1)), x_NK], 1)
  padded_NL = np.pad(x_NT, ((0, 0), (0, L - x_NT.shape[1])))[..., None]
  _, log_NL = cases.forward(case, padded_NL.astype(np.int32), None, None)
  log_N = log_NL[:, len(prompt_T) : x_NT.shape[1]].sum(1)
  order_N = np.argsort(-log_N)
  return x_NT[order_N], log_N[order_N], log_NL[order_N]


def check(module, case=None, prompts=((), (2, 0))):
  case = case or small_case(SPEC)
  for prompt in prompts:
    steps = L - len(prompt)
    x_NT, log_N, log_NL = best(case, np.array(prompt, int), steps)
    found = module.search(
      case.model, case.head, case.params, prompt, steps, V ** (steps - 1)
    )
    # Nothing was dropped: all beams are the best ones, in order.
    W = V ** (steps - 1)
    assert found.x_BLC.shape == (W, L, 1)
    np.testing.assert_array_equal(found.x_BLC[..., 0], x_NT[:W])
    cases.below(
      cases.apart(log_NL[:W], found.log_prob_model_BL), 1e-12, "log p"
    )
    drawn = found.log_prob_sampler_BL[:, len(prompt) :].sum(1)
    cases.below(cases.apart(log_N[:W], drawn), 1e-12, "log q")
    assert (found.log_prob_sampler_BL[:, : len(prompt)] == 0).all()


def test_wide_enough_it_finds_the_best_of_all():
  check(beam)


@pytest.mark.parametrize(
  "section",
  [
    dict(name="lstm", width=5, depth=1),
    pytest.param(
      dict(name="wavenet", dilations=(1, 2), residual=4, skip=6),
      marks=pytest.mark.slow,
    ),
  ],
)
def test_beams_keep_their_caches_apart(section):
  """Recurrent states, and rings, go with their beam."""
  ordering = registry.build("orderings", dict(name="raster"), SPEC.shape)
  head = registry.build("heads", dict(name="categorical"), SPEC)
  model = registry.build("models", section, SPEC, head, ordering)
  params = contract.random_params(model, scale=1.0)
  check(beam, cases.Case(model, head, SPEC, params), prompts=((),))


def test_one_beam_is_greedy_and_more_are_no_worse():
  case = small_case(SPEC)
  args = case.model, case.head, case.params, (), L
  greedy = registry.build(
    "samplers", dict(name="ancestral", temperature=0), case.model, case.head
  )
  given = np.zeros((1, L, 1), np.int32), np.zeros((1, L), bool)
  wanted = greedy(case.params, jax.random.key(0), None, given)
  found = [beam.search(*args, width) for width in (1, 3)]
  np.testing.assert_array_equal(found[0].x_BLC, wanted.x_BLC)
  logs = [f.log_prob_model_BL[0].sum() for f in found]
  assert (np.diff(logs) >= -1e-12).all()
  assert logs[-1] > logs[0] + 1e-3


def ends(module):
  """A beam that has ended keeps its probability, and its place by it."""
  case, end = small_case(SPEC, seed=4), 1
  found = module.search(case.model, case.head, case.params, (), L, 60, end=end)
  x_NL, log_N, log_NL = best(case, np.zeros(0, int), L)
  kept = {}
  for x_L, log_L in zip(x_NL, log_NL, strict=True):
    n = (*x_L.tolist(), end).index(end) + 1
    row = (*x_L[:n].tolist(), *[end] * (L - n))
    # log_NL is by site, and a row's sites after the end are not read.
    kept[row] = log_L[:n].sum()
  wanted = sorted(kept, key=kept.get, reverse=True)
  rows = [tuple(x) for x in found.x_BLC[..., 0].tolist()]
  assert rows == wanted, "other rows, or in another order"
  logs = [kept[row] for row in rows]
  cases.below(cases.apart(logs, found.log_prob_model_BL.sum(1)), 1e-12, "log p")


def test_an_end_is_kept():
  ends(beam)


def test_a_length_penalty_lifts_the_longer_ones():
  case, end = small_case(SPEC, seed=4), 1

  def mean_length(penalty):
    found = beam.search(
      case.model,
      case.head,
      case.params,
      (),
      L,
      3,
      end=end,
      length_penalty=penalty,
    )
    count_W = (found.x_BLC[..., 0] != end).sum(1) + 1
    score_W = found.log_prob_model_BL.sum(1) / np.minimum(count_W, L) ** penalty
    assert (np.diff(score_W) <= 1e-12).all()
    return count_W.mean()

  assert mean_length(3.0) > mean_length(0.0)


def test_a_penalized_model_is_searched_as_it_is_drawn_from():
  case = small_case(SPEC)
  model, head = penalties.penalized(
    case.model, case.head, frequency=2.0, banned=(2,)
  )
  found = beam.search(model, head, case.params, (), L, V**L)
  assert len(found.x_BLC) == 2**L  # fewer than the beams
  total = found.log_prob_sampler_BL.sum(1)
  assert (np.diff(total) <= 1e-12).all()
  assert np.exp(total).sum() == pytest.approx(1, abs=1e-12)
  _, log_NL = cases.forward(case, found.x_BLC, None, None)
  cases.below(cases.apart(log_NL, found.log_prob_model_BL), 1e-12, "log p")


def test_what_it_does_not_take_is_said():
  case = small_case(SPEC)
  args = case.model, case.head, case.params, ()
  with pytest.raises(ValueError, match="width=0, steps=4: 1 or more"):
    beam.search(*args, L, 0)
  with pytest.raises(ValueError, match="5 steps, but an item has 4"):
    beam.search(*args, L + 1, 1)
  head = registry.build("heads", dict(name="categorical"), DataSpec((4,), 2, 3))
  with pytest.raises(ValueError, match="beam search .* a head of one channel"):
    beam.search(case.model, head, case.params, (), L, 1)


WRONG = {
  "caches stay where they were": {"jnp.take(a, parent_W, axis)": "a"},
  "all beams begin": {
    "jnp.where(jnp.arange(W) == 0, 0, -jnp.inf)": "jnp.zeros(W)"
  },
  "values stay where they were": {"a[parent_W].at": "a.at"},
}


@pytest.mark.slow
@pytest.mark.parametrize("breakage", WRONG)
def test_another_search_is_seen(breakage, mutated):
  wrong = mutated("beam", WRONG[breakage])
  with pytest.raises(AssertionError):
    check(wrong, prompts=((),))


@pytest.mark.slow
def test_an_end_that_is_lost_is_seen(mutated):
  lost = {"jnp.where(stay_W1, only_V[None], log_q_WV)": "log_q_WV"}
  with pytest.raises(AssertionError, match="other rows"):
    ends(mutated("beam", lost))
