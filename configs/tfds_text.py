"""GPT on a text data set of TFDS, prepared on disk; no TensorFlow, no network.

  ar_jax data prepare README.md CONTRIBUTING.md CHANGELOG.md --name=my_text \\
      --data_dir=data/tfds
  ar_jax train --config=configs/tfds_text.py:tiny --workdir=runs/tfds

Arguments: tiny; dataset=my_text|tiny_shakespeare|lm1b;
ordering=raster|... of configs/base.py; preset=modern|gpt2. Another name:
--config.data.dataset=NAME; another folder: --config.data.data_dir=DIR.

my_text: any text files, by lines, as above.
tiny_shakespeare: cut as TFDS cuts it, 90/5/5 %, characters; from karpathy's
  input.txt: ar_jax data prepare input.txt --name=tiny_shakespeare ...
lm1b: bytes of 1 % of the training sentences; valid and test are parts of
  TFDS's test split; from the unpacked folder (Chelba et al. 2013):
  ar_jax data prepare 1-billion-word-language-modeling-benchmark-r13output \\
      --name=lm1b ...
A folder that TFDS prepared itself with file_format="array_record" will do.

measured: tiny_shakespeare 1.4831 nats/character, TFDS's whole validation split
  (55,770 characters), w128/s64, seed 0 (5-gram 1.5702, bzip2 1.6467);
  2026-11-20, 800 steps on 2 CPU cores; lm1b: not yet measured
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, dataset="my_text", ordering="raster", preset="modern"
  )
  datasets = dict(
    my_text=dict(
      splits="train/validation",
      level="char",
      size=dict(length=128, depth=4, width=128, heads=4, steps=400),
    ),
    tiny_shakespeare=dict(
      splits="train/validation/test",
      level="char",
      size=dict(length=128, depth=4, width=128, heads=4, steps=800),
    ),
    lm1b=dict(
      splits="train[:1%]/test[:5%]/test[5%:]",
      level="byte",
      size=dict(length=256, depth=6, width=384, heads=6, steps=10000),
    ),
  )
  chosen = base.choose("dataset", arg.dataset, datasets)
  size = chosen["size"]
  if arg.tiny:
    size = dict(length=64, depth=2, width=64, heads=2, steps=100)
  config = base.get_base()
  config.data = dict(
    name="tfds",
    dataset=arg.dataset,
    data_dir="data/tfds",
    feature="",
    splits=chosen["splits"],
    separator="\n",
    length=size["length"],
    stride=size["length"] // 2,
    level=chosen["level"],
    tokenizer="",
    protocol="strided",
  )
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = dict(
    name="gpt",
    depth=size["depth"],
    width=size["width"],
    heads=size["heads"],
    dropout=0.0,
    **base.choose("preset", arg.preset, base.PRESETS),
  )
  config.train.batch_size = 16
  config.train.steps = size["steps"]
  config.train.eval_every = size["steps"] // 4
  config.optimizer.update(
    dict(name="muon", lr=3e-3, schedule="linear", final=0.0)
  )
  config.optimizer.warmup = size["steps"] // 8
  return config
