"""MADE: its masks, its degrees, and what it makes of orders."""

import functools
import importlib.util
import itertools
import pathlib

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ar_jax import likelihood, registry
from ar_jax.models import made
from ar_jax.types import Condition, DataSpec

LABEL = dict(label=Condition("label", 2))
SPEC = DataSpec((5,), 1, 2)
ORDER_KL = np.array([[1, 2, 3, 4, 0], [3, 0, 4, 1, 2]], np.int32)


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def build(spec, module=made, **section):
  """(model, head) with the categorical head."""
  head = registry.build("heads", dict(name="categorical"), spec)
  return module.make(spec, head, None, **section), head


def case_of(spec=SPEC, order_KL=ORDER_KL, module=made, **section):
  model, head = build(spec, module, **section)
  params = contract.random_params(model)
  return contract.Case(model, head, spec, params, order_KL)


def permutations(count, length, seed=0):
  rng = np.random.default_rng(seed)
  rows = [rng.permutation(length) for _ in range(count)]
  return np.stack(rows).astype(np.int32)


@pytest.mark.parametrize(("masks", "rows"), [("fixed", 1), ("sampled", 3)])
def test_jacobian_is_strictly_lower(masks, rows):
  """In generation order, under orders that are no involutions."""
  spec = DataSpec((3, 4), 1, 2)
  settings = dict(hidden=(24, 30), activation="tanh", masks=masks)
  model, _ = build(spec, **settings)
  params = jax.tree.map(jnp.asarray, contract.random_params(model))
  x_BLC = jnp.asarray(np.random.default_rng(1).random((3, 12, 1)))
  jacobian = jax.jit(jax.jacobian(model.apply, argnums=1))
  lower = np.tri(12, k=-1, dtype=bool)
  for seed in range(3):
    order = permutations(rows, 12, seed)
    change = np.asarray(jacobian(params, x_BLC, order))[..., 0].copy()
    own = change[np.arange(3), :, :, np.arange(3)]  # [B, L, P, L]
    assert (own.swapaxes(2, 3)[:, ~lower] == 0).all()
    assert (np.abs(own).max((0, 2))[lower] > 0).all()
    change[np.arange(3), :, :, np.arange(3)] = 0
    assert (change == 0).all(), "an item reads another one"


def test_logits_of_orders_may_not_be_averaged():
  """Each order sums to one, and so does their joint mixture.

  The mean of their logits does not: karpathy/pytorch-made#1.
  """
  spec = DataSpec((6,), 1, 2)
  model, head = build(spec, hidden=(20,), masks="sampled")
  params = contract.random_params(model, scale=1.0)
  x_NLC = np.array(list(itertools.product((0, 1), repeat=6)))[..., None]
  order_KL = permutations(10, 6)
  log_prob = functools.partial(likelihood.log_prob, model, head)
  log_prob = jax.jit(log_prob)
  log_prob_KN = np.stack(
    [log_prob(params, x_NLC, o[None]).sum(1) for o in order_KL]
  )
  np.testing.assert_allclose(np.exp(log_prob_KN).sum(1), 1, atol=1e-12)
  mixture_N = likelihood.mix(log_prob_KN)
  assert abs(np.exp(mixture_N).sum() - 1) < 1e-12
  apply = jax.jit(model.apply)
  theta = [
    apply(params, x_NLC[:, o], o[None])[:, np.argsort(o)] for o in order_KL
  ]
  averaged_N = head.log_prob(np.mean(theta, 0), x_NLC).sum(1)
  assert abs(np.exp(averaged_N).sum() - 1) > 0.1


# --- mutants: each passes its check unbroken ---


