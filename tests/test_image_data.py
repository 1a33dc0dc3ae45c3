"""Data sets of images: digits, patches of photographs, folders of files."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from ar_jax import errors, registry
from ar_jax.datasets import image_folder, photos
from ar_jax.media import image
from ar_jax.types import Condition

RNG = np.random.default_rng(0)
RGB = RNG.integers(256, size=(8, 8, 3)).astype(np.uint8)
GRAY = RGB[..., 0]


def _make(name, **section):
  made = registry.build("datasets", dict(name=name, **section))
  json.dumps(made.media)
  return made


def _all(split):
  x_NLC, weight_NL, y = split.get(np.arange(split.size))
  assert (weight_NL == 1).all()
  assert split.units == dict(item=split.size, dim=x_NLC.size)
  return x_NLC, y


# Digits.


def test_digits_are_those_of_the_package():
  from sklearn import datasets

  made = _make("digits")
  assert made.spec.shape == (8, 8)
  assert (made.spec.channels, made.spec.num_values) == (1, 17)
  assert made.spec.conditions == dict(label=Condition("label", 10))
  assert made.media["labels"] == list("0123456789")
  assert [s.size for s in made.splits.values()] == [1437, 180, 180]
  parts = [_all(split) for split in made.splits.values()]
  found = np.concatenate([x[..., 0] for x, _ in parts])
  label_N = np.concatenate([y["label"] for _, y in parts])
  raw = b"".join(split.raw for split in made.splits.values())
  assert raw == found.astype(np.uint8).tobytes()
  data = datasets.load_digits()

  def rows(x_NL, label_N):
    return sorted(np.column_stack([x_NL, label_N]).astype(int).tolist())

  assert rows(found, label_N) == rows(data.data, data.target)
  for x_NLC, y in parts:
    assert (np.bincount(y["label"], minlength=10) > 5).all()  # shuffled
    picture = image.decode(made.media, x_NLC[0])
    assert picture.max() == 255 or x_NLC[0].max() < 16


def test_digits_are_split_by_the_seed():
  made = [_make("digits", seed=s, labels=False) for s in (0, 0, 1)]
  first = [_all(m.splits["valid"])[0] for m in made]
  assert (first[0] == first[1]).all()
  assert (first[0] != first[2]).any()
  assert not made[0].spec.conditions
  assert "labels" not in made[0].media
  assert not _all(made[0].splits["valid"])[1]
  two = _make("digits", split="0.5/0.25").splits
  assert {n: s.size for n, s in two.items()} == dict(train=898, valid=449)
  with pytest.raises(errors.UsageError, match="split by fractions"):
    _make("digits", split="100/100")
  with pytest.raises(
    errors.DataError, match="1,797 images leave none for the t"
  ):
    _make("digits", split="0.5/0.4/0.0001")


# Photographs.

HIGH, WIDE = 427, 640


@pytest.mark.parametrize("stride", [1, 7])
def test_no_pixel_is_in_two_splits(stride, monkeypatch):
  number = np.arange(2 * 50 * 120).reshape(2, 50, 120)  # of each pixel
  monkeypatch.setattr(photos, "_photographs", lambda gray: number)
  made = _make("photos", size=8, stride=stride, pixels="gray")
  parts = {name: _all(split)[0] for name, split in made.splits.items()}
  seen = {name: set(x.ravel().tolist()) for name, x in parts.items()}
  assert not seen["train"] & seen["valid"]
  assert not seen["train"] & seen["test"]
  assert not seen["valid"] & seen["test"]
  for name in ("valid", "test"):
    assert len(seen[name]) == parts[name].size == 2 * 6 * 2 * 64  # tiles
  starts = len(range(0, 50 - 7, stride)), len(range(0, 84 - 7, stride))
  assert made.splits["train"].size == 2 * starts[0] * starts[1]
  if stride == 1:
    assert seen["train"] == set(number[:, :, :84].ravel().tolist())


@pytest.mark.parametrize("pixels", ["channels", "sites", "gray"])
def test_patches_lie_in_the_photographs(pixels):
  from sklearn import datasets

  whole = np.stack(
    [datasets.load_sample_image(f"{n}.jpg") for n in ("china", "flower")]
  )
  assert whole.shape == (2, HIGH, WIDE, 3)
  made = _make("photos", pixels=pixels, labels=True, stride=50)
  assert made.spec.conditions == dict(label=Condition("label", 2))
  assert made.media["labels"] == ["china", "flower"]
  corners = dict(
    train=(range(0, 396, 50), range(0, 417, 50)),
    valid=(range(0, 396, 32), range(448, 513, 32)),
    test=(range(0, 396, 32), range(544, 609, 32)),
  )
  for name, (tops, lefts) in corners.items():
    x_NLC, y = _all(made.splits[name])
    places = [(p, t, a) for p in (0, 1) for t in tops for a in lefts]
    assert y["label"].tolist() == [p for p, _, _ in places]
    for x_LC, (p, top, left) in zip(x_NLC, places, strict=True):
      wanted = whole[p, top : top + 32, left : left + 32]
      if pixels == "gray":
        wanted = np.asarray(Image.fromarray(wanted).convert("L"))
      np.testing.assert_array_equal(image.decode(made.media, x_LC), wanted)
  colors = 1 if pixels == "gray" else 3
  raw = {name: len(split.raw) for name, split in made.splits.items()}
  tiles = 78 * 32 * 32 * colors
  assert raw == dict(train=2 * HIGH * 448 * colors, valid=tiles, test=tiles)
  again = _make("photos", pixels=pixels, split="0.7/0.3").splits
  prints = [s["train"].fingerprint for s in (made.splits, again)]
  assert prints[0] == prints[1] != made.splits["valid"].fingerprint


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(size=0), "size 0 and stride 4 must be 1 or more"),
    (dict(stride=0), "stride 0 must be 1 or more"),
    (dict(size=97), "size 97: the valid strips of .* are 96 x 427"),
    (
      dict(size=428, split="0.7/0.3"),
      "size 428: the train strips .* 448 x 427",
    ),
    (dict(pixels="grey"), "pixels 'grey' is none of"),
    (dict(split="90/10"), "split by fractions of their width"),
  ],
)
def test_wrong_arguments_of_photos_are_named(changes, message):
  with pytest.raises(errors.UsageError, match=message):
    _make("photos", **changes)


# Folders.


def _write(path, pixels=RGB, mode=None, **how):
  path.parent.mkdir(exist_ok=True, parents=True)
  picture = Image.fromarray(pixels)
  picture = picture if mode is None else picture.convert(mode)
  picture.save(path, **how)
  return str(path)


def _one(path, size=8, fit="exact", **changes):
  """Pixels of a file, which trains, and is not validated on."""
  other = pathlib.Path(path).parent / "other.png"
  _write(other, np.zeros((size, size, 3), np.uint8))
  if changes.get("mode") == "gray":
    _write(other, np.zeros((size, size), np.uint8))
  more = dict(size=size, fit=fit, valid_path=str(other), **changes)
  made = _make("image_folder", path=str(path), **more)
  return image.decode(made.media, _all(made.splits["train"])[0][0])


@pytest.mark.parametrize("fit", ["crop", "resize", "exact"])
@pytest.mark.parametrize("pixels", ["channels", "sites"])
def test_pixels_of_an_image_of_the_size_are_kept(fit, pixels, tmp_path):
  path = _write(tmp_path / "a.png")
  np.testing.assert_array_equal(_one(path, fit=fit, pixels=pixels), RGB)
  path = _write(tmp_path / "gray.png", GRAY)
  found = _one(path, fit=fit, pixels=pixels, mode="gray")
  np.testing.assert_array_equal(found, GRAY)


def test_jpeg_is_read(tmp_path):
  smooth = np.add.outer(np.arange(16), np.arange(16)) * 8
  smooth = np.stack([smooth, 255 - smooth, 0 * smooth + 80], -1).astype(
    np.uint8
  )
  path = _write(tmp_path / "a.jpg", smooth, quality=95)
  np.testing.assert_allclose(_one(path, 16), smooth, atol=12)
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned by a quarter, clockwise
  path = _write(tmp_path / "b.jpg", smooth, quality=95, exif=exif)
  np.testing.assert_allclose(_one(path, 16), np.rot90(smooth, -1), atol=12)


def test_other_sizes_are_cropped_resized_or_refused(tmp_path):
  wide = np.zeros((8, 24, 3), np.uint8)
  wide[:, 8:16] = (250, 100, 50)  # the central square
  path = _write(tmp_path / "wide.png", wide)
  assert (_one(path, 8, "crop") == (250, 100, 50)).all()
  scaled = Image.fromarray(wide).resize((12, 4), Image.Resampling.BICUBIC)
  found = _one(path, 4, "crop")
  np.testing.assert_array_equal(found, np.asarray(scaled)[:, 4:8])
  whole = _one(path, 8, "resize")
  assert (whole[:, [0, 7]] == 0).all()
  assert (whole[:, 3:5] > (200, 80, 30)).all()
  message = "wide.png has 24 x 8 pixels, .* for 8 x 8; .*crop or resize"
  with pytest.raises(errors.DataError, match=message):
    _one(path, 8, "exact")


def test_other_modes_are_named_or_converted(tmp_path):
  gray = _write(tmp_path / "gray.png", GRAY)
  color = _write(tmp_path / "color.png")
  bits = _write(tmp_path / "bits.png", GRAY > 99)
  for path, mode, message in (
    (
      gray,
      "rgb",
      r"gray.png has the mode L, .*asks for rgb \(RGB\); set .*gray",
    ),
    (
      color,
      "gray",
      r"color.png has the mode RGB, .*--config.data.mode=rgb, or",
    ),
    (bits, "gray", r"bits.png has the mode 1, .*; set --config.data.convert"),
    (_write(tmp_path / "p.png", mode="P"), "rgb", "p.png has the mode P,"),
    (_write(tmp_path / "a.png", mode="RGBA"), "rgb", "a.png has the mode RGBA"),
    (_write(tmp_path / "c.jpg", mode="CMYK"), "rgb", "c.jpg has the mode CMYK"),
  ):
    with pytest.raises(errors.DataError, match=message):
      _one(path, mode=mode)
  found = _one(gray, convert=True)
  np.testing.assert_array_equal(found, np.stack([GRAY] * 3, -1))
  luma = RGB @ np.array([0.299, 0.587, 0.114])
  found = _one(color, mode="gray", convert=True)
  np.testing.assert_allclose(found, luma, atol=1)
  found = _one(bits, mode="gray", convert=True)
  np.testing.assert_array_equal(found, np.where(GRAY > 99, 255, 0))


def test_what_is_transparent_lies_on_white(tmp_path):
  rgba = np.dstack([RGB, np.full((8, 8), 255, np.uint8)])
  rgba[0, 0, 3] = 0
  wanted = RGB.copy()
  wanted[0, 0] = 255
  found = _one(_write(tmp_path / "a.png", rgba), convert=True)
  np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("color", [True, False])
def test_sixteen_bits_are_refused(color, tmp_path):
  import struct
  import zlib

  def chunk(kind, content):
    end = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + end

  row = b"\0" + bytes(8 * (6 if color else 2))
  header = struct.pack(">IIBBBBB", 8, 8, 16, 2 if color else 0, 0, 0, 0)
  body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 8))
  path = tmp_path / "deep.png"
  path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
  with Image.open(path) as found:
    assert found.size == (8, 8)
  with pytest.raises(errors.DataError, match="deep.png has 16 bits a channel"):
    _one(path, convert=True)


def test_damaged_files_are_named(tmp_path):
  png = pathlib.Path(_write(tmp_path / "whole.png")).read_bytes()
  jpeg = pathlib.Path(_write(tmp_path / "whole.jpg")).read_bytes()
  gif = pathlib.Path(_write(tmp_path / "whole.gif")).read_bytes()
  broken = {
    "text.png": b"no image",
    "head.png": png[:20],
    "cut.png": png[: len(png) // 2],
    "bits.png": png[:70] + bytes([png[70] ^ 255]) + png[71:],
    "cut.jpg": jpeg[: len(jpeg) // 2],
    "gif.png": gif,
  }
  for name, content in broken.items():
    (tmp_path / name).write_bytes(content)
    message = f"{name} cannot be read as PNG or JPEG: "
    with pytest.raises(errors.DataError, match=message) as caught:
      _one(tmp_path / name)
    assert "\n" not in str(caught.value)
  (tmp_path / "empty.png").write_bytes(b"")
  with pytest.raises(errors.DataError, match="empty.png is empty"):
    _one(tmp_path / "empty.png")


@pytest.fixture
def folder(tmp_path):
  """20 images of one gray each, in the folders even and odd."""
  for n in range(20):
    pixels = np.full((4, 4), 10 * n, np.uint8)
    _write(tmp_path / ("even", "odd")[n % 2] / f"{n:02}.png", pixels)
  return tmp_path


GRAYS = dict(name="image_folder", size=4, fit="exact", mode="gray")


def _grays(split):
  x_NLC, y = _all(split)
  assert (x_NLC == x_NLC[:, :1]).all()
  grays = (x_NLC[:, 0, 0] // 10).tolist()
  assert split.raw == x_NLC.astype(np.uint8).tobytes()
  return grays, y


def test_files_are_shuffled_by_the_seed_and_labeled_by_folder(folder):
  more = dict(GRAYS, path=f"{folder}/*/*.png", labels=True)
  made = [registry.build("datasets", dict(more, seed=s)) for s in (0, 0, 1)]
  found = [[_grays(s)[0] for s in m.splits.values()] for m in made]
  assert found[0] == found[1] != found[2]
  assert list(map(len, found[0])) == [16, 2, 2]
  assert sorted(sum(found[0], [])) == list(range(20))
  assert made[0].spec.conditions == dict(label=Condition("label", 2))
  assert made[0].media["labels"] == ["even", "odd"]
  assert made[0].media["source"] == "00.png and 19 more"
  for split in made[0].splits.values():
    grays, y = _grays(split)
    assert y["label"].tolist() == [n % 2 for n in grays]
    assert y["label"].dtype == np.int32
  unlabeled = registry.build("datasets", dict(more, labels=False))
  assert not unlabeled.spec.conditions
  assert "labels" not in unlabeled.media


def test_splits_may_be_files_of_their_own(folder):
  paths = dict(
    path=f"{folder}/*/0*.png",
    valid_path=f"{folder}/odd/1*.png",
    test_path=f"{folder}/even/1*.png",
  )
  made = registry.build("datasets", dict(GRAYS, labels=True, **paths))
  assert [sorted(_grays(s)[0]) for s in made.splits.values()] == [
    list(range(10)),
    [11, 13, 15, 17, 19],
    [10, 12, 14, 16, 18],
  ]
  del paths["test_path"]
  made = registry.build("datasets", dict(GRAYS, **paths))
  assert list(made.splits) == ["train", "valid"]


@pytest.mark.parametrize(
  ("changes", "kind", "message"),
  [
    (dict(path=""), errors.UsageError, "--config.data.path="),
    (dict(size=0), errors.UsageError, "size 0 must be 1 or more"),
    (dict(fit="pad"), errors.UsageError, "fit 'pad' is none of crop, resize"),
    (dict(mode="RGB"), errors.UsageError, "mode 'RGB' is none of rgb, gray"),
    (dict(pixels="gray"), errors.UsageError, "pixels 'gray' is none of chan"),
    (dict(split="9/1"), errors.UsageError, "files are split by fractions"),
    (dict(split="0.9/0.01"), errors.DataError, "20 files leave none for the v"),
    (dict(test_path="*.png"), errors.UsageError, "none for valid"),
    (
      dict(valid_path="even/02.png"),
      errors.DataError,
      "02.png is also in the t",
    ),
    (dict(valid_path="no.png"), errors.DataError, "valid_path: no file"),
    (
      dict(path="odd/*", valid_path="even/*", labels=True),
      errors.DataError,
      "its folder 'even' is no label of the training files, .*: odd",
    ),
  ],
)
def test_wrong_arguments_of_folders_are_named(
  changes, kind, message, folder, monkeypatch
):
  monkeypatch.chdir(folder)
  section = dict(GRAYS, path="*/*.png") | changes
  with pytest.raises(kind, match=message):
    registry.build("datasets", section)


def test_the_tiny_files_are_small():
  files = list(pathlib.Path(image_folder._TINY).parent.iterdir())
  assert len(files) == 6
  assert sum(file.stat().st_size for file in files) < 4096
