"""Arrays to media and back: `encode`, `decode`, `save`, by media["kind"].

One file, one kind of medium; text is read by ar_jax/text.py.
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
