"""LSTM on piano rolls, the notes of a chord one after the other.

  ar_jax train --config=configs/jsb_lstm.py --workdir=runs/jsb_lstm \\
      --config.data.path=JSB_Chorales.mat
  ar_jax evaluate --workdir=runs/jsb_lstm --split=test

Arguments: tiny; cell=lstm|gru; form=events|keys;
notes=ascending|descending|random. See jsb_gpt.py for the data and for what is
published.

measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, cell="lstm", form="events", notes="ascending"
  )
  config = base.get_base()
  config.data = base.rolls(arg)
  config.model = dict(
    name="lstm",
    cell=arg.cell,
    depth=1 if arg.tiny else 2,
    width=16 if arg.tiny else 256,
    dropout=0.0 if arg.tiny else 0.4,
  )
  config.train.batch_size = 4 if arg.tiny else 16
  config.train.steps = 10 if arg.tiny else 2000
  config.train.eval_every = 5 if arg.tiny else 250
  config.train.ema_decay = 0.99 if arg.tiny else 0.999
  config.optimizer.update(dict(lr=3e-3, schedule="linear", final=0.0, clip=1.0))
  config.evaluate.batch_size = 8 if arg.tiny else 32
  config.evaluate.baselines = ("marginal", "ngram")
  return config
