"""GPTs of many sizes on text, for a scaling law: parameters x tokens.

  ar_jax train --config=configs/scaling_text.py:size=64x4,tokens=1000000 \\
      --workdir=runs/s
  ar_jax train --workdir=runs/l --config.data.path=tokens \\
      --config=configs/scaling_text.py:setting=accelerator,size=768x12
  ar_jax sweep experiments/scaling.py --workdir=runs/scaling

Arguments: tiny; size=WIDTHxDEPTH; tokens=N, trained on;
setting=cpu|accelerator; data=python_docs|text_file (then
--config.data.path=FILE) in the setting cpu, in which text is characters.

Every run is a whole one: its schedule, linear to zero, ends with its tokens. A
part of a longer one is no substitute (Hoffmann et al. 2022).
One learning rate for all sizes and lengths, tuned for none: Muon's part needs
no width, but Adam's (embedding, head, norms) does.

Settings:
  cpu: context 64, batch 16, heads of 16
  accelerator: token files (`ar_jax data tokenize`), context 1024, batch 256,
      heads of 64, bfloat16, a state that is cut over devices

measured: docs/scaling.md, 2026-11-21, 24 runs in 17 minutes on 2 CPU cores; the
  setting accelerator: not yet
"""

from configs import base

_TOKENS = 250_000


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg,
    tiny=False,
    size="64x4",
    tokens=_TOKENS,
    setting="cpu",
    data="python_docs",
  )
  settings = dict(
    cpu=dict(context=64, batch=16, head=16),
    accelerator=dict(context=1024, batch=256, head=64),
  )
  setting = base.choose("setting", arg.setting, settings)
  width, _, depth = arg.size.partition("x")
  if not (width.isdigit() and depth.isdigit()):
    raise ValueError(f"config argument size={arg.size}: WIDTHxDEPTH, as 64x4")
  width, depth = int(width), int(depth)
  config = base.get_base()
  if arg.setting == "accelerator":
    config.data = dict(name="token_files", path="")
    config.train.precision = "bfloat16"
    config.parallel.name = "sharded"
    config.evaluate.baselines = ("marginal",)
  else:
    read = dict(level="char", tokenizer="", split="0.9/0.1")
    sources = dict(
      python_docs=read,
      text_file=dict(read, path="", valid_path="", test_path=""),
    )
    config.data = dict(name=arg.data, **base.choose("data", arg.data, sources))
  context = 16 if arg.tiny else setting["context"]
  # Windows that do not overlap, each token scored once.
  config.data.update(dict(length=context, stride=context, protocol="strided"))
  config.model = dict(
    name="gpt",
    depth=depth,
    width=width,
    heads=max(1, width // setting["head"]),
    dropout=0.0,
    **base.MODERN,
  )
  config.model.target = False  # the next site, always
  config.train.batch_size = 4 if arg.tiny else setting["batch"]
  steps = arg.tokens // (config.train.batch_size * context)
  config.train.steps = max(10, steps)
  config.train.eval_every = config.train.steps
  config.optimizer.update(
    dict(name="muon", lr=3e-3, schedule="linear", final=0.0, clip=1.0)
  )
  config.optimizer.warmup = min(100, config.train.steps // 5)
  return config
