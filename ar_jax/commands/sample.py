"""Sample from a run: one compiled scan over the cached step.

  ar_jax sample --workdir=runs/a --prompt="The " --num=4 --length=200
  ar_jax sample --workdir=runs/a --greedy --prompt="def " --prompt="class A"
  ar_jax sample --workdir=runs/a --temperature=0.8 --top_p=0.95 --seed=1

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
    help="tokens after the prompt (default: 200 of a text, all of an item)",
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

  from ar_jax import errors, text
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
  drawn = trained.sample(
    jax.random.key(args.seed), args.num, args.prompt or "", args.length
  )
  for row, asked_T in enumerate(drawn.drawn_BT):
    values_K = drawn.x_BTC[row, asked_T, 0]
    is_text = drawn.texts is not None
    _show.sample(
      row,
      drawn.texts[row] if is_text else str(drawn.x_BTC[row, :, 0]),
      drawn.log_prob_model_BT[row, asked_T].sum(),
      drawn.log_prob_sampler_BT[row, asked_T].sum(),
      len(values_K),
      len(text.to_bytes(trained.media, values_K)) if is_text else None,
    )
