"""TFDS data sets: prepared, read, trained on; no TensorFlow, no network.

Longer than 400 lines because what is prepared is what is read.
"""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import contract
import numpy as np
import pytest

from ar_jax import __main__ as program
from ar_jax import corpus, errors, prepare, prepared, registry, text

ROOT = pathlib.Path(__file__).parent.parent
TEXT = "naïve – “café”\n\n  two words\ttab 🙂\r\n\n\nend of it\n" * 12


def _file(folder, content=TEXT, name="in.txt"):
  path = folder / name
  path.write_bytes(content.encode())
  return str(path)


def _make(data_dir, dataset="my_text", **changes):
  arguments = dict(dataset=dataset, data_dir=str(data_dir), name="tfds")
  return registry.build("datasets", dict(arguments, **changes))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """A folder with my_text, toy (arrays) and many (features of all kinds)."""
  folder = tmp_path_factory.mktemp("tfds")
  message = prepare.text([_file(folder)], "my_text", folder / "data", "0.8/0.2")
  assert message.startswith(f"prepared {folder}/data/my_text/1.0.0; documents:")
  info = folder / "data" / "my_text" / "1.0.0" / "dataset_info.json"
  assert json.loads(info.read_text())["disableShuffling"]
  _toy(folder / "data")
  _many(folder / "data")
  return folder / "data"


def _builder(data_dir, name, features, splits):
  """Lets a throw-away builder of TFDS prepare examples, in TFDS's own way."""
  import tensorflow_datasets as tfds

  class Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
      made = tfds.features.FeaturesDict(features)
      return tfds.core.DatasetInfo(builder=self, features=made)

    def _split_generators(self, dl_manager):
      return {k: enumerate(v) for k, v in splits.items()}

    def _generate_examples(self):
      raise AssertionError

  Toy.name = name
  tfds.disable_progress_bar()
  Toy(data_dir=data_dir, file_format="array_record").download_and_prepare()


def _toy(data_dir):
  from tensorflow_datasets import features

  def examples(count, seed):
    rng = np.random.default_rng(seed)
    for i in range(count):
      image = rng.integers(0, 256, (5, 4, 1), np.uint8)
      image[0, 0] = i  # says which example it is
      row = rng.integers(0, 7 + 2 * seed, 6, np.int32)
      yield dict(image=image, row=row, kind=i % 3, signed=row - 1)

  made = dict(
    image=features.Tensor(shape=(5, 4, 1), dtype=np.uint8),
    row=features.Tensor(shape=(6,), dtype=np.int32),
    signed=features.Tensor(shape=(6,), dtype=np.int32),
    kind=features.ClassLabel(names=["a", "b", "c"]),
  )
  splits = dict(train=examples(40, 0), test=examples(10, 1))
  _builder(data_dir, "toy", made, splits)


def _many(data_dir):
  from PIL import Image
  from tensorflow_datasets import features

  made = dict(
    png=features.Image(shape=(3, 4, 3)),
    tokens=features.Tensor(shape=(None,), dtype=np.int32),
    wave=features.Tensor(shape=(8,), dtype=np.float32),
    id=features.Text(),
    pair=dict(a=features.Scalar(dtype=np.int64)),
    kind=features.ClassLabel(num_classes=2),
  )
  pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
  example = dict(
    png=Image.fromarray(pixels),
    tokens=np.arange(3, dtype=np.int32),
    wave=np.zeros(8, np.float32),
    id="x",
    pair=dict(a=1),
    kind=-1,  # TFDS's value for what has no label
  )
  _builder(data_dir, "many", made, dict(train=[example], test=[example]))


# --- text ---


@pytest.mark.parametrize("content", [TEXT, "a\nb", "\n\n\na", "one line é"])
def test_prepared_text_is_the_text_byte_for_byte(
  content, tmp_path, monkeypatch
):
  # Many blocks and more than ten files a split: names sort, orders hold.
  monkeypatch.setattr(prepare, "_BLOCK", 7)
  monkeypatch.setattr(prepare, "_SHARD", 5)
  monkeypatch.setattr(prepared, "_BLOCK", 5)
  files = [_file(tmp_path, content), _file(tmp_path, content, "b.txt")]
  prepare.text(files, "my_text", tmp_path, "0.5/0.3/0.2")
  splits = "train/validation/test"
  if content == TEXT:
    assert len(list(tmp_path.glob("my_text/1.0.0/*train*"))) > 10
  made = _make(tmp_path, splits=splits, length=1, stride=1, level="byte")
  expected = corpus.cut(content.encode() * 2, "0.5/0.3/0.2", "char")
  assert {k: s.raw for k, s in made.splits.items()} == expected


