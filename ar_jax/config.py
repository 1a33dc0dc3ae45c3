"""Configs: a Python file of the user, overrides, and back from JSON.

The file named on the command line is the user's own program and is run; what
a run directory holds is JSON, and is only read.
"""

import ast
import importlib.util
import json
import pathlib
import sys

from ml_collections import config_dict

from ar_jax import errors, registry


def load(path, overrides=()):
  """The locked ConfigDict of "FILE.py" or "FILE.py:arguments".

  Args:
    path: as configs/text_gpt.py:tiny,ordering=reverse.
    overrides: of ("optimizer.lr", "3e-4") or ("optimizer.lr", 3e-4).
  Raises:
    UsageError: what is wrong, and the nearest name there is.
  """
  file, _, arg = str(path).partition(":")
  try:
    config = load_module(file).get_config(arg or None)
  except ValueError as e:
    raise errors.UsageError(f"{path}: {e}") from e
  config.lock()
  for key, value in overrides:
    override(config, key, value)
  return config


def load_module(path):
  """Runs a Python file of a config or a study; it may import `configs`."""
  file = pathlib.Path(path)
  if not file.is_file():
    folder = file.parent
    known = [f.name for f in folder.glob("*.py")] if folder.is_dir() else []
    raise errors.UsageError(
      f"no file {path}{registry.nearest(file.name, known)}"
    )
  for root in (str(file.absolute().parent.parent), str(pathlib.Path.cwd())):
    if root not in sys.path:
      sys.path.append(root)
  name = f"{file.absolute().parent.name}.{file.stem}"
  spec = importlib.util.spec_from_file_location(name, file)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def override(config, key, value):
  """Sets the leaf `key` ("optimizer.lr") to a value or its text, in place."""
  *sections, leaf = key.split(".")
  node = config
  for depth, name in enumerate([*sections, leaf]):
    if not isinstance(node, config_dict.ConfigDict) or name not in node:
      known = _leaves(config)
      raise errors.UsageError(
        f"config has no key {key!r}{registry.nearest(key, known)}"
      )
    if depth < len(sections):
      node = node[name]
  if isinstance(node[leaf], config_dict.ConfigDict):
    raise errors.UsageError(
      f"config.{key} is a section; set one of:"
      f" {', '.join(f'{key}.{k}' for k in node[leaf])}"
    )
  node[leaf] = _typed(key, value, node.get_type(leaf))


def plain(config):
  """Nested plain dicts and tuples of a ConfigDict."""
  return _tuples(config.to_dict())


def flat(values):
  """{"optimizer.lr": 1e-3, ...} of nested dicts; tuples become lists."""
  return dict(_flat(json.loads(json.dumps(values)), ""))


def _flat(values, prefix):
  for key, value in values.items():
    if isinstance(value, dict):
      yield from _flat(value, f"{prefix}{key}.")
    else:
      yield prefix + key, value


def restore(values):
  """The locked ConfigDict of what `plain` gave, also after JSON."""
  config = config_dict.ConfigDict(_tuples(values))
  for key in _leaves(config):
    *sections, leaf = key.split(".")
    node = config
    for name in sections:
      node = node[name]
    if node[leaf] is None:
      node[leaf] = config_dict.placeholder(object)
  return config.lock()


def _tuples(values):
  if isinstance(values, dict):
    return {k: _tuples(v) for k, v in values.items()}
  if isinstance(values, list | tuple):
    return tuple(_tuples(v) for v in values)
  return values


def _leaves(config, prefix=""):
  names = []
  for key, value in config.items():
    if isinstance(value, config_dict.ConfigDict):
      names += _leaves(value, f"{prefix}{key}.")
    else:
      names.append(prefix + key)
  return names


def _typed(key, value, wanted):
  """The value, or its text read as the wanted type; UsageError if neither."""
  if isinstance(value, str) and wanted is not str:
    value = _read(value)
  if isinstance(value, str) and wanted is tuple:
    value = tuple(filter(None, map(str.strip, value.split(","))))
  if wanted is float and type(value) is int:
    value = float(value)
  if isinstance(value, list):
    value = tuple(value)
  if value is None or wanted is object or type(value) is wanted:
    return value
  raise errors.UsageError(
    f"config.{key} takes {wanted.__name__}, got {value!r}"
  )


def _read(text):
  """A Python literal or a JSON word; else the text itself."""
  words = dict(true=True, false=False, none=None)
  if text.lower() in words:
    return words[text.lower()]
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
