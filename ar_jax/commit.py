"""A folder that is whole, or is not there.

Files are written under another name; a manifest of their sizes and SHA-256
follows, and when all of it is on the disk the folder gets its name. So a folder
of that name was whole when it was committed, whatever stopped the process; and
a file that has changed since is found by reading it again.
"""

import hashlib
import json
import os
import shutil
import time

MANIFEST = "MANIFEST.json"
_PART = f".{MANIFEST}.part"
_LEFT = (".part", ".gone")  # of folders that are being written, or removed
_FORMAT = 1


class Damaged(Exception):
  """What a committed folder holds is not what was committed; says which."""


def part(folder):
  """Where the files of a folder are written before it is committed."""
  return folder.with_name(folder.name + _LEFT[0])


def commit(folder, about):
  """Commits what lies in `part(folder)`: durable, and whole or not at all.

  Args:
    folder: pathlib.Path of the committed folder.
    about: JSON data that goes into the manifest.
  Raises:
    OSError: the disk does not take it.
  """
  there = part(folder)
  files = {}
  for path in _files(there):
    _sync(path)
    files[path.relative_to(there).as_posix()] = _entry(path)
  for path in there.rglob("*"):
    if path.is_dir():
      _sync(path)
  _put(there, about, files)
  os.replace(there, folder)
  _sync(folder.parent)


def amend(folder, about):
  """Replaces what the manifest says beside the files; whole or not at all."""
  _put(folder, about, _manifest(folder)["files"])


def is_committed(folder):
  """Whether the folder was committed; nothing is read."""
  return (folder / MANIFEST).is_file()


def about(folder):
  """What was said at the commit; Damaged if the manifest has changed."""
  return _manifest(folder)["about"]


def committed_at(folder):
  """Seconds since 1970 of the commit."""
  return _manifest(folder)["time"]


def size(folder):
  """Bytes of the committed files."""
  return sum(f["bytes"] for f in _manifest(folder)["files"].values())


def verify(folder):
  """Reads every file again; Damaged names the first that has changed."""
  manifest = _manifest(folder)
  there = {p.relative_to(folder).as_posix(): p for p in _files(folder)}
  for name, wanted in manifest["files"].items():
    if name not in there:
      raise Damaged(f"{folder / name} is missing")
    try:
      found = _entry(there[name])
    except OSError as e:
      raise Damaged(f"{folder / name} cannot be read: {e.strerror}") from e
    for key in ("bytes", "sha256"):
      if found[key] != wanted[key]:
        raise Damaged(
          f"{folder / name} has {key} {found[key]}, was committed with"
          f" {wanted[key]}"
        )
  for name in there.keys() - manifest["files"].keys():
    raise Damaged(f"{folder / name} was not committed")


def remove(folder):
  """Removes a folder, whole or not at all; see `tidy` for what is left."""
  gone = folder.with_name(folder.name + _LEFT[1])
  os.replace(folder, gone)
  shutil.rmtree(gone)


def tidy(parent):
  """Removes what a stopped process has left half written or half removed."""
  for path in parent.iterdir() if parent.is_dir() else ():
    if path.suffix in _LEFT:
      shutil.rmtree(path)


def _put(folder, about, files):
  values = dict(format=_FORMAT, time=time.time(), about=about, files=files)
  new = folder / _PART
  with new.open("w", encoding="utf-8") as f:
    f.write(_dump(dict(values, sha256=_digest(values))))
    f.flush()
    os.fsync(f.fileno())
  os.replace(new, folder / MANIFEST)
  _sync(folder)


def _manifest(folder):
  file = folder / MANIFEST
  try:
    text = file.read_text(encoding="utf-8")
    values = json.loads(text)
    rest = dict(values)
    sha256 = rest.pop("sha256")
    # The text itself, so that no changed byte can mean the same.
    sound = sha256 == _digest(rest) and text == _dump(values)
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
    raise Damaged(f"{file} cannot be read: {e}") from e
  if not sound:
    raise Damaged(f"{file} is not what was written")
  if values["format"] != _FORMAT:
    raise Damaged(f"{file} is of format {values['format']}, this is {_FORMAT}")
  return values


def _dump(values):
  return json.dumps(values, indent=1) + "\n"


def _digest(values):
  return hashlib.sha256(_dump(values).encode()).hexdigest()


def _files(folder):
  """Paths of what a manifest covers, in one order."""
  own = {folder / MANIFEST, folder / _PART}
  return sorted(p for p in folder.rglob("*") if not p.is_dir() and p not in own)


def _entry(path):
  with path.open("rb") as f:
    found = hashlib.file_digest(f, "sha256")
    return dict(bytes=f.tell(), sha256=found.hexdigest())


def _sync(path):
  """Waits until a file, or the names in a folder, are on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
