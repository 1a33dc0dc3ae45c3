"""MNIST and CIFAR-10: their raw files into TFDS data sets, prepared on disk.

What `datasets/tfds.py` reads. Nothing is downloaded, and nothing is run that a
file holds. Images are stored in the order of the raw files, so that
train[:50000] and train[50000:] are the usual cut of MNIST.
"""

import gzip
import hashlib
import pathlib
import struct
import tarfile
import zlib

import numpy as np

from ar_jax import errors, prepare

_VERSION = "1.0.0"
_CLASSES = 10

# LeCun, Cortes and Burges 1998: magic number, big-endian sizes, then bytes.
_MNIST = dict(
  train=("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
  test=("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
_MAGIC = {1: 0x801, 3: 0x803}  # unsigned bytes, of so many axes
_MNIST_SHAPE = (28, 28, 1)

# Krizhevsky 2009, the binary version: a label, then 1,024 red, green, blue.
_CIFAR10 = dict(
  train=[f"data_batch_{k}.bin" for k in range(1, 6)], test=["test_batch.bin"]
)
_CIFAR10_FOLDER = "cifar-10-batches-bin"
_CIFAR10_SHAPE = (32, 32, 3)
_CIFAR10_NAMES = [
  *("airplane", "automobile", "bird", "cat", "deer"),
  *("dog", "frog", "horse", "ship", "truck"),
]
_PICKLES = {"data_batch_1", "test_batch", "batches.meta"}
_PICKLED = "cifar-10-batches-py"
_TAKES = (
  "take the binary version of CIFAR-10, cifar-10-binary.tar.gz or its unpacked"
  " folder"
)


def mnist(path, data_dir):
  """Prepares MNIST, version 1.0.0: uint8 `image` [28, 28, 1] and `label`.

  Args:
    path: folder of the four files, gzipped or not, as
      train-images-idx3-ubyte.gz. All sizes are those that the files state.
    data_dir: folder that gets the data set as mnist/1.0.0/.
  Returns:
    The message: what was prepared, or that it was prepared before.
  Raises:
    DataError: a file that is missing, cut or something else. StorageError: a
      folder that cannot be written.
  """
  return _prepare("mnist", _read_mnist, path, data_dir)


def cifar10(path, data_dir):
  """Prepares CIFAR-10, version 1.0.0: uint8 `image` [32, 32, 3] and `label`.

  Args:
    path: the binary version, cifar-10-binary.tar.gz, which is read as it is,
      or its unpacked folder. The python version is pickles, and is refused.
    data_dir: folder that gets the data set as cifar10/1.0.0/.
  Returns, Raises: as `mnist`.
  """
  return _prepare("cifar10", _read_cifar10, path, data_dir)


def _prepare(name, read, path, data_dir):
  made = prepare.before(name, _VERSION, data_dir)
  if made:
    return made
  splits, shape, classes, hashes = read(pathlib.Path(path).expanduser())

  def describe(tfds):
    features = dict(
      # Unless as bytes, each is a number of its own: six times the minutes.
      image=tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
      label=tfds.features.ClassLabel(names=classes),
    )
    return dict(
      features=tfds.features.FeaturesDict(features),
      description=f"{name} in the order of its raw files.",
      metadata=tfds.core.MetadataDict(sha256=hashes),
    )

  examples = {
    split: (dict(image=x, label=y) for x, y in zip(x_N, y_N, strict=True))
    for split, (x_N, y_N) in splits.items()
  }
  return prepare.write(examples, name, _VERSION, data_dir, describe, "images")


# --- MNIST ---


def _read_mnist(folder):
  """({split: (x_N, y_N)}, shape, names, {raw file: sha256})."""
  splits, hashes = {}, {}
  for split, names in _MNIST.items():
    found = [_read_file(_mnist_file(folder, name)) for name in names]
    hashes |= {
      n: _sha256(raw) for n, (_, raw) in zip(names, found, strict=True)
    }
    (images, image_raw), (labels, label_raw) = found
    x_N = _idx(images, image_raw, 3)
    if x_N.shape[1:] != _MNIST_SHAPE[:2]:
      raise errors.DataError(
        f"{images} has images of {_by(x_N.shape[1:])}, expected"
        f" {_by(_MNIST_SHAPE[:2])}"
      )
    y_N = _idx(labels, label_raw, 1)
    if len(x_N) != len(y_N) or not len(x_N):
      raise errors.DataError(
        f"{labels} has {len(y_N):,} labels, expected {len(x_N):,}, one for each"
        f" image of {images}, and one at the least"
      )
    _check_labels(labels, y_N)
    splits[split] = x_N.reshape(-1, *_MNIST_SHAPE), y_N
  return splits, _MNIST_SHAPE, [str(k) for k in range(_CLASSES)], hashes


def _mnist_file(folder, name):
  """The file of a name in the spellings there are."""
  if not folder.is_dir():
    raise errors.DataError(
      f"IN: no folder {folder.absolute()}; there should be the four files of"
      " MNIST, as train-images-idx3-ubyte.gz"
    )
  dotted = name.replace("-idx", ".idx")
  spellings = (name, f"{name}.gz", dotted, f"{dotted}.gz")
  for file in (folder / spelling for spelling in spellings):
    if file.is_file():
      return file
  raise errors.DataError(
    f"IN: neither {name} nor {name}.gz in {folder.absolute()}, which should"
    " hold the four files of MNIST"
  )


def _read_file(file):
  """(file, its bytes, unzipped if they are gzipped)."""
  try:
    raw = file.read_bytes()
    if raw[:2] == b"\x1f\x8b":
      raw = gzip.decompress(raw)
  except (OSError, EOFError, zlib.error) as e:
    raise errors.DataError(f"{file} cannot be read: {e}") from e
  return file, raw


def _idx(file, raw, axes):
  """The array of an idx file of unsigned bytes."""
  start = 4 + 4 * axes
  magic, *shape = struct.unpack(
    f">{1 + axes}I", raw[:start].ljust(start, b"\0")
  )
  if magic != _MAGIC[axes]:
    raise errors.DataError(
      f"{file} begins with 0x{magic:08x}, expected 0x{_MAGIC[axes]:08x}, an"
      f" idx file of unsigned bytes of {axes} axes"
    )
  size = start + int(np.prod(shape, dtype=object))
  if len(raw) != size:
    raise errors.DataError(
      f"{file} holds {len(raw):,} bytes, expected {size:,} of {_by(shape)}"
      " values: it is cut or damaged"
    )
  return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


# --- CIFAR-10 ---


def _read_cifar10(path):
  """({split: (x_N, y_N)}, shape, names, {raw file: sha256})."""
  wanted = [name for names in _CIFAR10.values() for name in names]
  raws = _raw_files(path, wanted)
  size = 1 + int(np.prod(_CIFAR10_SHAPE))
  first = len(raws[wanted[0]])
  for name, raw in raws.items():
    where = f"{path}, {name}"
    if len(raw) % size or not raw:
      raise errors.DataError(
        f"{where} holds {len(raw):,} bytes, expected a multiple of {size:,}, a"
        " label and an image: it is cut, or no CIFAR-10 in the binary version"
      )
    if len(raw) != first:
      raise errors.DataError(
        f"{where} holds {len(raw) // size:,} images, expected"
        f" {first // size:,} as in {wanted[0]}: one of them is cut"
      )
    _check_labels(where, np.frombuffer(raw, np.uint8)[::size])
  splits = {}
  for split, names in _CIFAR10.items():
    rows = np.concatenate([np.frombuffer(raws[n], np.uint8) for n in names])
    rows = rows.reshape(-1, size)
    planes_N = rows[:, 1:].reshape(-1, 3, *_CIFAR10_SHAPE[:2])
    splits[split] = planes_N.transpose(0, 2, 3, 1), rows[:, 0]
  hashes = {name: _sha256(raw) for name, raw in raws.items()}
  return splits, _CIFAR10_SHAPE, _CIFAR10_NAMES, hashes


def _raw_files(path, wanted):
  """{name: bytes} of an archive or a folder, in the order of `wanted`."""
  if path.is_dir():
    found, names = _read_folder(path, wanted)
  elif path.is_file():
    found, names = _read_tar(path, wanted)
  else:
    raise errors.DataError(f"IN: no file or folder {path.absolute()}; {_TAKES}")
  missing = [name for name in wanted if name not in found]
  if missing and names & _PICKLES:
    raise errors.DataError(
      f"{path} is the python version of CIFAR-10, pickles, which can run code"
      f" when they are read; {_TAKES}"
    )
  if missing:
    raise errors.DataError(f"{path} holds no {', '.join(missing)}; {_TAKES}")
  return {name: found[name] for name in wanted}


def _read_folder(folder, wanted):
  """({name: bytes}, the names of all files)."""
  inside = [folder, folder / _CIFAR10_FOLDER, folder / _PICKLED]
  files = [f for part in inside if part.is_dir() for f in part.iterdir()]
  found = {f.name: _read_file(f)[1] for f in files if f.name in wanted}
  return found, {f.name for f in files}


def _read_tar(file, wanted):
  """({name: bytes}, the names of all files) of an archive, or of a pickle."""
  found, names = {}, set()
  try:
    with file.open("rb") as opened:
      if opened.read(1) == b"\x80":
        return found, _PICKLES
    with tarfile.open(file, "r:*") as archive:
      for member in archive:
        name = pathlib.PurePosixPath(member.name).name
        names.add(name)
        if name in wanted and member.isfile():
          found[name] = archive.extractfile(member).read()
  except (OSError, EOFError, zlib.error, tarfile.TarError) as e:
    why = str(e).split("\n")[0].rstrip(":")
    raise errors.DataError(
      f"{file} cannot be read as a .tar.gz: {why}; {_TAKES}"
    ) from e
  return found, names


# --- both ---


def _check_labels(where, y_N):
  if y_N.max() >= _CLASSES:
    n = int(np.argmax(y_N >= _CLASSES))
    raise errors.DataError(
      f"{where}: label {y_N[n]} of image {n}, expected 0..{_CLASSES - 1}: it is"
      " damaged, or another data set"
    )


def _by(shape):
  return " x ".join(map(str, shape))


def _sha256(raw):
  """Of the bytes as they are unzipped: the same for all mirrors."""
  return hashlib.sha256(raw).hexdigest()
