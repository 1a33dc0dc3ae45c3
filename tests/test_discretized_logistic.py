"""The discretized logistic head: masses, draws, gradients, the mode."""

import itertools

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from ar_jax import errors
from ar_jax.heads import discretized_logistic
from ar_jax.media import audio
from ar_jax.proofs import chance
from ar_jax.types import DataSpec

DRAWS = 200_000
LEVELS = "uniform", "mu_law"
MEANS = -100.0, -3.0, -1.0, -0.999, -0.3, 0.0, 0.5, 1.0, 1.001, 3.0
LOG_SCALES = -12.0, -9.0, -6.0, -3.0, -1.0, 0.0, 2.0, 4.0
BARS = dict(float32=2e-6, float64=2e-13)


def ids_head(num_values, levels, components=1):
  """(head, its log_prob compiled, theta of given weights, means, scales)."""
  spec = DataSpec((1,), 1, num_values)
  head = discretized_logistic.make(spec, components=components, levels=levels)
  means, log_scales = discretized_logistic.start(num_values, components, levels)

  def theta(logits, mean, log_scale, dtype=np.float32):
    parts = logits, np.subtract(mean, means), np.subtract(log_scale, log_scales)
    return np.concatenate(np.broadcast_arrays(*parts), -1).astype(dtype)

  return head, jax.jit(head.log_prob), theta


def probs(log_prob, theta, x):
  """p of the values x [M, C] for one theta [P], in float64."""
  return np.exp(np.asarray(log_prob(theta[None], x), np.float64))


def all_ids(num_values):
  return np.arange(num_values, dtype=np.int32)[:, None]


@pytest.mark.parametrize(
  "num_values, dtype",
  [
    (2, "float32"),
    (16, "float32"),
    (256, "float32"),
    (256, "float64"),
    (65_536, "float32"),
  ],
)
@pytest.mark.parametrize("levels", LEVELS)
def test_ids_sum_to_one(num_values, levels, dtype):
  with jax.enable_x64(dtype == "float64"):
    _, log_prob, theta = ids_head(num_values, levels)
    for mean, log_scale in itertools.product(MEANS, LOG_SCALES):
      one = theta([0.0], [mean], [log_scale], dtype)
      p = probs(log_prob, one, all_ids(num_values))
      assert abs(p.sum() - 1) < BARS[dtype], (mean, log_scale)


def reference_edges(num_values, levels):
  """By the definition, in the unit of theta."""
  i = np.arange(num_values + 1) - 0.5
  level = 2 * i / (num_values - 1) - 1
  if levels == "mu_law":
    mu = num_values - 1.0
    level = np.sign(level) * ((1 + mu) ** np.abs(level) - 1) / mu
  level[0], level[-1] = -np.inf, np.inf
  return level


def reference_mass(distribution, low, high):
  """CDF differences in float64, in the tail where they are small."""
  right = low + high > 0
  lower = distribution.cdf(high) - distribution.cdf(low)
  upper = distribution.sf(low) - distribution.sf(high)
  return np.where(right, upper, lower)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("num_values", [2, 256, 65_536])
def test_ids_agree_with_cdf_differences(num_values, levels):
  _, log_prob, theta = ids_head(num_values, levels, 3)
  edges = reference_edges(num_values, levels)
  weights, means = np.array([0.5, 0.3, 0.2]), np.array([-1.2, 0.1, 0.6])
  log_scales = np.array([-0.5, -2.0, -4.5])
  expected = 0.0
  for weight, mean, log_scale in zip(weights, means, log_scales, strict=True):
    z = (edges - mean) / np.exp(log_scale)
    logistic = reference_mass(scipy.stats.logistic, z[:-1], z[1:])
    expected = expected + weight * logistic
  one = theta(np.log(weights), means, log_scales)
  p = probs(log_prob, one, all_ids(num_values))
  # The bar is the rounding of mu-law edges: 6e-8 of an edge in float32 is up
  # to this much of its bin.
  bar = 1e-3 if (levels, num_values) == ("mu_law", 65_536) else 3e-5
  np.testing.assert_allclose(p, expected, bar)


