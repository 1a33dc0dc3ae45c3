"""WaveNet on the columns of a csv file: real values at a declared resolution.

  ar_jax train --config=configs/series_wavenet.py --workdir=runs/series \\
      --config.data.path=load.csv --config.data.columns=load \\
      --config.data.delta=0.1
  ar_jax sample --workdir=runs/series --num=3

Arguments: tiny; head=gaussian_mixture|logistic_mixture.

Scaling is fitted on the training split alone. A figure is the log-mass of the
bin of `delta`, in the units of the file, so it compares with that of a head
of discrete values. transforms=('log','standardize') has its Jacobian counted.
measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, head="gaussian_mixture")
  config = base.get_base()
  config.data = dict(
    name="series_file",
    path="",
    columns="",
    delta=0.1,
    length=16 if arg.tiny else 256,
    stride=8 if arg.tiny else 128,
    split="0.8/0.2",
    transforms=("standardize",),
    delimiter=",",
  )
  config.head = base.choose("head", arg.head, base.REAL_HEADS)
  config.model = base.wavenet(arg.tiny, stacks=1, layers=7)
  config.train.batch_size = 4 if arg.tiny else 16
  config.train.steps = 10 if arg.tiny else 1500
  config.train.eval_every = 5 if arg.tiny else 250
  config.train.ema_decay = 0.9 if arg.tiny else 0.99
  config.evaluate.baselines = ()
  return config
