"""Check on this machine that figures can be believed: exact, causal, resumed.

  ar_jax selftest
  ar_jax selftest --workdir=runs/a

Without --workdir: every model, head and sampler at its smallest, on all
sequences there are, and a run that is stopped and continued. With it: the
run's own model, on all sequences where those are few, else on sampled ones.
Under a minute on two cores, minutes for a run of 100 million parameters. Exit
code 4 where a check fails.
"""


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument(
    "--workdir", metavar="DIR", help="a run (default: the plugins themselves)"
  )


def run(args):
  """Prints one row for each subject and check."""
  import time

  from ar_jax import errors
  from ar_jax.commands import _show
  from ar_jax.proofs import findings, selftest

  start = time.perf_counter()
  _show.say(f"ar_jax selftest on {selftest.machine()}")
  if args.workdir is None:
    rows = selftest.default()
  else:
    resumed = findings.guarded("resume", selftest.resume)
    rows = [*_trained(args.workdir), *resumed]
  _print(rows)
  failed = [row for row in rows if row.passed is False]
  skipped = [row for row in rows if row.passed is None]
  for row in failed + skipped:
    _show.say(f"{row.subject}: {row.check}: {row.message}")
  seconds = time.perf_counter() - start
  if failed:
    raise errors.NumericalError(
      f"selftest: {len(failed)} of {len(rows)} checks failed, the first of them"
      f" {failed[0].subject}: {failed[0].check}; do not believe figures of"
      " these versions on this machine before it passes"
    )
  passed = len(rows) - len(skipped)
  _show.say(f"{passed} checks passed in {seconds:.0f} s")


def _trained(workdir):
  from ar_jax import errors, registry
  from ar_jax import run as runs
  from ar_jax.proofs import probe

  trained = runs.load(workdir)
  if trained.spec.num_values is None:
    raise errors.UsageError(
      f"{workdir}: selftest takes runs of discrete values, this one has real"
      " ones; `ar_jax selftest` without --workdir checks the plugins"
    )
  net = trained.net
  # Not the run's own sampler: its temperature is not the model's.
  section = dict(name=trained.config.sample.name)
  sampler = registry.build("samplers", section, net.model, net.head)
  return probe.trained(
    net.model,
    net.head,
    net.ordering,
    trained.spec,
    trained.params,
    sampler,
  )


def _print(rows):
  from rich import box
  from rich.markup import escape
  from rich.table import Table

  from ar_jax.commands import _show

  table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
  for column in ("subject", "check", "on sequences", "figure", "bar", ""):
    table.add_column(column)
  for row in rows:
    word = {True: "pass", False: "FAIL", None: "-"}[row.passed]
    style = {True: "green", False: "bold red", None: "dim"}[row.passed]
    cells = (row.subject, row.check, row.on, row.figure, row.bar, word)
    table.add_row(*map(escape, cells), style=style)
  _show.show(table)
