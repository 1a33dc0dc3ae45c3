"""What guidance buys and costs: p(x | y) against p(x), at several scales.

  ar_jax guidance --workdir=runs/digits
  ar_jax guidance --workdir=runs/digits --scales=0,0.5,1,1.5,2,4 --num=500
  ar_jax guidance --workdir=runs/digits --split=test --temperature=0.9

At each step a guided sampler draws from q ~ p(x | y)^s p(x)^(1 - s): 0 is the
model without labels, 1 the model with them. It is a distribution of its own,
so the likelihood that it gives to a split is exact. Beside it, over --num
draws whose labels take turns: the entropy of q, how probable the draws are to
the model, the share of them whose label the model infers, and how many draws
from the model they are worth (as importance weights). All of it goes to
reports/guidance.json, the curves into reports/guidance.png. To draw guided
samples: `ar_jax sample --workdir=runs/digits --guidance=2 --y label=3`.
"""

import argparse


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("--workdir", required=True, metavar="DIR", help="a run")
  parser.add_argument(
    "--checkpoint", default="last", help="last, best or a number of updates"
  )
  parser.add_argument("--split", help="default: config.evaluate.split")
  parser.add_argument("--label", help="which label (default: the only one)")
  parser.add_argument(
    "--scales",
    type=_scales,
    default=(0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
    metavar="S,...",
    help="default: 0,0.5,1,1.5,2,3,4",
  )
  parser.add_argument(
    "--num", type=int, default=200, help="draws of each scale (default: 200)"
  )
  parser.add_argument("--temperature", type=float, metavar="T")
  parser.add_argument("--seed", type=int, default=0)


def run(args):
  """Scores, draws, prints."""
  import jax

  from ar_jax import classify, errors, scoring, tradeoff
  from ar_jax import config as configs
  from ar_jax import run as runs
  from ar_jax.commands import _show

  if args.num < 2:
    raise errors.UsageError(f"--num={args.num}: takes 2 draws or more")
  filters = dict(temperature=args.temperature)
  trained = runs.load(args.workdir, args.checkpoint, filters)
  name = classify.label_of(trained.spec, args.label)
  config = configs.restore(configs.plain(trained.config))
  split = config.evaluate.split if args.split is None else args.split
  configs.override(config, "evaluate.split", split)
  dataset, _ = scoring.dataset_of(trained, config)
  key = jax.random.key(args.seed)
  result = tradeoff.of_run(
    trained, dataset, split, name, args.scales, args.num, key
  )
  scoring.write(trained.workdir, "guidance", dict(step=trained.step, **result))
  picture = tradeoff.draw(result, trained.workdir / "reports")
  _print(result)
  _show.say(f"curves: {picture}")


def _print(result):
  from rich.table import Table

  from ar_jax.commands import _show

  table = Table(
    title=f"{result['split']} split, nats an item; +- s.e. over items or draws"
  )
  for title in (
    "scale",
    "-log q of the split",
    "over the model's own",
    "entropy of q",
    "-log p of the draws",
    "label inferred",
    f"worth of {result['draws']} draws",
  ):
    table.add_column(title, justify="right")
  for row in result["rows"]:
    table.add_row(
      f"{row['scale']:g}",
      f"{row['nats']:.2f} +- {row['nats_error']:.2f}",
      f"{row['over_model']:+.2f} +- {row['over_model_error']:.2f}",
      f"{row['entropy']:.2f} +- {row['entropy_error']:.2f}",
      f"{row['model_nats']:.2f}",
      f"{100 * row['inferred']:.1f} %",
      f"{row['effective']:.1f}",
    )
  _show.show(table)
  _show.say(
    f"protocol: {result['protocol']}; {result['items']:,} items of"
    f" {result['sites']} values, given their {result['label']}; exact"
  )


def _scales(text):
  try:
    return tuple(float(s) for s in text.split(","))
  except ValueError:
    raise argparse.ArgumentTypeError(
      f"{text!r} is no list such as 0,1,2"
    ) from None
