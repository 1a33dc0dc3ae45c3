"""Every network of the library at 100,000 parameters, on digits or on text.

  ar_jax train --config=configs/architectures.py:model=wavenet \\
      --workdir=runs/wavenet
  ar_jax train --config=configs/architectures.py:data=python_docs,model=gru \\
      --workdir=runs/gru
  ar_jax sweep experiments/architectures.py --workdir=runs/architectures

Arguments: tiny; data=digits|python_docs|text_file (then
--config.data.path=FILE); model=gpt|lstm|gru|wavenet|made|nade|ardm, and of
images pixelcnn|gated_pixelcnn|pixelcnn_pp|diagonal_bilstm|row_lstm too.

The widths are those that come closest to 100,000 parameters, the depth is a
common one for each network. Text comes in windows of 65 characters. Each of its
vocabulary costs a row or two of an embedding, but 1,495 parameters of MADE and
NADE: at tiny Shakespeare's 65 characters all are equal. ardm is trained in all
orders, and scored as the mixture of eight (images) or under one order drawn for
each window (text).

measured: docs/architectures.md
"""

from configs import base

PARAMS = 100_000
WIDTHS = dict(
  images=dict(
    gpt=48,
    lstm=76,
    gru=87,
    wavenet=32,
    made=40,
    nade=45,
    ardm=34,
    pixelcnn=64,
    gated_pixelcnn=31,
    pixelcnn_pp=17,
    diagonal_bilstm=30,
    row_lstm=32,
  ),
  text=dict(gpt=48, lstm=75, gru=86, wavenet=33, made=11, nade=11, ardm=44),
)


def get_config(arg=None):
  """See the header."""
  arg = base.parse(arg, tiny=False, data="digits", model="gpt")
  config = base.get_base()
  kind = "images" if arg.data == "digits" else "text"
  networks = _networks(arg.tiny, kind)
  config.model = base.choose("model", arg.model, networks)
  if arg.model == "ardm":
    config.ordering = base.ORDERINGS["all"]
    config.objective.name = "order_agnostic"
  if kind == "images":
    config.data = base.digits(base.parse("", labels=True))
    base.images(config, arg.tiny, steps=1500, batch_size=32)
    config.train.eval_every = 5 if arg.tiny else 75
    if arg.model == "ardm":
      config.evaluate.orders = 2 if arg.tiny else 8
    return config
  places = dict(path="", valid_path="", test_path="")
  sources = dict(python_docs={}, text_file=places)
  length = 17 if arg.tiny else 65
  config.data = dict(
    name=arg.data,
    **base.choose("data", arg.data, sources),
    length=length,
    stride=length - 1,
    level="char",
    tokenizer="",
    split="0.9/0.05/0.05",
    protocol="nanogpt",
  )
  config.train.batch_size = 4 if arg.tiny else 12
  config.train.steps = 10 if arg.tiny else 1969
  # An order-agnostic network is scored in as many passes as there are sites.
  often = 1 if arg.model == "ardm" else 10
  config.train.eval_every = config.train.steps // often
  config.optimizer.clip = 1.0
  return config


def _networks(tiny, kind):
  """The model sections by name."""
  width = dict.fromkeys(WIDTHS[kind], 16) if tiny else WIDTHS[kind]
  images = kind == "images"
  dropout = 0.2 if images else 0.0
  rnn = dict(
    name="lstm",
    depth=1 if tiny else 2,
    norm="rmsnorm",
    target=images,  # of a picture the place says much
    dropout=dropout,
  )
  found = dict(
    gpt=base.image_gpt(False, 1 if tiny else 4, width["gpt"], heads=4),
    lstm=dict(rnn, cell="lstm", width=width["lstm"]),
    gru=dict(rnn, cell="gru", width=width["gru"]),
    wavenet=dict(
      name="wavenet",
      dilations=(1, 2) if tiny else (1, 2, 4, 8, 16, 32) * 2,
      kernel=2,
      residual=width["wavenet"],
      skip=2 * width["wavenet"],
      dropout=dropout,
    ),
    made=dict(
      name="made", hidden=(width["made"],), direct=False, dropout=dropout
    ),
    nade=dict(name="nade", hidden=width["nade"]),
    ardm=dict(
      name="ardm",
      trunk="conv" if images else "attention",
      depth=1 if tiny else 4,
      width=width["ardm"],
      heads=2,
      dropout=dropout,
    ),
  )
  found["gpt"].update(dropout=dropout, mlp_ratio=3.0)
  if not images:
    return found
  grids = dict(
    pixelcnn=base.pixelcnn(tiny, blocks=6, width=width["pixelcnn"]),
    gated_pixelcnn=base.gated_pixelcnn(
      tiny, layers=5, width=width["gated_pixelcnn"]
    ),
    pixelcnn_pp=base.pixelcnn_pp(
      tiny, scales=2, blocks=1, width=width["pixelcnn_pp"], dropout=dropout
    ),
    diagonal_bilstm=base.pixel_rnn(
      tiny, "diagonal_bilstm", layers=3, width=width["diagonal_bilstm"]
    ),
    row_lstm=base.pixel_rnn(
      tiny, "row_lstm", layers=3, width=width["row_lstm"]
    ),
  )
  for section in grids.values():
    section["dropout"] = dropout
  return found | grids
