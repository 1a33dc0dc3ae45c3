"""The Ising model, held to enumeration, to samples and to known figures."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from ar_jax import errors
from ar_jax.datasets import ising

BIT = math.log(2)
BETA = math.log(1 + math.sqrt(2)) / 2
EACH = pytest.mark.parametrize("beta", [BETA, -0.7, 0.0, 3.0])
SMALL = pytest.mark.parametrize(
  "shape", [(2, 2), (3, 3), (2, 4), (4, 3), (1, 5), (5, 1), (1, 1)]
)


def _enumerate(shape, beta):
  """(all items [2**L, L], log p of each, log Z), by loops over the pairs."""
  H, W = shape
  x_NL = np.array(list(itertools.product((0, 1), repeat=H * W)))
  s_NHW = 2 * x_NL.reshape(-1, H, W) - 1
  energy_N = np.zeros(len(x_NL))
  for i, j in itertools.product(range(H), range(W)):
    if i + 1 < H:
      energy_N += s_NHW[:, i, j] * s_NHW[:, i + 1, j]
    if j + 1 < W:
      energy_N += s_NHW[:, i, j] * s_NHW[:, i, j + 1]
  log_Z = np.logaddexp.reduce(beta * energy_N)
  return x_NL, beta * energy_N - log_Z, log_Z


@SMALL
@EACH
def test_all_is_that_of_the_enumeration(shape, beta):
  x_NL, log_N, log_Z = _enumerate(shape, beta)
  assert abs(ising.log_partition(shape, beta) - log_Z) < 1e-12 * log_Z
  entropy = -(np.exp(log_N) * log_N).sum()
  assert abs(ising.entropy(shape, beta) - entropy) < 1e-12
  found_N = ising.log_prob(shape, beta, x_NL)
  np.testing.assert_allclose(found_N, log_N, rtol=1e-12, atol=1e-12)
  assert abs(np.exp(found_N).sum() - 1) < 1e-12


@SMALL
@EACH
def test_conditionals_are_ratios_of_sums_over_the_future(shape, beta):
  x_NL, log_N, _ = _enumerate(shape, beta)
  # Rows count in binary: the past of step t is the first t digits.
  p_X = np.exp(log_N).reshape((2,) * x_NL.shape[1])
  expected_NL = np.empty(x_NL.shape)
  for t in range(x_NL.shape[1]):
    joint = p_X.sum(tuple(range(t + 1, p_X.ndim)))
    log_ratio = np.log(joint) - np.log(joint.sum(-1, keepdims=True))
    expected_NL[:, t] = log_ratio[tuple(x_NL[:, : t + 1].T)]
  found_NL = ising.conditionals(shape, beta, x_NL[..., None])
  np.testing.assert_allclose(found_NL, expected_NL, atol=1e-11)
  np.testing.assert_allclose(found_NL.sum(1), log_N, atol=1e-11)


@pytest.mark.parametrize(
  ("shape", "bits"),
  [((4, 4), 11.610894), ((8, 8), 40.505488), ((16, 16), 144.765372)],
)
def test_entropy_at_the_critical_point(shape, bits):
  assert abs(ising.entropy(shape, BETA) / BIT - bits) < 1e-6


def test_entropy_at_the_ends_of_beta():
  assert abs(ising.entropy((8, 8), 0.0) / BIT - 64) < 1e-9
  for beta in (10.0, -10.0):  # two ground states
    assert abs(ising.entropy((8, 8), beta) / BIT - 1) < 1e-9


def test_entropy_of_a_row_is_that_of_a_chain():
  p = 1 / (1 + math.exp(-2 * BETA))
  bond = -p * math.log(p) - (1 - p) * math.log(1 - p)
  assert abs(ising.entropy((1, 40), BETA) - BIT - 39 * bond) < 1e-10


def test_transposed_is_the_same_model():
  x_NL = ising.sample((3, 7), BETA, 50, 1)
  turned_NL = x_NL.reshape(-1, 3, 7).swapaxes(1, 2).reshape(-1, 21)
  for of in (ising.entropy, ising.log_partition):
    assert of((3, 7), BETA) == of((7, 3), BETA)
  log_N = ising.conditionals((3, 7), BETA, x_NL).sum(1)
  turned_N = ising.conditionals((7, 3), BETA, turned_NL).sum(1)
  np.testing.assert_allclose(log_N, turned_N, rtol=1e-12)
  np.testing.assert_allclose(log_N, ising.log_prob((3, 7), BETA, x_NL))


@pytest.mark.parametrize("shape", [(3, 3), (2, 4)])
def test_samples_come_as_often_as_they_should(shape):
  _, log_N, _ = _enumerate(shape, BETA)
  for beta, right in ((BETA, True), (1.05 * BETA, False)):
    assert (_p_value(shape, beta, log_N) > 1e-6) == right


def _p_value(shape, beta, log_N):
  x_NL = ising.sample(shape, beta, 100_000, (3,))
  number_N = x_NL @ 2 ** np.arange(x_NL.shape[1])[::-1]
  count_N = np.bincount(number_N, minlength=len(log_N))
  expected_N = np.exp(log_N) * len(x_NL)
  rare_N = expected_N < 5
  count_N = np.append(count_N[~rare_N], count_N[rare_N].sum())
  expected_N = np.append(expected_N[~rare_N], expected_N[rare_N].sum())
  kept = expected_N > 0
  return stats.chisquare(count_N[kept], expected_N[kept]).pvalue


@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (12, 4)])
def test_samples_cost_their_entropy(shape):
  x_NL = ising.sample(shape, BETA, 20_000, (5,))
  log_N = ising.conditionals(shape, BETA, x_NL).sum(1)
  np.testing.assert_allclose(log_N, ising.log_prob(shape, BETA, x_NL))
  error = log_N.std() / math.sqrt(len(log_N))
  assert abs(-log_N.mean() - ising.entropy(shape, BETA)) < 4 * error
  assert error < 0.005 * -log_N.mean()


def test_samples_of_the_widest_grid_cost_their_entropy():
  x_NL = ising.sample((16, 16), BETA, 4000, (6,))
  log_N = ising.log_prob((16, 16), BETA, x_NL)
  error = log_N.std() / math.sqrt(len(log_N))
  assert abs(-log_N.mean() / BIT - 144.765372) < 4 * error / BIT


@pytest.mark.parametrize("section", ising.TINY, ids=range(2))
def test_items(section):
  made = ising.make(**section)
  shape, beta = section["shape"], made.media["beta"]
  assert made.spec == (shape, 1, 2, None, {})
  expected = dict(kind="image", shape=list(shape), channels=1, num_values=2)
  assert expected.items() <= json.loads(json.dumps(made.media)).items()
  for stream, name in enumerate(("train", "valid", "test")):
    split = made.splits[name]
    size = section[f"num_{name}"]
    assert (split.size, split.units) == (
      size,
      dict(item=size, dim=size * made.spec.length),
    )
    assert split.entropy == ising.entropy(shape, beta)
    x_BLC, weight_BL, y = split.get(np.arange(size)[::-1])
    assert (x_BLC.dtype, y) == (np.int32, {})
    assert (weight_BL == np.ones((size, 6))).all()
    drawn_NL = ising.sample(shape, beta, size, (0, stream))
    assert (x_BLC[::-1, :, 0] == drawn_NL).all()
    assert split.raw == drawn_NL.tobytes()


def test_seeds_and_sizes(monkeypatch):
  def draw(**changes):
    sizes = dict(num_train=40, num_valid=40, num_test=40)
    splits = ising.make(**sizes | changes).splits.values()
    return [split.get(np.arange(40))[0] for split in splits]

  own = draw()
  monkeypatch.setattr(ising, "_ROWS", 7)
  for changes in (dict(), dict(num_train=50), dict(num_test=50)):
    np.testing.assert_equal(draw(**changes), own)
  everything = [*own, *draw(seed=1)]
  for a, b in itertools.combinations(everything, 2):
    assert (a != b).any()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (dict(shape=(17, 17)), r"need 2\*\*17 numbers at each of 289 sites"),
    (dict(shape=(8,)), r"shape is \(8,\); allowed: two integers"),
    (dict(shape=(8, 0)), r"shape is \(8, 0\)"),
    (dict(shape=8), "shape is 8"),
    (dict(shape=(16, 200)), "16 entries take 1.6 GiB; allowed: 1 GiB"),
    (dict(beta=11), "beta is 11; allowed: a number from -10 to 10"),
    (dict(beta=float("nan")), "beta is nan"),
    (dict(beta="hot"), "beta is 'hot'"),
    (dict(num_train=0), "num_train is 0; allowed: an integer >= 1"),
    (dict(num_test=2.0), "num_test is 2.0"),
    (dict(seed=-1), "seed is -1"),
  ],
  ids=str,
)
def test_errors_are_one_line(arguments, message):
  sizes = dict(num_train=2, num_valid=2, num_test=2)
  with pytest.raises(errors.UsageError, match=message) as caught:
    ising.make(**sizes | arguments)
  assert "\n" not in str(caught.value)


def test_conditionals_of_wide_rows_are_refused():
  x_NL = ising.sample((2, 17), BETA, 3, 0)
  assert np.isfinite(ising.log_prob((2, 17), BETA, x_NL)).all()
  with pytest.raises(errors.UsageError, match="allowed: rows of 16 sites"):
    ising.conditionals((2, 17), BETA, x_NL)
