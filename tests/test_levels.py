"""Dependency levels: their number, and samples drawn a level at a time."""

import contract
import jax
import numpy as np
import pytest
from contract import Case, cases, caught

from ar_jax import decode, levels, registry
from ar_jax.samplers import _shared, ancestral
from ar_jax.samplers import levels as by_levels
from ar_jax.types import Condition, DataSpec, Ordering

NONE = {}
LABEL = dict(label=Condition("label", 2))


def both(length):
  """A label, and whole numbers along the sites."""
  return LABEL | dict(region=Condition("aligned", 3, (length,)))


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def small_case(
  name, shape, order_KL=None, conditions=NONE, rows=8, every=False, **section
):
  """A Case of binary sites and a few sequences; y is given.

  every: whether the network is made for all orders, not the one given.
  """
  spec = DataSpec(shape, 1, 2, None, conditions)
  head = registry.build("heads", dict(name="categorical"), spec)
  made_KL = np.arange(spec.length)[None] if order_KL is None else order_KL
  made_KL = None if every else np.asarray(made_KL, np.int32)
  ordering = Ordering(made_KL, None)
  section = dict(section, name=name)
  model = registry.build("models", section, spec, head, ordering)
  params = contract.random_params(model)
  if order_KL is not None:
    order_KL = np.asarray(order_KL, np.int32)
  blocks = 2 if order_KL is None else len(order_KL)
  y = cases.conditions(spec, blocks) if conditions else None
  rng = np.random.default_rng(0)
  x_NLC = cases.values(spec, rng, (rows, spec.length, 1))
  return Case(model, head, spec, params, order_KL, y, x_NLC)


def pixelcnn(shape, order_L=None, **section):
  section = dict(blocks=1, width=8, first_kernel=3) | section
  order_KL = None if order_L is None else np.asarray(order_L)[None]
  return small_case("pixelcnn", shape, order_KL, **section)


def snake(height, width):
  """Every other row backwards."""
  site = np.arange(height * width).reshape(height, width)
  site[1::2] = site[1::2, ::-1].copy()
  return site.ravel()


def halves(*shape):
  """Left columns downwards, then right ones upwards; sub-pixels in turn."""
  site = np.arange(np.prod(shape)).reshape(shape)
  left, right = np.array_split(site, 2, 1)
  return np.concatenate([left.ravel(), right[::-1].ravel()])


def shuffled(length):
  return np.random.default_rng(0).permutation(length)


def of(case, order_L=None):
  """The levels of a case's model."""
  return levels.of(case.model, case.spec.length, order_L)


# --- levels ---


@pytest.mark.parametrize(
  ("shape", "section", "row", "pixel"),
  [
    ((16, 16), {}, 2, 1),  # a pixel waits for that on its upper right
    ((16, 16), dict(first_kernel=5, kernel=1), 3, 1),
    ((5, 9), dict(first_kernel=7), 4, 1),
    ((4, 6, 3), {}, 2, 3),  # a pixel's three wait for one another
  ],
)
def test_levels_of_a_raster(shape, section, row, pixel):
  case = pixelcnn(shape, **section)
  i, j, *c = np.indices(shape)
  wanted = pixel * (row * i + j) + sum(c)
  np.testing.assert_array_equal(of(case), wanted.ravel())
  if shape == (16, 16) and not section:
    assert len(levels.sizes(of(case))) == 46
  assert levels.sizes(of(case)).sum() == case.spec.length


def test_levels_of_a_chain_of_none_and_by_definition():
  np.testing.assert_array_equal(levels.levels(np.tri(5, k=-1)), np.arange(5))
  np.testing.assert_array_equal(levels.levels(np.zeros((5, 5))), np.zeros(5))
  every = dict(name="gpt", shape=(3, 4), depth=1, width=8, heads=2)
  np.testing.assert_array_equal(of(small_case(**every)), np.arange(12))
  whole = small_case("gated_pixelcnn", (4, 4), layers=4, width=4)
  np.testing.assert_array_equal(of(whole), np.arange(16))
  turning = snake(4, 5)  # each pixel is a neighbor of the one before it
  np.testing.assert_array_equal(of(pixelcnn((4, 5)), turning), np.arange(20))
  sees_LL = np.tril(np.random.default_rng(0).random((20, 20)) < 0.1, -1)

  def longest(t):
    return max((1 + longest(s) for s in np.flatnonzero(sees_LL[t])), default=0)

  wanted = [longest(t) for t in range(20)]
  assert max(wanted) > 2
  np.testing.assert_array_equal(levels.levels(sees_LL), wanted)


