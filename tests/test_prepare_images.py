"""MNIST and CIFAR-10 from raw files, made here, to what is trained on."""

import gzip
import hashlib
import json
import tarfile

import contract
import numpy as np
import pytest

from ar_jax import __main__ as program
from ar_jax import errors, prepare_images, registry

TRAIN, TEST = 7, 3
NAMES = ["airplane", "automobile", "bird", "cat", "deer"]
NAMES += ["dog", "frog", "horse", "ship", "truck"]
BATCHES = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]


def _idx(array):
  """The bytes of an idx file, by its definition."""
  head = bytes([0, 0, 8, array.ndim])
  sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
  return head + sizes + array.tobytes()


def _mnist(folder, packed=()):
  """Writes the four files; {split: (x [N, 28, 28], y [N])}."""
  rng = np.random.default_rng(0)
  splits = {}
  for split, name, size in (("train", "train", TRAIN), ("test", "t10k", TEST)):
    x_NHW = rng.integers(0, 256, (size, 28, 28), np.uint8)
    x_NHW[:, -3:] = 0  # the images end in zeros, as most do
    y_N = rng.integers(0, 10, size).astype(np.uint8)
    splits[split] = x_NHW, y_N
    for kind, array in (("images-idx3", x_NHW), ("labels-idx1", y_N)):
      file = f"{name}-{kind}-ubyte"
      raw = _idx(array)
      if file in packed or packed == "all":
        file, raw = f"{file}.gz", gzip.compress(raw)
      (folder / file).write_bytes(raw)
  return splits


def _cifar10(folder, each=2):
  """Writes the six files; {split: (x [N, 32, 32, 3], y [N])}."""
  rng = np.random.default_rng(1)
  rows, splits = [], {}
  for name in BATCHES:
    x_NHWC = rng.integers(0, 256, (each, 32, 32, 3), np.uint8)
    y_N = rng.integers(0, 10, each).astype(np.uint8)
    raw = b"".join(
      bytes([y]) + b"".join(x[..., c].tobytes() for c in range(3))
      for x, y in zip(x_NHWC, y_N, strict=True)
    )
    assert len(raw) == each * 3073
    (folder / name).write_bytes(raw)
    rows.append((x_NHWC, y_N))
  splits["train"] = tuple(map(np.concatenate, zip(*rows[:5], strict=True)))
  splits["test"] = rows[5]
  return splits


def _pack(folder, to, top="cifar-10-batches-bin"):
  with tarfile.open(to, "w:gz") as archive:
    for file in sorted(folder.iterdir(), reverse=True):
      archive.add(file, f"{top}/{file.name}")
  return to


def _make(data_dir, dataset, **changes):
  section = dict(name="tfds", dataset=dataset, data_dir=str(data_dir))
  return registry.build("datasets", section | changes)


def _folder(tmp_path, name="raw"):
  folder = tmp_path / name
  folder.mkdir()
  return folder


def _metadata(folder):
  return json.loads((folder / "metadata.json").read_text())


@pytest.mark.parametrize(
  "packed", ["", "all", ("t10k-images-idx3-ubyte",)], ids=["no", "all", "one"]
)
def test_mnist_is_its_raw_files(packed, tmp_path):
  raw = _folder(tmp_path)
  splits = _mnist(raw, packed)
  message = prepare_images.mnist(str(raw), tmp_path)
  home = tmp_path / "mnist" / "1.0.0"
  assert message == f"prepared {home}; images: train {TRAIN}, test {TEST}"
  made = _make(
    tmp_path, "mnist", label="label", splits="train[:5]/train[5:]/test"
  )
  contract.dataset_keeps(made)
  spec = made.spec
  assert (spec.shape, spec.channels, spec.num_values) == ((28, 28), 1, 256)
  assert made.media == dict(
    kind="image",
    source="mnist/1.0.0",
    shape=[28, 28],
    channels=1,
    num_values=256,
    labels=list("0123456789"),
  )
  x_NHW, y_N = splits["train"]
  cut = dict(train=(x_NHW[:5], y_N[:5]), valid=(x_NHW[5:], y_N[5:]))
  _same(made, cut | dict(test=splits["test"]))
  digest = hashlib.sha256(_idx(x_NHW)).hexdigest()
  assert _metadata(home)["sha256"]["train-images-idx3-ubyte"] == digest


