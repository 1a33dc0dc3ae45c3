"""List, verify or compare the checkpoints of runs.

  ar_jax checkpoints list runs/a
  ar_jax checkpoints verify runs/a
  ar_jax checkpoints diff runs/a@500 runs/a@1000
  ar_jax checkpoints diff runs/a runs/b

`list` shows what each state was committed with. `verify` reads all of them
again and compares every file with the SHA-256 of its commit; the exit code is
3 if one has changed. `diff` compares two states, bit for bit and in size, leaf
by leaf; RUN is a directory with, after an @, the number of updates, `last` (as
without) or `best`.
"""

import pathlib


def add_arguments(parser):
  """Flags of the command."""
  actions = parser.add_subparsers(dest="action", required=True)
  for name, told in (
    ("list", "what each state was committed with"),
    ("verify", "read all states again"),
  ):
    action = actions.add_parser(name, help=told, description=told)
    action.add_argument("workdir", metavar="DIR", help="a run")
  action = actions.add_parser(
    "diff", help="compare two states", description="compare two states"
  )
  for name in ("one", "two"):
    action.add_argument(
      name, metavar="RUN", help="DIR, DIR@STEP, DIR@last or DIR@best"
    )


def run(args):
  """Prints what was asked for."""
  dict(list=_list, verify=_verify, diff=_diff)[args.action](args)


def _list(args):
  import time

  from rich.table import Table

  from ar_jax import checkpoint, states
  from ar_jax.commands import _show

  checkpoint.load(args.workdir)  # says so where there is no run
  kept = states.Checkpoints(args.workdir, read_only=True)
  kept.check()
  table = Table(title=f"checkpoints of {args.workdir}")
  for name in ("step", "committed", "MB", "nats a site", ""):
    table.add_column(name, justify="right")
  rows = kept.table()
  best = min((r.score for r in rows if r.score is not None), default=None)
  for row in rows:
    said = ["best"] * (row.score is not None and row.score == best)
    table.add_row(
      f"{row.step:,}",
      time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.time)),
      f"{row.bytes / 1e6:,.2f}",
      "-" if row.score is None else f"{row.score:.4f}",
      ", ".join(said + ["last"] * (row is rows[-1])),
    )
  _show.show(table)


def _verify(args):
  from ar_jax import checkpoint, commit, errors, states
  from ar_jax.commands import _show

  checkpoint.load(args.workdir)
  kept = states.Checkpoints(args.workdir, read_only=True)
  kept.check()
  steps, damaged = kept.steps(), []
  for step in steps:
    try:
      kept.verify(step)
    except commit.Damaged as e:
      damaged.append(str(e))
      _show.say(f"step {step}: CHANGED: {e}")
    else:
      _show.say(f"step {step}: as it was committed")
  if damaged:
    raise errors.DataError(
      f"{len(damaged)} of {len(steps)} checkpoints of {args.workdir} have"
      f" changed since they were committed: {damaged[0]}; the run goes on from"
      " the last one that has not"
    )


def _diff(args):
  from rich.table import Table

  from ar_jax import checkpoint
  from ar_jax import run as runs
  from ar_jax.commands import _show

  one, two = (
    dict(checkpoint.named(runs.state_of(*_split(text))._asdict()))
    for text in (args.one, args.two)
  )
  table = Table(title=f"{args.one} and {args.two}, where they differ")
  for name in ("leaf", "in the first", "in the second", "largest difference"):
    table.add_column(name, justify="left" if name == "leaf" else "right")
  same = 0
  for name in [*one, *(n for n in two if n not in one)]:
    row = _compared(one.get(name), two.get(name))
    same += row is None
    if row is not None:
      table.add_row(name, *row)
  if table.row_count:
    _show.show(table)
  total = same + table.row_count
  _show.say(f"{same} of {total} leaves are equal, bit for bit")


def _compared(a, b):
  """Cells of two arrays, or None where their bits are the same."""
  import numpy as np

  from ar_jax import checkpoint

  kinds = [
    "-" if x is None else checkpoint.leaves(dict(x=x))["x"] for x in (a, b)
  ]
  if kinds[0] != kinds[1]:
    return *kinds, "-"
  if np.asarray(a).tobytes() == np.asarray(b).tobytes():
    return None
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  norms = [f"{kinds[0]}, norm {np.linalg.norm(x):.4g}" for x in (a, b)]
  return *norms, f"{np.abs(a - b).max():.3g}"


def _split(text):
  """(directory, which) of DIR@WHICH."""
  folder, at, which = text.rpartition("@")
  if not at or pathlib.Path(text).exists():
    return text, "last"
  return folder, which
