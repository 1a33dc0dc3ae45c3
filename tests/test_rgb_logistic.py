"""The RGB mixture: sums over colors, draws, gradients, what green is told."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ar_jax import bins, errors
from ar_jax.heads import discretized_logistic, rgb_logistic
from ar_jax.proofs import chance, checks
from ar_jax.types import DataSpec

DRAWS = 200_000
BARS = dict(float32=1e-6, float64=1e-12)
MEANS = -100.0, -1.001, -0.3, 0.0, 1.0, 3.0
LOG_SCALES = -12.0, -6.0, -2.0, 0.0, 4.0


def rgb_spec(num_values):
  return DataSpec((1,), 3, num_values)


def random_theta(components, seed=0, scale=1.0, dtype=np.float32):
  rng = np.random.default_rng(seed)
  return (scale * rng.standard_normal(10 * components)).astype(dtype)


def parts(theta):
  """(logits [K], means, log-scales, coefficients [3, K]) as they stand."""
  rows = theta.reshape(10, -1)
  return rows[0], rows[1:4], rows[4:7], np.tanh(rows[7:])


def masses(head, theta, colors):
  log_prob = compiled(head.log_prob)(theta[None], colors)
  return np.exp(np.asarray(log_prob, np.float64))


compiled = functools.cache(jax.jit)


@functools.cache
def one_channel(num_values):
  """A head of one component; it starts at 0 with a scale of 1."""
  spec = DataSpec((1,), 1, num_values)
  return discretized_logistic.make(spec, components=1)


# --- they sum to one ---


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num_values, components", [(2, 3), (3, 2), (16, 1)])
def test_colors_sum_to_one(num_values, components, dtype):
  spec = rgb_spec(num_values)
  with jax.enable_x64(dtype == "float64"):
    head = rgb_logistic.make(spec, components=components)
    thetas = [random_theta(components, s, 2, dtype) for s in range(5)]
    if components == 1:  # one mean and one log-scale, far out
      thetas = [
        np.r_[0, [mean] * 3, [log_scale] * 3, 1, -1, 2].astype(dtype)
        for mean, log_scale in itertools.product(MEANS, LOG_SCALES)
      ]
    checks.head_normalised(head, spec, np.stack(thetas), BARS[dtype])


def channel(theta, k, c, moved=0.0):
  """p of the 256 ids of one channel of component k, by the one-channel head.

  moved: what the channels before add to its mean, in [-1, 1] units.
  """
  _, means, log_scales, _ = parts(theta)
  K = means.shape[1]
  mean = means[c, k] + bins.spread(K)[k] + moved
  one = np.array([0.0, mean, log_scales[c, k] - np.log(K)])
  return masses(one_channel(256), one, np.arange(256, dtype=np.int32)[:, None])


def test_colors_of_8_bits_sum_to_one_by_factors():
  """Blue sums to what red and green have, green to red, and red to one."""
  with jax.enable_x64(True):
    head = rgb_logistic.make(rgb_spec(256), components=3)
    theta = random_theta(3, 1, 1.5, np.float64)
    logits, _, _, (a, b, c) = parts(theta)
    weights = np.exp(logits) / np.exp(logits).sum()
    ids = np.arange(256, dtype=np.int32)
    units = 2 * ids / 255 - 1
    reds = [channel(theta, k, 0) for k in range(3)]
    assert abs(np.dot(weights, np.sum(reds, 1)) - 1) < 1e-12
    for red in (0, 1, 100, 255):
      greens = [channel(theta, k, 1, a[k] * units[red]) for k in range(3)]
      for green in (0, 30, 254, 255):
        colors = np.stack(np.broadcast_arrays(red, green, ids), -1)
        p = masses(head, theta, colors.astype(np.int32))
        joint = [weights[k] * reds[k][red] * greens[k][green] for k in range(3)]
        moved = b * units[red] + c * units[green]
        blues = [channel(theta, k, 2, moved[k]) for k in range(3)]
        np.testing.assert_allclose(p, np.dot(joint, blues), 1e-9, 1e-300)
        np.testing.assert_allclose(p.sum(), np.sum(joint), 1e-12)


@pytest.mark.slow
def test_all_colors_of_8_bits_sum_to_one():
  head = rgb_logistic.make(rgb_spec(256), components=2)
  theta = jnp.asarray(random_theta(2, 2))
  ids = jnp.arange(256, dtype=jnp.int32)
  green, blue = (a.ravel() for a in jnp.meshgrid(ids, ids))

  @jax.jit
  def of_red(red):
    colors = jnp.stack([jnp.full_like(green, red), green, blue], -1)
    return jnp.exp(head.log_prob(theta[None], colors)).sum()

  total = sum(float(of_red(red)) for red in ids)
  assert abs(total - 1) < 1e-6


def published(low, high, mean, log_scale):
  """OpenAI's pixel-cnn: below a mass of 1e-5, the density at the middle."""
  scale = jnp.exp(log_scale)
  plus, minus = (high - mean) / scale, (low - mean) / scale
  delta = jax.nn.sigmoid(plus) - jax.nn.sigmoid(minus)
  middle = ((low + high) / 2 - mean) / scale
  density = middle - log_scale - 2 * jax.nn.softplus(middle)
  inner = jnp.where(delta > 1e-5, jnp.log(jnp.maximum(delta, 1e-12)), density)
  tail = jnp.where(high == jnp.inf, -jax.nn.softplus(minus), inner)
  return jnp.where(low == -jnp.inf, jax.nn.log_sigmoid(plus), tail)


