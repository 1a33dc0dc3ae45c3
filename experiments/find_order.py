"""Find an order in data, and write it where `ordering=from_file` reads it.

  python experiments/find_order.py --config=configs/digits_gpt.py \\
      --by=chow_liu --out=order.npy
  ar_jax train --config=configs/digits_gpt.py:ordering=from_file \\
      --config.ordering.path=order.npy --workdir=runs/found
  ar_jax show_order from_file --shape=8x8 --set path=order.npy

--by=variance: the sites whose values vary most come first; --by=entropy: those
of the largest entropy, each by itself; --by=chow_liu: from the site of the
largest entropy on, always to the site that shares most information with one
that is known, along the tree of Chow and Liu. --reverse turns it around. Only
the training split is read; --config.data.path=FILE and the like are taken.
"""

import argparse
import pathlib
import sys

import numpy as np

from ar_jax import __main__ as program
from ar_jax import assemble, data, errors
from ar_jax import config as configs
from ar_jax.baselines import chow_liu


def find(by, dataset):
  """int [L]: the order of a data set's sites, by name; see above.

  Raises:
    UsageError: no such name; chow_liu of what it does not take.
  """
  if by not in _FOUND:
    raise errors.UsageError(f"--by={by}: one of {', '.join(_FOUND)}")
  return _FOUND[by](dataset.splits["train"], dataset.spec)


def _by_variance(train, spec):
  x_NLC = _values(train)
  return _falling(x_NLC.var(0).sum(-1))


def _by_entropy(train, spec):
  return _falling(_entropy(train, spec))


def _by_chow_liu(train, spec):
  _, _, information_MM = chow_liu.pairs(train, spec)
  # Of a site's channels the pair that shares most stands for the site.
  shape = spec.length, spec.channels, spec.length, spec.channels
  information_LL = information_MM.reshape(shape).max((1, 3))
  return walk(information_LL, int(_entropy(train, spec).argmax()))


def walk(information_LL, root):
  """int [L]: Prim's way through the maximum spanning tree, from a root."""
  information_LL = np.array(information_LL, float)
  best_L = information_LL[root].copy()
  order = [root]
  best_L[root] = -np.inf
  while len(order) < len(best_L):
    site = int(best_L.argmax())
    order.append(site)
    best_L = np.maximum(best_L, information_LL[site])
    best_L[order] = -np.inf
  return np.array(order)


def _entropy(train, spec):
  """Nats of each site by itself, float64 [L], of the empirical values."""
  if spec.num_values is None:
    raise errors.UsageError("entropy is of discrete values; take --by=variance")
  x_NLC = _values(train)
  total_L = np.zeros(spec.length)
  for value in range(spec.num_values):
    p_LC = (x_NLC == value).mean(0)
    total_L -= (p_LC * np.log(np.where(p_LC > 0, p_LC, 1))).sum(-1)
  return total_L


def _values(train):
  batches = list(data.eval_batches(train, min(train.size, 1000)))
  weight_NL = np.concatenate([batch.weight_BL for batch in batches])
  if (weight_NL[: train.size] != 1).any():
    raise errors.UsageError("takes items of which every site is scored")
  x_NLC = np.concatenate([np.asarray(batch.x_BLC) for batch in batches])
  return x_NLC[: train.size]


def _falling(figure_L):
  return np.argsort(-figure_L, kind="stable")


_FOUND = dict(variance=_by_variance, entropy=_by_entropy, chow_liu=_by_chow_liu)


def main(argv=None):
  """Reads the flags, and writes the file; returns the exit code."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--config", required=True, help="whose data is read")
  parser.add_argument("--by", required=True, help=", ".join(_FOUND))
  parser.add_argument("--out", required=True, help="the .npy to write")
  parser.add_argument("--reverse", action="store_true", help="turn it around")
  args, rest = parser.parse_known_args(argv)
  try:
    overrides = program.overrides(rest, parser)
    dataset = assemble.dataset(configs.load(args.config, overrides))
    order_L = find(args.by, dataset)
    order_L = order_L[::-1] if args.reverse else order_L
    path = pathlib.Path(args.out)
    try:
      with path.open("wb") as file:
        np.save(file, order_L.astype(np.int32))
    except OSError as e:
      raise errors.StorageError(f"cannot write {path}: {e.strerror}") from e
  except errors.Error as e:
    print(f"find_order: error: {e}", file=sys.stderr)
    return e.exit_code
  print(f"wrote {path}: {len(order_L)} sites by {args.by}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