def _same(made, splits):
  assert list(made.splits) == list(splits)
  for name, (x_N, y_N) in splits.items():
    split = made.splits[name]
    assert split.units == dict(item=len(x_N), dim=x_N.size)
    x_NLC, _, y = split.get(np.arange(split.size))
    np.testing.assert_array_equal(x_NLC.reshape(x_N.shape), x_N)
    np.testing.assert_array_equal(y["label"], y_N)
    assert split.raw == x_N.tobytes()


@pytest.mark.parametrize("form", ["folder", "above", "tar", "untidy tar"])
def test_cifar10_is_its_raw_files(form, tmp_path):
  top = _folder(tmp_path)
  raw = _folder(top, "cifar-10-batches-bin") if form == "above" else top
  splits = _cifar10(raw)
  (raw / "readme.html").write_text("not a batch")
  source = top
  if "tar" in form:
    inside = "." if form == "untidy tar" else "cifar-10-batches-bin"
    source = _pack(raw, tmp_path / "cifar-10-binary.tar.gz", inside)
  message = prepare_images.cifar10(source, tmp_path)
  home = tmp_path / "cifar10" / "1.0.0"
  assert message == f"prepared {home}; images: train 10, test 2"
  assert sorted(_metadata(home)["sha256"]) == sorted(BATCHES)
  options = dict(label="label", splits="train[:8]/train[8:]/test")
  x_NHWC, y_N = splits["train"]
  cut = dict(train=(x_NHWC[:8], y_N[:8]), valid=(x_NHWC[8:], y_N[8:]))
  cut["test"] = splits["test"]
  for pixels, shape, channels in (
    ("sites", (32, 32, 3), 1),
    ("channels", (32, 32), 3),
  ):
    made = _make(tmp_path, "cifar10", pixels=pixels, **options)
    contract.dataset_keeps(made)
    assert (made.spec.shape, made.spec.channels) == (shape, channels)
    assert made.media["shape"] == list(shape)
    assert (made.media["kind"], made.media["channels"]) == ("image", channels)
    assert made.media["labels"] == NAMES
    _same(made, cut)


def test_prepared_twice_stays_as_it_is(tmp_path):
  raw = _folder(tmp_path)
  _mnist(raw)
  prepare_images.mnist(raw, tmp_path)
  home = tmp_path / "mnist" / "1.0.0"
  before = {f.name: f.read_bytes() for f in home.iterdir()}
  message = prepare_images.mnist(tmp_path / "elsewhere", tmp_path)
  assert "mnist/1.0.0 was prepared before and stays" in message
  assert {f.name: f.read_bytes() for f in home.iterdir()} == before


def _edit(name, change):
  def spoil(folder):
    file = folder / name
    file.write_bytes(change(file.read_bytes()))

  return spoil


def _flip(at, value):
  return lambda raw: raw[:at] + bytes([value]) + raw[at + 1 :]


IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (
      _edit(IMAGES, _flip(3, 1)),
      "/train-images.* begins with 0x00000801, expected 0x00000803",
    ),
    (
      _edit(LABELS, lambda raw: b"\x01" + raw),
      "t10k-labels.* begins with 0x01000008, expected 0x00000801",
    ),
    (_edit(IMAGES, lambda raw: b""), "begins with 0x00000000"),
    (
      _edit(IMAGES, lambda raw: raw[:-1]),
      r"holds 5,503 bytes, expected 5,504 of 7 x 28 x 28 values: it is cut",
    ),
    (_edit(IMAGES, lambda raw: raw[:9]), "holds 9 bytes, expected 16 of 7 x 0"),
    (
      _edit(LABELS, lambda raw: raw + b"\0"),
      "t10k-labels.* holds 12 bytes, expected 11",
    ),
    (_edit(LABELS, _flip(9, 10)), "label 10 of image 1, expected 0..9"),
    (
      _edit(LABELS, lambda raw: _idx(np.zeros(2, np.uint8))),
      "has 2 labels, expected 3, one for each image of .*t10k-images",
    ),
    (
      _edit(IMAGES, lambda raw: _idx(np.zeros((7, 14, 56), np.uint8))),
      "has images of 14 x 56, expected 28 x 28",
    ),
    (
      _edit(IMAGES, lambda raw: gzip.compress(raw)[:-9]),
      "train-images.* cannot be read: .*end-of-stream",
    ),
    (
      lambda folder: (folder / LABELS).unlink(),
      "neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz in .*/raw",
    ),
  ],
)
def test_damaged_mnist_is_one_line(spoil, message, tmp_path):
  raw = _folder(tmp_path)
  _mnist(raw)
  spoil(raw)
  _refused(prepare_images.mnist, raw, tmp_path, message)


