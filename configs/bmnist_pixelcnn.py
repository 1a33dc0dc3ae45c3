"""PixelCNN on binarized images: masked convolutions, in any order.

  ar_jax train --config=configs/bmnist_pixelcnn.py --workdir=runs/pixelcnn \\
      --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax evaluate --workdir=runs/pixelcnn
  ar_jax sample --workdir=runs/pixelcnn --num=64 --out=images

Arguments: tiny; ordering=raster|... of configs/base.py. In the raster's
eight symmetries a mask of the kernel is enough; any other order has a mask for
each site, of the same parameters, at 1.6 times the time a step.

Published on the static binarized MNIST, test, nats: 81.30 (van den Oord et al.
2016, from memory of the paper).
measured: sampling by `ar_jax bench sample`, cached over naive: 193 x at batch
  1, 346 x at batch 16 (320 in a random order); 2026-11-20, 2 CPU
  cores. Likelihood: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster")
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = base.pixelcnn(arg.tiny, blocks=7, width=64)
  config.model.position = arg.ordering in base.SEVERAL
  base.images(config, arg.tiny, steps=8000, batch_size=50)
  config.optimizer.lr = 2e-3
  return config
