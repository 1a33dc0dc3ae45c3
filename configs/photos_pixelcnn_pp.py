"""PixelCNN++ on 32x32 color patches of two photographs, no file needed.

  ar_jax train --config=configs/photos_pixelcnn_pp.py --workdir=runs/photos
  ar_jax evaluate --workdir=runs/photos
  ar_jax sample --workdir=runs/photos --num=16 --out=patches

Arguments: tiny; ordering=raster|reverse.

measured: sampling by `ar_jax bench sample`, pixels, cached over naive: 249 x at
  batch 1, 556 x at batch 16; 2026-11-21, 2 busy CPU cores. Likelihood: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster")
  config = base.get_base()
  config.data = base.photos(arg.tiny, sites=False)
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.head = base.RGB_HEADS["rgb_logistic"]
  config.model = base.pixelcnn_pp(
    arg.tiny, scales=3, blocks=2, width=48, dropout=0.2
  )
  base.images(config, arg.tiny, steps=10000, batch_size=32)
  return config