@pytest.mark.parametrize("level", ["char", "byte"])
def test_text_is_tokens_of_its_level(level, data_dir):
  made = _make(data_dir, level=level, length=16, stride=8)
  contract.dataset_keeps(made)
  whole = TEXT if level == "char" else TEXT.encode()
  assert made.spec.num_values == (256 if level == "byte" else len(set(TEXT)))
  assert sum(len(s.stream) for s in made.splits.values()) == len(whole)
  for split in made.splits.values():
    assert text.to_bytes(made.media, split.stream) == split.raw
  assert made.media["source"] == "my_text/1.0.0"


def test_text_is_tokens_of_a_tokenizer(data_dir, tmp_path):
  tokenizers = pytest.importorskip("tokenizers")
  trained = tokenizers.ByteLevelBPETokenizer()
  trained.train_from_iterator([TEXT], vocab_size=280, show_progress=False)
  trained.save(str(tmp_path / "t.json"))
  options = dict(level="bpe", tokenizer=str(tmp_path / "t.json"))
  valid = _make(data_dir, length=8, stride=8, **options).splits["valid"]
  media = _make(data_dir, length=8, stride=8, **options).media
  assert len(valid.stream) < len(valid.raw)
  assert text.to_bytes(media, valid.stream) == valid.raw


def test_splits_are_sliced_and_renamed(data_dir):
  options = dict(length=4, stride=4, level="byte")
  whole = _make(data_dir, **options).splits["train"].raw
  halves = _make(data_dir, splits="train[:50%]/train[50%:]", **options)
  parts = [s.raw for s in halves.splits.values()]
  assert b"\n".join(parts) == whole
  three = "validation/train[:2]/train[2:4]"
  made = _make(data_dir, splits=three, **options)
  assert list(made.splits) == ["train", "valid", "test"]
  assert made.splits["test"].raw == b"\n".join(whole.split(b"\n")[2:4])
  spaced = _make(data_dir, separator="\n--\n", **options).splits["train"].raw
  assert spaced == whole.replace(b"\n", b"\n--\n")


def test_text_that_is_not_utf8_is_bytes_only(tmp_path):
  from tensorflow_datasets import features

  splits = dict(train=[dict(text=b"abc\xff")], validation=[dict(text=b"abc")])
  _builder(tmp_path, "raw", dict(text=features.Text()), splits)
  options = dict(dataset="raw", length=2, stride=1)
  assert _make(tmp_path, level="byte", **options).splits["train"].raw[-1] == 255
  with pytest.raises(errors.DataError, match="train split .* 0xff at offset 3"):
    _make(tmp_path, **options)


# --- arrays ---


def test_arrays_are_items_with_their_labels(data_dir):
  options = dict(feature="image", splits="train/test", label="kind")
  made = _make(data_dir, "toy", **options)
  contract.dataset_keeps(made)
  spec = made.spec
  assert (spec.shape, spec.channels, spec.num_values) == ((5, 4), 1, 256)
  assert spec.conditions["label"][:2] == ("label", 3)
  x_NLC, weight_NL, y = made.splits["train"].get(np.arange(40))
  number_N = x_NLC[:, 0, 0]
  assert sorted(number_N) == list(range(40))
  assert y["label"].tolist() == (number_N % 3).tolist()
  assert (weight_NL == 1).all()
  rng = np.random.default_rng(1)
  first = rng.integers(0, 256, (5, 4, 1), np.uint8)
  valid = made.splits["valid"].get(np.arange(10))[0]
  row = valid[valid[:, 0, 0] == 0]
  np.testing.assert_array_equal(row[0, 1:, 0], first.ravel()[1:])
  assert len(made.splits["train"].raw) == 40 * 20


