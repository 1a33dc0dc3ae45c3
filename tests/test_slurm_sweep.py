"""A sweep as a job array on a cluster of one node: killed, requeued."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import slurm
import tiny_data
import tiny_run
from test_sweep import write

from ar_jax import claims as claiming
from ar_jax import sweep, writer

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    not slurm.is_installed(), reason="no SLURM here: apt-get install slurm-wlm"
  ),
]
STEPS = 400
FLAGS = ["--on=slurm", "--slurm=mem=400", "--slurm=time=10"]
LONG = {"train.steps": STEPS, "train.eval_every": STEPS}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
  folder = tmp_path_factory.mktemp("slurm")
  env = slurm.up(folder)
  yield dict(env, NPROC="1")
  slurm.down(folder, env)


def _sweep(cluster, *argv):
  done = _called(cluster, *argv)
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def _called(cluster, *argv):
  return subprocess.run(
    [sys.executable, "-m", "ar_jax", "sweep", *argv],
    cwd=tiny_data.ROOT,
    env=cluster,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


def _states(folder):
  claims = claiming.Claims(folder)
  return [claims.state(cell.id) for cell in sweep.load(folder)]


def _until(condition, seconds=240):
  until = time.monotonic() + seconds
  while not (found := condition()):
    assert time.monotonic() < until
    time.sleep(0.2)
  return found


def _reached(folder, n, step):
  """The process of a run that has done so many updates, or None."""
  state = _states(folder)[n]
  far = state.name == "running" and state.said.get("step", 0) >= step
  return state.said["pid"] if far else None


def _queue_is_empty(cluster):
  queue = ["squeue", "--noheader"]
  done = subprocess.run(queue, env=cluster, capture_output=True, check=True)
  return not done.stdout


def test_an_array_is_requeued_and_goes_on(cluster, tmp_path):
  changes = {"train.log_every": 1, "train.save_every": 20, **LONG}
  study = write(tmp_path / "a.py", range(4), **changes)
  calm, cut = tmp_path / "calm", tmp_path / "cut"
  _sweep(dict(os.environ, NPROC="1"), study, f"--workdir={calm}")
  flags = [*FLAGS, "--parallel=2"]
  out = _sweep(cluster, study, f"--workdir={cut}", *flags)
  assert "4 jobs submitted" in out
  jobs = json.loads((cut / "slurm" / "jobs.json").read_text())
  first, second = (cell.id for cell in sweep.load(cut)[:2])
  # Called again while they run it submits none of them twice.
  assert "0 jobs submitted" in _sweep(
    cluster, study, f"--workdir={cut}", *flags
  )
  _until(lambda: _reached(cut, 0, 40))
  requeue = ["scontrol", "requeue", jobs[first]]
  subprocess.run(requeue, env=cluster, check=True)
  os.kill(_until(lambda: _reached(cut, 1, 40)), signal.SIGKILL)
  _until(lambda: all(s.name == "done" for s in _states(cut)))
  states = _states(cut)
  assert states[0].attempts > 1
  assert states[1].attempts > 1
  _sweep(cluster, study, f"--workdir={cut}")
  assert (cut / "said").read_text() == (calm / "said").read_text()
  for cell in sweep.load(cut):
    one, other = (sweep.workdir(f, cell) for f in (calm, cut))
    assert tiny_run.hashes(one) == tiny_run.hashes(other)
    lines = [x for x in writer.read(other) if x["kind"] == "train"]
    assert [x["step"] for x in lines] == [*range(1, STEPS + 1)]
  for cell in (first, second):
    run = json.loads((cut / "runs" / cell / "run.json").read_text())
    assert run["resumed"][0]["step"] >= 20
  assert _queue_is_empty(cluster)


def test_the_signal_before_the_time_is_up_saves_and_requeues(cluster, tmp_path):
  changes = {"train.save_every": STEPS, **LONG}
  study = write(tmp_path / "a.py", (0,), **changes)
  folder = tmp_path / "runs"
  _sweep(cluster, study, f"--workdir={folder}", *FLAGS)
  (job,) = json.loads((folder / "slurm" / "jobs.json").read_text()).values()
  _until(lambda: _reached(folder, 0, 20))
  subprocess.run(["scancel", "--signal=USR2", job], env=cluster, check=True)
  _until(lambda: _states(folder)[0].name == "done")
  (cell,) = sweep.load(folder)
  run = json.loads((folder / "runs" / cell.id / "run.json").read_text())
  assert run["resumed"][0]["step"] >= 20
  assert run["runtime"]["lost_updates"] == 0


def test_cancel_ends_the_jobs(cluster, tmp_path):
  study = write(tmp_path / "a.py", range(3), **{"train.steps": 100_000})
  folder = tmp_path / "runs"
  _sweep(cluster, study, f"--workdir={folder}", *FLAGS)
  _until(lambda: _reached(folder, 0, 1))
  _sweep(cluster, "cancel", str(folder))
  _until(lambda: _queue_is_empty(cluster))
  first = _states(folder)[0]
  assert (first.name, first.code) == ("stopped", 75)
  workdir = sweep.workdir(folder, sweep.load(folder)[0])
  assert max(tiny_run.hashes(workdir)) >= 1
  assert not any(s.name in ("running", "done") for s in _states(folder))


def test_a_cell_that_is_killed_each_time_ends_its_job(cluster, tmp_path):
  study = write(tmp_path / "a.py", (0,), **{"train.steps": 100_000})
  folder, killed = tmp_path / "runs", set()
  _sweep(cluster, study, f"--workdir={folder}", *FLAGS)

  def is_over():
    (state,) = _states(folder)
    pid = state.said.get("pid")
    if state.name == "running" and pid is not None and pid not in killed:
      os.kill(pid, signal.SIGKILL)
      killed.add(pid)
    return state.name == "failed"

  _until(is_over)
  (state,) = _states(folder)
  assert len(killed) == state.attempts == 4
  assert "stopped 4 times" in state.message
  _until(lambda: _queue_is_empty(cluster))


@pytest.mark.parametrize(
  ("option", "message"),
  [
    ("time=2:00:00", "--slurm=time=120"),
    ("memory=3", "memory"),
  ],
)
def test_options_that_it_does_not_take_are_named(
  cluster, tmp_path, option, message
):
  study = write(tmp_path / "a.py", (0,))
  flags = ["--on=slurm", f"--slurm={option}"]
  flags += [] if "time" in option else ["--slurm=time=5"]
  done = _called(cluster, study, f"--workdir={tmp_path / 'runs'}", *flags)
  assert done.returncode == 2
  assert message in done.stderr
