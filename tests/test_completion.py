"""Completions of images: what is given stays, and the rest is drawn."""

import jax
import numpy as np
import pytest
from PIL import Image

from ar_jax import __main__ as program
from ar_jax import beginning, completion, errors, ordering, registry
from ar_jax import config as configs
from ar_jax import run as runs
from ar_jax.types import DataSpec


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """An untrained network on digits, with labels."""
  config = configs.load("configs/digits_gated_pixelcnn.py:tiny", [])
  section = configs.plain(config.data)
  dataset = registry.build("datasets", section)
  folder = tmp_path_factory.mktemp("completion") / "run"
  net = _network(config, dataset.spec)
  params = jax.jit(net.model.init)(jax.random.key(0))
  beginning.write(folder, config, dataset.spec, dataset.media, params)
  return runs.load(folder)


def _network(config, spec):
  from ar_jax import assemble

  return assemble.network(config, spec)


@pytest.mark.slow
def test_what_is_given_stays_and_the_rest_is_drawn(run):
  x_NLC = np.random.default_rng(0).integers(0, 17, (3, 64, 1))
  known_L = completion.top(run.spec, 0.5)
  np.testing.assert_array_equal(known_L, np.arange(64) < 32)
  y = dict(label=np.array([4, 0, 9]))
  drawn = completion.draw(run, jax.random.key(0), x_NLC, known_L, 2, y)
  assert drawn.x_BLC.shape == (6, 64, 1)
  kept = x_NLC[:, known_L].repeat(2, 0)
  np.testing.assert_array_equal(drawn.x_BLC[:, known_L], kept)
  rest = drawn.x_BLC[:, ~known_L]
  assert len(np.unique(rest, axis=0)) == 6
  assert (drawn.log_prob_sampler_BL[:, known_L] == 0).all()
  given_y = {k: v.repeat(2) for k, v in y.items()}
  logs = run.per_site(drawn.x_BLC, given_y)
  np.testing.assert_allclose(drawn.log_prob_model_BL, logs, atol=1e-4)
  hidden = np.where(known_L[:, None], x_NLC, 0)
  again = completion.draw(run, jax.random.key(0), hidden, known_L, 2, y)
  np.testing.assert_array_equal(again.x_BLC, drawn.x_BLC)


def test_the_sheet_has_a_line_for_each_item():
  x_NLC = np.arange(2 * 4).reshape(2, 4, 1)
  drawn_BLC = 100 + np.arange(6 * 4).reshape(6, 4, 1)
  known_L = np.array([True, True, False, False])
  shown, known = completion.sheet(x_NLC, known_L, drawn_BLC)
  lines = shown.reshape(2, 5, 4, 1)
  np.testing.assert_array_equal(lines[:, 0], x_NLC)
  np.testing.assert_array_equal(lines[:, 1:4].reshape(6, 4, 1), drawn_BLC)
  np.testing.assert_array_equal(lines[:, 4], x_NLC)
  wanted = np.ones((2, 5, 4), bool)
  wanted[:, 0] = known_L
  np.testing.assert_array_equal(known.reshape(2, 5, 4), wanted)


def test_whole_rows_are_kept():
  spec = DataSpec((5, 2, 3), 1, 4)
  assert completion.top(spec, 0.5).sum() == 2 * 6
  assert completion.top(spec, 0).sum() == 0
  for share in (-0.1, 1, 1.5):
    with pytest.raises(errors.UsageError, match=f"--keep={share}"):
      completion.top(spec, share)


def test_whether_what_is_given_comes_first(run):
  half = completion.top(run.spec, 0.5)
  assert completion.is_exact(run, half)
  section = dict(name="reverse")
  other = registry.build("orderings", section, run.spec.shape)
  assert ordering.symmetry((8, 8), other.orders_KL) == (8, 8)
  import dataclasses

  backwards = dataclasses.replace(run, net=run.net._replace(ordering=other))
  assert not completion.is_exact(backwards, half)
  assert completion.is_exact(backwards, half[::-1])
  every = registry.build("orderings", dict(name="all"), (8, 8))
  fresh = dataclasses.replace(run, net=run.net._replace(ordering=every))
  assert completion.is_exact(fresh, half)
  assert completion.is_exact(fresh, np.zeros(64, bool))


