"""Train a model from a config.

  ar_jax train --config=configs/text_gpt.py --workdir=runs/a
  ar_jax train --config=configs/text_gpt.py:ordering=reverse,tiny \\
      --workdir=runs/b --config.optimizer.lr=3e-4
  ar_jax train --workdir=runs/a
  ar_jax train --config=configs/text_gpt.py --workdir=runs/c \\
      --init_from=runs/a
  ar_jax train --config=configs/text_gpt.py --workdir=runs/d \\
      --config.parallel.name=sharded --config.parallel.model=2
  ar_jax train --config=configs/text_gpt.py --workdir=runs/e \\
      --coordinator=10.0.0.1:4321 --num_processes=2 --process_id=0

What stands after the colon chooses plugins and sizes (the config's header
lists the words); --config.SECTION.KEY=VALUE sets one value. The directory
then holds config.json, spec.json, run.json, metrics.jsonl, checkpoints/ and
reports/ with curves.png and evaluation.json. A directory that holds a run
goes on where its last checkpoint stands, and ends as if never stopped; then
--config may be left out.
"""

OVERRIDES = True


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument(
    "--config", metavar="FILE.py[:ARGS]", help="what to run, if it is new"
  )
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="new, or one to go on with"
  )
  parser.add_argument(
    "--init_from", metavar="RUN", help="start from this run's parameters"
  )
  parser.add_argument(
    "--allow_data_change",
    action="store_true",
    help="go on although the data is not what the run began with",
  )
  parser.add_argument(
    "--coordinator",
    metavar="HOST:PORT",
    help="of process 0, where several processes train one run; or auto: as JAX"
    " finds it on TPU pods, under Open MPI and Kubernetes (default: under SLURM"
    " the tasks of a step, else this process alone)",
  )
  parser.add_argument(
    "--num_processes", type=int, metavar="N", help="1: do not ask SLURM"
  )
  parser.add_argument(
    "--process_id", type=int, metavar="I", help="of this one, 0..N-1"
  )


def run(args):
  """Trains, scores the whole validation split, draws the curves."""
  import jax

  from ar_jax import (
    checkpoint,
    errors,
    launch,
    parallel,
    preemption,
    record,
    report,
    scoring,
  )
  from ar_jax import config as configs
  from ar_jax.commands import _show

  jax.config.update("jax_debug_key_reuse", args.debug)
  parallel.start(args.coordinator, args.num_processes, args.process_id)
  if args.config is not None:
    config = configs.load(args.config, args.overrides)
  elif checkpoint.exists(args.workdir):
    config = configs.restore(checkpoint.read_record(args.workdir, "config"))
    for key, value in args.overrides:
      configs.override(config, key, value)
  else:
    raise errors.UsageError(
      f"{args.workdir} holds no run to go on with; give --config=FILE.py"
    )
  with _show.Progress(config.train.steps) as progress:
    trained, dataset = launch.train(
      config,
      args.workdir,
      progress.view if parallel.is_first() else launch.SILENT,
      init_from=args.init_from,
      allow_data_change=args.allow_data_change,
      debug=args.debug,
    )
  with preemption.Watch() as watch, watch.interruptible():
    result = scoring.score(trained, dataset, record.same_data(args.workdir))
  if not parallel.is_first():
    return
  _show.scores(result)
  report.curves(trained.workdir)
  _show.say(f"run in {args.workdir}; curves in {args.workdir}/reports")