def test_a_step_that_sees_itself_has_no_level():
  with pytest.raises(ValueError, match="step 0 depends on step 0, which does"):
    levels.levels(np.tri(3))


@pytest.mark.parametrize("name", ["raster", "snake", "shuffled"])
def test_the_order_of_levels_is_a_linear_extension(name):
  order_L = dict(
    raster=np.arange(35), snake=snake(5, 7), shuffled=shuffled(35)
  )[name]
  model = pixelcnn((5, 7), order_L).model
  level_L = levels.of(model, 35, order_L)
  step_L = levels.sort(level_L)
  np.testing.assert_array_equal(np.sort(step_L), np.arange(35))
  place_L = np.argsort(step_L)
  sees_LL = decode.sees(model, 35, order_L)
  t, s = np.nonzero(sees_LL)
  assert (place_L[s] < place_L[t]).all()
  for number, size in enumerate(levels.sizes(level_L)):
    group = np.flatnonzero(level_L == number)
    assert len(group) == size > 0
    assert not sees_LL[np.ix_(group, group)].any()  # drawn at once
  other_L = order_L[step_L]
  assert levels.same_function(model, order_L, other_L)
  assert not levels.same_function(model, order_L, other_L[::-1])


# --- one function under both orders ---

DEEP = dict(kernel=5)  # wider than the first layer


@pytest.mark.parametrize(
  ("shape", "order_L", "section"),
  [
    ((3, 5), None, dict(conditions=both(15), every=True, position=True)),
    ((3, 8), halves(3, 8), {}),
    ((2, 6, 3), halves(2, 6, 3), dict(conditions=LABEL)),
    ((3, 5), shuffled(15), DEEP),
  ],
)
def test_log_prob_is_the_same_in_the_order_of_levels(shape, order_L, section):
  case = pixelcnn(shape, order_L, **section)
  length = case.spec.length
  site_L = np.arange(length) if order_L is None else order_L
  other_L = site_L[levels.sort(of(case, site_L))]
  assert (other_L != site_L).any()
  x_BLC, known, order, y = cases.contents(case, 0)
  wanted, said = (
    cases.forward(case, x_BLC, np.asarray(o)[None].astype(np.int32), y)[1]
    for o in (site_L, other_L)
  )
  np.testing.assert_allclose(said, wanted, rtol=0, atol=1e-12)
  assert np.ptp(wanted) > 0.1


# --- samples ---

GPT = dict(depth=1, width=8, heads=2, target=True)
GATED = dict(layers=1, width=4, first_kernel=3, kernel=1)
CASES = dict(
  raster=lambda: pixelcnn((3, 5), conditions=both(15)),
  local=lambda: pixelcnn((3, 5), every=True, position=True),
  subpixels=lambda: pixelcnn((2, 6, 2), halves(2, 6, 2), conditions=LABEL),
  shuffled=lambda: pixelcnn((3, 5), shuffled(15), conditions=both(15), **DEEP),
  in_turn=lambda: pixelcnn((3, 4), _diagonals()),
  gated=lambda: small_case(
    "gated_pixelcnn", (3, 5), conditions=both(15), **GATED
  ),
  gpt=lambda: small_case("gpt", (3, 4), shuffled(12)[None], LABEL, **GPT),
)
MODES = dict(gated="apply", gpt="step")
LONG = ("local", "in_turn", "gpt")
SLOW = (), pytest.mark.slow


def _diagonals():
  """An order whose levels follow one another as it is."""
  return levels.sort(of(pixelcnn((3, 4))))


