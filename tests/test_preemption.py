"""A run that is asked to stop saves first, and ends as if never asked."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny_run

from ar_jax import __main__ as program
from ar_jax import data, errors, launch, preemption, record, scoring, writer

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(tiny_run.ROOT)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
  """(folder, hashes) of the run that nobody stops."""
  folder = tmp_path_factory.mktemp("calm") / "run"
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(tiny_run.ROOT)
    launch.train(tiny_run.config(), folder)
    return folder, tiny_run.hashes(folder)


def _raise(name):
  signal.raise_signal(getattr(signal, name))


def _stopped(folder, **view):
  with pytest.raises(errors.Preempted) as e:
    launch.train(tiny_run.config(), folder, launch.SILENT._replace(**view))
  assert e.value.exit_code == 75
  return str(e.value)


def _goes_on_as(calm, folder):
  launch.train(tiny_run.config(), folder)
  assert tiny_run.hashes(folder) == calm[1]
  assert tiny_run.metrics(folder) == tiny_run.metrics(calm[0])


@pytest.mark.parametrize(
  ("name", "at"),
  [
    ("SIGTERM", 3),
    pytest.param("SIGINT", 4, marks=pytest.mark.slow),
    ("SIGUSR1", 11),
  ],
)
def test_between_updates(calm, tmp_path, name, at):
  """The step is reported while the one after it runs, which is saved."""
  folder = tmp_path / "run"

  def stepped(step, metrics):
    if step == at:
      _raise(name)

  told = _stopped(folder, stepped=stepped)
  last = max(tiny_run.hashes(folder))
  assert last in (at, at + 1)
  assert told.startswith(f"{name}: the state of step {last} is saved")
  _goes_on_as(calm, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
  "evaluation", [1, pytest.param(2, marks=pytest.mark.slow), 3]
)
def test_in_an_evaluation(calm, tmp_path, monkeypatch, evaluation):
  """What was not scored is scored at the next start: one line a step."""
  folder, original, seen = tmp_path / "run", data.eval_batches, []

  def eval_batches(*args):
    seen.append(args)
    if len(seen) == evaluation:
      _raise("SIGTERM")
    return original(*args)

  monkeypatch.setattr(data, "eval_batches", eval_batches)
  _stopped(folder)
  monkeypatch.undo()
  monkeypatch.chdir(tiny_run.ROOT)
  assert max(tiny_run.hashes(folder)) == (5, 10, 12)[evaluation - 1]
  scored = [r["step"] for r in writer.read(folder) if r["kind"] == "valid"]
  assert scored == [5, 10][: evaluation - 1]
  _goes_on_as(calm, folder)


def test_before_there_is_a_run(tmp_path, monkeypatch):
  folder, original = tmp_path / "run", data.fingerprints

  def fingerprints(dataset):
    _raise("SIGTERM")
    return original(dataset)

  monkeypatch.setattr(data, "fingerprints", fingerprints)
  assert "when there was nothing to save" in _stopped(folder)
  assert not (folder / "config.json").exists()


def test_when_all_is_trained_and_scored_for_the_report(
  calm, tmp_path, monkeypatch, capsys
):
  folder = shutil.copytree(calm[0], tmp_path / "run")
  monkeypatch.setattr(scoring, "score", lambda *_: _raise("SIGTERM"))
  assert program.main(["train", f"--workdir={folder}"]) == 75
  assert "stopped: SIGTERM" in capsys.readouterr().err
  monkeypatch.undo()
  monkeypatch.chdir(tiny_run.ROOT)
  assert program.main(["train", f"--workdir={folder}"]) == 0
  assert (folder / "reports" / "evaluation.json").exists()


def test_the_second_time_at_once(tmp_path, monkeypatch, capfd):
  class _Exit(BaseException):
    pass

  def leave(code):
    raise _Exit(code)

  def stepped(step, metrics):
    if step == 3:
      _raise("SIGTERM")
      _raise("SIGINT")

  monkeypatch.setattr(os, "_exit", leave)
  view = launch.SILENT._replace(stepped=stepped)
  with pytest.raises(_Exit, match="75"):
    launch.train(tiny_run.config(), tmp_path / "run", view)
  assert "SIGINT again: at once" in capfd.readouterr().err
  assert max(tiny_run.hashes(tmp_path / "run")) == 2


def test_several_signals_of_a_cluster_are_one_wish(tmp_path):
  """SLURM's warning, and then that it means it: the state is saved."""

  def stepped(step, metrics):
    if step == 3:
      _raise("SIGUSR2")
      _raise("SIGTERM")

  view = launch.SILENT._replace(stepped=stepped)
  with pytest.raises(errors.Preempted, match="SIGUSR2: the state of step"):
    launch.train(tiny_run.config(), tmp_path / "run", view)
  assert max(tiny_run.hashes(tmp_path / "run")) >= 3


def test_a_watch_within_another_tells_it():
  with preemption.Watch() as outer:
    with preemption.Watch():
      _raise("SIGTERM")
    assert outer.asked == "SIGTERM"
    with preemption.Watch() as later:
      assert later.asked == "SIGTERM"


def test_the_signals_are_as_before_when_the_run_has_ended(calm, tmp_path):
  before = [signal.getsignal(n) for n in preemption.SIGNALS]
  shutil.copytree(calm[0], tmp_path / "run")
  launch.train(tiny_run.config(), tmp_path / "run")
  assert [signal.getsignal(n) for n in preemption.SIGNALS] == before