def _refused(prepare, source, tmp_path, message):
  with pytest.raises(errors.DataError, match=message) as found:
    prepare(source, tmp_path / "data")
  assert "\n" not in str(found.value)
  assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (
      _edit(BATCHES[2], lambda raw: raw[:-1]),
      "data_batch_3.bin holds 6,145 bytes, expected a multiple of 3,073",
    ),
    (
      _edit(BATCHES[5], lambda raw: raw[:3073]),
      "test_batch.bin holds 1 images, expected 2 as in data_batch_1.bin",
    ),
    (_edit(BATCHES[0], lambda raw: b""), "data_batch_1.bin holds 0 bytes"),
    (
      _edit(BATCHES[1], _flip(3073, 11)),
      "data_batch_2.bin: label 11 of image 1, expected 0..9",
    ),
    (
      lambda folder: (folder / BATCHES[3]).unlink(),
      "holds no data_batch_4.bin; take the binary version of CIFAR-10",
    ),
  ],
)
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_damaged_cifar10_is_one_line(form, spoil, message, tmp_path):
  raw = _folder(tmp_path)
  _cifar10(raw)
  spoil(raw)
  source = raw if form == "folder" else _pack(raw, tmp_path / "c.tar.gz")
  _refused(prepare_images.cifar10, source, tmp_path, message)


def test_archive_that_is_cut_or_none_is_one_line(tmp_path):
  raw = _folder(tmp_path)
  _cifar10(raw)
  whole = _pack(raw, tmp_path / "c.tar.gz").read_bytes()
  message = "c.tar.gz cannot be read as a .tar.gz: .*take the binary version"
  for spoiled in (whole[:2000], whole[: len(whole) - 500], b"no archive"):
    (tmp_path / "c.tar.gz").write_bytes(spoiled)
    _refused(prepare_images.cifar10, tmp_path / "c.tar.gz", tmp_path, message)


_BOMB = b"\x80\x02cbuiltins\nexit\n(tR."  # a pickle that ends who reads it


@pytest.mark.parametrize("form", ["folder", "above", "tar", "file"])
def test_pickles_are_refused_by_name(form, tmp_path):
  """Unread: what they would run is not run."""
  top = _folder(tmp_path)
  raw = _folder(top, "cifar-10-batches-py") if form == "above" else top
  for name in ("data_batch_1", "test_batch", "batches.meta"):
    (raw / name).write_bytes(_BOMB)
  source = top
  if form == "tar":
    source = _pack(raw, tmp_path / "c.tar.gz", "cifar-10-batches-py")
  if form == "file":
    source = raw / "data_batch_1"
  message = (
    "is the python version of CIFAR-10, pickles, .*take the binary version of"
    " CIFAR-10, cifar-10-binary.tar.gz"
  )
  _refused(prepare_images.cifar10, source, tmp_path, message)


def test_missing_files_are_one_line(tmp_path):
  gone = tmp_path / "gone"
  message = f"IN: no folder {gone}; .*train-images-idx3-ubyte.gz"
  _refused(prepare_images.mnist, gone, tmp_path, message)
  message = f"IN: no file or folder {gone}; take the binary"
  _refused(prepare_images.cifar10, gone, tmp_path, message)


def test_something_in_the_way_is_a_data_error(tmp_path):
  raw = _folder(tmp_path)
  _mnist(raw)
  (tmp_path / "mnist" / "1.0.0").mkdir(parents=True)
  with pytest.raises(errors.DataError, match="exists and holds nothing that"):
    prepare_images.mnist(raw, tmp_path)
  with pytest.raises(errors.StorageError, match="cannot write"):
    prepare_images.mnist(raw, raw / IMAGES)


def test_command(tmp_path, capsys):
  raw = _folder(tmp_path)
  _mnist(raw, "all")
  action = ["data", "prepare-images"]
  where = f"--data_dir={tmp_path}/data"
  assert program.main([*action, "mnist", str(raw), where]) == 0
  assert f"images: train {TRAIN}, test {TEST}" in capsys.readouterr().out
  assert program.main([*action, "cifar10", str(raw), where]) == 3
  assert "holds no data_batch_1.bin" in capsys.readouterr().err
  assert program.main([*action, "cifar100", str(raw), where]) == 2
  assert "cifar10" in capsys.readouterr().err
