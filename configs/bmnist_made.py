"""MADE on binarized images: a masked autoencoder in a fixed or in any order.

  ar_jax train --config=configs/bmnist_made.py --workdir=runs/made \\
      --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax evaluate --workdir=runs/made --config.evaluate.orders=32

Arguments: tiny; hidden=500; layers=1;
ordering=random|raster|reverse|shared|all. `shared` draws one order for each
batch (order-agnostic training, Germain et al. 2015): evaluate.orders=32 then
mixes 32 orders at the joint level. Any .npz, .npy or .mat file of 0s and 1s
will do: --config.data.key names the array.

Published on the static binarized MNIST, test, nats: 88.40 +- .45 (8,000
units), 86.64 (two layers, 32 masks); from memory of the paper.
measured: one layer of 500, a fixed random order, 10,000 updates, seed 0: 92.37
  nats valid, 91.41 test, each image scored once; factorised 205.79, Chow-Liu
  tree 134.99 test; 2026-11-20, 5 minutes on 2 busy CPU cores. ordering=shared
  with model.one_hot=true, 12,000 updates, seed 0, test: 104.00, 102.40,
  101.04, 100.07, 99.26, 98.68 nats for 1, 2, 4, 8, 16, 32 orders mixed; mean
  over the orders, a bound, 104.36; 2026-11-20, 12 minutes on 2 busy CPU cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="random", hidden=500, layers=1)
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="made",
    hidden=(16 if arg.tiny else arg.hidden,) * arg.layers,
    direct=True,
    activation="relu",
    masks="fixed",
    mask_seed=0,
    one_hot=False,
    dropout=0.0,
  )
  config.train.batch_size = 8 if arg.tiny else 100
  config.train.steps = 10 if arg.tiny else 10000
  config.train.eval_every = 5 if arg.tiny else 2500
  config.train.log_every = 5 if arg.tiny else 100
  config.optimizer.weight_decay = 1e-4
  config.evaluate.batch_size = 8 if arg.tiny else 500
  config.evaluate.baselines = ("factorised", "chow_liu")
  return config
