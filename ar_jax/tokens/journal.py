"""What is done, as lines of JSON that outlive a kill; one process has it."""

import contextlib
import fcntl
import json

from ar_jax import errors


@contextlib.contextmanager
def opened(path):
  """The Journal of a file, which is made if need be; UsageError if taken."""
  with open(path, "a+b") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
      raise errors.UsageError(f"another process writes {path.parent}") from e
    yield Journal(file)


class Journal:
  """The lines of a file, and more to come; a torn last one is dropped."""

  def __init__(self, file):
    self._file = file
    file.seek(0)
    raw = file.read()
    whole = raw[: raw.rfind(b"\n") + 1]  # a kill may tear the last line
    file.truncate(len(whole))
    try:
      self.lines = [json.loads(line) for line in whole.splitlines()]
    except ValueError as e:
      raise errors.DataError(
        f"{file.name} is damaged: remove its directory and start again"
      ) from e

  def of(self, kind, name):
    """The lines of one kind about one name."""
    return [line for line in self.lines if line.get(kind) == name]

  def add(self, values):
    """Writes a line, as far as the system."""
    self._file.write(json.dumps(values).encode() + b"\n")
    self._file.flush()
    self.lines.append(values)

  def clear(self):
    """Forgets all."""
    self._file.truncate(0)
    self.lines = []
