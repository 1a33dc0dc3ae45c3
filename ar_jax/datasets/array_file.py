"""Vectors and pictures from a file of arrays: .npy, .npz, or MATLAB's .mat.

A file is what its first bytes say, whatever its name: the binarized MNIST of
Salakhutdinov and Murray goes as .amat and is a MATLAB file. Nothing that a
file holds is run: pickles and arrays of Python objects are refused.
"""

import pathlib
import warnings

import numpy as np

from ar_jax import corpus, errors, registry
from ar_jax.media import image
from ar_jax.types import Condition, Dataset, DataSpec, Split

_FILE = pathlib.Path(__file__).parent / "tiny_arrays" / "tiny.npz"
TINY = [
  dict(
    path=str(_FILE),
    key="bits",
    label_key="label",
    shape=(2, 3),
    num_values=2,
    split="0.5/0.3/0.2",
  ),
  dict(path=str(_FILE), key="real", valid_key="real_valid", delta=0.25),
]

_FORMATS = {
  b"\x93NUMPY": "npy",
  b"PK\x03\x04": "npz",
  b"MATLAB 5.0 MAT-file": "mat",
  b"MATLAB 7.3 MAT-file": "mat73",
  b"\x80": "pickle",
}
_ALONE = "array"  # the key in a .npy file
_EXACT = 2**24  # integers to which float32 holds a grid


def make(
  *,
  path,
  key="",
  valid_path="",
  valid_key="",
  test_path="",
  test_key="",
  label_key="",
  valid_label_key="",
  test_label_key="",
  shape=(),
  num_values=None,
  delta=None,
  split="0.8/0.1/0.1",
  seed=0,
):
  """The rows of arrays: integers below num_values, or real on a grid.

  The splits are arrays of their own where valid_path or valid_key names one;
  else the rows of one array are shuffled by the seed and cut by `split`.

  Args:
    path: of the file.
    key: array in the file; "": the only one there.
    valid_path, valid_key, test_path, test_key: likewise; what is left out is
      that of the training split.
    label_key, valid_label_key, test_label_key: arrays of integers, one for
      each row, which become the condition "label"; "": none. Beside a
      valid_path, label_key stands for valid_label_key too.
    shape: of an item, such as (28, 28) of 784; (): that of a row. Of up to
      256 values, two axes are an image, and a third of 3 its RGB.
    num_values: V, of discrete values 0..V-1.
    delta: resolution of real values, which are rounded to multiples of it.
    split: fractions of the rows, train/valid or train/valid/test.
    seed: of the shuffle before the split.
  Raises:
    UsageError: a key that is not there, or arguments that contradict.
    DataError: a file that cannot be read, or values out of range.
  """
  if (num_values is None) == (delta is None):
    raise errors.UsageError(
      "array_file takes either config.data.num_values, of integers, or"
      f" config.data.delta, of real values; got {num_values} and {delta}"
    )
  if delta is not None and not delta > 0:
    raise errors.UsageError(f"config.data.delta {delta} must be above 0")
  named = dict(
    train=(path, key, label_key),
    valid=(valid_path, valid_key, valid_label_key),
    test=(test_path, test_key, test_label_key),
  )
  places = _places(named)
  parts = {
    name: _read_part(*place, num_values, delta)
    for name, place in places.items()
  }
  if len(parts) == 1:
    parts = _cut(*parts["train"], split, seed)
  row = {x_N.shape[1:] for x_N, _ in parts.values()}
  shape = _shape(path, row, tuple(shape))
  conditions = {}
  if label_key:
    largest = max(int(label_N.max()) for _, label_N in parts.values())
    conditions = dict(label=Condition("label", largest + 1))
  spec = DataSpec(shape, 1, num_values, delta, conditions)
  splits = {n: _split(spec, *part) for n, part in parts.items()}
  return Dataset(spec, splits, _media(pathlib.Path(path).name, spec))


