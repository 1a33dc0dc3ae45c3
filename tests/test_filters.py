"""Filters: what is kept, against an oracle and case by case."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import filters

INF = float("inf")
NAN = float("nan")

TEMPERATURES = (0, 0.3, 1.0, 1.7)
TOP_KS = (None, 1, 4, 99)
TOP_PS = (None, 0, 0.37, 0.83, 0.999)
MIN_PS = (None, 0.05, 0.31, 1.0)
PRODUCT = [
  dict(temperature=t, top_k=k, top_p=p, min_p=m)
  for t, k, p, m in itertools.product(TEMPERATURES, TOP_KS, TOP_PS, MIN_PS)
]
EACH = [
  dict(),
  dict(temperature=0),
  dict(temperature=0.3),
  dict(top_k=1),
  dict(top_k=7),
  dict(top_p=0),
  dict(top_p=0.9),
  dict(min_p=0.1),
  dict(temperature=0.7, top_k=40, top_p=0.95, min_p=0.05),
]


def oracle(logits, temperature=1, top_k=None, top_p=None, min_p=None):
  """Filtered probabilities [N, V] in float64, by the definitions."""
  ids = np.argsort(-logits, axis=-1, kind="stable")
  z = np.take_along_axis(logits, ids, -1).astype(np.float64)
  rank = np.arange(z.shape[-1])
  p = np.broadcast_to(rank == 0, z.shape)
  if temperature:
    p = np.exp((z - z[:, :1]) / temperature)
  p = np.where(rank < (top_k or rank.size), p, 0.0)
  p /= p.sum(-1, keepdims=True)
  if top_p is not None and top_p < 1:
    before = p.cumsum(-1) - p
    p = np.where((before < top_p) | (rank == 0), p, 0)
  p = np.where(p >= (min_p or 0) * p[:, :1], p, 0)
  filtered = np.empty_like(p)
  np.put_along_axis(filtered, ids, p / p.sum(-1, keepdims=True), -1)
  return filtered


def random_rows(n, num_values=11):
  """Rows of many sharpnesses, a third with ties, a third with -inf."""
  rng = np.random.default_rng(0)
  rows = rng.normal(size=(n, num_values)) * rng.uniform(0.1, 5, (n, 1))
  rows[::3] = np.round(2 * rows[::3]) / 2
  banned = rng.random((n, num_values)) < 0.4
  banned[np.arange(n), rng.integers(num_values, size=n)] = False
  rows[1::3][banned[1::3]] = -INF
  return rows.astype(np.float32)


def kept(logits):
  """Sets of kept ids as bool; fails on NaN."""
  logits = np.asarray(logits, np.float64)
  assert not np.isnan(logits).any()
  return logits > -INF


def test_equals_oracle_in_float64():
  rows = random_rows(2400).astype(np.float64)
  with jax.enable_x64(True):
    logits = jnp.asarray(rows)
    for settings in PRODUCT:
      filtered = filters.apply(logits, **settings)
      assert filtered.dtype == jnp.float64
      expected = oracle(rows, **settings)
      np.testing.assert_array_equal(kept(filtered), expected > 0, f"{settings}")
      assert kept(filtered).any(-1).all()
      probs = jax.nn.softmax(filtered, axis=-1)
      np.testing.assert_allclose(probs, expected, 1e-12, 1e-15, f"{settings}")


def test_equals_oracle_in_float32_up_to_rounding():
  """Between the oracle's sets a hair stricter and a hair laxer."""
  rows, hair = random_rows(999), 1e-5
  for settings in PRODUCT[::3]:
    stricter, laxer = dict(settings), dict(settings)
    if settings["top_p"] is not None:
      stricter["top_p"] -= hair
      laxer["top_p"] += hair
    if settings["min_p"]:
      stricter["min_p"] = min(1, settings["min_p"] * (1 + hair))
      laxer["min_p"] *= 1 - hair
    filtered = kept(filters.apply(rows, **settings))
    assert filtered[oracle(rows, **stricter) > 0].all(), settings
    assert not filtered[oracle(rows, **laxer) == 0].any(), settings


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
  "logits, settings, ids",
  [
    # Temperature: greedy takes the lowest of the largest.
    ([1, 3, 2], dict(temperature=0), [1]),
    ([1, 3, 3], dict(temperature=0), [1]),
    ([2, 2, 2], dict(temperature=-0.0), [0]),
    ([-1, -0.0, 0.0], dict(temperature=0), [1]),
    ([-INF, -9, -INF], dict(temperature=0), [1]),
    ([1, 3, 2], dict(temperature=0, top_k=2, top_p=0.9, min_p=0.1), [1]),
    # Top-k: off, beyond V, and exactly k on ties.
    ([1, 3, 2], dict(top_k=None), [0, 1, 2]),
    ([1, 3, 2], dict(top_k=0), [0, 1, 2]),
    ([1, 3, 2], dict(top_k=np.int32(2)), [1, 2]),
    ([1, 3, 2], dict(top_k=3), [0, 1, 2]),
    ([1, 3, 2], dict(top_k=4), [0, 1, 2]),
    ([1, 3, 2], dict(top_k=10**12), [0, 1, 2]),
    ([2, 2, 2, 2], dict(top_k=1), [0]),
    ([1, 2, 2, 2], dict(top_k=2), [1, 2]),
    ([2, 3, 2, 2], dict(top_k=3), [0, 1, 2]),
    ([-1, -0.0, 0.0], dict(top_k=1), [1]),
    ([-INF, 5, -INF], dict(top_k=2), [1]),
    # Top-p: ends of the range, sums that are exact, ties.
    ([1, 3, 2], dict(top_p=None), [0, 1, 2]),
    ([1, 3, 2], dict(top_p=1), [0, 1, 2]),
    ([1, 3, 2], dict(top_p=0), [1]),
    ([1, 3, 3], dict(top_p=0), [1]),
    ([1, 3, 2], dict(top_p=1e-7), [1]),
    ([0, 0, 0, 0], dict(top_p=0), [0]),
    ([0, 0, 0, 0], dict(top_p=1e-7), [0]),
    ([0, 0, 0, 0], dict(top_p=0.5), [0, 1]),
    ([0, 0, 0, 0], dict(top_p=0.5 - 1e-6), [0, 1]),
    ([0, 0, 0, 0], dict(top_p=0.5 + 1e-6), [0, 1, 2]),
    ([0, 0, 0, 0], dict(top_p=0.75), [0, 1, 2]),
    ([0, 0, -INF, 1], dict(top_p=0.6), [0, 3]),
    ([0, -INF, -INF, 0], dict(top_p=0.5), [0]),
    ([90, 0, -90], dict(top_p=0.999999), [0]),
    ([90, 0, -90], dict(top_p=1.0), [0, 1, 2]),
    # Min-p: p >= min_p * p_max, both ends included.
    ([1, 3, 2], dict(min_p=None), [0, 1, 2]),
    ([1, 3, 2], dict(min_p=0), [0, 1, 2]),
    ([1, 3, 2], dict(min_p=0.36), [1, 2]),
    ([1, 3, 2], dict(min_p=0.37), [1]),
    ([1, 3, 3], dict(min_p=1), [1, 2]),
    ([0, 0, 0], dict(min_p=1), [0, 1, 2]),
    ([-INF, 0, 0], dict(min_p=1e-300), [1, 2]),
    # The order of the stages.
    ([3, 2, 1], dict(top_p=0.8), [0, 1]),
    ([3, 2, 1], dict(top_p=0.8, temperature=0.5), [0]),
    ([3, 2, 1], dict(min_p=0.3), [0, 1]),
    ([3, 2, 1], dict(min_p=0.3, temperature=0.5), [0]),
    ([1.4, 1.1, 0.7, 0], dict(top_p=0.5), [0, 1]),
    ([1.4, 1.1, 0.7, 0], dict(top_p=0.5, top_k=2), [0]),
    ([1.4, 1.1, 0.7, 0], dict(top_p=0.5, min_p=0.6), [0, 1]),
  ],
)
def test_keeps(logits, settings, ids, dtype):
  with jax.enable_x64(dtype == "float64"):
    filtered = filters.apply(jnp.asarray(logits, dtype), **settings)
    np.testing.assert_array_equal(np.flatnonzero(kept(filtered)), ids)


