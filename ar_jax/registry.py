"""Plugins by name: a plugin is one file in one folder, and exposes `make`.

The name is compared with the folder's listing before anything is imported, so
no text from a config or a file ever becomes an import of something else.
"""

import difflib
import importlib
import inspect
import pathlib

from ar_jax import errors

_ROOT = pathlib.Path(__file__).parent


def names(kind):
  """Names of the plugins in folder `kind`, sorted."""
  files = (_ROOT / kind).glob("*.py")
  return sorted(f.stem for f in files if not f.stem.startswith("_"))


def nearest(name, known):
  """' (nearest: a, b)' for an error message, or '' where nothing is near."""
  close = difflib.get_close_matches(str(name), list(known), n=2, cutoff=0.5)
  return f"; nearest: {', '.join(close)}" if close else ""


def load(kind, name):
  """The module of plugin `name` of folder `kind`; UsageError if none."""
  known = names(kind)
  if name not in known:
    raise errors.UsageError(
      f"{kind}: no plugin named {name!r}{nearest(name, known)};"
      f" there are: {', '.join(known)}"
    )
  return importlib.import_module(f"ar_jax.{kind}.{name}")


def build(kind, section, *context):
  """Calls `make(*context, **section without its name)` of the named plugin.

  Args:
    kind: the folder, as "models".
    section: dict with the plugin's `name` and its keyword arguments.
    *context: what the folder's plugins are given besides, in order.
  Raises:
    UsageError: no such plugin, or a key that its `make` does not take.
  """
  arguments = dict(section)
  name = arguments.pop("name")
  return call(load(kind, name).make, f"{kind}.{name}", arguments, *context)


def call(make, label, arguments, *context):
  """make(*context, **arguments); UsageError for keywords it does not take.

  Args:
    make: function.
    label: what the user knows it by, as "models.gpt".
    arguments: dict of its keyword-only arguments.
    *context: its positional arguments.
  """
  parameters = inspect.signature(make).parameters.values()
  known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
  for key in arguments:
    if key not in known:
      raise errors.UsageError(
        f"{label} takes no {key!r}{nearest(key, known)};"
        f" it takes: {', '.join(known) or 'nothing'}"
      )
  for p in parameters:
    needed = p.kind is p.KEYWORD_ONLY and p.default is p.empty
    if needed and p.name not in arguments:
      raise errors.UsageError(f"{label} needs {p.name!r}, got none")
  return make(*context, **arguments)
