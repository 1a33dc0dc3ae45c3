"""GPT-2 in and out: the arithmetic is transformers', no bit is lost."""

import pathlib

import gpt2_checkpoints as checkpoints
import jax
import numpy as np
import pytest

from ar_jax import errors, gpt2, likelihood
from ar_jax.heads import categorical
from ar_jax.models import gpt
from ar_jax.orderings import raster
from ar_jax.samplers import ancestral
from ar_jax.types import DataSpec

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


SHAPES = dict(
  small=checkpoints.values(),
  one_block=checkpoints.values(1, 48, 3, 24, 131),
  narrow_mlp=checkpoints.values(3, 64, 2, 33, 50, n_inner=96),
  padded=checkpoints.values(1, vocab=72),
  # 49 / 22 * 22 is less than 49 in float64.
  untied=checkpoints.values(
    width=22, heads=2, n_inner=49, tie_word_embeddings=False
  ),
)
NUM_VALUES = dict(padded=67)


def _shape(name):
  values = SHAPES[name]
  return values, NUM_VALUES.get(name, values["vocab_size"])


def _imported(name="small", tensors=None):
  """(model, head, params, spec, section)."""
  values, num_values = _shape(name)
  section, spec = gpt2.from_hf(values, num_values)
  tensors = checkpoints.tensors(values) if tensors is None else tensors
  params = gpt2.from_tensors(tensors, section, spec)
  model, head = checkpoints.network(section, spec)
  return model, head, params, spec, section


# --- the arithmetic ---


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_transformers(name):
  values, num_values = _shape(name)
  tensors = checkpoints.tensors(values)
  theirs = checkpoints.reference(values, tensors)
  model, _, params, spec, _ = _imported(name, tensors)
  x_BLC = checkpoints.tokens(spec)
  wanted = checkpoints.logits(theirs, x_BLC, start=3)[..., :num_values]
  assert wanted.std() > 0.3  # the bar below is a small part of it
  ours = jax.jit(model.apply)(params, x_BLC)
  assert ours.shape == wanted.shape
  np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-4)


def test_cached_steps_give_the_same_logits():
  model, _, params, spec, _ = _imported("small")
  x_BLC = checkpoints.tokens(spec)
  before = np.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))[:, :-1]
  cache = model.init_cache(params, 2, spec.length)
  prefix, cache = jax.jit(model.extend)(params, cache, before[:, :5], 0)
  found = [prefix]
  step = jax.jit(model.step)
  for t in range(5, spec.length):
    theta, cache = step(params, cache, before[:, t], t)
    found.append(theta[:, None])
  wanted = jax.jit(model.apply)(params, x_BLC)
  ours = np.concatenate(found, axis=1)
  np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-5)


def test_padding_gets_no_probability():
  values, num_values = _shape("padded")
  tensors = checkpoints.tensors(values)
  model, head, params, spec, section = _imported("padded", tensors)
  assert section["rows"] == 72
  assert spec.num_values == num_values == 67
  loud = {k: v.copy() for k, v in tensors.items()}
  loud["transformer.wte.weight"][num_values:] = 50
  loud_params = gpt2.from_tensors(loud, section, spec)
  x_BLC = checkpoints.tokens(spec)
  log_prob = jax.jit(lambda p, x: likelihood.log_prob(model, head, p, x))
  quiet, noisy = (log_prob(p, x_BLC) for p in (params, loud_params))
  np.testing.assert_array_equal(quiet, noisy)
  theta_BLP = jax.jit(model.apply)(loud_params, x_BLC)
  every_id = np.arange(num_values, dtype=np.int32)[:, None]
  every = jax.jit(head.log_prob)(theta_BLP[:, :, None], every_id[None, None])
  total = np.exp(every)
  np.testing.assert_allclose(total.sum(-1), 1, atol=1e-6)
  sampler = ancestral.make(model, head, temperature=3.0)
  empty = np.zeros((64, spec.length, 1), np.int32)
  given = (empty, np.zeros((64, spec.length), bool))
  sample = sampler(loud_params, jax.random.key(0), None, given)
  assert sample.x_BLC.max() < num_values
  assert np.isfinite(sample.log_prob_model_BL).all()
  assert len(np.unique(sample.x_BLC)) > 60