def test_items_are_read_from_where_they_are(run, tmp_path):
  x_NLC, y = completion.read(run, "test", 3)
  assert x_NLC.shape == (3, 64, 1)
  assert y["label"].shape == (3,)
  np.save(tmp_path / "items.npy", x_NLC.reshape(3, 8, 8))
  read, none = completion.read(run, str(tmp_path / "items.npy"), 1)
  np.testing.assert_array_equal(read, x_NLC)
  assert none == {}
  for n in range(2):
    media = registry.load("media", "image")
    media.save(run.media, x_NLC[n], tmp_path, f"p{n}")
  read, _ = completion.read(run, str(tmp_path / "p*.png"), 1)
  np.testing.assert_array_equal(read, x_NLC[:2])


def test_what_is_no_item_is_named(run, tmp_path):
  Image.new("L", (9, 8)).save(tmp_path / "wide.png")
  (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
  (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
  (tmp_path / "a.txt").write_text("no image")
  np.save(tmp_path / "large.npy", np.full((1, 8, 8), 17))
  for name, error, message in (
    ("wide.png", errors.DataError, r"shape \(8, 9\), not \(8, 8\)"),
    ("cut.png", errors.DataError, "cut.png cannot be read"),
    ("cut.npy", errors.DataError, "cut.npy cannot be read"),
    ("a.txt", errors.UsageError, "a.txt is none of test, valid"),
    ("large.npy", errors.UsageError, "values of this run"),
  ):
    with pytest.raises(error, match=message):
      completion.read(run, str(tmp_path / name), 1)


def test_a_run_of_one_order_says_where_it_is_not_exact(run, tmp_path, capsys):
  known_L = np.arange(64) < 32
  known_L[40] = True
  np.save(tmp_path / "mask.npy", known_L)
  argv = ["sample", f"--workdir={run.workdir}", f"--out={tmp_path}"]
  argv += ["--given=valid", "--items=3", "--num=2"]
  assert program.main([*argv, f"--mask={tmp_path}/mask.npy"]) == 0
  said = capsys.readouterr()
  assert "sample 5: 31 tokens" in said.out
  warning = " ".join(said.err.split())
  assert "in the order raster not all that is given comes first" in warning
  assert "a network trained with ordering=all gives one" in warning


def test_the_command_completes_and_shows(run, tmp_path, capsys):
  argv = ["sample", f"--workdir={run.workdir}", f"--out={tmp_path}"]
  assert program.main([*argv, "--given=valid", "--items=3", "--num=2"]) == 0
  said = capsys.readouterr()
  assert "sample 5: 32 tokens" in said.out
  assert "sample_grid.png" in said.out
  assert said.err == ""  # rows of the raster come first: nothing to warn of
  with Image.open(tmp_path / "sample_grid.png") as grid:
    assert grid.size == (2 + 4 * 130, 2 + 3 * 130)
  labels = "label=3,1"
  assert program.main([*argv, "--num=6", "--y", labels]) == 0
  with Image.open(tmp_path / "sample_grid.png") as grid:
    assert grid.size == (2 + 3 * 130, 2 + 2 * 130)  # a line for each label
    lines = np.asarray(grid)
  first = np.asarray(Image.open(tmp_path / "sample_1.png"))  # of label 1
  tile = lines[2:130, 2:130][::16, ::16]
  np.testing.assert_array_equal(tile, first)
  assert program.main([*argv, "--given=nowhere.png"]) == 3
  assert program.main([*argv, "--given=test", "--num=0"]) == 2
  assert program.main([*argv, "--given=test", "--items=0"]) == 2
