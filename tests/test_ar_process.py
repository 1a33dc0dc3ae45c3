"""Processes of known entropy, held to enumeration, Gaussians and samples."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy import linalg, stats

from ar_jax import errors
from ar_jax.datasets import ar_process
from ar_jax.media import audio

BIT = math.log(2)
SMALL = dict(noise=0.3, num_values=4)
ONE, TWO, THREE = (0.9,), (0.7, -0.4), (0.2, -0.6, 0.5)
FOUR = ar_process.classes()
EACH = pytest.mark.parametrize("coefficients", [ONE, TWO, THREE], ids=len)
# Bits a sample: rate and marginal of 256 levels.
RATES = {
  (0.9, 0.05): (6.113547, 7.3120),
  (0.99, 0.02): (4.513097, 7.3444),
  (0.5, 0.2): (7.178697, 7.3862),
}
# Four classes, 64 steps, as measured by others on 8,000 items.
MEASURED = dict(
  conditional=(1.4399, math.sqrt(0.5 / 64 / 8000)),
  marginal=(1.4593, math.sqrt(0.5 / 64 / 8000)),
  accuracy=(0.9417, math.sqrt(0.9417 * 0.0583 / 8000)),
)


@pytest.mark.parametrize("numbers", RATES)
def test_entropy_of_the_known_chains(numbers):
  coefficient, noise = numbers
  rate, marginal = RATES[numbers]
  process = ar_process.mu_law((coefficient,), noise)
  assert abs(ar_process.entropy_rate(process) / BIT - rate) < 1e-6
  assert abs(ar_process.block_entropy(process, 1) / BIT - marginal) < 5e-5


def test_transitions_are_gaussian_masses_of_the_bins_about_levels():
  """Against rounding by the codec itself, of a fine grid of the noise."""
  process = ar_process.mu_law((0.8,), 0.1, 16)
  P_VV = ar_process.transitions(process)
  grid = (np.arange(200_000) + 0.5) / 200_000
  for v in (0, 7, 12):
    mean = 0.8 * float(audio.mu_law_decode(v, 16))
    ids = audio.mu_law_encode(stats.norm.ppf(grid, mean, 0.1), 16)
    share = np.bincount(ids, minlength=16) / len(grid)
    np.testing.assert_allclose(P_VV[v], share, atol=2e-5)
  np.testing.assert_allclose(P_VV.sum(1), 1, atol=1e-12)
  law_V = ar_process.stationary(process)
  np.testing.assert_allclose(law_V @ P_VV, law_V, atol=1e-14)


@EACH
def test_probabilities_of_all_sequences_sum_to_one(coefficients):
  for length in (1, 2, 4):
    prob_N, _ = _enumerate(coefficients, length)
    assert abs(prob_N.sum() - 1) < 1e-12


def test_block_entropy_is_that_of_all_sequences():
  for length in (1, 2, 4):
    prob_N, _ = _enumerate(ONE, length)
    entropy = -(prob_N * np.log(prob_N)).sum()
    process = ar_process.mu_law(ONE, **SMALL)
    assert abs(ar_process.block_entropy(process, length) - entropy) < 1e-12


def test_monte_carlo_entropy_is_that_of_all_sequences():
  prob_N, _ = _enumerate(TWO, 4)
  entropy = -(prob_N * np.log(prob_N)).sum()
  sizes = dict(length=4, train_size=2, valid_size=2)
  made = ar_process.make(coefficients=TWO, **SMALL, **sizes)
  error = made.media["entropy_standard_error"]
  assert abs(made.media["entropy"] - entropy) < 5 * error
  assert error < 0.002 * entropy
  assert made.splits["train"].entropy is None
  assert "entropy_rate" not in made.media


def test_first_steps_of_two_coefficients_follow_silence():
  """Lag 1 has the first coefficient; what was before the start is 0."""
  process = ar_process.mu_law(TWO, 0.3, 8)
  x_1LC = np.array([5, 2, 6])[None, :, None]
  wave = audio.mu_law_decode(x_1LC[0, :, 0], 8)
  means = [0, 0.7 * wave[0], 0.7 * wave[1] - 0.4 * wave[0]]
  edge = np.r_[-np.inf, audio.mu_law_edges(8), np.inf]
  nats_L = ar_process.conditionals(process, x_1LC)[0]
  for mean, x, nats in zip(means, x_1LC[0, :, 0], nats_L, strict=True):
    low, high = stats.norm.cdf(edge[x : x + 2], mean, 0.3)
    assert abs(nats + math.log(high - low)) < 1e-9


@EACH
def test_sequences_come_as_often_as_they_should(coefficients):
  prob_N, process = _enumerate(coefficients, 4)
  x_NL = ar_process.sample(process, 40_000, 4, (3,))
  number_N = x_NL @ 4 ** np.arange(4)[::-1]
  expected_N = prob_N * len(x_NL)
  count_N = np.bincount(number_N, minlength=len(prob_N))
  rare_N = expected_N < 5
  count_N = np.append(count_N[~rare_N], count_N[rare_N].sum())
  expected_N = np.append(expected_N[~rare_N], expected_N[rare_N].sum())
  assert stats.chisquare(count_N, expected_N).pvalue > 1e-6


def test_mass_in_the_tails_is_not_rounded_to_zero():
  low = np.array([-40.0, 39.0, -np.inf, 40.0, -1e-9])
  high = np.array([-39.0, 40.0, -40.0, np.inf, 1e-9])
  log_mass = ar_process._log_mass(low, high)
  tail = stats.norm.logsf(39) + math.log1p(
    -math.exp(stats.norm.logsf(40) - stats.norm.logsf(39))
  )
  middle = math.log(2e-9) + stats.norm.logpdf(0)
  expected = [tail, tail, *[stats.norm.logsf(40)] * 2, middle]
  np.testing.assert_allclose(log_mass, expected, rtol=1e-7)


def test_classes_are_stationary_gaussians():
  """Densities of whole items, from the autocovariance by its definition."""
  x_NL = ar_process.sample(FOUR, 5, 12, (0,))
  for label in range(4):
    covariance = _covariance(label, 12)
    normal = stats.multivariate_normal(np.zeros(12), covariance)
    expected = -normal.logpdf(x_NL) - 12 * math.log(0.01)
    label_B = np.full(5, label)
    nats_BL = ar_process.conditionals(FOUR, x_NL[..., None], label_B)
    np.testing.assert_allclose(nats_BL.sum(1), expected, rtol=1e-9)


@pytest.mark.parametrize("length", [1, 2, 12])
def test_entropy_of_classes_is_the_log_determinant(length):
  entropies = [
    0.5 * np.linalg.slogdet(2 * math.pi * math.e * _covariance(k, length))[1]
    for k in range(4)
  ]
  expected = np.mean(entropies) - length * math.log(0.01)
  entropy = ar_process.block_entropy(FOUR, length)
  assert abs(entropy - expected) < 1e-9
  if length >= 2:
    more = ar_process.block_entropy(FOUR, length + 1)
    assert abs(more - entropy - ar_process.entropy_rate(FOUR)) < 1e-9


def test_samples_of_classes_cost_their_entropy():
  """Two-sided, at every step, so the first ones are stationary too."""
  x_NLC = ar_process.sample(FOUR, 8000, 8, (5,))[..., None]
  label_N = ar_process.labels(FOUR, 8000, (5,))
  assert stats.chisquare(np.bincount(label_N)).pvalue > 1e-6
  nats_NL = ar_process.conditionals(FOUR, x_NLC, label_N)
  entropy_L = [ar_process.block_entropy(FOUR, n) for n in range(9)]
  error_L = nats_NL.std(0) / math.sqrt(8000)
  assert (abs(nats_NL.mean(0) - np.diff(entropy_L)) < 5 * error_L).all()


@pytest.mark.parametrize("coefficients", [(0.9,), (1.6, -0.81)], ids=len)
def test_samples_of_levels_cost_their_entropy(coefficients):
  sizes = dict(length=24, train_size=1, valid_size=4000)
  made = ar_process.make(coefficients=coefficients, **sizes)
  valid = made.splits["valid"]
  x_NLC, _, _ = valid.get(np.arange(4000))
  nats_N = ar_process.conditionals(made.media["process"], x_NLC).sum(1)
  entropy = valid.entropy or made.media["entropy"]
  error = nats_N.std() / math.sqrt(4000)
  error = math.hypot(error, made.media.get("entropy_standard_error", 0))
  assert abs(nats_N.mean() - entropy) < 5 * error
  assert error < 0.002 * entropy


def test_bounds_of_the_four_classes():
  bounds = ar_process.bounds(FOUR, 64, 8000)
  for name, (value, error) in MEASURED.items():
    found = bounds[name] + (math.log(0.01) if name != "accuracy" else 0)
    own = bounds.get(f"{name}_standard_error", 0)
    assert abs(found - value) < 4 * math.hypot(error, own), name
  error = bounds["information_standard_error"]
  assert abs(bounds["information"] - 1.240) < 4 * math.sqrt(2) * error
  assert bounds["information"] < math.log(4)
  gap = bounds["marginal"] - bounds["conditional"]
  assert abs(bounds["information"] - 64 * gap) < 1e-9


def test_nats_without_a_label_are_those_of_the_mixture():
  x_NLC = ar_process.sample(FOUR, 6, 20, (1,))[..., None]
  nats_KN = [
    ar_process.conditionals(FOUR, x_NLC, np.full(6, k)).sum(1) for k in range(4)
  ]
  prob_KN = np.exp(-np.array(nats_KN) + nats_KN[0]) / 4
  mixture_N = nats_KN[0] - np.log(prob_KN.sum(0))
  nats_NL = ar_process.conditionals(FOUR, x_NLC)
  np.testing.assert_allclose(nats_NL.sum(1), mixture_N, rtol=1e-12)
  first_N = ar_process.conditionals(FOUR, x_NLC[:, :1])[:, 0]
  np.testing.assert_allclose(nats_NL[:, 0], first_N, rtol=1e-12)
  posterior_NK = ar_process.posterior(FOUR, x_NLC)
  np.testing.assert_allclose(posterior_NK, (prob_KN / prob_KN.sum(0)).T)


@pytest.mark.parametrize("section", ar_process.TINY, ids=range(3))
def test_items(section):
  made = ar_process.make(**section)
  spec, media = made.spec, made.media
  assert json.loads(json.dumps(media)) == media
  raw = {}
  for name, split in made.splits.items():
    assert split.size == section[f"{name}_size"]
    assert split.units == dict(sample=6 * split.size)
    assert split.protocol == "independent sequences of 6"
    index = np.array([3, 0, 3])
    x_BLC, weight_BL, y = split.get(index)
    assert x_BLC.shape == (3, 6, 1)
    assert (weight_BL == np.ones((3, 6))).all()
    raw[name] = split.get(np.arange(5))[0].tobytes()
    if len(media["process"].get("coefficients", [0])) == 1:
      rate = ar_process.entropy_rate(media["process"])
      assert media["entropy_rate"] == rate
      entropy = ar_process.block_entropy(media["process"], 6)
      assert split.entropy == entropy
    if media["kind"] == "audio":
      assert (x_BLC.dtype, y) == (np.int32, {})
      assert media["levels"] == spec.num_values
      row_NL = np.frombuffer(split.raw, np.uint8).reshape(-1, 6)
      assert (x_BLC[..., 0] == row_NL[index]).all()
      continue
    assert (x_BLC.dtype, spec.num_values) == (np.float32, None)
    n_BLC = x_BLC.astype(float) / spec.delta
    assert abs(n_BLC - np.rint(n_BLC)).max() < 1e-4
    assert spec.delta == media["delta"][0] == media["process"]["delta"]
    assert spec.conditions["label"] == ("label", 4, ())
    assert (y["label"].shape, y["label"].dtype) == ((3,), np.int32)
  assert raw["train"] != raw["valid"]


@pytest.mark.parametrize("kind", ["mu_law", "classes"])
def test_seeds_and_sizes(kind):
  def draw(**changes):
    sizes = dict(kind=kind, length=9, train_size=40, valid_size=40)
    splits = ar_process.make(**sizes | changes).splits.values()
    found = [split.get(np.arange(40))[::2] for split in splits]
    return [[x, *y.values()] for x, y in found]

  train, valid = draw()
  for changes in (dict(), dict(train_size=50), dict(valid_size=50)):
    again = draw(**changes)
    np.testing.assert_equal(again, [train, valid])
  for other in (valid, *draw(seed=1)):
    assert len(other) == (2 if kind == "classes" else 1)
    for array, own in zip(other, train, strict=True):
      assert (array != own).any()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (dict(kind="mulaw"), "kind is 'mulaw'; allowed: mu_law, classes"),
    (dict(length=0), "length is 0; allowed: an integer >= 1"),
    (dict(train_size=2.0), "train_size is 2.0"),
    (dict(seed=True), "seed is True"),
    (dict(coefficients=()), r"coefficients is \(\); allowed: 1 numbers"),
    (dict(coefficients=(0.5, 9)), r"coefficients\[1\] is 9; .* from -4 to 4"),
    (dict(noise=0), "noise is 0"),
    (dict(noise=float("nan")), "noise is nan"),
    (dict(noise=1e-6), "do not mix"),
    (dict(num_values=1025), "num_values is 1025; .* from 2 to 1024"),
    (dict(kind="classes", radius=1.0), "radius is 1.0"),
    (dict(kind="classes", angles=(0.2,)), "angles is .*: 2 numbers or more"),
    (dict(kind="classes", angles=(0.2, "a")), r"angles\[1\] is 'a'"),
    (dict(kind="classes", delta=0), "delta is 0; allowed: a number from 1e-05"),
  ],
  ids=str,
)
def test_errors_are_one_line(arguments, message):
  sizes = dict(length=4, train_size=2, valid_size=2)
  with pytest.raises(errors.UsageError, match=message) as caught:
    ar_process.make(**sizes | arguments)
  assert "\n" not in str(caught.value)


def _enumerate(coefficients, length):
  """(probability of all 4**length sequences, the process)."""
  process = ar_process.mu_law(coefficients, **SMALL)
  x_NL = np.array(list(itertools.product(range(4), repeat=length)))
  nats_NL = ar_process.conditionals(process, x_NL[..., None])
  return np.exp(-nats_NL.sum(1)), process


def _covariance(label, length):
  """Autocovariance of 1 / (1 - a z - b z^2), by its impulse response."""
  angle = math.pi * FOUR["angles"][label]
  n = np.arange(400)
  response = 0.9**n * np.sin((n + 1) * angle) / math.sin(angle)
  row = [response[: 400 - k] @ response[k:] for k in range(length)]
  return linalg.toeplitz(row)