def test_a_state_is_saved_by_the_clock(calm, tmp_path):
  rare = {"train.save_every": None, "train.eval_every": 100}
  config = tiny_run.config(**rare, **{"train.save_minutes": 1e-9})
  launch.train(config, tmp_path / "run")
  assert tiny_run.hashes(tmp_path / "run") == calm[1]
  config = tiny_run.config(**rare)
  launch.train(config, tmp_path / "calm")
  assert list(tiny_run.hashes(tmp_path / "calm")) == [tiny_run.STEPS]


def _runtime(folder):
  return json.loads((folder / "run.json").read_text())["runtime"]


def test_run_json_tells_how_the_time_was_spent(calm):
  runtime = _runtime(calm[0])
  assert (runtime["exit"], runtime["step"]) == ("done", 12)
  assert (runtime["restarts"], runtime["lost_updates"]) == (0, 0)
  share = runtime["productive_seconds"] / runtime["seconds"]
  assert runtime["productive_share"] == pytest.approx(share)
  assert 0 < share < 1


def test_run_json_adds_all_starts_up(tmp_path):
  """One asked to stop, one that failed and lost two updates, one killed."""
  config = tiny_run.config(**{"train.save_every": 3, "train.eval_every": 3})
  folder, seen = tmp_path / "run", []

  def ended(stepped):
    before = _runtime(folder)["seconds"] if seen else 0.0
    view = launch.SILENT._replace(stepped=stepped)
    with contextlib.suppress(errors.Preempted, ZeroDivisionError):
      launch.train(config, folder, view)
    seen.append(_runtime(folder))
    assert seen[-1]["seconds"] > before
    return seen[-1]

  first = ended(lambda step, _: step == 4 and _raise("SIGTERM"))
  assert first["exit"].startswith("Preempted: SIGTERM")
  assert first["step"] in (4, 5)
  assert first["lost_updates"] == 0
  second = ended(lambda step, _: step == 8 and 1 / 0)
  assert second["exit"] == "ZeroDivisionError: division by zero"
  assert (second["restarts"], second["step"]) == (1, 6)
  assert second["lost_updates"] == 2
  # As a killed start leaves it: nothing in run.json, and its last heartbeat.
  (folder / ".lock").write_text(
    json.dumps(
      dict(pid=1, host="a", time=900.0, began=800.0, first=6, step=11)
      | dict(update_seconds=50.0)
      | dict(total={k: second[k] for k in _TOTALS})
    )
  )
  third = ended(lambda step, _: None)
  assert (third["exit"], third["step"], third["restarts"]) == ("done", 12, 2)
  assert third["lost_updates"] == second["lost_updates"] + 5
  assert third["seconds"] > second["seconds"] + 100
  more = third["productive_seconds"] - second["productive_seconds"]
  assert 0 < more < 50  # nothing of the killed one was kept


_TOTALS = ("seconds", "productive_seconds", "lost_updates")


def test_productive_seconds_are_those_of_the_log(monkeypatch):
  """Within 1 %, the first update aside, and with pauses left out."""
  now, lines = [0.0], []
  monkeypatch.setattr(record.time, "perf_counter", lambda: now[0])
  meter = record.Meter(lambda step, line: lines.append(line), every=1)
  now[0] += 100.0  # the gain of members is measured
  meter.restart()
  for step in range(1, 21):
    now[0] += 30.0 if step == 1 else 0.5
    meter.add(step, dict(nats=1.0, weight=8.0, grad_norm=1.0))
    if step % 5 == 0:
      now[0] += 100.0
      meter.restart()
  of_log = sum(8.0 / line["sites_per_second"] for line in lines[1:])
  assert meter.seconds == pytest.approx(of_log, rel=0.01)


def test_who_trains_in_a_directory_is_said(tmp_path):
  script = (
    "import sys, time; from ar_jax import checkpoint\n"
    f"with checkpoint.locked({str(tmp_path)!r}) as lock:\n"
    "  lock.beat(step=7); print(flush=True); time.sleep(60)"
  )
  command = [sys.executable, "-c", script]
  with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
    owner.stdout.readline()
    with pytest.raises(errors.StorageError) as e:
      launch.train(tiny_run.config(), tmp_path)
    owner.kill()
  wanted = rf"pid {owner.pid} on \S+ at step 7, seen \d+ s ago"
  assert re.search(wanted, str(e.value))


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
def test_the_command_exits_with_75(tmp_path, name):
  folder = tmp_path / "run"
  argv = [sys.executable, "-m", "ar_jax", "train", f"--workdir={folder}"]
  argv += ["--config=configs/markov_gpt.py:tiny"]
  argv += ["--config.train.steps=100000", "--config.evaluate.baselines="]
  process = subprocess.Popen(
    argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )
  while not (folder / "metrics.jsonl").exists():
    assert process.poll() is None
    time.sleep(0.05)
  since = time.monotonic()
  process.send_signal(getattr(signal, name))
  _, told = process.communicate(timeout=60)
  assert process.returncode == 75
  assert time.monotonic() - since < 10  # a step and 2 s, on a busy machine
  assert told.startswith(f"ar_jax: stopped: {name}: the state of step ")
  assert told.count("\n") == 1
