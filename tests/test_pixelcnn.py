"""PixelCNN: masks of a kernel and of a site, blind spots, breakages."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import Case, caught
from test_gated_pixelcnn import some, symmetries

from ar_jax import ordering as orders
from ar_jax import registry
from ar_jax.models import pixelcnn
from ar_jax.nn import windows
from ar_jax.types import DataSpec, Ordering

LEAK = "pairs leak"


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def small_case(shape=(2, 3), order_L=None, make=None, channels=1, **section):
  """A Case of binary sites, under one order of them."""
  spec = DataSpec(shape, channels, 2)
  order_L = np.arange(spec.length) if order_L is None else order_L
  order_KL = np.asarray(order_L)[None].astype(np.int32)
  head = registry.build("heads", dict(name="categorical"), spec)
  section = dict(blocks=1, width=16, first_kernel=3) | section
  ordering = Ordering(order_KL, None)
  model = (make or pixelcnn.make)(spec, head, ordering, **section)
  params = contract.random_params(model)
  identity = (order_KL == np.arange(spec.length)).all()
  return Case(model, head, spec, params, None if identity else order_KL)


def local(case, shape, **section):
  """The same with the masks of each site computed from the order."""
  every = registry.build("orderings", dict(name="all"), shape)
  section = dict(blocks=1, width=16, first_kernel=3) | section
  model = pixelcnn.make(case.spec, case.head, every, **section)
  return case._replace(model=model)


# --- masks ---


@pytest.mark.slow
@pytest.mark.parametrize(
  ("shape", "section"),
  [
    ((4, 5), dict(first_kernel=5, blocks=2)),
    ((2, 1, 3), {}),
    ((3, 3), dict(kernel=5, first_kernel=7)),  # larger than the grid
  ],
)
def test_computed_masks_equal_those_of_the_kernel(shape, section):
  """On the same parameters, under the raster's symmetries."""
  case = some(small_case(shape, **section))
  computed = jax.jit(local(case, shape, **section).model.apply)
  for order_L in list(symmetries(shape))[:: 3 if section else 1]:
    static = jax.jit(small_case(shape, order_L, **section).model.apply)
    args = case.params, case.x_NLC, np.asarray(order_L, np.int32)[None]
    theta = static(*args)
    np.testing.assert_allclose(theta, computed(*args), atol=1e-12)
    assert np.ptp(theta) > 0.1


