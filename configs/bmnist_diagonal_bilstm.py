"""PixelRNN on binarized images: the Diagonal BiLSTM.

  ar_jax train --config=configs/bmnist_diagonal_bilstm.py \\
      --workdir=runs/diagonal_bilstm \\
      --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax evaluate --workdir=runs/diagonal_bilstm
  ar_jax sample --workdir=runs/diagonal_bilstm --num=64 --out=images

Arguments: tiny; ordering=raster|reverse; layers=7. Each pixel sees all before
it.

Published on the static binarized MNIST, test, nats (van den Oord et al. 2016):
80.75 (one layer), 79.20 (seven).
measured: sampling by `ar_jax bench sample`, cached over naive: 333 x at batch
  1, 589 x at batch 16 (252 and 735 in reverse); 2026-11-20, 2 CPU cores.
  Likelihood: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster", layers=7)
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = base.pixel_rnn(
    arg.tiny, "diagonal_bilstm", layers=arg.layers, width=16
  )
  base.images(config, arg.tiny, steps=10000, batch_size=16)
  return config
