"""Directories of Hugging Face: read, written, and the commands that do so."""

import json
import pathlib
import sys

import gpt2_checkpoints as checkpoints
import jax
import ml_dtypes
import numpy as np
import pytest

from ar_jax import __main__ as program
from ar_jax import config as configs
from ar_jax import errors, gpt2, huggingface, text
from ar_jax import run as runs
from ar_jax.types import DataSpec

ROOT = pathlib.Path(__file__).parent.parent
SENTENCE = "The cat sat on the mat, naïve as ever. 🙂\n"


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


def _tokenizer():
  """A byte-level tokenizer of 270 ids, <|endoftext|> the first of them."""
  tokenizers = pytest.importorskip("tokenizers")
  made = tokenizers.ByteLevelBPETokenizer()
  made.train_from_iterator(
    [SENTENCE * 20],
    vocab_size=270,
    special_tokens=["<|endoftext|>"],
    show_progress=False,
  )
  return made


def _bpe_values(**more):
  size = _tokenizer().get_vocab_size()
  end = dict(bos_token_id=0, eos_token_id=0)
  return dict(checkpoints.values(1, 16, 2, 24, size), **end) | more


def _directory(tmp_path, tensors, dtype=np.float32, values=None):
  """A Hugging Face directory, written by other means than ours."""
  pytest.importorskip("safetensors")
  import safetensors.numpy

  folder = tmp_path / "theirs"
  folder.mkdir()
  values = values or _bpe_values()
  (folder / "config.json").write_text(json.dumps(values))
  _tokenizer().save(str(folder / "tokenizer.json"))
  safetensors.numpy.save_file(
    {k: v.astype(dtype) for k, v in tensors.items()},
    folder / "model.safetensors",
  )
  return folder


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_raised(dtype, tmp_path):
  folder = _directory(tmp_path, checkpoints.tensors(_bpe_values()), dtype)
  _, tensors, _ = huggingface.read(folder)
  assert {t.dtype for t in tensors.values()} == {np.dtype(dtype)}
  values = _bpe_values()
  section, spec = gpt2.from_hf(values, values["vocab_size"])
  params = gpt2.from_tensors(tensors, section, spec)
  assert {p.dtype for p in jax.tree.leaves(params)} == {np.dtype(np.float32)}
  table = checkpoints.tensors(values)["transformer.wte.weight"].astype(dtype)
  np.testing.assert_array_equal(
    params["gpt"]["embed"]["embedding"][0], table.astype(np.float32)
  )


def test_directory_of_transformers_is_read_also_in_shards(tmp_path):
  values = _bpe_values()
  tensors = checkpoints.tensors(values)
  theirs = checkpoints.reference(values, tensors)
  _tokenizer().save(str(tmp_path / "tokenizer.json"))
  for size, count in (("1GB", 1), ("20KB", 2)):
    theirs.save_pretrained(tmp_path, max_shard_size=size)
    assert len(list(tmp_path.glob("*.safetensors"))) >= count
    read_values, read, media = huggingface.read(tmp_path)
    section, spec = gpt2.from_hf(read_values, text.num_values(media))
    params = gpt2.from_tensors(read, section, spec)
    checkpoints.equal(params, gpt2.from_tensors(tensors, section, spec))
    assert media["source"] == tmp_path.name
    for file in tmp_path.glob("*.safetensors"):
      file.unlink()
  with pytest.raises(errors.DataError, match=r"cannot read .*-00001-of"):
    huggingface.read(tmp_path)


def test_transformers_reads_what_we_write(tmp_path):
  values = _bpe_values(vocab_size=288)
  tensors = checkpoints.tensors(values)
  checkpoints.reference(values, tensors)  # skips where it is missing
  import transformers

  read = huggingface.read(_directory(tmp_path, tensors, values=values))
  section, spec = gpt2.from_hf(values, text.num_values(read[2]))
  params = gpt2.from_tensors(tensors, section, spec)
  config = dict(checkpoints.own_config(), model=section)
  written = gpt2.to_hf(config, spec, read[2])
  out = tmp_path / "ours"
  back = gpt2.to_tensors(params, section, spec)
  huggingface.write(out, written, back, read[2])
  theirs, report = transformers.GPT2LMHeadModel.from_pretrained(
    out, output_loading_info=True
  )
  assert not any(report.values()), report
  model, _ = checkpoints.network(section, spec)
  x_BLC = checkpoints.tokens(spec)
  np.testing.assert_allclose(
    jax.jit(model.apply)(params, x_BLC),
    checkpoints.logits(theirs, x_BLC, start=0)[..., : spec.num_values],
    rtol=0,
    atol=1e-4,
  )
  tokenizer = transformers.AutoTokenizer.from_pretrained(out)
  ids = text.encode(read[2], SENTENCE).tolist()
  assert tokenizer(SENTENCE)["input_ids"] == ids
  assert tokenizer.decode(ids) == SENTENCE
  assert tokenizer.model_max_length == 24
  assert tokenizer.eos_token_id == theirs.config.eos_token_id == 0
  with pytest.raises(errors.UsageError, match="already holds a model"):
    huggingface.write(out, written, back, read[2])


