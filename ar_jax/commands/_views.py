"""Flags of `ar_jax sample` that say what draws, and from what."""

from ar_jax.commands import _options, _text


def add_arguments(parser):
  """Flags of guidance, samplers and drafts."""
  parser.add_argument(
    "--guidance",
    type=float,
    metavar="S",
    help="of a run with labels: draw from p(x | y)^S p(x)^(1 - S) at each step",
  )
  parser.add_argument(
    "--sampler",
    metavar="NAME",
    help="another than that of the config, as ancestral, jacobi, levels or"
    " speculative",
  )
  parser.add_argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help=_options.help_of(
      "the --sampler or of --draft", "window=32", "steps=4"
    ),
  )
  parser.add_argument(
    "--draft",
    metavar="DIR",
    help="a smaller run on the same data that drafts what this one judges:"
    " distributed as without it",
  )


def of(args, run):
  """The run as the flags ask for it.

  Returns:
    (Run, list that views.counting fills).
  """
  from ar_jax import errors, views
  from ar_jax import run as runs

  if args.guidance is not None:
    run = views.guided(run, args.guidance)
  run = _text.adjusted(args, run)
  options = _options.read(args.set)
  if args.draft and args.sampler not in (None, "speculative"):
    raise errors.UsageError("--draft is of the sampler speculative")
  if args.set and not (args.draft or args.sampler):
    raise errors.UsageError("--set is of a --sampler=NAME or a --draft=DIR")
  if (args.draft or args.sampler) and args.passes is not None:
    raise errors.UsageError("--passes is a sampler of its own")
  if args.draft:
    run = views.drafted(run, runs.load(args.draft), **options)
  elif args.sampler:
    run = views.drawn_by(run, args.sampler, **options)
  return views.counting(run)


def say(counts, steps, rows):
  """What a sampler counted, where it did.

  Args:
    counts: of views.counting.
    steps: that were drawn of each row, the given ones too.
    rows: that were drawn.
  """
  import numpy as np

  from ar_jax.commands import _show

  if not counts:
    return
  passes = sum(int(np.max(window["passes"])) for window in counts)
  _show.say(f"{passes:,} passes of the network for {steps:,} steps")
  drafted = sum(int(w["drafted"].sum()) for w in counts if "drafted" in w)
  if drafted:
    kept = sum(int(window["kept"].sum()) for window in counts)
    of_rows = sum(int(window["passes"].sum()) for window in counts)
    _show.say(
      f"{kept / drafted:.1%} of {drafted:,} drafted values kept;"
      f" {steps * rows / of_rows:.2f} values a pass of a row"
    )