def only(model, used):
  """The model by one of its ways alone."""
  ways = dict(apply=("apply",), step=("init_cache", "step"))
  kept = ways.get(used, ("init_cache", "extend", "enter"))
  every = ("apply", "init_cache", "step", "extend", "enter")
  return model._replace(**{way: None for way in every if way not in kept})


def check(case, sampler):
  """Samples of known and unknown sites are those of ancestral.py."""
  contract.cached_equals_naive(
    case, sampler, ancestral.make(case.model, case.head)
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", [pytest.param(n, marks=SLOW[n in LONG]) for n in CASES]
)
def test_samples_are_those_of_ancestral(name, monkeypatch):
  case = CASES[name]()
  used = MODES.get(name, "extend")
  lengths, scan = [], jax.lax.scan

  def spy(f, init, xs):
    lengths.append(len(jax.tree.leaves(xs)[0]))
    return scan(f, init, xs)

  sampler = by_levels.make(only(case.model, used), case.head)
  args = case.params, jax.random.key(1)
  x_BLC, known_BL, order, y = cases.contents(case, 0)
  with monkeypatch.context() as patch:
    patch.setattr(jax.lax, "scan", spy)
    sample = sampler(*args, order, (x_BLC, known_BL), y)
  count = len(levels.sizes(of(case, None if order is None else order[0])))
  assert lengths[0] == count
  if used == "step":
    assert count == case.spec.length
  else:
    assert count < 0.9 * case.spec.length
  assert len(np.unique(sample.x_BLC, axis=0)) > 2
  check(case, sampler)


def test_rows_of_different_orders_are_drawn_step_by_step():
  order_KL = np.stack([np.arange(12), shuffled(12)])
  case = pixelcnn((3, 4), conditions=LABEL, every=True, position=True)
  case = case._replace(order_KL=order_KL.astype(np.int32))
  check(case, by_levels.make(only(case.model, "step"), case.head))
  case = case._replace(order_KL=order_KL[[1, 1]].astype(np.int32))
  check(case, by_levels.make(only(case.model, "extend"), case.head))


def test_noise_of_all_levels_or_of_each_is_the_same(monkeypatch):
  monkeypatch.setattr(_shared, "MOST", 0)
  case = CASES["subpixels"]()
  check(case, by_levels.make(case.model, case.head))


def test_a_first_stretch_of_an_item():
  """Of a graph that is the same in any order; else that is said."""
  case = CASES["gated"]()
  sampler = by_levels.make(case.model, case.head)
  whole = [a[:3] for a in cases.contents(case, 0)[:2]]
  first = [a[:, :9] for a in whole]
  args = case.params, jax.random.key(0), None
  one, two = (sampler(*args, given).x_BLC for given in (first, whole))
  np.testing.assert_array_equal(one, two[:, :9])
  case = CASES["raster"]()
  sampler = by_levels.make(case.model, case.head)
  with pytest.raises(ValueError, match="an order of 9 sites, where 15 are"):
    sampler(*args, first)


# --- breakages ---

WRONG = {
  "a level too low": (
    {"  return level_L\n": "  return np.maximum(level_L - 1, 0)\n"},
    ("shuffled", "gated"),
  ),
  "noise by the place among levels": (
    {
      "(noise_of)(table.level.step_M)": "(noise_of)(table.level.at_M)",
    },
    ("shuffled",),
  ),
  "values entered one late": (
    {"np.append(0, start_G[:-1] + 1)": "np.append(0, start_G[:-1] + 2)"},
    ("local",),
  ),
  "every model in the order of levels": (
    {"return np.array_equal(order_L, other_L)": "return True"},
    ("gated",),
  ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("breakage", "name"), [(b, n) for b, (_, ns) in WRONG.items() for n in ns]
)
def test_other_samples_are_seen(breakage, name, mutated):
  case = CASES[name]()
  make = mutated("samplers.levels", WRONG[breakage][0]).make
  right = case, by_levels.make(case.model, case.head)
  caught(check, right, (case, make(case.model, case.head)), "differ|off by")
