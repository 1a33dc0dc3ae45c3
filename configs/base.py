"""What configs share: arguments after the colon, defaults, GPT presets."""

import difflib

from ml_collections import config_dict

# GPT-2's arithmetic (Radford et al. 2019): one learned position for each
# input, identity order, the start symbol a token of the vocabulary.
GPT2 = dict(
  position="learned",
  source=True,
  target=False,
  step=False,
  norm="layernorm",
  mlp="gelu",
  mlp_ratio=4.0,
  qk_norm=False,
  bias=True,
  tied=True,
  start=0,
  init="gpt2",
)

# Rotary positions, RMSNorm, ReLU^2, QK-norm; told which site it predicts, so
# it takes any order.
MODERN = dict(
  position="rotary",
  source=True,
  target=True,
  step=False,
  norm="rmsnorm",
  mlp="relu2",
  mlp_ratio=4.0,
  qk_norm=True,
  bias=False,
  tied=False,
  init="zero_residual",
)

PRESETS = dict(gpt2=GPT2, modern=MODERN)
ORDERINGS = dict(
  raster=dict(name="raster"),
  reverse=dict(name="reverse"),
  column=dict(name="column"),
  symmetry=dict(name="symmetry", by_columns=False, upward=False, leftward=True),
  snake=dict(name="snake", by_columns=False),
  hilbert=dict(name="hilbert"),
  z_curve=dict(name="z_curve"),
  spiral=dict(name="spiral"),
  spiral_out=dict(name="spiral", out=True),
  diagonal=dict(name="diagonal"),
  checkerboard=dict(name="checkerboard"),
  subsample=dict(name="subsample"),
  bit_reversal=dict(name="bit_reversal"),
  center_out=dict(name="center_out", inward=False),
  middle_out=dict(name="middle_out", start=config_dict.placeholder(int)),
  blocks=dict(name="blocks", size=(4, 4)),
  planes=dict(name="planes"),
  random=dict(name="random", seed=0),
  interpolated=dict(name="interpolated", share=0.5, seed=0),
  from_file=dict(
    name="from_file",
    path=config_dict.placeholder(str),
    order=config_dict.placeholder(tuple),
  ),
  k_set=dict(name="k_set", count=8, seed=0),
  all=dict(name="all"),
  shared=dict(name="all", shared=True),
  annealed=dict(name="annealed", start=0.5, stop=0.75),
)
SEVERAL = ("k_set", "all", "shared", "annealed")  # not one order
AUDIO_HEADS = dict(
  categorical=dict(name="categorical"),
  discretized_logistic=dict(
    name="discretized_logistic", components=10, levels="mu_law"
  ),
)
GRAY_HEADS = dict(
  categorical=dict(name="categorical"),
  discretized_logistic=dict(
    name="discretized_logistic", components=10, levels="uniform"
  ),
)
RGB_HEADS = dict(
  rgb_logistic=dict(name="rgb_logistic", components=10),
  sites=dict(name="categorical"),
)
REAL_HEADS = dict(
  gaussian_mixture=dict(name="gaussian_mixture", components=5),
  logistic_mixture=dict(name="logistic_mixture", components=5),
)


def parse(arg, **defaults):
  """The argument of a config, as `tiny,ordering=reverse`.

  A bare word is a flag; a value has the type of its default.

  Args:
    arg: text after the colon, or None.
    **defaults: the words there are.
  Returns:
    ConfigDict of the defaults with the given values.
  Raises:
    ValueError: a word that is not known, or a value of another type.
  """
  result = config_dict.create(**defaults)
  for part in filter(None, (arg or "").split(",")):
    key, _, value = part.partition("=")
    if key not in defaults:
      raise ValueError(
        f"config argument {key!r} is not known{_nearest(key, defaults)};"
        f" there are: {', '.join(defaults)}"
      )
    if isinstance(defaults[key], bool):
      result[key] = choose(key, value, {"": True, "true": True, "false": False})
    else:
      result[key] = type(defaults[key])(value)
  return result


def choose(name, value, known):
  """known[value], or a ValueError with the names there are."""
  if value not in known:
    raise ValueError(
      f"config argument {name}={value} is not known{_nearest(value, known)};"
      f" there are: {', '.join(known)}"
    )
  return known[value]


def get_base():
  """The sections that every run has, with their defaults."""
  return config_dict.create(
    seed=0,
    data=dict(),
    ordering=dict(name="raster"),
    head=dict(name="categorical"),
    model=dict(),
    objective=dict(name="nll"),
    optimizer=dict(
      name="adamw",
      lr=1e-3,
      schedule="cosine",
      warmup=100,
      final=0.1,
      b1=0.9,
      b2=0.99,
      weight_decay=0.1,
      decay=r"(kernel|embedding)$",
      clip=config_dict.placeholder(float),
      muon=r"block_.*kernel$",
      muon_lr=0.02,
    ),
    train=dict(
      batch_size=16,
      steps=2000,
      shuffle_seed=config_dict.placeholder(int),
      accumulate=1,
      ema_decay=config_dict.placeholder(float),
      log_every=20,
      eval_every=250,
      save_every=config_dict.placeholder(int),
      save_minutes=10.0,
      keep=1,
      keep_best=1,
      keep_every=config_dict.placeholder(int),
      trackers=(),
      precision="float32",
      remat=config_dict.placeholder(str),
    ),
    evaluate=dict(
      split="valid",
      batch_size=64,
      orders=config_dict.placeholder(int),
      baselines=("marginal", "ngram", "compressors"),
    ),
    sample=dict(
      name="ancestral",
      temperature=1.0,
      top_k=config_dict.placeholder(int),
      top_p=config_dict.placeholder(float),
      min_p=config_dict.placeholder(float),
    ),
    parallel=dict(name="pmap", model=1, rules=config_dict.placeholder(tuple)),
  )