@pytest.mark.parametrize("bad", [-1, -1e-9, INF, -INF, NAN])
def test_bad_temperature(bad):
  with pytest.raises(ValueError, match=r"^temperature takes .*, got \S+$"):
    filters.apply(jnp.zeros(3), temperature=bad)


@pytest.mark.parametrize("bad", [-1, 2.5, NAN, "3"])
def test_bad_top_k(bad):
  with pytest.raises(ValueError, match=r"^top_k takes .*, got \S+$"):
    filters.apply(jnp.zeros(3), top_k=bad)


@pytest.mark.parametrize("name", ["top_p", "min_p"])
@pytest.mark.parametrize("bad", [-0.1, 1.0001, INF, NAN])
def test_bad_fraction(name, bad):
  with pytest.raises(ValueError, match=rf"^{name} takes .*, got \S+$"):
    filters.apply(jnp.zeros(3), **{name: bad})


@pytest.mark.parametrize("num_values", [1, 2, 50257])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_any_size_and_dtype(num_values, dtype):
  """Shape and dtype, one kept at the least, -inf never back, no NaN."""
  rows = random_rows(3, num_values)
  with jax.enable_x64(dtype == "float64"):
    logits = jnp.asarray(rows, dtype)
    for settings in EACH:
      filtered = filters.apply(logits, **settings)
      assert filtered.shape == logits.shape
      assert filtered.dtype == jnp.promote_types(dtype, jnp.float32)
      assert kept(filtered).any(-1).all(), settings
      assert not kept(filtered)[rows == -INF].any(), settings


