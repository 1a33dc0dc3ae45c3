"""Text longer than the window: what is drawn is scored the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import data, evaluate, registry, stream
from ar_jax import ordering as orders
from ar_jax.types import Batch, DataSpec

LENGTH, STRIDE, VALUES = 8, 3, 5
SPEC = DataSpec((LENGTH,), 1, VALUES)


def _parts(order="raster", **sampler):
  ordering = registry.build("orderings", dict(name=order), SPEC.shape)
  head = registry.build("heads", dict(name="categorical"), SPEC)
  section = dict(name="gpt", depth=1, width=16, heads=2, target=True)
  model = registry.build("models", section, SPEC, head, ordering)
  params = jax.tree.map(
    lambda p: p + 0.5 * jax.random.normal(jax.random.key(p.size), p.shape),
    model.init(jax.random.key(0)),
  )
  section = dict(name="ancestral", **sampler)
  sampler = registry.build("samplers", section, model, head)
  return ordering, head, model, params, sampler


def _draw(parts, prompts, total, key=1):
  ordering, _, _, params, sampler = parts
  return stream.sample(
    sampler,
    ordering,
    params,
    jax.random.key(key),
    prompts,
    total,
    spec=SPEC,
    stride=STRIDE,
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("order", "total"),
  [
    (order, total)
    for order in ("raster", "reverse", "random")
    for total in (8, 11, 21)
  ],
)
def test_log_probs_equal_the_strided_evaluation(order, total):
  parts = _parts(order)
  drawn = _draw(parts, [np.array([], int), np.array([2, 0, 1])], total)
  score = _score(parts)
  for row in range(2):
    np.testing.assert_allclose(
      -drawn.log_prob_model_BL[row],
      _strided(parts, score, drawn.x_BLC[row, :, 0]),
      rtol=1e-5,
    )


def _score(parts):
  ordering, head, model, _, _ = parts
  return evaluate.make_score(model, head, ordering, seed=0)


def _strided(parts, score, x_T):
  """Nats of each token by windows; left to right, within a longer text."""
  ordering, _, _, params, _ = parts
  end = len(x_T)
  if orders.is_identity(ordering):
    end = data.window_starts(end, LENGTH, STRIDE, inside=False)[-1] + LENGTH
  split = data.windows(np.pad(x_T, (0, end - len(x_T))), LENGTH, STRIDE)
  index_B = np.arange(split.size)
  batch = Batch(*split.get(index_B), index_B)
  return score(params, batch)[batch.weight_BL > 0][: len(x_T)]


@pytest.mark.slow
def test_in_an_order_of_all_what_is_known_comes_first():
  """The prompt, and of a later window what the one before it drew."""
  ordering, head, model, params, sampler = _parts("all")
  seen = []

  def spy(params, key, order_BL, given, y):
    seen.append((order_BL, given[1]))
    return sampler(params, key, order_BL, given, y)

  prompts = [np.array([], int), np.array([2, 0, 1]), np.array([4, 4])]
  drawn = _draw((ordering, head, model, params, spy), prompts, 11)
  np.testing.assert_array_equal(drawn.x_BLC[1, :3, 0], [2, 0, 1])
  assert [known.sum(1).tolist() for _, known in seen] == [[0, 3, 2], [5, 5, 5]]
  for order_BL, known_BL in seen:
    np.testing.assert_array_equal(np.sort(order_BL), np.tile(range(8), (3, 1)))
    first_BL = np.take_along_axis(known_BL, order_BL, 1)
    assert (np.diff(first_BL.astype(int)) <= 0).all()
  assert len(np.unique(np.concatenate([o for o, _ in seen]), axis=0)) == 6


@pytest.mark.slow
def test_rows_of_several_lengths_are_each_drawn_as_if_alone():
  parts = _parts()
  totals = [5, 13, 21, 16, 8]
  prompts = [np.arange(n) % VALUES for n in (0, 10, 2, 9, 8)]
  drawn, score = _draw(parts, prompts, totals), _score(parts)
  for row, total in enumerate(totals):
    alike = _draw(parts, [prompts[row]] * len(totals), total)
    np.testing.assert_array_equal(drawn.x_BLC[row, :total], alike.x_BLC[row])
    assert (drawn.x_BLC[row, total:] == 0).all()
    for log_BT in (drawn.log_prob_model_BL, drawn.log_prob_sampler_BL):
      assert (log_BT[row, total:] == 0).all()
    np.testing.assert_allclose(
      -drawn.log_prob_model_BL[row, :total],
      _strided(parts, score, drawn.x_BLC[row, :total, 0]),
      rtol=1e-5,
    )


def test_prompts_of_any_lengths_are_kept():
  prompts = [np.array(p, int) for p in ([], [0], [4, 0, 0], range(5), [1] * 14)]
  drawn = _draw(_parts(), prompts, 17)
  for row, prompt in enumerate(prompts):
    n = len(prompt)
    np.testing.assert_array_equal(drawn.x_BLC[row, :n, 0], prompt)
    assert (drawn.log_prob_sampler_BL[row, :n] == 0).all()
    assert (drawn.log_prob_model_BL[row, :n] < 0).all()
    np.testing.assert_allclose(
      drawn.log_prob_sampler_BL[row, n:],
      drawn.log_prob_model_BL[row, n:],
      atol=1e-5,
    )


def test_a_row_does_not_depend_on_the_others():
  parts = _parts()
  prompt = np.array([3, 1])
  one = _draw(parts, [prompt, np.array([0, 0])], 19)
  two = _draw(parts, [prompt, np.array([4, 2])], 19)
  np.testing.assert_array_equal(one.x_BLC[0], two.x_BLC[0])
  ragged = _draw(parts, [prompt, np.array([4, 2, 2, 1, 0, 3])], 19)
  np.testing.assert_array_equal(one.x_BLC[0], ragged.x_BLC[0])
  assert (one.x_BLC[0] != one.x_BLC[1]).any()


@pytest.mark.slow
def test_greedy_is_the_argmax_of_the_full_forward_at_every_step():
  parts = _parts(temperature=0.0)
  _, _, model, params, _ = parts
  drawn = _draw(parts, [np.array([2])] * 3, 14)
  for start in data.window_starts(14, LENGTH, STRIDE, inside=False):
    window = drawn.x_BLC[:, start : start + LENGTH]
    best = model.apply(params, jnp.asarray(window)).argmax(-1)
    known = 1 if start == 0 else LENGTH - STRIDE
    np.testing.assert_array_equal(best[:, known:], window[:, known:, 0])
  assert (drawn.log_prob_sampler_BL == 0).all()


@pytest.mark.slow
def test_noise_depends_on_the_key_and_on_the_window():
  ordering, head, model, params, sampler = _parts()
  uniform = jax.tree.map(jnp.zeros_like, params)  # all is the noise's doing
  parts = ordering, head, model, uniform, sampler
  prompts = [np.array([2])] * 4
  one, two = (_draw(parts, prompts, 200, key=k).x_BLC[..., 0] for k in (1, 2))
  assert (one != two).any(1).all()
  # One noise for all windows would draw the same in each of them.
  period = one[:, LENGTH:-STRIDE] == one[:, LENGTH + STRIDE :]
  assert period.mean() < 0.4  # 1 / VALUES, of 764 draws
