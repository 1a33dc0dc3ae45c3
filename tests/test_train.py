"""The train step and the loop, on a model of one line."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ar_jax import errors, train
from ar_jax.types import Batch


def _objective(params, batch, key_B, done):
  """Squared distance to w; the key only where a test asks for it."""
  del key_B
  return (batch.x_BLC[..., 0] - params["w"]) ** 2, batch.weight_BL


def _batch(x, weight, first=0):
  x_BLC = jnp.asarray(x, jnp.float32)[..., None]
  index_B = jnp.arange(first, first + len(x_BLC))
  return Batch(x_BLC, jnp.asarray(weight, jnp.float32), {}, index_B)


X = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
WEIGHT = [[1, 1], [1, 0], [0, 0], [1, 0]]  # scored: 1, 2, 3, 7
BATCH = _batch(X, WEIGHT)


def _state(tx, **kwargs):
  return train.init_state(dict(w=jnp.float32(0.0)), tx, **kwargs)


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_update_is_the_gradient_of_sum_over_weight(accumulate):
  tx = optax.sgd(0.5)
  step = train.make_train_step(_objective, tx, steps=10, accumulate=accumulate)
  state, metrics = step(_state(tx), BATCH, jax.random.key(0))
  # Mean of micro-batch means would be another number: the weights differ.
  np.testing.assert_allclose(state.params["w"], np.mean([1, 2, 3, 7]))
  np.testing.assert_allclose(metrics["nats"], 1 + 4 + 9 + 49)
  assert metrics["weight"] == 4
  np.testing.assert_allclose(metrics["grad_norm"], 2 * np.mean([1, 2, 3, 7]))


def test_reduce_gets_sums_before_the_division():
  tx = optax.sgd(0.5)
  twice = functools.partial(jax.tree.map, lambda a: 2 * a)
  step = train.make_train_step(_objective, tx, steps=10, reduce=twice)
  state, metrics = step(_state(tx), BATCH, jax.random.key(0))
  np.testing.assert_allclose(state.params["w"], np.mean([1, 2, 3, 7]))
  assert metrics["weight"] == 8


def test_average_follows_its_recursion():
  tx = optax.sgd(0.25)
  step = train.make_train_step(_objective, tx, steps=10, ema_decay=0.5)
  state = _state(tx, ema_decay=0.5)
  average = 0.0
  for t in range(20):
    state, _ = step(state, BATCH, jax.random.key(0))
    decay = min(0.5, (1 + t) / (10 + t))
    average = decay * average + (1 - decay) * float(state.params["w"])
    np.testing.assert_allclose(state.ema_params["w"], average, rtol=1e-5)
  assert state.step == 20


def test_keys_belong_to_the_example_and_the_step():
  index_B = jnp.arange(5)
  keys = train.example_keys(jax.random.key(0), 3, index_B)
  data = jax.random.key_data(keys)
  assert len(np.unique(data, axis=0)) == 5
  tail = train.example_keys(jax.random.key(0), 3, index_B[2:])
  np.testing.assert_array_equal(jax.random.key_data(tail), data[2:])
  later = train.example_keys(jax.random.key(0), 4, index_B)
  assert (jax.random.key_data(later) != data).any(1).all()


def _fit(batch_at, states, *, steps=7, every=3):
  tx = optax.sgd(0.1)
  seen = []
  step = jax.jit(train.make_train_step(_objective, tx, steps=10))
  state = train.fit(
    _state(tx),
    step,
    batch_at,
    jax.random.key(0),
    steps=steps,
    every=(every,),
    on_step=lambda s, m: seen.append((s, m)),
    on_state=lambda s, state: states.append((s, int(state.step))),
  )
  return state, seen


def test_loop_reports_every_step_once_and_hands_on_the_last_state():
  asked, states = [], []

  def batch_at(step):
    asked.append(step)
    return BATCH

  state, seen = _fit(batch_at, states)
  assert asked == list(range(7))
  assert [s for s, _ in seen] == list(range(1, 8))
  assert states == [(3, 3), (6, 6), (7, 7)]
  assert int(state.step) == 7
  nats = [m["nats"] for _, m in seen]
  assert nats == sorted(nats, reverse=True)


@pytest.mark.parametrize("bad", [2, 4, 6])
def test_a_loss_that_is_no_number_stops_before_it_is_kept(bad):
  states = []

  def batch_at(step):
    return _batch(np.full((4, 2), np.nan), WEIGHT) if step == bad else BATCH

  with pytest.raises(errors.NumericalError, match=f"step {bad + 1}, .* nan"):
    _fit(batch_at, states)
  assert all(s <= bad for s, _ in states)
