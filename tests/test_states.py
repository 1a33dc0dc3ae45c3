"""The states of a run: the newest sound one wins, and none is half there."""

import errno
import os
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from damage import flip, flipped

from ar_jax import commit, errors, states, train

TX = optax.adam(0.1)


def state_at(step, value=1.0, size=5):
  params = dict(w=jnp.full(size, value + step), b=jnp.zeros((2, 2)))
  state = train.init_state(params, TX, 0.9)
  return state._replace(step=jnp.int32(step))


LIKE = jax.eval_shape(lambda: state_at(0))


@pytest.fixture
def kept(tmp_path):
  """Checkpoints that hold the states 1 to 4, and the warnings so far."""
  warnings = []
  kept = states.Checkpoints(tmp_path, keep=4, warn=warnings.append)
  for step in range(1, 5):
    kept.save(state_at(step), dict(at=step), score=10.0 - step)
  kept.wait()
  yield kept, warnings
  kept.close()


def _same(found, wanted):
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype


def _largest(folder):
  files = [p for p in folder.rglob("*") if p.is_file()]
  return max((p for p in files if p.name != commit.MANIFEST), key=_size)


def _size(path):
  return path.stat().st_size


def test_a_state_comes_back_as_it_was(kept):
  kept, warnings = kept
  assert kept.steps() == [1, 2, 3, 4]
  _same(kept.restore(LIKE), state_at(4))
  _same(kept.restore(LIKE, 2), state_at(2))
  assert kept.progress(3) == dict(at=3)
  assert not warnings


def test_the_copy_is_taken_at_the_call(tmp_path):
  """What is written later must not see what training does to the buffers."""
  kept, go = states.Checkpoints(tmp_path), threading.Event()
  kept._thread.submit(go.wait)
  state = jax.tree.map(np.array, state_at(1))
  kept.save(state)
  state.params["w"][:] = 77.0
  go.set()
  kept.wait()
  _same(kept.restore(LIKE), state_at(1))
  kept.close()


@pytest.mark.parametrize("damage", [flip, os.remove])
@pytest.mark.parametrize("of", [_largest, lambda f: f / commit.MANIFEST])
def test_a_damaged_state_is_passed_over_with_a_warning(kept, damage, of):
  kept, warnings = kept
  gone = damage is os.remove and of(kept.path(4)).name == commit.MANIFEST
  for step in (4, 3):
    damage(of(kept.path(step)))
  _same(kept.restore(LIKE), state_at(2))
  if gone:  # such a folder is no checkpoint
    assert kept.steps() == [1, 2]
    return
  assert [w.split(":")[0] for w in warnings] == [
    "checkpoint of step 4",
    "checkpoint of step 3",
  ]
  with pytest.raises(errors.DataError, match="checkpoint of step 4: .*4/"):
    kept.restore(LIKE, 4)
  kept.drop_after(2)
  kept.save(state_at(3, value=2.0))
  kept.wait()
  _same(kept.restore(LIKE), state_at(3, value=2.0))


def test_two_hundred_flipped_bits_are_seen(kept):
  """Orbax itself restores most of them without a word."""
  kept, _ = kept
  for _ in flipped(kept.path(4), 200, seed=1):
    with pytest.raises(errors.DataError, match="checkpoint of step 4"):
      kept.restore(LIKE, 4)
  _same(kept.restore(LIKE, 4), state_at(4))


def test_another_state_than_wanted_is_named(kept):
  kept, _ = kept
  wider = jax.eval_shape(lambda: state_at(0, size=6))
  with pytest.raises(errors.DataError, match=r"params.w is float32\[5\], want"):
    kept.restore(wider)
  half = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape, jnp.bfloat16), LIKE
  )
  with pytest.raises(errors.DataError, match=r"wanted bfloat16\["):
    kept.restore(half)


@pytest.mark.parametrize("leaf", ["params", "opt_state", "ema_params"])
def test_what_is_not_finite_is_never_committed(kept, leaf):
  kept, _ = kept
  bad = jax.tree.map(
    lambda a: a.at[...].set(jnp.nan) if a.dtype == jnp.float32 else a,
    getattr(state_at(5), leaf),
  )
  with pytest.raises(errors.NumericalError, match=f"step 5: {leaf}"):
    kept.save(state_at(5)._replace(**{leaf: bad}))
  kept.wait()
  assert kept.steps() == [1, 2, 3, 4]


