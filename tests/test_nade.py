"""NADE: chunks, gradients, and what it predicts of all sites at once."""

import importlib.util
import pathlib

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import likelihood, registry
from ar_jax import ordering as orders
from ar_jax.models import nade
from ar_jax.objectives import order_agnostic
from ar_jax.types import Condition, DataSpec

SPEC = DataSpec((2, 3), 1, 3)
LABEL = dict(label=Condition("label", 2))
PITCH = dict(LABEL, pitch=Condition("aligned", None, (6, 2)))


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def build(spec, module=nade, **section):
  """(model, head, random parameters)."""
  name = "categorical" if spec.num_values else "gaussian_mixture"
  head = registry.build("heads", dict(name=name), spec)
  model = module.make(spec, head, None, **section)
  params = contract.random_params(model)
  return model, head, jax.tree.map(jnp.asarray, params)


def permutations(count, length):
  rng = np.random.default_rng(length)
  rows = [rng.permutation(length) for _ in range(count)]
  return np.stack(rows).astype(np.int32)


def contents(spec, count):
  """(x_BLC, y) at random, in data order."""
  rng = np.random.default_rng(0)
  shape = count, spec.length, spec.channels
  if spec.num_values is None:
    x_BLC = spec.delta * rng.integers(-4, 5, shape)
  else:
    x_BLC = rng.integers(0, spec.num_values, shape, np.int32)
  y = {
    name: rng.standard_normal((count, *c.shape))
    if c.num_values is None
    else rng.integers(0, c.num_values, (count, *c.shape), np.int32)
    for name, c in spec.conditions.items()
  }
  return x_BLC, y


def same(one, two):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), one, two
  )


def graded(spec, order, **section):
  """(log p of four rows, its gradient)."""
  model, head, params = build(spec, **section)
  x_BLC, y = contents(spec, 4)

  @jax.jit
  @jax.value_and_grad
  def run(params):
    return likelihood.log_prob(model, head, params, x_BLC, order, y).sum()

  return run(params)


@pytest.mark.slow
def test_chunks_do_not_matter(monkeypatch):
  """Nor does it whether one order is said for the batch or for each row."""
  spec = SPEC._replace(conditions=PITCH)
  order = permutations(1, 6)
  whole = graded(spec, order, hidden=7, layers=2)
  monkeypatch.setattr(nade, "CHUNK", 4)
  same(whole, graded(spec, np.repeat(order, 4, 0), hidden=7, layers=2))


def test_longer_than_a_chunk():
  """Steps equal one forward over two chunks and a rest."""
  spec = DataSpec((2 * nade.CHUNK + 5,), 1, 2, None, LABEL)
  model, head, params = build(spec, hidden=9)
  x_BLC, _ = contents(spec, 3)
  for count in (1, 3):
    order_KL = permutations(count, spec.length)
    case = contract.Case(model, head, spec, params, order_KL, None, x_BLC)
    contract.step_equals_apply(case)


def test_backward_pass_in_chunks_of_memory(monkeypatch):
  """Not of a hidden layer for every step."""
  spec = DataSpec((400,), 1, 2)
  model, head, params = build(spec, hidden=50)
  x_BLC, _ = contents(spec, 100)

  def temporary():
    def total(params):
      return likelihood.log_prob(model, head, params, x_BLC).sum()

    compiled = jax.jit(jax.grad(total)).lower(params).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  every_step = 100 * 400 * 50 * 8
  assert temporary() < every_step
  monkeypatch.setattr(nade, "CHUNK", 400)
  assert temporary() > 2 * every_step


@pytest.mark.parametrize(
  ("spec", "section"),
  [
    (SPEC, dict()),
    (SPEC._replace(conditions=LABEL), dict(layers=2)),
    (SPEC._replace(conditions=PITCH), dict(layers=3, activation="relu")),
    (DataSpec((6,), 2, 2), dict(layers=2, activation="tanh")),
    (DataSpec((6,), 2, None, 0.5), dict(layers=2)),
  ],
)
def test_predict_is_the_next_step(spec, section):
  """For every site that could be next, whatever lies on unknown ones."""
  model, head, params = build(spec, hidden=10, **section)
  x_BLC, y = contents(spec, 5)
  other_BLC = np.roll(x_BLC, 1, 0)
  order_BL = permutations(5, 6)
  predict, forward = jax.jit(model.predict), jax.jit(model.apply)
  row_B = np.arange(5)
  for t in range(6):
    known_BL = np.zeros((5, 6), bool)
    np.put_along_axis(known_BL, order_BL[:, :t], True, 1)
    seen_BLC = np.where(known_BL[..., None], x_BLC, other_BLC)
    theta_BLP = predict(params, seen_BLC, known_BL, y)
    for last in range(t, 6):
      turned_BL = order_BL.copy()
      turned_BL[:, [t, last]] = turned_BL[:, [last, t]]
      steps = orders.permute(x_BLC, turned_BL)
      y_steps = orders.permute_conditions(y, turned_BL, model.aligned)
      step = forward(params, steps, turned_BL, y_steps)[:, t]
      np.testing.assert_allclose(
        theta_BLP[row_B, turned_BL[:, t]], step, atol=1e-12
      )


# --- mutants: each passes its check unbroken ---

MUTANTS = dict(
  value_of_no_step=(
    "jnp.where(step_K[:, None, None] > 0, rows_KBH, 0)",
    "rows_KBH",
    contract.step_equals_apply,
    "theta of step",
  ),
  value_on_the_next_site=(
    "[:, jnp.maximum(step_K - 1, 0)]",
    "[:, step_K]",
    contract.orders_matter,
    "is the same",
  ),
  site_before_for_the_target=(
    'target_RK = shared["order"][:, step_K]',
    "target_RK = source_RK",
    contract.orders_matter,
    "is the same",
  ),
  refused_steps_enter=(
    "sum=z_KBH[n]",
    "sum=z_KBH[-1]",
    contract.extend_equals_apply,
    "extend by",
  ),
)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name, tmp_path):
  old, new, check, match = MUTANTS[name]
  source = pathlib.Path(nade.__file__).read_text()
  assert source.count(old) == 1, f"nade.py has {source.count(old)} of {old!r}"
  path = tmp_path / "mutant.py"
  path.write_text(source.replace(old, new))
  file = importlib.util.spec_from_file_location("mutant", path)
  module = importlib.util.module_from_spec(file)
  file.loader.exec_module(module)
  spec = DataSpec((4,), 1, 2)

  def case(module):
    model, head, params = build(spec, module, hidden=8)
    return contract.Case(model, head, spec, params, permutations(3, 4))

  check(case(nade))
  with pytest.raises(AssertionError, match=match):
    check(case(module))


def test_what_it_cannot_take():
  with pytest.raises(ValueError, match="none of sigmoid"):
    build(SPEC, activation="step")
  words = dict(words=Condition("sequence", 4, (3,)))
  with pytest.raises(ValueError, match="words"):
    build(SPEC._replace(conditions=words))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_order_agnostic_training_is_unbiased(layers):
  """`predict` is what the objective asks of a network, keys and all."""
  spec = DataSpec((3,), 1, 3, None, LABEL)
  model, head, params = build(spec, hidden=4, layers=layers)
  every = registry.build("orderings", dict(name="all"), (3,))
  objective = order_agnostic.make(model, head, every)
  case = contract.Case(model, head, spec, params)
  contract.objective_is_nll(objective, case, every)