def test_values_of_integers_are_counted_or_given(data_dir):
  options = dict(feature="row", splits="train/train[:5]/test")
  made = _make(data_dir, "toy", **options)
  contract.dataset_keeps(made)
  assert (made.spec.shape, made.spec.num_values) == ((6,), 9)
  assert _make(data_dir, "toy", num_values=12, **options).spec.num_values == 12
  with pytest.raises(errors.UsageError, match="from 0 to 8, .* take 0 to 4"):
    _make(data_dir, "toy", num_values=5, **options)
  with pytest.raises(errors.UsageError, match="'signed' has values from -1"):
    _make(data_dir, "toy", feature="signed", splits="train/test")


@pytest.mark.parametrize(
  ("pixels", "shape", "channels"),
  [("sites", (3, 4, 3), 1), ("channels", (3, 4), 3)],
)
def test_images_are_decoded(pixels, shape, channels, data_dir):
  options = dict(feature="png", splits="train/test", pixels=pixels)
  made = _make(data_dir, "many", **options)
  contract.dataset_keeps(made)
  x_BLC = made.splits["valid"].get(np.zeros(1, int))[0]
  assert (made.spec.shape, made.spec.channels) == (shape, channels)
  assert x_BLC.shape == (1, np.prod(shape), channels)
  assert x_BLC.ravel().tolist() == list(range(36))
  assert made.media == dict(
    kind="image",
    source="many/1.2.0",
    shape=list(shape),
    channels=channels,
    num_values=256,
  )


def test_media_of_arrays_know_the_names_of_the_labels(data_dir):
  options = dict(feature="image", splits="train/test")
  gray = dict(kind="image", source="toy/1.2.0", shape=[5, 4], channels=1)
  gray |= dict(num_values=256)
  named = dict(label="kind", pixels="channels")
  made = _make(data_dir, "toy", **options, **named)
  assert made.spec.shape == (5, 4)
  assert made.media == gray | dict(labels=["a", "b", "c"])
  assert _make(data_dir, "toy", **options).media == gray
  options["feature"] = "row"
  row = dict(kind="array", source="toy/1.2.0", shape=[6], num_values=9)
  assert _make(data_dir, "toy", **options).media == row


# --- errors ---


@pytest.mark.parametrize(
  ("dataset", "changes", "message"),
  [
    ("my_texd", {}, "not prepared: no .*/my_texd/VERSION; nearest: my_text"),
    ("my_text:2.0.0", {}, "no .*/my_text/2.0.0; there are: my_text/1.0.0"),
    ("my_text/x", {}, "no .*/my_text/x/VERSION"),
    ("mine", {}, "`ar_jax data prepare IN... --name=mine --data_dir="),
    ("mnist", {}, "`ar_jax data prepare-images mnist IN --data_dir="),
    ("../my_text", {}, "'../my_text' is no name of a TFDS data set"),
    ("my_text", dict(splits="train/vaidation"), r"Unknown split 'vaidation'"),
    ("my_text", dict(splits="train/test"), r"train \(\d+\), validation"),
    ("my_text", dict(splits="train[:x]/train"), "Unrecognized split format"),
    ("my_text", dict(splits="train[9999:]/train"), "9999"),
    ("my_text", dict(splits="train[:0]/train"), "'train.:0.' is empty"),
    ("my_text", dict(splits="train"), "splits 'train' is not train/valid"),
    ("my_text", dict(label="kind"), "labels belong to arrays"),
    ("my_text", dict(length=10**6), "tokens is shorter than a window"),
    ("toy", {}, "give one of image, row, signed; .* kind .ClassLabel"),
    ("toy", dict(feature="imag"), "no feature 'imag'; nearest: image"),
    ("toy", dict(feature="row", label="kin"), "no ClassLabel 'kin'; nearest"),
    ("toy", dict(feature="row", pixels="channels"), "got row .Tensor int32 6."),
    ("toy", dict(feature="row", pixels="rgb"), "'rgb' is neither sites nor"),
    ("many", dict(feature="tokens"), r"cannot read tokens .Tensor int32 \?"),
    ("many", dict(feature="wave"), "wave .Tensor float32 8.; what can be read"),
    ("many", dict(feature="pair"), "cannot read pair .FeaturesDict"),
    ("many", dict(feature="png", label="kind"), "outside 0..1: it is not lab"),
  ],
)
def test_mistake_is_one_line(dataset, changes, message, data_dir):
  plain = dict(splits="train/test") if dataset in ("toy", "many") else {}
  with pytest.raises(errors.Error, match=message) as found:
    _make(data_dir, dataset, **dict(plain, **changes))
  assert "\n" not in str(found.value)


