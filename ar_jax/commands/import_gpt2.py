"""Make a run of a GPT-2 as Hugging Face writes it.

  ar_jax import-gpt2 gpt2-medium --workdir=runs/medium
  ar_jax import-gpt2 gpt2 --workdir=runs/g --config=configs/gpt2.py

The directory holds config.json, model.safetensors (or shards and their index)
and tokenizer.json (or vocab.json and merges.txt). `sample`, `evaluate` and
`export-gpt2` then take the run; the tokenizer is in its tokenizer.json. The
model and the window are the checkpoint's, all else is from --config.
"""

OVERRIDES = True
_FREE = ("dropout", "init")  # of the model: they change nothing that is read


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("path", metavar="PATH", help="a Hugging Face directory")
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="a new directory"
  )
  parser.add_argument(
    "--config",
    default="configs/gpt2.py",
    metavar="FILE.py[:ARGS]",
    help="of the run (default: configs/gpt2.py)",
  )


def run(args):
  """Reads, converts, writes, and says what it is."""
  import json
  import pathlib

  import jax

  from ar_jax import beginning, errors, gpt2, huggingface, text
  from ar_jax import config as configs
  from ar_jax.commands import _show

  values, tensors, media = huggingface.read(args.path)
  section, spec = gpt2.from_hf(values, text.num_values(media))
  params = gpt2.from_tensors(tensors, section, spec)
  tokenizer = pathlib.Path(args.workdir) / "tokenizer.json"
  loaded = configs.plain(configs.load(args.config))
  config = configs.restore(dict(loaded, model=section))
  found = {
    "data.level": "bpe",
    "data.tokenizer": str(tokenizer),
    "data.length": spec.length,
  }
  fixed = {f"model.{k}" for k in section if k not in _FREE} | set(found)
  for key, value in found.items():
    configs.override(config, key, value)
  stride = min(config.data.stride, max(1, spec.length // 2))
  configs.override(config, "data.stride", stride)
  for key, value in args.overrides:
    if key in fixed:
      raise errors.UsageError(
        f"config.{key} is the checkpoint's; leave --config.{key} out"
      )
    configs.override(config, key, value)
  beginning.write(args.workdir, config, spec, media, params)
  written = json.dumps(media["tokenizer"], ensure_ascii=False) + "\n"
  try:
    tokenizer.write_text(written, encoding="utf-8")
  except OSError as e:
    raise errors.StorageError(f"cannot write {tokenizer}: {e.strerror}") from e
  size = sum(p.size for p in jax.tree.leaves(params))
  padding = (section["rows"] or spec.num_values) - spec.num_values
  _show.say(
    f"GPT-2 of {size:,} parameters: {section['depth']} layers of width"
    f" {section['width']}, {section['heads']} heads, window {spec.length},"
    f" {spec.num_values:,} tokens"
    + (f" and {padding} rows of padding" if padding else "")
  )
  _show.say(f"run in {args.workdir}")