def _places(named):
  """{split: (file, key, label_key)} of the arrays to read.

  Raises:
    UsageError: two splits are the same array, or one lacks its labels.
  """
  path, key, label_key = named["train"]
  found = {"train": (_file(path, "path"), key, label_key)}
  for name in ("valid", "test"):
    other_path, other_key, other_label = named[name]
    if not (other_path or other_key):
      if other_label:
        raise errors.UsageError(
          f"config.data.{name}_label_key {other_label!r} needs"
          f" config.data.{name}_key or config.data.{name}_path"
        )
      continue
    if other_path:
      other_label = other_label or label_key
    file = _file(other_path or path, f"{name}_path")
    if bool(other_label) != bool(label_key):
      raise errors.UsageError(
        f"labels of one split only: give config.data.label_key and"
        f" config.data.{name}_label_key, or neither"
      )
    found[name] = file, other_key or key, other_label
  if "test" in found and "valid" not in found:
    raise errors.UsageError(
      "there is an array for test and none for valid: give"
      " config.data.valid_key or config.data.valid_path"
    )
  arrays = [(file.resolve(), k) for file, k, _ in found.values()]
  if len(set(arrays)) < len(arrays):
    raise errors.UsageError(
      f"two of the splits {', '.join(found)} are the same array; give each a"
      " path or a key of its own"
    )
  return found


def _file(path, key):
  if not path:
    raise errors.UsageError(f"give the file of arrays as --config.data.{key}=")
  files = corpus.expand(path, f"config.data.{key}")
  if len(files) > 1:
    raise errors.UsageError(
      f"config.data.{key} {path!r} names {len(files)} files; give one"
    )
  return files[0]


def _read_part(file, key, label_key, num_values, delta):
  """(x_N [N, ...] in the dtype to keep, label_N int32 or None)."""
  arrays = _read(file, [k for k in (key, label_key) if k] if key else None)
  if label_key:
    _require(file, [label_key], arrays)
  if not key:
    rest = [k for k, a in arrays.items() if k != label_key and a.ndim]
    if len(rest) != 1:
      raise errors.UsageError(
        f"config.data.key: {file} holds {_describe(arrays)}; give one of them"
      )
    (key,) = rest
  where = f"{file}, {key}"
  x_N = _numbers(arrays[key], where)
  if not x_N.ndim or not x_N.size:
    raise errors.DataError(f"{where} has no rows")
  if delta is None:
    x_N = _whole(x_N, num_values, where)
  else:
    x_N = _on_grid(x_N, delta, where)
  if not label_key:
    return x_N, None
  where = f"{file}, {label_key}"
  label_N = _numbers(arrays[label_key], where)
  if label_N.size != len(x_N):
    raise errors.DataError(
      f"{where}: {label_N.size:,} labels of {len(x_N):,} rows"
    )
  # MATLAB knows no array of one axis.
  return x_N, _whole(label_N.reshape(-1), 2**31, where).astype(np.int32)


def _numbers(array, where):
  if array.dtype.kind not in "biuf":
    raise errors.DataError(
      f"{where} holds no integers or real numbers, but {array.dtype}"
    )
  return array


def _whole(x, num_values, where):
  """x as small integers; DataError unless all are of 0..num_values-1."""
  wrong = ~((x >= 0) & (x < num_values))
  if x.dtype.kind == "f":
    wrong |= x != np.floor(x)
  _refuse(x, wrong, where, f"no integer of 0..{num_values - 1}")
  return x.astype(np.uint8 if num_values <= 256 else np.int32)


def _on_grid(x, delta, where):
  """x as float32 multiples of delta; halves go to the even one."""
  steps = np.rint(x.astype(np.float64) / delta)
  wrong = ~(np.abs(steps) < _EXACT)
  _refuse(x, wrong, where, f"not within 2**24 steps of {delta}")
  return (steps * delta).astype(np.float32)


def _refuse(x, wrong, where, why):
  if wrong.any():
    row, *site = (int(i) for i in np.argwhere(wrong)[0])
    place = f"row {row}" + (f", site {site}" if site else "")
    raise errors.DataError(f"{where}: {x[row, *site]} at {place} is {why}")


def _cut(x_N, label_N, split, seed):
  """Parts of one array, shuffled by the seed."""
  parts = corpus.shuffled(split, len(x_N), seed, "rows")
  return {
    name: (x_N[index], None if label_N is None else label_N[index])
    for name, index in parts.items()
  }


