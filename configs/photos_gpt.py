"""GPT on 32x32 color patches of two photographs, no file needed.

  ar_jax train --config=configs/photos_gpt.py --workdir=runs/photos_gpt
  ar_jax evaluate --workdir=runs/photos_gpt
  ar_jax sample --workdir=runs/photos_gpt --num=16 --out=patches

Arguments: tiny; ordering=raster|... of configs/base.py;
head=rgb_logistic|sites. rgb_logistic models the colors of a pixel jointly, by
a mixture of discretized logistics; sites makes each of them a site of its own,
with a softmax over 256 values, and sequences three times as long.

measured: sampling by `ar_jax bench sample`, pixels, cached over naive: 55 x at
  batch 1, 85 x at batch 16; 2026-11-20, 2 busy CPU cores. Likelihood: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster", head="rgb_logistic")
  config = base.get_base()
  config.data = base.photos(arg.tiny, arg.head == "sites")
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.head = base.choose("head", arg.head, base.RGB_HEADS)
  config.model = base.image_gpt(arg.tiny, depth=8, width=256, heads=8)
  base.images(config, arg.tiny, steps=10000, batch_size=16)
  return config
