"""The statistics of a study: against scipy, by hand, and on known effects."""

import itertools
import math
import time

import numpy as np
import pytest
from scipy import stats

from ar_jax import compare, errors

STUDIES = 2000
EFFECT = 0.3


def study(rng, seeds=5, items=30, effect=EFFECT, spread=0.2, noise=0.3):
  """Scores of two settings with a known gap on these items.

  The seeds' and the items' own effects are shared and large; the gap has an
  effect of the seed, and of the item, whose mean over these items is 0.
  """
  shared_SN = 5 * rng.normal(size=(seeds, 1)) + 5 * rng.normal(size=items)
  item_N = rng.normal(size=items)
  gap_SN = effect + spread * rng.normal(size=(seeds, 1)) + item_N
  gap_SN -= item_N.mean()
  base_SN = shared_SN + noise * rng.normal(size=(seeds, items))
  other_SN = shared_SN + gap_SN + noise * rng.normal(size=(seeds, items))
  return base_SN, other_SN


def covers(interval, truth):
  return interval.low <= truth <= interval.high


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_paired_is_the_t_test_of_the_means_over_items(seeds, level):
  base_SN, other_SN = study(np.random.default_rng(seeds), seeds)
  ours = compare.paired(base_SN, other_SN, level)
  known = stats.ttest_rel(other_SN.mean(1), base_SN.mean(1))
  low, high = known.confidence_interval(level)
  np.testing.assert_allclose(
    ours[:4],
    (np.mean(other_SN) - np.mean(base_SN), low, high, known.pvalue),
    rtol=1e-9,
  )
  assert ours.seeds == seeds


@pytest.mark.parametrize("effect", [EFFECT, 0.0])
def test_t_interval_covers_the_known_effect(effect):
  """And so the p of no effect is below 5 % in 5 % of the studies."""
  rng = np.random.default_rng(1)
  results = [compare.paired(*study(rng, effect=effect)) for _ in range(STUDIES)]
  assert abs(np.mean([covers(r, effect) for r in results]) - 0.95) < 0.015
  if effect == 0:
    assert abs(np.mean([r.p < 0.05 for r in results]) - 0.05) < 0.015


def test_items_are_no_replicates():
  """The point of the file: their interval misses what another seed changes."""
  rng = np.random.default_rng(2)
  pairs = [study(rng, items=2000, effect=0) for _ in range(200)]
  over_items = [covers(compare.items_interval(*p), 0) for p in pairs]
  over_seeds = [covers(compare.paired(*p), 0) for p in pairs]
  assert np.mean(over_items) < 0.5
  assert np.mean(over_seeds) > 0.9


def test_items_interval_is_the_t_test_over_items():
  """Of the seeds' mean; it covers the networks' own gap on all items."""
  rng = np.random.default_rng(3)
  base_SN, other_SN = study(rng, items=40)
  known = stats.ttest_rel(other_SN.mean(0), base_SN.mean(0))
  low, high = known.confidence_interval(0.9)
  ours = compare.items_interval(base_SN, other_SN, 0.9)
  mean = np.mean(other_SN - base_SN)
  np.testing.assert_allclose(ours, (mean, low, high), rtol=1e-9)


@pytest.mark.parametrize("seeds", [2, 3, 5, 30])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_detectable_has_power_by_the_noncentral_t(seeds, level):
  base_SN, other_SN = study(np.random.default_rng(4), seeds)
  result = compare.paired(base_SN, other_SN, level)
  gap_S = (other_SN - base_SN).mean(1)
  shift = result.detectable / stats.sem(gap_S)
  quantile = stats.t.isf((1 - level) / 2, seeds - 1)
  found = stats.nct.sf(quantile, seeds - 1, shift)
  np.testing.assert_allclose(found, 0.8, atol=1e-5)


@pytest.mark.parametrize("seeds", [3, 5])
def test_detectable_gap_is_found_in_80_percent_of_studies(seeds):
  rng = np.random.default_rng(5)
  base_SN, other_SN = study(rng, seeds)
  result = compare.paired(base_SN, other_SN)
  ratio = result.detectable / np.std((other_SN - base_SN).mean(1), ddof=1)
  gap_RS = ratio + rng.normal(size=(STUDIES, seeds))  # of spread 1
  zero = np.zeros((seeds, 1))
  p_R = [compare.paired(zero, gap_S[:, None]).p for gap_S in gap_RS]
  assert abs(np.mean(np.array(p_R) < 0.05) - 0.8) < 0.03


