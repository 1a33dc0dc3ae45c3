"""A committed folder is whole, and what has changed in it is seen."""

import os
import shutil

import pytest
from damage import flipped

from ar_jax import commit

CONTENT = {"a": b"", "b/c.bin": bytes(range(256)) * 3, "b/d/e.json": b"{}\n"}


def _write(folder, content=CONTENT):
  for name, data in content.items():
    path = commit.part(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / "7"
  _write(folder)
  assert not folder.exists()
  commit.commit(folder, dict(step=7))
  return folder


def test_what_was_committed_is_there_and_sound(folder):
  commit.verify(folder)
  assert commit.is_committed(folder)
  assert not commit.part(folder).exists()
  assert commit.about(folder) == dict(step=7)
  assert commit.size(folder) == sum(map(len, CONTENT.values()))
  for name, data in CONTENT.items():
    assert (folder / name).read_bytes() == data


def test_every_flipped_bit_is_seen(folder):
  """Of every file, the manifest too; 200 of them at random places."""
  seen = set()
  for path in flipped(folder, 200, seed=0):
    seen.add(path.name)
    with pytest.raises(commit.Damaged, match=path.name):
      commit.verify(folder)
  assert commit.MANIFEST in seen
  commit.verify(folder)


@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (lambda f: (f / "a").unlink(), "a is missing"),
    (lambda f: (f / "b/c.bin").write_bytes(b""), "has bytes 0"),
    (lambda f: (f / "b/x").write_bytes(b""), "x was not committed"),
    (lambda f: (f / commit.MANIFEST).write_text("{}"), "cannot be read"),
    (lambda f: (f / commit.MANIFEST).write_text("[" * 9999), "cannot be read"),
    (lambda f: (f / "a").rename(f / "z"), "a is missing"),
  ],
)
def test_other_damage_is_named(folder, damage, message):
  damage(folder)
  with pytest.raises(commit.Damaged, match=message):
    commit.verify(folder)


def test_another_meaning_of_the_same_manifest_is_seen(folder):
  """Also what JSON does not tell apart."""
  file = folder / commit.MANIFEST
  file.write_text(file.read_text().replace(" ", "  ", 1))
  with pytest.raises(commit.Damaged, match="is not what was written"):
    commit.about(folder)


class _Stop(BaseException):
  pass


@pytest.mark.parametrize("count", range(15))
def test_stopped_at_any_call_it_is_whole_or_not_there(
  tmp_path, monkeypatch, count
):
  """At each call that changes the disk: of the commit, then of a removal."""
  calls = iter(range(100))

  def stopping(function):
    def call(*args, **kwargs):
      if next(calls) == count:
        raise _Stop
      return function(*args, **kwargs)

    return call

  folder = tmp_path / "7"
  _write(folder)
  for name in ("fsync", "replace", "rmdir"):
    monkeypatch.setattr(os, name, stopping(getattr(os, name)))
  monkeypatch.setattr(shutil, "rmtree", stopping(shutil.rmtree))
  reached = ["nothing"]
  try:
    commit.commit(folder, dict(step=7))
    reached.append("committed")
    commit.amend(folder, dict(step=8))
    reached.append("amended")
    commit.remove(folder)
    reached.append("removed")
  except _Stop:
    pass
  monkeypatch.undo()
  assert reached[-1] != "removed"
  if folder.exists():
    commit.verify(folder)
    wanted = dict(nothing=(7,), committed=(7, 8), amended=(8,))[reached[-1]]
    assert commit.about(folder)["step"] in wanted
  else:
    assert reached[-1] in ("nothing", "amended")
  commit.tidy(tmp_path)
  left = [p.name for p in tmp_path.iterdir()]
  assert left == (["7"] if folder.exists() else [])


def test_an_amended_manifest_is_another_file(folder):
  """The old one is whole until the new one is."""
  before = folder.with_name("before")
  os.link(folder / commit.MANIFEST, before)
  right = before.read_bytes()
  commit.amend(folder, dict(step=8))
  assert before.read_bytes() == right
  assert commit.about(folder) == dict(step=8)
