"""One run in two processes, stopped, and gone on with on other devices."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import slurm
import tiny_run

from ar_jax import writer

pytestmark = pytest.mark.slow

STEPS = 60
FLAGS = tiny_run.OVERRIDES | {
  "train.batch_size": 8,
  "train.accumulate": 1,
  "train.steps": STEPS,
  "train.log_every": 1,
  "train.eval_every": 20,
  "train.keep": 2,
  "evaluate.batch_size": 8,
}
FIRST = [f"--config={tiny_run.CONFIG}"]
FIRST += [
  f"--config.{k}={v}" for k, v in FLAGS.items() if k != "train.save_every"
]


def _start(folder, *more, devices=1):
  env = dict(
    os.environ,
    JAX_PLATFORMS="cpu",
    NPROC="32",  # the devices of one process wait for each other
    XLA_FLAGS=f"--xla_force_host_platform_device_count={devices}",
  )
  argv = [sys.executable, "-m", "ar_jax", "train", f"--workdir={folder}"]
  return subprocess.Popen(
    [*argv, *more],
    cwd=tiny_run.ROOT,
    env=env,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def _two(folder, *more, devices=1):
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  joined = [f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
  return [
    _start(folder, *joined, f"--process_id={n}", *more, devices=devices)
    for n in range(2)
  ]


def _ends(processes, code=0):
  for process in processes:
    _, told = process.communicate(timeout=300)
    assert process.returncode == code, told


def _losses(folder):
  lines = writer.read(folder)
  for kind, count in (("train", STEPS), ("valid", STEPS // 20)):
    steps = [r["step"] for r in lines if r["kind"] == kind]
    assert len(steps) == len(set(steps)) == count
  scored = {r["sites"] for r in lines if r["kind"] == "valid"}
  assert scored == {6 * 8}  # every site once, whoever scored it
  return [r["nats_per_site"] for r in lines]


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
  """Losses of the run in one process on one device."""
  folder = tmp_path_factory.mktemp("calm") / "run"
  _ends([_start(folder, *FIRST)])
  return _losses(folder)


def _stopped(folder, *more, which, devices=1):
  """Starts two processes, and asks one of them to stop after a while."""
  processes = _two(folder, *FIRST, *more, devices=devices)
  while len(writer.read(folder)) < 5:
    assert all(p.poll() is None for p in processes), processes[0].stderr.read()
    time.sleep(0.02)
  processes[which].send_signal(signal.SIGTERM)
  _ends(processes, 75)
  (state,) = (folder / "checkpoints").iterdir()
  runtime = json.loads((folder / "run.json").read_text())["runtime"]
  assert runtime["step"] == int(state.name) < STEPS
  assert runtime["exit"].startswith("Preempted")


@pytest.mark.parametrize("layout", ["pmap", "sharded"])
@pytest.mark.parametrize("which", [0, 1])
def test_both_stop_at_one_step_and_go_on(calm, tmp_path, which, layout):
  folder = tmp_path / "run"
  _stopped(folder, f"--config.parallel.name={layout}", which=which)
  _ends(_two(folder))
  np.testing.assert_allclose(_losses(folder), calm, rtol=1e-5)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_one_process_goes_on_on_any_devices(calm, tmp_path, devices):
  folder = tmp_path / "run"
  _stopped(folder, which=0, devices=2)
  _ends([_start(folder, devices=devices)])
  np.testing.assert_allclose(_losses(folder), calm, rtol=1e-5)


@pytest.mark.skipif(not slurm.is_installed(), reason="SLURM is not installed")
def test_the_tasks_of_a_slurm_step_are_one_run(calm, tmp_path):
  """On a cluster of one node: no flag says who is who."""
  env = slurm.up(tmp_path / "slurm")
  try:
    folder = tmp_path / "run"
    argv = ["srun", "-n2", sys.executable, "-m", "ar_jax", "train"]
    done = subprocess.run(
      [*argv, f"--workdir={folder}", *FIRST],
      cwd=tiny_run.ROOT,
      env=dict(env, JAX_PLATFORMS="cpu", NPROC="32"),
      capture_output=True,
      text=True,
      check=False,
    )
  finally:
    slurm.down(tmp_path / "slurm", env)
  assert done.returncode == 0, done.stderr
  assert done.stdout.count(f"run in {folder}") == 1
  np.testing.assert_allclose(_losses(folder), calm, rtol=1e-5)
