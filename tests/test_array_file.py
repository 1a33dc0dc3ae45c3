"""Arrays from files: formats by content, splits, labels, what is refused."""

import json

import matplotlib.image
import numpy as np
import pytest
import scipy.io

from ar_jax import errors, registry
from ar_jax.datasets import array_file
from ar_jax.media import array, image
from ar_jax.types import Condition

BITS = np.random.default_rng(0).integers(2, size=(40, 6)).astype(np.uint8)
ROWS = BITS @ 2 ** np.arange(6)  # a row as one number
LABELS = ROWS % 3


def _make(path, **changes):
  section = dict(name="array_file", path=str(path), num_values=2) | changes
  return registry.build("datasets", section)


def _all(split):
  x_NLC, weight_NL, y = split.get(np.arange(split.size))
  assert (weight_NL == 1).all()
  return x_NLC[..., 0], y


@pytest.fixture
def npz(tmp_path):
  file = tmp_path / "arrays.npz"
  np.savez_compressed(
    file,
    train=BITS[:20],
    valid=BITS[20:33],
    test=BITS[33:],
    train_label=LABELS[:20],
    valid_label=LABELS[20:33],
    test_label=LABELS[33:],
    count=3,
  )
  return file


SPLITS = dict(key="train", valid_key="valid", test_key="test")
LABELED = SPLITS | dict(
  label_key="train_label",
  valid_label_key="valid_label",
  test_label_key="test_label",
)


def _write(kind, file):
  """BITS alone in a file."""
  with file.open("wb") as opened:
    if kind == "npy":
      np.save(opened, BITS)
    if kind == "npz":
      np.savez(opened, X=BITS)
    if kind == "mat":
      scipy.io.savemat(opened, dict(X=BITS), do_compression=True)


@pytest.mark.parametrize("name", ["a.amat", "a.npy", "a"])
@pytest.mark.parametrize("kind", ["npy", "npz", "mat"])
def test_a_file_is_what_its_bytes_say(tmp_path, kind, name):
  _write(kind, tmp_path / name)
  made = _make(tmp_path / name, split="0.5/0.5")
  found = np.concatenate([_all(s)[0] for s in made.splits.values()])
  assert sorted(found @ 2 ** np.arange(6)) == sorted(ROWS)
  assert made.media["source"] == name


def test_splits_may_be_files_of_their_own(tmp_path):
  for i, kind in enumerate(("npy", "npz", "mat")):
    _write(kind, tmp_path / f"{i}")
  made = _make(
    tmp_path / "0", valid_path=f"{tmp_path}/1", test_path=f"{tmp_path}/2"
  )
  assert list(made.splits) == ["train", "valid", "test"]
  for split in made.splits.values():
    np.testing.assert_array_equal(_all(split)[0], BITS)
  # What is left out is that of the training split.
  np.savez(tmp_path / "3", X=BITS[:4], Y=BITS)
  made = _make(tmp_path / "1", key="X", valid_path=f"{tmp_path}/3.npz")
  assert [s.size for s in made.splits.values()] == [40, 4]
  np.savez(tmp_path / "4.npz", X=BITS, c=LABELS)
  np.savez(tmp_path / "5.npz", X=BITS[:9], c=LABELS[:9])
  made = _make(
    tmp_path / "4.npz", valid_path=f"{tmp_path}/5.npz", label_key="c"
  )
  assert _all(made.splits["valid"])[1]["label"].tolist() == LABELS[:9].tolist()


def test_splits_and_labels_may_be_arrays_of_one_file(npz):
  made = _make(npz, **LABELED)
  assert made.spec.conditions == dict(label=Condition("label", 3))
  ends = dict(train=(0, 20), valid=(20, 33), test=(33, 40))
  for name, (a, b) in ends.items():
    x_NL, y = _all(made.splits[name])
    np.testing.assert_array_equal(x_NL, BITS[a:b])
    np.testing.assert_array_equal(y["label"], LABELS[a:b])
    assert y["label"].dtype == np.int32
  assert not _make(npz, **SPLITS).spec.conditions