def test_rows_of_the_table_are_checked():
  spec = DataSpec((5,), 1, 7)
  head, ordering = categorical.make(spec), raster.make(spec.shape)
  sizes = dict(depth=1, width=8, heads=2)
  for more in (dict(rows=6, tied=True), dict(rows=8, tied=False)):
    with pytest.raises(ValueError, match=f"rows {more['rows']} must be V = 7"):
      gpt.make(spec, head, ordering, **sizes, **more)
  model = gpt.make(spec, head, ordering, **sizes, rows=9, tied=True)
  made = jax.eval_shape(model.init, jax.random.key(0))
  table = made["gpt"]["embed"]["embedding"]
  assert table.shape == (1, 9, 8)


# --- tensors ---


@pytest.mark.parametrize("name", SHAPES)
def test_tensors_come_back_bit_for_bit(name):
  values, _ = _shape(name)
  tensors = checkpoints.tensors(values)
  model, _, params, spec, section = _imported(name, tensors)
  made = jax.eval_shape(model.init, jax.random.key(0))
  shapes = jax.tree.map(lambda leaf: leaf.shape, made)
  assert jax.tree.map(np.shape, params) == shapes
  params = jax.tree.map(np.ascontiguousarray, params)  # as a run has them
  back = gpt2.to_tensors(params, section, spec)
  assert list(back) == list(tensors)
  for key, tensor in tensors.items():
    np.testing.assert_array_equal(back[key], tensor, err_msg=key)
    assert back[key].dtype == np.float32
    assert back[key].flags.c_contiguous
  config = dict(
    model=section,
    ordering=dict(name="raster"),
    head=dict(name="categorical"),
  )
  written = gpt2.to_hf(config, spec, dict(level="byte"))
  for key, value in values.items():
    assert written[key] == value or key == "eos_token_id", key


def test_names_without_prefix_buffers_and_a_tied_head_are_taken():
  values, _ = _shape("small")
  tensors = checkpoints.tensors(values)
  old = {k.removeprefix("transformer."): v for k, v in tensors.items()}
  for i in range(2):
    old[f"h.{i}.attn.bias"] = np.ones((1, 1, 16, 16), bool)
    old[f"h.{i}.attn.masked_bias"] = np.float32(-1e4)
  old["lm_head.weight"] = old["wte.weight"]
  params = _imported("small", tensors)[2]
  checkpoints.equal(_imported("small", old)[2], params)


def _broken(change):
  tensors = checkpoints.tensors(SHAPES["small"])
  change(tensors)
  return tensors


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      lambda t: t.pop("transformer.h.1.attn.c_attn.weight"),
      r"the checkpoint lacks h.1.attn.c_attn.weight, \(32, 96\)",
    ),
    (
      lambda t: t.update({"transformer.h.2.ln_1.bias": np.zeros(32, "f")}),
      r"has h.2.ln_1.bias, \(32,\), which a GPT-2 of 2 layers has not",
    ),
    (
      lambda t: t.update({"transformer.wpe.weight": np.zeros((17, 32), "f")}),
      r"wpe.weight is \(17, 32\), config.json asks for \(16, 32\)",
    ),
    (
      lambda t: t.update({"transformer.ln_f.bias": np.zeros(32)}),
      "ln_f.bias is float64; this reads float16, bfloat16, float32",
    ),
    (
      lambda t: t.update({"lm_head.weight": np.zeros((67, 32), "f")}),
      "lm_head.weight differs from wte.weight",
    ),
  ],
)
def test_wrong_tensor_is_named(change, message):
  with pytest.raises(errors.DataError, match=message):
    _imported("small", _broken(change))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(model_type="gptj"), "model_type is 'gptj'; this reads 'gpt2'"),
    (
      dict(activation_function="gelu"),
      "activation_function is 'gelu'; our GPT-2 has 'gelu_new' only",
    ),
    (dict(layer_norm_epsilon=1e-6), "layer_norm_epsilon is 1e-06; our"),
    (dict(scale_attn_weights=False), "scale_attn_weights is False"),
    (
      dict(scale_attn_by_inverse_layer_idx=True),
      "scale_attn_by_inverse_layer_idx is True",
    ),
    (dict(reorder_and_upcast_attn=True), "reorder_and_upcast_attn is True"),
    (dict(n_head=5), "n_embd 32 does not divide by n_head 5"),
    (dict(n_layer="2"), "n_layer is '2', no size"),
    (dict(n_inner=0), "n_inner is 0, no size"),
    (dict(vocab_size=66), "vocab_size is 66, .* ids up to 66"),
    (
      dict(vocab_size=72, tie_word_embeddings=False),
      "vocab_size 72 is padded .*tie_word_embeddings is false",
    ),
    (dict(bos_token_id=67), r"bos_token_id is 67; .* ids 0\.\.66"),
    (dict(bos_token_id=None, eos_token_id=None), "are both null"),
    (dict(resid_pdrop=2), "resid_pdrop is 2, no rate"),
  ],
)
def test_config_that_we_cannot_follow_is_named(changes, message):
  with pytest.raises(errors.DataError, match=message):
    gpt2.from_hf(dict(SHAPES["small"], **changes), 67)


