"""An order, or several, from a file or from the config itself."""

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
  return ordering.fixed(_read(shape, path, order))


def keep(section, shape):
  """The section of a run's config, which needs no file."""
  made = make(shape, path=section["path"], order=section["order"])
  return dict(section, order=tuple(made.orders_KL[0].tolist()))


def _read(shape, path, order):
  if order is not None:
    where, found = "order", np.asarray(order)
  elif path:
    where = str(path)
    try:
      found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
      raise errors.DataError(f"{path} cannot be read as .npy: {e}") from e
  else:
    raise ValueError("give the file of the order: path, or order=(...)")
  length = int(np.prod(shape))
  integers = found.dtype.kind in "iu" and found.shape == (length,)
  if not integers or (np.sort(found) != np.arange(length)).any():
    raise errors.DataError(
      f"{where}: an order of {length} sites has each of 0..{length - 1} once,"
      f" as int [{length}]; this is {found.dtype} of shape {found.shape}"
    )
  return found
