"""What all tests share: the environment of JAX, and the table of proofs.

Set before JAX starts, unless the environment says otherwise: the bars are
those of a CPU, and bit for bit means one number of threads. Tests compile the
same programs again and again; each process keeps them in a folder of its own.
"""

import collections
import gc
import importlib
import itertools
import os
import pathlib
import shutil
import tempfile

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("NPROC", "1")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
_COMPILED = tempfile.mkdtemp(prefix="ar_jax_tests_")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"


@pytest.fixture
def mutated(tmp_path, monkeypatch):
  """(module, {text: other text}) -> the module, of a copy of ar_jax."""
  root = pathlib.Path(__file__).parent.parent / "ar_jax"
  name = f"mutant_{next(_NUMBER)}"
  monkeypatch.syspath_prepend(tmp_path)

  def mutate(module, changes):
    gone = dict.fromkeys(changes)
    for file in root.rglob("*.py"):
      source = file.read_text()
      for old, new in changes.items():
        if old in source:
          gone.pop(old, None)
        source = source.replace(old, new)
      copy = tmp_path / name / file.relative_to(root)
      copy.parent.mkdir(parents=True, exist_ok=True)
      copy.write_text(source.replace("ar_jax", name))
    assert not gone, f"the library has no {list(gone)} any more: mend this"
    return importlib.import_module(f"{name}.{module}")

  return mutate


_NUMBER = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Leaves to `make test-all` what breaks the library to prove a test."""
  for item in items:
    if "mutated" in getattr(item, "fixturenames", ()):
      item.add_marker(pytest.mark.slow)


def pytest_runtest_teardown(item):
  """Forgets compiled programs before the system has no room for their pages.

  Each takes a few memory maps, of which a process has 65,530 on Linux: past
  that it dies. They are read back from the folder where they are needed.
  """
  maps = pathlib.Path("/proc/self/maps")
  if next(_TESTS) % 20 or not maps.exists():
    return
  if maps.read_bytes().count(b"\n") > 20_000:
    import jax

    jax.clear_caches()
    gc.collect()


_TESTS = itertools.count(1)


def pytest_sessionfinish():
  """Removes the compiled programs."""
  shutil.rmtree(_COMPILED, ignore_errors=True)


def pytest_terminal_summary(terminalreporter):
  """Prints which checks ran on what, each with the worst figure it met.

  A test records `contract`: (subject, check, figure). It travels with the
  report, so the table is whole under xdist as well.
  """
  table = collections.defaultdict(dict)
  for report in _reports(terminalreporter):
    for name, value in report.user_properties:
      if name == "contract":
        subject, check, figure = value
        table[subject][check] = figure
  if not table:
    return
  terminalreporter.section("contract: the worst figure of each check")
  for subject in sorted(table):
    terminalreporter.write_line(subject)
    cells = [f"{check} {figure}" for check, figure in table[subject].items()]
    for line in _lines(cells):
      terminalreporter.write_line(f"    {line}")


def _reports(terminalreporter):
  for outcome in ("passed", "failed"):
    for report in terminalreporter.stats.get(outcome, []):
      if getattr(report, "when", None) == "call":
        yield report


def _lines(cells, width=76):
  """The cells, as many on a line as it holds."""
  line = ""
  for cell in cells:
    if line and len(line) + len(cell) + 3 > width:
      yield line
      line = ""
    line = f"{line}   {cell}" if line else cell
  yield line