def test_labels_of_a_column_are_labels(tmp_path):
  file = tmp_path / "a.mat"
  scipy.io.savemat(file, dict(X=BITS, c=LABELS[:, None] * 1.0))
  made = _make(file, label_key="c", split="0.5/0.5")
  for split in made.splits.values():
    x_NL, y = _all(split)
    assert y["label"].tolist() == (x_NL @ 2 ** np.arange(6) % 3).tolist()


def test_one_array_is_shuffled_by_the_seed_and_cut(tmp_path):
  np.save(tmp_path / "a.npy", np.arange(40)[:, None])
  path = tmp_path / "a.npy"
  seeds = [_make(path, num_values=40, seed=s).splits for s in (0, 0, 1)]
  found = [
    [_all(split)[0].ravel().tolist() for split in splits.values()]
    for splits in seeds
  ]
  assert found[0] == found[1] != found[2]
  assert list(map(len, found[0])) == [32, 4, 4]
  assert sorted(sum(found[0], [])) == list(range(40))
  assert found[0][0] != sorted(found[0][0])
  two = _make(path, num_values=40, split="0.5/0.25").splits
  assert {n: s.size for n, s in two.items()} == dict(train=20, valid=10)


def test_an_item_has_the_shape_that_is_asked_for(npz, tmp_path):
  made = _make(npz, **SPLITS, shape=[2, 3])
  assert made.spec.shape == (2, 3)
  assert made.media["shape"] == [2, 3]
  np.testing.assert_array_equal(_all(made.splits["test"])[0], BITS[33:])
  np.save(tmp_path / "a.npy", BITS.reshape(40, 3, 2))
  made = _make(tmp_path / "a.npy", split="0.5/0.5")
  assert made.spec.shape == (3, 2)
  np.save(tmp_path / "a.npy", BITS[:, 0])
  assert _make(tmp_path / "a.npy", split="0.5/0.5").spec.shape == (1,)
  message = r"shape \(28, 28\) has 784 sites, a row of .* shape \(6,\) has 6"
  with pytest.raises(errors.UsageError, match=message):
    _make(npz, **SPLITS, shape=(28, 28))


def test_large_integers_are_kept(tmp_path):
  x_NL = np.array([[0, 300], [70_000, 256], [1, 255]], float)
  np.save(tmp_path / "a.npy", x_NL)
  made = _make(tmp_path / "a.npy", num_values=70_001, split="0.67/0.33")
  found = np.concatenate([_all(s)[0] for s in made.splits.values()])
  assert found.dtype == np.int32
  assert sorted(found.tolist()) == sorted(x_NL.tolist())


def test_real_values_lie_on_the_grid(tmp_path):
  x_NL = np.random.default_rng(1).normal(size=(50, 4)) * 100
  np.save(tmp_path / "a.npy", x_NL)
  path = tmp_path / "a.npy"
  made = _make(path, num_values=None, delta=0.1, split="0.8/0.2")
  assert (made.spec.num_values, made.spec.delta) == (None, 0.1)
  found = np.concatenate([_all(s)[0] for s in made.splits.values()])
  assert found.dtype == np.float32
  steps = found / np.float32(0.1)
  np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
  found = found[np.argsort(found[:, 0])]
  np.testing.assert_allclose(found, x_NL[np.argsort(x_NL[:, 0])], atol=0.0501)


class _Trap:
  """What would be run if a pickle were read."""

  def __reduce__(self):
    return (pytest.fail, ("a pickle was read",))


