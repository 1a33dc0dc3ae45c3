"""WaveNet on a closed-loop mu-law AR process: audio of known entropy.

  ar_jax train --config=configs/mu_law_ar_wavenet.py --workdir=runs/mu_law

Arguments: tiny; head=categorical|discretized_logistic.

x[t] = .9 x[t-1] + .05 noise, rounded to 256 mu-law levels at every step, the
mean being taken from the rounded past: a Markov chain with exact entropies,
6.113547 bits a sample in the long run.
measured: discretized_logistic, 3,000 updates, seed 0, valid:
  .0029 +- .0002 bits a sample over the exact NLL of the same 4,096 items
  (.0092 +- .0042 over the entropy of an item); categorical .0015 +- .0001
  (.0078 +- .0042); 2026-11-20, 2 to 4 minutes on 2 CPU cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, head="discretized_logistic")
  config = base.get_base()
  config.data = dict(
    name="ar_process",
    kind="mu_law",
    length=16 if arg.tiny else 128,
    train_size=64 if arg.tiny else 65536,
    valid_size=16 if arg.tiny else 4096,
    seed=0,
    coefficients=(0.9,),
    noise=0.05,
    num_values=256,
  )
  config.head = base.choose("head", arg.head, base.AUDIO_HEADS)
  config.model = base.wavenet(arg.tiny, stacks=1, layers=2)
  config.train.batch_size = 8 if arg.tiny else 64
  config.train.steps = 10 if arg.tiny else 3000
  config.train.eval_every = 5 if arg.tiny else 500
  config.train.ema_decay = 0.9 if arg.tiny else 0.999
  config.evaluate.batch_size = 16 if arg.tiny else 512
  config.evaluate.baselines = ("marginal",)
  return config
