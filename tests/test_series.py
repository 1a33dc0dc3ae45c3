"""Series from files: units, transforms and windows leave the nats alone."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from ar_jax import errors, registry
from ar_jax.datasets import series_file
from ar_jax.media import series

LOG, DIFFERENCE, STANDARDIZE = series.TRANSFORMS
TRANSFORMS = [
  (),
  (STANDARDIZE,),
  (DIFFERENCE, STANDARDIZE),
  (LOG,),
  (LOG, STANDARDIZE),
  series.TRANSFORMS,
]
EACH = pytest.mark.parametrize("transforms", TRANSFORMS, ids=" ".join)


@pytest.fixture
def make(tmp_path):
  """make(rows, **section): the Dataset of a file with these rows."""

  def build(rows, *, header="a", **section):
    lines = [header] if header else []
    rows = [row if isinstance(row, list) else [row] for row in rows]
    lines += [",".join(map(str, row)) for row in rows]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    section = dict(path=str(path), columns=header, delta=1.0) | section
    section = dict(name="series_file", length=8, stride=3) | section
    return registry.build("datasets", section)

  return build


@EACH
@pytest.mark.parametrize("factor", [4.0, 1000.0])
def test_units_leave_the_nats_alone(make, transforms, factor):
  """nll of a x at resolution a delta is nll of x at resolution delta."""
  value_T = _walk()
  section = dict(transforms=transforms, split="0.7/0.3")
  one = make(value_T, delta=0.5, **section)
  value_T += 0.2 * np.cos(np.arange(500))  # within the resolution
  other = make(factor * value_T, delta=factor * 0.5, **section)
  nats = _nats_of_fit(one)
  # Logs alone move by log(a), across the grid of the bins.
  tolerance = 2e-3 if transforms == (LOG,) else 1e-5
  assert abs(_nats_of_fit(other) - nats) < tolerance
  if STANDARDIZE in transforms:
    np.testing.assert_allclose(other.spec.delta, one.spec.delta, rtol=1e-9)


@EACH
def test_a_finer_resolution_costs_its_logarithm(make, transforms):
  """The values lie on both grids: only the bins are narrower."""
  value_T = _walk()
  section = dict(transforms=transforms, split="0.7/0.3")
  nats = _nats_of_fit(make(value_T, delta=0.5, **section))
  finer = _nats_of_fit(make(value_T, delta=0.05, **section))
  assert abs(finer - nats - math.log(10)) < 0.01


def test_transforms_leave_the_entropy_of_a_log_normal_alone(make):
  """Independent values: the true law, seen through log and without."""
  mean, scale, delta = 1.0, 0.4, 0.05
  law = stats.lognorm(scale, scale=math.exp(mean))
  edge_E = delta * (np.arange(1, 1000) - 0.5)
  mass = np.diff(law.cdf(edge_E))
  mass = mass[mass > 0]
  entropy = -(mass * np.log(mass)).sum()
  n_T = np.rint(law.rvs(3000, random_state=1) / delta)
  value_T = delta * n_T
  section = dict(delta=delta, length=1, stride=1)
  plain = -np.log(law.cdf(value_T + delta / 2) - law.cdf(value_T - delta / 2))
  made = make(value_T, **section, transforms=(LOG, STANDARDIZE))
  seen = stats.norm(
    (mean - made.media["mean"][0]) / made.media["scale"][0],
    scale / made.media["scale"][0],
  )
  nats = [
    _nats(split, seen.cdf, made.spec.delta) for split in made.splits.values()
  ]
  nats = np.concatenate(nats)
  error = plain.std() / math.sqrt(3000)
  assert abs(plain.mean() - entropy) < 5 * error
  assert abs(nats.mean() - plain.mean()) < 0.003
  # Each value, not the mean alone; what log_jacobian adds is far above that.
  assert (nats - plain).std() < 0.1
  assert made.splits["train"].log_jacobian(np.arange(2400)).std() > 0.3


@pytest.mark.parametrize("transforms", [(DIFFERENCE,), (LOG, DIFFERENCE)])
def test_differences_are_scored_given_the_row_before(make, transforms):
  """A geometric random walk of known steps, each step at its own level."""
  rng = np.random.default_rng(0)
  level_T = np.exp(3 + 0.3 * np.sin(np.arange(600) / 20))
  n_T = np.rint(level_T * np.exp(0.1 * rng.standard_normal(600)) / 0.02)
  made = make(0.02 * n_T, delta=0.02, length=1, stride=1, transforms=transforms)
  before_T, now_T = 0.02 * n_T[:479], 0.02 * n_T[1:480]
  law = stats.lognorm(0.2, scale=before_T)  # of the next value
  plain = -np.log(law.cdf(now_T + 0.01) - law.cdf(now_T - 0.01))

  def cdf(z):
    step = z * made.media["scale"][0] + made.media["mean"][0]
    if LOG in transforms:
      return stats.norm.cdf(step, 0, 0.2)
    return law.cdf(before_T + step)

  nats = _nats(made.splits["train"], cdf, made.spec.delta)
  assert len(nats) == 479
  assert abs(nats.mean() - plain.mean()) < 0.01
  assert (nats - plain).std() < (0.1 if LOG in transforms else 1e-3)


def test_masses_of_declared_values_sum_to_one_under_log(make):
  """A density that knows the grid of the values cannot exceed 1 in all."""
  n_T = np.repeat(np.arange(1, 61), 400)
  tail = [1] * 10  # of the valid split
  section = dict(delta=0.5, length=1, stride=1, transforms=(LOG,))
  made = make([*(n_T / 2), *tail], split=".9997/.0003", **section)
  split = made.splits["train"]
  index = np.arange(len(n_T))
  x_T = split.get(index)[0][:, 0, 0].astype(float)
  bin_T = np.rint(x_T / made.spec.delta)
  # All mass, in equal parts, on the bins of the values themselves.
  spikes = np.floor(np.log(np.arange(1, 61) / 2) / made.spec.delta + 0.5)
  spikes = np.unique(spikes)
  mass_T = np.isin(bin_T, spikes) / len(spikes)
  mass_T *= np.exp(split.log_jacobian(index)[:, 0])
  error = mass_T.std() * 60 / math.sqrt(len(n_T))
  assert abs(60 * mass_T.mean() - 1) < 5 * error
  assert error < 0.02


@EACH
def test_scaling_is_fitted_on_the_train_split_alone(make, transforms):
  value_T = 20 + np.abs(_walk())
  changed_T = value_T.copy()
  changed_T[350:] *= 3
  section = dict(delta=0.5, transforms=transforms, split="0.7/0.2/0.1")
  one, other = make(value_T, **section), make(changed_T, **section)
  assert one.media == other.media
  assert one.spec == other.spec
  index = np.arange(one.splits["train"].size)
  for array, same in zip(
    one.splits["train"].get(index)[:2],
    other.splits["train"].get(index)[:2],
    strict=True,
  ):
    np.testing.assert_array_equal(array, same)
  prints = [(m.splits["train"], m.splits["valid"]) for m in (one, other)]
  assert prints[0][0].fingerprint == prints[1][0].fingerprint
  assert prints[0][1].fingerprint != prints[1][1].fingerprint
  if STANDARDIZE in transforms:
    x_TC = one.splits["train"].get(index)[0][..., 0]
    size = one.spec.delta
    assert abs(x_TC.mean()) < size / 2 + 0.2
    assert 0.8 < x_TC.std() < 1.2


@pytest.mark.parametrize("transforms", [(), (DIFFERENCE,)], ids=" ".join)
@pytest.mark.parametrize("stride", [1, 3, 8])
def test_evaluation_scores_each_value_once_within_its_split(
  make, transforms, stride
):
  """Squares: both a value and a difference tell their row."""
  rows = np.arange(100)
  made = make(
    rows**2, transforms=transforms, split="0.5/0.3/0.2", stride=stride
  )
  skipped = len(transforms)
  ranges = dict(train=(0, 50), valid=(50, 80), test=(80, 100))
  for name, (first, end) in ranges.items():
    split = made.splits[name]
    x_NLC, weight_NL, y = split.get(np.arange(split.size))
    assert y == {}
    row_NL = x_NLC[..., 0]
    row_NL = (row_NL + 1) / 2 if transforms else np.sqrt(row_NL)
    assert (np.diff(row_NL, axis=1) == 1).all()
    assert row_NL.min() == first + skipped
    assert row_NL.max() == end - 1
    assert split.units == dict(value=end - first - skipped)
    assert split.stream is None
    if name == "train":
      assert (weight_NL == 1).all()
      assert split.size == end - first - skipped - 7
      continue
    scored = row_NL[weight_NL > 0]
    assert sorted(scored) == list(range(first + skipped, end))
    assert (weight_NL[1:, : 8 - stride] == 0).all()
    first_row = "given" if transforms else "scored"
    assert split.protocol == f"w8/s{stride}/first row {first_row}"
    assert split.log_jacobian is None


def test_columns_are_interleaved_on_one_grid(make):
  rng = np.random.default_rng(0)
  n_TC = np.stack(
    [rng.integers(-50, 50, 200), 900 + rng.integers(-20, 20, 200)], 1
  )
  value_TC = n_TC * [0.25, 2.0]
  made = make(value_TC.tolist(), header="a,b", delta=(0.25, 2.0), split=".5/.5")
  assert made.spec.shape == (8, 2)
  assert made.spec.channels == 1
  assert made.media["columns"] == ["a", "b"]
  assert json.loads(json.dumps(made.media)) == made.media
  split = made.splits["valid"]
  x_NLC, weight_NL, _ = split.get(np.arange(split.size))
  assert x_NLC.shape == (split.size, 16, 1)
  assert weight_NL.shape == (split.size, 16)
  assert weight_NL.sum() == 200 == split.units["value"]
  assert (weight_NL[:, ::2] == weight_NL[:, 1::2]).all()
  mean_C, scale_C = (np.array(made.media[n]) for n in ("mean", "scale"))
  expected = (value_TC[100:108] - mean_C) / scale_C
  np.testing.assert_allclose(x_NLC[0, :, 0], expected.ravel(), atol=1e-6)
  bins = x_NLC.astype(float) / made.spec.delta
  assert abs(bins - np.rint(bins)).max() < 1e-4
  decoded = series.decode(made.media, x_NLC[:2])
  expected = np.stack([value_TC[100:108], value_TC[103:111]])
  np.testing.assert_array_equal(decoded, expected)
  # A bin is one declared value, so nothing is to be added.
  assert np.diff(np.unique(np.rint(bins[:, 1::2]))).min() == 1
  x_NLC, _, _ = made.splits["train"].get(np.arange(93))
  spread = [x_NLC[:, c::2].std() for c in (0, 1)]
  assert abs(math.sqrt(spread[0] * spread[1]) - 1) < 0.05


@EACH
def test_decode_gives_the_file_back(make, transforms):
  value_T = 20 + np.abs(_walk())
  made = make(value_T, delta=0.5, transforms=transforms, length=40)
  x_NLC, _, _ = made.splits["train"].get(np.arange(30))
  skipped = int(DIFFERENCE in transforms)
  rows = np.arange(30)[:, None] + np.arange(40) + skipped
  start = value_T[:30, None] if skipped else None
  decoded = series.decode(made.media, x_NLC, start)[..., 0]
  if LOG not in transforms:
    np.testing.assert_array_equal(decoded, value_T[rows])
  else:
    bins = made.media["scale"][0] * made.spec.delta
    steps = np.arange(1, 41) if skipped else 1
    moved = value_T[rows] * np.expm1(steps * bins / 2 + 0.5 / 20)
    assert (abs(decoded - value_T[rows]) <= moved + 0.5).all()
    assert (decoded == value_T[rows]).mean() > (0.1 if skipped else 0.7)
  first = series.decode(made.media, x_NLC[0])
  np.testing.assert_array_equal(first[:, 0], decoded[0])  # from media start


def test_saved_files_are_read_again(make, tmp_path):
  n_TC = np.random.default_rng(1).integers(1, 80, (60, 2))
  value_TC = n_TC * [0.1, 3.0]
  section = dict(header="a,b", delta=(0.1, 3.0), length=30, split=".5/.5")
  made = make(value_TC.round(1).tolist(), **section)
  x_LC = made.splits["train"].get(np.array([0]))[0][0]
  files = series.save(made.media, x_LC, tmp_path, "sample")
  assert [file.name for file in files] == ["sample.csv", "sample.png"]
  words = files[0].read_text()
  assert words.startswith("a,b\n")
  assert "00000" not in words
  names, read_TC = series_file._read(files[0], ["a", "b"], ",")
  np.testing.assert_allclose(read_TC, value_TC[:30], rtol=1e-12)
  assert files[1].read_bytes().startswith(b"\x89PNG")
  assert files[1].stat().st_size > 5000


def test_header_numbers_and_delimiter(tmp_path):
  """The same values by name, by number, quoted, after a mark, with ';'."""
  files = dict(
    named=("t, load ,w\n" + "".join(f"x,{n},0\n" for n in range(40)), "load"),
    marked=("\ufeffload\r\n" + "".join(f"{n}\r\n" for n in range(40)), "load"),
    quoted=('"load"\n' + "".join(f'"{n}"\n' for n in range(40)), ("load",)),
    bare=("".join(f"x,{n}\n" for n in range(40)), "1"),
    whole=("".join(f"x,{n}\n" for n in range(40)), (1,)),
    other=("a;load\n" + "".join(f"0;{n}\n" for n in range(40)), "load"),
  )
  for name, (words, columns) in files.items():
    path = tmp_path / f"{name}.csv"
    path.write_bytes(words.encode())
    made = series_file.make(
      path=str(path),
      columns=columns,
      delta=1,
      length=4,
      stride=4,
      transforms=(),
      delimiter=";" if name == "other" else ",",
    )
    x_BLC = made.splits["train"].get(np.array([3]))[0]
    assert x_BLC[0, :, 0].tolist() == [3, 4, 5, 6], name
    assert made.media["source"] == f"{name}.csv"


ROWS = [10 + (7 * n) % 11 for n in range(40)]


@pytest.mark.parametrize(
  ("rows", "section", "message"),
  [
    ([*ROWS[:3], "", *ROWS], {}, "a missing value in column 'a'"),
    ([*ROWS[:3], " NaN", *ROWS], {}, "line 5: 'NaN' in column 'a' is no fin"),
    ([*ROWS[:3], "inf", *ROWS], {}, "line 5: 'inf'"),
    ([*ROWS, "1.5x"], {}, "line 42: '1.5x' .* fill it in, or cut the file"),
    ([[1, 2], [3]], dict(header="a,b"), "line 3: 1 cells, column 1"),
    ([], {}, "rows.csv has no rows"),
    ([*ROWS, 0], dict(transforms=(LOG,)), "0 in column 'a', data row 41"),
    ([*ROWS, 0.4], dict(transforms=(LOG,)), "0.4 .* positive multiple .* log"),
    ([5] * 40, {}, "'a' does not vary in the train split"),
    ([5] * 60, dict(transforms=series.TRANSFORMS), "'a' does not vary"),
    (ROWS, dict(delta=1e-9), "over 4194304"),
    (ROWS, dict(length=9), "8 rows of the valid split .* fewer than 9"),
    (ROWS, dict(transforms=(DIFFERENCE,)), "8 rows of the valid split .* 9"),
  ],
  ids=str,
)
def test_data_that_cannot_be_used(make, rows, section, message):
  with pytest.raises(errors.DataError, match=message) as caught:
    make(rows, **section)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    (dict(columns="aa"), "rows.csv has 0 columns named 'aa'; nearest: a; line"),
    (dict(columns="a,a"), "columns 'a,a'; allowed: different names"),
    (dict(columns=""), "columns ''"),
    (dict(delta=0), "delta is 0; allowed: the resolution"),
    (dict(delta=(1.0, 2.0)), "one or 1 of them"),
    (dict(delta="x"), "delta is 'x'"),
    (dict(stride=9), "stride 9 must be in 1..8"),
    (dict(stride=0), "stride 0 must be"),
    (dict(split="30B/10B"), "rows are split by fractions"),
    (dict(transforms=("sqrt",)), "allowed: any of log, difference, stand"),
    (dict(transforms=(STANDARDIZE, LOG)), "each once and in this order"),
    (dict(path=""), "config.data.path"),
  ],
  ids=str,
)
def test_arguments_that_are_wrong(make, section, message):
  with pytest.raises(errors.UsageError, match=message) as caught:
    make(ROWS, **section)
  assert "\n" not in str(caught.value)


def test_the_resolution_has_no_default():
  section = dict(name="series_file", path=__file__, columns="a")
  with pytest.raises(errors.UsageError, match="needs 'delta'"):
    registry.build("datasets", section)


def _walk():
  """500 positive multiples of 0.5 about 100, an AR(1) in them."""
  noise_T = np.random.default_rng(0).standard_normal(500)
  value_T = np.zeros(500)
  for t in range(1, 500):
    value_T[t] = 0.9 * value_T[t - 1] + 8 * noise_T[t]
  return np.rint(2 * (100 + value_T)) / 2


def _nats_of_fit(made):
  """Mean nats of the valid split under an AR(1) fitted to the train split."""
  train, valid = made.splits["train"], made.splits["valid"]
  x_NL = train.get(np.arange(train.size))[0][..., 0].astype(float)
  slope, offset = np.polyfit(x_NL[:, :-1].ravel(), x_NL[:, 1:].ravel(), 1)
  residual = x_NL[:, 1:] - slope * x_NL[:, :-1] - offset
  first = stats.norm(x_NL.mean(), x_NL.std())
  index = np.arange(valid.size)
  x_NLC, weight_NL, _ = valid.get(index)
  x_NL, half = x_NLC[..., 0].astype(float), made.spec.delta / 2
  mean_NL = slope * x_NL[:, :-1] + offset
  low, high = (
    np.c_[
      first.cdf(x_NL[:, 0] + side),
      stats.norm.cdf(x_NL[:, 1:] + side, mean_NL, residual.std()),
    ]
    for side in (-half, half)
  )
  log_NL = np.log(high - low)
  if valid.log_jacobian:
    log_NL += valid.log_jacobian(index)
  return -(log_NL * weight_NL).sum() / weight_NL.sum()


def _nats(split, cdf, delta):
  """Nats of windows of one row; cdf of the values of the model."""
  index = np.arange(split.size)
  z = split.get(index)[0][:, 0, 0].astype(float)
  log = np.log(cdf(z + delta / 2) - cdf(z - delta / 2))
  if split.log_jacobian:
    log = log + split.log_jacobian(index)[:, 0]
  return -log
