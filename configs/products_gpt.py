"""GPT on p x q = n: multiplying left to right, factorizing right to left.

  ar_jax train --config=configs/products_gpt.py --workdir=runs/products
  ar_jax train --config=configs/products_gpt.py:ordering=reverse \\
      --workdir=runs/factors
  ar_jax evaluate --workdir=runs/products --split=test

Arguments: tiny; ordering=raster|... of configs/base.py.

The entropy of an item is exact and the same for every order: log 562,330 nats,
of pairs of primes of four digits. A sixth of them is in the training split;
of three digits all would be, and the test would be of memory.

measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster")
  config = base.get_base()
  config.data = dict(
    name="products",
    digits=1 if arg.tiny else 4,
    train_size=64 if arg.tiny else 100_000,
    valid_size=16 if arg.tiny else 5_000,
    test_size=16 if arg.tiny else 5_000,
    seed=0,
  )
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="gpt",
    depth=1 if arg.tiny else 4,
    width=16 if arg.tiny else 128,
    heads=2 if arg.tiny else 4,
    dropout=0.0,
    **base.MODERN,
  )
  config.train.batch_size = 8 if arg.tiny else 256
  config.train.steps = 10 if arg.tiny else 3000
  config.train.eval_every = 5 if arg.tiny else 500
  config.optimizer.lr = 2e-3
  config.evaluate.baselines = ("marginal",)
  return config
