"""metrics.jsonl: one line of JSON for each set of figures."""

import json
import pathlib
import time


def append(workdir, step, values):
  """Adds a line: the step, the time in seconds, and the figures."""
  line = dict(step=step, time=round(time.time(), 3), **values)
  file = pathlib.Path(workdir) / "metrics.jsonl"
  with file.open("a", encoding="utf-8") as f:
    f.write(json.dumps(line) + "\n")


def read(workdir):
  """All lines as dicts; a torn last line is left out."""
  file = pathlib.Path(workdir) / "metrics.jsonl"
  lines = file.read_text(encoding="utf-8").split("\n")
  return [json.loads(line) for line in lines[:-1]]
