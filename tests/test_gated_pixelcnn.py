"""Gated PixelCNN: what it sees, the orders it takes, and its breakages."""

import contract
import numpy as np
import pytest
from contract import Case, caught

from ar_jax import ordering, registry
from ar_jax.models import gated_pixelcnn
from ar_jax.nn import reach
from ar_jax.types import DataSpec, Ordering

LEAK = "pairs leak"


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def small_case(shape=(2, 3), channels=1, order_L=None, make=None, **section):
  """A Case of binary sites; under one order of them."""
  spec = DataSpec(shape, channels, 2)
  order_L = np.arange(spec.length) if order_L is None else order_L
  order_KL = np.asarray(order_L)[None].astype(np.int32)
  one = Ordering(order_KL, None)
  head = registry.build("heads", dict(name="categorical"), spec)
  section = dict(layers=2, width=4) | section
  model = (make or gated_pixelcnn.make)(spec, head, one, **section)
  params = contract.random_params(model)
  identity = (order_KL == np.arange(spec.length)).all()
  return Case(model, head, spec, params, None if identity else order_KL)


def some(case, num=3):
  """The case on a few sequences of a space too large to enumerate."""
  rng = np.random.default_rng(0)
  shape = num, case.spec.length, case.spec.channels
  return case._replace(x_NLC=rng.integers(0, 2, shape).astype(np.int32))


def symmetries(shape):
  """The eight raster orders of (H, W) or (H, W, S)."""
  site = np.arange(np.prod(shape)).reshape(shape)
  for grid in (site, site.swapaxes(0, 1)):
    for turned in (grid, grid[::-1], grid[:, ::-1], grid[::-1, ::-1]):
      yield turned.ravel()


# --- what a pixel sees ---


def test_there_is_no_blind_spot():
  case = some(small_case((7, 9), layers=6))
  assert case.model.sees is None
  contract.complete(case, draws=2)


@pytest.mark.parametrize(
  "section",
  [
    dict(layers=1, first_kernel=3),
    dict(layers=2, first_kernel=1, kernel=5),
    dict(layers=2, first_kernel=3, dilations=(1, 3)),
  ],
)
def test_sees_is_what_changes(section):
  """Small kernels and gaps: a part of the rows above, exactly that declared."""
  case = some(small_case((5, 6), **section))
  seen = case.model.sees.sum()
  assert 0 < seen < 30 * 29 / 2
  contract.complete(case, draws=2)


def test_sub_pixels_see_those_before_them():
  case = some(small_case((3, 3, 3), layers=1, first_kernel=3))
  sees_PSPS = case.model.sees.reshape(9, 3, 9, 3)
  assert (sees_PSPS[4, :, 4] == np.tri(3, k=-1)).all()
  assert sees_PSPS[4, 0, 3].all()
  contract.complete(case, draws=2)


def test_what_is_moved_comes_from_nowhere_else():
  seen = reach.moved(reach.own(3, 4), -1, 2)
  assert [tuple(at) for at in np.argwhere(seen)] == [
    (1, 0, 0, 2),
    (1, 1, 0, 3),
    (2, 0, 1, 2),
    (2, 1, 1, 3),
  ]
  assert not reach.moved(reach.own(3, 4), 3, 0).any()


# --- orders ---


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3)])
@pytest.mark.parametrize(
  "number",
  [
    pytest.param(n, marks=[pytest.mark.slow] * (n not in (0, 7)))
    for n in range(8)
  ],
)
def test_the_eight_raster_orders(number, shape):
  case = small_case(shape, order_L=list(symmetries(shape))[number])
  contract.normalised(case)
  contract.causal(case)
  contract.step_equals_apply(case)


def test_the_grid_is_that_of_the_generation():
  grids = [ordering.symmetry((2, 3, 3), o[None]) for o in symmetries((2, 3, 3))]
  assert grids == 4 * [(2, 3, 3)] + 4 * [(3, 2, 3)]


def test_other_orders_are_refused():
  snake = [0, 1, 2, 5, 4, 3]
  with pytest.raises(ValueError, match="eight raster orders of 2 x 3, got"):
    small_case(order_L=snake)
  spec = DataSpec((2, 3), 1, 2)
  head = registry.build("heads", dict(name="categorical"), spec)
  every = registry.build("orderings", dict(name="all"), (2, 3))
  with pytest.raises(ValueError, match="gated_pixelcnn takes one of the eight"):
    gated_pixelcnn.make(spec, head, every)
  two = Ordering(np.stack([np.arange(6), np.arange(6)[::-1]]), None)
  with pytest.raises(ValueError, match="got 2 orders"):
    gated_pixelcnn.make(spec, head, two)