def test_the_published_switch_does_not_sum_to_one(monkeypatch):
  spec = rgb_spec(16)
  theta = np.r_[0, 0.1, 0.0, -0.3, [-4.5] * 3, [0.4] * 3][None]
  with jax.enable_x64(True):
    head = rgb_logistic.make(spec, components=1)
    checks.head_normalised(head, spec, theta, 1e-12)
    monkeypatch.setattr(bins, "logistic", published)
    head = rgb_logistic.make(spec, components=1)
    with pytest.raises(AssertionError, match="sum over values"):
      checks.head_normalised(head, spec, theta, 1e-6)


# --- what the channels are told ---


def test_without_coefficients_channels_are_apart():
  """One component is then three discretized logistics, and their product."""
  with jax.enable_x64(True):
    spec = rgb_spec(5)
    head = rgb_logistic.make(spec, components=1)
    theta = random_theta(1, 3, 1, np.float64)
    theta[7:] = 0
    ids = np.arange(5, dtype=np.int32)[:, None]
    r, g, b = (
      masses(one_channel(5), theta[[0, 1 + n, 4 + n]], ids) for n in range(3)
    )
    p = masses(head, theta, checks.site_values(spec)).reshape(5, 5, 5)
    np.testing.assert_allclose(p, np.einsum("r,g,b->rgb", r, g, b), 1e-12)


def test_channels_move_with_those_before():
  """a moves green by red, b blue by red, c blue by green, and nothing else."""
  spec = rgb_spec(6)
  head = rgb_logistic.make(spec, components=1)
  theta = random_theta(1, 4)
  theta[7:] = 0
  for n, (source, moved) in enumerate([(0, 1), (0, 2), (1, 2)]):
    one = theta.copy()
    one[7 + n] = 1.5
    p = masses(head, one, checks.site_values(spec)).reshape(6, 6, 6)
    other = 3 - source - moved
    pair = p.sum(other)
    mean = pair @ np.arange(6) / pair.sum(1)
    assert (np.diff(mean) > 0.1).all()  # the coefficient is positive
    for c in (source, moved):
      pair = p.sum(3 - other - c)
      np.testing.assert_allclose(pair, np.outer(pair.sum(1), pair.sum(0)), 1e-4)


# --- draws, gradients, settings ---


def test_drawn_colors_follow_log_prob():
  """And the test can tell: without coefficients, or warm, it is refused."""
  spec = rgb_spec(4)
  head = rgb_logistic.make(spec, components=2)
  theta = random_theta(2, 5)
  x = np.asarray(
    jax.jit(head.sample)(
      jax.random.key(0), np.broadcast_to(theta, (DRAWS, theta.size))
    )
  )
  assert x.shape == (DRAWS, 3)
  assert x.dtype == np.int32
  every = checks.site_values(spec)
  p = masses(head, theta, every)
  counts = chance.count(x, spec)
  chance.follows(counts, p, "draws", "log_prob")
  plain = theta.copy()
  plain[14:] = 0
  for other in (plain, head.adjust(theta, temperature=1.05)):
    chance.power(p, dict(other=lambda o=other: masses(head, o, every)), DRAWS)


