"""Sources of known entropy: the exact log-probability of their own items."""

import math

import numpy as np
import pytest

from ar_jax import registry
from ar_jax.datasets import markov

MANY = dict(train_size=8, valid_size=8192)
SOURCES = [
  dict(name="markov", source="even", length=12, **MANY),
  dict(name="markov", source="random", num_values=3, length=5, **MANY),
  dict(name="ising", shape=(3, 4), num_train=8, num_valid=8192, num_test=8192),
  dict(name="products", digits=1, test_size=8, **MANY),
  dict(name="ar_process", length=7, num_values=16, **MANY),
  dict(name="ar_process", kind="classes", length=7, **MANY),
]


@pytest.mark.parametrize("section", SOURCES, ids=lambda s: s["name"])
def test_the_mean_of_exact_nats_is_the_entropy(section):
  split = registry.build("datasets", section).splits["valid"]
  nats_N = split.exact(np.arange(split.size))
  error = nats_N.std() / math.sqrt(split.size)
  assert abs(nats_N.mean() - split.entropy) <= 4 * error + 1e-9
  chosen = np.array([7, 0, 7])
  np.testing.assert_allclose(split.exact(chosen), nats_N[chosen], rtol=1e-12)


def test_exact_nats_of_a_process_without_an_entropy():
  section = dict(name="ar_process", coefficients=(1.6, -0.81), length=9)
  made = registry.build("datasets", dict(section, **MANY))
  split = made.splits["valid"]
  assert split.entropy is None
  nats_N = split.exact(np.arange(split.size))
  spread = nats_N.std() / math.sqrt(split.size)
  error = math.hypot(spread, made.media["entropy_standard_error"])
  assert abs(nats_N.mean() - made.media["entropy"]) < 4 * error


@pytest.mark.parametrize("source", ["two_state", "golden_mean", "even"])
def test_probabilities_of_all_sequences_sum_to_one(source):
  T = markov.transitions(source, flip=(0.1, 0.3))
  x_NL = np.indices((2,) * 9).reshape(9, -1).T
  log_N = markov.log_prob(T, x_NL)
  assert abs(np.exp(log_N).sum() - 1) < 1e-12
  assert np.isneginf(log_N).any() == (source != "two_state")
