"""Show an order: the step at which each site is generated.

  ar_jax show_order reverse --shape 4x4
  ar_jax show_order random --shape 16 --seed 3

Below the map stand the mean and the largest jump of the path.
"""

import argparse


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("name", help="a plugin of ar_jax/orderings")
  parser.add_argument(
    "--shape", required=True, type=_shape, metavar="HxW", help="as 16x16 or 64"
  )
  parser.add_argument("--seed", type=int, help="of a random order")


def run(args):
  """Prints the rank map, and how far the path jumps."""
  import numpy as np

  from ar_jax import errors, ordering, registry
  from ar_jax.commands import _show

  section = dict(name=args.name)
  if args.seed is not None:
    section["seed"] = args.seed
  made = registry.build("orderings", section, args.shape)
  if made.orders_KL is None:
    raise errors.UsageError(
      f"{args.name} stands for all orders; nothing to draw"
    )
  order_L = made.orders_KL[0]
  rank = np.argsort(order_L).reshape(args.shape)
  _show.rank_map(f"{args.name}: the step of each site", rank)
  jump = ordering.jumps(order_L, args.shape)
  if len(jump):
    _show.say(
      f"mean jump {jump.mean():.2f}, largest {jump.max():.2f} (Euclidean)"
    )


def _shape(text):
  try:
    shape = tuple(int(n) for n in text.split("x"))
  except ValueError:
    shape = (0,)
  if min(shape) < 1:
    raise argparse.ArgumentTypeError(f"{text!r} is no shape such as 16x16")
  return shape
