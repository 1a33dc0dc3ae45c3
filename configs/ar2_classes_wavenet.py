"""WaveNet on four classes of AR(2) processes: p(x | y) whose truth is known.

  ar_jax train --config=configs/ar2_classes_wavenet.py --workdir=runs/ar2
  ar_jax classify --workdir=runs/ar2 --config.data.valid_size=8000

Arguments: tiny; head=gaussian_mixture|logistic_mixture.

Poles of radius .9 at four angles, unit noise, 64 steps, values rounded to
.01. In nats a step, as densities: -log p(x | y) 1.440246, exact; by the exact
conditionals of 100,000 items -log p(x) 1.45957 +- .00002, the accuracy of the
Bayes classifier .9405 +- .0007 and I(x; y) 1.236 +- .002 of ln 4 = 1.386 nats
(ar_jax.datasets.ar_process.bounds). At the resolution of .01 a step costs
ln 100 = 4.60517 nats more.
measured: after 3,000 updates, seed 0, valid: 6.0469 +-
  .0014 nats a step, .0004 over the exact conditional NLL of the same items;
  of 8,000 items accuracy .9365 +- .0027, I(x; y) 1.229 +- .005 nats, -log
  p(x) 1.4598 nats a step as a density; 2026-11-20, 7 minutes on 2 busy cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, head="gaussian_mixture")
  config = base.get_base()
  config.data = dict(
    name="ar_process",
    kind="classes",
    length=16 if arg.tiny else 64,
    train_size=64 if arg.tiny else 65536,
    valid_size=16 if arg.tiny else 4096,
    seed=0,
    radius=0.9,
    angles=(0.20, 0.25, 0.30, 0.35),
    delta=0.01,
  )
  config.head = base.choose("head", arg.head, base.REAL_HEADS)
  config.head.components = 1
  config.model = base.wavenet(arg.tiny, stacks=1, layers=5)
  config.train.batch_size = 8 if arg.tiny else 64
  config.train.steps = 10 if arg.tiny else 3000
  config.train.eval_every = 5 if arg.tiny else 1000
  config.train.ema_decay = 0.9 if arg.tiny else 0.999
  config.evaluate.batch_size = 16 if arg.tiny else 512
  config.evaluate.baselines = ()
  return config
