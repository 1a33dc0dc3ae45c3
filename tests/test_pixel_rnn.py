"""PixelRNN: what its cells see, skewed maps, stored rows, what it refuses."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import Case, caught

from ar_jax import decode, registry
from ar_jax.models import pixel_rnn
from ar_jax.nn import conv_lstm, reach
from ar_jax.proofs import checks
from ar_jax.types import Condition, DataSpec, Head, Ordering

CELLS = "row_lstm", "diagonal_bilstm"
SMALL = dict(layers=2, width=3, first_kernel=3, hidden=8)


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def raster(shape):
  order = np.arange(np.prod(shape), dtype=np.int32)
  return Ordering(order[None], lambda key_B: None)


def build(spec, cell, ordering=None, **section):
  """(model, params) of a small network."""
  ordering = ordering or raster(spec.shape)
  section = SMALL | section
  head = Head(4, None, None, None)
  model = pixel_rnn.make(spec, head, ordering, cell=cell, **section)
  return model, contract.random_params(model)


# --- what a pixel sees, on 7 x 9 ---


def measured(apply, params, length):
  """bool [L, L]: where the Jacobian of theta in x is not zero."""

  def theta_LP(params, x_L):
    return apply(params, x_L[None, :, None])[0]

  jacobian = jax.jit(jax.jacobian(theta_LP, argnums=1))
  seen_LL = np.zeros((length, length), bool)
  for seed in range(4):  # a ReLU may be off at one of them
    x_L = np.random.default_rng(seed).standard_normal(length)
    params = contract.cases.perturbed(params, seed, 0.3)
    seen_LL |= np.abs(jacobian(params, x_L)).max(1) > 0
  return seen_LL


@pytest.mark.parametrize(
  ("cell", "section"),
  [
    ("row_lstm", dict(layers=1)),
    pytest.param(
      "row_lstm",
      dict(layers=2, kernel=1, first_kernel=5),
      marks=pytest.mark.slow,
    ),
    pytest.param("row_lstm", dict(layers=2, kernel=5), marks=pytest.mark.slow),
    pytest.param("row_lstm", dict(layers=3), marks=pytest.mark.slow),
    ("diagonal_bilstm", dict(layers=1)),
    pytest.param(
      "diagonal_bilstm", dict(first_kernel=7), marks=pytest.mark.slow
    ),
  ],
)
def test_a_pixel_sees_what_is_declared(cell, section):
  model, params = build(DataSpec((7, 9), 1, None, 0.5), cell, **section)
  sees_LL = decode.sees(model, 63)
  seen_LL = measured(model.apply, params, 63)
  np.testing.assert_array_equal(seen_LL, sees_LL)
  assert (model.sees is None) == (cell == "diagonal_bilstm")
  assert sees_LL.sum() < 63 * 62 / 2 or cell == "diagonal_bilstm"


def test_the_published_network_misses_the_end_of_the_row_above():
  """And nothing else; so there is a column past the last one."""
  model, params = build(
    DataSpec((7, 9), 1, None, 0.5), "diagonal_bilstm", layers=1
  )
  section = dict(SMALL, layers=1, kernel=3, num_params=4)
  net = pixel_rnn._Net(row=False, subpixels=1, dropout=0.0, **section)

  def published(params, x_BLC):
    x_BHWF = x_BLC.reshape(-1, 7, 9, 1)
    x_BHWF = jnp.concatenate([x_BHWF, jnp.ones_like(x_BHWF)], -1)
    x_BHWF = jnp.pad(x_BHWF, ((0, 0), (1, 0), (1, 1), (0, 0)))
    theta = net.apply({"params": params["net"]}, x_BHWF, None, 0)
    return theta.reshape(-1, 63, 4)

  missed = np.tri(63, k=-1, dtype=bool) & ~measured(published, params, 63)
  t, s = np.nonzero(missed)
  expected = [(9 * i + j, 9 * i - 1) for i in range(1, 7) for j in range(7)]
  assert list(zip(t, s, strict=True)) == expected


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("first_kernel", [3, 7])
def test_the_triangle_is_what_the_layers_compose(kernel, first_kernel):
  H, W, layers, r, a = 6, 11, 2, kernel // 2, first_kernel // 2
  above = [(-m, n) for m in range(1, a + 1) for n in range(-a, a + 1)]
  window = above + [(0, -n) for n in range(1, a + 1)]
  u = reach.union(reach.own(H, W), window)
  for _ in range(layers):
    read = reach.union(u, [(0, -n) for n in range(r + 1)])
    states = read.copy()
    for i in range(1, H):
      states[i] |= reach.union(states, [(-1, n) for n in range(-r, r + 1)])[i]
    u = u | states
  found = pixel_rnn._triangle(H, W, layers, r, a)
  np.testing.assert_array_equal(found, u)


# --- the recurrences, cell by cell ---


def stepped(gates, kernel, told, c):
  """(h, c) as the paper writes it; the forget gate has a bias of 1."""
  i, f, g, o = np.split(gates + told @ kernel, 4)
  i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f + 1, o))
  c = f * c + i * np.tanh(g)
  return o * np.tanh(c), c


@pytest.mark.parametrize("kernel", [1, 3])
def test_rows_are_their_equations(kernel):
  rng, r, D = np.random.default_rng(0), kernel // 2, 3
  gates = rng.standard_normal((4, 5, 4 * D))
  weights = rng.standard_normal((kernel * D, 4 * D))
  h, c = np.zeros((5, 5 + 2 * r, D)), np.zeros((5, 5, D))
  for i, j in np.ndindex(4, 5):
    told = h[i, j : j + kernel].ravel()
    h[i + 1, j + r], c[i + 1, j] = stepped(gates[i, j], weights, told, c[i, j])
  offsets = range(-r, r + 1)
  found = conv_lstm.scan(gates[:, None, None], weights[None], offsets)
  np.testing.assert_allclose(found[:, 0, 0], h[1:, r : r + 5], atol=1e-14)


def test_diagonals_are_their_equations():
  rng, (H, W, D) = np.random.default_rng(0), (4, 3, 2)
  gates = rng.standard_normal((H, W, 4 * D))
  weights = rng.standard_normal((2 * D, 4 * D))
  h, c = np.zeros((2, H + 1, W + 1, D))
  for i, j in np.ndindex(H, W):
    told = np.concatenate([h[i + 1, j], h[i, j + 1]])  # left, above
    after = stepped(gates[i, j], weights, told, c[i + 1, j])
    h[i + 1, j + 1], c[i + 1, j + 1] = after
  skewed = conv_lstm.skew(jnp.asarray(gates))
  by_diagonal = skewed.swapaxes(0, 1)[:, None, None]
  found = conv_lstm.scan(by_diagonal, weights[None], (0, -1))
  found = conv_lstm.unskew(found[:, 0, 0].swapaxes(0, 1))
  np.testing.assert_allclose(found, h[1:, 1:], atol=1e-14)


def test_skewed_rows_are_moved_by_their_number():
  H, W = 3, 4
  gates = np.arange(1.0, 1 + 2 * H * W).reshape(H, W, 2)
  skewed = np.asarray(conv_lstm.skew(jnp.asarray(gates)))
  assert skewed.shape == (H, W + H - 1, 2)
  for i in range(H):
    np.testing.assert_array_equal(skewed[i, i : i + W], gates[i])
  assert (skewed < 0).sum() == 2 * H * (H - 1)
  np.testing.assert_array_equal(conv_lstm.unskew(skewed), gates)


# --- cached steps ---


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
  "spec",
  [
    DataSpec((7, 9), 1, 3, None, dict(label=Condition("label", 2))),
    pytest.param(DataSpec((4, 3, 3), 1, 5), marks=pytest.mark.slow),
  ],
)
def test_steps_go_down_many_rows(cell, spec):
  model, params = build(spec, cell)
  L, y = spec.length, None
  if spec.conditions:
    y = dict(label=np.array([0, 1], np.int32))
  x_BLC = np.random.default_rng(0).integers(0, 3, (2, L, 1), np.int32)
  theta_BLP = jax.jit(model.apply)(params, x_BLC, None, y)
  cache = model.init_cache(params, 2, L, None, y)
  before_BLC = np.roll(x_BLC, 1, 1)
  steps = checks._scan(model.step)(params, cache, before_BLC, np.int32(0))
  np.testing.assert_allclose(steps, theta_BLP, atol=1e-12)


def test_half_a_row_is_refused_and_taken_again():
  """Rows of state are overwritten in place: a refused draft must not be."""
  spec = DataSpec((3, 4), 1, 3)
  model, params = build(spec, "diagonal_bilstm", layers=1)
  x_BLC = np.random.default_rng(0).integers(0, 3, (2, 12, 1), np.int32)
  theta_BLP = jax.jit(model.apply)(params, x_BLC)
  before_BLC, extend = np.roll(x_BLC, 1, 1), jax.jit(model.extend)
  cache, t = model.init_cache(params, 2, 12), 0
  for n in (3, 0, 2, 3, 4):  # of 4 each
    x_BKC = before_BLC[:, t : t + 4].copy()
    x_BKC[:, n:] = (x_BKC[:, n:] + 1) % 3  # refused
    theta_BKP, cache = extend(params, cache, x_BKC, np.int32(t), np.int32(n))
    expected = theta_BLP[:, t : t + n]
    np.testing.assert_allclose(theta_BKP[:, :n], expected, atol=1e-12)
    t += n
  assert t == 12


# --- orders and what is refused ---


def eight(shape):
  """Name -> order of the eight rasters of a grid."""
  site = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
  found = {}
  for name, grid in (("rows", site), ("columns", site.swapaxes(0, 1))):
    for down, right in np.ndindex(2, 2):
      turned = grid[:: 1 - 2 * down, :: 1 - 2 * right]
      found[f"{name} {down} {right}"] = turned.ravel()
  return found


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 3)])
def test_eight_rasters_are_taken(shape):
  found = eight(shape)
  assert len({tuple(order) for order in found.values()}) == 8
  spec = DataSpec(shape, 1, None, 0.5)
  for name, order in found.items():
    ordering = Ordering(order[None], lambda key_B: None)
    head = Head(4, None, None, None)
    grid = shape[:2] if name.startswith("rows") else shape[1::-1]
    for cell in CELLS:
      model = pixel_rnn.make(spec, head, ordering, cell=cell, **SMALL)
      params = jax.eval_shape(model.init, jax.random.key(0))
      cache = jax.eval_shape(lambda p, m=model: m.init_cache(p, 1, 12), params)
      columns = grid[1] + 2 + (cell == "diagonal_bilstm")
      assert cache["pixels"].shape[1:3] == (grid[0] + 1, columns)


@pytest.mark.parametrize(
  "cell", [pytest.param("row_lstm", marks=pytest.mark.slow), "diagonal_bilstm"]
)
def test_by_columns_it_keeps_the_contract(cell):
  spec, order = DataSpec((2, 3), 1, 2), eight((2, 3))["columns 1 0"]
  ordering = Ordering(order[None], lambda key_B: order[None])
  head = registry.build("heads", dict(name="categorical"), spec)
  model = pixel_rnn.make(
    spec, head, ordering, cell=cell, **(SMALL | dict(layers=1))
  )
  params = contract.random_params(model)
  case = Case(model, head, spec, params, order[None])
  contract.normalised(case)
  contract.causal(case)
  contract.complete(case)
  contract.step_equals_apply(case)


def test_other_orders_are_refused_by_name():
  spec = DataSpec((3, 4), 1, 2)
  snake = np.arange(12, dtype=np.int32).reshape(3, 4)
  snake[1] = snake[1, ::-1]
  several = np.stack(list(eight((3, 4)).values()))
  for orders, match in (
    (snake.reshape(1, -1), "pixel_rnn takes the eight raster orders of 3 x 4"),
    (several, "pixel_rnn takes one of the eight .* got 8 orders"),
    (None, "pixel_rnn takes one of the eight .* got all orders"),
  ):
    with pytest.raises(ValueError, match=match):
      build(spec, "row_lstm", Ordering(orders, None))


@pytest.mark.parametrize(
  ("spec", "section", "match"),
  [
    (DataSpec((12,), 1, 2), {}, "pixel_rnn takes images"),
    (DataSpec((2, 3, 3), 2, 2), {}, "sub-pixels as sites or as channels"),
    (DataSpec((2, 3), 1, 2), dict(cell="lstm"), "row_lstm, diagonal_bilstm"),
    (DataSpec((2, 3), 1, 2), dict(kernel=2), "odd kernels, not 3, 2"),
    (DataSpec((2, 3), 1, 2), dict(first_kernel=4), "odd kernels, not 4, 3"),
    (DataSpec((2, 3), 1, 2), dict(first_kernel=1), "first_kernel 1 .* >= 3"),
    (DataSpec((2, 3), 1, 2), dict(layers=0), "layers 0 is no integer >= 1"),
    (
      DataSpec(
        (2, 3, 3), 1, 2, None, dict(slope=Condition("aligned", None, (18,)))
      ),
      {},
      "'slope' of kind 'aligned'; it takes: label",
    ),
  ],
)
def test_what_does_not_fit_is_refused(spec, section, match):
  with pytest.raises(ValueError, match=match):
    build(spec, **(dict(cell="row_lstm") | section))


# --- breakages ---

# What is replaced, by what, in which cell, and which check tells.
MUTANTS = dict(
  skew_off_by_one=(
    "[..., : K + 1 - H, :]",
    "[..., 1 : K + 2 - H, :]",
    "diagonal_bilstm",
    "causal",
  ),
  told_of_the_row_below=("(0, -1))", "(0, 1))", "diagonal_bilstm", "causal"),
  second_direction_not_a_row_lower=(
    "jnp.pad(h[1], ((0, 0), (1, 0), (0, 0), (0, 0)))",
    "jnp.pad(h[1], ((0, 0), (0, 1), (0, 0), (0, 0)))",
    "diagonal_bilstm",
    "causal",
  ),
  stored_states_a_row_stale=(
    "begins = (i > 0) & (j == 0)",
    "begins = (i > 1) & (j == 0)",
    "diagonal_bilstm",
    "step_equals_apply",
  ),
  stored_row_a_row_stale=(
    "for n in (i, i + 1))",
    "for n in (i, i))",
    "row_lstm",
    "step_equals_apply",
  ),
  left_edge_not_reset=(
    'jnp.where(j == 0, 0, state["left"])',
    'state["left"]',
    "row_lstm",
    "step_equals_apply",
  ),
  first_layer_sees_its_own_pixel=(
    "x_BHWF[:, a:, : -(a + 1)]",
    "x_BHWF[:, a:, 1:-a]",
    "row_lstm",
    "causal",
  ),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_breakages_are_caught(name, mutated):
  old, new, cell, check = MUTANTS[name]
  make = mutated("models.pixel_rnn", {old: new}).make
  spec = DataSpec((3, 3), 1, 2)
  head = registry.build("heads", dict(name="categorical"), spec)
  section = dict(layers=2, width=3, first_kernel=3, hidden=4, cell=cell)
  cases = []
  for built in (pixel_rnn.make, make):
    model = built(spec, head, raster(spec.shape), **section)
    params = contract.random_params(model)
    cases.append([Case(model, head, spec, params)])
  words = "pairs leak" if check == "causal" else "theta of step"
  caught(getattr(contract, check), *cases, words)
