"""GPT on a directory of token files: text that may be larger than memory.

  ar_jax data tokenizer input.txt --out=tokenizer.json --vocab_size=1024
  ar_jax data tokenize input.txt --out=tokens --level=bpe \\
      --tokenizer=tokenizer.json
  ar_jax train --config=configs/token_files_gpt.py --workdir=runs/tokens \\
      --config.data.path=tokens

Arguments: tiny; ordering=raster|reverse|random|fresh; preset=modern|gpt2.
The only bar is the unigram's: the others read their text whole.

measured: 3.4870 nats/token, 2.1581 bits/byte, whole validation split,
  w128/s64, seed 0 (unigram 3.5448 bits/byte), the commands above on
  tinyshakespeare's input.txt; 2026-11-20, 269 s of CPU time, 2 busy cores
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, ordering="raster", preset="modern")
  config = base.get_base()
  config.data = dict(
    name="token_files",
    path="",
    length=64 if arg.tiny else 128,
    stride=32 if arg.tiny else 64,
    protocol="strided",
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
  config.evaluate.baselines = ("marginal",)
  return config
