"""Configs: every file builds, every key is read, every mistake is named."""

import json
import pathlib

import pytest
import tiny_data

from ar_jax import __main__ as program
from ar_jax import assemble, errors, launch, scoring
from ar_jax import config as configs
from ar_jax import run as runs

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(
  f.name for f in (ROOT / "configs").glob("*.py") if f.stem != "base"
)


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


def _load(*overrides, path="configs/text_gpt.py:tiny"):
  return configs.load(path, overrides)


def _tiny(file, tmp_path):
  """The tiny config of a file, on data that it needs no network for."""
  return tiny_data.fill(_load(path=f"configs/{file}:tiny"), tmp_path)


# Their networks and their data are each in another config, or in another test,
# that is not slow; `make test-all` trains them all.
ALIKE = (
  "ar2_classes_wavenet.py",
  "architectures.py",
  "bmnist_ardm.py",
  "bmnist_any_order.py",
  "bmnist_diagonal_bilstm.py",
  "bmnist_gated_pixelcnn.py",
  "bmnist_gpt.py",
  "bmnist_nade.py",
  "bmnist_pixelcnn.py",
  "bmnist_pixelcnn_pp.py",
  "bmnist_row_lstm.py",
  "cifar10_gpt.py",
  "cifar10_pixelcnn_pp.py",
  "digits_gated_pixelcnn.py",
  "digits_gpt.py",
  "digits_pixelcnn.py",
  "digits_pixelcnn_pp.py",
  "digits_pixelrnn.py",
  "dna_made.py",
  "gpt2.py",
  "ising.py",
  "jsb_gpt.py",
  "jsb_lstm.py",
  "markov_gpt.py",
  "mnist_gated_pixelcnn.py",
  "mu_law_ar_wavenet.py",
  "names_gpt.py",
  "photos_gated_pixelcnn.py",
  "photos_gpt.py",
  "photos_pixelcnn_pp.py",
  "products_gpt.py",
  "scaling_text.py",
  "series_wavenet.py",
  "shakespeare_char.py",
  "shakespeare_lstm.py",
  "text_gpt.py",
  "tones_wavenet.py",
  "tfds_text.py",
  "wav_wavenet.py",
)


@pytest.mark.parametrize(
  "file",
  [pytest.param(f, marks=[pytest.mark.slow] * (f in ALIKE)) for f in FILES],
)
def test_every_config_trains_scores_and_opens_again(file, tmp_path):
  config = _tiny(file, tmp_path)
  configs.override(config, "train.steps", 2)
  configs.override(config, "train.eval_every", 2)
  trained, dataset = launch.train(config, tmp_path / "run")
  result = scoring.score(trained, dataset)
  opened = runs.load(tmp_path / "run")
  assert opened.step == 2
  assert configs.plain(opened.config) == configs.plain(config)
  again = scoring.score(opened, *scoring.dataset_of(opened, opened.config))
  assert again["model"] == result["model"]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_every_tiny_trains_evaluates_and_samples(file, tmp_path, capsys):
  """The commands, to the end of the run."""
  config = _tiny(file, tmp_path)
  workdir = f"--workdir={tmp_path / 'run'}"
  flat = configs.flat(configs.plain(config))
  places = ("path", "data_dir", "rate", "columns", "tokenizer")
  moved = [
    f"--config.data.{key}={flat[f'data.{key}']}"
    for key in places
    if f"data.{key}" in flat
  ]
  argv = ["train", f"--config=configs/{file}:tiny", workdir, *moved]
  assert program.main(argv) == 0
  assert program.main(["evaluate", workdir]) == 0
  assert program.main(["sample", workdir, "--num=2"]) == 0
  said = capsys.readouterr().out
  assert "sample 1: " in said
  folder = tmp_path / "run" / "samples"
  media = runs.load(tmp_path / "run").media
  assert folder.is_dir() == (media["kind"] not in ("text", "tokens"))
  if media["kind"] != "image":
    return
  report = (tmp_path / "run" / "reports" / "evaluation.json").read_text()
  model = json.loads(report)["model"]
  assert {"bits_per_dim", "nats_per_item"} <= model.keys()
  assert program.main(["sample", workdir, "--given=valid", "--items=2"]) == 0
  assert (folder / "sample_grid.png").is_file()
  if media.get("labels"):
    labels = ["--num=4", "--y", "label=1,0"]
    assert program.main(["sample", workdir, *labels]) == 0


@pytest.mark.parametrize("file", FILES)
def test_tiny_differs_in_sizes_and_steps_only(file):
  full, tiny = (_load(path=f"configs/{file}{a}") for a in ("", ":tiny"))
  words = dict(configs.plain(full)), dict(configs.plain(tiny))
  assert _names(words[0]) == _names(words[1])


def _names(tree):
  """The tree with its numbers left out."""
  if isinstance(tree, dict):
    return {k: _names(v) for k, v in tree.items()}
  if isinstance(tree, tuple | list) and all(map(_is_number, tree)) and tree:
    return "numbers"
  return "number" if _is_number(tree) else tree


