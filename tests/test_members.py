"""Runs of several seeds in one program: each as if it was trained alone."""

import os
import shutil
import signal

import jax
import numpy as np
import pytest
import tiny_data
import tiny_run

from ar_jax import errors, launch, members
from ar_jax import run as runs
from ar_jax import train as training

STEPS = 6
CHANGES = {
  "train.steps": STEPS,
  "train.accumulate": 1,
  "train.eval_every": 3,
  "train.save_every": 2,
  "train.log_every": 2,
  "train.keep": STEPS,
  "train.shuffle_seed": 7,
}


@pytest.fixture(autouse=True)
def _root(monkeypatch):
  monkeypatch.chdir(tiny_data.ROOT)


def _configs(seeds=(0, 1, 2), **changes):
  changes = CHANGES | changes
  return [tiny_run.config(**changes, seed=seed) for seed in seeds]


def _together(folder, configs, views=None, **options):
  folders = [folder / str(config.seed) for config in configs]
  views = views or [launch.SILENT] * len(configs)
  return members.train(configs, folders, views, **options)[0]


def _near(run, other):
  for a, b in zip(
    jax.tree.leaves(run.raw_params),
    jax.tree.leaves(other.raw_params),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_members_are_what_they_are_alone(tmp_path):
  """Parameters, averages, lines and checkpoints: ordinary runs."""
  gains = []
  configs = _configs((0, 1))
  found = _together(tmp_path, configs, measured=gains.append)
  for config, run in zip(configs, found, strict=True):
    alone, _ = launch.train(config, tmp_path / f"alone_{config.seed}")
    assert run.step == alone.step == STEPS
    _near(run, alone)
    _near(runs.load(run.workdir), alone)
    assert sorted(tiny_run.hashes(run.workdir)) == [2, 3, 4, 6]
    lines, others = map(tiny_run.metrics, (run.workdir, alone.workdir))
    assert [(x["kind"], x["step"]) for x in lines] == [
      (x["kind"], x["step"]) for x in others
    ]
    for line, other in zip(lines, others, strict=True):
      wanted = pytest.approx(other["nats_per_site"], abs=1e-5)
      assert line["nats_per_site"] == wanted
  first, second = (jax.tree.leaves(run.raw_params)[0] for run in found)
  assert np.abs(first - second).max() > 1e-3
  (gain,) = gains
  assert gain.members == 2
  assert gain.ratio == pytest.approx(2 * gain.alone / gain.together)


@pytest.mark.slow
def test_one_batch_is_shared(tmp_path, monkeypatch):
  asked, original = [], launch.batches

  def batches(parts, rows):
    at = original(parts, rows)

    def get(step):
      asked.append(step)
      return at(step)

    return get

  monkeypatch.setattr(launch, "batches", batches)
  _together(tmp_path, _configs((0, 1)))
  assert sorted(set(asked)) == list(range(STEPS))
  assert len(asked) == STEPS + 1  # one more, to measure the gain


class _Stop(Exception):
  pass


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_members_at_other_steps_go_on_by_themselves(tmp_path, seed):
  """As a kill between the saves of two members leaves them."""
  configs = _configs()
  calm = _together(tmp_path / "calm", configs)

  def stepped(step, metrics):
    if step == 5:
      raise _Stop

  views = [launch.SILENT._replace(stepped=stepped)] + [launch.SILENT] * 2
  with pytest.raises(_Stop):
    _together(tmp_path / "cut", configs, views)
  # All have saved step 4; this one has lost it.
  shutil.rmtree(tmp_path / "cut" / str(seed) / "checkpoints" / "4")
  for run, other in zip(
    _together(tmp_path / "cut", configs), calm, strict=True
  ):
    assert run.step == STEPS
    _near(run, other)
    lines = tiny_run.metrics(run.workdir)
    assert [x["step"] for x in lines if x["kind"] == "train"] == [2, 4, 6]


@pytest.mark.slow
def test_all_members_save_when_they_are_stopped(tmp_path):
  configs = _configs((0, 1))

  def stepped(step, metrics):
    if step == 3:
      os.kill(os.getpid(), signal.SIGTERM)

  views = [launch.SILENT._replace(stepped=stepped), launch.SILENT]
  with pytest.raises(errors.Preempted):
    _together(tmp_path, configs, views)
  steps = [sorted(tiny_run.hashes(tmp_path / str(n)))[-1] for n in (0, 1)]
  assert steps[0] == steps[1] < STEPS


def test_configs_that_differ_in_more_are_refused(tmp_path):
  other = tiny_run.config(**CHANGES | {"train.log_every": 1}, seed=1)
  with pytest.raises(errors.UsageError, match="differ in `seed` alone"):
    _together(tmp_path, [*_configs((0,)), other])
  apart = _configs((0, 1), **{"train.shuffle_seed": None})
  with pytest.raises(errors.UsageError, match="share a"):
    _together(tmp_path, apart)


@pytest.mark.slow
def test_a_member_that_is_no_number_is_named(tmp_path):
  configs = _configs((0, 1))
  parts, first = launch.prepare(configs[0], tmp_path / "0")
  _, second = launch.prepare_like(parts, configs[1], tmp_path / "1")
  states = members.stack([first(), second()])
  params = jax.tree.map(
    lambda a: a.at[1].set(np.nan) if a.dtype == np.float32 else a,
    states.params,
  )
  keys = jax.numpy.stack([runs.keys(c)[1] for c in configs])
  with pytest.raises(errors.NumericalError, match="step 1, member 1, examples"):
    training.fit(
      states._replace(params=params),
      members.compiled(parts),
      launch.batches(parts, slice(None)),
      keys,
      steps=STEPS,
      every=(),
      on_step=lambda *_: None,
      on_state=lambda *_: None,
    )
