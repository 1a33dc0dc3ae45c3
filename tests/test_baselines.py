"""The classical bars: exact where they can be enumerated or counted by hand."""

import bisect
import collections
import io
import math

import numpy as np
import pytest
from PIL import Image

from ar_jax import data, errors, registry
from ar_jax.baselines import compressors, marginal, ngram, png
from ar_jax.types import DataSpec, Split

ORDERS = (1, 2, 3, 4, 5, 6)


def _rows(x_BL, weight_BL=None):
  """The rows of x as items."""
  x_BL = np.asarray(x_BL)
  weight_BL = np.ones(x_BL.shape) if weight_BL is None else weight_BL
  weight_BL = np.asarray(weight_BL)
  return Split(len(x_BL), lambda i: (x_BL[i][..., None], weight_BL[i], {}))


def _windows(stream, length, stride, skip=0):
  """A stream in windows: each token is scored once, all but the first skip."""
  last = len(stream) - length
  starts = [*range(0, last, stride), last]
  at_BL = np.asarray(starts)[:, None] + np.arange(length)
  scored = np.maximum.accumulate([skip, *at_BL[:-1, -1] + 1])
  rows = _rows(stream[at_BL], np.float32(at_BL >= scored[:, None]))
  return rows._replace(stream=stream)


def _fit_on(stream):
  """A training stream: its windows are many, and nothing may read them."""
  return Split(len(stream), None, stream=np.asarray(stream))


def _witten_bell(split, num_values, context, value):
  """p(value | context) by the definition, from dictionaries of counts."""
  x_BLC, weight_BL, _ = split.get(np.arange(split.size))
  k, count = len(context), collections.Counter()
  for x_L, weight_L in zip(x_BLC[..., 0].tolist(), weight_BL, strict=True):
    for i in range(k, len(x_L)):
      if tuple(x_L[i - k : i]) == context and weight_L[i] > 0:
        count[x_L[i]] += weight_L[i]
  lower = 1 / num_values
  if context:
    lower = _witten_bell(split, num_values, context[1:], value)
  if not count:
    return lower
  distinct = len(count)
  return (count[value] + distinct * lower) / (count.total() + distinct)


def _nats(train, num_values, split, order):
  """The bar of one order by the definition, contexts cut at the items."""
  x_BLC, weight_BL, _ = split.get(np.arange(split.size))
  nats = 0.0
  for x_L, weight_L in zip(x_BLC[..., 0].tolist(), weight_BL, strict=True):
    for i in np.flatnonzero(weight_L):
      context = tuple(x_L[max(0, i - order + 1) : i])
      p = _witten_bell(train, num_values, context, x_L[i])
      nats -= float(weight_L[i]) * math.log(p)
  return nats


def _conditional(score, context, num_values):
  """{name: p_V}: the distribution after one context, through `score` alone."""
  weight_1L = np.eye(1, len(context) + 1, len(context))
  bars = [score(_rows([[*context, v]], weight_1L)) for v in range(num_values)]
  return {name: np.exp([-bar[name] for bar in bars]) for name in bars[0]}


# The contract of the folder.


@pytest.mark.parametrize("name", registry.names("baselines"))
def test_bars_are_finite_python_floats(name):
  for arguments in registry.load("baselines", name).TINY:
    spec = arguments["spec"]
    rng = np.random.default_rng(0)
    shape = (6, spec.length, spec.channels)
    draw = rng.normal(size=shape)
    if spec.num_values is not None:
      draw = rng.integers(spec.num_values, size=shape)
    weight_BL = np.ones(shape[:2], np.float32)
    raw = draw.tobytes()
    split = Split(6, lambda i: (draw[i], weight_BL[i], {}), raw=raw)
    section = {"name": name, **arguments}
    fit = registry.build("baselines", section, section.pop("spec"))
    bars = fit(split)(split)
    assert bars
    for bar in bars.values():
      assert type(bar) is float
      assert math.isfinite(bar)


# n-gram.


def test_ngram_sums_to_one_after_any_context():
  stream = np.random.default_rng(1).integers(3, size=40)  # 3 is never seen.
  train = _fit_on(stream)
  score = ngram.make(DataSpec((8,), num_values=4), orders=ORDERS)(train)
  seen, ends, unseen = stream[7:12], stream[-5:], (3, 3, 3, 0, 3)
  for context in (seen, ends, unseen, (3, *seen[1:]), (0, 3, *seen[2:]), ()):
    for name, p_V in _conditional(score, context, 4).items():
      assert p_V.min() > 0, (name, context)
      assert abs(p_V.sum() - 1) < 1e-12, (name, context)


