"""Arrays to media and back: `encode`, `decode`, `save`, by media["kind"].

One file, one kind of medium; text is read by ar_jax/text.py. A kind of which
several items make one picture has a `grid` as well.
"""

import pathlib

from ar_jax import errors, registry


def save(media, x_BLC, folder, name="sample"):
  """Writes each row as its medium; returns the paths of each, [[path]].

  Args:
    media: of a Dataset, of any kind but text.
    x_BLC: items.
    folder: made where it is missing.
    name: of the files, before the number of the row.
  Raises:
    StorageError: the folder cannot be written.
  """
  kind = registry.load("media", media["kind"])
  folder = pathlib.Path(folder)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    return [
      kind.save(media, x_LC, folder, f"{name}_{row}")
      for row, x_LC in enumerate(x_BLC)
    ]
  except OSError as e:
    raise errors.StorageError(f"cannot write {folder}: {e.strerror}") from e


def grid(media, x_BLC, path, columns=None, known_BL=None):
  """Writes all rows as one picture; returns whether their kind has one.

  Args:
    media, x_BLC: as of `save`.
    path: of the PNG.
    columns: items side by side; None: such that the picture is about square.
    known_BL: bool, the sites that are shown; None: all.
  """
  kind = registry.load("media", media["kind"])
  if not hasattr(kind, "grid"):
    return False
  kind.grid(media, x_BLC, path, columns, known_BL)
  return True
