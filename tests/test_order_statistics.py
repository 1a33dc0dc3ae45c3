"""What orders are like: against scipy, by hand, and where it is known."""

import numpy as np
import pytest
import scipy.stats

from ar_jax import order_statistics as statistics
from ar_jax import ordering, registry


def order_of(name, shape, **section):
  made = registry.build("orderings", dict(section, name=name), shape)
  return ordering.only(made, name)


@pytest.mark.parametrize("length", [1, 2, 7, 300])
def test_kendall_tau_is_scipys(length, monkeypatch):
  monkeypatch.setattr(statistics, "_PAIRS", 1000)  # in several parts
  rng = np.random.default_rng(length)
  one, other = rng.permutation(length), rng.permutation(length)
  tau = statistics.kendall_tau(one, other)
  if length == 1:
    assert tau == 1  # where scipy says nan
  else:
    expected = scipy.stats.kendalltau(np.argsort(one), np.argsort(other))
    assert tau == pytest.approx(expected.statistic, abs=1e-12)
  assert statistics.kendall_tau(one, one) == 1
  pairs = length * (length - 1) // 2
  assert statistics.discordant(one, one[::-1]) == pairs


def test_jumps_and_neighbors_of_known_orders():
  shape = (4, 5)
  raster = np.arange(20)
  jump = statistics.jumps(raster, shape)
  assert np.sort(jump)[-3:] == pytest.approx([np.sqrt(17)] * 3)
  assert (np.sort(jump)[:-3] == 1).all()
  known = statistics.known_neighbors(raster, shape).reshape(shape)
  assert known.tolist() == [
    [0, 1, 1, 1, 1],
    [2, 4, 4, 4, 3],
    [2, 4, 4, 4, 3],
    [2, 4, 4, 4, 3],
  ]
  board = order_of("checkerboard", shape)
  white = statistics.known_neighbors(board, shape).reshape(shape)[1, 2]
  assert white >= 4  # its four neighbors at the least
  assert statistics.known_neighbors(raster, (20,), 3).max() == 3
  # Of each pair of near sites one is known to the other.
  for name in ("raster", "hilbert", "random", "spiral"):
    for radius in (1, 2):
      total = statistics.known_neighbors(order_of(name, shape), shape, radius)
      pairs = sum(
        max(abs(i // 5 - j // 5), abs(i % 5 - j % 5)) <= radius
        for i in range(20)
        for j in range(i)
      )
      assert total.sum() == pairs


def test_autocorrelation_finds_the_order_that_made_the_data():
  """AR(1) along a random order: its correlation at lag k is phi^k."""
  phi, rng = 0.8, np.random.default_rng(0)
  order_L = rng.permutation(200)
  noise_NL = rng.standard_normal((400, 200)) * np.sqrt(1 - phi**2)
  along_NL = np.empty_like(noise_NL)
  along_NL[:, 0] = noise_NL[:, 0] / np.sqrt(1 - phi**2)
  for t in range(1, 200):
    along_NL[:, t] = phi * along_NL[:, t - 1] + noise_NL[:, t]
  x_NL = np.empty_like(along_NL)
  x_NL[:, order_L] = along_NL
  lags = [0, 1, 2, 5]
  found = statistics.autocorrelation(x_NL, order_L, lags)
  assert found == pytest.approx([phi**k for k in lags], abs=0.02)
  elsewhere = statistics.autocorrelation(x_NL, np.arange(200), lags)
  assert np.abs(elsewhere[1:]).max() < 0.1  # of all pairs, 0.04 in the mean
  constant = statistics.autocorrelation(np.ones((3, 4)), np.arange(4), [1])
  assert np.isnan(constant)
