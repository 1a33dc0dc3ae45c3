"""Autoregressive diffusion on binarized images: one network for all orders.

  ar_jax train --config=configs/bmnist_ardm.py --workdir=runs/ardm \\
      --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat

Arguments: tiny; trunk=conv|mlp|attention; ordering=all|random|raster.

The network predicts every site that is not known from those that are
(Hoogeboom et al. 2021), a random step of a random order for each example.
Exact likelihood and sampling take one pass a site. `sample.name=grouped` with
a schedule takes fewer, which is an approximation and says so.

measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="all", trunk="conv")
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="ardm",
    trunk=arg.trunk,
    depth=1 if arg.tiny else 8,
    width=8 if arg.tiny else 64,
    heads=2 if arg.tiny else 4,
    kernel=3,
    site_width=2 if arg.tiny else 8,
    rotary=True,
    time=True,
    dropout=0.0,
  )
  config.objective.name = "order_agnostic"
  config.train.batch_size = 2 if arg.tiny else 64
  config.train.steps = 4 if arg.tiny else 50000
  config.train.eval_every = 4 if arg.tiny else 50000
  config.train.log_every = 2 if arg.tiny else 100
  config.evaluate.batch_size = 2 if arg.tiny else 16
  config.evaluate.baselines = ("factorised", "chow_liu")
  return config
