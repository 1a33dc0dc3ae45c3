"""Sources of known entropy, held to enumeration, closed forms and samples."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from ar_jax import errors
from ar_jax.datasets import markov

BIT = np.log(2)
FLIP = dict(source="two_state", flip=(0.1, 0.3))
RANDOM = dict(source="random", concentration=1.0, source_seed=0)
SOURCES = [
  FLIP,
  dict(source="golden_mean"),
  dict(source="even"),
  dict(RANDOM, num_values=3, order=2),
  dict(RANDOM, num_values=2, order=3),
  dict(RANDOM, num_values=4, order=0),
]
IDS = ["two_state", "golden_mean", "even", "random3^2", "random2^3", "iid"]
RATES = dict(two_state=0.572069, golden_mean=2 / 3, even=2 / 3)  # bits
# A state and a symbol leave the next state open, so beliefs never recur.
NOT_UNIFILAR = np.array([[[0.5, 0.3], [0.0, 0.4]], [[0.0, 0.2], [0.6, 0.0]]])

each_source = pytest.mark.parametrize("options", SOURCES, ids=IDS)


@pytest.mark.parametrize(
  ("name", "pairs"),
  [
    ("two_state", [0.675, 0.075, 0.075, 0.175]),
    ("golden_mean", [1 / 3, 1 / 3, 1 / 3, 0]),
    ("even", [1 / 6, 1 / 6, 1 / 6, 1 / 2]),
  ],
)
def test_pairs_of_the_named_sources(name, pairs):
  """Probabilities of 00, 01, 10, 11, worked out by hand."""
  T = markov.transitions(name, flip=(0.1, 0.3))
  np.testing.assert_allclose(_enumerate(T, 2), pairs, atol=1e-12)


@pytest.mark.parametrize(("num_values", "order"), [(3, 2), (2, 3), (4, 0)])
def test_random_chain_is_of_its_order(num_values, order):
  """The next symbol depends on the last k symbols, on all k, on no more."""
  T = markov.transitions(**RANDOM, num_values=num_values, order=order)
  joint = _enumerate(T, order + 2).reshape([num_values] * (order + 2))
  law = joint / joint.sum(-1, keepdims=True)
  spread = [np.ptp(law, axis=site).max() for site in range(order + 1)]
  assert spread[0] < 1e-12
  assert all(s > 0.05 for s in spread[1:])


@each_source
def test_enumerated_probabilities_sum_to_one(options):
  T = markov.transitions(**options)
  for length in range(9):
    assert abs(_enumerate(T, length).sum() - 1) < 1e-12


@each_source
def test_block_entropy_equals_enumeration(options):
  _assert_equals_enumeration(markov.transitions(**options))


def test_block_entropy_of_a_source_that_is_not_unifilar():
  _assert_equals_enumeration(NOT_UNIFILAR)
  with pytest.raises(ValueError, match="unifilar"):
    markov.entropy_rate(NOT_UNIFILAR)


@pytest.mark.parametrize("name", RATES)
def test_entropy_rate_of_the_named_sources(name):
  T = markov.transitions(name, flip=(0.1, 0.3))
  assert abs(markov.entropy_rate(T) / BIT - RATES[name]) < 1e-6


@each_source
def test_entropy_per_symbol_decreases_to_the_rate(options):
  T = markov.transitions(**options)
  rate = markov.entropy_rate(T)
  lengths = np.arange(1, 65)
  blocks = np.array([markov.block_entropy(T, length) for length in lengths])
  assert (np.diff(blocks / lengths) < 1e-12).all()
  assert (blocks / lengths > rate - 1e-12).all()
  assert abs(blocks[-1] - blocks[-2] - rate) < 1e-8


def test_excess_entropy_of_the_even_process():
  """The entropy of its states, log2(3) - 2/3 bits, though of infinite order."""
  T = markov.transitions("even")
  excess = markov.block_entropy(T, 128) - 128 * markov.entropy_rate(T)
  assert abs(excess - (np.log(3) - 2 / 3 * BIT)) < 1e-9


def test_beliefs_recur():
  """Even process: no past, an odd run of 1s alone, and the two states."""
  prob, after = markov._beliefs(markov.transitions("even"), 16)
  assert prob.shape == after.shape == (4, 2)


def test_stationary_law_is_the_eigenvector():
  for options in SOURCES:
    T = markov.transitions(**options)
    np.testing.assert_allclose(markov.stationary(T), _stationary(T), atol=1e-12)


def test_golden_mean_never_repeats_a_one():
  assert not any("11" in row for row in _rows("golden_mean"))


def test_even_process_has_even_runs_between_zeros():
  rows = _rows("even")
  assert not any(re.search("0(11)*10", row) for row in rows)
  assert any("01111110" in row for row in rows)


@each_source
@pytest.mark.parametrize("start", [0, 5])
def test_three_grams_of_samples_are_exact(options, start):
  T = markov.transitions(**options)
  assert _p_value(T, T, start) > 1e-6


def test_three_grams_tell_a_flip_of_012_from_010():
  """The power of the test above, on as many samples."""
  wrong = markov.transitions("two_state", flip=(0.12, 0.3))
  assert _p_value(wrong, markov.transitions(**FLIP), 0) < 1e-6


@each_source
def test_first_symbol_is_stationary(options):
  T = markov.transitions(**options)
  x = markov.sample(T, np.random.default_rng(3), 20000, 1)
  law = _enumerate(T, 1)
  count = np.bincount(x[:, 0], minlength=len(T))
  assert stats.chisquare(count, law * len(x)).pvalue > 1e-6
  from_state_0 = T.sum(-1)[:, 0] * len(x)
  if T.shape[1] > 1:  # the power: a start in state 0 would be seen
    assert stats.chisquare(from_state_0, law * len(x)).pvalue < 1e-6


@each_source
def test_nats_of_samples_are_the_entropy(options):
  """Two-sided, at the default length, where nothing can be enumerated."""
  T = markov.transitions(**options)
  x = markov.sample(T, np.random.default_rng(4), 4000, 128)
  nats = _nats(T, x)
  error = nats.std() / np.sqrt(len(nats))
  assert abs(nats.mean() - markov.block_entropy(T, 128)) < 5 * error
  assert error < 0.01 * nats.mean()


def test_splits_differ_and_repeat_by_seed():
  def draw(**options):
    sizes = dict(length=32, train_size=9, valid_size=9)
    splits = markov.make(**sizes, **options).splits
    return splits["train"].raw, splits["valid"].raw

  train, valid = draw(seed=0)
  assert draw(seed=0) == (train, valid)
  assert len({train, valid, *draw(seed=1)}) == 4


def test_source_seed_changes_the_source_alone():
  arguments = dict(source="random", length=8, train_size=5, valid_size=5)
  a = markov.make(**arguments, source_seed=0)
  b = markov.make(**arguments, source_seed=1)
  c = markov.make(**arguments, source_seed=0, seed=1)
  assert a.media["entropy_rate"] == c.media["entropy_rate"]
  assert a.media["entropy_rate"] != b.media["entropy_rate"]
  assert a.splits["train"].raw != c.splits["train"].raw


def test_sequences_are_independent():
  """Each first symbol against the one before it and against its valid twin."""
  splits = markov.make(length=1, train_size=20000, valid_size=20000).splits
  train, valid = (np.frombuffer(splits[s].raw, bool) for s in splits)
  for other in (np.roll(train, 1), valid):
    table = np.histogram2d(train, other, 2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-6


def test_more_items_extend_the_fewer():
  few = markov.make(length=16, train_size=5, valid_size=5)
  many = markov.make(length=16, train_size=50, valid_size=5)
  raw = few.splits["train"].raw
  assert many.splits["train"].raw[: len(raw)] == raw


@pytest.mark.parametrize("section", markov.TINY, ids=lambda s: s["source"])
def test_items(section):
  dataset = markov.make(**section)
  options = dict(RANDOM, flip=(0.1, 0.3), num_values=3, order=2)
  T = markov.transitions(**options | dict(source=section["source"]))
  spec, media = dataset.spec, dataset.media
  assert (spec.shape, spec.channels, spec.num_values) == ((6,), 1, len(T))
  assert json.loads(json.dumps(media)) == media
  assert media["vocabulary"] == list("0123456789")[: len(T)]
  assert media["source"] == section["source"]
  assert media["entropy_rate"] == markov.entropy_rate(T)
  for name, split in dataset.splits.items():
    assert split.size == section[f"{name}_size"]
    assert split.units == dict(symbol=6 * split.size)
    assert split.entropy == markov.block_entropy(T, 6)
    assert split.protocol == "independent sequences of 6"
    assert split.stream is None
    indices = np.array([3, 0, 3])
    x, weight, y = split.get(indices)
    assert (x.shape, x.dtype) == ((3, 6, 1), np.int32)
    assert (weight.shape, weight.dtype) == ((3, 6), np.float32)
    assert (weight == 1).all()
    assert y == {}
    raw = np.frombuffer(split.raw, np.uint8).reshape(split.size, 6)
    assert (x[..., 0] == raw[indices]).all()


@pytest.mark.parametrize("num_values", [11, 40, 62])
def test_vocabulary_is_sorted(num_values):
  """text.encode looks characters up by bisection."""
  sizes = dict(length=4, train_size=2, valid_size=2)
  dataset = markov.make(
    source="random", num_values=num_values, order=0, **sizes
  )
  vocabulary = dataset.media["vocabulary"]
  assert len(set(vocabulary)) == dataset.spec.num_values == num_values
  assert vocabulary == sorted(vocabulary)
  assert all(len(v) == 1 and v.isalnum() for v in vocabulary)


def test_tiny_covers_the_sources():
  assert [section["source"] for section in markov.TINY] == [
    "two_state",
    "golden_mean",
    "even",
    "random",
  ]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (dict(source="evn"), "'evn'; nearest: even; there are: two_state, gold"),
    (dict(flip=(0.0, 0.3)), r"flip is \(0.0, 0.3\); allowed: two prob"),
    (dict(flip=(0.1, 1.0)), "flip is"),
    (dict(flip=(0.1, float("nan"))), "flip is"),
    (dict(flip=(0.1, 0.2, 0.3)), "flip is"),
    (dict(flip=0.1), "flip is 0.1"),
    (dict(flip=(1e-12, 1e-12)), "do not mix"),
    (dict(length=0), "length is 0; allowed: an integer >= 1"),
    (dict(length=6.0), "length is 6.0"),
    (dict(length=True), "length is True"),
    (dict(train_size=0), "train_size is 0"),
    (dict(valid_size=-1), "valid_size is -1"),
    (dict(seed=-1), "seed is -1; allowed: an integer >= 0"),
    (dict(source="random", num_values=63), "num_values is 63; .* 2 to 62"),
    (dict(source="random", num_values=1), "num_values is 1"),
    (dict(source="random", order=-1), "order is -1"),
    (dict(source="random", order=13), "order is 13; .* from 0 to 12"),
    (dict(source="random", num_values=62, order=3), "62 at order 3 is too"),
    (dict(source="random", concentration=0), "concentration is 0; .* > 0"),
    (dict(source="random", concentration="1"), "concentration is '1'"),
    (dict(source="random", concentration=float("inf")), "concentration is inf"),
    (dict(source="random", source_seed=-1), "source_seed is -1"),
  ],
  ids=str,
)
def test_errors_are_one_line(arguments, message):
  with pytest.raises(errors.UsageError, match=message) as caught:
    markov.make(**dict(length=4, train_size=2, valid_size=2) | arguments)
  assert "\n" not in str(caught.value)


def _assert_equals_enumeration(T):
  for length in range(1, 9):
    prob = _enumerate(T, length)
    prob = prob[prob > 0]
    expected = -(prob * np.log(prob)).sum()
    assert abs(markov.block_entropy(T, length) - expected) < 1e-10


def _enumerate(T, length):
  """Probability of all V**length sequences, in lexicographic order."""
  forward = _stationary(T)[None]
  for _ in range(length):
    forward = np.einsum("ns,vsz->nvz", forward, T).reshape(-1, T.shape[1])
  return forward.sum(-1)


def _stationary(T):
  values, vectors = np.linalg.eig(T.sum(0).T)
  vector = vectors[:, np.argmin(abs(values - 1))].real
  return vector / vector.sum()


def _nats(T, x):
  """-log p of each row, by the forward algorithm."""
  forward = np.tile(_stationary(T), (len(x), 1))
  nats = np.zeros(len(x))
  for symbol in x.T:
    forward = np.einsum("ns,nsz->nz", forward, T[symbol])
    nats -= np.log(forward.sum(-1))
    forward /= forward.sum(-1, keepdims=True)
  return nats


def _p_value(T_samples, T_law, start):
  """Chi-square p of one 3-gram per sequence, from site `start` on."""
  x = markov.sample(T_samples, np.random.default_rng(2), 20000, start + 3)
  num_values = len(T_law)
  gram = x[:, start:] @ num_values ** np.arange(3)[::-1]
  count = np.bincount(gram, minlength=num_values**3)
  law = _enumerate(T_law, 3)
  possible = law > 1e-12
  assert count[~possible].sum() == 0
  expected = law[possible] * len(x)
  return stats.chisquare(count[possible], expected).pvalue


def _rows(source):
  T = markov.transitions(source)
  x = markov.sample(T, np.random.default_rng(1), 500, 128)
  return ["".join(map(str, row)) for row in x]