def _is_number(leaf):
  return isinstance(leaf, int | float)


@pytest.mark.parametrize("file", FILES)
def test_header_gives_the_command_and_a_measurement(file):
  text = (ROOT / "configs" / file).read_text()
  assert f"--config=configs/{file}" in text
  assert "measured:" in text


@pytest.mark.parametrize(
  ("key", "text", "value"),
  [
    ("optimizer.lr", "3e-4", 3e-4),
    ("optimizer.lr", "1", 1.0),
    ("optimizer.clip", "0.5", 0.5),
    ("optimizer.clip", "none", None),
    ("train.steps", "7", 7),
    ("model.target", "false", False),
    ("data.level", "byte", "byte"),
    ("sample.top_k", "5", 5),
    ("evaluate.baselines", "('ngram',)", ("ngram",)),
    ("train.trackers", "tensorboard", ("tensorboard",)),
    ("train.trackers", "tensorboard, wandb", ("tensorboard", "wandb")),
    ("train.trackers", "()", ()),
  ],
)
def test_override_reads_the_type_of_the_key(key, text, value):
  config = _load((key, text))
  section, leaf = key.split(".")
  assert config[section][leaf] == value
  assert type(config[section][leaf]) is type(value)


@pytest.mark.parametrize(
  ("key", "text", "message"),
  [
    ("optimizer.lrr", "1", "no key 'optimizer.lrr'; nearest: optimizer.lr"),
    ("optimiser.lr", "1", "no key 'optimiser.lr'; nearest: optimizer.lr"),
    ("lr", "1", "no key 'lr'"),
    ("seed.x", "1", "no key 'seed.x'"),
    ("optimizer.lr", "fast", "optimizer.lr takes float, got 'fast'"),
    ("train.steps", "1.5", "train.steps takes int, got 1.5"),
    ("train.steps", "true", "train.steps takes int, got True"),
    ("optimizer", "1", "config.optimizer is a section; set one of: opt"),
  ],
)
def test_wrong_override_is_named(key, text, message):
  with pytest.raises(errors.UsageError, match=message):
    _load((key, text))


@pytest.mark.parametrize(
  ("path", "message"),
  [
    ("configs/text_gpt.py:tinyy", "'tinyy' is not known; nearest: tiny"),
    ("configs/text_gpt.py:ordering=revers", "nearest: reverse"),
    ("configs/text_gpt.py:tiny=maybe", "tiny=maybe is not known"),
    ("configs/text_gbt.py", "no file .*; nearest: text_gpt.py"),
  ],
)
def test_wrong_argument_is_named(path, message):
  with pytest.raises(errors.UsageError, match=message):
    _load(path=path)


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("model.name", "gtp", "models: no plugin named 'gtp'; nearest: gpt"),
    ("model.heads", 3, "models.gpt: width 64 must divide by heads 3"),
    ("model.mlp", "relu", "mlp 'relu' is none of gelu, relu2, swiglu"),
    ("head.name", "os.system", "heads: no plugin named 'os.system'"),
    ("head.name", "../errors", "heads: no plugin named"),
    ("sample.name", "ancestal", "nearest: ancestral"),
  ],
)
def test_wrong_plugin_is_named(key, value, message):
  config = _load((key, value))
  with pytest.raises(errors.UsageError, match=message):
    assemble.network(config, assemble.dataset(config).spec)


def test_order_without_target_is_refused():
  config = _load(path="configs/text_gpt.py:preset=gpt2,ordering=reverse,tiny")
  with pytest.raises(errors.UsageError, match="needs model.target=True"):
    assemble.network(config, assemble.dataset(config).spec)


def test_unknown_key_of_a_plugin_is_named():
  from ar_jax import registry

  section = dict(name="text_file", pth="x")
  message = "datasets.text_file takes no 'pth'; nearest: path"
  with pytest.raises(errors.UsageError, match=message):
    registry.build("datasets", section)
  with pytest.raises(errors.UsageError, match="text_file needs 'path'"):
    registry.build("datasets", dict(name="text_file"))


def test_unknown_key_of_the_optimizer_is_named(tmp_path):
  config = _load()
  with config.unlocked():
    config.optimizer.learning_rate = 0.1
  message = "optimizer takes no 'learning_rate'"
  with pytest.raises(errors.UsageError, match=message):
    launch.train(config, tmp_path / "run")


def test_config_survives_json():
  config = _load(("optimizer.clip", "0.5"))
  restored = configs.restore(json.loads(json.dumps(configs.plain(config))))
  assert configs.plain(restored) == configs.plain(config)
  assert isinstance(configs.plain(restored)["evaluate"]["baselines"], tuple)
  configs.override(restored, "sample.top_k", 3)  # was None
  with pytest.raises(errors.UsageError, match="nearest: train.steps"):
    configs.override(restored, "train.stps", 3)


def test_batch_must_divide(tmp_path):
  config = _load(("train.batch_size", 15), ("train.accumulate", 2))
  with pytest.raises(errors.UsageError, match="15 must divide by 1 parts"):
    launch.train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()
