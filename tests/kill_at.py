"""Runs a command of ar_jax and kills it with -9 at a moment that is named.

  python kill_at.py MOMENT COUNT train --workdir=DIR ...

COUNT: which time the moment comes that is the last one.
"""

import contextlib
import os
import shutil
import signal
import sys

from ar_jax import __main__ as program
from ar_jax import commit, states, train, writer


def _kill():
  os.kill(os.getpid(), signal.SIGKILL)


def before(module, name, count):
  """Kills before the count-th call of module.name."""
  original = getattr(module, name)
  calls = iter(range(count - 1))

  def call(*args, **kwargs):
    if next(calls, None) is None:
      _kill()
    return original(*args, **kwargs)

  setattr(module, name, call)


def torn_line(count):
  """Kills when half a line of metrics is written."""
  original = writer.Writer.append
  calls = iter(range(count - 1))

  def append(self, step, values):
    if next(calls, None) is None:
      with self._file.open("a", encoding="utf-8") as f:
        f.write('{"step": 3, "ki')
      _kill()
    original(self, step, values)

  writer.Writer.append = append


def in_a_removal(count):
  """Kills when half of an old state is removed."""
  original = shutil.rmtree
  calls = iter(range(count - 1))

  def rmtree(path, *args, **kwargs):
    if str(path).endswith(".gone") and next(calls, None) is None:
      next(p for p in path.rglob("*") if p.is_file()).unlink()
      _kill()
    original(path, *args, **kwargs)

  commit.shutil.rmtree = rmtree


def after_the_rename(count):
  """Kills when a state has its name, and the names are not on the disk yet."""
  original = os.replace
  calls = iter(range(count - 1))

  def replace(old, new):
    original(old, new)
    if str(old).endswith(".part") and os.path.isdir(new):
      with contextlib.suppress(StopIteration):
        next(calls)
        return
      _kill()

  commit.os.replace = replace


MOMENTS = {
  "compile": lambda n: before(train, "example_keys", 1),  # in the trace
  "write": lambda n: before(states.Checkpoints, "_start", n),
  "hash": lambda n: before(commit, "_entry", 4 * n),
  "manifest": lambda n: before(commit, "_put", n),
  "rename": lambda n: before(commit, "_dump", 2 * n),
  "renamed": after_the_rename,
  "removal": in_a_removal,
  "line": torn_line,
}

if __name__ == "__main__":
  moment, count, *argv = sys.argv[1:]
  MOMENTS[moment](int(count))
  sys.exit(program.main(argv))