def test_other_orders_have_no_mask_of_the_kernel():
  grid = (3, 4, 1)
  snake = np.arange(12).reshape(3, 4)
  snake[1] = snake[1, ::-1].copy()
  assert windows.constant(snake.ravel(), grid, 3) is None
  assert windows.constant(
    np.random.default_rng(0).permutation(12), grid, 3
  ) is (None)
  raster = windows.constant(np.arange(12), grid, 3)[..., 0, 0]
  np.testing.assert_array_equal(raster, [[1, 1, 1], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("grid", [(3, 4, 1), (2, 2, 3)])
@pytest.mark.parametrize("own", [False, True])
def test_a_window_names_the_steps_that_come_before(grid, own):
  """Against the definition, site by site; and the mask says the same."""
  H, W, S = grid
  L, k = H * W * S, 3
  order_L = np.random.default_rng(1).permutation(L)
  rank_L = np.argsort(order_L)
  rank_BHWS = jnp.asarray(rank_L.reshape(1, *grid))
  table = windows.steps(jnp.asarray(order_L)[None], rank_BHWS, k, own)[0]
  known = np.asarray(windows.known(rank_BHWS, k, own))[0]
  for t, site in enumerate(order_L):
    i, j, c = np.unravel_index(site, grid)
    wanted = []
    for a in range(i - 1, i + 2):
      for b in range(j - 1, j + 2):
        for s in range(S):
          inside = 0 <= a < H and 0 <= b < W
          step = rank_L[np.ravel_multi_index((a, b, s), grid)] if inside else L
          wanted.append(step if step < t or own and step == t else L)
    np.testing.assert_array_equal(table[t], wanted)
    said = known[i, j, :, :, c].ravel()
    np.testing.assert_array_equal(said, np.array(wanted) < L)


def test_windows_are_kept_for_no_gradient():
  """Of a window, k * k times its map, nothing stays between the passes."""
  case = some(local(small_case((6, 6), blocks=3), (6, 6), blocks=3), 5)

  def theta(params):
    return case.model.apply(params, jnp.asarray(case.x_NLC))

  _, pull = jax.vjp(theta, case.params)
  largest = max(leaf.size for leaf in jax.tree.leaves(pull))
  assert largest <= 5 * 36 * 16  # a map; a window has nine of half its width


# --- what a step sees ---


def snake(height, width):
  """Every other row backwards."""
  site = np.arange(height * width).reshape(height, width)
  site[1::2] = site[1::2, ::-1].copy()
  return site.ravel()


@pytest.mark.parametrize("name", ["raster", "snake", "random"])
def test_the_blind_spot_is_the_one_declared(name):
  order_L = dict(
    raster=np.arange(63),
    snake=snake(7, 9),
    random=np.random.default_rng(0).permutation(63),
  )[name]
  case = some(small_case((7, 9), order_L, blocks=3, width=32), 2)
  contract.complete(case, draws=2)
  seen = int(case.model.sees(order_L).sum())
  assert 63 < seen < 63 * 62 / 2  # it has one


def test_the_blind_spot_of_the_raster():
  """Right of a line that falls to the upper right: a pixel a row."""
  kernels = (3,) * 21
  sees = pixelcnn.reached((5, 9, 1), kernels, np.arange(45))
  seen = sees[4 * 9 + 4].reshape(5, 9)
  wanted = np.zeros((5, 9), bool)
  for i in range(5):
    wanted[i, : 4 + (4 - i) + 1] = True
  wanted[4, 4:] = False
  np.testing.assert_array_equal(seen, wanted)
  assert pixelcnn.reached((5, 9, 1), kernels, snake(5, 9)).sum() > sees.sum()


# --- steps ---


@pytest.mark.slow
def test_rows_of_different_orders_step_as_they_apply():
  shape = (2, 2)
  order_KL = np.array([[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]], np.int32)
  case = local(small_case(shape), shape)._replace(order_KL=order_KL)
  contract.step_equals_apply(case)
  shape = (1, 2, 2)  # the rows are at different sub-pixels
  case = local(small_case(shape), shape)._replace(order_KL=order_KL)
  contract.step_equals_apply(case)
  contract.normalised(case)


@pytest.mark.parametrize(
  ("shape", "section", "message"),
  [
    ((6,), {}, r"takes images, of shape \(H, W\)"),
    ((2, 3), dict(kernel=2), "takes odd kernels and an even width"),
    ((2, 3), dict(width=5), "takes odd kernels and an even width"),
    ((2, 3), dict(first_kernel=1), "first_kernel 1 is no integer >= 2"),
    ((2, 3), dict(blocks=-1), "blocks -1 is no integer >= 0"),
  ],
)
def test_what_it_cannot_be_is_named(shape, section, message):
  with pytest.raises(ValueError, match=message):
    small_case(shape, **section)


# --- breakages ---


def broken(mutated, changes, shape=(2, 3), order_L=None):
  make = mutated("models.pixelcnn", changes).make
  return small_case(shape, order_L, make=make)


STATIC = {"    if n:\n      mask[k": "    if True:\n      mask[k"}
FIRST = "own=%s)\n        for n, k in ((0, f"
LOCAL = {FIRST % "n > 0": FIRST % "True"}


@pytest.mark.parametrize("order", ["raster", "columns", "random"])
def test_mask_b_in_the_first_layer(order, mutated):
  order_L = dict(
    raster=np.arange(6),
    columns=np.arange(6).reshape(2, 3).T[::-1].ravel(),
    random=np.array([2, 5, 1, 0, 3, 4]),
  )[order]
  changes = LOCAL if order == "random" else STATIC
  wrong = broken(mutated, changes, order_L=order_L)
  caught(contract.causal, [small_case(order_L=order_L)], [wrong], LEAK)


@pytest.mark.parametrize("order_L", [[0, 1, 2, 3], [1, 0, 3, 2]])
def test_green_sees_blue(order_L, mutated):
  changes = {
    "|= np.eye(grid[2], dtype=bool)": "|= np.ones((grid[2],) * 2, bool)",
    "window <= here if own": "window <= here + 1 if own",
  }
  wrong = broken(mutated, changes, (1, 2, 2), order_L)
  right = small_case((1, 2, 2), order_L)
  caught(contract.causal, [right], [wrong], LEAK)


def test_a_map_one_step_stale(mutated):
  right = "maps[n], a_BKD, t, axis=1"
  stale = "maps[n], a_BKD, jnp.maximum(t - min(n, 1), 0), axis=1"
  wrong = broken(mutated, {right: stale})
  check = contract.step_equals_apply
  caught(check, [small_case()], [wrong], "theta of step")


def test_order_and_rank_swapped(mutated):
  """Another bijection: all sums are one, and the sites are not those named."""
  order_L = np.array([2, 0, 1, 5, 3, 4])
  assert (orders.rank(order_L[None])[0] != order_L).any()
  right = "orders.permute(x_BLF, rank_BL)"
  wrong = broken(
    mutated, {right: "orders.permute(x_BLF, order_BL)"}, order_L=order_L
  )
  caught(
    contract.causal,
    [small_case(order_L=order_L)],
    [wrong],
    LEAK,
  )
