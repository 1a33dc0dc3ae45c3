"""Samples in chunks of any length: the tokens of one scan."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_stream
from contract import cases
from test_contract import SPEC, small_case
from test_jacobi import tiny

from ar_jax import decode, registry, stream
from ar_jax.samplers import ancestral

TOTAL, PROMPTS = 21, [np.array([], int), np.array([2, 0, 1])]
MODELS = [
  pytest.param(n, marks=[pytest.mark.slow] * (n != "gpt"))
  for n in registry.names("models")
]


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


@pytest.fixture(scope="module")
def parts():
  with contract.precision("float64"):
    return test_stream._parts()


def joined(case, sampler, size):
  """(Sample of a case in data order, chunks): as `size` steps each give it."""
  x_BLC, known_BL, order, y = cases.contents(case, 0)
  args = case.params, jax.random.key(1), order, (x_BLC, known_BL), y
  state, part = sampler.begin(*args)
  found, t = [part], part.x_BLC.shape[1]
  while t < case.spec.length:
    state, part = sampler.go_on(case.params, state, t, size)
    t += part.x_BLC.shape[1]
    found.append(part)
  whole = [np.concatenate(a, 1) for a in zip(*found, strict=True)]
  return [cases.from_steps(a, order) for a in whole], sampler(*args)


def check(module, case, sizes=(2, 7)):
  sampler = module.make(case.model, case.head)
  for size in sizes:
    found, wanted = joined(case, sampler, size)
    np.testing.assert_array_equal(found[0], wanted.x_BLC)
    for a, b in zip(found[1:], wanted[1:], strict=True):
      cases.below(cases.apart(b, a), 1e-12, "log-probabilities")


@pytest.mark.parametrize("name", MODELS)
def test_chunks_make_up_one_scan(name):
  check(ancestral, tiny(name))


def test_all_chunks_are_one_program():
  """The last one too, of which the item leaves no more than a part."""
  case, traced = small_case(SPEC), []

  def step(*args):
    traced.append(1)
    return case.model.step(*args)

  sampler = ancestral.make(case.model._replace(step=step), case.head)
  blank = np.zeros((2, 4, 1), np.int32), np.zeros((2, 4), bool)
  state, _ = sampler.begin(case.params, jax.random.key(0), None, blank)
  state, _ = sampler.go_on(case.params, state, 0, 3)
  count = len(traced)
  _, part = sampler.go_on(case.params, state, 3, 3)
  assert part.x_BLC.shape == (2, 1, 1)
  assert len(traced) == count


def test_going_on_uses_up_nothing_of_the_caller():
  """Not the conditions and the order that a naive cache holds."""
  case = tiny("gpt")
  naive = decode.complete(case.model.init, case.model.apply, case.spec)
  sampler = ancestral.make(naive, case.head)
  x_BLC, known_BL, order, y = jax.tree.map(jnp.array, cases.contents(case, 0))
  params = jax.tree.map(jnp.array, case.params)
  args = params, jax.random.key(0), order, (x_BLC, known_BL), y
  for _ in range(2):
    state, part = sampler.begin(*args)
    sampler.go_on(params, state, part.x_BLC.shape[1], 2)


def draw(parts, prompts, total, module=stream, size=None, **options):
  ordering, _, _, params, sampler = parts
  return module.chunks(
    sampler,
    ordering,
    params,
    jax.random.key(1),
    prompts,
    total,
    spec=test_stream.SPEC,
    stride=test_stream.STRIDE,
    size=size,
    **options,
  )


def check_windows(parts, module, sizes=(3,)):
  *_, (wanted, _) = draw(parts, PROMPTS, TOTAL)
  for size in sizes:
    before_B = np.zeros(2, int)
    for drawn, done_B in draw(parts, PROMPTS, TOTAL, module, size):
      assert (done_B - before_B).max() <= max(size, test_stream.STRIDE)
      for row, done in enumerate(done_B):
        one, two = (s.x_BLC[row, :done] for s in (drawn, wanted))
        np.testing.assert_array_equal(one, two)
        assert (drawn.log_prob_model_BL[row, :done] < 0).all()
      before_B = done_B
    assert (before_B == TOTAL).all()
    for a, b in zip(drawn[1:], wanted[1:], strict=True):
      np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_windows_in_chunks_are_those_of_one_call(parts):
  check_windows(parts, stream)


@pytest.mark.parametrize("first", [3, 8, 10, 12, 14])
def test_two_calls_are_one(parts, first):
  """The second goes on from what the first gave, wherever it ended."""
  totals = [first, TOTAL + 2]
  whole = stream.sample(*_args(parts), PROMPTS, totals[1], **_OPTIONS)
  part = stream.sample(*_args(parts), PROMPTS, totals[0], **_OPTIONS)
  np.testing.assert_array_equal(part.x_BLC, whole.x_BLC[:, :first])
  again = stream.sample(*_args(parts), list(part.x_BLC), totals[1], **_OPTIONS)
  np.testing.assert_array_equal(again.x_BLC, whole.x_BLC)
  for log_BL in (part.log_prob_sampler_BL, again.log_prob_sampler_BL):
    drawn_BL = log_BL != 0
    wanted_BL = whole.log_prob_sampler_BL[:, : log_BL.shape[1]]
    np.testing.assert_allclose(log_BL[drawn_BL], wanted_BL[drawn_BL], atol=1e-5)


_OPTIONS = dict(spec=test_stream.SPEC, stride=test_stream.STRIDE)


def _args(parts):
  ordering, _, _, params, sampler = parts
  return sampler, ordering, params, jax.random.key(1)


def test_forced_values_come_at_their_step_in_any_window(parts):
  forced = ((0, 4), (1, 4), (9, 3), (17, 2), (30, 1))
  *_, (drawn, _) = draw(parts, PROMPTS, TOTAL, size=3, forced=forced)
  *_, (plain, _) = draw(parts, PROMPTS, TOTAL)
  for row, prompt in enumerate(PROMPTS):
    x_T, log_T = drawn.x_BLC[row, :, 0], drawn.log_prob_sampler_BL[row]
    at = [len(prompt) + n for n, _ in forced if len(prompt) + n < TOTAL]
    assert x_T[at].tolist() == [v for _, v in forced][: len(at)]
    assert np.flatnonzero(log_T == 0).tolist() == [*range(len(prompt)), *at]
    assert (drawn.log_prob_model_BL[row] < 0).all()
  assert (drawn.x_BLC != plain.x_BLC).any()


WRONG = {
  "the noise begins anew": {
    "t_K = t + jnp.arange(steps)": "t_K = jnp.arange(steps)"
  },
  "the last step is left out": {"inputs[0] < length": "inputs[0] < length - 1"},
}


@pytest.mark.slow
@pytest.mark.parametrize("breakage", WRONG)
def test_other_chunks_are_seen(breakage, mutated):
  wrong = mutated("samplers.ancestral", WRONG[breakage])
  with pytest.raises(AssertionError):
    check(wrong, tiny("gpt"), (2,))


def test_other_windows_are_seen(parts, mutated):
  right, wrong = "t : t + part.x_BLC.shape[1]", ": part.x_BLC.shape[1]"
  wrong = mutated("stream", {right: wrong})
  with pytest.raises(AssertionError):
    check_windows(parts, wrong)
