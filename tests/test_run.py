"""A run asked from Python: texts and arrays, likelihood and samples."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import ar_jax
from ar_jax import assemble, errors, launch, scoring, text
from ar_jax import config as configs
from ar_jax import run as runs
from ar_jax.types import Condition

ROOT = pathlib.Path(__file__).parent.parent


def _train(folder, arguments="tiny", **changes):
  overrides = {"train.steps": 4, "train.eval_every": 4, **changes}
  config = configs.load(f"configs/text_gpt.py:{arguments}", overrides.items())
  return launch.train(config, folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """(Run opened from its directory, Dataset) of a few steps."""
  folder = tmp_path_factory.mktemp("run") / "a"
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    _, dataset = _train(folder)
  return ar_jax.load(folder), dataset


@pytest.mark.slow
def test_a_long_text_is_scored_as_evaluate_scores_it(trained):
  run, dataset = trained
  written = dataset.splits["valid"].raw.decode()[: 64 + 29 * 32]
  stream = text.encode(run.media, written)
  split = dataset.splits["valid"]._replace(stream=None, raw=None)
  made = runs.data.windows(stream, 64, 32, protocol="w64/s32")
  dataset = dataset._replace(splits=dict(valid=made, train=split))
  total, _ = scoring.score_split(run, run.params, dataset)
  log_T = run.per_site(written)
  assert log_T.shape == (992,)
  assert run.log_prob(written) == pytest.approx(-total.nats, rel=1e-6)
  # The order of the sites: the second window begins to count at 64.
  rows = [run.per_site(written[i : i + 64]) for i in (0, 32)]
  np.testing.assert_allclose(log_T[:64], rows[0], rtol=1e-5)
  np.testing.assert_allclose(log_T[64:96], rows[1][32:], rtol=1e-5)


@pytest.mark.parametrize("count", [9, 65, 100, 128])
def test_a_text_is_scored_as_the_beginning_of_a_longer_one(trained, count):
  run, dataset = trained
  written = dataset.splits["valid"].raw.decode()[:200]
  long_T, short_T = run.per_site(written), run.per_site(written[:count])
  np.testing.assert_allclose(short_T, long_T[:count], rtol=1e-5)


def test_of_several_texts_each_is_summed(trained):
  run, _ = trained
  short_T = run.per_site("The names")
  assert run.log_prob(["The names", "The"]) == pytest.approx(
    [short_T.sum(), short_T[:3].sum()], rel=1e-5
  )


def test_arrays_and_texts_agree(trained):
  run, dataset = trained
  written = dataset.splits["valid"].raw.decode()[:128]
  x_NL = text.encode(run.media, written).reshape(2, 64)
  rows_NL = run.per_site(x_NL)
  assert rows_NL.shape == (2, 64)
  texts = [run.per_site(written[:64]), run.per_site(written[64:])]
  np.testing.assert_allclose(rows_NL, texts, rtol=1e-5)
  np.testing.assert_allclose(run.log_prob(x_NL[..., None]), rows_NL.sum(1))


def test_probabilities_of_the_next_token_sum_to_one(trained):
  run, _ = trained
  vocabulary = run.media["vocabulary"]
  before = run.log_prob("The ")
  after = run.log_prob([f"The {v}" for v in vocabulary])
  assert np.exp(after - before).sum() == pytest.approx(1, abs=1e-4)


def test_samples_score_as_they_were_drawn(trained):
  run, _ = trained
  drawn = run.sample(jax.random.key(1), 2, prompt=["The ", "def "], length=100)
  assert [t[:4] for t in drawn.texts[:2]] == ["The ", "The "]
  assert [len(t) for t in drawn.texts] == [104] * 4
  assert drawn.drawn_BT.sum(axis=1).tolist() == [100] * 4
  scored = run.log_prob(drawn.texts)
  np.testing.assert_allclose(
    drawn.log_prob_model_BT.sum(axis=1), scored, rtol=1e-4
  )
  again = run.sample(jax.random.key(1), 2, prompt=["The ", "def "], length=100)
  assert again.texts == drawn.texts


@pytest.mark.slow
def test_prompts_of_several_lengths_score_as_they_were_drawn(trained):
  run, dataset = trained
  written = dataset.splits["valid"].raw.decode()
  prompts = [written[:n] for n in (50, 80, 3)]
  drawn = run.sample(jax.random.key(1), prompt=prompts, length=30)
  assert [len(t) for t in drawn.texts] == [80, 110, 33]
  np.testing.assert_allclose(
    drawn.log_prob_model_BT.sum(axis=1), run.log_prob(drawn.texts), rtol=1e-5
  )
  # A row does not depend on how long its neighbor's prompt is.
  other = [prompts[0], written[:60], prompts[2]]
  again = run.sample(jax.random.key(1), prompt=other, length=30)
  assert again.texts[::2] == drawn.texts[::2]


def test_settings_of_the_sampler_are_said_on_loading(trained):
  run, _ = trained
  greedy = ar_jax.load(run.workdir, temperature=0.0)
  one, two = (greedy.sample(jax.random.key(k), length=9) for k in (0, 1))
  assert one.texts == two.texts
  assert (one.log_prob_sampler_BT == 0).all()
  with pytest.raises(errors.UsageError, match="nearest: sample.temperature"):
    ar_jax.load(run.workdir, temprature=0.0)


@pytest.mark.parametrize(
  ("ask", "message"),
  [
    (lambda r: r.log_prob("snow ☃"), "'☃' at position 5"),
    (lambda r: r.log_prob(""), "have 64 tokens, the text has 0"),
    (lambda r: r.log_prob(np.zeros((2, 63), int)), "got an array .2, 63."),
    (lambda r: r.log_prob(np.full((1, 64), 500)), "got 500..500"),
    (lambda r: r.log_prob(np.full((1, 64), -1)), "got -1..-1"),
    (lambda r: r.log_prob(np.zeros((1, 64))), "are integers; got float64"),
    (lambda r: r.log_prob(np.zeros((0, 64), int)), "at least one item"),
    (lambda r: r.log_prob([]), "at least one item"),
    (lambda r: r.log_prob("a", dict(sort=0)), "no condition 'sort'"),
    (lambda r: r.sample(jax.random.key(0), prompt=[]), "at least one prompt"),
    (
      lambda r: r.sample(jax.random.key(0), y=dict(sort=[0])),
      "no condition 'sort'",
    ),
    (lambda r: r.sample(jax.random.key(0), 0), "must be at least 1"),
    (lambda r: r.sample(jax.random.key(0), prompt="☃"), "'☃' at position 0"),
  ],
)
def test_questions_without_an_answer_are_named(trained, ask, message):
  with pytest.raises(errors.UsageError, match=message):
    ask(trained[0])


@pytest.fixture
def conditional(trained):
  """The run, as if its texts had labels, by which they differ much."""
  run, _ = trained
  spec = run.spec._replace(conditions=dict(sort=Condition("label", 3)))
  net = assemble.network(run.config, spec)
  params = jax.tree.map(lambda a: a, net.model.init(jax.random.key(0)))
  params["condition"]["sort"] = 9 * params["condition"]["sort"]
  return dataclasses.replace(run, spec=spec, net=net, params=params)


@pytest.mark.slow
def test_a_text_is_scored_under_its_condition(conditional):
  run = conditional
  written = "The names of a class, " * 4
  one, two = (run.per_site(written, dict(sort=k)) for k in (1, 2))
  assert len(one) == len(written) > 64
  # Every window has it.
  assert (abs(one - two)[:64] > 1e-3).any()
  assert (abs(one - two)[64:] > 1e-3).any()
  np.testing.assert_array_equal(run.per_site(written, dict(sort=[1])), one)
  np.testing.assert_allclose(
    run.log_prob([written] * 2, dict(sort=[2, 1])), [two.sum(), one.sum()]
  )
  x_NL = text.encode(run.media, written[:64])[None]
  np.testing.assert_allclose(
    run.per_site(x_NL, dict(sort=[1]))[0], one[:64], rtol=1e-5
  )


@pytest.mark.parametrize(
  ("value", "message"),
  [
    ([0, 1], "sort.* of 1 .* shape .1., got .2."),
    (3, "sort.* are 0..2; got 3"),
    (-1, "sort.* are 0..2; got -1"),
    (0.5, "sort.* integers; got float64"),
  ],
)
def test_wrong_conditions_are_named(conditional, value, message):
  with pytest.raises(errors.UsageError, match=message):
    conditional.log_prob("The", dict(sort=value))


def test_reports_are_written_whole_or_not_at_all(trained, monkeypatch):
  run, dataset = trained
  shutil.rmtree(run.workdir / "reports")
  scoring.score(run, dataset)
  kept = sorted(f.name for f in (run.workdir / "reports").iterdir())
  assert kept == ["evaluation.json", "items.npz", "maps.npz", "maps.png"]
  before = (run.workdir / "reports" / "evaluation.json").read_bytes()

  def full(*args, **kwargs):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(scoring.os, "replace", full)
  with pytest.raises(errors.StorageError, match="reports: No space left"):
    scoring.score(run, dataset)
  monkeypatch.undo()
  monkeypatch.setattr(runs.np, "savez", full)
  with pytest.raises(errors.StorageError, match="reports: No space left"):
    scoring.score(run, dataset)
  assert (run.workdir / "reports" / "evaluation.json").read_bytes() == before


def test_opening_a_run_changes_nothing_in_it(trained, monkeypatch):
  seen = []
  Checkpoints = runs.states.Checkpoints
  monkeypatch.setattr(
    runs.states,
    "Checkpoints",
    lambda *a, **k: seen.append(k) or Checkpoints(*a, **k),
  )
  ar_jax.load(trained[0].workdir)
  assert seen == [dict(read_only=True)]


@pytest.mark.slow
def test_another_order_needs_a_whole_window(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  run, dataset = _train(tmp_path / "run", "tiny,ordering=reverse")
  written = dataset.splits["valid"].raw.decode()[:64]
  assert run.per_site(written).shape == (64,)
  with pytest.raises(errors.UsageError, match="order reverse .* has 3"):
    run.log_prob("The")


def test_other_data_is_said_in_the_evaluation(trained, tmp_path):
  run, dataset = trained
  made, same = scoring.dataset_of(run, run.config)
  assert same is True
  assert scoring.score(run, made, same)["same_data"] is True
  config = configs.restore(configs.plain(run.config))
  configs.override(config, "data.split", "0.8/0.1")
  _, same = scoring.dataset_of(run, config)
  assert same is False
  record = run.workdir / "run.json"
  kept = record.read_text()
  record.write_text(json.dumps(dict(json.loads(kept), data={})))
  assert scoring.dataset_of(run, run.config)[1] is None
  record.write_text(kept)


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.py")))
def test_examples_run(trained, file):
  command = [sys.executable, str(file), str(trained[0].workdir)]
  done = subprocess.run(
    command, cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  assert "nats, " in done.stdout
