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
    "--prompt", action="append", help="text to continue (default: none)"
  )
  parser.add_argument("--num", type=int, default=1, help="samples a prompt")
  parser.add_argument(
    "--length", type=int, default=200, help="tokens after the prompt"
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

  from ar_jax import errors, stream, text
  from ar_jax import ordering as orders
  from ar_jax import run as runs
  from ar_jax.commands import _show

  if args.num < 1 or args.length < 1:
    raise errors.UsageError("--num and --length must be at least 1")
  if args.greedy and args.temperature is not None:
    raise errors.UsageError("give --greedy or --temperature, not both")
  filters = dict(
    temperature=0.0 if args.greedy else args.temperature,
    top_k=args.top_k,
    top_p=args.top_p,
    min_p=args.min_p,
  )
  trained = runs.load(args.workdir, sample=filters)
  encoded = [text.encode(trained.media, p) for p in args.prompt or [""]]
  prompts = [p for p in encoded for _ in range(args.num)]
  wanted = [len(p) + args.length for p in prompts]
  total, window = max(wanted), trained.spec.length
  identity = orders.is_identity(trained.net.ordering)
  if not identity:
    total = max(total, window)
    if args.prompt:
      _show.warn(
        f"the order is {trained.config.ordering.name}: tokens that come"
        " before the prompt in it cannot depend on the prompt"
      )
  stride = window
  if "stride" in trained.config.data:
    stride = trained.config.data.stride
  elif total > window:
    raise errors.UsageError(
      f"items of this run have {window} sites; prompt and --length make {total}"
    )
  sample = stream.sample(
    trained.net.sampler,
    trained.net.ordering,
    trained.params,
    jax.random.key(args.seed),
    prompts,
    total,
    length=window,
    stride=stride,
  )
  for row, (prompt, end) in enumerate(zip(prompts, wanted, strict=True)):
    drawn = slice(len(prompt), end)
    _show.sample(
      row,
      text.decode(trained.media, sample.x_BLC[row, :end, 0]),
      sample.log_prob_model_BL[row, drawn].sum(),
      sample.log_prob_sampler_BL[row, drawn].sum(),
      end - len(prompt),
    )