def test_missing_folder_is_named_with_its_neighbor(data_dir):
  missing = data_dir.parent / "dta"
  message = f"no folder {missing}; nearest: data; .*ar_jax data prepare"
  with pytest.raises(errors.DataError, match=message):
    _make(missing)


def _copy(data_dir, tmp_path):
  shutil.copytree(data_dir / "my_text", tmp_path / "my_text")
  return tmp_path / "my_text" / "1.0.0"


def _truncate(size):
  def spoil(folder):
    file = next(folder.glob("*train*"))
    assert file.stat().st_size > size
    file.write_bytes(file.read_bytes()[:size])

  return spoil


def _flip(folder):
  file = next(folder.glob("*train*"))
  raw = bytearray(file.read_bytes())
  raw[raw.index(b"two words")] ^= 1
  file.write_bytes(raw)


def _replace(name, old, new):
  def spoil(folder):
    file = folder / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))

  return spoil


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (_truncate(1000), "split train of .*/1.0.0 is damaged or incomplete: Arr"),
    (_truncate(2**16), "an example without a value; copy or prepare it again"),
    (_truncate(2**16 + 5000), "split train .*: Corrupted Riegeli/records"),
    (_flip, "split train of .* is damaged .*hash mismatch"),
    (lambda f: next(f.glob("*train*")).unlink(), "incomplete: open.. failed"),
    (_replace("dataset_info.json", "{", "["), "TFDS cannot read .*ParseError"),
    (_replace("features.json", "{", "["), "features.json cannot be read"),
    (
      _replace("dataset_info.json", "array_record", "tfrecord"),
      "prepared as tfrecord; .* file_format='array_record'",
    ),
    (
      _replace("features.json", "tensorflow_datasets.core.features.", "this."),
      "names the class this.text_feature.Text, which is none of TFDS's",
    ),
    (
      _replace("features.json", "text_feature.Text", "audio_feature.Audio"),
      "TFDS cannot read .*/1.0.0: ",
    ),
  ],
)
def test_damage_is_one_line(spoil, message, data_dir, tmp_path):
  folder = _copy(data_dir, tmp_path)
  spoil(folder)
  with pytest.raises(errors.DataError, match=message) as found:
    _make(tmp_path)
  assert "\n" not in str(found.value)
  assert "this" not in sys.modules  # what a file names is not imported


def test_newest_version_is_read_and_configs_are_asked_for(data_dir, tmp_path):
  folder = _copy(data_dir, tmp_path)
  newer = tmp_path / "my_text" / "10.0.0"
  shutil.copytree(folder, newer)
  _replace("dataset_info.json", '"1.0.0"', '"10.0.0"')(newer)
  options = dict(length=8, stride=4)
  assert _make(tmp_path, **options).media["source"] == "my_text/10.0.0"
  old = _make(tmp_path, dataset="my_text:1.0.0", **options)
  assert old.media["source"] == "my_text/1.0.0"
  versions = shutil.move(tmp_path / "my_text", tmp_path / "versions")
  for config in ("one", "two"):
    shutil.copytree(versions, tmp_path / "my_text" / config)
  with pytest.raises(errors.UsageError, match="configs one, two: say which"):
    _make(tmp_path)
  assert _make(tmp_path, dataset="my_text/two:1.0.0", **options).splits


# --- no network, no TensorFlow ---

_ALONE = """
import socket, sys
def refuse(*args, **kwargs):
  raise SystemExit(f"network: {args}")
socket.socket.connect = socket.getaddrinfo = refuse
from ar_jax import __main__ as program
code = program.main(sys.argv[1:])
assert "tensorflow" not in sys.modules
sys.exit(code)
"""


