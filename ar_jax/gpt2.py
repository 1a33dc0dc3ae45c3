"""GPT-2 as Hugging Face has it and as ours: configs and tensors, both ways.

Theirs is config.json and the tensors of GPT2LMHeadModel; ours is the section
`model` of a config for models/gpt.py, a DataSpec and parameters. Index t of
our logits is index t of theirs on the tokens [start, x_0, .., x_{L-2}].
"""

import inspect

import numpy as np

from ar_jax import errors, huggingface, registry
from ar_jax.types import DataSpec

# GPT2Config where config.json is silent (transformers, configuration_gpt2).
_DEFAULTS = dict(
  vocab_size=50257,
  n_positions=1024,
  n_embd=768,
  n_layer=12,
  n_head=12,
  n_inner=None,
  bos_token_id=50256,
  eos_token_id=50256,
  resid_pdrop=0.1,
  tie_word_embeddings=True,
)
_SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
# Where a checkpoint must agree, or our network computes something else.
_FIXED = dict(
  activation_function="gelu_new",
  layer_norm_epsilon=1e-5,
  scale_attn_weights=True,
  scale_attn_by_inverse_layer_idx=False,
  reorder_and_upcast_attn=False,
  add_cross_attention=False,
)
# Where a run of ours must agree.
_OURS = dict(
  name="gpt",
  position="learned",
  target=False,
  norm="layernorm",
  mlp="gelu",
  qk_norm=False,
)
_BUFFERS = (".attn.bias", ".attn.masked_bias")  # masks of old checkpoints
_DTYPES = ("float16", "bfloat16", "float32")
# Our tables: one for each channel; positions end in a row that is never read.
_INTO = {
  "wte.weight": lambda table_VD: table_VD[None],
  "wpe.weight": lambda table_LD: np.pad(table_LD, ((0, 1), (0, 0))),
  "lm_head.weight": np.transpose,
}
_OUT_OF = {
  "wte.weight": lambda table_CVD: table_CVD[0],
  "wpe.weight": lambda table: table[:-1],
  "lm_head.weight": np.transpose,
}


def from_hf(values, num_values):
  """(section `model`, DataSpec) of the values of a config.json.

  Args:
    values: dict.
    num_values: V, the ids that the tokenizer has. A larger vocab_size is
      padding: rows of the table that nothing reads.
  Raises:
    DataError: the first key that our network cannot follow.
  """
  if values.get("model_type") != "gpt2":
    raise errors.DataError(
      f"config.json: model_type is {values.get('model_type')!r}; this reads"
      " 'gpt2'"
    )
  for key, wanted in _FIXED.items():
    if values.get(key, wanted) != wanted:
      raise errors.DataError(
        f"config.json: {key} is {values[key]!r}; our GPT-2 has {wanted!r} only"
      )
  hf = dict(_DEFAULTS, **values)
  inner = 4 * hf["n_embd"] if hf["n_inner"] is None else hf["n_inner"]
  for key, size in [*((k, hf[k]) for k in _SIZES), ("n_inner", inner)]:
    if type(size) is not int or size < 1:
      raise errors.DataError(f"config.json: {key} is {size!r}, no size")
  dropout = hf["resid_pdrop"]
  if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
    raise errors.DataError(f"config.json: resid_pdrop is {dropout!r}, no rate")
  if hf["n_embd"] % hf["n_head"]:
    raise errors.DataError(
      f"config.json: n_embd {hf['n_embd']} does not divide by n_head"
      f" {hf['n_head']}"
    )
  rows, tied = hf["vocab_size"], hf["tie_word_embeddings"]
  if rows < num_values:
    raise errors.DataError(
      f"config.json: vocab_size is {rows}, but tokenizer.json has ids up to"
      f" {num_values - 1}: they are not of one model"
    )
  if rows > num_values and not tied:
    raise errors.DataError(
      f"config.json: vocab_size {rows} is padded (the tokenizer has"
      f" {num_values} ids) and tie_word_embeddings is false; our GPT-2 takes"
      " one of the two"
    )
  section = dict(
    _complete(_OURS),
    depth=hf["n_layer"],
    width=hf["n_embd"],
    heads=hf["n_head"],
    mlp_ratio=inner / hf["n_embd"],
    bias=True,
    tied=tied,
    start=_start(hf, num_values),
    rows=rows if rows > num_values else None,
    init="gpt2",
    dropout=float(dropout),
  )
  return section, DataSpec((hf["n_positions"],), 1, num_values)