def test_start_is_the_end_where_there_is_no_begin():
  values = dict(SHAPES["small"], bos_token_id=None, eos_token_id=5)
  assert gpt2.from_hf(values, 67)[0]["start"] == 5


def test_silent_config_is_the_published_gpt2():
  section, spec = gpt2.from_hf(dict(model_type="gpt2"), 50257)
  assert (section["depth"], section["width"], section["heads"]) == (12, 768, 12)
  assert section["start"] == 50256
  assert spec == DataSpec((1024,), 1, 50257)


# --- runs of ours, out ---


@pytest.mark.parametrize(
  ("section", "changes", "message"),
  [
    ("model", dict(position="rotary"), "'rotary', GPT-2 has 'learned'"),
    ("model", dict(norm="rmsnorm"), "'rmsnorm', GPT-2 has 'layernorm'"),
    ("model", dict(mlp="relu2"), "'relu2', GPT-2 has 'gelu'"),
    ("model", dict(target=True), "True, GPT-2 has False"),
    ("model", dict(qk_norm=True), "True, GPT-2 has False"),
    ("model", dict(kv_heads=1), "1, GPT-2 has 2"),
    ("model", dict(start=None), r"None \(a vector of its own\), GPT-2 has"),
    ("model", dict(name="pixelcnn"), "'pixelcnn', GPT-2 has 'gpt'"),
    ("ordering", dict(name="reverse"), "'reverse', GPT-2 has 'raster'"),
    ("head", dict(name="mixture"), "'mixture', GPT-2 has 'categorical'"),
  ],
)
def test_run_that_is_no_gpt2_is_refused(section, changes, message):
  spec = DataSpec((64,), 1, 256)
  config = checkpoints.own_config()
  assert gpt2.to_hf(config, spec, {})["n_positions"] == 64
  config[section] = dict(config[section], **changes)
  (key,) = changes
  message = f"not a GPT-2: config.{section}.{key} is {message}"
  with pytest.raises(errors.UsageError, match=message):
    gpt2.to_hf(config, spec, {})


def test_data_that_is_no_line_of_tokens_is_refused():
  for spec in (DataSpec((8, 8), 1, 256), DataSpec((64,), 2, 256)):
    with pytest.raises(errors.UsageError, match="GPT-2 has one line of tok"):
      gpt2.to_hf(checkpoints.own_config(), spec, {})


def test_run_without_biases_is_exported_with_zeros():
  section = checkpoints.own_config(bias=False)["model"]
  spec = DataSpec((12,), 1, 67)
  model, head = checkpoints.network(section, spec)
  params = checkpoints.noise(jax.eval_shape(model.init, jax.random.key(0)))
  tensors = gpt2.to_tensors(params, section, spec)
  biases = [t for name, t in tensors.items() if name.endswith(".bias")]
  assert len(biases) == 2 + 4 + 1
  assert not np.any(biases[0])
  again = dict(section, bias=True)
  biased, _ = checkpoints.network(again, spec)
  imported = gpt2.from_tensors(tensors, again, spec)
  x_BLC = checkpoints.tokens(spec)
  ours, theirs = (
    jax.jit(lambda p: likelihood.log_prob(m, head, p, x_BLC))(p)
    for m, p in ((model, params), (biased, imported))
  )
  np.testing.assert_array_equal(ours, theirs)