def _alone(*args):
  """(exit code, stderr, seconds) of the program in a process of its own."""
  start = time.monotonic()
  done = subprocess.run(
    [sys.executable, "-c", _ALONE, *args],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  return done.returncode, done.stderr, time.monotonic() - start


def test_unprepared_data_ends_at_once_offline(tmp_path):
  """Two seconds for what is read, beside those in which JAX is imported."""
  flags = ["--config=configs/tfds_text.py:tiny", f"--workdir={tmp_path}/run"]
  flags += [f"--config.data.data_dir={tmp_path}", "--config.data.dataset=lm1b"]
  code, stderr, _ = _alone("train", *flags)
  assert code == 3
  assert re.fullmatch("ar_jax: error: .* lm1b is not prepared: .*\n", stderr)
  start = time.monotonic()
  with pytest.raises(errors.DataError, match="not prepared"):
    _make(tmp_path, "lm1b")
  assert time.monotonic() - start < 2


@pytest.mark.slow
def test_the_two_commands_of_the_readme(tmp_path):
  files = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
  where = f"{tmp_path}/data"
  prepared = ["data", "prepare", *files, "--name=my_text"]
  assert program.main([*prepared, f"--data_dir={where}"]) == 0
  flags = ["--config=configs/tfds_text.py:tiny", f"--workdir={tmp_path}/run"]
  flags += [f"--config.data.data_dir={where}", "--config.train.steps=2"]
  flags += ["--config.train.eval_every=2", "--config.evaluate.baselines=()"]
  flags += ["--config.model.depth=1", "--config.data.length=16"]
  flags += ["--config.data.stride=8"]
  code, stderr, _ = _alone("train", *flags)
  assert code == 0, stderr
  evaluation = tmp_path / "run" / "reports" / "evaluation.json"
  report = json.loads(evaluation.read_text())
  texts = "".join((ROOT / f).read_text() for f in files)
  assert report["model"]["sites"] == len(texts) - int(len(texts) * 0.9)


# --- preparing ---


def test_prepared_twice_stays_as_it_is(data_dir, tmp_path):
  folder = _copy(data_dir, tmp_path)
  before = {f.name: f.read_bytes() for f in folder.iterdir()}
  message = prepare.text([_file(tmp_path, "other")], "my_text", tmp_path)
  assert re.search("my_text/1.0.0 was prepared before and stays", message)
  assert {f.name: f.read_bytes() for f in folder.iterdir()} == before


def test_two_at_once_agree(tmp_path, monkeypatch):
  """The second process comes to its end while the first one still writes."""
  lines = prepare._lines
  path = _file(tmp_path)
  said = []

  def slow(paths, split):
    monkeypatch.setattr(prepare, "_lines", lines)
    splits = lines(paths, split)
    first = splits["train"]

    def documents():
      yield from first[:3]
      said.append(prepare.text([path], "my_text", tmp_path))
      yield from first[3:]

    return dict(splits, train=documents())

  monkeypatch.setattr(prepare, "_lines", slow)
  said.append(prepare.text([path], "my_text", tmp_path))
  assert [m.split()[1] for m in said] == [f"{tmp_path}/my_text/1.0.0;", "was"]
  raw = [s.raw for s in _make(tmp_path, length=4, stride=2).splits.values()]
  assert b"".join(raw) == TEXT.encode()
  assert [f.name for f in (tmp_path / "my_text").iterdir()] == ["1.0.0"]


@pytest.mark.parametrize("size", [199, 200, 207, 218, 230])
def test_tiny_shakespeare_is_cut_as_tfds_cuts_it(size, tmp_path):
  whole = TEXT[:size]
  prepare.text([_file(tmp_path, whole)], "tiny_shakespeare", tmp_path)
  splits = "train/validation/test"
  options = dict(splits=splits, length=2, stride=1, level="byte")
  made = _make(tmp_path, "tiny_shakespeare:1.0.0", **options)
  # tiny_shakespeare_dataset_builder.py, _split_generators
  i = int(len(whole) * 0.9)
  train, rest = whole[:i], whole[i:]
  i = int(len(rest) * 0.5)
  cuts = [train, rest[:i], rest[i:]]
  assert [s.raw.decode() for s in made.splits.values()] == cuts


@pytest.mark.parametrize("inside", [False, True])
def test_lm1b_is_its_lines(inside, tmp_path):
  top = tmp_path / "1-billion-word-language-modeling-benchmark-r13output"
  train = top / "training-monolingual.tokenized.shuffled"
  heldout = top / "heldout-monolingual.tokenized.shuffled"
  train.mkdir(parents=True)
  heldout.mkdir()
  for k in (2, 1, 10):
    lines = f"file {k} , first .\n  file {k} , “ second ” . \n"
    (train / f"news.en-{k:05}-of-00100").write_text(lines, "utf-8")
  (heldout / "news.en.heldout-00000-of-00050").write_text("held out .\n")
  message = prepare.text([str(top if inside else tmp_path)], "lm1b", tmp_path)
  assert message.endswith("lm1b/1.1.0; documents: train 6, test 1")
  options = dict(splits="train/test", length=4, stride=2, level="byte")
  made = _make(tmp_path, "lm1b", **options)
  lines = [
    line
    for k in (1, 2, 10)
    for line in (f"file {k} , first .", f"file {k} , “ second ” .")
  ]
  assert made.splits["train"].raw.decode() == "\n".join(lines)
  assert made.splits["valid"].raw == b"held out ."


@pytest.mark.parametrize(
  ("paths", "name", "split", "message"),
  [
    (["in.txt"], "My Text", "0.9/0.1", "--name 'My Text': allowed are lower"),
    (["in.txt"], "../x", "0.9/0.1", "--name '../x': allowed"),
    (["in.tx"], "a", "0.9/0.1", "IN: no file .*/in.tx; nearest: in.txt"),
    (["in.txt"], "a", "0.9", "split '0.9' is neither fractions"),
    (["in.txt"], "tiny_shakespeare", "0.8/0.2", "cut as TFDS cuts it"),
    (["."], "lm1b", "0.9/0.1", "IN: no .*news.en-.; lm1b takes the unpacked"),
    ([".", "."], "lm1b", "0.9/0.1", "lm1b takes one folder, .* got 2"),
    (["in.txt"], "taken", "0.9/0.1", "taken/1.0.0 exists and holds nothing"),
    (["in.txt"], "other", "0.9/0.1", "exists and holds tfrecord, not array"),
  ],
)
def test_wrong_preparation_is_one_line(
  paths, name, split, message, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  _file(tmp_path)
  for folder, records in (("taken", None), ("other", "tfrecord")):
    made = tmp_path / "data" / folder / "1.0.0"
    made.mkdir(parents=True)
    if records:
      info = json.dumps(dict(fileFormat=records))
      (made / "dataset_info.json").write_text(info)
  with pytest.raises(errors.Error, match=message) as found:
    prepare.text(paths, name, "data", split)
  assert "\n" not in str(found.value)


def test_folder_that_cannot_be_written_is_a_storage_error(tmp_path):
  file = _file(tmp_path)
  with pytest.raises(errors.StorageError, match="cannot write .*in.txt/a/1"):
    prepare.text([file], "a", file)


def test_missing_library_is_named(data_dir, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "importlib_resources", None)
  import tensorflow_datasets.core.dataset_builder as module

  monkeypatch.setattr(module, "importlib_resources", _Missing())
  message = "TFDS needs importlib_resources .*pip install importlib_resources"
  with pytest.raises(errors.UsageError, match=message):
    prepare.text([_file(tmp_path)], "a", tmp_path)
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
  with pytest.raises(errors.UsageError, match="pip install tensorflow_dataset"):
    prepare.text([_file(tmp_path)], "a", tmp_path)
  with pytest.raises(errors.UsageError, match="to read .*/1.0.0, TFDS needs"):
    _make(data_dir)


class _Missing:
  def __getattr__(self, name):
    raise ModuleNotFoundError(name="importlib_resources")


def test_nothing_asks_the_network(data_dir, tmp_path, monkeypatch):
  def refuse(*args):
    raise AssertionError(f"network: {args}")

  monkeypatch.setattr(socket.socket, "connect", refuse)
  monkeypatch.setattr(socket, "getaddrinfo", refuse)
  prepare.text([_file(tmp_path)], "my_text", tmp_path)
  assert _make(tmp_path, length=8, stride=4).splits["train"].size
  assert _make(data_dir, "toy", feature="row", splits="train/test").splits
