"""GPT on a source of known entropy: how far from the truth is a network?

  ar_jax train --config=configs/markov_gpt.py --workdir=runs/markov
  ar_jax train --config=configs/markov_gpt.py:source=even --workdir=runs/even

Arguments: tiny; source=two_state|golden_mean|even|random;
ordering=raster|... of configs/base.py.

The entropy of every order is the same, that of the source; the excess over
it is printed beside the NLL. Below it by more than chance would be a leak.

measured: excess over the entropy of an item of 128 symbols, 4,096 items,
  seed 0: two_state +0.0004, golden_mean +0.0001, even +0.0029 bits a symbol;
  2026-11-20, 2 CPU cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, source="two_state", ordering="raster")
  config = base.get_base()
  config.data = dict(
    name="markov",
    source=arg.source,
    length=16 if arg.tiny else 128,
    train_size=256 if arg.tiny else 16384,
    valid_size=64 if arg.tiny else 4096,
    seed=0,
    flip=(0.1, 0.3),
    num_values=2,
    order=2,
    concentration=1.0,
    source_seed=0,
  )
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="gpt",
    depth=1 if arg.tiny else 2,
    width=16 if arg.tiny else 64,
    heads=2,
    dropout=0.0,
    **base.MODERN,
  )
  config.train.batch_size = 16 if arg.tiny else 32
  config.train.steps = 20 if arg.tiny else 1500
  config.train.eval_every = 10 if arg.tiny else 500
  config.optimizer.lr = 2e-3
  config.evaluate.baselines = ("marginal", "ngram")
  return config
