"""The cache of compiled programs: in a folder that only its user writes."""

import os
import stat

import pytest

from ar_jax import __main__ as program


@pytest.fixture
def home(tmp_path, monkeypatch):
  """The folder of the user's caches; none is named."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
  monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
  return tmp_path / "ar_jax" / "xla"


def test_compiled_programs_lie_where_nobody_else_writes(home, capsys):
  old = os.umask(0)  # whoever sets none
  try:
    program._cache_compilations()
  finally:
    os.umask(old)
  assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(home)
  assert stat.S_IMODE(home.stat().st_mode) == 0o700
  assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
@pytest.mark.parametrize("named", [False, True])
def test_a_folder_that_others_write_is_not_used(
  home, monkeypatch, capsys, mode, named
):
  home.mkdir(parents=True)
  home.chmod(mode)
  if named:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(home))
  program._cache_compilations()
  assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
  [line] = capsys.readouterr().err.splitlines()
  assert str(home) in line
  assert "chmod 700" in line


def test_a_folder_of_another_user_is_not_used(home, monkeypatch, capsys):
  home.mkdir(mode=0o700, parents=True)
  monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
  program._cache_compilations()
  assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
  assert "another user" in capsys.readouterr().err


def test_a_private_folder_that_is_named_is_used(home, monkeypatch, capsys):
  other = home.parent.parent / "other"
  other.mkdir(mode=0o750)
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(other))
  program._cache_compilations()
  assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(other)
  assert capsys.readouterr().err == ""
