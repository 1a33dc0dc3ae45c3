"""bfloat16 and remat: what a train step computes stays what it is."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ar_jax import compute, errors, registry, train
from ar_jax.nn import position
from ar_jax.types import Batch, DataSpec

MODELS = registry.names("models")
SPEC = DataSpec((16,), 1, 5)
GPT = dict(name="gpt", depth=1, width=16, heads=2, dropout=0.2)


def _parts(section, spec, orderings=("raster",), head="categorical", **_):
  ordering = registry.build("orderings", dict(name=orderings[0]), spec.shape)
  head = registry.build("heads", dict(name=head), spec)
  return registry.build("models", section, spec, head, ordering), head, ordering


def _objective(model, head, ordering):
  return registry.build("objectives", dict(name="nll"), model, head, ordering)


def _params(model):
  """Random ones: zero residual maps would hide the blocks."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  return jax.tree.map(
    lambda s: jnp.asarray(0.3 * rng.normal(size=s.shape), s.dtype), shapes
  )


def _batch(spec, B=4):
  rng = np.random.default_rng(0)
  shape = B, spec.length, spec.channels
  x_BLC = rng.integers(0, spec.num_values, shape).astype(np.int32)
  weight_BL = rng.uniform(0, 2, shape[:2]).astype(np.float32)
  return Batch(x_BLC, weight_BL, {}, np.arange(B, dtype=np.int32))


def _loss(model, head, ordering, batch, key_B=None):
  objective = _objective(model, head, ordering)

  def loss(params):
    nats_BL, weight_BL = objective(params, batch, key_B)
    return (nats_BL * weight_BL).sum() / weight_BL.sum()

  return jax.jit(jax.value_and_grad(loss))


def _products(jaxpr):
  """dtypes of what the products of a jaxpr multiply."""
  for eqn in jaxpr.eqns:
    if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
      yield eqn.invars[0].aval.dtype
    for value in eqn.params.values():
      for one in value if isinstance(value, tuple | list) else (value,):
        one = getattr(one, "jaxpr", one)
        if hasattr(one, "eqns"):
          yield from _products(one)


@pytest.mark.parametrize("name", MODELS)
def test_every_network_multiplies_in_bfloat16_and_gives_float32(name):
  tiny = dict(registry.load("models", name).TINY[0], name=name)
  spec = tiny.pop("spec")
  tiny = {k: v for k, v in tiny.items() if k not in ("orderings", "head")}
  model, head, ordering = _parts(tiny, spec)
  del head, ordering
  low = compute.lowered(model, jnp.bfloat16)
  params = jax.eval_shape(model.init, jax.random.key(0))
  x_BLC = np.zeros((2, spec.length, spec.channels), np.int32)
  jaxpr = jax.make_jaxpr(low.apply)(params, x_BLC)
  assert jaxpr.out_avals[0].dtype == jnp.float32
  found = list(_products(jaxpr.jaxpr))
  assert found and set(found) == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.slow
def test_bfloat16_is_close_and_what_is_kept_is_float32():
  model, head, ordering = _parts(GPT, SPEC)
  params, batch = _params(model), _batch(SPEC)
  low = compute.lowered(model, jnp.bfloat16)
  value, grads = _loss(model, head, ordering, batch)(params)
  other, lows = _loss(low, head, ordering, batch)(params)
  assert other.dtype == jnp.float32
  assert 0 < abs(float(other / value - 1)) < 1e-2
  assert {g.dtype for g in jax.tree.leaves(lows)} == {jnp.dtype("float32")}
  off = optax.tree.norm(jax.tree.map(jnp.subtract, lows, grads))
  assert off < 0.05 * optax.tree.norm(grads)
  tx = optax.adam(1e-3)
  step = train.make_train_step(_objective(low, head, ordering), tx, steps=1)
  state = train.init_state(params, tx, 0.9)
  state, _ = jax.eval_shape(step, state, batch, jax.random.key(0))
  real = [a.dtype for a in jax.tree.leaves(state) if a.dtype != jnp.int32]
  assert set(real) == {jnp.dtype("float32")}


def test_rotation_in_bfloat16_knows_late_steps():
  table = position.rotary((1024,), 4)
  x = jnp.ones((1, 1025, 1, 4))
  wanted = position.rotate(x, table[None])
  found = position.rotate(x.astype(jnp.bfloat16), table[None])
  assert found.dtype == jnp.bfloat16
  np.testing.assert_allclose(found.astype(float), wanted, atol=2e-2)


@pytest.fixture(scope="module")
def plain():
  """Loss and gradient where all is kept, with dropout."""
  model, head, ordering = _parts(GPT, SPEC)
  params, batch = _params(model), _batch(SPEC)
  key_B = train.example_keys(jax.random.key(3), 0, batch.index_B)
  given = head, ordering, batch, key_B
  return model, given, params, _loss(model, *given)(params)


@pytest.mark.slow
@pytest.mark.parametrize(
  "policy",
  [
    "nothing_saveable",
    *(pytest.param(p, marks=pytest.mark.slow) for p in compute.POLICIES[1:]),
  ],
)
def test_remat_changes_neither_loss_nor_gradient(plain, policy):
  model, given, params, (value, grads) = plain
  again, others = _loss(compute.remade(model, policy), *given)(params)
  np.testing.assert_allclose(again, value, rtol=1e-6)
  for g, o in zip(*map(jax.tree.leaves, (grads, others)), strict=True):
    np.testing.assert_allclose(o, g, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_remat_needs_less_memory():
  # Else XLA on CPU computes anew at once what it has forgotten; the flag has
  # to be there when it starts.
  flags = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
  flags += " --xla_backend_optimization_level=0"
  env = dict(os.environ, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
  command = [sys.executable, __file__]
  done = subprocess.run(command, env=env, check=True, capture_output=True)
  whole, dots, nothing = map(int, done.stdout.split())
  assert dots < 0.8 * whole
  assert nothing < 0.8 * whole


def _temporaries():
  """Bytes between two passes of a deep GPT: all kept, products, nothing."""
  spec = DataSpec((128,), 1, 5)
  section = dict(name="gpt", depth=12, width=64, heads=4)
  model, head, ordering = _parts(section, spec)
  params = jax.eval_shape(model.init, jax.random.key(0))
  for policy in (None, "dots_saveable", "nothing_saveable"):
    used = compute.trained(model, remat=policy)
    loss = _loss(used, head, ordering, _batch(spec))
    yield loss.lower(params).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
  ("options", "said"),
  [
    (dict(precision="bf16"), "train.precision: none is named 'bf16'"),
    (dict(remat="dots"), "train.remat: none is named 'dots'"),
  ],
)
def test_unknown_names_are_refused(options, said):
  with pytest.raises(errors.UsageError, match=said):
    compute.trained(None, **options)


if __name__ == "__main__":
  print(*_temporaries())
