"""GPT on binarized images: pixels by their coordinates, in a fixed order.

  ar_jax train --config=configs/bmnist_gpt.py --workdir=runs/bmnist_gpt \\
      --config.data.path=binarized_mnist_train.amat \\
      --config.data.valid_path=binarized_mnist_valid.amat
  ar_jax evaluate --workdir=runs/bmnist_gpt
  ar_jax sample --workdir=runs/bmnist_gpt --num=64 --out=images

Arguments: tiny; ordering=raster|reverse|random. Any order in one network is
configs/bmnist_any_order.py.

measured: sampling by `ar_jax bench sample`, cached over naive: 66 x at batch
  1, 58 x at batch 16 (67 in a random order); 2026-11-20, 2 CPU
  cores. Likelihood: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster")
  config = base.get_base()
  config.data = base.binary_images()
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = base.image_gpt(arg.tiny, depth=8, width=128, heads=4)
  base.images(config, arg.tiny, steps=10000, batch_size=32)
  return config