@pytest.mark.parametrize("num_values", [2, 5, 50_000, 10**9])
def test_ngram_of_a_stream_equals_the_definition(num_values):
  rng = np.random.default_rng(num_values)
  symbols = rng.integers(num_values, size=6)
  train, valid = rng.choice(symbols, size=(2, 50))
  spec = DataSpec((7,), num_values=num_values)
  bars = ngram.make(spec, orders=ORDERS)(_fit_on(train))(_windows(valid, 7, 7))
  for n in ORDERS:
    nats = _nats(_rows([train]), num_values, _rows([valid]), n)
    assert bars[f"{n}-gram"] == pytest.approx(nats, rel=1e-12)


def test_ngram_window_sees_its_own_tokens_only():
  train, valid = np.random.default_rng(2).integers(3, size=(2, 60))
  windows = _windows(valid, 5, 3)
  spec = DataSpec((5,), num_values=3)
  bars = ngram.make(spec, orders=ORDERS)(_fit_on(train))(windows)
  for n in ORDERS:
    nats = _nats(_rows([train]), 3, windows, n)
    assert bars[f"{n}-gram, window"] == pytest.approx(nats, rel=1e-12)
  assert bars["6-gram, window"] != bars["6-gram"]
  assert bars["6-gram, window"] == bars["5-gram, window"]


def test_ngram_of_items_never_crosses_them_and_counts_by_weight():
  rng = np.random.default_rng(3)
  train, valid = (
    _rows(rng.integers(3, size=(9, 6)), rng.choice([0, 1, 2.5], (9, 6)))
    for _ in range(2)
  )
  spec = DataSpec((2, 3), num_values=3)
  bars = ngram.make(spec, orders=ORDERS)(train)(valid)
  assert list(bars) == [f"{n}-gram" for n in ORDERS]
  for n in ORDERS:
    nats = _nats(train, 3, valid, n)
    assert bars[f"{n}-gram"] == pytest.approx(nats, rel=1e-12)


def test_ngram_context_may_be_longer_than_the_items():
  spec = DataSpec((1,), num_values=2)
  bars = ngram.make(spec, orders=(1, 4))(_rows([[0], [0]]))(_rows([[1]]))
  assert bars["4-gram"] == bars["1-gram"] == pytest.approx(math.log(6))


def test_ngram_in_batches_equals_at_once(monkeypatch):
  train, valid = np.random.default_rng(4).integers(3, size=(2, 60))
  fit = ngram.make(DataSpec((6,), num_values=3))
  at_once = fit(_fit_on(train))(_windows(valid, 6, 4))
  monkeypatch.setattr(ngram, "_SITES_AT_ONCE", 12)
  batches = fit(_fit_on(train))(_windows(valid, 6, 4))
  assert batches == pytest.approx(at_once, rel=1e-12)


def test_ngram_scores_what_the_split_scores():
  train, valid = np.random.default_rng(5).integers(3, size=(2, 40))
  score = ngram.make(DataSpec((6,), num_values=3), orders=(1, 3))(
    _fit_on(train)
  )
  whole, rest = (score(_windows(valid, 6, 6, skip)) for skip in (0, 1))
  first = -math.log(_witten_bell(_rows([train]), 3, (), int(valid[0])))
  for name in whole:
    assert whole[name] - rest[name] == pytest.approx(first, rel=1e-12)
  with pytest.raises(errors.UsageError, match="weight 38 for 40 tokens"):
    score(_windows(valid, 6, 6, skip=2))
  overlapping = _rows(np.stack([valid, valid]))._replace(stream=valid)
  with pytest.raises(errors.UsageError, match="weight 80 for 40 tokens"):
    score(overlapping)


def test_ngram_reaches_the_entropy_rate_of_a_markov_source():
  rng = np.random.default_rng(6)
  p_VVV = rng.dirichlet(np.full(3, 0.7), size=(3, 3))
  pair_VV = np.full((3, 3), 1 / 9)
  for _ in range(1000):
    pair_VV = np.einsum("ab,abc->bc", pair_VV, p_VVV)
  entropy = -np.sum(pair_VV[..., None] * p_VVV * np.log(p_VVV))

  stream, edges = [0, 0], np.cumsum(p_VVV, axis=-1)[..., :-1].tolist()
  for u in rng.random(300_000).tolist():
    stream.append(bisect.bisect(edges[stream[-2]][stream[-1]], u))
  train, valid = np.split(np.asarray(stream), [200_000])
  spec = DataSpec((50,), num_values=3)
  bars = ngram.make(spec, orders=(2, 3, 4))(_fit_on(train))(
    _windows(valid, 50, 50)
  )
  per_token = {name: nats / len(valid) for name, nats in bars.items()}
  assert per_token["2-gram"] > entropy + 0.02
  assert abs(per_token["3-gram"] - entropy) < 0.005
  assert per_token["3-gram"] < per_token["4-gram"] < per_token["3-gram"] + 1e-3
  assert per_token["3-gram"] < per_token["3-gram, window"]


