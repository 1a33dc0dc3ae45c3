"""Mixtures of real values: masses, draws, gradients; settings of all three."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from ar_jax import bins, errors
from ar_jax.heads import (
  discretized_logistic,
  gaussian_mixture,
  logistic_mixture,
)
from ar_jax.proofs import chance
from ar_jax.types import DataSpec

DRAWS = 200_000
REAL = dict(
  gaussian=(gaussian_mixture, scipy.stats.norm),
  logistic=(logistic_mixture, scipy.stats.logistic),
)
BARS = dict(float32=1e-5, float64=1e-12)


def real_head(family, delta, components=1, channels=1):
  """(head, its log_prob compiled, theta of given weights, means, scales)."""
  spec = DataSpec((1,), channels, None, delta)
  head = REAL[family][0].make(spec, components=components)

  def theta(logits, means, log_scales, dtype=np.float32):
    means = np.subtract(means, bins.spread(components))
    parts = np.atleast_2d(logits), means, log_scales
    return np.concatenate([np.ravel(a) for a in parts]).astype(dtype)

  return head, jax.jit(head.log_prob), theta


def probs(log_prob, theta, x):
  """p of the values x [M, C] for one theta [P], in float64."""
  return np.exp(np.asarray(log_prob(theta[None], x), np.float64))


def reference_mass(distribution, low, high):
  """CDF differences in float64, in the tail where they are small."""
  right = low + high > 0
  lower = distribution.cdf(high) - distribution.cdf(low)
  upper = distribution.sf(low) - distribution.sf(high)
  return np.where(right, upper, lower)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", REAL)
def test_real_values_sum_to_one(family, dtype):
  delta = 0.1  # of which no multiple is exact
  with jax.enable_x64(dtype == "float64"):
    _, log_prob, theta = real_head(family, delta)
    for scales, far in [
      ((1e-3, 0.03, 0.3, 1, 3, 100), 4000),
      ((1e4,), 350_000),
    ]:
      n = np.arange(-far, far + 1)[:, None]
      x = (n * delta).astype(dtype)
      for scale, mean in itertools.product(scales, (0, 0.25, 0.5, -37.5)):
        one = theta([0.0], [mean * delta], [math.log(scale * delta)], dtype)
        p = probs(log_prob, one, x)
        assert abs(p.sum() - 1) < BARS[dtype], (scale, mean)


@pytest.mark.parametrize("family", REAL)
def test_real_values_agree_with_cdf_differences(family):
  _, log_prob, theta = real_head(family, 0.1, 2, 2)
  weights = np.array([0.7, 0.3])
  means = np.array([[0.2, -1.0], [0.5, 2.0]])  # [C, K]
  log_scales = np.array([[-1.0, -3.5], [0.3, -2.0]])
  n = np.random.default_rng(0).integers(-15, 25, size=(1000, 2, 1))
  z = ((n + np.array([-0.5, 0.5])) * 0.1)[:, :, None] - means[None, ..., None]
  z /= np.exp(log_scales)[None, ..., None]
  mass = reference_mass(REAL[family][1], z[..., 0], z[..., 1])
  expected = np.log((weights * mass.prod(1)).sum(-1))
  one = theta(np.log(weights), means, log_scales)
  x = (n[..., 0] * 0.1).astype(np.float32)
  result = np.asarray(log_prob(one[None], x))
  sane = expected > -40  # the reference loses the rest
  assert sane.sum() > 500
  np.testing.assert_allclose(result[sane], expected[sane], 2e-5, 2e-5)


def reference_normal(low, high):
  """log mass by Mills' ratio, or by 60 nodes where that would cancel."""
  low, high = (
    np.where(low + high > 0, low, -high),
    np.where(low + high > 0, high, -low),
  )
  middle, width = (low + high) / 2, high - low
  nodes, weights = np.polynomial.legendre.leggauss(60)
  t = nodes * width[:, None] / 2
  exponent = -t * (middle[:, None] + t / 2)
  density = np.exp(np.minimum(exponent, 99))
  nearly = np.log((weights * density).sum(1) * width / 2) - middle**2 / 2

  def mills(t):
    return np.sqrt(np.pi / 2) * scipy.special.erfcx(t / np.sqrt(2))

  with np.errstate(invalid="ignore", over="ignore"):
    between = mills(low) - np.exp(-width * middle) * mills(high)
    apart = np.log(between) - low**2 / 2
  narrow = width * np.maximum(1, middle) < 8
  return np.where(narrow, nearly, apart) - np.log(2 * np.pi) / 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_mass_in_all_regimes(dtype):
  rng = np.random.default_rng(0)
  middle = rng.uniform(-1, 1, 20_000) * rng.choice([3, 30, 300], 20_000)
  width = np.exp(rng.uniform(-9, 4, 20_000))
  low, high = ((middle + s * width / 2).astype(dtype) for s in (-1, 1))
  with jax.enable_x64(dtype == "float64"):
    zero = np.zeros((), dtype)
    result = np.asarray(jax.jit(bins.normal)(low, high, zero, zero))
  assert result.dtype == dtype
  expected = reference_normal(low.astype(float), high.astype(float))
  error = np.abs(result - expected) / np.maximum(1, -expected)
  assert error.max() < dict(float32=2e-6, float64=1e-12)[dtype]


