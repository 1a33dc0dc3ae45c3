"""What a user can get wrong: one line that says what, where and why, a code.

A row is a command line; nothing of it leaves a run behind, or harms one.
"""

import json
import os
import re
import shutil
import time

import numpy as np
import pytest
import tiny_run
from damage import flip

import ar_jax
from ar_jax import __main__ as program
from ar_jax import commit, launch

MARKOV = "--config=configs/markov_gpt.py:tiny"
TEXT = "--config=configs/text_gpt.py:data=text_file,tiny"
TOKENS = "--config=configs/text_gpt.py:data=token_files,tiny"
ARRAYS = "--config=configs/bmnist_made.py:tiny"


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(tiny_run.ROOT)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A run of 4 updates with its states 2 and 4."""
  folder = tmp_path_factory.mktemp("made") / "run"
  changes = {"train.steps": 4, "train.eval_every": 2, "train.save_every": 2}
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(tiny_run.ROOT)
    launch.train(tiny_run.config(**changes), folder)
  return folder


@pytest.fixture
def run(made, tmp_path):
  """A copy of it, to be harmed."""
  return shutil.copytree(made, tmp_path / "run")


@pytest.fixture
def refused(capsys, tmp_path):
  """(argv, code, pattern): the command says so in one line, and is gone."""

  def check(argv, code, pattern):
    assert program.main([str(a) for a in argv]) == code
    told = capsys.readouterr().err
    assert told.startswith("ar_jax: error: ")
    assert told.count("\n") == 1
    assert re.search(pattern, told), told
    assert not (tmp_path / "new").exists()

  return check


def _train(tmp_path, *flags):
  return ["train", f"--workdir={tmp_path / 'new'}", *flags]


def _sample(run, *flags):
  return ["sample", f"--workdir={run}", "--num=1", *flags]


def _state_file(run, step):
  files = (run / "checkpoints" / str(step)).rglob("*")
  return max((f for f in files if f.is_file()), key=lambda f: f.stat().st_size)


def test_g1_a_flipped_bit(run, refused, capsys):
  file = _state_file(run, 4)
  flip(file)
  wanted = rf"step 4: {file} has sha256 \w{{64}}, was committed with \w{{64}}"
  refused(_sample(run, "--checkpoint=4"), 3, wanted)
  assert ar_jax.load(run).step == 2
  told = capsys.readouterr().err
  assert told.startswith("ar_jax: warning: checkpoint of step 4")
  assert "passed over for the one before" in told


@pytest.mark.parametrize(
  "damage", [lambda f: os.truncate(f, 10), lambda f: f.unlink()]
)
def test_g2_a_truncated_or_missing_file(run, refused, damage):
  file = _state_file(run, 4)
  damage(file)
  refused(_sample(run, "--checkpoint=4"), 3, f"step 4: {file} ")
  assert ar_jax.load(run).step == 2


def test_g2_nothing_that_was_finished(run, refused):
  shutil.rmtree(run / "checkpoints" / "2")
  (run / "checkpoints" / "4").rename(run / "checkpoints" / "4.part")
  refused(_sample(run), 3, r"no checkpoint that is whole: `ar_jax train`")


def test_g3_another_model(run, refused):
  refused(
    ["train", f"--workdir={run}", "--config.model.width=32"],
    2,
    "model.width is 16 there, 32 here",
  )
  values = json.loads((run / "config.json").read_text())
  values["model"]["width"] = 32
  (run / "config.json").write_text(json.dumps(values))
  refused(
    _sample(run), 3, r"fit the config: \S+ is float32\[.*wanted float32\["
  )


def test_g4_another_dtype(run, refused):
  import jax

  with jax.enable_x64(True):
    refused(_sample(run), 3, r"\S+ is float32\[.*\], wanted float64\[")


def test_g5_a_truncated_token_file(tmp_path, refused, capsys):
  text = tmp_path / "a.txt"
  text.write_text("".join(f"fox {i} jumps\n" for i in range(200)))
  out = tmp_path / "tokens"
  argv = ["data", "tokenize", str(text), f"--out={out}", "--split=0.9/0.1"]
  assert program.main(argv) == 0
  file = max(out.glob("train*"), key=lambda f: f.stat().st_size)
  size = file.stat().st_size
  os.truncate(file, size - 1)
  capsys.readouterr()
  flags = TOKENS, f"--config.data.path={out}"
  refused(_train(tmp_path, *flags), 3, rf"{file.name}.* {size - 1:,} bytes")


def test_g6_a_missing_file(tmp_path, refused):
  flags = TEXT, "--config.data.path=READM.md"
  wanted = r"config.data.path: no file .*READM.md; nearest: README.md"
  refused(_train(tmp_path, *flags), 3, wanted)


@pytest.mark.parametrize(
  ("flag", "pattern"),
  [
    ("optimizer.lrr=1", "no key 'optimizer.lrr'; nearest: optimizer.lr"),
    ("train.steps=1.5", "config.train.steps takes int, got 1.5"),
    ("optimizer.lr=fast", "config.optimizer.lr takes float, got 'fast'"),
    ("model.name=gpd", "no .*'gpd'; nearest: gpt"),
  ],
)
def test_g7_a_mistyped_key_or_value(tmp_path, refused, flag, pattern):
  refused(_train(tmp_path, MARKOV, f"--config.{flag}"), 2, pattern)


def test_g7_a_run_of_an_earlier_version(run, refused):
  values = json.loads((run / "config.json").read_text())
  del values["train"]["keep_every"]
  (run / "config.json").write_text(json.dumps(values))
  told = "config.train.keep_every is missing: .* earlier version"
  refused(["train", f"--workdir={run}"], 2, told)


@pytest.mark.parametrize("value", [2, -1])
def test_g8_a_value_out_of_range(tmp_path, refused, value):
  x = np.zeros((20, 784), np.int16)
  x[7, 5] = value
  np.save(tmp_path / "x.npy", x)
  flags = ARRAYS, f"--config.data.path={tmp_path / 'x.npy'}"
  wanted = rf"x.npy.* {value} at row 7, site .* is no integer of 0\.\.1"
  refused(_train(tmp_path, *flags), 3, wanted)


@pytest.mark.parametrize(
  ("content", "pattern"),
  [
    ("", "a.txt is empty"),
    ("short", "4 tokens is shorter than a window of 64"),
  ],
)
def test_g9_an_empty_or_short_text(tmp_path, refused, content, pattern):
  file = tmp_path / "a.txt"
  file.write_text(content)
  flags = TEXT, f"--config.data.path={file}"
  refused(_train(tmp_path, *flags), 3, pattern)


def test_g10_numbers_that_are_none_in_the_data(tmp_path, refused):
  file = tmp_path / "a.csv"
  rows = [f"{n},{n / 7}" for n in range(400)]
  rows[200] = "200,nan"
  file.write_text("\n".join(["time,load", *rows]))
  flags = (
    "--config=configs/series_wavenet.py:tiny",
    "--config.data.columns=load",
  )
  flags += (f"--config.data.path={file}",)
  refused(_train(tmp_path, *flags), 3, "line 202.* 'load' is no finite number")


def test_g10_a_loss_that_is_none(tmp_path, capsys):
  """The states before it stay, and none is of it."""
  flags = "--config.optimizer.lr=1e38", "--config.optimizer.warmup=0"
  flags += "--config.train.save_every=1", "--config.evaluate.baselines="
  assert program.main(_train(tmp_path, MARKOV, *flags)) == 4
  told = capsys.readouterr().err
  assert re.search(r"step \d, examples \d+ to \d+: .*nan.* first in", told)
  kept = tmp_path / "new" / "checkpoints"
  step = int(re.search(r"step (\d)", told)[1])
  assert all(int(p.name) < step for p in kept.iterdir())
  record = json.loads((tmp_path / "new" / "run.json").read_text())
  assert record["runtime"]["exit"].startswith("NumericalError: step")


def test_g11_a_disk_that_is_full_at_the_start(tmp_path, refused, monkeypatch):
  usage = shutil.disk_usage(tmp_path)
  full = usage._replace(free=1000)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
  argv = [f"--workdir={tmp_path / 'full'}", MARKOV]
  wanted = "two states of this run need .*, the disk has 1 kB free"
  refused(["train", *argv], 5, wanted)


def test_g11_a_disk_that_fills_up(run, tmp_path, capsys, monkeypatch):
  """The state before stays, and the run goes on from it."""
  shutil.rmtree(run / "checkpoints" / "4")
  original = commit.commit

  def full(folder, about):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(commit, "commit", full)
  monkeypatch.setattr(ar_jax.run.states, "_RETRY_SECONDS", 0.0)
  assert program.main(["train", f"--workdir={run}"]) == 5
  told = capsys.readouterr().err
  assert re.search(r"step 4 .* the disk is full: it needs .* are free", told)
  assert [p.name for p in (run / "checkpoints").iterdir()] == ["2"]
  monkeypatch.setattr(commit, "commit", original)
  assert program.main(["train", f"--workdir={run}"]) == 0
  assert ar_jax.load(run).step == 4


def test_g12_other_data_seed_or_batch(run, refused):
  for key, before, after in (
    ("seed", 0, 5),
    ("data.seed", 0, 5),
    ("train.batch_size", 6, 12),
  ):
    argv = ["train", f"--workdir={run}", f"--config.{key}={after}"]
    refused(argv, 2, f"{key} is {before} there, {after} here")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc here")
def test_g13_a_directory_that_takes_no_files(refused):
  refused(["train", "--workdir=/proc/run", MARKOV], 5, "cannot write /proc/run")


@pytest.mark.parametrize(
  ("prompt", "pattern"),
  [
    ("01" * 9, "8 sites, the prompt has 18"),
    ("01x", "character 'x' at position 2"),
  ],
)
def test_g14_a_prompt_that_does_not_fit(run, refused, prompt, pattern):
  refused(_sample(run, f"--prompt={prompt}"), 2, pattern)


def test_g15_images_of_another_size(tmp_path, refused):
  np.save(tmp_path / "x.npy", np.zeros((20, 28, 27), np.uint8))
  flags = ARRAYS, f"--config.data.path={tmp_path / 'x.npy'}"
  refused(_train(tmp_path, *flags), 2, r"shape \(28, 28\) .*x.npy .*\(28, 27\)")


def test_g15_a_wave_of_another_rate(tmp_path, refused):
  file = tiny_run.ROOT / "ar_jax/datasets/tiny_audio/pluck.wav"
  flags = "--config=configs/wav_wavenet.py:tiny", "--config.data.rate=16000"
  flags += (f"--config.data.path={file}",)
  refused(_train(tmp_path, *flags), 3, r"pluck.wav has 8,000 .*rate is 16,000")


def test_g16_a_directory_of_another_run(run, refused):
  argv = ["train", f"--workdir={run}", TEXT, "--config.data.path=README.md"]
  refused(argv, 2, "holds a run of another config")


def test_g17_a_batch_that_the_devices_do_not_divide(tmp_path, refused):
  flags = MARKOV, "--config.train.batch_size=9", "--config.train.accumulate=2"
  refused(
    _train(tmp_path, *flags), 2, "batch_size 9 must divide by .*accumulate 2"
  )


def test_g17_data_of_another_length(run, refused):
  argv = ["evaluate", f"--workdir={run}", "--config.data.length=32"]
  refused(argv, 3, r"2 values in shape \(32,\).* 2 in shape \(8,\)")


def test_g18_a_clock_that_went_backwards(run, monkeypatch):
  """The last state is that of the most updates, whatever the clock says."""
  for age, step in enumerate((4, 2)):
    folder = run / "checkpoints" / str(step)
    now = time.time() - 9000 * (2 - age)
    monkeypatch.setattr(commit.time, "time", lambda now=now: now)
    commit.amend(folder, commit.about(folder))
    for path in (folder, *folder.rglob("*")):
      os.utime(path, (now, now))
  assert ar_jax.load(run).step == 4
