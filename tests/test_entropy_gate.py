"""A trained model meets the entropy of its source, and never goes below it.

Above it the model has not learned, below it something leaks: no likelihood
that is exact can win against the source itself.
"""

import functools

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import data, evaluate, optim, registry, train
from ar_jax.types import Batch, DataSpec

GPT = dict(name="gpt", depth=1, width=16, heads=2, target=True)


def network(spec, ordering):
  """(model, head, ordering, objective), small."""
  ordering = registry.build("orderings", ordering, spec.shape)
  head = registry.build("heads", dict(name="categorical"), spec)
  model = registry.build("models", GPT, spec, head, ordering)
  objective = registry.build(
    "objectives", dict(name="nll"), model, head, ordering
  )
  return model, head, ordering, objective


def trained(init, objective, batch_at, steps, lr=1e-2):
  """(state, nats per site of each step) of the library's own loop."""
  tx = optim.make(steps=steps, lr=lr, warmup=5)
  key = jax.random.key(0, impl="unsafe_rbg")
  state = train.init_state(jax.jit(init)(key), tx)
  losses = []
  state = train.fit(
    state,
    jax.jit(train.make_train_step(objective, tx, steps=steps)),
    batch_at,
    jax.random.key(1),
    steps=steps,
    every=(steps,),
    on_step=lambda step, m: losses.append(m["nats"] / m["weight"]),
    on_state=lambda step, state: None,
  )
  return state, losses


@pytest.mark.parametrize(
  ("source", "orders"),
  [
    ("two_state", "raster"),
    pytest.param("golden_mean", "reverse", marks=pytest.mark.slow),
  ],
)
def test_trained_model_meets_the_entropy(source, orders, record_property):
  """Also read from its end: the chain is another one, the entropy the same."""
  section = dict(name="markov", source=source, length=16)
  dataset = registry.build(
    "datasets", dict(section, train_size=16384, valid_size=4096)
  )
  model, head, ordering, objective = network(dataset.spec, dict(name=orders))
  batch_at = data.train_batches(dataset.splits["train"], 128, seed=0)
  state, _ = trained(model.init, objective, batch_at, steps=300)
  score = evaluate.make_score(model, head, ordering, seed=0)
  split = dataset.splits["valid"]
  result = evaluate.evaluate(score, state.params, split, "valid", 512, ordering)
  figure = contract.entropy_gate(
    result.nats / result.weight,
    evaluate.standard_error(result.nats_N, result.weight_N),
    split.entropy / dataset.spec.length,
    tolerance=0.01,
  )
  subject = f"entropy gate  float32  {source}  orders {orders}"
  record_property("contract", (subject, "NLL - H in s.e.", f"{figure:.2g}"))


UNIFORM = DataSpec((8,), 1, 4)


def uniform_batch(step, size=64):
  """Fresh uniform tokens: there is nothing to learn, and none comes twice."""
  rng = np.random.default_rng(step)
  x_BLC = rng.integers(0, 4, (size, 8, 1), np.int32)
  index_B = np.arange(step * size, (step + 1) * size, dtype=np.int32)
  return Batch(x_BLC, np.ones((size, 8), np.float32), {}, index_B)


@pytest.mark.slow
@pytest.mark.parametrize("orders", ["raster", "fresh"])
def test_uniform_tokens_cost_log_v(orders, record_property):
  sections = dict(raster=dict(name="raster"), fresh=dict(name="all"))
  model, _, _, objective = network(UNIFORM, sections[orders])
  _, losses = trained(model.init, objective, uniform_batch, steps=150)
  figure = contract.entropy_floor(losses, 4)
  subject = f"entropy floor  float32  orders {orders}"
  record_property("contract", (subject, "NLL - log V", f"{figure:.2g}"))


def test_a_leak_falls_through_the_floor():
  """The floor has power: a model without the shift falls below it."""
  model, head, _, _ = network(UNIFORM, dict(name="raster"))

  def unshifted(params, x_BLC, *args, **kwargs):
    return model.apply(params, jnp.roll(x_BLC, -1, 1), *args, **kwargs)

  leaky = functools.partial(registry.build, "objectives", dict(name="nll"))
  ordering = registry.build("orderings", dict(name="raster"), UNIFORM.shape)
  wrong = leaky(model._replace(apply=unshifted), head, ordering)
  _, losses = trained(model.init, wrong, uniform_batch, steps=150)
  with pytest.raises(AssertionError, match="a leak"):
    contract.entropy_floor(losses, 4)
