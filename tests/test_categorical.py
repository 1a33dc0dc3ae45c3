"""The categorical head: a distribution, its draws, its gradient."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ar_jax import errors, filters
from ar_jax.heads import categorical
from ar_jax.types import DataSpec

INF = float("inf")
N, C, V = 12, 2, 5
HEAD = categorical.make(DataSpec((4,), C, V))
DRAWS = 200_000

log_prob = jax.jit(HEAD.log_prob)
sample = jax.jit(HEAD.sample)
# One row of theta against one row of x, N times: d log_prob / d theta.
gradient = jax.jit(jax.vmap(jax.grad(HEAD.log_prob)))


def random_theta(dtype=np.float32):
  return 2 * np.random.default_rng(0).normal(size=(N, C * V)).astype(dtype)


def random_x():
  return np.random.default_rng(1).integers(V, size=(N, C), dtype=np.int32)


def all_values(channels=C, num_values=V):
  """Every value of a site, [V ** C, C]."""
  values = itertools.product(range(num_values), repeat=channels)
  return np.array(list(values), np.int32)


def log_softmax(theta):
  """By the definition, in the dtype of theta; [N, C, V]."""
  logits = theta.reshape(-1, C, V)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def draws_p_value(x_NC, probs):
  """Chi-square p-value of joint draws; probs over all_values(), in order."""
  cells = np.ravel_multi_index(np.asarray(x_NC).T, (V,) * C)
  counts = np.bincount(cells, minlength=V**C)
  possible = np.asarray(probs) > 0
  assert not counts[~possible].any()
  probs = np.asarray(probs, np.float64)[possible]
  expected = DRAWS * probs / probs.sum()
  assert expected.min() > 10
  return scipy.stats.chisquare(counts[possible], expected).pvalue


@pytest.mark.parametrize("dtype, bar", [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("section", categorical.TINY)
def test_sums_to_one(section, dtype, bar):
  head, spec = categorical.make(**section), section["spec"]
  theta = np.random.default_rng(0).normal(size=(20, 1, head.num_params))
  x = all_values(spec.channels, spec.num_values)[None]
  with jax.enable_x64(dtype == "float64"):
    log_probs = jax.jit(head.log_prob)(3 * theta.astype(dtype), x)
  assert log_probs.shape == (20, x.shape[1])
  assert log_probs.dtype == dtype
  np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, bar)


@pytest.mark.parametrize("dtype, bar", [("float32", 2e-6), ("float64", 1e-14)])
def test_log_prob_equals_gathered_log_softmax(dtype, bar):
  theta, x = random_theta(dtype), random_x()
  gathered = np.take_along_axis(log_softmax(theta), x[..., None], -1)
  with jax.enable_x64(dtype == "float64"):
    result = log_prob(theta, x)
  assert result.dtype == dtype
  np.testing.assert_allclose(result, gathered.sum((1, 2)), bar)


@pytest.mark.parametrize("bad", [-1, V, V + 1, 10**6, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("channel", range(C))
def test_value_out_of_range_is_impossible(bad, channel):
  theta, x = random_theta(), random_x()
  x[1, channel] = bad
  result = log_prob(theta, x)
  np.testing.assert_array_equal(result == -INF, np.arange(N) == 1)
  assert np.isfinite(np.delete(result, 1)).all()
  assert np.isfinite(gradient(theta, x)).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32"])
def test_takes_any_integers(dtype):
  theta, x = random_theta(), random_x()
  result = log_prob(theta, x.astype(dtype))
  np.testing.assert_array_equal(result, log_prob(theta, x))


def test_banned_logit_is_impossible_and_harmless():
  theta, x = random_theta(), random_x()
  theta[:, 2] = -INF
  result, banned = log_prob(theta, x), x[:, 0] == 2
  assert banned.any()
  np.testing.assert_array_equal(result == -INF, banned)
  assert np.isfinite(result[~banned]).all()
  assert np.isfinite(gradient(theta, x)).all()
  np.testing.assert_array_equal(gradient(theta, x)[:, 2], 0)


def test_channel_without_a_possible_value_is_not_nan():
  theta = random_theta()
  theta[:, :V] = -INF
  np.testing.assert_array_equal(log_prob(theta, random_x()), -INF)


def test_improbable_value_is_not_impossible():
  theta, x = np.zeros((N, C * V), np.float32), np.ones((N, C), np.int32)
  theta[:, ::V] = 1e4
  np.testing.assert_array_equal(log_prob(theta, x), -C * 1e4)
  np.testing.assert_array_equal(gradient(theta, x)[0, :V], [-1, 1, 0, 0, 0])


def test_nan_logit_shows():
  theta, x = random_theta(), random_x()
  theta[:, 2] = np.nan
  assert np.isnan(log_prob(theta, x)).all()


def test_gradient_is_onehot_minus_softmax():
  theta, x = random_theta(), random_x()
  expected = np.eye(V)[x] - np.exp(log_softmax(theta))
  result = gradient(theta, x).reshape(N, C, V)
  np.testing.assert_allclose(result, expected, 1e-5, 1e-6)


def test_gradient_gathers_and_scatters_nothing():
  """Both are slow on CPU; see the comment in the head."""
  jaxpr = str(jax.make_jaxpr(gradient)(random_theta(), random_x()))
  assert "scatter" not in jaxpr
  assert "gather" not in jaxpr


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_raised_first(dtype):
  low, x = random_theta().astype(dtype), random_x()
  raised = low.astype(np.float32)
  for function in (
    lambda theta: HEAD.log_prob(theta, x),
    lambda theta: HEAD.adjust(theta, temperature=0.7, top_k=2),
  ):
    result = jax.jit(function)(low)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, jax.jit(function)(raised))


@pytest.mark.parametrize(
  "settings", [{}, dict(temperature=0.7, top_k=4, top_p=0.95), dict(min_p=0.1)]
)
def test_draws_follow_log_prob(settings):
  """And the test can tell: draws at temperature 1.05 are refused."""

  def draws(theta):
    return sample(jax.random.key(0), np.broadcast_to(theta, (DRAWS, C * V)))

  theta = HEAD.adjust(random_theta()[:1], **settings)
  probs = np.exp(log_prob(theta, all_values()))
  x = draws(theta)
  assert x.shape == (DRAWS, C)
  assert x.dtype == jnp.int32
  assert draws_p_value(x, probs) > 1e-6
  warmer = HEAD.adjust(theta, temperature=1.05)
  assert draws_p_value(draws(warmer), probs) < 1e-6


def test_draws_are_int32_in_float64_too():
  with jax.enable_x64(True):
    assert sample(jax.random.key(0), random_theta("float64")).dtype == jnp.int32


def test_adjust_filters_each_channel():
  theta = random_theta()
  settings = dict(temperature=0.8, top_k=3, top_p=0.9, min_p=0.05)
  adjusted = HEAD.adjust(theta, **settings)
  assert adjusted.shape == theta.shape
  expected = filters.apply(theta.reshape(N, C, V), **settings)
  np.testing.assert_array_equal(adjusted, expected.reshape(theta.shape))


def test_greedy_is_certain_of_the_argmax():
  theta = random_theta()
  greedy = HEAD.adjust(theta, temperature=0)
  x = np.array(sample(jax.random.key(3), greedy))
  np.testing.assert_array_equal(x, theta.reshape(N, C, V).argmax(-1))
  np.testing.assert_array_equal(log_prob(greedy, x), 0)
  x[:, 1] = (x[:, 1] + 1) % V
  np.testing.assert_array_equal(log_prob(greedy, x), -INF)


def test_adjust_refuses_what_it_cannot_do():
  with pytest.raises(TypeError, match="typical_p"):
    HEAD.adjust(random_theta(), typical_p=0.9)
  with pytest.raises(ValueError, match="top_k"):
    HEAD.adjust(random_theta(), top_k=-1)


def test_num_params():
  assert categorical.make(DataSpec((4,), 3, 7)).num_params == 21


def test_real_values_are_refused():
  with pytest.raises(errors.UsageError, match="heads.categorical takes .*None"):
    categorical.make(DataSpec((4,), delta=0.1))
