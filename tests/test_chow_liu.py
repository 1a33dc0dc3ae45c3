"""Closed-form bars of vectors: each site alone, and the best tree of sites."""

import itertools
import math

import numpy as np
import pytest

from ar_jax import data, errors
from ar_jax.baselines import chow_liu, factorised
from ar_jax.types import DataSpec, Split

BARS = [factorised, chow_liu]


def _items(x_BLC, weight_BL=None):
  x_BLC = np.asarray(x_BLC)
  if weight_BL is None:
    weight_BL = np.ones(x_BLC.shape[:2])
  return Split(len(x_BLC), lambda i: (x_BLC[i], weight_BL[i], {}))


def _related(rng, size, length, num_values):
  """Items whose sites depend on each other, each pair to another degree."""
  x_BL = rng.integers(num_values, size=(size, length))
  for site in range(1, length):
    source_B = rng.integers(site, size=size)
    keep_B = rng.random(size) < 0.9 * rng.random()
    copied_B = x_BL[np.arange(size), source_B]
    x_BL[:, site] = np.where(keep_B, copied_B, x_BL[:, site])
  return x_BL[..., None]


def _score(bar, spec, train, split, **arguments):
  (nats,) = bar.make(spec, **arguments)(train)(split).values()
  return nats


def _trees(M):
  """The edges of all labeled trees, by their Pruefer codes."""
  for code in itertools.product(range(M), repeat=M - 2):
    degree_M = 1 + np.bincount(code, minlength=M)
    edges = []
    for m in code:
      leaf = int(np.flatnonzero(degree_M == 1)[0])
      edges.append((leaf, m))
      degree_M[[leaf, m]] -= 1
    yield [*edges, tuple(np.flatnonzero(degree_M == 1).tolist())]