@pytest.mark.parametrize(
  ("options", "wanted"),
  [
    (dict(keep=1), [9]),
    (dict(keep=2), [8, 9]),
    (dict(keep=1, keep_best=2), [3, 5, 9]),
    (dict(keep=1, keep_every=4), [4, 8, 9]),
    (dict(keep=2, keep_best=1, keep_every=5), [3, 5, 8, 9]),
  ],
)
def test_which_states_stay(tmp_path, options, wanted):
  kept = states.Checkpoints(tmp_path, **options)
  scores = {3: 1.0, 5: 2.0, 7: float("nan"), 8: None}
  for step in range(1, 10):
    kept.save(state_at(step), score=scores.get(step, 5.0 + step))
  kept.wait()
  assert kept.steps() == wanted
  if options.get("keep_best"):
    assert kept.find("best") == 3
  assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
    str(s) for s in wanted
  ]
  kept.close()


def test_a_full_disk_is_tried_again_and_then_said(kept, monkeypatch):
  kept, _ = kept
  tries = []

  def full(folder, about):
    tries.append(folder)
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(states, "_RETRY_SECONDS", 0.0)
  monkeypatch.setattr(commit, "commit", full)
  kept.save(state_at(5))
  message = r"step 5 .*the disk is full: it needs \d+ B, .* free"
  with pytest.raises(errors.StorageError, match=message):
    kept.wait()
  assert len(tries) == 2
  monkeypatch.undo()
  names = sorted(p.name for p in kept.path(4).parent.iterdir())
  assert names == ["1", "2", "3", "4"]
  _same(kept.restore(LIKE), state_at(4))


def test_a_disk_that_was_full_for_a_moment_loses_nothing(kept, monkeypatch):
  kept, _ = kept
  original, tries = commit.commit, []

  def once(folder, about):
    tries.append(folder)
    if len(tries) == 1:
      raise OSError(errno.ENOSPC, "No space left on device")
    original(folder, about)

  monkeypatch.setattr(states, "_RETRY_SECONDS", 0.0)
  monkeypatch.setattr(commit, "commit", once)
  kept.save(state_at(5))
  kept.wait()
  _same(kept.restore(LIKE), state_at(5))


def test_what_fails_behind_is_told_at_the_next_call(kept, monkeypatch):
  kept, _ = kept

  def denied(folder, about):
    raise OSError(errno.EROFS, "Read-only file system")

  monkeypatch.setattr(states, "_RETRY_SECONDS", 0.0)
  monkeypatch.setattr(commit, "commit", denied)
  kept.save(state_at(5))
  while not kept._writing.done():
    pass
  with pytest.raises(errors.StorageError, match="Read-only file system"):
    kept.poll()
  kept.poll()


def test_room_for_two_states_is_asked_for(kept, monkeypatch):
  kept, _ = kept
  kept.check_room(LIKE)
  usage = shutil.disk_usage("/")
  monkeypatch.setattr(
    shutil, "disk_usage", lambda path: usage._replace(free=100)
  )
  with pytest.raises(errors.StorageError, match=r"need \d+ B.* has 100 B free"):
    kept.check_room(LIKE)


def test_what_was_half_written_is_tidied_up_by_a_writer_alone(kept):
  kept, _ = kept
  folder = kept.path(4).parent
  shutil.copytree(kept.path(4), folder / "5.part")
  kept.path(1).rename(folder / "1.gone")
  states.Checkpoints(folder.parent, read_only=True)
  assert {p.name for p in folder.iterdir()} >= {"5.part", "1.gone"}
  states.Checkpoints(folder.parent)
  assert sorted(p.name for p in folder.iterdir()) == ["2", "3", "4"]


def test_folders_of_another_making_are_not_touched(tmp_path):
  folder = tmp_path / "checkpoints" / "12"
  folder.mkdir(parents=True)
  kept = states.Checkpoints(tmp_path)
  with pytest.raises(errors.DataError, match="has no MANIFEST.json"):
    kept.check()
  with pytest.raises(errors.DataError, match="has no MANIFEST.json"):
    kept.restore(LIKE)
  assert folder.is_dir()


def test_a_score_comes_later(kept):
  kept, _ = kept
  kept.rescore(2, dict(at=22), score=0.5)
  assert kept.find("best") == 2
  assert kept.progress(2) == dict(at=22)
  _same(kept.restore(LIKE, 2), state_at(2))