def test_pickles_are_refused_by_name(tmp_path):
  trap = np.empty((2, 3), object)
  trap[:] = _Trap()
  np.savez(tmp_path / "a.npz", x=BITS, trap=trap)
  with pytest.raises(errors.DataError, match=r"a\.npz, trap is a pickle"):
    _make(tmp_path / "a.npz", key="trap")
  assert _make(tmp_path / "a.npz", key="x").spec.shape == (6,)
  np.save(tmp_path / "a.npy", trap)
  with pytest.raises(errors.DataError, match=r"a\.npy is a pickle"):
    _make(tmp_path / "a.npy")
  trap.dump(tmp_path / "a.pkl")
  with pytest.raises(
    errors.DataError, match=r"a\.pkl is a pickle, .* with numpy.savez"
  ):
    _make(tmp_path / "a.pkl")


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"0 1 0 1\n1 1 0 0\n", r"none of \.npy, \.npz and MATLAB 5\.0"),
    (b"MATLAB 7.3 MAT-file, Platform", "MATLAB 7.3, an HDF5 file; save it"),
    (b"PK\x03\x04 and no more", "cannot be read: BadZipFile"),
    (b"MATLAB 5.0 MAT-file, cut off", "cannot be read: "),
    (b"\x93NUMPY", "cannot be read: ValueError"),
  ],
)
def test_other_files_are_refused(tmp_path, content, message):
  (tmp_path / "a.mat").write_bytes(content)
  with pytest.raises(errors.DataError, match=message):
    _make(tmp_path / "a.mat")


@pytest.mark.parametrize(
  ("x_NL", "changes", "message"),
  [
    ([[0, 1], [1, 2]], {}, r"2 at row 1, site \[1\] is no integer of 0\.\.1"),
    ([[0, 1], [-1, 1]], {}, r"-1 at row 1, site \[0\] is no integer"),
    ([[0.5, 1]], {}, r"0\.5 at row 0, site \[0\] is no integer"),
    ([[0, np.nan]], {}, r"nan at row 0, site \[1\] is no integer"),
    ([["a"]], {}, "holds no integers or real numbers, but <U1"),
    (np.zeros((0, 2)), {}, "has no rows"),
    ([[1.0, np.inf]], dict(delta=0.1), r"inf at row 0, site \[1\] is not wit"),
    ([[1e9]], dict(delta=0.1), "not within 2\\*\\*24 steps of 0.1"),
    ([[1], [0]], {}, "2 rows leave none for the valid split"),
  ],
)
def test_wrong_values_are_named_with_their_place(
  tmp_path, x_NL, changes, message
):
  np.save(tmp_path / "a.npy", x_NL)
  if changes:
    changes = dict(changes, num_values=None)
  with pytest.raises(errors.DataError, match=message):
    _make(tmp_path / "a.npy", **changes)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({}, r"holds count \(\), test \(7x6\), .*; give one of them"),
    (
      dict(key="trian"),
      "no array 'trian'; nearest: train.*there are: count, t",
    ),
    (dict(key="train", label_key="lab"), "no array 'lab'"),
    (dict(label_key="lab"), "no array 'lab'"),
    (dict(num_values=None), "either config.data.num_values"),
    (dict(delta=0.1), "either config.data.num_values"),
    (dict(num_values=None, delta=0.0), "delta 0.0 must be above 0"),
    (dict(key="train", valid_key="train"), "are the same array"),
    (SPLITS | dict(test_key="valid"), "are the same array"),
    (dict(key="train", test_key="test"), "none for valid"),
    (SPLITS | dict(label_key="train_label"), "valid_label_key, or neither"),
    (dict(key="train", valid_label_key="valid_label"), "needs config.data.val"),
    (dict(key="train", split="10/10"), "split by fractions"),
    (dict(path=""), "--config.data.path="),
  ],
)
def test_wrong_arguments_are_named(npz, changes, message):
  with pytest.raises(errors.UsageError, match=message):
    _make(**(dict(path=npz) | changes))