def test_one_seed_says_nothing_of_other_seeds():
  base_SN, other_SN = study(np.random.default_rng(6), seeds=1)
  mean = np.mean(other_SN - base_SN)
  one = compare.paired(base_SN, other_SN)
  assert one.mean == mean and one.seeds == 1
  assert all(map(math.isnan, (one.low, one.high, one.p, one.detectable)))
  over_both = compare.paired_bootstrap(base_SN, other_SN)
  assert over_both.mean == mean
  assert math.isnan(over_both.low) and math.isnan(over_both.high)
  items = compare.items_interval(base_SN, other_SN)
  assert items.low < mean < items.high
  item = compare.items_interval(base_SN[:, :1], other_SN[:, :1])
  assert math.isnan(item.low) and math.isnan(item.high)


@pytest.mark.parametrize(("gap", "p"), [(0, 1), (0.5, 0), (-0.5, 0)])
def test_no_spread_has_no_width(gap, p):
  base_SN = np.arange(12.0).reshape(3, 4)
  other_SN = base_SN + gap
  assert compare.paired(base_SN, other_SN) == (gap, gap, gap, p, 0, 3)
  assert compare.paired_bootstrap(base_SN, other_SN, draws=50) == (gap,) * 3
  assert compare.items_interval(base_SN, other_SN) == (gap,) * 3


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_is_not_finite_is_nan_without_a_warning(bad):
  base_SN, other_SN = study(np.random.default_rng(7))
  other_SN[2, 3] = bad
  result = compare.paired(base_SN, other_SN)
  assert math.isnan(result.low) and math.isnan(result.p)
  assert math.isnan(compare.items_interval(base_SN, other_SN).low)
  assert math.isnan(compare.paired_bootstrap(base_SN, other_SN, draws=99).low)
  other_SN[1, 3] = -bad
  assert math.isnan(compare.paired(base_SN, other_SN).mean)
  assert math.isnan(compare.paired_bootstrap(base_SN, other_SN, draws=99).mean)
  base_SN[:, 3] = other_SN[:, 3]  # inf - inf
  assert math.isnan(compare.paired(base_SN, other_SN).mean)


def test_bootstrap_meets_the_enumeration():
  """All 2^2 choices of seeds times all 3^3 of items, the same for both."""
  base_SN = np.zeros((2, 3))
  other_SN = np.array([[0.0, 1.0, 10.0], [100.0, 3.0, 37.0]])
  means = [
    other_SN[np.ix_(seeds, items)].mean()
    for seeds in itertools.product(range(2), repeat=2)
    for items in itertools.product(range(3), repeat=3)
  ]
  means = np.repeat(sorted(means), 1000)  # a step is no interpolation now
  for steps in (2.5, 7.5, 20.5, 40.5):  # of 108: between two steps
    level = 1 - 2 * steps / 108
    low, high = np.quantile(means, [steps / 108, 1 - steps / 108])
    ours = compare.paired_bootstrap(base_SN, other_SN, level, draws=200_000)
    np.testing.assert_allclose(ours, (other_SN.mean(), low, high), rtol=1e-9)


@pytest.mark.parametrize(("seeds", "tolerance"), [(5, 0.03), (20, 0.02)])
def test_bootstrap_is_narrower_than_t_by_the_known_factor(seeds, tolerance):
  rng = np.random.default_rng(8)
  t = stats.t.ppf(0.975, seeds - 1)
  factor = stats.norm.ppf(0.975) / t * math.sqrt((seeds - 1) / seeds)
  base_SN, ratios = np.zeros((seeds, 1)), []
  for key in range(100):
    other_SN = rng.normal(size=(seeds, 1))
    exact = compare.paired(base_SN, other_SN)
    ours = compare.paired_bootstrap(base_SN, other_SN, key=key, draws=2000)
    ratios.append((ours.high - ours.low) / (exact.high - exact.low))
  assert abs(np.mean(ratios) - factor) < tolerance


def test_bootstrap_of_few_seeds_covers_too_seldom():
  """As its docstring says: 95 % of five seeds are about 84 %."""
  rng = np.random.default_rng(9)
  base_SN, covered = np.zeros((5, 1)), []
  for key in range(STUDIES):
    other_SN = rng.normal(size=(5, 1))
    ours = compare.paired_bootstrap(base_SN, other_SN, key=key, draws=500)
    covered.append(covers(ours, 0))
  assert abs(np.mean(covered) - 0.84) < 0.02


def test_bootstrap_without_spread_over_seeds_is_the_items_interval():
  rng = np.random.default_rng(10)
  base_SN = np.zeros((4, 1000))
  other_SN = np.tile(rng.normal(size=1000), (4, 1))
  ours = compare.paired_bootstrap(base_SN, other_SN)
  exact = compare.items_interval(base_SN, other_SN)
  np.testing.assert_allclose(ours, exact, atol=0.03 * (exact[2] - exact[1]))


