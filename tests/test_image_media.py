"""Images: levels and layouts, exact pixels, grids, what a report shows."""

import base64
import json
import re
import types

import jax
import numpy as np
import pytest
from PIL import Image

from ar_jax import assemble, beginning, drawing, errors, page, registry
from ar_jax import config as configs
from ar_jax import media as mediums
from ar_jax import run as runs
from ar_jax.media import image

H, W = 3, 5
FORMS = dict(gray=((H, W), 1), channels=((H, W), 3), sites=((H, W, 3), 1))


def _media(pixels="gray", V=256, **more):
  shape, channels = image.layout(pixels, H, W)
  made = image.make_media("t", shape, channels, num_values=V, **more)
  return json.loads(json.dumps(made))


def _items(media, num, seed=0):
  sites = int(np.prod(media["shape"])), media["channels"]
  rng = np.random.default_rng(seed)
  return rng.integers(media["num_values"], size=(num, *sites))


@pytest.mark.parametrize("V", [2, 3, 17, 255, 256])
@pytest.mark.parametrize("pixels", FORMS)
def test_a_picture_is_its_sites(pixels, V):
  media = _media(pixels, V)
  assert (tuple(media["shape"]), media["channels"]) == FORMS[pixels]
  (x_LC,) = _items(media, 1)
  picture = image.decode(media, x_LC)
  assert picture.dtype == np.uint8
  assert picture.shape == ((H, W) if pixels == "gray" else (H, W, 3))
  found = image.encode(media, picture)
  assert found.dtype == np.int32
  np.testing.assert_array_equal(found, x_LC)
  if media["channels"] == 1:
    np.testing.assert_array_equal(image.decode(media, x_LC[:, 0]), picture)


@pytest.mark.parametrize(("V", "v", "level"), [(2, 1, 255), (17, 8, 128)])
def test_levels_reach_from_black_to_white(V, v, level):
  media = _media(V=V)
  shown = [image.decode(media, np.full(H * W, x))[0, 0] for x in (0, v, V - 1)]
  assert shown == [0, level, 255]


