"""NADE on binarized images; deep and order-agnostic with layers=2.

  ar_jax train --config=configs/bmnist_nade.py --workdir=runs/nade \\
      --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax train --config=configs/bmnist_nade.py:layers=2,ordering=all \\
      --workdir=runs/deep_nade --config.data.path=binarized_mnist_train.amat

Arguments: tiny; hidden=500; layers=1;
ordering=random|raster|reverse|shared|all; objective=nll|order_agnostic
(the second one predicts all sites that are not known yet in one pass: it takes
layers=2 or more).

Published on the static binarized MNIST, test, nats: 88.33 (500 units, fixed
order), 89.17 to 85.10 for 1 to 128 orders mixed (two layers): MarcCote/NADE,
analyse_orderless_NADE.py.
measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, ordering="random", hidden=500, layers=1, objective="nll"
  )
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="nade",
    hidden=16 if arg.tiny else arg.hidden,
    layers=arg.layers,
    activation="sigmoid" if arg.layers == 1 else "relu",
  )
  config.objective.name = arg.objective
  config.train.batch_size = 4 if arg.tiny else 100
  config.train.steps = 10 if arg.tiny else 50000
  config.train.eval_every = 5 if arg.tiny else 2500
  config.train.log_every = 5 if arg.tiny else 100
  config.optimizer.weight_decay = 1e-4
  config.evaluate.batch_size = 8 if arg.tiny else 500
  config.evaluate.baselines = ("factorised", "chow_liu")
  return config
