"""Sample from a run: one compiled scan over the cached step.

  ar_jax sample --workdir=runs/a --prompt="The " --num=4 --length=200
  ar_jax sample --workdir=runs/a --greedy --prompt="def " --prompt="class A"
  ar_jax sample --workdir=runs/a --temperature=0.8 --top_p=0.95 --seed=1
  ar_jax sample --workdir=runs/a --prompt="Once " --stop="." --stream
  ar_jax sample --workdir=runs/a --frequency_penalty=0.2 --ban=Q --force=5:" X"
  ar_jax sample --workdir=runs/a --prompt="The " --beams=4 --length=10
  ar_jax sample --workdir=runs/tones --num=6 --y label=pluck,a,e --out=tones
  ar_jax sample --workdir=runs/digits --num=100 --y label=0,1,2,3,4,5,6,7,8,9
  ar_jax sample --workdir=runs/digits --num=10 --y label=3 --guidance=2
  ar_jax sample --workdir=runs/digits --num=16 --sampler=jacobi --set window=16
  ar_jax sample --workdir=runs/a --draft=runs/small --set steps=6
  ar_jax sample --workdir=runs/digits --given=test --items=8 --num=4
  ar_jax sample --workdir=runs/any --given=face.png --mask=hole.png --num=8
  ar_jax sample --workdir=runs/ardm --num=8 --passes=50

Text is printed; audio is written as wav with its spectrogram, piano rolls as
MIDI with a picture, images as PNG, one by one and in one grid (a row for each
label), series as csv, arrays as npy, all into --out.

--given completes items: the first --items of a split, or a file, of which the
upper --keep of the rows is given and the rest drawn, --num times each; or
what --mask says is given, any sites: a black and white PNG of an image's size
(white: given), or an .npy of 0 and 1 (1: given), one for all items or one for
each. A network trained with ordering=all draws the rest given all of it,
exactly. The grid shows what was given, the completions, and the whole item.

--prompt may be given several times; each is continued --num times, all in
one batch, whatever their lengths. Text longer than the window goes on from
the window's last tokens, as `evaluate` scores it. Flags that are not given
come from the run's config.

--sampler draws in another way: jacobi and levels draw the same samples in fewer
passes of the network, speculative (by --draft, or by what the row has said
before) others, distributed alike. Passes are told, and what a draft was worth.

Penalties, bans and guidance make another distribution q of the model's p, drawn
from and told of as `under the sampler`. Penalties count all tokens so far, the
prompt's too, as far back as the window begins.
"""

from ar_jax.commands import _text, _views


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("--workdir", required=True, metavar="DIR", help="a run")
  parser.add_argument(
    "--checkpoint", default="last", help="last, best or a number of updates"
  )
  parser.add_argument(
    "--prompt", action="append", help="text to continue (default: none)"
  )
  parser.add_argument("--num", type=int, default=1, help="samples a prompt")
  parser.add_argument(
    "--length",
    type=int,
    help="sites after the prompt (default: 200 of a text, else the window)",
  )
  parser.add_argument(
    "--y",
    action="append",
    default=[],
    metavar="NAME=VALUE",
    help="a label, by number or name; several by commas take turns",
  )
  parser.add_argument(
    "--given",
    metavar="SPLIT|FILE",
    help="items to complete: of a split, a .png (or a glob), or an .npy",
  )
  parser.add_argument(
    "--items", type=int, default=8, help="of a split to complete (default: 8)"
  )
  parser.add_argument(
    "--keep",
    type=float,
    metavar="SHARE",
    help="of the rows of an item that is given (default: 0.5)",
  )
  parser.add_argument(
    "--mask",
    metavar="FILE",
    help="of what is given, instead: a black and white .png, or an .npy",
  )
  parser.add_argument(
    "--passes",
    type=int,
    metavar="K",
    help="of an order-agnostic network: K passes, an approximation",
  )
  parser.add_argument(
    "--out", metavar="DIR", help="of files (default: samples/ in the run)"
  )
  parser.add_argument(
    "--greedy", action="store_true", help="the most likely value at each step"
  )
  parser.add_argument("--temperature", type=float, metavar="T")
  parser.add_argument("--top_k", type=int, metavar="K")
  parser.add_argument("--top_p", type=float, metavar="P")
  parser.add_argument("--min_p", type=float, metavar="P")
  parser.add_argument("--seed", type=int, default=0)
  _views.add_arguments(parser)
  _text.add_arguments(parser)


