"""TFDS data sets that are prepared on disk: found, opened and read.

No TensorFlow, no network, and no class that a file names but TFDS's own.
"""

import json
import pathlib
import re

from ar_jax import errors, registry

_NAME = r"(\w+)(?:/([\w.-]+))?(?::(\d+\.\d+\.\d+))?"
_FEATURES = "tensorflow_datasets.core.features."
_SPLITS = ("train", "valid", "test")
_BLOCK = 1024  # examples that are read at once

# How `ar_jax data` prepares a name.
_ACTION = "prepare IN... --name=%s"
_ACTIONS = dict.fromkeys(("mnist", "cifar10"), "prepare-images %s IN")


def find(dataset, data_dir):
  """The folder of the newest version that fits; nothing but files is asked.

  Args:
    dataset: "my_text", "lm1b:1.1.0" or "name/config:1.0.0".
    data_dir: folder that holds it as name/version/.
  Raises:
    UsageError: no such name. DataError: it is not prepared, and how to.
  """
  match = re.fullmatch(_NAME, dataset)
  if not match:
    raise errors.UsageError(
      f"config.data.dataset {dataset!r} is no name of a TFDS data set, as"
      " my_text, lm1b:1.1.0 or name/config:1.0.0"
    )
  name, config, version = match.groups()
  root = pathlib.Path(data_dir).expanduser()
  recipe = (
    f"prepare it with `ar_jax data {_ACTIONS.get(name, _ACTION) % name}"
    f" --data_dir={data_dir}`, or put there what was prepared elsewhere with"
    " file_format='array_record'"
  )
  if not root.is_dir():
    siblings = [f.name for f in root.absolute().parent.glob("*") if f.is_dir()]
    raise errors.DataError(
      f"config.data.data_dir: no folder {root.absolute()}"
      f"{registry.nearest(root.name, siblings)}; there should be {dataset}:"
      f" {recipe}"
    )
  home = root / name
  there = _prepared(home)
  fit = {
    key: folder
    for key, folder in there.items()
    if (config is None or key[0] == config)
    and (version is None or key[1] == tuple(map(int, version.split("."))))
  }
  if not fit:
    names = [f.name for f in root.iterdir() if _prepared(f)]
    has = ", ".join(str(f.relative_to(root)) for f in there.values())
    where = home / (config or "") / (version or "VERSION")
    raise errors.DataError(
      f"TFDS data set {dataset} is not prepared: no {where.absolute()}"
      + (f"; there are: {has}" if has else registry.nearest(name, names))
      + f"; {recipe}"
    )
  configs = {config for config, _ in fit}
  if len(configs) > 1:
    raise errors.UsageError(
      f"config.data.dataset {dataset!r} has the configs"
      f" {', '.join(sorted(configs))}: say which, as {name}/{min(configs)}"
    )
  return fit[max(fit)]


def _prepared(home):
  """{(config or "", (major, minor, patch)): folder} below a name's folder."""
  found = {}
  for folder in [*home.glob("*"), *home.glob("*/*")]:
    if not (folder / "dataset_info.json").is_file():
      continue
    if re.fullmatch(r"\d+\.\d+\.\d+", folder.name):
      config = "" if folder.parent == home else folder.parent.name
      found[config, tuple(map(int, folder.name.split(".")))] = folder
  return found


def builder(folder):
  """TFDS's builder of a prepared folder.

  Raises:
    DataError: it cannot be read, or holds another format than array_record.
  """
  _check_features(folder)
  try:
    import tensorflow_datasets as tfds

    found = tfds.builder_from_directory(folder)
    formats = found.info.available_file_formats()
  except ImportError as e:
    raise errors.UsageError(
      f"to read {folder}, TFDS needs {e.name}: pip install {e.name}"
    ) from e
  except Exception as e:  # what TFDS makes of files that are not its own
    raise errors.DataError(
      f"TFDS cannot read {folder}: {type(e).__name__}: {_line(e)}"
    ) from e
  names = [f.value for f in formats]
  if "array_record" not in names:
    raise errors.DataError(
      f"{folder} is prepared as {', '.join(names)}; prepare it again with"
      " file_format='array_record', which is read without TensorFlow"
    )
  return found


