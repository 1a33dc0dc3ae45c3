"""Gated PixelCNN on MNIST in 256 levels, prepared from its raw files.

  ar_jax data prepare-images mnist FOLDER --data_dir=data/tfds
  ar_jax train --config=configs/mnist_gated_pixelcnn.py --workdir=runs/mnist \\
      --config.data.data_dir=data/tfds
  ar_jax evaluate --workdir=runs/mnist --config.evaluate.split=test
  ar_jax classify --workdir=runs/mnist

Arguments: tiny; ordering=raster|reverse; head=categorical|discretized_logistic;
labels=true|false. Dilations as in the UvA Deep Learning tutorial 12.

Published, test bits/dim: 0.820 (that tutorial, 64 features, 7 layers, no
labels).
measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, ordering="raster", head="categorical", labels=True
  )
  config = base.get_base()
  config.data = base.prepared_images("mnist", arg.labels)
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.head = base.choose("head", arg.head, base.GRAY_HEADS)
  config.model = base.gated_pixelcnn(arg.tiny, layers=7, width=64)
  config.model.dilations = (1, 2, 1, 4, 1, 2, 1)
  base.images(config, arg.tiny, steps=60000, batch_size=128)
  return config
