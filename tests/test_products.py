"""Products of primes: every item is true, every pair as likely."""

import numpy as np
import pytest
import scipy.stats

from ar_jax import errors, registry, text
from ar_jax.datasets import products


def _texts(dataset, name):
  split = dataset.splits[name]
  x_NLC, weight_NL, _ = split.get(np.arange(split.size))
  assert (weight_NL == 1).all()
  return [text.decode(dataset.media, x_LC[:, 0]) for x_LC in x_NLC]


def test_primes():
  assert products.primes(0, 20).tolist() == [2, 3, 5, 7, 11, 13, 17, 19]
  assert len(products.primes(100, 1000)) == 143
  assert len(products.primes(1000, 10_000)) == 1061


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_every_item_is_a_true_product_of_two_primes(digits):
  section = dict(name="products", digits=digits, train_size=300, seed=1)
  dataset = registry.build("datasets", section)
  prime = set(products.primes(0, 10**digits).tolist())
  for item in _texts(dataset, "train"):
    assert len(item) == 4 * digits + 2
    pair, n = item.split("=")
    p, q = map(int, pair.split("*"))
    assert p in prime
    assert q in prime
    assert p < q
    assert p * q == int(n)


def test_the_entropy_is_that_of_a_uniform_pair():
  section = dict(name="products", digits=1, train_size=6000)
  dataset = registry.build("datasets", section)
  items, counts = np.unique(_texts(dataset, "train"), return_counts=True)
  assert len(items) == 6  # 2, 3, 5, 7
  assert scipy.stats.chisquare(counts).pvalue > 1e-6
  assert dataset.splits["train"].entropy == pytest.approx(np.log(6))
  three = registry.build("datasets", dict(section, digits=3))
  assert np.exp(three.splits["test"].entropy) == pytest.approx(10_153)
  assert _texts(dataset, "valid")[:50] != _texts(dataset, "test")[:50]


@pytest.mark.parametrize("wrong", [dict(digits=0), dict(train_size=0)])
def test_what_it_refuses(wrong):
  with pytest.raises(errors.UsageError, match=next(iter(wrong))):
    registry.build("datasets", dict(name="products", **wrong))