@pytest.mark.parametrize("family", REAL)
def test_real_values_have_finite_gradients(family):
  head, _, theta = real_head(family, 0.5)
  gradient = jax.jit(jax.vmap(jax.grad(head.log_prob)))
  sigmas = 0.0, 0.4, 5.0, 13.0, 100.0, 1e4, -1.0, -1e4
  log_scales = -1e3, -12.0, -7.0, -1.0, 0.0, 3.0, 9.0, 16.0
  cases = np.array(list(itertools.product(sigmas, log_scales, (0.25, 0.0))))
  thetas = np.stack([theta([0.0], [m], [s]) for _, s, m in cases])
  n = 0.5 + cases[:, 0] * np.exp(np.maximum(cases[:, 1], -7)) / 0.5
  x = (0.5 * np.round(np.clip(n, -1e6, 1e6))).astype(np.float32)[:, None]
  result = np.asarray(gradient(thetas, x))
  assert np.isfinite(result).all()
  with jax.enable_x64(True):
    right = np.asarray(gradient(thetas.astype(float), x))
  smooth = cases[:, 1] > -5
  np.testing.assert_allclose(result[smooth], right[smooth], 1e-3, 1e-3)


@pytest.mark.parametrize("family", REAL)
@pytest.mark.parametrize(
  "delta, mean, log_scale",
  [(0.1, 0.3, -0.5), (0.5, 1000.25, -1e3)],
)
def test_drawn_values_follow_log_prob(delta, mean, log_scale, family):
  """And the test can tell, but where it is all one bin or two halves."""
  head, log_prob, theta = real_head(family, delta, 2)
  one = theta([0.3, 0.0], [mean, mean - 0.7], [log_scale, log_scale])
  thetas = np.broadcast_to(one, (DRAWS, one.size))
  x = np.asarray(jax.jit(head.sample)(jax.random.key(0), thetas))
  assert x.shape == (DRAWS, 1)
  assert x.dtype == np.float32
  n = np.round(x[:, 0] / delta)
  np.testing.assert_allclose(x[:, 0], n * delta, 1e-6)
  around = round(mean / delta) + np.arange(-1500, 1501)
  grid = (around * delta).astype(np.float32)[:, None]
  p = probs(log_prob, one, grid)
  warm_p = probs(log_prob, head.adjust(one, temperature=1.05), grid)
  counts = np.bincount((n - around[0]).astype(int), minlength=len(around))
  chance.follows(counts, p, "draws", "log_prob")
  if log_scale > -5:
    chance.power(p, {1.05: lambda: warm_p}, DRAWS)


def test_channels_of_a_component_are_independent():
  """And are drawn so: p of a pair of channels, counted."""
  head, log_prob, theta = real_head("gaussian", 1.0, 2, 2)
  one = theta([0.0, 0.5], [[-1.0, 1.5], [-2.0, 0.3]], [[-0.5, 0], [0, -0.3]])
  n = np.arange(-20, 21)
  pairs = np.stack(np.meshgrid(n, n, indexing="ij"), -1).reshape(-1, 2)
  p = probs(log_prob, one, pairs.astype(np.float32))
  assert abs(p.sum() - 1) < 1e-5
  thetas = np.broadcast_to(one, (DRAWS, one.size))
  x = np.asarray(jax.jit(head.sample)(jax.random.key(0), thetas))
  inside = (np.abs(x) <= 20).all(1)
  assert inside.mean() > 0.9999
  cells = (x[inside].astype(int) + 20) @ np.array([41, 1])
  counts = np.bincount(cells, minlength=41**2)
  chance.follows(counts, p, "draws", "log_prob")
  mixed_up = p.reshape(41, 41)
  product = np.outer(mixed_up.sum(1), mixed_up.sum(0)).ravel()
  assert chance.chi_square(counts, product) < 1e-6


@pytest.mark.parametrize("family", REAL)
def test_value_counts_for_its_bin(family):
  """Rounding of x in float32 or off the grid does not move an edge."""
  _, log_prob, theta = real_head(family, 0.1)
  one = theta([0.0], [0.0], [math.log(3.0)])[None]
  exact = np.arange(-500, 500)[:, None] * 0.1
  result = log_prob(one, exact.astype(np.float32))
  for shift in (-0.04, 0.04):
    moved = (exact + shift).astype(np.float32)
    np.testing.assert_array_equal(log_prob(one, moved), result)


