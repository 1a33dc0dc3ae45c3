"""What the loop does not do twice, and what it does beside the device."""

import threading

import pytest
from tiny_run import config as tiny_config

from ar_jax import assemble, data, launch


def test_batches_made_ahead_are_those_of_their_steps():
  asked = []

  def batch_at(step):
    asked.append((step, threading.current_thread()))
    return step * step

  with data.ahead(batch_at, 3, 9) as ahead:
    assert [ahead(step) for step in range(3, 9)] == [9, 16, 25, 36, 49, 64]
  assert [step for step, _ in asked] == list(range(3, 9))
  assert len({thread for _, thread in asked}) == 1
  assert asked[0][1] is not threading.current_thread()
  assert not asked[0][1].is_alive()


def test_as_many_batches_are_ready_as_asked_for():
  """The third one is begun when the first one is taken, and no earlier."""
  made = [threading.Event() for _ in range(4)]

  def batch_at(step):
    made[step].set()
    return step

  with data.ahead(batch_at, 0, 4, count=2) as ahead:
    assert made[0].wait(60)
    assert made[1].wait(60)
    assert not made[2].wait(0.2)
    assert ahead(0) == 0
    assert made[2].wait(60)
    assert not made[3].wait(0.2)


def test_error_of_a_batch_is_raised_at_its_step():
  def batch_at(step):
    if step == 2:
      raise ValueError("no such item")
    return step

  with data.ahead(batch_at, 0, 9) as ahead:
    assert [ahead(0), ahead(1)] == [0, 1]
    with pytest.raises(ValueError, match="no such item"):
      ahead(2)


def test_a_loop_that_fails_leaves_no_thread_and_makes_no_more():
  before, made = threading.active_count(), []
  begun, gate = threading.Event(), threading.Event()

  def batch_at(step):
    made.append(step)
    if step == 1:
      begun.set()
      gate.wait(60)

  timer = threading.Timer(0.2, gate.set)
  with (
    pytest.raises(RuntimeError, match="a full disk"),
    data.ahead(batch_at, 0, 10**6) as ahead,
  ):
    ahead(0)  # so that step 2 waits for step 1
    assert begun.wait(60)
    timer.start()
    raise RuntimeError("a full disk")
  timer.join()
  assert threading.active_count() == before
  assert made == [0, 1]


def test_steps_are_asked_for_in_order():
  with (
    pytest.raises(ValueError, match="step 5 is asked for, 0 is the next"),
    data.ahead(str, 0, 9) as ahead,
  ):
    ahead(5)


class _Stopped(Exception):
  pass


@pytest.mark.slow
def test_the_step_is_traced_once_in_a_run_and_once_when_it_goes_on(
  tmp_path, monkeypatch
):
  """Evaluations, checkpoints and log lines between steps change nothing."""
  traces, original = [], assemble.objective

  def counted(config, net):
    objective = original(config, net)

    def run(*args):
      traces.append(1)
      return objective(*args)

    return run

  def stepped(step, metrics):
    if step == 5 and len(traces) == 1:
      raise _Stopped

  monkeypatch.setattr(assemble, "objective", counted)
  view = launch.SILENT._replace(stepped=stepped)
  config = tiny_config(
    **{"train.accumulate": 1, "train.steps": 7, "train.eval_every": 3}
  )
  with pytest.raises(_Stopped):
    launch.train(config, tmp_path / "run", view)
  assert len(traces) == 1
  run, _ = launch.train(config, tmp_path / "run", view)
  assert run.step == 7
  assert len(traces) == 2
