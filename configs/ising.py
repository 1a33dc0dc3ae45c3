"""The Ising model at its critical temperature: exact entropy, any network.

  ar_jax train --config=configs/ising.py --workdir=runs/ising
  ar_jax evaluate --workdir=runs/ising --config.evaluate.split=test
  ar_jax train --config=configs/ising.py:model=gpt,ordering=random \\
      --workdir=runs/ising_random

Arguments: tiny; model=gated_pixelcnn|pixelcnn|pixelcnn_pp|diagonal_bilstm|
row_lstm|gpt|made|nade|lstm|wavenet|ardm; ordering=raster|... of configs/base.py
(convolutions with stacks and PixelRNN take the raster orders, WaveNet one
order, ardm is trained in all); size=8, the sites of a side.

The joint entropy is the same in every order: 40.505488 bits an image of 8x8,
144.765372 of 16x16. What a network needs above it is the cost of its order.
measured: bits over the entropy of 8x8, test, 10,000 items, 3,000 updates, seed
  0, raster, s.e. .096: pixelcnn +.019, row_lstm +.013, diagonal_bilstm +.000,
  gated_pixelcnn -.011, gpt -.013; item by item against the exact log p(x),
  which leaves the scatter of log p out: +.040 +- .003, +.034 +- .003, +.021
  +- .002, +.010 +- .001, +.008 +- .002; 2026-11-20, 4 to 20 minutes each on 2
  busy CPU cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, model="gated_pixelcnn", ordering="raster", size=8
  )
  config = base.get_base()
  size = 4 if arg.tiny else arg.size
  config.data = dict(
    name="ising",
    shape=(size, size),
    beta=0.44068679350977147,
    num_train=100 if arg.tiny else 200_000,
    num_valid=100 if arg.tiny else 10_000,
    num_test=100 if arg.tiny else 10_000,
    seed=0,
  )
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  models = dict(
    gated_pixelcnn=lambda: base.gated_pixelcnn(arg.tiny, layers=5, width=48),
    pixelcnn=lambda: base.pixelcnn(arg.tiny, blocks=6, width=64),
    diagonal_bilstm=lambda: base.pixel_rnn(
      arg.tiny, "diagonal_bilstm", layers=3, width=24
    ),
    row_lstm=lambda: base.pixel_rnn(arg.tiny, "row_lstm", layers=6, width=24),
    gpt=lambda: base.image_gpt(arg.tiny, depth=4, width=96, heads=4),
    pixelcnn_pp=lambda: base.pixelcnn_pp(
      arg.tiny, scales=2, blocks=1, width=24, dropout=0.0
    ),
    made=lambda: dict(name="made", hidden=(16 if arg.tiny else 500,)),
    nade=lambda: dict(name="nade", hidden=16 if arg.tiny else 200),
    lstm=lambda: dict(name="lstm", depth=1, width=8 if arg.tiny else 128),
    wavenet=lambda: base.wavenet(
      arg.tiny, stacks=1, layers=(size * size).bit_length()
    ),
    ardm=lambda: dict(
      name="ardm",
      trunk="conv",
      depth=1 if arg.tiny else 2,
      width=8 if arg.tiny else 24,
    ),
  )
  config.model = base.choose("model", arg.model, models)()
  if arg.model == "ardm":
    config.ordering = base.ORDERINGS["all"]
    config.objective.name = "order_agnostic"
  if arg.model == "pixelcnn":
    config.model.position = True
  base.images(config, arg.tiny, steps=3000, batch_size=100)
  return config