@pytest.mark.parametrize("num_values", [5, 256])
def test_mu_law_bins_are_those_of_the_codec(num_values):
  """A component far narrower than a bin is certain of the encoded id."""
  _, log_prob, theta = ids_head(num_values, "mu_law")
  edges = audio.mu_law_edges(num_values)
  near = 3e-3 * np.diff(edges).min()
  x = np.concatenate([edges - near, edges + near, [-0.999, 0.999]])
  thetas = theta(np.zeros((1, 1)), x[:, None], [[-18.0]])
  ids = audio.mu_law_encode(x, num_values)[:, None]
  np.testing.assert_allclose(log_prob(thetas, ids), 0, atol=1e-6)


@pytest.mark.parametrize(
  "num_values, levels", [(2, "uniform"), (65_536, "mu_law")]
)
def test_ids_have_finite_and_right_gradients(num_values, levels):
  head, _, theta = ids_head(num_values, levels)
  gradient = jax.jit(jax.vmap(jax.grad(head.log_prob)))
  V = num_values
  ids = sorted({0, 1, V // 2, V - 2, V - 1})
  cases = np.array(list(itertools.product(ids, MEANS, LOG_SCALES)))
  x = cases[:, :1].astype(np.int32)
  thetas = theta(0 * cases[:, :1], cases[:, 1:2], cases[:, 2:])
  result = np.asarray(gradient(thetas, x))
  with jax.enable_x64(True):
    right = np.asarray(gradient(thetas.astype(float), x))
  assert np.isfinite(result).all()
  # Where a scale is far below the rounding of the mean, that rounding shows.
  smooth = cases[:, 2] > -6
  np.testing.assert_allclose(result[smooth], right[smooth], 2e-3, 2e-3)


def test_tails_are_not_cut():
  """Log-masses fall as exp(-z) does, far below what a float CDF can tell."""
  _, log_prob, theta = ids_head(256, "uniform")
  one = theta([0.0], [-1.0], [-6.0])
  log_probs = np.asarray(log_prob(one[None], all_ids(256)))
  per_id = 2 / 255 * np.exp(6.0)
  np.testing.assert_allclose(np.diff(log_probs)[9:-1], -per_id, 1e-3)
  assert log_probs[-1] < -700


def test_id_out_of_range_is_impossible():
  head, log_prob, theta = ids_head(4, "uniform", 2)
  one = theta([0.0, 1.0], [0.0, 0.3], [-1.0, 0.0])[None]
  bad = -1, 4, 10**6, -(2**31), 2**31 - 1, 3
  x = np.array(bad, np.int32)[:, None]
  result = np.asarray(log_prob(one, x))
  np.testing.assert_array_equal(result == -np.inf, x[:, 0] != 3)
  gradient = jax.jit(jax.vmap(jax.grad(head.log_prob), (None, 0)))
  assert np.isfinite(gradient(one[0], x)).all()


def test_takes_narrow_integers():
  _, log_prob, theta = ids_head(256, "uniform")
  one = theta([0.0], [0.9], [-2.0])[None]
  x = all_ids(256)
  result = log_prob(one, x.astype(np.uint8))
  np.testing.assert_array_equal(result, log_prob(one, x))


@pytest.mark.parametrize(
  "num_values, levels, log_scales",
  [
    (5, "uniform", (-1, -1e3)),
    (256, "uniform", (-3, 0)),
    (65_536, "mu_law", (-7, 1)),
  ],
)
def test_drawn_ids_follow_log_prob(num_values, levels, log_scales):
  """And the test can tell: a temperature of 1.05 is refused."""
  head, log_prob, theta = ids_head(num_values, levels, 2)
  one = theta([0.5, 0.0], [0.1, -0.4], log_scales)
  sample = jax.jit(head.sample)
  thetas = np.broadcast_to(one, (DRAWS, one.size))
  x = np.asarray(sample(jax.random.key(0), thetas))
  assert x.shape == (DRAWS, 1)
  assert x.dtype == np.int32
  counts = chance.count(x, DataSpec((1,), 1, num_values))
  p = probs(log_prob, one, all_ids(num_values))
  warm = head.adjust(one, temperature=1.05)
  warm_p = probs(log_prob, warm, all_ids(num_values))
  group = chance.groups(p, DRAWS)
  counts, p, warm_p = (np.bincount(group, a) for a in (counts, p, warm_p))
  chance.follows(counts, p, "draws", "log_prob")
  chance.power(p, {1.05: lambda: warm_p}, DRAWS)


def test_bins_between_float_quantiles_are_drawn():
  """The quantiles of a float32 uniform, 2^-23 apart, leave bins out."""
  V = 65_536
  head, log_prob, theta = ids_head(V, "uniform")
  one = theta([0.0], [0.0], [5.0])
  u = np.arange(1, 2**23) / 2**23
  reached = scipy.special.logit(u) * np.exp(5.0) * (V - 1) / 2 + (V - 1) / 2
  left_out = np.bincount(np.clip(np.round(reached), 0, V - 1).astype(int)) == 0
  p = probs(log_prob, one, all_ids(V))[left_out].sum()
  thetas = np.broadcast_to(one, (2 * DRAWS, one.size))
  x = np.asarray(jax.jit(head.sample)(jax.random.key(1), thetas))[:, 0]
  assert p * len(x) > 100
  test = scipy.stats.binomtest(int(left_out[x].sum()), len(x), p)
  assert test.pvalue > 1e-6


@pytest.mark.parametrize("levels", LEVELS)
def test_ids_start_near_uniform(levels):
  _, log_prob, _ = ids_head(256, levels, 10)
  zero = np.zeros((1, 30), np.float32)
  nats = -np.asarray(log_prob(zero, all_ids(256))).mean()
  assert nats < np.log(256) + 0.1
  for components in (1, 2, 10):
    means, log_scales = discretized_logistic.start(256, components, levels)
    assert (np.diff(means) > 0).all()
    assert 0 in means
    assert np.isfinite(log_scales).all()


@pytest.mark.parametrize(
  "num_values, levels", [(5, "uniform"), (65_536, "mu_law")]
)
def test_temperature_zero_is_the_mode(num_values, levels):
  head, log_prob, theta = ids_head(num_values, levels, 4)
  random = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
  silent = theta([9.0, 0, 0, 0], [1e-5, 0, 0, 0], [-14.0, 0, 0, 0])
  last = theta([9.0, 0, 0, 0], [1.5, 0, 0, 0], [-3.0, 0, 0, 0])
  thetas = np.stack([*random, silent, last])
  greedy = jax.jit(lambda t: head.adjust(t, temperature=0))(thetas)
  x = all_ids(num_values)
  mode = np.asarray(log_prob(thetas[:, None], x[None])).argmax(1)
  assert mode[-1] == num_values - 1
  result = np.asarray(log_prob(greedy, mode[:, None]))
  np.testing.assert_allclose(result, 0, atol=1e-6)


@pytest.mark.parametrize(
  "spec, section, message",
  [
    (DataSpec((3,), 1, None, 0.5), {}, "real values are for .*mixture"),
    (DataSpec((3,), 1, 65_537), {}, "2 to 65536, got 65537"),
    (DataSpec((3,), 1, 1), {}, "2 to 65536, got 1"),
    (DataSpec((3,), 3, 256), {}, "1 channel, got 3.*categorical"),
    (DataSpec((3,), 1, 4), dict(levels="log"), "mu_law, got log"),
    (DataSpec((3,), 1, 4), dict(components=0), "components >= 1"),
  ],
)
def test_make_refuses_in_one_line(spec, section, message):
  with pytest.raises(errors.UsageError, match=message) as e:
    discretized_logistic.make(spec, **section)
  assert "\n" not in str(e.value)


def test_num_params():
  assert discretized_logistic.make(DataSpec((3,), 1, 256)).num_params == 30
