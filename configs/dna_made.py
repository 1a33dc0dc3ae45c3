"""MADE on the DNA data of 180 bits: masks and orders sampled in training.

  ar_jax train --config=configs/dna_made.py --workdir=runs/dna \\
      --config.data.path=dna.npz
  ar_jax evaluate --workdir=runs/dna --split=test

Arguments: tiny; hidden=500; ordering=shared|random|raster.

Each batch has an order and a connectivity of its own (Germain et al. 2015,
section 4.3); the score mixes 1,000 orders at the joint level. Published, test
nats: 83.63 in a fixed order (from memory of the paper), 79.66 +- .63 with
1,000 masks.
measured: 79.04 test nats with 1,000 orders mixed, 83.14 with one, the first of
  them; bound over orders 82.81; 6,000 updates, seed 0; 2026-11-20, 1 minute of
  training and 2.5 of scoring on 2 busy CPU cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="shared", hidden=500)
  config = base.get_base()
  config.data = dict(
    name="array_file",
    path="",
    key="train_data",
    valid_path="",
    valid_key="valid_data",
    test_path="",
    test_key="test_data",
    num_values=2,
    split="0.8/0.1/0.1",
    seed=0,
  )
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="made",
    hidden=(16 if arg.tiny else arg.hidden,),
    direct=True,
    activation="relu",
    masks="sampled",
    mask_seed=0,
    one_hot=True,
    dropout=0.0,
  )
  config.train.batch_size = 8 if arg.tiny else 100
  config.train.steps = 10 if arg.tiny else 6000
  config.train.eval_every = 5 if arg.tiny else 500
  config.train.log_every = 5 if arg.tiny else 50
  config.optimizer.lr = 2e-3
  config.optimizer.weight_decay = 0.12
  config.optimizer.decay = r"(kernel|direct)$"
  config.evaluate.batch_size = 8 if arg.tiny else 600
  config.evaluate.orders = 2 if arg.tiny else 1000
  config.evaluate.baselines = ("factorised", "chow_liu")
  return config