def test_ordinary_start_token_ends_nothing():
  values = json.loads(_tokenizer().to_str())
  media = dict(level="bpe", tokenizer=values)
  spec = DataSpec((64,), 1, 270)
  added = values["added_tokens"][0]
  for start, special, end in ((0, True, 0), (1, True, None), (0, False, None)):
    added["special"] = special
    config = checkpoints.own_config(start=start)
    written = gpt2.to_hf(config, spec, media)
    assert written["bos_token_id"] == start
    assert written["eos_token_id"] == end


def test_tokenizer_is_made_of_vocabulary_and_merges(tmp_path):
  folder = _directory(tmp_path, checkpoints.tensors(_bpe_values()))
  wanted = huggingface.read(folder)[2]
  (folder / "tokenizer.json").unlink()
  _tokenizer().save_model(str(folder))
  made = huggingface.read(folder)[2]
  assert text.num_values(made) == text.num_values(wanted)
  np.testing.assert_array_equal(
    text.encode(made, SENTENCE), text.encode(wanted, SENTENCE)
  )
  assert huggingface.special(made, 0) == "<|endoftext|>"
  (folder / "merges.txt").unlink()
  with pytest.raises(
    errors.DataError, match="no tokenizer.json, .* merges.txt"
  ):
    huggingface.read(folder)


def test_wrong_directory_is_named(tmp_path):
  with pytest.raises(errors.DataError, match=r"cannot read .*config.json"):
    huggingface.read(tmp_path)
  folder = _directory(tmp_path, checkpoints.tensors(_bpe_values()))
  whole = folder / "model.safetensors"
  raw = whole.read_bytes()
  whole.write_bytes(raw[:-9])
  with pytest.raises(errors.DataError, match=r"cannot read .*model.safet"):
    huggingface.read(folder)
  whole.rename(folder / "pytorch_model.bin")
  with pytest.raises(errors.DataError, match="bin is pickle"):
    huggingface.read(folder)
  index = folder / "model.safetensors.index.json"
  index.write_text(json.dumps(dict(weight_map={"a": "../x.safetensors"})))
  with pytest.raises(errors.DataError, match="no file beside it"):
    huggingface.read(folder)
  (folder / "a.safetensors").write_bytes(raw)
  index.write_text(json.dumps(dict(weight_map={"a": "a.safetensors"})))
  with pytest.raises(errors.DataError, match="a.safetensors lacks a"):
    huggingface.read(folder)
  (folder / "config.json").write_text("[")
  with pytest.raises(errors.DataError, match="config.json is no JSON"):
    huggingface.read(folder)


def test_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
  folder = _directory(tmp_path, checkpoints.tensors(_bpe_values()))
  monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
  with pytest.raises(errors.UsageError, match=r"'ar_jax\[text\]'"):
    huggingface.read(folder)
  with pytest.raises(errors.UsageError, match=r"'ar_jax\[text\]'"):
    huggingface.write(tmp_path / "ours", {}, {}, {})
  assert not (tmp_path / "ours").exists()


# --- the commands ---


def test_in_and_out_by_the_commands(tmp_path, capsys):
  values = _bpe_values(vocab_size=288)
  tensors = checkpoints.tensors(values)
  folder = _directory(tmp_path, tensors, values=values)
  workdir, out = tmp_path / "run", tmp_path / "ours"
  argv = ["import-gpt2", str(folder), f"--workdir={workdir}"]
  assert program.main([*argv, "--config.model.depth=3"]) == 2
  assert "config.model.depth is the checkpoint's" in capsys.readouterr().err
  assert program.main([*argv, "--config.train.steps=7"]) == 0
  said = capsys.readouterr().out
  assert "1 layers of width 16, 2 heads, window 24, 270 tokens" in said
  assert "18 rows of padding" in said
  run = runs.load(workdir)
  assert run.step == 0
  assert run.config.train.steps == 7
  assert (run.config.data.stride, run.spec.length) == (12, 24)
  assert text.encode(run.media, SENTENCE).max() < 270
  argv = ["export-gpt2", f"--workdir={workdir}", f"--out={out}"]
  assert program.main(argv) == 0
  back = huggingface.read(out)[1]
  assert set(back) == set(tensors)
  for key, tensor in tensors.items():
    np.testing.assert_array_equal(back[key], tensor, err_msg=key)
  section = configs.plain(run.config)["model"]
  checkpoints.equal(gpt2.from_tensors(back, section, run.spec), run.params)
  capsys.readouterr()
  argv = ["sample", f"--workdir={workdir}", "--prompt=The cat", "--length=8"]
  assert program.main(argv) == 0
  assert "The cat" in capsys.readouterr().out
