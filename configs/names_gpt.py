"""GPT on short texts, one a line: names, words, molecules.

  ar_jax train --config=configs/names_gpt.py --workdir=runs/names \\
      --config.data.path=names.txt
  ar_jax sample --workdir=runs/names --num=20

Arguments: tiny; ordering=raster|... of configs/base.py.

An item ends with an end symbol that fills the rest of its sites. Left to
right, items count up to it; in every other order the fill is seen before what
it follows, so it is scored too, and the two figures are not compared.

measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster")
  config = base.get_base()
  config.data = dict(
    name="names",
    path="",
    length=16,
    level="char",
    split="0.8/0.1/0.1",
    seed=0,
    fill="unscored" if arg.ordering == "raster" else "scored",
    unique=True,
  )
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="gpt",
    depth=2 if arg.tiny else 4,
    width=32 if arg.tiny else 64,
    heads=2 if arg.tiny else 4,
    dropout=0.0,
    **base.MODERN,
  )
  config.train.batch_size = 16 if arg.tiny else 32
  config.train.steps = 20 if arg.tiny else 5000
  config.train.eval_every = 10 if arg.tiny else 500
  config.optimizer.update(
    dict(name="muon", lr=3e-3, schedule="linear", final=0.0)
  )
  config.optimizer.warmup = 10 if arg.tiny else 100
  return config
