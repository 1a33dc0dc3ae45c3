"""WaveNet on wav files.

  ar_jax train --config=configs/wav_wavenet.py --workdir=runs/wav \\
      --config.data.path='speech/*.wav' --config.data.rate=16000
  ar_jax sample --workdir=runs/wav --length=16000 --out=speech_samples

Arguments: tiny; head=categorical|discretized_logistic;
encoding=mu_law|coarse_fine (16 bits: two sites for each sample).

The rate is what the files have, or config.data.resample=true; stereo files
need config.data.channels=stereo (left and right take turns as sites) or
config.data.mix=true. The receptive field is 3,070 samples. A window that is
full goes on from its last half, as it is scored.
measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, head="categorical", encoding="mu_law")
  config = base.get_base()
  length = 64 if arg.tiny else 8192
  config.data = dict(
    name="audio_file",
    path="",
    valid_path="",
    rate=16000,
    length=length,
    stride=length // 2,
    hop=1,
    encoding=arg.encoding,
    levels=256,
    channels="mono",
    mix=False,
    resample=False,
    label="none",
    split="0.9/0.1",
    seed=0,
  )
  config.head = base.choose("head", arg.head, base.AUDIO_HEADS)
  config.model = base.wavenet(arg.tiny, stacks=3, layers=10)
  config.train.batch_size = 4 if arg.tiny else 8
  config.train.steps = 10 if arg.tiny else 100000
  config.train.eval_every = 5 if arg.tiny else 5000
  config.train.ema_decay = 0.9 if arg.tiny else 0.9999
  config.evaluate.batch_size = 8
  config.evaluate.baselines = ("marginal",)
  return config
