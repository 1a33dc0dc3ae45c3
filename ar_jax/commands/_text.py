"""Flags of `ar_jax sample` that are of text, and what they ask for."""

_FILTERS = ("greedy", "temperature", "top_k", "top_p", "min_p")


def add_arguments(parser):
  """Flags of text; the penalties are of all values that can be listed."""
  parser.add_argument(
    "--stop",
    action="append",
    default=[],
    metavar="TEXT",
    help="cut the text before it, wherever it comes after the prompt; the"
    " figures count the tokens up to the one that completes it; repeatable",
  )
  parser.add_argument(
    "--stream",
    action="store_true",
    help="show one text as it is drawn; its figures come last",
  )
  parser.add_argument(
    "--ban",
    action="append",
    default=[],
    metavar="TEXT",
    help="a text of one token that is never drawn; repeatable",
  )
  parser.add_argument(
    "--force",
    action="append",
    default=[],
    metavar="STEP:TEXT",
    help="what stands STEP tokens after the prompt (0: next to it), not drawn"
    " and not counted; repeatable",
  )
  parser.add_argument(
    "--repetition_penalty",
    type=float,
    metavar="R",
    help="log-probabilities of tokens that are there, in the prompt too, times"
    " R (default: 1)",
  )
  parser.add_argument(
    "--presence_penalty",
    type=float,
    metavar="NATS",
    help="taken from tokens that are there (default: 0)",
  )
  parser.add_argument(
    "--frequency_penalty",
    type=float,
    metavar="NATS",
    help="taken from a token for each time it is there (default: 0)",
  )
  parser.add_argument(
    "--beams",
    type=int,
    metavar="W",
    help="search the likeliest text with W beams, and show all, instead of"
    " drawing; of short texts: what is likeliest is not what is typical",
  )
  parser.add_argument(
    "--length_penalty",
    type=float,
    metavar="A",
    help="beams compare by log p / tokens^A (default: 0, log p itself)",
  )


def check(args):
  """UsageError for flags that do not go together."""
  from ar_jax import errors

  other = args.given or args.passes or args.beams is not None
  several = args.num != 1 or len(args.prompt or ()) > 1
  if args.stream and (several or other):
    raise errors.UsageError(
      "--stream shows one text: one --prompt, no --num, --given, --passes or"
      " --beams"
    )
  if args.passes and (args.ban or _penalties(args)):
    raise errors.UsageError(
      "--passes draws sites side by side: it takes no --ban and no penalty,"
      " which go by what came before"
    )
  if args.given and (args.stop or args.force or args.beams is not None):
    raise errors.UsageError(
      "--given completes items: no --stop, --force or --beams; --mask says"
      " what is given"
    )
  if args.length_penalty is not None and args.beams is None:
    raise errors.UsageError("--length_penalty is of --beams")
  if args.beams is None:
    return
  drawn = [f for f in _FILTERS if getattr(args, f) not in (None, False)]
  drawn += [
    f
    for f in ("stop", "force", "passes", "sampler", "draft")
    if getattr(args, f)
  ]
  if drawn or args.num != 1:
    raise errors.UsageError(
      "--beams draws nothing: it takes no"
      f" {', '.join(f'--{f}' for f in drawn or ['num'])}"
    )


def adjusted(args, run):
  """The run, or one that draws from a view of it where flags ask for it."""
  from ar_jax import views

  settings = _penalties(args)
  if not settings and not args.ban:
    return run
  return views.adjusted(run, banned=args.ban, **settings)


def _penalties(args):
  """{name: value} of those that are given."""
  names = ("repetition", "presence", "frequency")
  settings = {n: getattr(args, f"{n}_penalty") for n in names}
  return {n: v for n, v in settings.items() if v is not None}


def forced(args):
  """{step: text} of --force."""
  from ar_jax import errors

  result = {}
  for words in args.force:
    step, colon, text = words.partition(":")
    if not (colon and text and step.isdecimal()):
      raise errors.UsageError(f"--force={words}: takes STEP:TEXT, as 0:The")
    if int(step) in result:
      raise errors.UsageError(f"--force={words}: step {step} is forced twice")
    result[int(step)] = text
  return result


def stream(args, run):
  """One text as it comes, and its figures."""
  import jax

  from ar_jax import inputs
  from ar_jax.commands import _show

  prompt = (args.prompt or [""])[0]
  for number, piece in enumerate(
    run.stream(
      jax.random.key(args.seed),
      prompt,
      args.length,
      y=inputs.labels(run.spec, run.media, args.y, 1),
      stop=args.stop,
      forced=forced(args),
    )
  ):
    _show.piece(piece.text if number else prompt + piece.text)
  _show.piece("\n")
  _show.figures(0, *figures(run.media, piece.drawn, 0))


def beams(args, run):
  """The beams of each prompt, best first."""
  from ar_jax import inputs
  from ar_jax.commands import _show

  for prompt in args.prompt or [""]:
    found = run.beams(
      prompt,
      args.beams,
      args.length,
      y=inputs.labels(run.spec, run.media, args.y, 1),
      length_penalty=args.length_penalty or 0.0,
    )
    for row, words in enumerate(found.texts):
      log_model, log_q, tokens, _ = figures(run.media, found, row)
      log_q = None if run.net.view is None else log_q
      _show.beam(row, words, tokens, log_model, log_q)


def figures(media, drawn, row):
  """(log p, log q, tokens, bytes or None) of what was drawn of a row."""
  from ar_jax import text

  asked_T = drawn.drawn_BT[row]
  values_K = drawn.x_BTC[row, asked_T, 0]
  is_text = media.get("kind") == "text"
  return (
    drawn.log_prob_model_BT[row, asked_T].sum(),
    drawn.log_prob_sampler_BT[row, asked_T].sum(),
    len(values_K),
    len(text.to_bytes(media, values_K)) if is_text else None,
  )
