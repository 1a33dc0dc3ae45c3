"""Gated PixelCNN on 32x32 color patches of two photographs, no file needed.

  ar_jax train --config=configs/photos_gated_pixelcnn.py --workdir=runs/photos
  ar_jax evaluate --workdir=runs/photos
  ar_jax sample --workdir=runs/photos --num=16 --out=patches

Arguments: tiny; ordering=raster|reverse; head=rgb_logistic|sites. rgb_logistic
models the colors of a pixel jointly, by a mixture of discretized logistics;
sites makes each of them a site of its own, with a softmax over 256 values.

measured: sampling by `ar_jax bench sample`, pixels, cached over naive: 245 x at
  batch 1, 428 x at batch 16 (246 and 432 in reverse); 2026-11-20, 2 CPU cores.
  After 800 updates, of a schedule of 1,000 (--config.train.steps=1000), seed 0:
  3.47 bits/dim valid by the averaged parameters, all 78 patches, exact, where
  PNG takes 3.20 and xz, of the whole split, 2.93: a run for an accelerator.
  Its samples have the colors, the sky and the dark leaves of the photographs,
  and stray pixels; 2026-11-21, 36 minutes on 2 busy CPU cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster", head="rgb_logistic")
  config = base.get_base()
  config.data = base.photos(arg.tiny, arg.head == "sites")
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.head = base.choose("head", arg.head, base.RGB_HEADS)
  config.model = base.gated_pixelcnn(arg.tiny, layers=8, width=64)
  base.images(config, arg.tiny, steps=10000, batch_size=32)
  return config
