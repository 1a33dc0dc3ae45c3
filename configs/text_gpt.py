"""GPT on the English reference text that ships with CPython: the demo.

  ar_jax train --config=configs/text_gpt.py --workdir=runs/text
  ar_jax train --config=configs/text_gpt.py:ordering=reverse --workdir=runs/rl

Arguments: tiny; ordering=raster|... of configs/base.py; preset=modern|gpt2;
data=python_docs|text_file|token_files (then --config.data.path=FILES or DIR).
Token files may be larger than memory, so only the unigram stands beside them:

  ar_jax data tokenizer input.txt --out=tokenizer.json --vocab_size=1024
  ar_jax data tokenize input.txt --out=tokens --level=bpe \\
      --tokenizer=tokenizer.json
  ar_jax train --config=configs/text_gpt.py:data=token_files \\
      --workdir=runs/tokens --config.data.path=tokens

measured: 1.1318 nats/character, whole validation split, w128/s64, seed 0
  (5-gram 1.3202, xz 0.9768), Python 3.11's text; 2026-11-20, 152 s of
  training on 2 CPU cores; the token files above, of tinyshakespeare: 3.4870
  nats/token, 2.1581 bits/byte (unigram 3.5448), 269 s of CPU time
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, ordering="raster", preset="modern", data="python_docs"
  )
  read = dict(level="char", tokenizer="", split="0.9/0.1")
  sources = dict(
    python_docs=read,
    text_file=dict(read, path="", valid_path="", test_path=""),
    token_files=dict(path=""),  # read and cut when they were written
  )
  config = base.get_base()
  config.data = dict(
    name=arg.data,
    length=64 if arg.tiny else 128,
    stride=32 if arg.tiny else 64,
    protocol="strided",
    **base.choose("data", arg.data, sources),
  )
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="gpt",
    depth=2 if arg.tiny else 4,
    width=64 if arg.tiny else 128,
    heads=2 if arg.tiny else 4,
    dropout=0.0,
    **base.choose("preset", arg.preset, base.PRESETS),
  )
  config.train.batch_size = 16
  config.train.steps = 150 if arg.tiny else 800
  config.train.eval_every = 50 if arg.tiny else 200
  config.optimizer.update(
    dict(name="muon", lr=3e-3, schedule="linear", final=0.0)
  )
  config.optimizer.warmup = 20 if arg.tiny else 100
  if arg.data == "token_files":
    config.evaluate.baselines = ("marginal",)
  return config
