"""Is one setting better than another? Statistics whose replicate is the seed.

A network trained again from another seed gives another score, so a gap between
two settings (two orders, say) counts only beside its spread over seeds. Scores
are `score_SN`, S seeds by N items, in any unit. Row s of two settings shares
its seed: init, order of the data, dropout; and column n its item. They are
paired: every gap is other - base, item by item.

Each interval answers a question of its own:

  paired            does the gap outlast another seed, on this test set?
  paired_bootstrap  on another test set, too? Too narrow with few seeds.
  items_interval    the test-set error of these networks; no word on settings.

A score that is not finite leaves no interval and no p: nan, with no warning.
"""

import math
from typing import NamedTuple

import numpy as np

from ar_jax import errors

POWER = 0.8
_CHUNK = 50_000  # resampled items held at once: what fits a cache


class Interval(NamedTuple):
  """A mean gap and its interval, nan where one replicate is all there is."""

  mean: float
  low: float
  high: float


class Paired(NamedTuple):
  """A gap, its t interval over seeds, and how small a gap would be found.

  mean, low, high: of other - base, in the unit of the scores.
  p: two-sided, of no gap.
  detectable: the true gap that a test at this level finds with power 0.8 if
    the spread over seeds is the observed one.
  seeds: S.
  """

  mean: float
  low: float
  high: float
  p: float
  detectable: float
  seeds: int


class Row(NamedTuple):
  """One setting against the base; `holm` is its p among all the settings."""

  paired: Paired
  holm: float
  bootstrap: Interval
  items: Interval


def summary(scores, base, level=0.95, *, key=0, draws=10_000):
  """Every setting against the base: {name: Row}, in the order of `scores`.

  The intervals are of each gap alone; what is adjusted for their number is
  `holm`.

  Args:
    scores: {name: score_SN}, of the same seeds and items.
    base: the name of the setting that the others are compared with.
    level: of the intervals.
    key: of the bootstrap; the settings are resampled alike.
    draws: of the bootstrap.
  Raises:
    UsageError: there is no such base.
    DataError: settings of other seeds or items.
  """
  if base not in scores:
    raise errors.UsageError(
      f"no setting {base!r} to compare with; there are {', '.join(scores)}"
    )
  base_SN, rows = scores[base], {}
  for name, other_SN in scores.items():
    if name == base:
      continue
    try:
      rows[name] = Row(
        paired(base_SN, other_SN, level),
        math.nan,
        paired_bootstrap(base_SN, other_SN, level, key=key, draws=draws),
        items_interval(base_SN, other_SN, level),
      )
    except errors.DataError as error:
      raise errors.DataError(f"{name} against {base}: {error}") from None
  adjusted = holm([row.paired.p for row in rows.values()])
  return {
    name: row._replace(holm=float(p))
    for (name, row), p in zip(rows.items(), adjusted, strict=True)
  }


def paired(base_SN, other_SN, level=0.95):
  """The paired t test over seeds, of the means over items: Paired.

  One seed has no spread: its interval, p and detectable are nan. No spread at
  all is an interval of width 0, and p is 0, or 1 where the gap is 0.

  `detectable` is by the noncentral t; that a test is significant with the
  wrong sign does not count as found.

  Raises:
    DataError: other seeds or items.
  """
  from scipy import special

  gap_S = _gap(base_SN, other_SN).mean(axis=1)
  interval, error, quantile = _student(gap_S, level)
  freedom = len(gap_S) - 1
  if error == 0:
    p = float(interval.mean == 0)
  else:
    p = 2 * special.stdtr(freedom, -abs(interval.mean) / error)
  # The noncentrality t' with P(t' > quantile) = POWER.
  shift = special.nctdtrinc(freedom, 1 - POWER, quantile)
  return Paired(*interval, float(p), float(shift * error), len(gap_S))