@pytest.mark.parametrize("pixels", ["channels", "sites"])
def test_colors_are_red_green_and_blue_of_a_pixel(pixels):
  media = _media(pixels)
  x_LC = np.zeros((H * W * 3 // media["channels"], media["channels"]), int)
  at = 3 * (1 * W + 2) + 1  # green of row 1, column 2
  x_LC.reshape(-1)[at] = 200
  picture = image.decode(media, x_LC)
  assert picture[1, 2].tolist() == [0, 200, 0]
  assert picture.sum() == 200


def test_other_pictures_are_refused():
  media = _media(V=17)
  picture = image.decode(media, _items(media, 1)[0])
  picture[0, 1] = 100
  with pytest.raises(errors.DataError, match="100 is none of the 17 levels"):
    image.encode(media, picture)
  with pytest.raises(errors.DataError, match=r"shape \(5, 3\), not \(3, 5\)"):
    image.encode(media, picture.T)
  with pytest.raises(errors.DataError, match=r"\(3, 5\), not \(3, 5, 3\)"):
    image.encode(_media("sites"), picture)
  with pytest.raises(errors.UsageError, match="pixels 'rgb' is none of chann"):
    image.layout("rgb", H, W)
  for shape, channels in (((H,), 1), ((H, W, 3), 3), ((H, W, 2), 1)):
    with pytest.raises(ValueError, match="no image: shape"):
      image.make_media("t", shape, channels)
  for V in (1, 257):
    with pytest.raises(ValueError, match=f"no image: {V} values"):
      image.make_media("t", (H, W), num_values=V)


@pytest.mark.parametrize("pixels", FORMS)
def test_what_is_saved_is_read_as_the_same_sites(pixels, tmp_path):
  shape, channels = image.layout(pixels, 6, 6)
  media = image.make_media("t", shape, channels)
  x_BLC = _items(media, 2)
  paths = mediums.save(media, x_BLC, tmp_path / "new", "s")
  assert [p.name for [p] in paths] == ["s_0.png", "s_1.png"]
  section = dict(
    name="image_folder",
    path=str(paths[0][0]),
    valid_path=str(paths[1][0]),
    size=6,
    fit="exact",
    mode="gray" if pixels == "gray" else "rgb",
    pixels="sites" if pixels == "sites" else "channels",
  )
  read = registry.build("datasets", section)
  assert dict(read.media, source="t") == media
  for split, x_LC in zip(read.splits.values(), x_BLC, strict=True):
    np.testing.assert_array_equal(split.get(np.arange(1))[0][0], x_LC)


# Grids.


@pytest.mark.parametrize("pixels", FORMS)
@pytest.mark.parametrize(("num", "columns"), [(7, 3), (7, None), (2, 9)])
def test_a_grid_shows_each_row_in_its_place(pixels, num, columns, tmp_path):
  media = _media(pixels, 17)
  x_BLC = _items(media, num)
  path = tmp_path / "grid.png"
  image.grid(media, x_BLC, path, columns)
  shown = np.asarray(Image.open(path))
  columns = min(num, columns or 3)
  rows = -(-num // columns)
  scale = 128 // W
  high, wide = scale * H + 2, scale * W + 2
  assert shown.shape[:2] == (2 + rows * high, 2 + columns * wide)
  for n in range(rows * columns):
    top, left = 2 + n // columns * high, 2 + n % columns * wide
    cell = shown[top : top + scale * H, left : left + scale * W]
    if n < num:
      wanted = image.decode(media, x_BLC[n])
      wanted = np.kron(wanted, np.ones((scale, scale, 1)[: wanted.ndim]))
      np.testing.assert_array_equal(cell, wanted)
    else:
      assert (cell == 128).all()
    shown = shown.copy()
    shown[top : top + scale * H, left : left + scale * W] = 128
  assert (shown == 128).all()  # what lies between


@pytest.mark.parametrize(
  ("side", "num", "columns", "scale"),
  [(8, 4, 2, 16), (8, 100, 10, 9), (28, 16, None, 4), (64, 300, 20, 1)],
)
def test_a_grid_is_scaled_to_be_seen(side, num, columns, scale, tmp_path):
  media = image.make_media("t", (side, side), num_values=2)
  image.grid(
    media, np.zeros((num, side**2, 1), int), tmp_path / "g.png", columns
  )
  with Image.open(tmp_path / "g.png") as shown:
    wide, _ = shown.size
  assert wide == 2 + (columns or 4) * (scale * side + 2)
  assert wide <= 800 or scale == 1


def test_only_images_make_one_picture(tmp_path):
  media = _media(V=2)
  x_BLC = _items(media, 5)
  assert mediums.grid(media, x_BLC, tmp_path / "g.png", 5)
  image.grid(media, x_BLC, tmp_path / "wanted.png", 5)
  found = (tmp_path / "g.png").read_bytes()
  assert found == (tmp_path / "wanted.png").read_bytes()
  other = dict(kind="array", shape=[H, W], num_values=None)
  assert not mediums.grid(other, x_BLC, tmp_path / "other.png")
  assert not (tmp_path / "other.png").exists()


@pytest.mark.parametrize("pixels", FORMS)
def test_sites_that_are_not_known_are_ground(pixels, tmp_path):
  media = _media(pixels, 17)
  x_BLC = _items(media, 1)
  known_BL = np.zeros(x_BLC.shape[:2], bool)
  known_BL[:, : known_BL.shape[1] // H * 2] = True  # two rows
  image.grid(media, x_BLC, tmp_path / "g.png", known_BL=known_BL)
  shown = np.asarray(Image.open(tmp_path / "g.png"))
  scale = 128 // W
  wanted = image.decode(media, x_BLC[0])
  wanted = np.kron(wanted, np.ones((scale, scale, 1)[: wanted.ndim]))
  wanted[2 * scale :] = 128
  np.testing.assert_array_equal(shown[2:-2, 2:-2], wanted)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  media = _media(V=2)
  x_BLC = _items(media, 5)
  mediums.save(media, x_BLC, tmp_path, "s")
  with pytest.raises(errors.StorageError, match="cannot write"):
    mediums.save(media, x_BLC, tmp_path / "s_0.png")


# The report.


def _pictures(markup):
  """{what they are called: bytes} of the pictures in a page."""
  found = re.findall(r'src="data:image/png;base64,(.*?)" alt="(.*?)"', markup)
  return {label: base64.b64decode(data) for data, label in found}


def test_the_report_shows_a_grid_and_each_sample(tmp_path, monkeypatch):
  np.savez(
    tmp_path / "a.npz", x=np.random.default_rng(0).integers(2, size=(30, H * W))
  )
  config = configs.load(
    "configs/bmnist_made.py:tiny",
    [("data.path", f"{tmp_path}/a.npz"), ("data.shape", f"({H},{W})")],
  )
  dataset = assemble.dataset(config)
  assert dataset.media["kind"] == "image"
  net = assemble.network(config, dataset.spec)
  params = jax.jit(net.model.init)(jax.random.key(0))
  folder = tmp_path / "run"
  run = beginning.write(folder, config, dataset.spec, dataset.media, params)
  shown = _pictures(page._samples(run, [""], num=4, seed=1))
  assert list(shown) == ["All samples", *(f"Sample {n}" for n in range(1, 5))]
  drawn = run.sample(jax.random.key(1), 4)
  mediums.save(run.media, drawn.x_BTC, tmp_path / "out")
  mediums.grid(run.media, drawn.x_BTC, tmp_path / "out" / "sample_grid.png")
  wanted = [f"sample_{n}.png" for n in ("grid", *range(4))]
  for name, found in zip(wanted, shown.values(), strict=True):
    assert found == (tmp_path / "out" / name).read_bytes()
  one = drawing.Drawn(None, *(rows[:1] for rows in drawn[1:]))
  monkeypatch.setattr(runs.Run, "sample", lambda *_: one)
  shown = _pictures(page._samples(run, [""], num=1))
  assert list(shown) == ["Sample 1"]


def test_other_media_have_no_grid_in_the_report():
  run = types.SimpleNamespace(media=dict(kind="array", shape=[4]))
  assert page.medium(run, np.zeros((2, 4, 1)), "All samples") == ""