def _shape(path, rows, shape):
  """The shape of an item; UsageError where the rows have another size."""
  if len(rows) > 1:
    raise errors.DataError(
      f"the splits have rows of different shapes: {sorted(rows)}"
    )
  (row,) = rows
  shape = shape or row or (1,)
  if np.prod(shape) != np.prod(row):
    raise errors.UsageError(
      f"config.data.shape {shape} has {np.prod(shape)} sites, a row of {path}"
      f" of shape {row} has {int(np.prod(row))}"
    )
  return shape


def _media(source, spec):
  """That of an image, or of any other array."""
  shape, V = spec.shape, spec.num_values
  few = V is not None and 2 <= V <= 256
  if few and (len(shape) == 2 or len(shape) == 3 and shape[2] == 3):
    return image.make_media(source, shape, num_values=V)
  return dict(kind="array", source=source, shape=list(shape), num_values=V)


def _split(spec, x_N, label_N):
  x_NL = x_N.reshape(len(x_N), spec.length)
  real = spec.num_values is None

  def get(index_B):
    x_BL = x_NL[index_B].astype(np.float32 if real else np.int32)
    y = {} if label_N is None else dict(label=label_N[index_B])
    return x_BL[..., None], np.ones(x_BL.shape, np.float32), y

  raw = None if real else x_NL.tobytes()
  return Split(len(x_NL), get, units=image.units(*x_NL.shape), raw=raw)


# --- files ---


def _read(file, keys):
  """{key: array} of those named, or of all."""
  with file.open("rb") as opened:
    head = opened.read(32)
  kinds = (kind for magic, kind in _FORMATS.items() if head.startswith(magic))
  kind = next(kinds, None)
  try:
    if kind in ("npy", "npz"):
      return _read_numpy(file, keys)
    if kind == "mat":
      return _read_matlab(file, keys)
  except (errors.Error, MemoryError):
    raise
  except Exception as e:  # of damaged files: zipfile's, zlib's, scipy's
    raise errors.DataError(
      f"{file} cannot be read: {type(e).__name__}: {e}"
    ) from e
  if kind == "pickle":
    raise errors.DataError(
      f"{file} is a pickle, which can run code when it is read; save its arrays"
      " with numpy.savez"
    )
  if kind == "mat73":
    raise errors.DataError(
      f"{file} is MATLAB 7.3, an HDF5 file; save it with -v7, or its arrays"
      " with numpy.savez"
    )
  raise errors.DataError(f"{file} is none of .npy, .npz and MATLAB 5.0 (.mat)")


def _read_numpy(file, keys):
  with file.open("rb") as opened, warnings.catch_warnings():
    # "... additional header parsing as it was created on Python 2"
    warnings.filterwarnings("ignore", category=UserWarning)
    found = _numpy(lambda: np.load(opened, allow_pickle=False), file)
    if isinstance(found, np.ndarray):
      found = {_ALONE: found}
    wanted = _require(file, keys, found)
    return {k: _numpy(lambda: found[k], f"{file}, {k}") for k in wanted}


def _numpy(read, where):
  """read(); DataError by name for what NumPy would have to unpickle."""
  try:
    return read()
  except ValueError as e:
    if "allow_pickle" not in str(e):
      raise
    raise errors.DataError(
      f"{where} is a pickle of Python objects, which can run code when it is"
      " read; save it as numbers"
    ) from e


def _read_matlab(file, keys):
  import scipy.io

  known = [name for name, *_ in scipy.io.whosmat(file)]
  wanted = _require(file, keys, known)
  found = scipy.io.loadmat(file, variable_names=wanted)
  return {k: np.asarray(found[k]) for k in wanted}


def _require(file, keys, known):
  """The keys to read; UsageError for one that is not there."""
  for key in keys or ():
    if key not in known:
      raise errors.UsageError(
        f"{file} has no array {key!r}{registry.nearest(key, known)};"
        f" there are: {', '.join(sorted(known)) or '-'}"
      )
  return list(keys or known)


def _describe(arrays):
  """Keys and shapes, for messages."""
  shapes = {k: "x".join(map(str, a.shape)) for k, a in sorted(arrays.items())}
  return ", ".join(f"{k} ({s})" for k, s in shapes.items()) or "nothing"
