"""Items of different lengths: the end symbol, what is scored, what is drawn."""

import pathlib

import jax
import numpy as np
import pytest

from ar_jax import config as configs
from ar_jax import errors, launch, registry, text

ROOT = pathlib.Path(__file__).parent.parent
NAMES = ["ab", "a", "bb", "b", "aab", "aba", "abb", "ba"]


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "names.txt"
  file.write_text("\n".join(NAMES * 10) + "\n\n")
  return str(file)


def _make(path, **changes):
  section = dict(name="names", path=path, length=4, split="0.5/0.5")
  return registry.build("datasets", section | changes)


def test_items_are_the_lines_each_ended_once(path):
  made = _make(path)
  seen = []
  for split in made.splits.values():
    x_NLC, weight_NL, _ = split.get(np.arange(split.size))
    for row_L, weight_L in zip(x_NLC[..., 0], weight_NL, strict=True):
      written = text.decode(made.media, row_L)
      name, _, rest = written.partition("\n")
      assert set(rest) <= {"\n"}
      # One end symbol is scored, and nothing after it.
      assert weight_L.tolist() == [1] * (len(name) + 1) + [0] * len(rest)
      seen.append(name)
    assert split.units["byte"] == weight_NL.sum() == len(split.raw)
  assert sorted(seen) == sorted(NAMES * 10)


def test_all_sites_are_scored_where_the_fill_is(path):
  made = _make(path, fill="scored")
  _, weight_NL, _ = made.splits["valid"].get(np.arange(5))
  assert (weight_NL == 1).all()
  protocols = {m.splits["valid"].protocol for m in (made, _make(path))}
  assert len(protocols) == 2


def test_unique_keeps_the_splits_apart(path):
  made = _make(path, unique=True)
  parts = [set(s.raw.split(b"\n")) - {b""} for s in made.splits.values()]
  assert not parts[0] & parts[1]
  assert sum(map(len, parts)) == len(NAMES)


@pytest.mark.parametrize(
  ("changes", "error", "message"),
  [
    (dict(length=3), errors.DataError, "'aab' of 3 tokens .* set 4 or more"),
    (dict(level="bpe"), errors.UsageError, "char or byte, got 'bpe'"),
    (dict(fill="maybe"), errors.UsageError, "'maybe' is neither"),
    (dict(split="9K/1K"), errors.UsageError, "split by fractions"),
  ],
)
def test_wrong_arguments_are_named(path, changes, error, message):
  with pytest.raises(error, match=message):
    _make(path, **changes)


