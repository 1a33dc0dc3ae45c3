"""Sample from a run: one compiled scan over the cached step.

  ar_jax sample --workdir=runs/a --prompt="The " --num=4 --length=200
  ar_jax sample --workdir=runs/a --greedy --prompt="def " --prompt="class A"
  ar_jax sample --workdir=runs/a --temperature=0.8 --top_p=0.95 --seed=1
  ar_jax sample --workdir=runs/tones --num=6 --y label=pluck,a,e --out=tones

  ar_jax sample --workdir=runs/ardm --num=8 --passes=50

Text is printed; audio is written as wav with its spectrogram, piano rolls as
MIDI with a picture, series as csv, arrays as npy, all into --out.

--prompt may be given several times; each is continued --num times, all in
one batch, whatever their lengths. Text longer than the window goes on from
the window's last tokens, as `evaluate` scores it. Flags that are not given
come from the run's config.
"""


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


def run(args):
  """Samples and prints, with both log-probabilities."""
  import jax

  from ar_jax import errors, inputs, text
  from ar_jax import media as mediums
  from ar_jax import ordering as orders
  from ar_jax import run as runs
  from ar_jax.commands import _show

  if args.greedy and args.temperature is not None:
    raise errors.UsageError("give --greedy or --temperature, not both")
  filters = dict(
    temperature=0.0 if args.greedy else args.temperature,
    top_k=args.top_k,
    top_p=args.top_p,
    min_p=args.min_p,
  )
  trained = runs.load(args.workdir, args.checkpoint, filters)
  if args.prompt and not orders.is_identity(trained.net.ordering):
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
  spec, media = trained.spec, trained.media
  is_text = media.get("kind") == "text"
  rows = args.num * len(args.prompt or [""])
  drawn = trained.sample(
    jax.random.key(args.seed),
    args.num,
    args.prompt or "",
    args.length,
    inputs.labels(spec, media, args.y, rows),
  )
  files = None
  if not is_text:
    folder = args.out or f"{args.workdir}/samples"
    files = mediums.save(media, drawn.x_BTC, folder)
  for row, asked_T in enumerate(drawn.drawn_BT):
    values_K = drawn.x_BTC[row, asked_T, 0]
    _show.sample(
      row,
      drawn.texts[row] if is_text else "\n".join(map(str, files[row])),
      drawn.log_prob_model_BT[row, asked_T].sum(),
      drawn.log_prob_sampler_BT[row, asked_T].sum(),
      len(values_K),
      len(text.to_bytes(media, values_K)) if is_text else None,
    )
