"""Directories as Hugging Face lays them out: config, tensors, tokenizer.

config.json, model.safetensors (or shards and their index), tokenizer.json.
Bytes are read, never run: no pickle, and no code that a directory brings.
"""

import json
import pathlib

from ar_jax import errors, text


def read(folder):
  """(values of config.json, {name: array}, media) of a directory.

  The tensors keep their names and dtypes; bfloat16 is that of ml_dtypes.

  Raises:
    DataError: a file that is missing or is not what its name says.
  """
  folder = pathlib.Path(folder).expanduser()
  values = _json(folder / "config.json")
  media = dict(
    kind="text",
    level="bpe",
    tokenizer=_read_tokenizer(folder),
    source=folder.absolute().name,
  )
  return values, _read_tensors(folder), media


def write(folder, values, tensors, media):
  """Makes a directory; without a tokenizer where the media has none.

  Args:
    folder: must not hold a model.
    values: of config.json.
    tensors: {name: numpy array}, each contiguous.
    media: of the run.
  Raises:
    UsageError: it holds a model. StorageError: it cannot be written.
  """
  safetensors = _safetensors()
  folder = pathlib.Path(folder).expanduser()
  if (folder / "config.json").exists():
    raise errors.UsageError(
      f"{folder} already holds a model; choose another --out, or remove it"
    )
  files = {}
  if media.get("tokenizer"):
    files["tokenizer.json"] = media["tokenizer"]
    files["tokenizer_config.json"] = _tokenizer_config(values, media)
  files["config.json"] = values  # last: it marks a whole directory
  try:
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(
      tensors, folder / "model.safetensors", metadata=dict(format="pt")
    )
    for name, content in files.items():
      written = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
      (folder / name).write_text(written, encoding="utf-8")
  except (OSError, safetensors.SafetensorError) as e:
    raise errors.StorageError(f"cannot write {folder}: {e}") from e


def special(media, token):
  """The text of a token that the tokenizer has as a special one, or None."""
  tokenizer = media.get("tokenizer") or {}
  for added in tokenizer.get("added_tokens") or ():
    if added["id"] == token and added["special"]:
      return added["content"]
  return None


def _tokenizer_config(values, media):
  """What AutoTokenizer wants to know beside tokenizer.json."""
  config = dict(
    tokenizer_class="PreTrainedTokenizerFast",
    model_max_length=values["n_positions"],
  )
  start = special(media, values["bos_token_id"])
  return config | (dict(bos_token=start, eos_token=start) if start else {})


def _json(file):
  try:
    values = json.loads(file.read_text(encoding="utf-8"))
  except OSError as e:
    raise errors.DataError(
      f"cannot read {file}: {e.strerror}; give a directory as Hugging Face"
      " writes it"
    ) from e
  except ValueError as e:
    raise errors.DataError(f"{file} is no JSON: {e}") from e
  if not isinstance(values, dict):
    raise errors.DataError(f"{file} is no JSON object")
  return values


def _read_tokenizer(folder):
  """The parsed tokenizer.json, or one made of vocab.json and merges.txt."""
  if (folder / "tokenizer.json").is_file():
    return text.read_tokenizer(folder / "tokenizer.json")
  parts = [folder / "vocab.json", folder / "merges.txt"]
  missing = [p.name for p in parts if not p.is_file()]
  if missing:
    raise errors.DataError(
      f"{folder} has no tokenizer.json, and to make one it lacks"
      f" {' and '.join(missing)}; copy the tokenizer's files there"
    )
  tokenizers = text.bpe_library()
  try:
    made = tokenizers.ByteLevelBPETokenizer(*map(str, parts))
  except Exception as e:  # the library raises nothing narrower
    raise errors.DataError(f"{parts[0]} and merges.txt: {e}") from e
  if made.token_to_id("<|endoftext|>") is not None:
    made.add_special_tokens(["<|endoftext|>"])
  return json.loads(made.to_str())


def _read_tensors(folder):
  """{name: array} of model.safetensors, or of the shards of its index."""
  whole = folder / "model.safetensors"
  if whole.is_file():
    return _read_file(whole)
  index = folder / "model.safetensors.index.json"
  if not index.is_file():
    pickled = (folder / "pytorch_model.bin").is_file()
    raise errors.DataError(
      f"{folder} has neither model.safetensors nor {index.name}"
      + pickled * "; pytorch_model.bin is pickle: save it as safetensors"
    )
  shard_of = _json(index).get("weight_map")
  if not isinstance(shard_of, dict):
    raise errors.DataError(f"{index} has no weight_map")
  tensors = {}
  for shard in sorted(set(map(str, shard_of.values()))):
    if pathlib.PurePath(shard).name != shard:
      raise errors.DataError(f"{index} names {shard!r}, no file beside it")
    tensors |= _read_file(folder / shard)
  for name, shard in shard_of.items():
    if name not in tensors:
      raise errors.DataError(f"{folder / shard} lacks {name}")
  return tensors


def _read_file(file):
  import ml_dtypes  # noqa: F401, for numpy then knows the name bfloat16

  safetensors = _safetensors()
  try:
    with safetensors.safe_open(file, framework="numpy") as opened:
      names = list(opened.keys())
      return {name: opened.get_tensor(name) for name in names}
  except (OSError, TypeError, safetensors.SafetensorError) as e:
    raise errors.DataError(f"cannot read {file}: {e}") from e


def _safetensors():
  try:
    import safetensors.numpy
  except ImportError as e:
    raise errors.UsageError(
      "checkpoints of Hugging Face need the library safetensors:"
      " pip install 'ar_jax[text]'"
    ) from e
  return safetensors