def _check_features(folder):
  """TFDS imports the classes that features.json names: only its own here."""
  file = folder / "features.json"
  try:
    tree = json.loads(file.read_text(encoding="utf-8"))
  except (OSError, ValueError) as e:
    raise errors.DataError(
      f"{file} cannot be read: {_line(e)}; prepare the data set again"
    ) from e
  for name in _class_names(tree):
    if not re.fullmatch(re.escape(_FEATURES) + r"\w+\.\w+", name):
      raise errors.DataError(
        f"{file} names the class {name}, which is none of TFDS's features"
      )


def _class_names(tree):
  """The strings under pythonClassName, or under type, as TFDS once wrote."""
  if isinstance(tree, list):
    tree = dict(enumerate(tree))
  if isinstance(tree, dict):
    for key, value in tree.items():
      if key in ("pythonClassName", "type") and isinstance(value, str):
        yield value
      yield from _class_names(value)


def sources(builder, splits):
  """{"train": (data source, what it is), ...} of config.data.splits.

  Args:
    builder: of `builder`.
    splits: TFDS's train/valid or train/valid/test, slices among them.
  Raises:
    UsageError: a split that is not there or is empty. DataError: damage.
  """
  names = [part.strip() for part in str(splits).split("/")]
  if not 2 <= len(names) <= len(_SPLITS) or not all(names):
    raise errors.UsageError(
      f"config.data.splits {splits!r} is not train/valid or train/valid/test"
      " in TFDS's names, as train/validation or train[:90%]/train[90%:]"
    )
  found = {}
  for ours, theirs in zip(_SPLITS, names, strict=False):
    what = f"split {theirs} of {builder.data_path}"
    try:
      size = builder.info.splits[theirs].num_examples
    except ValueError as e:  # a name or slice that TFDS does not take
      raise errors.UsageError(
        f"config.data.splits: {_line(e, -1)}; the data set has"
        f" {_lengths(builder)}"
      ) from e
    if size < 1:
      raise errors.UsageError(
        f"config.data.splits: {theirs!r} is empty; the data set has"
        f" {_lengths(builder)}"
      )
    try:
      source = builder.as_data_source(split=theirs)
    except Exception as e:  # of the record files
      raise errors.DataError(_damaged(what, e)) from e
    found[ours] = source, what
  return found


def _lengths(builder):
  splits = builder.info.splits
  return ", ".join(f"{n} ({splits[n].num_examples})" for n in sorted(splits))


def examples(source, what, *names):
  """A tuple of the named features for each example, in stored order.

  Args:
    source, what: of `sources`.
    *names: of features.
  Raises:
    DataError: damage.
  """
  for first in range(0, len(source), _BLOCK):
    index = range(first, min(first + _BLOCK, len(source)))
    try:
      block = source.__getitems__(index)
    except ImportError as e:
      raise errors.UsageError(
        f"{what} cannot be decoded: {_line(e)}; images need pillow"
      ) from e
    except Exception as e:  # array_record's are RuntimeErrors, protobuf's not
      raise errors.DataError(_damaged(what, e)) from e
    for example in block:
      values = tuple(example[name] for name in names)
      # A file cut off after 64 KiB gives records without contents.
      if any(value is None for value in values):
        raise errors.DataError(_damaged(what, "an example without a value"))
      yield values


def _damaged(what, e):
  return (
    f"{what} is damaged or incomplete: {_line(e)}; copy or prepare it again"
  )


def _line(e, which=0):
  """One line of an error's message, the first or the last."""
  lines = str(e).strip().splitlines()
  return lines[which] if lines else type(e).__name__
