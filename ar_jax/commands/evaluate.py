"""Score a whole split, beside n-grams and compressors.

  ar_jax evaluate --workdir=runs/a
  ar_jax evaluate --workdir=runs/a --stride=8
  ar_jax evaluate --workdir=runs/a --protocol=nanogpt
  ar_jax evaluate --workdir=runs/a --checkpoint=best
  ar_jax evaluate --workdir=runs/a --config.data.path=moved/input.txt
  ar_jax evaluate --workdir=runs/any_order --ordering=raster
  ar_jax evaluate --workdir=runs/any_order --config.evaluate.orders=8

Every site is scored exactly once. The figures go to
reports/evaluation.json, the bars into reports/curves.png, the mean nats of
each site and of each step of the order into reports/maps.npz and maps.png.
"""

from ar_jax.commands import _options

OVERRIDES = True
_FREE = ("data", "evaluate")  # sections; all else is the run's


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("--workdir", required=True, metavar="DIR", help="a run")
  parser.add_argument(
    "--checkpoint", default="last", help="last, best or a number of updates"
  )
  parser.add_argument(
    "--ordering",
    metavar="NAME",
    help="of a network trained in every order: score it in this one",
  )
  parser.add_argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help=_options.help_of("the order", "seed=3", "size=[4,4]"),
  )
  parser.add_argument("--split", help="default: config.evaluate.split")
  parser.add_argument(
    "--stride",
    type=int,
    metavar="N",
    help="tokens between windows of a text (default: config.data.stride)",
  )
  parser.add_argument(
    "--protocol",
    choices=("strided", "nanogpt"),
    help="how windows of a text are cut (default: config.data.protocol)",
  )


def run(args):
  """Scores and prints."""
  import dataclasses

  from ar_jax import config as configs
  from ar_jax import errors, report, scoring
  from ar_jax import run as runs
  from ar_jax.commands import _show

  trained = runs.load(args.workdir, args.checkpoint)
  flags = {
    "evaluate.split": args.split,
    "data.stride": args.stride,
    "data.protocol": args.protocol,
  }
  config = configs.restore(configs.plain(trained.config))
  for key, value in flags.items():
    if value is not None:
      configs.override(config, key, value)
  for key, value in args.overrides:
    section = key.split(".")[0]
    if section in config and section not in _FREE:
      raise errors.UsageError(
        f"config.{key} is the run's; evaluate takes data.* and evaluate.*"
      )
    configs.override(config, key, value)
  trained = dataclasses.replace(trained, config=config)
  if args.ordering is not None:
    trained = trained.in_order(args.ordering, **_options.read(args.set))
  elif args.set:
    raise errors.UsageError("--set is of an --ordering=NAME")
  result = scoring.score(trained, *scoring.dataset_of(trained, config))
  _show.scores(result)
  report.curves(trained.workdir)