def test_float64_stays():
  with jax.enable_x64(True):
    head, log_prob, theta = real_head("logistic", 0.1)
    one = theta([0.0], [0.0], [0.0], np.float64)[None]
    x = np.array([[1e9 * 0.1]])
    assert log_prob(one, x).dtype == np.float64
    low = log_prob(one.astype(np.float32), np.float32([[0.1]]))
    assert low.dtype == np.float32
    assert head.sample(jax.random.key(0), one).dtype == np.float32
    far = [np.asarray(log_prob(one, x + d)) for d in (0, 0.1)]
    assert far[0] != far[1]  # a float32 x could not tell


def test_one_real_component_has_a_mode():
  head, log_prob, theta = real_head("logistic", 0.5)
  one = theta([0.0], [3.2], [1.0])[None]
  greedy = head.adjust(one, temperature=0)
  x = np.float32([[3.0]])
  np.testing.assert_allclose(log_prob(greedy, x), 0, atol=1e-6)
  np.testing.assert_array_equal(head.sample(jax.random.key(0), greedy), x)


# --- and the discretized logistic ---


def every_head():
  """One of each kind, of two components: P = 6."""
  ids, real = DataSpec((1,), 1, 5), DataSpec((1,), 1, None, 0.5)
  yield discretized_logistic.make(ids, components=2)
  yield discretized_logistic.make(ids, components=2, levels="mu_law")
  yield gaussian_mixture.make(real, components=2)
  yield logistic_mixture.make(real, components=2)


@pytest.mark.parametrize("head", every_head())
def test_settings_that_are_off_change_nothing(head):
  theta = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
  for off in ({}, dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)):
    np.testing.assert_array_equal(head.adjust(theta, **off), theta)


@pytest.mark.parametrize("head", every_head())
def test_temperature_is_that_of_the_components(head):
  theta = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
  expected = theta.copy()
  expected[:, :2] /= 0.7
  expected[:, 4:] += np.log(0.7)
  result = np.array(head.adjust(theta, temperature=0.7))
  # Weights are logits up to a constant.
  expected[:, :2] -= expected[:, :2].max(1, keepdims=True)
  result[:, :2] -= result[:, :2].max(1, keepdims=True)
  np.testing.assert_allclose(result, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("head", every_head())
def test_adjust_refuses_what_it_cannot_do(head):
  theta = np.zeros(6, np.float32)
  for bad in (
    dict(top_k=3),
    dict(top_p=0.9),
    dict(min_p=0.1),
    dict(temperature=-1.0),
    dict(temperature=math.nan),
  ):
    with pytest.raises(ValueError, match=next(iter(bad))):
      head.adjust(theta, **bad)
  with pytest.raises(TypeError, match="typical_p"):
    head.adjust(theta, typical_p=0.9)


@pytest.mark.parametrize("family", REAL)
def test_mode_of_a_real_mixture_is_refused(family):
  head, _, _ = real_head(family, 0.5, 2)
  with pytest.raises(ValueError, match="temperature 0"):
    head.adjust(np.zeros(6, np.float32), temperature=0)


@pytest.mark.parametrize("head", every_head())
def test_low_precision_is_raised_first_and_nan_shows(head):
  log_prob = jax.jit(head.log_prob)
  low = np.random.default_rng(0).normal(size=(6, 6)).astype(jnp.bfloat16)
  raised, x = low.astype(np.float32), np.ones((6, 1), np.int32)
  result = log_prob(low, x)
  assert result.dtype == jnp.float32
  np.testing.assert_array_equal(result, log_prob(raised, x))
  np.fill_diagonal(raised, np.nan)
  assert np.isnan(log_prob(raised, x)).all()


@pytest.mark.parametrize(
  "make, spec, section, message",
  [
    (gaussian_mixture.make, DataSpec((3,), 1, 4), {}, "got num_values 4"),
    (gaussian_mixture.make, DataSpec((3,)), {}, "delta > 0, got None"),
    (logistic_mixture.make, DataSpec((3,), 1, None, 0.0), {}, "got 0.0"),
    (
      logistic_mixture.make,
      DataSpec((3,), 1, None, 0.5),
      dict(components=1.5),
      "components >= 1",
    ),
  ],
)
def test_make_refuses_in_one_line(make, spec, section, message):
  with pytest.raises(errors.UsageError, match=message) as e:
    make(spec, **section)
  assert "\n" not in str(e.value)


def test_num_params():
  spec = DataSpec((3,), 2, None, 0.5)
  assert gaussian_mixture.make(spec).num_params == 5
  assert logistic_mixture.make(spec).num_params == 25
