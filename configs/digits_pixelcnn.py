"""PixelCNN on scikit-learn's 8x8 digits: masked convolutions, any order.

  ar_jax train --config=configs/digits_pixelcnn.py --workdir=runs/digits_cnn
  ar_jax evaluate --workdir=runs/digits_cnn

Arguments: tiny; ordering=raster|... of configs/base.py;
labels=true|false; head=categorical|discretized_logistic.

measured: 1.662 bits/dim test at the best validation, 180 images, s.e. .018,
  given the label, --config.train.steps=11500, seed 0; 2026-11-21, 10 minutes on
  2 CPU cores: experiments/digits_models.py
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, ordering="raster", labels=True, head="categorical"
  )
  config = base.get_base()
  config.data = base.digits(arg)
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.head = base.choose("head", arg.head, base.GRAY_HEADS)
  config.model = base.pixelcnn(arg.tiny, blocks=6, width=96)
  config.model.position = arg.ordering in base.SEVERAL
  config.model.dropout = 0.2
  base.images(config, arg.tiny, steps=3000, batch_size=64)
  return config