def test_an_order_that_sees_the_fill_must_score_it(path, tmp_path):
  config = configs.load(
    "configs/names_gpt.py:tiny,ordering=reverse", [("data.path", path)]
  )
  configs.override(config, "data.fill", "unscored")
  with pytest.raises(errors.UsageError, match="--config.data.fill=scored"):
    launch.train(config, tmp_path / "run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A run on the eight names, left to right."""
  folder = tmp_path_factory.mktemp("names")
  (folder / "names.txt").write_text("\n".join(NAMES * 10))
  overrides = {
    "data.path": str(folder / "names.txt"),
    "data.length": 4,
    "data.unique": False,
    "train.steps": 30,
    "train.eval_every": 30,
    "model.depth": 1,
    "model.width": 16,
  }
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    config = configs.load("configs/names_gpt.py:tiny", overrides.items())
    return launch.train(config, folder / "run")[0]


@pytest.mark.slow
def test_probabilities_of_all_texts_sum_to_one(trained):
  """Over texts that end, and those that fill the item without an end."""
  letters = [""]
  texts = []
  for _ in range(3):
    letters = [a + b for a in letters for b in "ab"]
    texts += letters
  total = np.exp(trained.log_prob(["", *texts])).sum()
  x_NLC = np.array(
    [text.encode(trained.media, t + u) for t in letters for u in "ab"]
  )
  total += np.exp(trained.log_prob(x_NLC)).sum()
  assert total == pytest.approx(1, abs=1e-6)


def test_sampling_stops_at_the_end_symbol(trained):
  drawn = trained.sample(jax.random.key(0), 200)
  for row, written in enumerate(drawn.texts):
    assert written.count("\n") <= 1
    assert written.find("\n") in (-1, len(written) - 1)
    assert drawn.drawn_BT[row].sum() == len(written)
    after = slice(len(written), None)
    assert (drawn.log_prob_model_BT[row, after] == 0).all()
  lengths = {len(t) for t in drawn.texts}
  assert len(lengths) > 2


@pytest.fixture(scope="module")
def drawn(trained):
  """(Drawn, the rows of it that end)."""
  drawn = trained.sample(jax.random.key(0), 200)
  return drawn, [i for i, t in enumerate(drawn.texts) if t.endswith("\n")]


def test_what_is_sampled_is_scored_the_same(trained, drawn):
  drawn, rows = drawn
  texts = [drawn.texts[i] for i in rows]
  wanted = drawn.log_prob_model_BT[rows].sum(1)
  # With its end symbol or without, a text is the same item.
  np.testing.assert_allclose(trained.log_prob(texts), wanted, rtol=1e-4)
  stripped = [t.rstrip("\n") for t in texts]
  np.testing.assert_allclose(trained.log_prob(stripped), wanted, rtol=1e-4)
  x_NL = drawn.x_BTC[..., 0]
  log_N = trained.log_prob(x_NL)
  np.testing.assert_allclose(log_N[rows], wanted, rtol=1e-4)
  # What the fill is does not count, as it does not in the evaluation.
  x_NL = np.where(drawn.drawn_BT, x_NL, 1)
  np.testing.assert_array_equal(trained.log_prob(x_NL), log_N)
  with pytest.raises(errors.UsageError, match="goes on after its end symbol"):
    trained.log_prob("a\nb")


def test_a_sample_is_filled_as_the_data_is(trained, drawn):
  x_BT = drawn[0].x_BTC[..., 0]
  ended_BT = np.cumsum(x_BT == trained.media["end"], 1) > 0
  assert (x_BT[ended_BT] == trained.media["end"]).all()


def test_a_prompt_is_continued(trained):
  drawn = trained.sample(jax.random.key(0), 5, prompt=["ab", "b"])
  assert all(t.startswith("ab") for t in drawn.texts[:5])
  assert all(t.startswith("b") for t in drawn.texts[5:])
  with pytest.raises(errors.UsageError, match="4 sites, the prompt has 5"):
    trained.sample(jax.random.key(0), prompt="ababa")
  with pytest.raises(errors.UsageError, match="4 sites, the prompt has 4"):
    trained.sample(jax.random.key(0), prompt="abab")
  with pytest.raises(errors.UsageError, match="already ends the item"):
    trained.sample(jax.random.key(0), prompt="ab\n")
  message = "4 tokens, the text has 5, its end symbol included"
  with pytest.raises(errors.UsageError, match=message):
    trained.log_prob("abab")


def test_files_are_split_into_lines_each_by_itself(tmp_path):
  (tmp_path / "a.txt").write_bytes(b"ab\r\na")
  (tmp_path / "b.txt").write_bytes(b"bb\nb\r\n\r\n")
  made = _make(f"{tmp_path}/*.txt")
  seen = b"".join(s.raw for s in made.splits.values()).decode()
  assert sorted(seen.split()) == ["a", "ab", "b", "bb"]
  assert made.media["vocabulary"] == ["\n", "a", "b"]
  assert made.media["source"] == "a.txt and 1 more"
  (tmp_path / "c.txt").write_bytes(b"\n\r\n\n")
  with pytest.raises(errors.DataError, match="c.txt holds empty lines only"):
    _make(f"{tmp_path}/*.txt")
