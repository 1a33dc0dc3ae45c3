"""A run with labels and sound, as a user meets it: sample, classify, report."""

import json

import numpy as np
import pytest
import tiny_data

from ar_jax import __main__ as program
from ar_jax import config as configs
from ar_jax import errors, inputs, launch, page
from ar_jax import run as runs
from ar_jax.types import Condition, DataSpec


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A tiny WaveNet on tones, after two updates."""
  folder = tmp_path_factory.mktemp("tones")
  path = "configs/tones_wavenet.py:tiny"
  overrides = [("train.steps", 2), ("train.eval_every", 2)]
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(tiny_data.ROOT)
    config = configs.load(path, overrides)
  launch.train(config, folder / "run")
  return folder / "run"


@pytest.mark.slow
def test_samples_are_files_of_their_label(workdir, tmp_path, capsys):
  out = tmp_path / "out"
  argv = ["sample", f"--workdir={workdir}", "--num=3", f"--out={out}"]
  assert program.main([*argv, "--y", "label=pluck,5"]) == 0
  names = sorted(p.name for p in out.iterdir())
  assert names == [f"sample_{i}.{s}" for i in range(3) for s in ("png", "wav")]
  assert str(out / "sample_2.wav") in capsys.readouterr().out
  given, none, other = (
    runs.load(workdir).sample(_key(), 3, y=y)
    for y in (dict(label=np.array([0, 5, 0])), None, dict(label=[1, 5, 0]))
  )
  assert (given.x_BTC[1:] == other.x_BTC[1:]).all()
  assert (given.log_prob_model_BT[0] != other.log_prob_model_BT[0]).any()
  assert (given.log_prob_model_BT != none.log_prob_model_BT).any()


def _key():
  import jax

  return jax.random.key(0)


@pytest.mark.parametrize(
  ("words", "match"),
  [
    ("label=drum", "'drum' is no number or one of pluck, a, e"),
    ("label=6", "labels of 'label' are 0..5; got 6..6"),
    ("voice=1", "no label 'voice'; there are: label"),
  ],
)
def test_wrong_labels_are_named(workdir, capsys, words, match):
  argv = ["sample", f"--workdir={workdir}", "--y", words]
  assert program.main(argv) == 2
  assert match in capsys.readouterr().err


def test_labels_take_turns():
  conditions = dict(kind=Condition("label", 3), tone=Condition("aligned", 2))
  spec = DataSpec((4,), 1, 3, None, conditions)
  found = inputs.labels(spec, {}, ["kind=2,0"], 5)
  assert found["kind"].tolist() == [2, 0, 2, 0, 2]
  with pytest.raises(errors.UsageError, match="there are: kind"):
    inputs.labels(spec, {}, ["tone=1"], 5)


def test_a_prompt_needs_text(workdir, capsys):
  argv = ["sample", f"--workdir={workdir}", "--prompt=la"]
  assert program.main(argv) == 2
  assert "no text" in capsys.readouterr().err


def test_classify_writes_and_prints(workdir, capsys):
  assert program.main(["classify", f"--workdir={workdir}"]) == 0
  said = capsys.readouterr().out
  assert "accuracy" in said and "pluck" in said
  path = workdir / "reports" / "classification.json"
  result = json.loads(path.read_text())
  assert result["items"] == 8 and result["step"] == 2
  assert 0 <= result["accuracy"] <= 1
  assert np.sum(result["confusion"]) == 8
  gap = result["marginal_nats"] - result["conditional_nats"]
  assert gap == pytest.approx(result["information"])
  argv = ["classify", f"--workdir={workdir}", "--config.train.steps=3"]
  assert program.main(argv) == 2
  assert "classify takes data.*" in capsys.readouterr().err


def test_report_shows_and_plays_samples(workdir):
  path, _ = page.write(workdir, num=1)
  text = path.read_text()
  assert 'src="data:image/png;base64,' in text
  assert 'src="data:audio/wav;base64,' in text
  assert page.write(workdir, num=1)[0].read_text() == text
