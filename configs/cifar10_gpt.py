"""GPT on CIFAR-10, prepared from its raw files.

  ar_jax data prepare-images cifar10 cifar-10-binary.tar.gz \\
      --data_dir=data/tfds
  ar_jax train --config=configs/cifar10_gpt.py --workdir=runs/cifar10 \\
      --config.data.data_dir=data/tfds
  ar_jax evaluate --workdir=runs/cifar10 --config.evaluate.split=test

Arguments: tiny; ordering=raster|... of configs/base.py;
head=rgb_logistic|sites; labels=false|true.

Published, bits/dim: 2.90 (Image Transformer), 2.80 (Sparse Transformer, 59 M
parameters, 128 layers, 7 days on 64 GPUs for its larger sets).
measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, ordering="raster", head="rgb_logistic", labels=False
  )
  config = base.get_base()
  config.data = base.prepared_images("cifar10", arg.labels)
  config.data.pixels = "sites" if arg.head == "sites" else "channels"
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.head = base.choose("head", arg.head, base.RGB_HEADS)
  config.model = base.image_gpt(arg.tiny, depth=12, width=512, heads=8)
  base.images(config, arg.tiny, steps=100000, batch_size=64)
  return config
