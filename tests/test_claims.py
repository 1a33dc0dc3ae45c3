"""Attempts at the cells of a sweep: one worker each, none lost, none twice."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ar_jax import claims as claiming
from ar_jax import errors


@pytest.fixture
def claims(tmp_path):
  return claiming.Claims(tmp_path)


def _ended(claims, cell, code):
  attempt = claims.claim(cell)
  assert attempt is not None
  with attempt:
    attempt.end(code, "so it is", dict(step=3) if code == 0 else None)


def test_a_cell_is_claimed_once(claims):
  assert claims.state("a").name == "waiting"
  with claims.claim("a"):
    assert claims.state("a").name == "running"
    assert claims.claim("a") is None
    assert claims.claim("b") is not None


def test_of_many_workers_one_gets_a_cell(claims):
  gate = threading.Barrier(16)

  def worker(_):
    got = []
    for cell in map(str, range(40)):
      gate.wait(60)
      if claims.claim(cell):
        got.append(cell)
    return got

  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    got = [c for cells in pool.map(worker, range(16)) for c in cells]
  assert sorted(got, key=int) == [str(n) for n in range(40)]


def test_what_is_done_is_not_done_again(claims):
  _ended(claims, "a", 0)
  state = claims.state("a")
  assert (state.name, state.code, state.result) == ("done", 0, dict(step=3))
  assert claims.claim("a") is None
  claims.again("a", claims.state("a"))
  assert claims.state("a").name == "waiting"
  assert claims.claim("a") is not None


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_what_failed_is_listed_until_it_is_let_again(claims, code):
  _ended(claims, "a", code)
  state = claims.state("a")
  assert (state.name, state.code, state.message) == ("failed", code, "so it is")
  assert claims.claim("a") is None
  claims.again("a", claims.state("a"))
  _ended(claims, "a", 0)
  assert claims.state("a").attempts == 2


def test_what_was_stopped_is_tried_three_times_more(claims):
  for _ in range(4):
    assert claims.state("a").name in ("waiting", "stopped")
    _ended(claims, "a", 75)
  state = claims.state("a")
  assert state.name == "failed"
  assert state.message == "stopped 4 times, last: so it is"
  claims.again("a", claims.state("a"))
  for _ in range(4):
    _ended(claims, "a", 75)
  assert claims.state("a").attempts == 8
  assert claims.claim("a") is None


_HOLD = """
import sys, time
from ar_jax import claims
with claims.Claims(sys.argv[1]).claim("a"):
  print("held", flush=True)
  time.sleep(600)
"""


def test_a_killed_worker_loses_its_cell_at_once(claims, tmp_path):
  argv = [sys.executable, "-c", _HOLD, str(tmp_path)]
  with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
    assert process.stdout.readline() == b"held\n"
    state = claims.state("a")
    assert state.name == "running"
    assert state.said["pid"] == process.pid
    process.kill()
  state = claims.state("a")
  assert (state.name, state.code) == ("stopped", claiming.KILLED)
  assert state.message == f"its process on {socket.gethostname()} is gone"
  assert claims.claim("a") is not None


def test_ten_attempts_and_more_are_counted(claims):
  for number in range(1, 13):
    _ended(claims, "a", number)
    state = claims.state("a")
    assert (state.attempts, state.code) == (number, number)
    claims.again("a", claims.state("a"))


def test_an_attempt_that_began_since_is_not_marked(claims):
  _ended(claims, "a", 75)
  found = claims.state("a")
  with claims.claim("a"):
    claims.again("a", found)
    assert claims.state("a").name == "running"


def test_a_process_of_another_user_lives(claims, monkeypatch):
  def kill(pid, number):
    raise PermissionError

  monkeypatch.setattr(os, "kill", kill)
  with claims.claim("a"):
    assert claims.state("a").name == "running"


def test_a_worker_of_another_machine_counts_while_it_beats(
  claims, tmp_path, monkeypatch
):
  monkeypatch.setattr(socket, "gethostname", lambda: "other")
  claims.claim("a")
  monkeypatch.undo()
  file = tmp_path / "claims" / "a" / "1" / "beat.json"
  said = json.loads(file.read_text())
  for ago, name in ((30, "running"), (90, "stopped")):
    file.write_text(json.dumps(dict(said, time=time.time() - ago)))
    assert claims.state("a").name == name
    assert (claims.claim("a") is None) == (name == "running")


def test_an_attempt_that_never_beat_is_over_in_time(claims, tmp_path):
  path = tmp_path / "claims" / "a" / "1"
  path.mkdir(parents=True)
  assert claims.state("a").name == "running"
  os.utime(path, (0, time.time() - 90))
  assert claims.state("a").name == "stopped"
  (path / "beat.json").write_text('{"pid": 1')
  os.utime(path, (0, time.time() - 90))
  assert claims.state("a").name == "stopped"


def test_heartbeats_say_how_far_it_is(claims, monkeypatch):
  monkeypatch.setattr(claiming, "_BEAT_SECONDS", 0.01)
  with claims.claim("a") as attempt:
    before = claims.state("a").said["time"]
    attempt.says(step=7)
    until = time.monotonic() + 60
    while claims.state("a").said.get("step") != 7:
      assert time.monotonic() < until
      time.sleep(0.01)
    said = claims.state("a").said
    assert said["time"] > before
    assert said["pid"] == os.getpid()


def test_cancel_asks_the_workers_to_stop_and_claims_nothing(
  claims, monkeypatch
):
  monkeypatch.setattr(claiming, "_BEAT_SECONDS", 0.01)
  asked = []
  before = signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
  try:
    # Two that are trained together: the second signal would mean "at once".
    with claims.claim("a"), claims.claim("c"):
      claims.cancel()
      until = time.monotonic() + 60
      while not asked:
        assert time.monotonic() < until
        time.sleep(0.01)
      time.sleep(0.2)
  finally:
    signal.signal(signal.SIGUSR1, before)
  assert len(asked) == 1
  assert claims.claim("b") is None
  claims.resume()
  assert claims.claim("b") is not None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "claims").write_text("")
  with pytest.raises(errors.StorageError, match="cannot write .*claims"):
    claiming.Claims(tmp_path).claim("a")
