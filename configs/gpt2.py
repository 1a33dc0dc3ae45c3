"""GPT-2 (Radford et al. 2019) on text files, through a tokenizer.

  ar_jax train --config=configs/gpt2.py --workdir=runs/gpt2 \\
      --config.data.path='corpus/*.txt' --config.data.tokenizer=tokenizer.json
  ar_jax train --config=configs/gpt2.py:level=byte,tiny --workdir=runs/b \\
      --config.data.path=input.txt
  ar_jax import-gpt2 DIR --workdir=runs/g  # DIR as Hugging Face writes it

Arguments: tiny; size=small|medium|large|xl; level=bpe|byte|char (bpe needs
--config.data.tokenizer, a tokenizer.json). Optimizer, schedule and the half
million tokens of a batch are those of karpathy/nanoGPT, train_gpt2.py; with
several devices divide train.accumulate. model.start is the token that stands
before the first one: with a tokenizer that has one, its <|endoftext|>.

measured: not yet
"""

from ml_collections import config_dict

from configs import base

# depth, width, heads: table 2 of the paper, as in the published checkpoints.
_SIZES = dict(
  small=(12, 768, 12),
  medium=(24, 1024, 16),
  large=(36, 1280, 20),
  xl=(48, 1600, 25),
)


_LEVELS = dict(bpe="bpe", byte="byte", char="char")


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, size="small", level="bpe")
  level = base.choose("level", arg.level, _LEVELS)
  depth, width, heads = base.choose("size", arg.size, _SIZES)
  config = base.get_base()
  config.data = dict(
    name="text_file",
    path="",
    valid_path="",
    test_path="",
    length=64 if arg.tiny else 1024,
    stride=32 if arg.tiny else 512,
    level=level,
    tokenizer="",
    split="0.9/0.1",
    protocol="strided",
  )
  config.model = dict(
    name="gpt",
    depth=2 if arg.tiny else depth,
    width=64 if arg.tiny else width,
    heads=2 if arg.tiny else heads,
    rows=config_dict.placeholder(int),
    dropout=0.0,
    **base.GPT2,
  )
  config.train.update(
    batch_size=16 if arg.tiny else 480,
    accumulate=1 if arg.tiny else 40,
    steps=150 if arg.tiny else 600_000,
    eval_every=50 if arg.tiny else 1000,
  )
  config.optimizer.update(
    lr=6e-4,
    b2=0.95,
    weight_decay=0.1,
    decay=r"(kernel|embedding|source_0)$",
    clip=1.0,
    warmup=20 if arg.tiny else 2000,
  )
  # 1024 sites of 50,257 logits are 206 MB in float32.
  config.evaluate.batch_size = 16 if arg.tiny else 8
  return config