def test_parts_must_fit_each_other(npz, tmp_path):
  np.savez(tmp_path / "b.npz", x=BITS[:, :5], few=LABELS[:3], neg=-LABELS)
  path = str(tmp_path / "b.npz")
  with pytest.raises(errors.DataError, match="rows of different shapes"):
    _make(npz, key="train", valid_path=path, valid_key="x")
  with pytest.raises(errors.DataError, match="few: 3 labels of 40 rows"):
    _make(path, key="x", label_key="few")
  with pytest.raises(errors.DataError, match=r"neg: -\d at row \d+ is no int"):
    _make(path, key="x", label_key="neg")
  with pytest.raises(errors.DataError, match="no file"):
    _make(tmp_path / "c.npz")
  with pytest.raises(errors.UsageError, match="names 2 files; give one"):
    _make(f"{path},{npz}")


def test_the_tiny_file_is_small():
  assert array_file._FILE.stat().st_size < 4096


# Media.


def test_a_discrete_item_of_two_axes_is_an_image(npz, tmp_path):
  made = _make(npz, **SPLITS, shape=(2, 3))
  media = json.loads(json.dumps(made.media))
  x_LC = made.splits["valid"].get(np.array([4]))[0][0]
  (path,) = image.save(media, x_LC, tmp_path, "item")
  assert path == tmp_path / "item.png"
  wanted = BITS[24].reshape(2, 3)
  picture = matplotlib.image.imread(path)
  np.testing.assert_array_equal(picture, wanted)  # 1 is white
  np.save(tmp_path / "rgb.npy", np.arange(96).reshape(4, 4, 2, 3))
  made = _make(tmp_path / "rgb.npy", num_values=256, split="0.5/0.5")
  assert made.media == image.make_media("rgb.npy", (4, 2, 3))
  assert made.spec.shape == (4, 2, 3)
  red, green, blue = image.decode(made.media, np.arange(24))[3, 1]
  assert (red, green, blue) == (21, 22, 23)


@pytest.mark.parametrize(
  ("shape", "V", "delta"),
  [
    ((6,), 2, None),
    ((3, 2, 1), 2, None),
    ((1, 2, 3, 1), 2, None),
    ((2, 3), 257, None),
    ((2, 3), None, 1.0),
  ],
)
def test_other_items_are_arrays(npz, shape, V, delta):
  made = _make(npz, **SPLITS, shape=shape, num_values=V, delta=delta)
  wanted = dict(source="arrays.npz", shape=list(shape), num_values=V)
  assert made.media == dict(kind="array", **wanted)


def test_real_values_are_saved_as_an_array_and_as_a_picture(tmp_path):
  media = dict(kind="array", shape=[2, 3], num_values=None)
  x_LC = np.array([[-2], [0], [0], [0], [0], [6]], np.float32)
  paths = array.save(media, x_LC, tmp_path, "item")
  assert paths == [tmp_path / "item.npy", tmp_path / "item.png"]
  found = np.load(paths[0], allow_pickle=False)
  np.testing.assert_array_equal(found, x_LC.reshape(2, 3))
  shown = matplotlib.image.imread(paths[1])[..., 0]
  assert (shown[0, 0], shown[1, 2]) == (0, 1)
  np.testing.assert_allclose(shown[0, 1:], 0.25, atol=0.01)


def test_a_vector_is_saved_as_an_array_alone(tmp_path):
  media = dict(kind="array", shape=[4], num_values=None)
  x_LC = np.array([[0.5], [1], [2], [0]], np.float32)
  (path,) = array.save(media, x_LC, tmp_path, "item")
  found = np.load(path, allow_pickle=False)
  assert found.dtype == np.float32
  assert found.tolist() == [0.5, 1, 2, 0]


def test_an_item_is_decoded_in_its_shape():
  x_L = np.arange(6)
  assert array.decode({}, x_L[:, None]).shape == (6,)
  two = array.decode(dict(shape=[2, 3]), np.stack([x_L, -x_L], 1))
  assert two.shape == (2, 3, 2)
  assert two[1, 2].tolist() == [5, -5]
  real = dict(shape=[2, 3], num_values=None)
  assert array.decode(real, x_L / 2).tolist() == [[0, 0.5, 1], [1.5, 2, 2.5]]
