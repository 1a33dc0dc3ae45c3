"""Recurrent networks: cells by their equations, gradients, states."""

import math

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import Case

from ar_jax import registry
from ar_jax.models import lstm
from ar_jax.nn import rnn
from ar_jax.types import Condition, DataSpec

K, B, D = 5, 3, 4
CELLS = tuple(rnn.CELLS)
GATES = dict(lstm=4, gru=3)


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


# --- the cells as their papers write them, step by step ---


def _logistic(a):
  return 1 / (1 + jnp.exp(-a))


def _lstm_reference(gates_KBG, h, c, kernel_DG):
  """Gers et al. 2000: input, forget, cell, output."""
  hs, cs = [], []
  for gates in gates_KBG:
    i, f, g, o = (
      gates[:, n * D : (n + 1) * D] + h @ kernel_DG[:, n * D : (n + 1) * D]
      for n in range(4)
    )
    c = _logistic(f) * c + _logistic(i) * jnp.tanh(g)
    h = _logistic(o) * jnp.tanh(c)
    hs.append(h)
    cs.append(c)
  return jnp.stack(hs), jnp.stack(cs)


def _gru_reference(gates_KBG, h, kernel_DG, bias_D):
  """Of cuDNN: h' = (1 - z) tanh(W x + r (U h + b)) + z h."""
  hs = []
  for gates in gates_KBG:
    a = [gates[:, n * D : (n + 1) * D] for n in range(3)]
    b = [h @ kernel_DG[:, n * D : (n + 1) * D] for n in range(3)]
    r, z = _logistic(a[0] + b[0]), _logistic(a[1] + b[1])
    n = jnp.tanh(a[2] + r * (b[2] + bias_D[None]))
    h = (1 - z) * n + z * h
    hs.append(h)
  return jnp.stack(hs)


SCANS = dict(
  lstm=(rnn.lstm, _lstm_reference, ((B, D), (B, D), (D, 4 * D))),
  gru=(rnn.gru, _gru_reference, ((B, D), (D, 3 * D), (D,))),
)


def _arguments(cell):
  rng = np.random.default_rng(0)
  shapes = (K, B, GATES[cell] * D), *SCANS[cell][2]
  return tuple(jnp.asarray(rng.standard_normal(s)) for s in shapes)


@pytest.mark.parametrize("cell", CELLS)
def test_cells_are_their_equations(cell):
  scan, reference, _ = SCANS[cell]
  arguments = _arguments(cell)
  found, expected = scan(*arguments), reference(*arguments)
  for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    assert a.shape == (K, B, D)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_of_autodiff(cell):
  scan, reference, _ = SCANS[cell]
  arguments = _arguments(cell)
  outputs, pull = jax.vjp(scan, *arguments)
  expected, pull_reference = jax.vjp(reference, *arguments)
  rng = np.random.default_rng(1)
  for draw in range(3):
    weights = jax.tree.map(
      lambda a: jnp.asarray(rng.standard_normal(a.shape)), expected
    )
    if draw == 2:  # nothing but the last h is read
      weights = jax.tree.map(jnp.zeros_like, weights)
      h_KBD = jax.tree.leaves(weights)[0].at[-1].set(1.0)
      weights = (h_KBD, *weights[1:]) if cell == "lstm" else h_KBD
    pairs = zip(pull(weights), pull_reference(weights), strict=True)
    for found, wanted in pairs:
      assert float(jnp.abs(wanted).max()) > 1e-3
      np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


# --- layers ---


def _layer(cell):
  """(call, params, x [K, B, D], a state)."""
  layer = rnn.CELLS[cell](D)
  rng = np.random.default_rng(2)
  x_KBD = jnp.asarray(rng.standard_normal((K, B, D)))
  zero = layer.zero_state(B, x_KBD.dtype)
  params = jax.jit(layer.init)(jax.random.key(0), x_KBD, zero)
  state = jax.tree.map(lambda a: a + rng.standard_normal(a.shape), zero)
  return jax.jit(layer.apply), params, x_KBD, state


