"""Small files of every kind, for the configs whose data comes by path."""

import pathlib
import struct

import numpy as np

from ar_jax import __main__ as program
from ar_jax import config as configs
from ar_jax import datasets, prepare, prepare_images

ROOT = pathlib.Path(__file__).parent.parent
_HELD = pathlib.Path(datasets.__file__).parent


def fill(config, folder):
  """Overrides a tiny config such that it finds data in the folder."""
  name = config.data.name
  text = folder / "input.txt"
  text.write_text("".join(f"fox {i} jumps\n" for i in range(200)))
  values = {
    "array_file": _arrays,
    "piano_roll": lambda c, f: dict(path=_HELD / "tiny_rolls" / "tiny.mat"),
    "audio_file": lambda c, f: dict(
      path=_HELD / "tiny_audio" / "pluck.wav", rate=8000
    ),
    "series_file": lambda c, f: dict(
      path=_HELD / "tiny_series" / "seasonal.csv", columns="load"
    ),
    "tfds": _prepared,
  }
  if name in values:
    found = values[name](config, folder)
  else:
    found = dict(path=text) if "path" in config.data else {}
  for key, value in found.items():
    value = str(value) if isinstance(value, pathlib.Path) else value
    configs.override(config, f"data.{key}", value)
  if config.data.get("level") == "bpe":
    made = f"{folder}/tokenizer.json"
    argv = ["data", "tokenizer", str(text), f"--out={made}"]
    assert program.main([*argv, "--vocab_size=260"]) == 0
    configs.override(config, "data.tokenizer", made)
  return config


def _prepared(config, folder):
  if config.data.dataset in ("mnist", "cifar10"):
    return dict(data_dir=_images(config.data.dataset, folder))
  text = str(folder / "input.txt")
  prepare.text([text], config.data.dataset, folder, "0.9/0.1")
  return dict(data_dir=folder)


def _images(name, folder):
  """The raw files of a few random images, prepared."""
  rng = np.random.default_rng(0)
  raw = folder / "raw"
  raw.mkdir()
  if name == "mnist":
    for part in ("train", "t10k"):
      x, y = rng.integers(0, 256, (30, 28, 28)), rng.integers(0, 10, 30)
      for words, array in (("images-idx3", x), ("labels-idx1", y)):
        array = array.astype(np.uint8)
        head = struct.pack(">2HI", 0, 0x800 + array.ndim, len(array))
        head += struct.pack(f">{array.ndim - 1}I", *array.shape[1:])
        (raw / f"{part}-{words}-ubyte").write_bytes(head + array.tobytes())
    prepare_images.mnist(raw, folder)
  else:
    for part in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
      x = rng.integers(0, 256, (6, 3073)).astype(np.uint8)
      x[:, 0] %= 10
      (raw / f"{part}.bin").write_bytes(x.tobytes())
    prepare_images.cifar10(raw, folder)
  return folder


def _arrays(config, folder):
  """Random bits under the keys that the config names."""
  shape = tuple(config.data.get("shape", ())) or (18,)
  keys = ("key", "valid_key", "test_key")
  names = [config.data[key] for key in keys if config.data[key]] or ["X"]
  rng = np.random.default_rng(0)
  path = folder / "bits.npz"
  arrays = {n: rng.integers(0, 2, (24, *shape), np.uint8) for n in names}
  np.savez(path, **arrays)
  return dict(path=path)