def mutant(tmp_path, old, new):
  """The module with one piece of its source replaced."""
  source = pathlib.Path(made.__file__).read_text()
  assert source.count(old) == 1, f"made.py has {source.count(old)} of {old!r}"
  path = tmp_path / "mutant.py"
  path.write_text(source.replace(old, new))
  spec = importlib.util.spec_from_file_location("mutant", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


SMOOTH = dict(hidden=(12, 9), activation="tanh")
INDIRECT = dict(SMOOTH, direct=False)
RANK = "rank_RL = jnp.argsort(order_RL, -1)"
INPUT = "jnp.repeat(rank_RL + 1, inputs, -1)"
OUTPUT = "jnp.repeat(rank_RL, P, -1)"
DIRECT = "masked(x_BD, kernel, level_RD, level_RO)"
PREFIX = "jnp.cumsum(site_RL, 1, dtype=jnp.uint32) - site_RL"
MUTANTS = dict(
  order_for_its_inverse=(
    (RANK, "rank_RL = order_RL"),
    SMOOTH,
    contract.causal,
    "theta of step",
  ),
  degree_off_by_one=(
    (INPUT, "jnp.repeat(rank_RL, inputs, -1)"),
    INDIRECT,
    contract.causal,
    "theta of step",
  ),
  degree_off_by_one_the_other_way=(
    (INPUT, "jnp.repeat(rank_RL + 2, inputs, -1)"),
    INDIRECT,
    contract.complete,
    "misses step",
  ),
  output_that_reads_too_late=(
    (OUTPUT, "jnp.repeat(rank_RL - 1, P, -1)"),
    INDIRECT,
    contract.complete,
    "misses step",
  ),
  direct_connection_of_a_site_to_itself=(
    (DIRECT, "masked(x_BD, kernel, level_RD - 1, level_RO)"),
    SMOOTH,
    contract.causal,
    "theta of step 0",
  ),
  unit_that_reads_on=(
    ("open_RH = degree_RH >= t", "open_RH = degree_RH >= 0"),
    INDIRECT,
    contract.step_equals_apply,
    "theta of step",
  ),
  unit_read_too_early=(
    ("degrees[-1] <= t, done", "degrees[-1] <= t + 1, done"),
    INDIRECT,
    contract.step_equals_apply,
    "theta of step",
  ),
  units_beside_the_complete_ones=(
    ("jnp.where(degree_RH == t, done_BH, 0)", "done_BH"),
    INDIRECT,
    contract.step_equals_apply,
    "theta of step",
  ),
  value_of_no_step=(
    ("jnp.where(t > 0, rows, 0)", "rows"),
    SMOOTH,
    contract.step_equals_apply,
    "theta of step",
  ),
  degrees_by_the_whole_order=(
    (PREFIX, "site_RL.sum(1, keepdims=True, dtype=jnp.uint32) + site_RL"),
    dict(SMOOTH, masks="sampled"),
    contract.orders_matter,
    "orders that differ later",
  ),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name, tmp_path):
  change, section, check, match = MUTANTS[name]
  check(case_of(**section))
  wrong = case_of(module=mutant(tmp_path, *change), **section)
  with pytest.raises(AssertionError, match=match):
    check(wrong)


# --- degrees ---


@pytest.mark.parametrize("sizes", [(11,), (5,), (30, 4), (4, 30), (3, 2, 7)])
@pytest.mark.parametrize("seed", range(4))
def test_sees_by_the_paths(sizes, seed):
  """What `sees` says is what the product of the masks says."""
  degrees = made.even_degrees(12, sizes, seed)
  for degree_H, size in zip(degrees, sizes, strict=True):
    assert (np.diff(degree_H) >= 0).all()
    assert set(degree_H) <= set(range(1, 12))
    counts = np.bincount(degree_H, minlength=12)[1:]
    assert counts.max() - counts.min() <= 1
    assert (counts > 0).all() or size < 11
  levels = [np.arange(12) + 1, *degrees, np.arange(12)]
  paths = np.eye(12, dtype=int)
  for below, above in itertools.pairwise(levels):
    paths = paths @ (below[:, None] <= above[None])
  model, _ = build(
    DataSpec((12,), 1, 2), hidden=sizes, direct=False, mask_seed=seed
  )
  every = np.tri(12, k=-1, dtype=bool)
  assert ((every if model.sees is None else model.sees) == (paths.T > 0)).all()
  assert (model.sees is None) == (min(sizes) >= 11)


def test_sampled_degrees_are_uniform():
  """And belong to the order, the seed and the unit."""
  sizes = (18_000, 12_000)
  # No first site is shared: orders part from the first step on.
  order_KL = (np.arange(7) + np.arange(4)[:, None]) % 7
  order_KL = permutations(1, 7)[0][order_KL]
  one, two = made.sampled_degrees(order_KL, sizes, 0)
  assert one.dtype == np.int32
  assert (one.shape, two.shape) == ((4, 18_000), (4, 12_000))
  other, _ = made.sampled_degrees(order_KL, sizes, 1)
  for degree_N in (*one, *two, *other):
    _uniform(degree_N - 1, 6)
  pairs = itertools.combinations([*one, *two, *other], 2)
  for a, b in pairs:  # layers, orders and seeds are independent
    _uniform(6 * (a[:12_000] - 1) + b[:12_000] - 1, 36)
  again, _ = made.sampled_degrees(order_KL[2:], sizes, 0)
  assert (again == one[2:]).all()


def _uniform(number_N, count):
  counts = np.bincount(number_N, minlength=count)
  assert len(counts) == count
  assert scipy.stats.chisquare(counts).pvalue > 1e-6


def test_sampled_degrees_follow_from_earlier_sites():
  order_KL = permutations(40, 9, 1)
  order_KL[:, 4:] = np.sort(order_KL[:1, 4:])
  order_KL[:, :4] = order_KL[:1, :4]
  rng = np.random.default_rng(0)
  order_KL[1:, 4:] = rng.permuted(order_KL[1:, 4:], axis=1)
  (degree_KH,) = made.sampled_degrees(order_KL, (300,), 0)
  early = np.minimum(degree_KH, 5)  # 4 follows from the first four sites
  assert (early == early[:1]).all()
  assert (degree_KH != degree_KH[:1]).any()


# --- sizes that are not tiny, and corners ---


@pytest.mark.parametrize(
  "masks", [pytest.param("fixed", marks=pytest.mark.slow), "sampled"]
)
def test_one_order_is_the_order_of_each_row(masks):
  """Forward and gradient, at a size where degrees are missing or shared."""
  spec = DataSpec((6, 5), 2, 3, None, LABEL)
  model, head = build(spec, hidden=(70, 20), masks=masks)
  params = contract.random_params(model)
  rng = np.random.default_rng(0)
  x_BLC = rng.integers(0, 3, (4, 30, 2), np.int32)
  y = dict(label=np.array([0, 1, 1, 0], np.int32))

  def total(params, order):
    return likelihood.log_prob(model, head, params, x_BLC, order, y).sum()

  graded = jax.jit(jax.value_and_grad(total))
  order = permutations(1, 30)
  one, many = graded(params, order), graded(params, np.repeat(order, 4, 0))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), one, many
  )
  case = contract.Case(model, head, spec, params, order, None, x_BLC)
  contract.step_equals_apply(case._replace(order_KL=permutations(3, 30)))