@pytest.mark.parametrize("cell", CELLS)
def test_only_the_first_n_steps_enter_the_state(cell):
  call, params, x_KBD, state = _layer(cell)
  h_KBD, after = call(params, x_KBD, state)
  found = call(params, x_KBD, state, jnp.int32(0))[1]
  assert jax.tree.all(jax.tree.map(jnp.array_equal, found, state))
  for n in range(1, K + 1):
    h, found = call(params, x_KBD, state, jnp.int32(n))
    first, expected = call(params, x_KBD[:n], state)
    np.testing.assert_allclose(h, h_KBD, rtol=0, atol=1e-14)
    np.testing.assert_allclose(h[:n], first, rtol=0, atol=1e-14)
    for a, b in zip(found, expected, strict=True):
      np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)
  for a, b in zip(found, after, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_initial_kernels_are_orthogonal_gate_by_gate(cell):
  _, params, _, _ = _layer(cell)
  kernel_DG = params["params"]["recurrent_kernel"]
  blocks = np.split(np.asarray(kernel_DG, np.float64), GATES[cell], 1)
  for block in blocks:
    np.testing.assert_allclose(block @ block.T, np.eye(D), atol=1e-6)
  assert np.abs(blocks[0] - blocks[1]).max() > 0.1


def test_forget_gate_begins_open():
  call, params, x_KBD, (h, c) = _layer("lstm")
  nothing = jax.tree.map(jnp.zeros_like, (params, x_KBD, h))
  _, (_, after) = call(nothing[0], nothing[1][:1], (nothing[2], c))
  np.testing.assert_allclose(after, _logistic(1.0) * c, atol=1e-14)


# --- the model ---


def _build(spec, *, order="raster", **section):
  head = registry.build("heads", dict(name="categorical"), spec)
  sections = dict(
    raster=dict(name="raster"),
    reverse=dict(name="reverse"),
    all=dict(name="all"),
  )
  ordering = registry.build("orderings", sections[order], spec.shape)
  section = dict(depth=2, width=8) | section
  return lstm.make(spec, head, ordering, **section), head


def _case(**section):
  spec = DataSpec((4,), 1, 3)
  model, head = _build(spec, **section)
  return Case(model, head, spec, contract.random_params(model))


@pytest.mark.parametrize("cell", CELLS)
def test_state_is_reset_for_every_sequence(cell):
  case = _case(cell=cell)
  contract.step_equals_apply(case)
  model = case.model
  x_BLC = contract.cases.space(case)[0]

  def used(params):
    cache = model.init_cache(params, len(x_BLC), 4)
    return model.extend(params, cache, x_BLC, 0)[1]["states"]

  states = jax.jit(used)(case.params)

  def init_cache(*args):
    """The mutant: a new cache goes on from where an earlier one was."""
    return dict(model.init_cache(*args), states=states)

  carrying = model._replace(init_cache=init_cache)
  with pytest.raises(AssertionError, match="theta of step"):
    contract.step_equals_apply(case._replace(model=carrying))


def test_gradient_of_the_whole_network_is_its_slope():
  case = _case(depth=1, norm="rmsnorm", target=True)
  x_BLC = contract.cases.space(case)[0]

  def loss(params):
    theta = case.model.apply(params, x_BLC)
    return -case.head.log_prob(theta, x_BLC).mean()

  params = jax.tree.map(jnp.asarray, case.params)
  graded = jax.jit(jax.value_and_grad(loss))
  _, grads = graded(params)
  rng = np.random.default_rng(3)
  direction = jax.tree.map(lambda a: rng.standard_normal(a.shape), params)
  moved = [
    jax.tree.map(lambda a, b, e=e: a + e * b, params, direction)
    for e in (1e-5, -1e-5)
  ]
  sides = [float(graded(p)[0]) for p in moved]
  dots = jax.tree.map(lambda a, b: (a * b).sum(), grads, direction)
  slope = float(sum(jax.tree.leaves(dots)))
  assert slope == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
  "section",
  [
    dict(),
    dict(cell="gru", norm="rmsnorm", residual=False),
    dict(tied=True, embed=32, target=True),
  ],
)
def test_first_loss_is_log_v(section):
  spec = DataSpec((32,), 1, 65)
  model, head = _build(spec, **(dict(width=64) | section))
  rng = np.random.default_rng(0)
  # As text: some values are frequent, and often twice in a row.
  x_BLC = rng.zipf(1.5, (16, 32, 1)).clip(1, 65).astype(np.int32) - 1

  def first(key):
    theta = model.apply(model.init(key), x_BLC)
    return -head.log_prob(theta, x_BLC).mean(), jnp.abs(theta).max()

  with contract.precision("float32"):
    key = jax.random.key(0, impl="unsafe_rbg")  # compiles fast
    loss, largest = map(float, jax.jit(first)(key))
  assert loss == pytest.approx(math.log(65), abs=0.02)
  assert largest > 1e-4  # components of a mixture must not begin alike


def test_dropout_has_one_mask_for_all_steps():
  spec = DataSpec((6,), 1, 3)
  net = lstm._Net(
    spec._replace(conditions=None),
    *(3, "lstm", 1, 8, 8, False, True, None, False, 0.5),
  )
  key_B = jax.random.split(jax.random.key(0), 4)
  h_KBD = jnp.ones((6, 4, 8))
  dropped = np.asarray(net.apply({}, h_KBD, key_B, method="_drop"))
  np.testing.assert_array_equal(dropped, dropped[:1].repeat(6, 0))
  assert set(np.unique(dropped)) == {0.0, 2.0}
  assert len(np.unique(dropped[0], axis=0)) == 4  # each example its own
  np.testing.assert_array_equal(
    net.apply({}, h_KBD, None, method="_drop"), h_KBD
  )


def test_refuses_what_does_not_go_together():
  spec = DataSpec((4,), 1, 3)
  _build(spec, order="reverse")  # one order: blind, and no need to know
  _build(spec, order="all", target=True)
  with pytest.raises(ValueError, match="model.target=True"):
    _build(spec, order="all")
  with pytest.raises(ValueError, match="one channel"):
    _build(spec._replace(channels=2), tied=True)
  with pytest.raises(ValueError, match="'elman' is none of lstm, gru"):
    _build(spec, cell="elman")
  with pytest.raises(ValueError, match="'batchnorm' is none of None, layer"):
    _build(spec, norm="batchnorm")
  words = dict(words=Condition("sequence", 4, (3,)))
  with pytest.raises(ValueError, match="'words' of kind 'sequence'"):
    _build(spec._replace(conditions=words))
