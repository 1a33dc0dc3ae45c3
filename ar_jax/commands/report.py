"""Write one page about a run: curves, scores, colored samples, config, cost.

  ar_jax report runs/a
  ar_jax report runs/a --prompt="The " --prompt="class " --num=2 --length=300
  ar_jax report runs/a --text="What the model makes of this." --checkpoint=best

The page is reports/report.html and needs nothing beside itself; curves.png
and curves.svg lie next to it. It needs the directory alone, no data. Each
token of a sample stands on a color that tells how much it surprised the
model. What a run that was cut off lacks is named, with the command that
makes it.
"""


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("workdir", metavar="DIR", help="a run")
  parser.add_argument(
    "--checkpoint", default="last", help="last, best or a number of updates"
  )
  parser.add_argument(
    "--prompt", action="append", default=[], help="text that samples go on from"
  )
  parser.add_argument("--num", type=int, default=2, help="samples a prompt")
  parser.add_argument(
    "--length",
    type=int,
    help="tokens after the prompt (default: 200 of a text, all of an item)",
  )
  parser.add_argument("--seed", type=int, default=0, help="of the samples")
  parser.add_argument("--text", default="", help="a text to score as well")


def run(args):
  """Writes the page and says where."""
  from ar_jax import page
  from ar_jax.commands import _show

  path, missing = page.write(
    args.workdir,
    args.checkpoint,
    args.prompt,
    args.text,
    num=args.num,
    length=args.length,
    seed=args.seed,
  )
  for what, command in missing:
    _show.say(f"not on the page: {what}: {command}")
  _show.say(f"report in {path}")
