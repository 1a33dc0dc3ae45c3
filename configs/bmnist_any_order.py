"""GPT on binarized images in every order: a fresh one for each example.

  ar_jax train --config=configs/bmnist_any_order.py --workdir=runs/any_order \\
      --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax evaluate --workdir=runs/any_order --config.evaluate.orders=8

Arguments: tiny; ordering=all|raster|reverse|random.

Each step is told the site that it reads and the one that it predicts. The
NLL of one drawn order an item bounds that of the mixture; evaluate.orders=8
scores 8 fixed orders exactly and mixes them at the joint level, the only
mixture there is. Made for an accelerator: 784 sites a image.

measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="all")
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="gpt",
    depth=1 if arg.tiny else 8,
    width=16 if arg.tiny else 128,
    heads=2 if arg.tiny else 4,
    dropout=0.0,
    **base.MODERN,
  )
  config.train.batch_size = 2 if arg.tiny else 64
  config.train.steps = 4 if arg.tiny else 60000
  config.train.eval_every = 2 if arg.tiny else 2000
  config.train.log_every = 2 if arg.tiny else 100
  config.optimizer.update(
    dict(name="muon", lr=3e-3, schedule="linear", final=0.0)
  )
  config.optimizer.warmup = 2 if arg.tiny else 500
  config.evaluate.batch_size = 4 if arg.tiny else 64
  config.evaluate.baselines = ("factorised", "chow_liu")
  return config
