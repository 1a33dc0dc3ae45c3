"""Tables and pictures: for the terminal, Markdown and CSV; PNG and SVG."""

import contextlib
import csv
import io
import math


def table(title, titles, cells, caption=None):
  """A rich table of text, the first column to the left."""
  from rich.markup import escape
  from rich.table import Table

  made = Table(title=title, caption=caption)
  for n, name in enumerate(titles):
    made.add_column(name, justify="right" if n else "left")
  for line in cells:
    made.add_row(*map(escape, line))
  return made


def known(value, form):
  """A figure as `format` has it; nothing of nan, which is not known."""
  return "" if math.isnan(value) else format(value, form)


def markdown(titles, cells):
  """A table in Markdown, the first column to the left."""
  rule = ["---", *["---:"] * (len(titles) - 1)]
  lines = [titles, rule, *cells]
  clean = [[str(c).replace("|", "\\|") for c in line] for line in lines]
  return "".join(f"| {' | '.join(line)} |\n" for line in clean)


def to_csv(titles, cells):
  """A table as CSV."""
  file = io.StringIO()
  writer = csv.writer(file, lineterminator="\n")
  writer.writerows([titles, *cells])
  return file.getvalue()


@contextlib.contextmanager
def picture(path, size):
  """A matplotlib figure; at the end it is saved as PNG and SVG.

  The same curves give the same bytes.

  Args:
    path: without the suffixes.
    size: (width, height) in inches.
  """
  import matplotlib
  from matplotlib.figure import Figure

  with matplotlib.rc_context({"svg.hashsalt": "ar_jax", "font.size": 8}):
    figure = Figure(figsize=size, layout="constrained")
    yield figure
    figure.savefig(f"{path}.png", dpi=150)
    figure.savefig(f"{path}.svg", metadata={"Date": None})
