"""PixelCNN++ on binarized images: two streams over three scales.

  ar_jax train --config=configs/bmnist_pixelcnn_pp.py \\
      --workdir=runs/pp --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax evaluate --workdir=runs/pp
  ar_jax sample --workdir=runs/pp --num=64 --out=images

Arguments: tiny; ordering=raster|reverse.

measured: sampling by `ar_jax bench sample`, pixels, cached over naive: 429 x at
  batch 1, 408 x at batch 16; 2026-11-21, 2 busy CPU cores. Likelihood: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster")
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = base.pixelcnn_pp(
    arg.tiny, scales=3, blocks=2, width=32, dropout=0.2
  )
  base.images(config, arg.tiny, steps=10000, batch_size=50)
  return config
