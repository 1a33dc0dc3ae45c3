"""Infer labels with a generative run: p(y | x) from p(x | y) p(y).

  ar_jax classify --workdir=runs/ar2
  ar_jax classify --workdir=runs/tones --split=train --label=label
  ar_jax classify --workdir=runs/ar2 --config.data.valid_size=8000

One pass a label. Prints accuracy, log-loss and the information that the items
have about the label, which its entropy bounds; all of it goes to
reports/classification.json. --config.data.* describes other items to infer.
"""

OVERRIDES = True


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("--workdir", required=True, metavar="DIR", help="a run")
  parser.add_argument(
    "--checkpoint", default="last", help="last, best or a number of updates"
  )
  parser.add_argument("--split", help="default: config.evaluate.split")
  parser.add_argument("--label", help="which label (default: the only one)")


def run(args):
  """Classifies and prints."""
  from ar_jax import classify, errors, scoring
  from ar_jax import config as configs
  from ar_jax import run as runs
  from ar_jax.commands import _show

  trained = runs.load(args.workdir, args.checkpoint)
  name = classify.label_of(trained.spec, args.label)
  config = configs.restore(configs.plain(trained.config))
  if args.split is not None:
    configs.override(config, "evaluate.split", args.split)
  for key, value in args.overrides:
    if key.split(".")[0] != "data":
      raise errors.UsageError(
        f"config.{key} is the run's; classify takes data.*"
      )
    configs.override(config, key, value)
  dataset, _ = scoring.dataset_of(trained, config)
  split = config.evaluate.split
  result = classify.of_run(trained, dataset, split, name)
  scoring.write(
    trained.workdir, "classification", dict(step=trained.step, **result)
  )
  _show.classification(result, trained.media.get("labels"))