def test_draws_of_8_bits_are_ids():
  """Each channel's draws, by the mean and the spread that its masses have."""
  head = rgb_logistic.make(rgb_spec(256), components=1)
  theta = np.r_[0, 0.2, -0.1, 0.9, [-2.5, -3, -1], 1, -0.5, 0.7]
  theta = theta.astype(np.float32)
  x = np.asarray(
    jax.jit(head.sample)(jax.random.key(1), np.broadcast_to(theta, (DRAWS, 10)))
  )
  assert x.min() >= 0
  assert x.max() == 255
  red = channel(theta, 0, 0)
  test = scipy.stats.chisquare(*merged(x[:, 0], red))
  assert test.pvalue > 1e-6
  a = np.tanh(1.0)
  some = x[x[:, 0] == np.median(x[:, 0])]
  green = channel(theta, 0, 1, a * (2 * some[0, 0] / 255 - 1))
  assert scipy.stats.chisquare(*merged(some[:, 1], green)).pvalue > 1e-6
  apart = scipy.stats.chisquare(*merged(x[:, 1], green))
  assert apart.pvalue < 1e-6  # green is not that for every red


def merged(ids, p):
  """(counts, expected counts), rare ids being one."""
  group = chance.groups(p, len(ids))
  counts = np.bincount(ids, minlength=len(p))
  counts, p = (np.bincount(group, a) for a in (counts, p / p.sum()))
  return counts, p * len(ids)


def test_gradients_are_finite_and_right():
  head = rgb_logistic.make(rgb_spec(256), components=1)
  gradient = jax.jit(jax.vmap(jax.grad(head.log_prob)))
  cases = itertools.product((0, 1, 128, 255), MEANS, LOG_SCALES, (-9, 0.5))
  cases = np.array(list(cases))
  x = np.repeat(cases[:, :1], 3, 1).astype(np.int32)
  thetas = [0, *[1] * 3, *[2] * 3, *[3] * 3]
  thetas = cases[:, thetas].astype(np.float32)
  result = np.asarray(gradient(thetas, x))
  with jax.enable_x64(True):
    right = np.asarray(gradient(thetas.astype(float), x))
  assert np.isfinite(result).all()
  smooth = cases[:, 2] > -6
  np.testing.assert_allclose(result[smooth], right[smooth], 2e-3, 2e-3)


def test_color_out_of_range_is_impossible():
  head = rgb_logistic.make(rgb_spec(4), components=2)
  x = np.array([[0, 3, 4], [-1, 0, 0], [0, 2**31 - 1, 0], [3, 0, 3]], np.int32)
  theta = random_theta(2)
  log_prob = compiled(head.log_prob)
  result = np.asarray(log_prob(theta[None], x))
  np.testing.assert_array_equal(result == -np.inf, [True, True, True, False])
  gradient = jax.jit(jax.vmap(jax.grad(head.log_prob), (None, 0)))
  assert np.isfinite(gradient(theta, x)).all()
  narrow = log_prob(theta[None], x[3:].astype(np.uint8))
  np.testing.assert_array_equal(narrow, result[3:])


def test_starts_spread_over_all_ids():
  """theta = 0: each channel near uniform, and no two components alike."""
  head = rgb_logistic.make(rgb_spec(256))
  assert head.num_params == 100
  zero = np.zeros(100, np.float32)
  gray = np.repeat(np.arange(256, dtype=np.int32)[:, None], 3, 1)
  # Gray colors, of which there is one in 256^2 of another kind.
  total = jax.jit(jax.value_and_grad(lambda t: head.log_prob(t, gray).mean()))
  log_prob, grads = total(zero[None])
  assert -log_prob < 3 * np.log(256)
  means = np.asarray(grads).reshape(10, 10)[1]
  assert len(np.unique(means)) == 10


@pytest.mark.parametrize(
  "settings", [dict(temperature=0), dict(temperature=-1), dict(top_k=3)]
)
def test_adjust_refuses(settings):
  head = rgb_logistic.make(rgb_spec(4), components=2)
  with pytest.raises(ValueError, match="temperature|top_k"):
    head.adjust(random_theta(2), **settings)


@pytest.mark.parametrize(
  "spec, section, message",
  [
    (DataSpec((3,), 3, None, 0.5), {}, "real values are for .*mixture"),
    (DataSpec((3,), 3, 65_537), {}, "2 to 65536, got 65537"),
    (DataSpec((3,), 1, 256), {}, "3 channels, got 1.*discretized_logistic"),
    (DataSpec((3,), 3, 4), dict(components=0), "components >= 1"),
  ],
)
def test_make_refuses_in_one_line(spec, section, message):
  with pytest.raises(errors.UsageError, match=message) as e:
    rgb_logistic.make(spec, **section)
  assert "\n" not in str(e.value)
