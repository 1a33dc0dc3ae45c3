"""WaveNet: its receptive field, its rings, and mutants of both."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import Case

from ar_jax import registry
from ar_jax.models import wavenet
from ar_jax.nn import causal_conv
from ar_jax.proofs import checks
from ar_jax.types import Condition, DataSpec, Head

RASTER = dict(name="raster")


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


def build(length, num_values=3, **section):
  """(model, params) of a small network."""
  delta = None if num_values else 0.5
  spec = DataSpec((length,), 1, num_values, delta)
  head = Head(4, None, None, None)
  ordering = registry.build("orderings", RASTER, spec.shape)
  section = dict(residual=8, skip=16) | section
  model = wavenet.make(spec, head, ordering, **section)
  return model, contract.random_params(model)


def small_case(**section):
  """A Case of four ternary sites."""
  spec = DataSpec((4,), 1, 3)
  head = registry.build("heads", dict(name="categorical"), spec)
  ordering = registry.build("orderings", RASTER, spec.shape)
  section = dict(dilations=(1, 2), residual=4, skip=6) | section
  model = wavenet.make(spec, head, ordering, **section)
  return Case(model, head, spec, contract.random_params(model))


# --- what a step sees ---


@pytest.mark.slow
@pytest.mark.parametrize(
  ("dilations", "kernel", "front_kernel"),
  [
    ((1, 2, 4), 2, 1),
    ((1, 3), 3, 2),
    ((4, 1), 2, 1),  # gaps: a step misses values within the field
    ((1, 2, 4), 1, 3),
    pytest.param((1, 2, 4) * 2, 2, 1, marks=pytest.mark.slow),
    pytest.param((1, 2), 3, 1, marks=pytest.mark.slow),
    pytest.param((5,), 3, 1, marks=pytest.mark.slow),
    pytest.param((7, 7), 1, 1, marks=pytest.mark.slow),
    pytest.param((1,), 2, 4, marks=pytest.mark.slow),
  ],
)
def test_receptive_field_is_what_a_jacobian_finds(
  dilations, kernel, front_kernel
):
  field = wavenet.receptive_field(dilations, kernel, front_kernel)
  L = field + 4
  sizes = dict(dilations=dilations, kernel=kernel, front_kernel=front_kernel)
  model, params = build(L, None, **sizes)
  x_BLC = np.random.default_rng(0).standard_normal((1, L, 1))

  def theta_LP(params, x_L):
    return model.apply(params, x_L[None, :, None])[0]

  jacobian = jax.jit(jax.jacobian(theta_LP, argnums=1))
  seen_LL = np.zeros((L, L), bool)
  for seed in range(3):  # a ReLU may be off at one of them
    params = contract.random_params(model, seed)
    seen_LL |= np.abs(jacobian(params, x_BLC[0, :, 0])).max(1) > 0
  last = np.flatnonzero(seen_LL[-1])
  assert L - 1 - last.min() == field
  sees_LL = np.tri(L, k=-1, dtype=bool) if model.sees is None else model.sees
  np.testing.assert_array_equal(seen_LL, sees_LL)


def test_sees_takes_no_memory():
  sees_LL = build(20_000, dilations=(1, 2))[0].sees
  assert sees_LL.shape == (20_000, 20_000)
  assert sees_LL.strides == (-1, 1)
  assert list(np.flatnonzero(sees_LL[-1])) == [*range(19_995, 19_999)]
  assert build(4, dilations=(1, 2))[0].sees is None


# --- the convolution ---


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 5])
@pytest.mark.parametrize("K", [1, 7])
def test_convolution_is_the_direct_sum(kernel, dilation, K):
  rng = np.random.default_rng(0)
  a_BTD = rng.standard_normal((2, K + (kernel - 1) * dilation, 3))
  kernel_kDF = rng.standard_normal((kernel, 3, 4))
  expected = np.zeros((2, K, 4))
  for t in range(K):
    for j in range(kernel):
      expected[:, t] += a_BTD[:, t + j * dilation] @ kernel_kDF[j]
  found = causal_conv.convolve(jnp.asarray(a_BTD), kernel_kDF, dilation)
  np.testing.assert_allclose(found, expected, atol=1e-12)


def test_rings_hold_the_last_steps():
  x_BTD = np.arange(60.0).reshape(2, 10, 3)
  ring = jnp.zeros((4, 2, 3))
  for t, (K, n) in ((0, (3, 3)), (3, (4, 1)), (4, (5, 5)), (9, (1, 0))):
    held = causal_conv.unrolled(ring, t)
    padded = np.pad(x_BTD, ((0, 0), (4, 0), (0, 0)))
    np.testing.assert_array_equal(held, padded[:, t : t + 4])
    whole = np.concatenate([held, x_BTD[:, t : t + K]], 1)
    ring = causal_conv.rolled(jnp.asarray(whole), 4, t, n)
    for step in range(max(0, t + n - 4), t + n):
      np.testing.assert_array_equal(ring[step % 4], x_BTD[:, step])


# --- cached steps ---


@pytest.fixture(scope="module")
def long():
  """(model, params, what steps read, theta): several turns of every ring."""
  with contract.precision("float64"):
    model, params = build(61, dilations=(1, 8, 3, 8), kernel=3, front_kernel=2)
    x_BLC = np.random.default_rng(0).integers(0, 3, (2, 61, 1), np.int32)
    theta_BLP = np.asarray(jax.jit(model.apply)(params, x_BLC))
    return model, params, np.roll(x_BLC, 1, 1), theta_BLP


def test_steps_go_round_the_rings(long):
  model, params, before_BLC, theta_BLP = long
  cache = model.init_cache(params, 2, 61)
  steps = checks._scan(model.step)(params, cache, before_BLC, np.int32(0))
  np.testing.assert_allclose(steps, theta_BLP, atol=1e-12)


@pytest.mark.slow
def test_ragged_chunks_and_refused_values(long):
  model, params, before_BLC, theta_BLP = long
  extend, step = jax.jit(model.extend), jax.jit(model.step)
  cache, t = model.init_cache(params, 2, 61), 0
  chunks = (
    (5, 5),
    (1, None),
    (9, 4),
    (20, 17),
    (3, 0),
    (1, 1),
    (1, 0),
    (33, 33),
  )
  for K, n in chunks:
    x_BKC = before_BLC[:, t : t + K].copy()
    if n is None:
      theta_BP, cache = step(params, cache, x_BKC[:, 0], np.int32(t))
      theta_BKP, n = np.asarray(theta_BP)[:, None], 1
    else:
      x_BKC[:, n:] = (x_BKC[:, n:] + 1) % 3  # refused
      theta_BKP, cache = extend(params, cache, x_BKC, np.int32(t), np.int32(n))
    expected = theta_BLP[:, t : t + n]
    np.testing.assert_allclose(theta_BKP[:, :n], expected, atol=1e-12)
    t += n
  assert t == 61


def test_a_stopped_scan_goes_on_bit_for_bit(long):
  model, params, before_BLC, _ = long

  @jax.jit
  def run(params, cache, x_BKC, t):
    def body(cache, inputs):
      theta_BP, cache = model.step(params, cache, *inputs)
      return cache, theta_BP

    steps = t + jnp.arange(x_BKC.shape[1])
    return jax.lax.scan(body, cache, (x_BKC.swapaxes(0, 1), steps))

  clean = model.init_cache(params, 2, 61)
  end, whole_KBP = run(params, clean, before_BLC, 0)
  cache, first_KBP = run(params, clean, before_BLC[:, :37], 0)
  cache = jax.tree.map(np.array, cache)  # as it would be kept
  cache, rest_KBP = run(params, cache, before_BLC[:, 37:], 37)
  np.testing.assert_array_equal(
    np.concatenate([first_KBP, rest_KBP]), whole_KBP
  )
  jax.tree.map(np.testing.assert_array_equal, cache, end)


# --- mutants, each caught by a check of the contract ---


def caught(check, match, **section):
  with pytest.raises(AssertionError, match=match):
    check(small_case(**section))


def same(a_BTD, kernel_kDF, dilation):
  """Padded at both sides, as a convolution is that is not causal."""
  new_BKD = a_BTD[:, (len(kernel_kDF) - 1) * dilation :]
  return jax.lax.conv_general_dilated(
    new_BKD,
    kernel_kDF,
    (1,),
    "SAME",
    rhs_dilation=(dilation,),
    dimension_numbers=("NWC", "WIO", "NWC"),
  )


def test_same_padding_leaks(monkeypatch):
  contract.causal(small_case(kernel=3))
  monkeypatch.setattr(causal_conv, "convolve", same)
  caught(contract.causal, "pairs leak", kernel=3)


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_slot_too_late(monkeypatch, kernel):
  contract.step_equals_apply(small_case(kernel=kernel))
  slots = causal_conv.slots

  def late(dilations, kernel, t):
    return slots(tuple(d + 1 for d in dilations), kernel, t)

  monkeypatch.setattr(causal_conv, "slots", late)
  caught(contract.step_equals_apply, "theta of step", kernel=kernel)


def test_a_tap_is_read_twice(monkeypatch):
  contract.step_equals_apply(small_case(kernel=3))
  slots = causal_conv.slots

  def oldest(*args):
    slots_JN = slots(*args)
    return jnp.stack([slots_JN[0]] * len(slots_JN))

  monkeypatch.setattr(causal_conv, "slots", oldest)
  caught(contract.step_equals_apply, "theta of step", kernel=3)


def test_rings_of_layers_overlap(monkeypatch):
  contract.step_equals_apply(small_case())
  slots = causal_conv.slots

  def overlapping(*args):
    slots_JN = slots(*args)
    return slots_JN - (jnp.arange(slots_JN.shape[1]) > 0)[None]

  monkeypatch.setattr(causal_conv, "slots", overlapping)
  caught(contract.step_equals_apply, "theta of step")


@pytest.mark.parametrize("by", [-1, 1])
def test_a_chunk_leaves_the_ring_turned(monkeypatch, by):
  contract.extend_equals_apply(small_case(kernel=3))
  rolled = causal_conv.rolled

  def turned(a_BTD, slots, t, n):
    return jnp.roll(rolled(a_BTD, slots, t, n), by, axis=0)

  monkeypatch.setattr(causal_conv, "rolled", turned)
  caught(contract.extend_equals_apply, "extend by", kernel=3)


def test_refused_values_enter_the_ring(monkeypatch):
  rolled = causal_conv.rolled

  def all_of_them(a_BTD, slots, t, n):
    del n
    return rolled(a_BTD, slots, t, a_BTD.shape[1] - slots)

  monkeypatch.setattr(causal_conv, "rolled", all_of_them)
  caught(contract.extend_equals_apply, "extend by")


# --- what it refuses ---


def test_a_family_of_orders_is_refused():
  spec = DataSpec((4,), 1, 3)
  for name in ("all", "annealed", "random"):
    ordering = registry.build("orderings", dict(name=name), (4,))
    head = Head(3, None, None, None)
    if name != "random":
      with pytest.raises(ValueError, match="one fixed order"):
        wavenet.make(spec, head, ordering)
    else:
      assert wavenet.make(spec, head, ordering, dilations=(1,)).sees.any()


def test_sizes_and_sequences_are_refused():
  spec = DataSpec((4,), 1, 3)
  ordering = registry.build("orderings", RASTER, (4,))
  head = Head(3, None, None, None)
  for section in (dict(dilations=()), dict(dilations=(0,)), dict(kernel=0)):
    with pytest.raises(ValueError, match="1 or more"):
      wavenet.make(spec, head, ordering, **section)
  words = spec._replace(conditions=dict(words=Condition("sequence", 3, (2,))))
  with pytest.raises(ValueError, match="'words' of kind 'sequence'"):
    wavenet.make(words, head, ordering)
