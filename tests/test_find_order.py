"""Orders that are found in data, on data whose order is known."""

import numpy as np
import pytest
import scipy.sparse.csgraph
import tiny_data

from ar_jax import config as configs
from ar_jax import data, registry
from ar_jax.baselines import chow_liu
from ar_jax.types import Dataset, DataSpec


@pytest.fixture(scope="module")
def found():
  return configs.load_module(tiny_data.ROOT / "experiments" / "find_order.py")


def _chain(order_L, size=4000):
  """Binary items that are a Markov chain along an order."""
  rng = np.random.default_rng(0)
  flip_NL = rng.random((size, len(order_L))) < 0.15
  flip_NL[:, 0] = rng.random(size) < 0.5
  x_NL = np.empty_like(flip_NL)
  x_NL[:, order_L] = np.cumsum(flip_NL, 1) % 2
  spec = DataSpec((len(order_L),), 1, 2)
  return Dataset(spec, dict(train=data.items(x_NL[..., None].astype(int))), {})


def test_chow_liu_walks_along_a_chain(found):
  order_L = np.random.default_rng(1).permutation(12)
  dataset = _chain(order_L)
  place = np.argsort(order_L)[found.find("chow_liu", dataset)]
  # Wherever it begins, what is known is one piece of the chain.
  for t in range(1, 12):
    assert np.ptp(place[: t + 1]) == t


def test_walk_is_a_maximum_spanning_tree(found):
  rng = np.random.default_rng(2)
  information_LL = rng.random((9, 9))
  information_LL = information_LL + information_LL.T
  order_L = found.walk(information_LL, 4)
  assert order_L[0] == 4
  assert sorted(order_L) == list(range(9))
  total = sum(
    information_LL[order_L[t], order_L[:t]].max() for t in range(1, 9)
  )
  tree = scipy.sparse.csgraph.minimum_spanning_tree(10 - information_LL)
  assert total == pytest.approx(8 * 10 - tree.sum())


def test_variance_and_entropy_sort_the_sites(found):
  rng = np.random.default_rng(3)
  p_L = np.array([0.5, 0.02, 0.3, 0.9])
  x_NL = (rng.random((5000, 4)) < p_L).astype(int)
  spec = DataSpec((4,), 1, 2)
  dataset = Dataset(spec, dict(train=data.items(x_NL[..., None])), {})
  for by in ("variance", "entropy"):
    assert found.find(by, dataset).tolist() == [0, 2, 3, 1]


def test_it_writes_what_from_file_reads(found, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tiny_data.ROOT)
  path = tmp_path / "order.npy"
  flags = ["--config=configs/digits_gpt.py:tiny", f"--out={path}"]
  assert found.main([*flags, "--by=chow_liu"]) == 0
  assert "64 sites by chow_liu" in capsys.readouterr().out
  section = dict(name="from_file", path=str(path))
  made = registry.build("orderings", section, (8, 8))
  first_L = made.orders_KL[0]
  assert found.main([*flags, "--by=chow_liu", "--reverse"]) == 0
  made = registry.build("orderings", section, (8, 8))
  assert (made.orders_KL[0] == first_L[::-1]).all()
  assert found.main([*flags, "--by=beauty"]) == 2
  assert "one of variance" in capsys.readouterr().err


def test_pairs_of_variables_by_hand():
  x_NL = np.array([[0, 0], [0, 0], [1, 1], [1, 1]])
  split = data.items(x_NL[..., None])
  p_MV, p_MVMV, information_MM = chow_liu.pairs(
    split, DataSpec((2,), 1, 2), alpha=1e-9
  )
  assert p_MV == pytest.approx(np.full((2, 2), 0.5))
  assert p_MVMV[0, :, 1] == pytest.approx(np.eye(2) / 2, abs=1e-8)
  assert information_MM[0, 1] == pytest.approx(np.log(2), abs=1e-6)
