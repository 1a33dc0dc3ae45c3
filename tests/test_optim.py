"""Schedules at their corners; who decays; who is taken by Muon."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import errors, optim

PARAMS = dict(
  block_0=dict(up=dict(kernel=jnp.ones((4, 6)), bias=jnp.ones(6))),
  embedding=jnp.ones((1, 3, 4)),
  norm=dict(scale=jnp.ones(4)),
)


def _update(grads, **kwargs):
  arguments = dict(steps=10, lr=0.1, schedule="constant")
  tx = optim.make(**dict(arguments, **kwargs))
  updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
  return updates


@pytest.mark.parametrize(
  ("name", "last"), [("cosine", 0.2), ("linear", 0.2), ("constant", 2.0)]
)
def test_schedule(name, last):
  rate = optim.make_schedule(name, 2.0, steps=50, warmup=10, final=0.1)
  np.testing.assert_allclose(rate(0), 0.2, rtol=1e-6)  # the first update moves
  np.testing.assert_allclose(rate(9), 2.0, rtol=1e-6)
  np.testing.assert_allclose(rate(50), last, rtol=1e-6)
  values = [float(rate(t)) for t in range(10, 51)]
  assert values == sorted(values, reverse=True)


def test_middle_of_the_decays():
  for name, middle in (("cosine", 1.1), ("linear", 1.1)):
    rate = optim.make_schedule(name, 2.0, steps=50, warmup=0, final=0.1)
    np.testing.assert_allclose(rate(25), middle, rtol=1e-6)


def test_decay_takes_the_paths_that_match():
  zeros = jax.tree.map(jnp.zeros_like, PARAMS)
  updates = _update(zeros, weight_decay=0.5)
  np.testing.assert_allclose(updates["block_0"]["up"]["kernel"], -0.05)
  np.testing.assert_allclose(updates["embedding"], -0.05)
  assert (updates["block_0"]["up"]["bias"] == 0).all()
  assert (updates["norm"]["scale"] == 0).all()
  only = _update(zeros, weight_decay=0.5, decay="norm")
  assert (only["embedding"] == 0).all()
  np.testing.assert_allclose(only["norm"]["scale"], -0.05)


def test_adam_has_no_decay():
  zeros = jax.tree.map(jnp.zeros_like, PARAMS)
  updates = _update(zeros, name="adam", weight_decay=0.5)
  assert all((u == 0).all() for u in jax.tree.leaves(updates))


def test_sgd_is_the_gradient_and_clip_bounds_its_norm():
  grads = jax.tree.map(lambda p: 3.0 * jnp.ones_like(p), PARAMS)
  updates = _update(grads, name="sgd", b1=0.0)
  np.testing.assert_allclose(updates["embedding"], -0.3, rtol=1e-6)
  clipped = _update(grads, name="sgd", b1=0.0, clip=1.0)
  norm = np.sqrt(sum((u**2).sum() for u in jax.tree.leaves(clipped)))
  np.testing.assert_allclose(norm, 0.1, rtol=1e-5)


def test_muon_orthogonalizes_matrices_of_blocks_alone():
  key = jax.random.key(0)
  grads = jax.tree.map(lambda p: jax.random.normal(key, p.shape), PARAMS)
  updates = _update(grads, name="muon", muon_lr=0.02)
  singular = np.linalg.svd(updates["block_0"]["up"]["kernel"])[1]
  # Newton-Schulz leaves singular values near one, not at it.
  assert singular.max() / singular.min() < 2
  assert 0.01 < np.median(singular) < 0.04
  adam = _update(grads, name="adam")
  np.testing.assert_allclose(updates["embedding"], adam["embedding"])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(name="admw"), "no optimizer 'admw'; nearest: adamw"),
    (dict(schedule="cosin"), "no schedule 'cosin'; nearest: cosine"),
  ],
)
def test_unknown_names(changes, message):
  with pytest.raises(errors.UsageError, match=message):
    _update(PARAMS, **changes)