def test_bootstrap_is_quick_and_repeats():
  rng = np.random.default_rng(11)
  scores = study(rng, items=10_000)
  start = time.process_time()
  compare.paired_bootstrap(*scores)
  assert time.process_time() - start < 5  # about one on a quiet machine
  one, again, other = (
    compare.paired_bootstrap(*scores, key=key, draws=99) for key in (1, 1, 2)
  )
  assert one == again != other


def step_down(p_K):
  """Holm by the words of the procedure: the level at which each is rejected."""
  adjusted, left, level = {}, dict(enumerate(p_K)), 0.0
  while left:
    k = min(left, key=left.get)
    level = max(level, len(left) * left.pop(k))
    adjusted[k] = min(level, 1.0)
  return [adjusted[k] for k in range(len(p_K))]


def test_holm_is_the_step_down():
  np.testing.assert_allclose(
    compare.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]
  )
  rng = np.random.default_rng(12)
  for count in range(1, 9):
    p_K = rng.uniform(size=count) ** 3
    p_K[rng.integers(count)] = p_K[0]  # ties
    np.testing.assert_allclose(compare.holm(p_K), step_down(p_K), rtol=1e-12)


def test_holm_is_that_of_statsmodels():
  multitest = pytest.importorskip("statsmodels.stats.multitest")
  p_K = np.random.default_rng(13).uniform(size=9) ** 3
  known = multitest.multipletests(p_K, method="holm")[1]
  np.testing.assert_allclose(compare.holm(p_K), known, rtol=1e-12)


def test_holm_leaves_nan_out():
  np.testing.assert_allclose(
    compare.holm([math.nan, 0.02, math.nan, 0.5, 0.01]),
    [math.nan, 0.04, math.nan, 0.5, 0.03],
  )
  assert np.isnan(compare.holm([math.nan])).all()
  assert compare.holm([]).shape == (0,)


def test_holm_keeps_the_rate_of_any_false_find():
  """Of 7 settings without an effect, and 1 with: 5 % of the studies at most."""
  rng = np.random.default_rng(14)
  false = [0, 0]
  for _ in range(STUDIES):
    p_K = stats.norm.sf(rng.normal(size=8) + [4, *[0] * 7])
    false[0] += min(p_K[1:]) < 0.05
    false[1] += min(compare.holm(p_K)[1:]) < 0.05
  assert false[0] / STUDIES > 0.25
  assert 0.03 < false[1] / STUDIES < 0.06


def test_summary_holds_every_setting_against_the_base():
  rng = np.random.default_rng(15)
  base_SN, near_SN = study(rng, effect=0.5)
  far_SN = base_SN + 2 + 0.1 * rng.normal(size=base_SN.shape)
  lost_SN = np.full_like(base_SN, np.nan)
  scores = dict(near=near_SN, base=base_SN, lost=lost_SN, far=far_SN)
  rows = compare.summary(scores, "base", 0.9, key=3, draws=200)
  assert list(rows) == ["near", "lost", "far"]
  adjusted = compare.holm([row.paired.p for row in rows.values()])
  np.testing.assert_array_equal([r.holm for r in rows.values()], adjusted)
  assert rows["far"].holm == 2 * rows["far"].paired.p < 1e-4
  assert math.isnan(rows["lost"].holm)
  pair = base_SN, near_SN
  assert rows["near"].paired == compare.paired(*pair, 0.9)
  assert rows["near"].items == compare.items_interval(*pair, 0.9)
  assert rows["near"].bootstrap == compare.paired_bootstrap(
    *pair, 0.9, key=3, draws=200
  )


@pytest.mark.parametrize(
  "shape", [(4, 6), (5, 7), (30,), (5, 6, 1), (0, 6), (5, 0)]
)
def test_what_is_not_paired_is_refused(shape):
  scores = dict(raster=np.zeros((5, 6)), column=np.zeros(shape))
  with pytest.raises(errors.DataError, match="column against raster") as caught:
    compare.summary(scores, "raster")
  assert str(list(shape)) in str(caught.value)
  if 0 in shape or len(shape) != 2:  # alike, and no cube of scores either
    with pytest.raises(errors.DataError, match="seeds, items"):
      compare.paired(np.zeros(shape), np.zeros(shape))


def test_wrong_names_and_levels_are_told():
  scores = dict(raster=np.zeros((5, 6)), column=np.zeros((5, 6)))
  with pytest.raises(errors.UsageError, match="'snake'.* raster, column"):
    compare.summary(scores, "snake")
  for run in (compare.paired, compare.items_interval, compare.paired_bootstrap):
    with pytest.raises(errors.UsageError, match="level 95"):
      run(*scores.values(), 95)