@pytest.mark.parametrize(
  ("shape", "channels", "section", "message"),
  [
    ((6,), 1, {}, r"takes images, of shape \(H, W\)"),
    ((2, 3, 3), 2, {}, "sub-pixels as sites or as channels, not both"),
    ((2, 3), 1, dict(kernel=4), "takes odd kernels"),
    ((2, 3), 1, dict(layers=0), "layers 0 is no integer >= 1"),
    ((2, 3), 1, dict(dilations=(1, 0)), "dilations 0 is no integer >= 1"),
    ((2, 3), 1, dict(width=2.5), "width 2.5 is no integer"),
  ],
)
def test_what_it_cannot_be_is_named(shape, channels, section, message):
  with pytest.raises(ValueError, match=message):
    small_case(shape, channels, **section)


# --- breakages ---


def broken(mutated, changes, shape=(2, 3), **section):
  """The Case of a mutant with the parameters of the right one."""
  make = mutated("models.gated_pixelcnn", changes).make
  return small_case(shape, make=make, **section)


def test_the_horizontal_stack_sees_its_own_pixel(mutated):
  right = "jnp.pad(x_BHWF, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]"
  wrong = broken(mutated, {right: "x_BHWF"})
  caught(contract.causal, [small_case()], [wrong], LEAK)


def test_the_vertical_stack_one_row_low(mutated):
  right = "jnp.pad(x_BHWF, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]"
  wrong = broken(mutated, {right: "x_BHWF"})
  caught(contract.causal, [small_case()], [wrong], LEAK)


def test_the_vertical_stack_one_row_high(mutated):
  """Causal, and blind to the row above: `sees` tells."""
  right = "jnp.pad(x_BHWF, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]"
  two = "jnp.pad(x_BHWF, ((0, 0), (2, 0), (0, 0), (0, 0)))[:, :-2]"
  wrong = broken(mutated, {right: two}, (3, 2))
  caught(contract.complete, [small_case((3, 2))], [wrong], "misses step")


def test_green_sees_blue(mutated):
  right = "jnp.tri(self.subpixels, k=-1, dtype=value.dtype)"
  wrong = right.replace("k=-1", "k=1")
  leaks = broken(mutated, {right: wrong}, (1, 2, 3))
  caught(contract.causal, [small_case((1, 2, 3))], [leaks], LEAK)


def test_a_row_cache_one_row_stale(mutated):
  right = "j == 0, new_row, lambda: "
  stale = broken(mutated, {right: "(j == 0) & (i != 1), new_row, lambda: "})
  check = contract.step_equals_apply
  caught(check, [small_case()], [stale], "theta of step")


def test_the_left_edge_holds_the_row_above(mutated):
  right = '[jnp.where(j == 0, 0, a) for a in cache["left"]]'
  wrong = broken(mutated, {right: 'cache["left"]'})
  check = contract.step_equals_apply
  caught(check, [small_case()], [wrong], "theta of step")


@pytest.mark.parametrize("shape", [(3, 2), (1, 6)])
def test_aligned_rows_of_the_rest_of_the_row_leak(shape, mutated):
  section = next(
    s for s in gated_pixelcnn.TINY if len(s["spec"].conditions) == 3
  )
  section = dict(section, spec=section["spec"]._replace(shape=shape))
  cases = []
  change = {"return _down(vertical),": "return vertical,"}
  mutant = mutated("models.gated_pixelcnn", change)
  for make in (gated_pixelcnn.make, mutant.make):
    fields = {k: v for k, v in section.items() if k != "orderings"}
    spec = fields.pop("spec")
    head = registry.build("heads", dict(name="categorical"), spec)
    raster = registry.build("orderings", dict(name="raster"), spec.shape)
    model = make(spec, head, raster, **fields)
    y = contract.cases.conditions(spec, 2)
    params = contract.random_params(model)
    cases.append(Case(model, head, spec, params, None, y))
  caught(contract.conditions_reach, cases[:1], cases[1:], "aligned|row")


def test_sub_pixels_may_come_backwards():
  """The reverse of all sites: blue before green before red."""
  case = small_case((2, 1, 3), order_L=np.arange(6)[::-1])
  contract.step_equals_apply(case)
  contract.causal(case)
  middle = np.arange(6).reshape(2, 1, 3)[..., [1, 0, 2]].ravel()
  with pytest.raises(ValueError, match="got another one"):
    small_case((2, 1, 3), order_L=middle)
