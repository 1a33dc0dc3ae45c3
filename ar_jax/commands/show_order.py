"""Show an order: the step at which each site is generated.

  ar_jax show_order hilbert --shape 16x16 --out hilbert.png
  ar_jax show_order blocks --shape 8x8 --set size=[4,4]
  ar_jax show_order snake --config=configs/digits_pixelcnn.py
  ar_jax show_order --gallery docs

Below the map stand the jumps of the path, how many of the sites around one
are known when it is generated, and Kendall's tau to the raster; with a
config also the autocorrelation of its data along the order, and the dependency
levels of its network: the steps that remain when independent ones are taken
together. --out draws rank map and path. --gallery writes the page of all
families.
"""

import argparse

OVERRIDES = True


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument(
    "name", nargs="?", help="a plugin of ar_jax/orderings (or the config's)"
  )
  parser.add_argument(
    "--shape", type=_shape, metavar="HxW", help="as 16x16, 64 or 8x8x3"
  )
  parser.add_argument(
    "--config",
    metavar="FILE.py[:ARGS]",
    help="its data, its network, and its order where none is named",
  )
  parser.add_argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="an option of the order, as seed=3 or size=[4,4]",
  )
  parser.add_argument("--out", metavar="FILE.png", help="draw it")
  parser.add_argument(
    "--gallery", metavar="DIR", help="write orderings.md and orderings.png"
  )


def run(args):
  """Prints the rank map and the statistics."""
  import pathlib

  import numpy as np

  from ar_jax import assemble, errors, gallery
  from ar_jax.commands import _show

  if args.out and not args.out.endswith(".png"):
    raise errors.UsageError(f"--out={args.out}: the name of a .png")
  others = args.name or args.shape or args.config or args.set or args.out
  if args.gallery and others:
    raise errors.UsageError("--gallery is of all families, and stands alone")
  if args.config and args.shape:
    raise errors.UsageError("--config has a shape; no --shape beside it")
  if args.gallery:
    folder = pathlib.Path(args.gallery)
    if not folder.is_dir():
      raise errors.UsageError(f"--gallery={folder}: no such folder")
    gallery.page(folder)
    _show.say(f"wrote {folder / 'orderings.md'} and orderings.png")
    return
  if args.overrides and not args.config:
    raise errors.UsageError("--config.* overrides a --config=FILE.py")
  section = _section(args)
  shape, x_NL, network = args.shape, None, None
  if args.config:
    section, shape, x_NL, network = _of_config(args, section)
  elif section is None or shape is None:
    raise errors.UsageError(
      "show_order takes the name of an order and its --shape, as"
      " `show_order snake --shape 16x16`, or a --config"
    )
  if len(shape) > 3:
    raise errors.UsageError("--shape: T, HxW or HxWxS")
  order_L = assemble.order(section, shape)
  rank = np.argsort(order_L).reshape(shape)
  _show.rank_map(f"{section['name']}: the step of each site", rank)
  found = gallery.figures(order_L, shape, x_NL, network)
  _show.say(", ".join(f"{name} {text}" for name, text in found.items()))
  if args.out:
    gallery.draw([(section["name"], order_L)], shape, pathlib.Path(args.out))
    _show.say(f"drew {args.out}")


def _section(args):
  """The section of the order that is named, or None."""
  from ar_jax import errors
  from ar_jax.commands import _options

  options = _options.read(args.set)
  if args.name is None and options:
    raise errors.UsageError("--set is of an order that is named")
  return None if args.name is None else dict(options, name=args.name)


def _of_config(args, section):
  """(section, shape, first items [N, L] of the data or None, Model)."""
  import numpy as np

  from ar_jax import assemble
  from ar_jax import config as configs

  config = configs.load(args.config, args.overrides)
  dataset = assemble.dataset(config)
  if section is None:
    section = configs.plain(config.ordering)
  values = dict(configs.plain(config), ordering=section)
  net = assemble.network(configs.restore(values), dataset.spec)
  split = next(iter(dataset.splits.values()))
  x_NLC = split.get(np.arange(min(split.size, 1000)))[0]
  return section, dataset.spec.shape, x_NLC[..., 0], net.model


def _shape(text):
  try:
    shape = tuple(int(n) for n in text.split("x"))
  except ValueError:
    shape = (0,)
  if min(shape) < 1:
    raise argparse.ArgumentTypeError(f"{text!r} is no shape such as 16x16")
  return shape
