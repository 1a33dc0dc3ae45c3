"""PixelCNN++ of the paper on CIFAR-10, prepared from its raw files.

  ar_jax data prepare-images cifar10 cifar-10-binary.tar.gz \\
      --data_dir=data/tfds
  ar_jax train --config=configs/cifar10_pixelcnn_pp.py --workdir=runs/cifar10 \\
      --config.data.data_dir=data/tfds
  ar_jax evaluate --workdir=runs/cifar10 --config.evaluate.split=test

Arguments: tiny; ordering=raster|reverse; labels=false|true.

Three scales, 5 blocks each, 160 features, 10 components: 53.7 M parameters.
Of the 523,776 pairs of an earlier and a later pixel it cannot see 1,440.
Published, bits/dim test: 2.92; with labels 2.94 (Salimans et al. 2017, whose
authors give 10 hours to 3.0 and 5 days to 2.92 on 8 GPUs).
measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster", labels=False)
  config = base.get_base()
  config.data = base.prepared_images("cifar10", arg.labels)
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.head = base.RGB_HEADS["rgb_logistic"]
  config.model = base.pixelcnn_pp(
    arg.tiny, scales=3, blocks=5, width=160, dropout=0.5
  )
  base.images(config, arg.tiny, steps=500000, batch_size=128)
  config.train.ema_decay = 0.9 if arg.tiny else 0.9995
  return config
