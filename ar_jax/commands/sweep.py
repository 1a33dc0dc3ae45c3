"""Run a study: its cells, here or on a cluster, then its report.

  ar_jax sweep experiments/text_order.py --workdir=runs/orders
  ar_jax sweep experiments/order_ablation.py:data=ising --workdir=runs/ising \\
      --parallel=2
  ar_jax sweep experiments/text_order.py --workdir=runs/orders --on=slurm \\
      --slurm=partition=gpu --slurm=time=120 --slurm=gpus_per_node=1
  ar_jax sweep experiments/text_order.py --workdir=runs/orders --on=print
  ar_jax sweep experiments/text_order.py --workdir=runs/orders --vmap=seed
  ar_jax sweep status runs/orders
  ar_jax sweep cancel runs/orders
  ar_jax sweep retry runs/orders

A study is a file with `sweep() -> list of cells` and `report(rows, folder)`,
or `sweep(arg)` where it takes arguments after a colon, as configs do. A
cell names its config and what it overrides. By checkpoint="best" the run is
scored as of its best validation and not of its last update, by split="test"
on another split than the one it was watched on; `tags` are the study's own.

All cells are checked, and their data prepared, before one begins; then their
configs are frozen. The same command goes on with what is missing, on any
number of machines that share the directory: a run that was stopped or killed
goes on up to three times, one that failed is listed until `retry`. When no
run is missing the report is made. --on=print gives the command of each run,
one to a line, for GNU parallel or xargs. --vmap=seed makes one program of the
seeds of a setting, which is faster where the network is small.
"""

OVERRIDES = True  # to say why there are none

_VERBS = ("status", "cancel", "retry", "work")
_PLACES = ("local", "slurm", "print")


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument(
    "study",
    metavar="FILE.py[:ARGS]",
    help="the study; or status, cancel, retry",
  )
  parser.add_argument(
    "folder", nargs="?", metavar="DIR", help="of a sweep: status, cancel, retry"
  )
  parser.add_argument("--workdir", metavar="DIR", help="of all its runs")
  parser.add_argument(
    "--on", choices=_PLACES, default="local", help="where it runs"
  )
  parser.add_argument(
    "--parallel",
    type=int,
    metavar="N",
    help="runs at a time: processes that share the cores and GPUs here"
    " (default 1), jobs of an array there (default: as many as SLURM lets)",
  )
  parser.add_argument(
    "--slurm",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="an option of sbatch, as submitit names it: time (minutes),"
    " partition, mem, cpus_per_task, gpus_per_node, account, ...",
  )
  parser.add_argument(
    "--vmap",
    choices=("seed",),
    help="train runs that differ in `seed` alone as one program: they share"
    " the order of the data, not init and dropout",
  )
  parser.add_argument("--cell", help="of work: the one to run")
  parser.add_argument("--cores", help="of work: cores to keep to, as 0,1")


def run(args):
  """Submits, runs, reports; or what the verb says."""
  from ar_jax import errors
  from ar_jax.commands import _sweep

  if args.overrides:
    raise errors.UsageError("a study sets its own configs; edit its cells")
  if args.study in _VERBS:
    if args.folder is None:
      raise errors.UsageError(f"which sweep? ar_jax sweep {args.study} DIR")
    _sweep.VERBS[args.study](args)
    return
  if args.folder is not None:
    raise errors.UsageError(
      f"{args.study!r} is none of {', '.join(_VERBS[:3])}; a study has its"
      " directory by --workdir"
    )
  if args.workdir is None:
    raise errors.UsageError("--workdir=DIR is missing: where the runs lie")
  if args.parallel is not None and args.parallel < 1:
    raise errors.UsageError(f"--parallel={args.parallel} must be 1 or more")
  _sweep.submit(args)
