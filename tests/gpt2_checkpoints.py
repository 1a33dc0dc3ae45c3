"""GPT-2 checkpoints of any size, and what transformers makes of them."""

import pathlib

import jax
import numpy as np
import pytest

from ar_jax import config as configs
from ar_jax.heads import categorical
from ar_jax.models import gpt
from ar_jax.orderings import raster

ROOT = pathlib.Path(__file__).parent.parent


def values(depth=2, width=32, heads=4, context=16, vocab=67, **more):
  """Of a config.json; the start token is 3."""
  return dict(
    model_type="gpt2",
    n_layer=depth,
    n_embd=width,
    n_head=heads,
    n_positions=context,
    vocab_size=vocab,
    bos_token_id=3,
    eos_token_id=3,
    **more,
  )


def _shapes_of(values):
  """{name of Hugging Face: shape}."""
  D, V = values["n_embd"], values["vocab_size"]
  inner = values.get("n_inner") or 4 * D
  shapes = {"wte.weight": (V, D), "wpe.weight": (values["n_positions"], D)}
  for i in range(values["n_layer"]):
    block = {
      "ln_1.weight": (D,),
      "ln_1.bias": (D,),
      "attn.c_attn.weight": (D, 3 * D),
      "attn.c_attn.bias": (3 * D,),
      "attn.c_proj.weight": (D, D),
      "attn.c_proj.bias": (D,),
      "ln_2.weight": (D,),
      "ln_2.bias": (D,),
      "mlp.c_fc.weight": (D, inner),
      "mlp.c_fc.bias": (inner,),
      "mlp.c_proj.weight": (inner, D),
      "mlp.c_proj.bias": (D,),
    }
    shapes |= {f"h.{i}.{name}": shape for name, shape in block.items()}
  shapes |= {"ln_f.weight": (D,), "ln_f.bias": (D,)}
  shapes = {f"transformer.{name}": shape for name, shape in shapes.items()}
  if not values.get("tie_word_embeddings", True):
    shapes["lm_head.weight"] = (V, D)
  return shapes


def tensors(values, seed=0):
  """A checkpoint in which no tensor is zero or one, so each counts."""
  rng = np.random.default_rng(seed)
  found = {}
  for name, shape in _shapes_of(values).items():
    tensor = 0.2 * rng.standard_normal(shape) + ("ln_" in name)
    found[name] = tensor.astype(np.float32)
  return found


def logits(model, x_BLC, start):
  """Logits [B, L, vocab_size] of GPT2LMHeadModel on [start, x_0, ..]."""
  import torch

  before = np.pad(x_BLC[:, :-1, 0], ((0, 0), (1, 0)), constant_values=start)
  with torch.no_grad():
    return model.eval()(torch.tensor(before.astype(np.int64))).logits.numpy()


def network(section, spec):
  arguments = {k: v for k, v in section.items() if k != "name"}
  head = categorical.make(spec)
  return gpt.make(spec, head, raster.make(spec.shape), **arguments), head


def tokens(spec, batch=2, seed=1):
  rng = np.random.default_rng(seed)
  shape = (batch, spec.length, 1)
  return rng.integers(0, spec.num_values, shape).astype(np.int32)


def own_config(**model):
  config = configs.plain(
    configs.load(f"{ROOT}/configs/gpt2.py:tiny,level=byte")
  )
  sizes = dict(depth=1, width=16, heads=2)
  return dict(config, model=dict(config["model"], **sizes) | model)


def reference(values, tensors):
  pytest.importorskip("torch")
  transformers = pytest.importorskip("transformers")
  import torch

  config = transformers.GPT2Config(**values)
  model = transformers.GPT2LMHeadModel(config)
  state = {name: torch.tensor(t) for name, t in tensors.items()}
  state.setdefault("lm_head.weight", state["transformer.wte.weight"])
  model.load_state_dict(state)
  return model


def equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, a, b)


def noise(shapes):
  """Random parameters of the shapes that jax.eval_shape gave."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda s: 0.2 * rng.standard_normal(s.shape).astype(s.dtype), shapes
  )
