"""The cache of attention: what a step costs, and that none is left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import operations, registry
from ar_jax.nn import attention
from ar_jax.proofs import cases
from ar_jax.types import DataSpec


def model_of(length, **section):
  spec = DataSpec((length,), 1, 3)
  ordering = registry.build("orderings", dict(name="raster"), spec.shape)
  head = registry.build("heads", dict(name="categorical"), spec)
  section = dict(dict(depth=1, width=8, heads=2), name="gpt", **section)
  return registry.build("models", section, spec, head, ordering)


@pytest.mark.slow
def test_steps_of_any_number_equal_apply(monkeypatch):
  monkeypatch.setattr(attention, "_LEAST", 2)  # then 4, 8 and 11 slots
  L = 11
  model = model_of(L, kv_heads=1)
  params = cases.initial(model.init)
  params = jax.tree.map(  # residual maps that are zero would hide attention
    lambda p: p + jax.random.normal(jax.random.key(p.size), p.shape), params
  )
  x_BLC = jax.random.randint(jax.random.key(0), (3, L, 1), 0, 3)
  theta_BLP = jax.jit(model.apply)(params, x_BLC)
  before_BLC = jnp.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))[:, :-1]

  def steps(params, cache, start):
    def body(cache, t):
      theta_BP, cache = model.step(params, cache, before_BLC[:, t], t)
      return cache, theta_BP

    return jax.lax.scan(body, cache, jnp.arange(start, L))[1].swapaxes(0, 1)

  for start in (0, 5):
    cache = model.init_cache(params, 3, L)
    cache = jax.tree.map(lambda a: a + 1e3, cache)  # garbage is not seen
    first, cache = jax.jit(model.extend, static_argnums=3)(
      params, cache, before_BLC[:, :start], 0
    )
    rest = jax.jit(steps, static_argnums=2)(params, cache, start)
    found = jnp.concatenate([first, rest], 1)
    np.testing.assert_allclose(found, theta_BLP, rtol=0, atol=1e-5)


def test_a_step_costs_what_there_is_and_not_what_there_is_room_for():
  model = model_of(4096)
  params = jax.eval_shape(model.init, jax.random.key(0))
  x_BC = jnp.zeros((2, 1), jnp.int32)
  t = jax.ShapeDtypeStruct((), np.int32)
  found = []
  for capacity in (512, 4096):
    cache = jax.eval_shape(lambda p: model.init_cache(p, 2, capacity), params)
    step = jax.jit(model.step, donate_argnums=1)
    compiled = step.lower(params, cache, x_BC, t).compile()
    one = cache["layers"][0]["k"]
    # Keys and values of half the slots at most are copied, and never all.
    limit = 1.5 * one.size * one.dtype.itemsize
    read = operations.bytes_read(model.step, params, cache, x_BC, t)
    found.append((read, compiled.memory_analysis().temp_size_in_bytes, limit))
  (less, _, _), (more, temporary, limit) = found
  assert more == less
  assert temporary < limit, found
