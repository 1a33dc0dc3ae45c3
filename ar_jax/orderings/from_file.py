"""An order, or several, from a file or from the config itself."""

import zipfile

import numpy as np

from ar_jax import errors, ordering

TINY = [
  dict(shape=(3,), order=(2, 0, 1)),
  dict(shape=(2, 2), order=(3, 1, 0, 2)),
]


def make(shape, *, path=None, order=None):
  """The order of an .npy, int [L]: site at each step.

  A run keeps the order itself and no longer needs the file.

  Args:
    shape: sites.
    path: of the file.
    order: the sites, as a tuple; None: from the file.
  Raises:
    DataError: no such file, or no order of these sites.
    ValueError: neither of the two.
  """
  length = int(np.prod(shape))
  order_L = _read(path, order)
  if len(order_L) != length:
    raise errors.DataError(
      f"{path or 'order'}: an order of {len(order_L)} sites, but items have"
      f" {length}"
    )
  return ordering.fixed(order_L)


def keep(section):
  """The section of a run's config, which needs no file."""
  order_L = _read(section.get("path"), section.get("order"))
  return dict(section, order=tuple(order_L.tolist()))


def _read(path, order):
  if order is not None:
    where, found = "order", np.asarray(order)
  elif path:
    where = str(path)
    try:
      # Opened here, for np.load does not close a file that is damaged.
      with open(path, "rb") as file:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
      raise errors.DataError(f"{path} cannot be read as .npy: {e}") from e
    if not isinstance(found, np.ndarray):
      raise errors.DataError(f"{path} is an .npz; an order is one array, .npy")
  else:
    raise ValueError("give the file of the order: path, or order=(...)")
  integers = found.dtype.kind in "iu" and found.ndim == 1 and found.size
  if not integers or (np.sort(found) != np.arange(found.size)).any():
    raise errors.DataError(
      f"{where}: an order is int [L] and has each of 0..L - 1 once; this is"
      f" {found.dtype} of shape {list(found.shape)}"
    )
  return found
