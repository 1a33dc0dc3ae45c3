"""LSTM or GRU on one text file by characters, beside shakespeare_char.

  ar_jax train --config=configs/shakespeare_lstm.py --workdir=runs/lstm \\
      --config.data.path=input.txt
  ar_jax evaluate --workdir=runs/lstm --stride=8

Arguments: tiny; cell=lstm|gru.

Two layers of width 256; windows, batches and number of steps are those of
configs/shakespeare_char.py with setting=cpu, so the figures stand beside
GPT's on the same 1.54 M targets. The state begins at zero in every window.

measured: not yet
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, cell="lstm")
  size = dict(depth=2, width=256, context=64, batch=12, steps=1969)
  if arg.tiny:
    size = dict(depth=1, width=32, context=32, batch=4, steps=20)
  config = base.get_base()
  config.data = dict(
    name="text_file",
    path="",
    valid_path="",
    test_path="",
    length=size["context"] + 1,
    stride=size["context"],
    level="char",
    tokenizer="",
    split="0.9/0.1",
    protocol="nanogpt",
  )
  cells = dict(lstm="lstm", gru="gru")
  config.model = dict(
    name="lstm",
    cell=base.choose("cell", arg.cell, cells),
    depth=size["depth"],
    width=size["width"],
    target=False,  # the next site, always
    residual=True,
    norm="rmsnorm",
    tied=False,
    dropout=0.0,
  )
  config.train.batch_size = size["batch"]
  config.train.steps = size["steps"]
  config.train.eval_every = max(1, size["steps"] // 20)
  config.optimizer.lr = 3e-3
  config.optimizer.clip = 1.0
  config.optimizer.warmup = min(100, size["steps"] // 2)
  return config
