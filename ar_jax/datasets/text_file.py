"""One UTF-8 text file, as characters or bytes."""

import pathlib

from ar_jax import errors, registry, text

TINY = [dict(path=__file__, length=16, stride=8)]


def make(
  *, path, length=256, stride=128, level="char", train=0.9, protocol="strided"
):
  """The text of the file at `path`; see text.py for the other arguments.

  Raises:
    DataError: no such file, one that is not UTF-8, or one too short.
  """
  return text.dataset(
    _read(path),
    level=level,
    length=length,
    stride=stride,
    train=train,
    protocol=protocol,
    name=pathlib.Path(path).name,
  )


def _read(path):
  if not path:
    raise errors.UsageError("give the text file as --config.data.path=FILE")
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    folder = file.parent
    siblings = [f.name for f in folder.iterdir()] if folder.is_dir() else []
    raise errors.DataError(
      f"config.data.path: no file {file.absolute()}"
      f"{registry.nearest(file.name, siblings)}"
    )
  raw = file.read_bytes()
  try:
    return raw.decode()
  except UnicodeDecodeError as e:
    raise errors.DataError(
      f"{file} is not UTF-8: byte 0x{raw[e.start]:02x} at offset {e.start};"
      " convert the file, as iconv does"
    ) from e