@pytest.mark.parametrize(
  ("spec", "orders", "message"),
  [
    (DataSpec((4,), delta=0.1), (2,), "discrete values"),
    (DataSpec((4,), channels=3, num_values=2), (2,), "one channel.* got 3"),
    (DataSpec((4,), num_values=2), (2, 0), "orders from 1 up"),
    (DataSpec((4,), num_values=2), (), "orders from 1 up"),
  ],
)
def test_ngram_says_what_it_takes(spec, orders, message):
  with pytest.raises(errors.UsageError, match=message):
    ngram.make(spec, orders=orders)


# Marginal.


def test_marginal_of_a_stream_equals_hand_counts():
  train = _fit_on([0, 0, 1, 0, 0, 0])
  valid = _windows(np.array([0, 1, 2, 2]), 2, 2)
  bar = marginal.make(DataSpec((3,), num_values=3))(train)(valid)
  expected = -math.log((6 / 9) * (2 / 9) * (1 / 9) * (1 / 9))
  assert bar == {"unigram": pytest.approx(expected, rel=1e-12)}


def test_marginal_counts_all_channels_by_weight():
  x_BLC = np.array([[[0, 1], [1, 1]], [[0, 0], [1, 0]]])
  weight_BL = np.array([[1.0, 0.0], [0.5, 2.0]])
  split = Split(2, lambda i: (x_BLC[i], weight_BL[i], {}))
  bar = marginal.make(DataSpec((2,), channels=2, num_values=2))(split)(split)
  zeros, ones = 1 + 0.5 * 2 + 2, 1 + 2
  nats = zeros * math.log(9 / (zeros + 1)) + ones * math.log(9 / (ones + 1))
  assert bar == {"unigram": pytest.approx(nats, rel=1e-12)}


def test_marginal_in_batches_equals_at_once(monkeypatch):
  rows = _rows(np.random.default_rng(7).integers(4, size=(10, 5)))
  fit = marginal.make(DataSpec((5,), num_values=4))
  at_once = fit(rows)(rows)
  monkeypatch.setattr(data, "AT_ONCE", 15)
  assert fit(rows)(rows) == pytest.approx(at_once, rel=1e-12)


def test_marginal_says_what_it_takes():
  with pytest.raises(errors.UsageError, match="discrete values"):
    marginal.make(DataSpec((4,), delta=0.1))


# PNG.


@pytest.mark.parametrize(("V", "channels"), [(2, 1), (17, 1), (256, 3)])
def test_png_is_the_size_of_a_file_that_reads_back(V, channels, monkeypatch):
  """Of all items once, in one file, whatever fits memory at once."""
  x_NLC = np.random.default_rng(0).integers(V, size=(9, 12, channels))
  spec = DataSpec((3, 4), channels, V)
  files = []
  encode = png._encode

  def kept(pixels, num_values):
    files.append(encode(pixels, num_values))
    return files[-1]

  monkeypatch.setattr(png, "_encode", kept)
  score = png.make(spec)(None)
  figure = score(data.items(x_NLC))
  monkeypatch.setattr(data, "AT_ONCE", 40)
  assert score(data.items(x_NLC)) == figure
  assert figure == {"png": pytest.approx(8 * math.log(2) * len(files[0]))}
  with Image.open(io.BytesIO(files[0])) as opened:
    pixels = np.asarray(opened).astype(int)
  np.testing.assert_array_equal(pixels.reshape(x_NLC.shape), x_NLC)


@pytest.mark.parametrize(
  "spec",
  [DataSpec((6,), 1, 2), DataSpec((2, 3), 2, 2), DataSpec((2, 3), 1, 300)],
)
def test_png_says_what_it_takes(spec):
  with pytest.raises(errors.UsageError, match="png takes images of up to 256"):
    png.make(spec)


# Compressors.


def _raw(raw):
  return Split(0, lambda i: None, raw=raw)


def _nats_per_byte(train, raw):
  bars = compressors.make(DataSpec((4,), num_values=256))(_raw(train))(
    _raw(raw)
  )
  assert set(bars) == {"bzip2", "xz"}
  return {name: nats / len(raw) for name, nats in bars.items()}


def test_compressors_have_seen_the_training_bytes():
  raw = np.random.default_rng(8).bytes(20_000)
  repeat = _nats_per_byte(raw, raw)
  assert 0 < repeat["xz"] < 0.02 * math.log(256)
  # bzip2 sorts its block, and still has to say where equal bytes come in pairs.
  assert 0 < repeat["bzip2"] < 0.3 * math.log(256)


def test_compressors_pay_random_bytes_in_full():
  rng = np.random.default_rng(9)
  train, raw = rng.bytes(40_000), rng.bytes(40_000)
  for nats in _nats_per_byte(train, raw).values():
    assert nats == pytest.approx(math.log(256), rel=0.01)


def test_compressors_without_bytes_have_no_bar():
  make = compressors.make(DataSpec((4,), num_values=256))
  assert make(_raw(None))(_raw(b"abc")) == {}
  assert make(_raw(b"abc"))(_raw(None)) == {}
