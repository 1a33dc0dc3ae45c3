"""PixelRNN on binarized images: the Row LSTM.

  ar_jax train --config=configs/bmnist_row_lstm.py \\
      --workdir=runs/row_lstm --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax evaluate --workdir=runs/row_lstm
  ar_jax sample --workdir=runs/row_lstm --num=64 --out=images

Arguments: tiny; ordering=raster|reverse; layers=7. Its context is a triangle: a
pixel does not see all before it.

Published on the static binarized MNIST, test, nats (van den Oord et al. 2016):
80.54 (Row LSTM, 12 layers; from memory of the paper).
measured: sampling by `ar_jax bench sample`, cached over naive: 292 x at batch
  1, 440 x at batch 16 (242 and 424 in reverse); 2026-11-20, 2 CPU cores.
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
    arg.tiny, "row_lstm", layers=arg.layers, width=16
  )
  base.images(config, arg.tiny, steps=10000, batch_size=16)
  return config