@np.errstate(invalid="ignore")
def paired_bootstrap(base_SN, other_SN, level=0.95, *, key=0, draws=10_000):
  """The percentile interval of a bootstrap over seeds and items: Interval.

  A draw takes S seeds and N items with replacement, the same items for every
  seed. Honest for the items, too narrow for few seeds: of normal gaps it is
  about z / t * sqrt((S - 1) / S) as wide as the t interval, 0.62 at S = 5,
  where 95 % cover about 84 %. Stands beside `paired`, not in its place. One
  seed: nan.

  Args:
    base_SN: scores.
    other_SN: scores of the same seeds and items.
    level: of the interval.
    key: int, of numpy's generator.
    draws: time is draws * N, a second for 10,000 * 10,000; memory is not.
  Raises:
    DataError: other seeds or items.
  """
  gap_SN = _gap(base_SN, other_SN)
  seeds, items = gap_SN.shape
  tail = _tail(level)
  if seeds == 1:
    return Interval(float(gap_SN.mean()), math.nan, math.nan)
  rng = np.random.default_rng(key)
  weight_KS = rng.multinomial(seeds, [1 / seeds] * seeds, size=draws) / seeds
  rows, means = max(1, _CHUNK // items), []
  for start in range(0, draws, rows):
    # Not `@`: threads of BLAS that wait for each other cost ten times as much.
    gap_KN = np.einsum("ks,sn->kn", weight_KS[start : start + rows], gap_SN)
    item_KN = rng.integers(items, size=gap_KN.shape)
    item_KN += items * np.arange(len(gap_KN))[:, None]
    means.append(gap_KN.ravel()[item_KN].mean(axis=1))
  low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
  return Interval(float(gap_SN.mean()), float(low), float(high))


def items_interval(base_SN, other_SN, level=0.95):
  """Test-set error of these networks: t interval over items, Interval.

  Of the seeds' mean gap on each item: how far the gap of these very networks
  may move on other items. It leaves out that other seeds give other networks,
  so it must not be read as the error of a setting. One item: nan.

  Raises:
    DataError: other seeds or items.
  """
  gap_N = _gap(base_SN, other_SN).mean(axis=0)
  return _student(gap_N, level)[0]


def half_width(value_S, level=0.95):
  """Of Student's interval of the mean along the first axis; nan of one."""
  if len(value_S) < 2:
    return np.full(np.shape(value_S)[1:], math.nan)
  from scipy import special

  error = np.std(value_S, 0, ddof=1) / math.sqrt(len(value_S))
  return special.stdtrit(len(value_S) - 1, 1 - _tail(level)) * error


def holm(p_K):
  """Holm's adjusted p values, float64 [K], in the given order.

  The chance that any true null among the K is rejected stays below the level.
  nan stays nan and does not count as a test. Source: Holm (1979), A simple
  sequentially rejective multiple test procedure.
  """
  p_K = np.asarray(p_K, np.float64)
  order = np.argsort(p_K)[: np.count_nonzero(~np.isnan(p_K))]  # nan is last
  scaled = np.arange(len(order), 0, -1) * p_K[order]
  adjusted_K = np.full_like(p_K, np.nan)
  adjusted_K[order] = np.minimum(np.maximum.accumulate(scaled), 1)
  return adjusted_K


@np.errstate(invalid="ignore")
def _gap(base_SN, other_SN):
  """Other - base, float64 [S, N]."""
  base_SN = np.asarray(base_SN, np.float64)
  other_SN = np.asarray(other_SN, np.float64)
  if base_SN.shape != other_SN.shape or base_SN.ndim != 2 or not base_SN.size:
    raise errors.DataError(
      "scores to be paired are [seeds, items] of the same seeds and items, not"
      f" {list(base_SN.shape)} and {list(other_SN.shape)}; score both settings"
      " on the same seeds and items"
    )
  return other_SN - base_SN


@np.errstate(invalid="ignore")
def _student(values, level):
  """(Interval of their mean, its standard error, Student's quantile)."""
  from scipy import special

  tail, mean, count = _tail(level), values.mean(), len(values)
  if count == 1:
    return Interval(float(mean), math.nan, math.nan), math.nan, math.nan
  error = values.std(ddof=1) / math.sqrt(count)
  quantile = special.stdtrit(count - 1, 1 - tail)
  half = quantile * error
  return (
    Interval(float(mean), float(mean - half), float(mean + half)),
    error,
    quantile,
  )


def _tail(level):
  """The probability of each tail outside of an interval."""
  if not 0 < level < 1:
    raise errors.UsageError(f"level {level} of an interval is not in (0, 1)")
  return (1 - level) / 2
