"""Train a model from a config.

  ar_jax train --config=configs/text_gpt.py --workdir=runs/a
  ar_jax train --config=configs/text_gpt.py:ordering=reverse,tiny \\
      --workdir=runs/b --config.optimizer.lr=3e-4

What stands after the colon chooses plugins and sizes (the config's header
lists the words); --config.SECTION.KEY=VALUE sets one value. The directory
then holds config.json, spec.json, run.json, metrics.jsonl, checkpoints/ and
reports/ with curves.png and evaluation.json.
"""


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument(
    "--config", required=True, metavar="FILE.py[:ARGS]", help="what to run"
  )
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="a new directory"
  )


def run(args):
  """Trains, scores the whole validation split, draws the curves."""
  from ar_jax import config as configs
  from ar_jax import report
  from ar_jax import run as runs
  from ar_jax.commands import _show

  config = configs.load(args.config, args.overrides)
  with _show.Progress(config.train.steps) as progress:
    trained, dataset = runs.train(config, args.workdir, progress.view)
  result = runs.score(trained, dataset)
  _show.scores(result)
  report.curves(trained.workdir)
  _show.say(f"run in {args.workdir}; curves in {args.workdir}/reports")