def run(args):
  """Samples and prints, with both log-probabilities."""
  import jax

  from ar_jax import errors, inputs
  from ar_jax import ordering as orders
  from ar_jax import run as runs
  from ar_jax.commands import _show

  if args.greedy and args.temperature is not None:
    raise errors.UsageError("give --greedy or --temperature, not both")
  if args.keep is not None and args.mask:
    raise errors.UsageError("give --keep or --mask, not both")
  if (args.keep is not None or args.mask) and not args.given:
    raise errors.UsageError(
      "--keep and --mask are of items: --given=SPLIT|FILE"
    )
  _text.check(args)
  filters = dict(
    temperature=0.0 if args.greedy else args.temperature,
    top_k=args.top_k,
    top_p=args.top_p,
    min_p=args.min_p,
  )
  trained = runs.load(args.workdir, args.checkpoint, filters)
  trained, counts = _views.of(args, trained)
  ordering = trained.net.ordering
  several = ordering.orders_KL is None  # one that begins with the prompt
  if args.prompt and not several and not orders.is_identity(ordering):
    _show.warn(
      f"the order is {trained.config.ordering.name}: tokens that come"
      " before the prompt in it cannot depend on the prompt"
    )
  if args.passes is not None:
    trained = trained.in_passes(args.passes)
    if not trained.net.sampler.exact:
      _show.warn(
        f"{args.passes} passes for {trained.spec.length} sites are an"
        " approximation: these are not draws from the model; what the sampler"
        " says is the probability of what was drawn from"
      )
  if args.given:
    return _complete(args, trained, counts)
  if args.beams is not None:
    return _text.beams(args, trained)
  if args.stream:
    return _text.stream(args, trained)
  spec, media = trained.spec, trained.media
  is_text = media.get("kind") == "text"
  rows = args.num * len(args.prompt or [""])
  y = inputs.labels(spec, media, args.y, rows)
  drawn = trained.sample(
    jax.random.key(args.seed),
    args.num,
    args.prompt or "",
    args.length,
    y,
    args.stop,
    _text.forced(args),
  )
  files = None if is_text else _save(args, media, drawn.x_BTC, y)
  for row in range(rows):
    words = drawn.texts[row] if is_text else "\n".join(map(str, files[row]))
    _show.sample(row, words, *_text.figures(media, drawn, row))
  _views.say(counts, drawn.x_BTC.shape[1], rows)
  return None


def _save(args, media, x_BLC, y):
  """Files of each row, and a grid of all; with labels, a line for each."""
  import numpy as np

  from ar_jax import media as mediums

  files = mediums.save(media, x_BLC, _folder(args))
  order_B, columns = np.arange(len(x_BLC)), None
  if y:
    label_B = next(iter(y.values()))
    order_B = np.argsort(label_B, kind="stable")
    counts = set(np.unique(label_B, return_counts=True)[1].tolist())
    columns = counts.pop() if len(counts) == 1 else None
  _grid(args, media, x_BLC[order_B], columns)
  return files


def _complete(args, run, counts):
  """Completes items, and prints what was drawn of each."""
  import jax

  from ar_jax import completion, errors, inputs
  from ar_jax.commands import _show

  if args.prompt or args.length:
    raise errors.UsageError("--given completes items: no --prompt, no --length")
  x_NLC, y = completion.read(run, args.given, args.items)
  if args.mask:
    known_NL = completion.read_mask(run, args.mask, len(x_NLC))
  else:
    share = 0.5 if args.keep is None else args.keep
    known_L = completion.top(run.spec, share)
    known_NL = completion.masks(run.spec, known_L, len(x_NLC))
  if not completion.is_exact(run, known_NL):
    _show.warn(
      f"in the order {run.config.ordering.name} not all that is given comes"
      " first: a site before it is drawn without knowing it, and this is no"
      " draw from p(rest | given); a network trained with ordering=all gives"
      " one"
    )
  y = inputs.labels(run.spec, run.media, args.y, len(x_NLC)) or y
  drawn = completion.draw(
    run, jax.random.key(args.seed), x_NLC, known_NL, args.num, y
  )
  words_B = _completed(args, run.media, x_NLC, known_NL, drawn.x_BLC)
  known_BL = known_NL.repeat(args.num, 0)
  drawn_BL = completion.drawn_sites(run, known_BL, drawn.x_BLC)
  for row, drawn_L in enumerate(drawn_BL):
    _show.sample(
      row,
      words_B[row],
      drawn.log_prob_model_BL[row, drawn_L].sum(),
      drawn.log_prob_sampler_BL[row, drawn_L].sum(),
      int(drawn_L.sum()),
    )
  _views.say(counts, run.spec.length, len(drawn_BL))


def _completed(args, media, x_NLC, known_NL, x_BLC):
  """What is shown of each row: its text, or the files that are written."""
  from ar_jax import completion, text
  from ar_jax import media as mediums

  if media.get("kind") == "text":
    end_B = text.lengths(media, x_BLC[..., 0])
    rows = zip(x_BLC[..., 0], end_B, strict=True)
    return [text.decode(media, token_L[:end]) for token_L, end in rows]
  files = mediums.save(media, x_BLC, _folder(args))
  lines, known = completion.sheet(x_NLC, known_NL, x_BLC)
  _grid(args, media, lines, args.num + 2, known)
  return ["\n".join(map(str, paths)) for paths in files]


def _folder(args):
  return args.out or f"{args.workdir}/samples"


def _grid(args, media, x_BLC, columns, known_BL=None):
  """One picture of all rows, where their kind has one."""
  import pathlib

  from ar_jax import media as mediums
  from ar_jax.commands import _show

  path = pathlib.Path(_folder(args)) / "sample_grid.png"
  if len(x_BLC) > 1 and mediums.grid(media, x_BLC, path, columns, known_BL):
    _show.say(f"all in one picture: {path}")