def _log_likelihood(x_BM, weight_B, edges):
  """Of the tree fitted to the items themselves, from counts of values."""
  total = weight_B.sum()

  def entropy(columns):
    seen = {}
    for row, weight in zip(map(tuple, x_BM[:, columns]), weight_B, strict=True):
      seen[row] = seen.get(row, 0) + weight
    p = np.array([n / total for n in seen.values() if n])
    return -np.sum(p * np.log(p))

  M = x_BM.shape[1]
  information = sum(
    entropy([a]) + entropy([b]) - entropy([a, b]) for a, b in edges
  )
  return total * (information - sum(entropy([m]) for m in range(M)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_tree_is_likelier(seed, weighted):
  rng = np.random.default_rng(seed)
  x_BLC = _related(rng, 60, 5, 3)
  weight_B = rng.choice([0, 1, 2.5], 60) if weighted else np.ones(60)
  split = _items(x_BLC, np.repeat(weight_B[:, None], 5, 1))
  found = [_log_likelihood(x_BLC[..., 0], weight_B, t) for t in _trees(5)]
  assert len(found) == 125
  spec = DataSpec((5,), num_values=3)
  nats = _score(chow_liu, spec, split, split, alpha=1e-6)
  assert -nats == pytest.approx(max(found), rel=1e-5)
  assert np.median(found) < 1.01 * max(found)  # trees do differ


@pytest.mark.parametrize("bar", BARS)
@pytest.mark.parametrize("num_values", [1, 2, 3])
def test_probabilities_sum_to_one(bar, num_values):
  rng = np.random.default_rng(0)
  x_BLC = _related(rng, 20, 4, num_values).reshape(20, 2, 2)
  spec = DataSpec((2,), channels=2, num_values=num_values)
  score = bar.make(spec, alpha=0.3)(_items(x_BLC))
  every = np.array(list(itertools.product(range(num_values), repeat=4)))
  total = 0.0
  for x_M in every:
    (nats,) = score(_items(x_M.reshape(1, 2, 2))).values()
    total += math.exp(-nats)
  assert total == pytest.approx(1, abs=1e-12)


def test_smoothing_of_a_pair_is_as_said():
  x_BLC = np.array([[0, 1], [0, 1], [2, 0]])[..., None]
  spec = DataSpec((2,), num_values=3)
  score = chow_liu.make(spec, alpha=0.6)(_items(x_BLC))
  for (a, b), count in {(0, 1): 2, (2, 0): 1, (1, 1): 0}.items():
    (nats,) = score(_items([[[a], [b]]])).values()
    wanted = (count + 0.6 / 3) / (3 + 3 * 0.6)
    assert nats == pytest.approx(-math.log(wanted), rel=1e-12)


def test_each_site_and_channel_has_its_own_table():
  x_BLC = np.array([[[0, 1], [1, 1]], [[0, 0], [1, 0]], [[1, 1], [1, 0]]])
  weight_BL = np.array([[1, 1], [1, 0], [1, 3.0]])
  spec = DataSpec((2,), channels=2, num_values=2)
  train = _items(x_BLC, weight_BL)
  nats = _score(factorised, spec, train, _items([[[0, 0], [0, 1]]]), alpha=0.5)
  # Of the first site 0 and 0 are seen 2 and 2 times of 3; of the second, whose
  # weights are 1, 0 and 3, 0 and 1 are seen 0 and 1 times of 4.
  wanted = [2.5 / 4, 1.5 / 4, 0.5 / 5, 1.5 / 5]
  assert nats == pytest.approx(-np.log(wanted).sum(), rel=1e-12)
  scored = _items([[[0, 0], [0, 1]]], np.array([[0.0, 3.0]]))
  nats = _score(factorised, spec, train, scored, alpha=0.5)
  assert nats == pytest.approx(-3 * np.log(wanted[2:]).sum(), rel=1e-12)


def test_a_tree_counts_items_by_their_weights():
  rng = np.random.default_rng(1)
  x_BLC = _related(rng, 40, 5, 2)
  spec = DataSpec((5,), num_values=2)
  valid = _items(x_BLC[:7])
  weight_BL = np.repeat(rng.integers(3, size=(40, 1)), 5, 1)
  repeated = np.repeat(x_BLC, weight_BL[:, 0], 0)
  once = _score(chow_liu, spec, _items(x_BLC, weight_BL), valid)
  assert once == pytest.approx(_score(chow_liu, spec, _items(repeated), valid))
  assert once != pytest.approx(_score(chow_liu, spec, _items(x_BLC), valid))
  twice = _items(x_BLC[:7], np.full((7, 5), 2.0))
  double = _score(chow_liu, spec, _items(x_BLC, weight_BL), twice)
  assert double == pytest.approx(2 * once, rel=1e-12)


def test_the_order_of_the_sites_does_not_matter():
  """Neither does the root, which is the first of them."""
  rng = np.random.default_rng(2)
  x_BLC = _related(rng, 80, 6, 3)
  spec = DataSpec((6,), num_values=3)
  figures = []
  for order in (np.arange(6), np.arange(6)[::-1], rng.permutation(6)):
    parts = _items(x_BLC[:60][:, order]), _items(x_BLC[60:][:, order])
    figures.append(_score(chow_liu, spec, *parts))
  assert figures == pytest.approx([figures[0]] * 3, rel=1e-12)


@pytest.mark.parametrize("bar", BARS)
def test_in_batches_equals_at_once(bar, monkeypatch):
  x_BLC = _related(np.random.default_rng(3), 30, 4, 3)
  spec = DataSpec((4,), num_values=3)
  parts = _items(x_BLC[:19]), _items(x_BLC[19:])
  at_once = _score(bar, spec, *parts)
  monkeypatch.setattr(data, "AT_ONCE", 40)
  assert _score(bar, spec, *parts) == pytest.approx(at_once, rel=1e-12)


@pytest.mark.parametrize("bar", BARS)
@pytest.mark.parametrize(
  ("spec", "alpha", "message"),
  [
    (DataSpec((4,), delta=0.1), 1, "discrete values"),
    (DataSpec((4,), num_values=2), 0, "alpha > 0, got 0"),
    (DataSpec((2**18,), num_values=2**9), 1, "262144 sites x 1 channels x 512"),
  ],
)
def test_what_has_no_table_is_refused(bar, spec, alpha, message):
  with pytest.raises(errors.UsageError, match=message):
    bar.make(spec, alpha=alpha)


@pytest.mark.parametrize("bar", BARS)
def test_a_stream_is_refused(bar):
  train = _items(np.zeros((5, 3, 1), int))._replace(stream=np.zeros(7, int))
  with pytest.raises(errors.UsageError, match="windows of a stream"):
    bar.make(DataSpec((3,), num_values=2))(train)


def test_a_tree_of_items_scored_in_part_is_refused():
  items = _items(np.zeros((5, 3, 1), int), np.array([[1, 1, 0.0]] * 5))
  with pytest.raises(errors.UsageError, match="scored in part"):
    chow_liu.make(DataSpec((3,), num_values=2))(items)