@pytest.mark.parametrize("settings", EACH, ids=str)
def test_rows_of_equal_logits_and_of_none(settings):
  rows = np.full((4, 50), [[0], [-3e38], [3e38], [-INF]], np.float32)
  *equal, none = kept(filters.apply(rows, **settings))
  alone = dict(temperature=0), dict(top_k=1), dict(top_p=0)
  for row in equal:
    assert row[0] and (row.sum() == 1) == (settings in alone)
  assert not none.any()


@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-38, 1e38, 1e300])
def test_temperature_at_the_ends_of_float32(temperature):
  """Cold is greedy, hot is uniform; -inf stays, also when compiled."""
  logits = jnp.array([-INF, 1e4, 1e4 - 1, -1e4])
  run = jax.jit(lambda x: filters.temperature(x, temperature))
  expected = [0, 1, 0, 0] if temperature < 1 else [0, 1 / 3, 1 / 3, 1 / 3]
  np.testing.assert_allclose(jax.nn.softmax(run(logits)), expected, 1e-6)


@pytest.mark.parametrize("top_p", [1 - 1e-7, 1 - 1e-9, 1.0])
def test_top_p_near_one_cuts_no_more_than_it_says(top_p):
  """A sum from the top loses 1e-7 of 50,257 float32 terms in rounding."""
  rows = np.random.default_rng(0).normal(size=(3, 50257)) * 4
  rows = rows.astype(np.float32)
  filtered = kept(filters.apply(rows, top_p=top_p))
  expected = oracle(rows, top_p=top_p) > 0
  spread = np.abs(filtered.sum(-1) - expected.sum(-1))
  assert spread.max() <= (0 if top_p == 1 else 3)


def test_greedy_is_zero_at_the_argmax_and_divides_nothing():
  def greedy(x):
    return filters.apply(x, temperature=0)

  rows = random_rows(60)
  filtered = np.asarray(greedy(rows))
  expected = np.where(np.arange(11) == rows.argmax(-1)[:, None], 0, -INF)
  np.testing.assert_array_equal(filtered, expected)
  assert "div" not in str(jax.make_jaxpr(greedy)(rows))


def test_off_is_no_operation():
  def off(x):
    return filters.apply(x, top_k=0, top_p=1.0, min_p=0.0)

  assert not jax.make_jaxpr(off)(jnp.zeros((2, 9))).eqns


def test_survivors_keep_their_logits():
  rows = random_rows(60)
  filtered = np.asarray(filters.apply(rows, top_k=5, top_p=0.9, min_p=0.1))
  np.testing.assert_array_equal(filtered[kept(filtered)], rows[kept(filtered)])


@pytest.mark.parametrize("settings", EACH, ids=str)
def test_jit_and_vmap(settings):
  def run(x):
    return filters.apply(x, **settings)

  rows = random_rows(60)
  compiled = jax.jit(jax.vmap(run))(rows)
  np.testing.assert_allclose(compiled, run(rows), 1e-5)


@pytest.mark.parametrize("settings", EACH[::2], ids=str)
def test_gradient_of_the_log_normalizer_is_the_distribution(settings):
  """Times 1 / temperature, in rows that hold -inf; finite everywhere."""

  def total(x):
    return jax.nn.logsumexp(filters.apply(x, **settings), axis=-1).sum()

  rows = jnp.asarray(random_rows(60))
  temperature = settings.get("temperature", 1)
  probs = jax.nn.softmax(filters.apply(rows, **settings), axis=-1)
  gradient = jax.jit(jax.grad(total))(rows)
  np.testing.assert_allclose(gradient, probs / temperature, 1e-4, 1e-6)
