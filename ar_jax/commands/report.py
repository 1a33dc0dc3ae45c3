"""Write one page about a run, or about many: curves, scores, samples, cost.

  ar_jax report runs/a
  ar_jax report runs/orders
  ar_jax report runs/a runs/b --out=compare.html
  ar_jax report runs/a --prompt="The " --prompt="class " --num=2 --length=300
  ar_jax report runs/a --text="What the model makes of this." --checkpoint=best

The page is reports/report.html and needs nothing beside itself; curves.png
and curves.svg lie next to it. It needs the directory alone, no data. Each
token of a sample stands on a color that tells how much it surprised the
model. What a run that was cut off lacks is named, with the command that
makes it.

Of a sweep, or of several runs or sweeps, the page is report.html in the first
directory: curves to point at and switch off, tables that sort, samples of the
best settings, maps, cost; curves.png and curves.svg beside it are for print.
"""


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument(
    "workdir", nargs="+", metavar="DIR", help="a run, a sweep, or several"
  )
  parser.add_argument("--out", metavar="FILE", help="of the page of several")
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
  from ar_jax import checkpoint, errors, page, sweep_page
  from ar_jax.commands import _show

  shared = dict(num=args.num, length=args.length, seed=args.seed)
  folder, *others = args.workdir
  if others or not checkpoint.exists(folder):
    if args.prompt or args.text or args.checkpoint != "last":
      raise errors.UsageError(
        "--prompt, --text and --checkpoint are of one run; give its directory"
      )
    path = sweep_page.write(args.workdir, args.out, **shared)
    _show.say(f"report in {path}")
    return
  if args.out is not None:
    raise errors.UsageError(
      f"the page of a run is {folder}/reports/report.html"
    )
  path, missing = page.write(
    folder,
    args.checkpoint,
    args.prompt,
    args.text,
    **shared,
  )
  for what, command in missing:
    _show.say(f"not on the page: {what}: {command}")
  _show.say(f"report in {path}")