def _start(hf, num_values):
  """The token before the first one: bos_token_id, else eos_token_id."""
  for key in ("bos_token_id", "eos_token_id"):
    if hf[key] is None:
      continue
    if type(hf[key]) is not int or not 0 <= hf[key] < num_values:
      raise errors.DataError(
        f"config.json: {key} is {hf[key]!r}; the tokenizer has ids"
        f" 0..{num_values - 1}"
      )
    return hf[key]
  raise errors.DataError(
    "config.json: bos_token_id and eos_token_id are both null; our GPT-2 needs"
    " the token that stands before the first one"
  )


def to_hf(config, spec, media):
  """The values of config.json for a run; UsageError where GPT-2 differs.

  Args:
    config: plain dict of the run's config.
    spec: DataSpec.
    media: of the run. eos_token_id is the start token where the tokenizer
      has it as a special one; elsewhere null: it is a token like any other,
      and must not end what the library generates.
  """
  section = _check(config, spec)
  inner = round(section["mlp_ratio"] * section["width"])
  start, dropout = section["start"], section["dropout"]
  return dict(
    architectures=["GPT2LMHeadModel"],
    model_type="gpt2",
    vocab_size=section["rows"] or spec.num_values,
    n_positions=spec.length,
    n_embd=section["width"],
    n_layer=section["depth"],
    n_head=section["heads"],
    n_inner=None if inner == 4 * section["width"] else inner,
    **_FIXED,
    resid_pdrop=dropout,
    embd_pdrop=dropout,
    attn_pdrop=dropout,
    bos_token_id=start,
    eos_token_id=start if huggingface.special(media, start) else None,
    tie_word_embeddings=section["tied"],
  )


def _check(config, spec):
  """The completed section `model` of a run that has GPT-2's arithmetic."""
  section = _complete(config["model"])
  wanted = {f"model.{k}": (section[k], v) for k, v in _OURS.items()}
  heads = section["heads"]
  wanted["model.kv_heads"] = (section["kv_heads"] or heads, heads)
  wanted["ordering.name"] = (config["ordering"]["name"], "raster")
  wanted["head.name"] = (config["head"]["name"], "categorical")
  for key, (value, gpt2) in wanted.items():
    if value != gpt2:
      raise errors.UsageError(
        f"not a GPT-2: config.{key} is {value!r}, GPT-2 has {gpt2!r}"
      )
  if section["start"] is None:
    raise errors.UsageError(
      "not a GPT-2: config.model.start is None (a vector of its own), GPT-2"
      " has a token of the vocabulary"
    )
  if len(spec.shape) != 1 or spec.channels != 1 or spec.conditions:
    raise errors.UsageError(
      f"not a GPT-2: the data has shape {spec.shape}, {spec.channels} channels"
      f" and {len(spec.conditions)} conditions, GPT-2 has one line of tokens"
    )
  return section


def _complete(section):
  """A section `model` with the defaults of models/gpt.py."""
  made = inspect.signature(registry.load("models", "gpt").make)
  keywords = [p for p in made.parameters.values() if p.kind is p.KEYWORD_ONLY]
  return {p.name: p.default for p in keywords} | section


