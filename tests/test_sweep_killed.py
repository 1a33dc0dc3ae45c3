"""Runs by workers that are killed at random: none lost, none twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import tiny_data
import tiny_run
from test_sweep import write

from ar_jax import claims as claiming
from ar_jax import sweep, writer

pytestmark = pytest.mark.slow

RUNS, WORKERS, KILLS = 50, 4, 16
STEPS = 12
LONG = {"train.steps": 200, "train.eval_every": 200}


def _start(study, folder, *flags):
  argv = [sys.executable, "-m", "ar_jax", "sweep", study]
  argv += [f"--workdir={folder}", *flags]
  return subprocess.Popen(
    argv,
    cwd=tiny_data.ROOT,
    env=dict(os.environ, NPROC="1"),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,  # for Ctrl-C, which goes to all of a terminal
  )


def _running(folder):
  """Workers that have a cell which may be tried again."""
  claims = claiming.Claims(folder)
  states = [claims.state(cell.id) for cell in sweep.load(folder)]
  running = [s for s in states if s.name == "running" and s.said]
  return [s.said["pid"] for s in running if s.attempts <= claiming.RETRIES]


def _states(folder):
  claims = claiming.Claims(folder)
  return [claims.state(cell.id) for cell in sweep.load(folder)]


def _training(folder):
  """Cells that have done 20 updates and are at work."""
  if not (folder / "sweep.json").exists():
    return []
  states = [s for s in _states(folder) if s.name == "running"]
  return [s for s in states if s.said.get("step", 0) >= 20]


def _last(folder, n):
  """The last state that a run has kept."""
  workdir = sweep.workdir(folder, sweep.load(folder)[n])
  return max(tiny_run.hashes(workdir))


def _until(condition, seconds=120):
  until = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < until
    time.sleep(0.1)


def _kill(folder, process, kills, seed):
  """Kills workers now and then; returns how many."""
  rng, killed = random.Random(seed), 0
  while process.poll() is None and killed < kills:
    time.sleep(rng.uniform(0.2, 4.0))
    if not (folder / "sweep.json").exists():
      continue
    if pids := _running(folder):
      os.kill(rng.choice(pids), signal.SIGKILL)
      killed += 1
  return killed


def _results(folder):
  """{cell: (hashes of its states, its scores, its steps)}."""
  found = {}
  for cell in sweep.load(folder):
    workdir = sweep.workdir(folder, cell)
    scores = json.loads((workdir / "reports" / "evaluation.json").read_text())
    lines = writer.read(workdir)
    steps = [x["step"] for x in lines if x["kind"] == "train"]
    nats = scores["model"]["nats_per_site"]
    found[cell.id] = tiny_run.hashes(workdir), nats, steps
  return found


def test_killed_workers_lose_nothing_and_repeat_nothing(tmp_path):
  changes = {"train.steps": STEPS, "train.log_every": 1, "train.save_every": 2}
  study = write(tmp_path / "a.py", range(RUNS), **changes)
  calm, cut = tmp_path / "calm", tmp_path / "cut"
  parallel = f"--parallel={WORKERS}"
  with _start(study, calm, parallel) as process:
    out, _ = process.communicate(timeout=1200)
  assert process.returncode == 0, out
  with _start(study, cut, parallel) as process:
    killed = _kill(cut, process, KILLS, seed=0)
    out, _ = process.communicate(timeout=1200)
  assert process.returncode == 0, out
  assert killed == KILLS
  assert (cut / "said").read_text() == (calm / "said").read_text()
  wanted, found = _results(calm), _results(cut)
  assert len(wanted) == RUNS
  assert found == wanted
  assert all(steps == [*range(1, STEPS + 1)] for *_, steps in found.values())
  ends = [*(cut / "claims").glob("*/*/end.json")]
  assert len(ends) == RUNS  # each ended well once, and no attempt otherwise
  attempts = [*(cut / "claims").glob("*/*")]
  assert RUNS < len(attempts) <= RUNS + KILLS


def test_a_stopped_sweep_saves_and_goes_on(tmp_path):
  """Ctrl-C, also where the workers share the terminal."""
  study = write(tmp_path / "a.py", range(3), **LONG)
  folder = tmp_path / "runs"
  with _start(study, folder, "--parallel=2") as process:
    _until(lambda: len(_training(folder)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
  assert process.returncode == 75, out
  assert "the same command goes on" in out
  states = _states(folder)
  assert sorted(s.name for s in states) == ["stopped", "stopped", "waiting"]
  assert {s.code for s in states} == {75, None}
  kept = [_last(folder, n) for n, s in enumerate(states) if s.code == 75]
  assert min(kept) >= 20
  with _start(study, folder, "--parallel=2") as process:
    out, _ = process.communicate(timeout=600)
  assert process.returncode == 0, out
  assert {s.name for s in _states(folder)} == {"done"}


@pytest.mark.parametrize("how", ["signal", "cancel"])
def test_runs_that_are_trained_together_save_and_go_on(tmp_path, how):
  study = write(tmp_path / "a.py", range(3), **LONG)
  folder = tmp_path / "runs"
  with _start(study, folder, "--vmap=seed") as process:
    _until(lambda: _training(folder))
    if how == "signal":
      process.send_signal(signal.SIGTERM)
    else:
      claiming.Claims(folder).cancel()
    out, _ = process.communicate(timeout=60)
  assert "one after the other" not in out
  assert process.returncode == 75, out
  assert [(s.name, s.code) for s in _states(folder)] == [("stopped", 75)] * 3
  (step,) = {_last(folder, n) for n in range(3)}
  assert step >= 20
  with _start(study, folder, "--vmap=seed") as process:
    out, _ = process.communicate(timeout=600)
  assert process.returncode == 0, out
  assert {s.name for s in _states(folder)} == {"done"}
  for cell in sweep.load(folder):
    run = json.loads((sweep.workdir(folder, cell) / "run.json").read_text())
    assert run["resumed"][0]["step"] == step
