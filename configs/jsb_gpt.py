"""GPT on piano rolls, the notes of a chord one after the other.

  ar_jax train --config=configs/jsb_gpt.py --workdir=runs/jsb \\
      --config.data.path=JSB_Chorales.mat
  ar_jax evaluate --workdir=runs/jsb --split=test
  ar_jax sample --workdir=runs/jsb --num=4 --out=chorales

Arguments: tiny; form=events|keys; notes=ascending|descending|random.

A frame is its notes and an end of the frame (events), or 88 sites (keys):
both are exact, so nats/frame compare. transpose=5 shows training pieces in
other keys too, as far as 5 semitones away. Published, JSB chorales, test, all
nats/frame: TCN 8.10 (notes of a chord independent), RNN-RBM 6.27, RNN-NADE
5.56 (Boulanger-Lewandowski et al. 2012) and 5.19 (Krishnan et al. 2017).
measured: 4.865 nats/frame test, all 4,725 frames, averaged parameters (4.857 of
  the last update), valid 4.824, 2,000 updates, seed 0 (5-gram 7.33);
  2026-11-20, 14 minutes on 2 busy CPU cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, form="events", notes="ascending")
  config = base.get_base()
  config.data = base.rolls(arg)
  config.model = dict(
    name="gpt",
    depth=1 if arg.tiny else 4,
    width=32 if arg.tiny else 128,
    heads=2 if arg.tiny else 4,
    dropout=0.0 if arg.tiny else 0.3,
    **base.MODERN,
  )
  config.train.batch_size = 4 if arg.tiny else 16
  config.train.steps = 10 if arg.tiny else 2000
  config.train.eval_every = 5 if arg.tiny else 250
  config.train.ema_decay = 0.99 if arg.tiny else 0.999
  config.optimizer.update(
    dict(name="muon", lr=3e-3, schedule="linear", final=0.0)
  )
  config.optimizer.warmup = 5 if arg.tiny else 100
  config.evaluate.batch_size = 8 if arg.tiny else 32
  config.evaluate.baselines = ("marginal", "ngram")
  return config