def wavenet(tiny, stacks, layers):
  """Model section of a WaveNet: dilations 1, 2, 4, ... in several stacks."""
  layers = 3 if tiny else layers
  return dict(
    name="wavenet",
    dilations=tuple(2**i for i in range(layers)) * (1 if tiny else stacks),
    kernel=2,
    residual=8 if tiny else 64,
    skip=8 if tiny else 128,
    dropout=0.0,
  )


def gated_pixelcnn(tiny, layers, width):
  """Model section of a gated PixelCNN."""
  return config_dict.create(
    name="gated_pixelcnn",
    layers=2 if tiny else layers,
    width=4 if tiny else width,
    kernel=3,
    first_kernel=7,
    dilations=(1,),
    dropout=0.0,
  )


def pixelcnn_pp(tiny, scales, blocks, width, dropout):
  """Model section of a PixelCNN++."""
  return config_dict.create(
    name="pixelcnn_pp",
    scales=2 if tiny else scales,
    blocks=1 if tiny else blocks,
    width=4 if tiny else width,
    dropout=dropout,
  )


def pixelcnn(tiny, blocks, width):
  """Model section of a PixelCNN."""
  return config_dict.create(
    name="pixelcnn",
    blocks=1 if tiny else blocks,
    width=8 if tiny else width,
    kernel=3,
    first_kernel=7,
    position=False,
    dropout=0.0,
  )


def pixel_rnn(tiny, cell, layers, width):
  """Model section of a PixelRNN."""
  return config_dict.create(
    name="pixel_rnn",
    cell=cell,
    layers=1 if tiny else layers,
    width=4 if tiny else width,
    first_kernel=7,
    dropout=0.0,
  )


def image_gpt(tiny, depth, width, heads):
  """Model section of a GPT that is told where pixels lie."""
  return config_dict.create(
    name="gpt",
    depth=1 if tiny else depth,
    width=16 if tiny else width,
    heads=2 if tiny else heads,
    dropout=0.0,
    **MODERN,
  )


def images(config, tiny, steps, batch_size):
  """Sets what all image runs share: sizes, EMA, evaluation, baselines."""
  config.train.batch_size = 8 if tiny else batch_size
  config.train.steps = 10 if tiny else steps
  config.train.eval_every = 5 if tiny else 1000
  config.train.log_every = 5 if tiny else 50
  config.train.ema_decay = 0.9 if tiny else 0.999
  config.optimizer.weight_decay = 1e-3
  config.optimizer.clip = 1.0
  config.evaluate.batch_size = 8 if tiny else 250
  tables = config.data.name in ("array_file", "ising", "digits")
  bars = ("factorised", "chow_liu") if tables else ("marginal", "compressors")
  config.evaluate.baselines = (*bars, "png")


def digits(arg):
  """Data section of scikit-learn's digits."""
  return dict(
    name="digits",
    labels=arg.labels,
    split="0.8/0.1/0.1",
    seed=0,
  )


def photos(tiny, sites):
  """Data section of patches of scikit-learn's photographs."""
  return dict(
    name="photos",
    size=4 if tiny else 32,
    stride=40 if tiny else 4,
    pixels="sites" if sites else "channels",
    labels=False,
  )


def prepared_images(name, labels):
  """Data section of images that `ar_jax data prepare-images` has written."""
  return config_dict.create(
    name="tfds",
    dataset=name,
    data_dir="data/tfds",
    feature="image",
    label="label" if labels else "",
    splits="train[:90%]/train[90%:]/test",
    pixels="channels",
  )


def binary_images():
  """Data section of 28 x 28 images of 0s and 1s; the files come by path."""
  return dict(
    name="array_file",
    path="",
    key="",
    valid_path="",
    valid_key="",
    test_path="",
    test_key="",
    shape=(28, 28),
    num_values=2,
    split="0.8/0.1/0.1",
    seed=0,
  )


def rolls(arg):
  """Data section of piano rolls; the file comes by path."""
  events = arg.form == "events"
  length = 160 if events else 16
  if arg.tiny:
    length = 16 if events else 4
  return dict(
    name="piano_roll",
    path="",
    form=arg.form,
    length=length,
    stride=length // 2,
    notes=arg.notes,
    notes_seed=0,
    transpose=5,
    fill="unscored",
  )


def _nearest(name, known):
  close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
  return f"; nearest: {close[0]}" if close else ""