def from_tensors(tensors, section, spec):
  """Parameters of models/gpt.py, float32, of a checkpoint's tensors.

  Args:
    tensors: {name: numpy array}, with or without the prefix "transformer.".
    section, spec: of `from_hf`.
  Raises:
    DataError: a tensor that is missing, left over, or of another shape.
  """
  from flax import traverse_util

  tensors = {
    name.removeprefix("transformer."): tensor
    for name, tensor in tensors.items()
    if not name.endswith(_BUFFERS)
  }
  layout = _layout(section, spec)
  if section["tied"] and "lm_head.weight" in tensors:
    head = tensors.pop("lm_head.weight")
    if not np.array_equal(head, tensors.get("wte.weight", head)):
      raise errors.DataError(
        "config.json: tie_word_embeddings is true, but lm_head.weight differs"
        " from wte.weight; set it to false if the checkpoint is right"
      )
  for name, (_, shape) in layout.items():
    if name not in tensors:
      raise errors.DataError(f"the checkpoint lacks {name}, {shape}")
    if tensors[name].shape != shape:
      raise errors.DataError(
        f"{name} is {tensors[name].shape}, config.json asks for {shape}"
      )
  for name, tensor in tensors.items():
    if name not in layout:
      raise errors.DataError(
        f"the checkpoint has {name}, {tensor.shape}, which a GPT-2 of"
        f" {section['depth']} layers has not"
      )
  leaves = {
    path: _INTO.get(name, _same)(_float32(name, tensors[name]))
    for name, (path, _) in layout.items()
  }
  return dict(gpt=traverse_util.unflatten_dict(leaves), condition={}, memory={})


def to_tensors(params, section, spec):
  """The tensors of GPT2LMHeadModel, {name: float32 array}.

  A run without biases gets zeros, which compute the same.
  """
  from flax import traverse_util

  leaves = traverse_util.flatten_dict(params["gpt"])
  section = _complete(section)
  tensors = {}
  for name, (path, shape) in _layout(section, spec).items():
    if path in leaves:
      tensor = _OUT_OF.get(name, _same)(np.asarray(leaves[path], np.float32))
    else:
      assert path[-1] == "bias" and not section["bias"], path
      tensor = np.zeros(shape, np.float32)
    prefix = "" if name.startswith("lm_head") else "transformer."
    # safetensors writes the buffer as it lies in memory.
    tensors[prefix + name] = np.ascontiguousarray(tensor)
  return tensors


def _layout(section, spec):
  """{their name: (our path, their shape)}; Conv1D is [in, out] as ours is."""
  D, V = section["width"], spec.num_values
  hidden = round(section["mlp_ratio"] * D)
  layout = {
    "wte.weight": (("embed", "embedding"), (section["rows"] or V, D)),
    "wpe.weight": (("source_0",), (spec.length, D)),
  }
  for i in range(section["depth"]):
    ours, theirs = f"block_{i}", f"h.{i}"
    layout |= _norm(f"{theirs}.ln_1", (ours, "norm_1"), D)
    layout |= _linear(
      f"{theirs}.attn.c_attn", (ours, "attention", "qkv"), D, 3 * D
    )
    layout |= _linear(f"{theirs}.attn.c_proj", (ours, "attention", "out"), D, D)
    layout |= _norm(f"{theirs}.ln_2", (ours, "norm_2"), D)
    layout |= _linear(f"{theirs}.mlp.c_fc", (ours, "up"), D, hidden)
    layout |= _linear(f"{theirs}.mlp.c_proj", (ours, "down"), hidden, D)
  layout |= _norm("ln_f", ("norm",), D)
  if not section["tied"]:
    layout["lm_head.weight"] = (("head", "kernel"), (V, D))
  return layout


def _norm(name, path, width):
  return {
    f"{name}.weight": ((*path, "scale"), (width,)),
    f"{name}.bias": ((*path, "bias"), (width,)),
  }


def _linear(name, path, size_in, size_out):
  return {
    f"{name}.weight": ((*path, "kernel"), (size_in, size_out)),
    f"{name}.bias": ((*path, "bias"), (size_out,)),
  }


def _same(tensor):
  return tensor


def _float32(name, tensor):
  if tensor.dtype.name not in _DTYPES:
    raise errors.DataError(
      f"{name} is {tensor.dtype.name}; this reads {', '.join(_DTYPES)}"
    )
  return tensor.astype(np.float32, copy=False)
