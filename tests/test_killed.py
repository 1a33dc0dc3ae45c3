"""kill -9 at any moment: the next start needs no help, and ends the same."""

import json
import subprocess
import sys
import time

import kill_at
import numpy as np
import pytest
import tiny_run

pytestmark = pytest.mark.slow

STEPS = 60
FLAGS = tiny_run.OVERRIDES | {
  "train.steps": STEPS,
  "train.save_every": 2,
  "train.eval_every": 7,
  "train.keep": 2,
  "train.keep_every": 20,
}
FLAGS = [f"--config.{k}={v}" for k, v in FLAGS.items()]
FIRST = [f"--config={tiny_run.CONFIG}", *FLAGS]


def _argv(folder):
  more = [] if (folder / "config.json").exists() else FIRST
  return ["train", f"--workdir={folder}", *more]


def _run(command, folder, **options):
  return subprocess.Popen(
    [sys.executable, *command, *_argv(folder)],
    cwd=tiny_run.ROOT,
    stdout=subprocess.DEVNULL,
    **options,
  )


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
  """(hashes, metrics) of the run that nobody kills."""
  folder = tmp_path_factory.mktemp("calm") / "run"
  assert _run(["-m", "ar_jax"], folder).wait() == 0
  return tiny_run.hashes(folder), tiny_run.metrics(folder)


def _ends_as(calm, folder):
  process = _run(["-m", "ar_jax"], folder, stderr=subprocess.PIPE, text=True)
  _, told = process.communicate()
  assert process.returncode == 0, told
  assert (tiny_run.hashes(folder), tiny_run.metrics(folder)) == calm
  names = [p.name for p in (folder / "checkpoints").iterdir()]
  assert sorted(map(int, names)) == list(calm[0])
  steps = [(r["step"], r["kind"]) for r in tiny_run.metrics(folder)]
  assert len(set(steps)) == len(steps)
  return json.loads((folder / "run.json").read_text())["runtime"]


# Each moment where nothing, and where much is there already.
@pytest.mark.parametrize(
  ("moment", "count"),
  [(moment, count) for moment in kill_at.MOMENTS for count in (1, 9)],
)
def test_killed_at_a_moment(calm, tmp_path, moment, count):
  folder = tmp_path / "run"
  process = _run([kill_at.__file__, moment, str(count)], folder)
  assert process.wait() == -9
  runtime = _ends_as(calm, folder)
  assert runtime["exit"] == "done"


def test_killed_at_twenty_random_moments(calm, tmp_path):
  """Again and again, until twenty kills are behind it."""
  rng = np.random.default_rng(0)
  folder, kills = tmp_path / "run", 0
  while kills < 20:
    process = _run(["-m", "ar_jax"], folder)
    # Half of them anywhere, also before training; half soon after a state.
    if kills % 2:
      time.sleep(rng.uniform(0, 6))
    else:
      _wait_for_a_state(process, folder)
      time.sleep(rng.uniform(0, 0.2))
    process.kill()
    kills += process.wait() == -9
    if process.returncode == 0:
      folder = tmp_path / f"run{kills}"  # it has ended: another one
  _ends_as(calm, folder)


def _wait_for_a_state(process, folder):
  """Returns when a state is there that was not."""
  kept = folder / "checkpoints"

  def found():
    return {p.name for p in kept.iterdir()} if kept.is_dir() else set()

  before = found()
  while process.poll() is None and not found() - before:
    time.sleep(0.002)
