"""PixelCNN++: what it sees, how its weights start, and its breakages."""

import functools

import contract
import jax
import numpy as np
import pytest
from contract import caught
from test_gated_pixelcnn import LEAK, some, symmetries
from test_gated_pixelcnn import small_case as small_image

from ar_jax import registry
from ar_jax.models import pixelcnn_pp
from ar_jax.nn import weight_norm
from ar_jax.types import DataSpec, Ordering

SMALL = dict(scales=2, blocks=1, width=4)


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def small_case(shape=(2, 3), **fields):
  """A Case of binary sites."""

  def make(*context, layers, **section):
    del layers  # is a gated PixelCNN's
    return pixelcnn_pp.make(*context, **section)

  return small_image(shape, make=make, **dict(SMALL, **fields))


@functools.cache
def good():
  """The Case of 3x3 that mutants have the parameters of."""
  return some(small_case((3, 3)))


def broken(mutated, change):
  """It with a line of the network changed."""
  case = good()
  raster = Ordering(np.arange(9)[None].astype(np.int32), None)
  make = mutated("models.pixelcnn_pp", change).make
  return case._replace(model=make(case.spec, case.head, raster, **SMALL))


# --- what a pixel sees ---


@pytest.mark.slow
@pytest.mark.parametrize(
  ("shape", "section"),
  [
    ((5, 6), dict(scales=1)),
    ((6, 5), dict(scales=2)),
    pytest.param((7, 9), dict(scales=3), marks=pytest.mark.slow),
    pytest.param((1, 8), dict(scales=2), marks=pytest.mark.slow),
    pytest.param((9, 1), dict(scales=3), marks=pytest.mark.slow),
  ],
)
def test_sees_is_what_changes(shape, section):
  """Also on grids whose halves are not whole."""
  case = some(small_case(shape, **section))
  contract.complete(case, draws=2)


def test_the_net_of_the_paper_has_a_blind_spot():
  """On 32x32, far to the side in odd rows, where no coarse pixel has been."""
  spec = DataSpec((32, 32), 3, 256)
  head = registry.build("heads", dict(name="rgb_logistic"), spec)
  raster = registry.build("orderings", dict(name="raster"), spec.shape)
  model = pixelcnn_pp.make(spec, head, raster)
  sizes = jax.tree.map(np.size, jax.eval_shape(model.init, jax.random.key(0)))
  assert sum(jax.tree.leaves(sizes)) == 53_664_200
  unseen_LL = np.tri(1024, k=-1, dtype=bool) & ~model.sees
  assert unseen_LL.sum() == 1440
  assert (np.nonzero(unseen_LL)[0] // 32 % 2 == 1).all()


# --- orders and grids ---


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 8))
def test_the_eight_raster_orders(number):
  case = small_case((2, 3), order_L=list(symmetries((2, 3)))[number])
  contract.normalised(case)
  contract.causal(case)
  contract.step_equals_apply(case)


@pytest.mark.parametrize(
  ("shape", "fields", "message"),
  [
    ((6,), {}, r"takes images, of shape \(H, W\)"),
    ((2, 3, 3), {}, "sites of sub-pixels, as shape"),
    ((2, 3), dict(scales=0), "scales 0 is no integer >= 1"),
    ((2, 3), dict(blocks=0), "blocks 0 is no integer >= 1"),
    (
      (2, 3),
      dict(order_L=[0, 1, 2, 5, 4, 3]),
      "pixelcnn_pp takes the eight raster",
    ),
  ],
)
def test_what_it_cannot_be_is_named(shape, fields, message):
  with pytest.raises(ValueError, match=message):
    small_case(shape, **fields)


# --- weights ---


@pytest.mark.slow
def test_a_weight_is_its_length_times_its_direction():
  params = good().params["net"]
  weights = weight_norm.join(params)

  def same(other):
    jax.tree.map(np.testing.assert_allclose, weights, weight_norm.join(other))

  same(weight_norm.split(weights))

  def longer(path, leaf):
    return 3 * leaf if path[-1].key == "kernel" else leaf

  same(jax.tree.map_with_path(longer, params))
  kernel, scale = weights["theta"]["kernel"], params["theta"]["scale"]
  lengths = np.sqrt(np.square(kernel).sum((0, 1, 2)))
  np.testing.assert_allclose(lengths, np.abs(scale))


def spread(make):
  """Of theta over noise images at the start: (means, deviations) [P]."""
  spec = DataSpec((8, 8), 1, 5)
  head = registry.build("heads", dict(name="categorical"), spec)
  raster = Ordering(np.arange(64)[None].astype(np.int32), None)
  model = make(spec, head, raster, scales=2, blocks=1, width=8)
  x_BLC = jax.random.randint(jax.random.key(5), (16, 64, 1), 0, 5)
  first = jax.jit(lambda key: model.apply(model.init(key), x_BLC))
  theta = first(jax.random.key(2))
  return theta.mean((0, 1)), theta.std((0, 1))


def starts_even(make):
  """Fails where theta does not start near mean 0 and deviation 0.1."""
  means, deviations = spread(make)
  np.testing.assert_allclose(means, 0, atol=0.04)
  np.testing.assert_allclose(np.median(deviations), 0.1, rtol=0.2)


@pytest.mark.slow
def test_what_layers_say_of_noise_has_unit_variance(mutated):
  starts_even(pixelcnn_pp.make)
  right = "kernel * self.scale / jnp.where(std > 1e-6, std, 1)"
  wrong = mutated("models.pixelcnn_pp", {right: "kernel * self.scale"})
  with pytest.raises(AssertionError):
    starts_even(wrong.make)


# --- breakages ---


ABOVE = "above = jnp.pad(x_BHWF, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]"
BEFORE = "before = jnp.pad(x_BHWF, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]"
COARSE = "h, skips = h[:, : x.shape[1], : x.shape[2]], seen"


@pytest.mark.parametrize(
  "change",
  [
    pytest.param({ABOVE: "above = x_BHWF"}, id="u-sees-its-own-row"),
    pytest.param({BEFORE: "before = x_BHWF"}, id="l-sees-its-own-pixel"),
    pytest.param(
      {COARSE: f"{COARSE}; h = jnp.roll(h, -1, 1)"}, id="a-coarse-row-early"
    ),
  ],
)
def test_leaks(change, mutated):
  caught(contract.causal, [good()], [broken(mutated, change)], LEAK)


@pytest.mark.parametrize(
  "change",
  [
    pytest.param(
      {"j == 0, new_row, lambda: ": "(j == 0) & (i != 1), new_row, lambda: "},
      id="a-row-one-stale",
    ),
    pytest.param(
      {"(r % 2 == 0) & (c % 2 == 0),": "(r % 2 == 0) & (c == 0),"},
      id="coarse-pixels-of-the-first-column-only",
    ),
    pytest.param(
      {"jnp.where(r % 2 == 0, both[:, ::-1], both)": "both"},
      id="two-rows-swapped",
    ),
    pytest.param(
      {"jnp.where(j == 0, 0, before),": "before,"},
      id="the-left-edge-holds-the-row-above",
    ),
  ],
)
def test_steps_that_keep_the_wrong_rows(change, mutated):
  check, wrong = contract.step_equals_apply, broken(mutated, change)
  caught(check, [good()], [wrong], "theta of step")