@pytest.mark.parametrize("masks", ["fixed", "sampled"])
def test_no_hidden_layer(masks):
  """A logistic autoregression; labels still reach every step."""
  case = case_of(SPEC._replace(conditions=LABEL), hidden=(), masks=masks)
  contract.normalised(case)
  contract.complete(case)
  contract.step_equals_apply(case)
  contract.conditions_matter(case)


@pytest.mark.slow
def test_real_values():
  """By the steps and the Jacobian; the values of a site cannot be listed."""
  spec = DataSpec((4,), 2, None, 0.5)
  head = registry.build("heads", dict(name="gaussian_mixture"), spec)
  model = made.make(spec, head, None, hidden=(9, 8))
  params = jax.tree.map(jnp.asarray, contract.random_params(model))
  x_NLC = 0.5 * np.random.default_rng(0).integers(-4, 5, (6, 4, 2))
  order_KL = permutations(2, 4)
  case = contract.Case(model, head, spec, params, order_KL, None, x_NLC)
  contract.step_equals_apply(case)
  jacobian = jax.jacobian(lambda x: model.apply(params, x, order_KL[:1])[0])
  change = jacobian(jnp.asarray(x_NLC[:1]))[:, :, 0]  # [L, P, L, C]
  lower = np.tri(4, k=-1, dtype=bool)
  assert ((np.abs(change).max((1, 3)) > 0) == lower).all()


def test_one_site():
  for masks in ("fixed", "sampled"):
    case = case_of(DataSpec((1,), 1, 3), None, hidden=(4,), masks=masks)
    contract.normalised(case)
    contract.step_equals_apply(case)


@pytest.mark.parametrize(
  ("section", "match"),
  [
    (dict(hidden=(), direct=False), "reads no input"),
    (dict(activation="step"), "none of relu"),
    (dict(masks="random"), "neither"),
  ],
)
def test_what_does_not_go_together(section, match):
  with pytest.raises(ValueError, match=match):
    build(SPEC, **section)


def test_conditions_it_cannot_take():
  pitch = dict(pitch=Condition("aligned", None, (5,)))
  with pytest.raises(ValueError, match="pitch"):
    build(SPEC._replace(conditions=pitch))


def test_shared_orders():
  """One fresh order for a batch, by the key of its first example."""
  section = dict(name="all")
  each = registry.build("orderings", section, (5,))
  shared = registry.build("orderings", dict(section, shared=True), (5,))
  assert shared.orders_KL is None
  for seed in range(3):
    key_B = jax.random.split(jax.random.key(seed), 6)
    drawn = jax.jit(shared.draw)(key_B)
    assert drawn.dtype == np.int32
    assert np.array_equal(drawn, each.draw(key_B)[:1])
