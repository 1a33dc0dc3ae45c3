"""Gated PixelCNN on binarized images: two stacks without a blind spot.

  ar_jax train --config=configs/bmnist_gated_pixelcnn.py \\
      --workdir=runs/gated --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax evaluate --workdir=runs/gated
  ar_jax sample --workdir=runs/gated --num=64 --out=images

Arguments: tiny; ordering=raster|reverse.

measured: sampling by `ar_jax bench sample`, cached over naive: 273 x at batch
  1, 407 x at batch 16 (418 in reverse); 2026-11-20, 2 CPU
  cores. Likelihood: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster")
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = base.gated_pixelcnn(arg.tiny, layers=8, width=64)
  base.images(config, arg.tiny, steps=10000, batch_size=50)
  return config
