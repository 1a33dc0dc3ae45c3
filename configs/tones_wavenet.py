"""WaveNet on synthesized tones: plucked strings and vowels, with labels.

  ar_jax train --config=configs/tones_wavenet.py --workdir=runs/tones
  ar_jax sample --workdir=runs/tones --num=6 --y label=pluck,a,e,i,o,u
  ar_jax classify --workdir=runs/tones

Arguments: tiny; head=categorical|discretized_logistic; aligned (the pitch of
each moment is given too).

The sound is made from a seed, so nothing is downloaded. 8 kHz, mu-law of 256
levels, as in van den Oord et al. 2016.
measured: 5.59 bits/sample valid after --config.train.steps=350 (unigram 7.56),
  seed 0: formants and labels are to be seen, much of it is still noise;
  2026-11-20, 5 minutes on 2 busy CPU cores. The full run: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, head="categorical", aligned=False)
  config = base.get_base()
  config.data = dict(
    name="tones",
    length=64 if arg.tiny else 2048,
    rate=8000,
    train_size=32 if arg.tiny else 4096,
    valid_size=8 if arg.tiny else 256,
    seed=0,
    encoding="mu_law",
    levels=256,
    classes=("pluck", "a", "e", "i", "o", "u"),
    aligned=arg.aligned,
  )
  config.head = base.choose("head", arg.head, base.AUDIO_HEADS)
  config.model = base.wavenet(arg.tiny, stacks=2, layers=9)
  config.train.batch_size = 4 if arg.tiny else 8
  config.train.steps = 10 if arg.tiny else 3000
  config.train.eval_every = 5 if arg.tiny else 500
  config.evaluate.batch_size = 8
  config.evaluate.baselines = ("marginal",)
  return config
