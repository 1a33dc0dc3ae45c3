"""TFDS data sets that are prepared on disk: texts, or integer arrays.

Read through `as_data_source`, without TensorFlow and without a network.
"""

import json
import pathlib
import re

import numpy as np

from ar_jax import corpus, errors, registry, text
from ar_jax.types import Condition, Dataset, DataSpec, Split

# To be prepared first, by prepare.text.
TINY = [dict(dataset="my_text", data_dir="data/tfds", length=16, stride=8)]

_SPLITS = ("train", "valid", "test")
_NAME = r"(\w+)(?:/([\w.-]+))?(?::(\d+\.\d+\.\d+))?"
_FEATURES = "tensorflow_datasets.core.features."
_READS = "Text, and Tensor or Image of integers and of a fixed shape"
_BLOCK = 1024  # examples that are read at once


def make(
  *,
  dataset,
  data_dir,
  feature="",
  label="",
  splits="train/validation",
  num_values=None,
  length=256,
  stride=128,
  level="char",
  tokenizer="",
  protocol="strided",
  separator="\n",
):
  """One feature of a data set: a Text is one stream, an array is the item.

  Args:
    dataset: "my_text", "lm1b:1.1.0" or "name/config:1.0.0"; the newest
      version where none is given.
    data_dir: folder that holds the data set as name/version/, in the
      array_record format.
    feature: the one that is x; "": the only one that can be read.
    label: a ClassLabel feature beside an array, which becomes the condition
      "label"; "": none.
    splits: what TFDS calls train/valid or train/valid/test, as
      "train/validation/test" or "train[:90%]/train[90%:]".
    num_values: V of an array; None: 256 for uint8, else the largest value of
      these splits and one.
    length, stride, protocol: of the windows of a text; see corpus.dataset.
    level, tokenizer: of a text; see text.make_media.
    separator: what stands between two documents, which come in stored order.
  Raises:
    UsageError: a name, split or feature that is not there or cannot be read.
    DataError: data that is not prepared, another format, or damaged.
  """
  folder = _find(dataset, data_dir)
  builder = _open(folder)
  features = builder.info.features
  feature = _choose(features, feature)
  sources = _sources(builder, splits)
  name = builder.info.full_name
  if _is_text(features[feature]):
    if label:
      raise errors.UsageError(
        f"config.data.label {label!r}: labels belong to arrays, {feature!r} is"
        " a Text"
      )
    parts = {
      split: separator.encode().join(x for (x,) in _examples(*source, feature))
      for split, source in sources.items()
    }
    texts = _decoded(parts) if level != "byte" else ()
    media = text.make_media(level, name, texts, tokenizer)
    return corpus.dataset(
      parts, media, length=length, stride=stride, protocol=protocol
    )
  classes = _classes(features, label) if label else None
  arrays = {
    s: _arrays(src, features, feature, label) for s, src in sources.items()
  }
  return _items(arrays, num_values, classes, dict(source=name, feature=feature))


def _find(dataset, data_dir):
  """The folder of the newest version that fits; nothing but files is asked."""
  match = re.fullmatch(_NAME, dataset)
  if not match:
    raise errors.UsageError(
      f"config.data.dataset {dataset!r} is no name of a TFDS data set, as"
      " my_text, lm1b:1.1.0 or name/config:1.0.0"
    )
  name, config, version = match.groups()
  root = pathlib.Path(data_dir).expanduser()
  recipe = (
    "prepare it from text files with `ar_jax data prepare IN..."
    f" --name={name} --data_dir={data_dir}`, or put there what was prepared"
    " elsewhere with file_format='array_record'"
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


def _open(folder):
  """TFDS's builder of a prepared folder."""
  _check_features(folder)
  try:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    formats = builder.info.available_file_formats()
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
  return builder


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


def _choose(features, feature):
  """The name of the feature that is x."""
  # A restored FeaturesDict is in no order.
  known = sorted(features.items())
  readable = [name for name, f in known if _is_text(f) or _array_of(f)]
  has = ", ".join(_describe(name, f) for name, f in known)
  if feature in readable:
    return feature
  if feature and feature not in features:
    raise errors.UsageError(
      f"config.data.feature: no feature {feature!r}"
      f"{registry.nearest(feature, features)}; there are: {has}"
    )
  if feature or not readable:
    what = _describe(feature, features[feature]) if feature else has
    raise errors.UsageError(
      f"config.data.feature: cannot read {what}; what can be read: {_READS}"
    )
  if len(readable) > 1:
    raise errors.UsageError(
      f"config.data.feature: give one of {', '.join(readable)}; the data set"
      f" has {has}"
    )
  return readable[0]


def _is_text(feature):
  return type(feature).__name__ == "Text"


def _array_of(feature):
  """(shape, dtype) of an integer array of a fixed shape, else None."""
  info = feature.get_tensor_info()
  if isinstance(info, dict) or not info.shape or None in info.shape:
    return None
  dtype = np.dtype(info.np_dtype)
  return (tuple(info.shape), dtype) if dtype.kind in "biu" else None


def _describe(name, feature):
  info = feature.get_tensor_info()
  kind = type(feature).__name__
  if isinstance(info, dict) or not info.shape:
    return f"{name} ({kind})"
  shape = "x".join("?" if n is None else str(n) for n in info.shape)
  return f"{name} ({kind} {np.dtype(info.np_dtype)} {shape})"


def _classes(features, label):
  """The number of classes of a ClassLabel feature."""
  found = sorted(features.items())
  known = [name for name, f in found if getattr(f, "num_classes", None)]
  if label not in known:
    raise errors.UsageError(
      f"config.data.label: no ClassLabel {label!r}"
      f"{registry.nearest(label, known)}; there are: {', '.join(known) or '-'}"
    )
  return features[label].num_classes


def _sources(builder, splits):
  """{"train": (data source, what it is), ...} of config.data.splits."""
  names = [part.strip() for part in str(splits).split("/")]
  if not 2 <= len(names) <= len(_SPLITS) or not all(names):
    raise errors.UsageError(
      f"config.data.splits {splits!r} is not train/valid or train/valid/test"
      " in TFDS's names, as train/validation or train[:90%]/train[90%:]"
    )
  sources = {}
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
    sources[ours] = source, what
  return sources


def _lengths(builder):
  splits = builder.info.splits
  return ", ".join(f"{n} ({splits[n].num_examples})" for n in sorted(splits))


def _examples(source, what, *names):
  """A tuple of the named features for each example, in stored order."""
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


def _decoded(parts):
  """The texts of the splits; DataError where they are not UTF-8."""
  texts = []
  for split, raw in parts.items():
    try:
      texts.append(raw.decode())
    except UnicodeDecodeError as e:
      raise errors.DataError(
        f"the {split} split is not UTF-8: byte 0x{raw[e.start]:02x} at offset"
        f" {e.start}; level byte takes any"
      ) from e
  return texts


def _arrays(source, features, feature, label):
  """(x [N, *shape], label int32 [N] or None), in the stored dtype."""
  shape, dtype = _array_of(features[feature])
  size = len(source[0])
  x_N = np.empty((size, *shape), dtype)
  label_N = np.empty(size, np.int32) if label else None
  names = [feature, label] if label else [feature]
  for n, (x, *rest) in enumerate(_examples(*source, *names)):
    x_N[n] = x
    if label:
      label_N[n] = rest[0]
  return x_N, label_N


def _items(arrays, num_values, classes, about):
  """The Dataset of arrays by split."""
  shape = arrays["train"][0].shape[1:]
  if shape[-1] == 1 and len(shape) > 1:
    shape = shape[:-1]
  low = min(int(x_N.min()) for x_N, _ in arrays.values())
  high = max(int(x_N.max()) for x_N, _ in arrays.values())
  if num_values is None:
    stored = arrays["train"][0].dtype
    num_values = 256 if stored == np.uint8 else high + 1
  if low < 0 or high >= min(num_values, 2**31):
    raise errors.UsageError(
      f"config.data.feature {about['feature']!r} has values from {low} to"
      f" {high}, but sites take 0 to {num_values - 1}: set"
      " config.data.num_values, or choose another feature"
    )
  conditions = {}
  if classes is not None:
    conditions = dict(label=Condition("label", classes))
    for split, (_, label_N) in arrays.items():
      if label_N.min() < 0 or label_N.max() >= classes:
        raise errors.DataError(
          f"config.data.label: {split} has labels outside 0..{classes - 1}:"
          " it is not labeled"
        )
  spec = DataSpec(shape, 1, num_values, None, conditions)
  splits = {split: _split(spec, *pair) for split, pair in arrays.items()}
  return Dataset(spec, splits, dict(kind="array", **about))


def _split(spec, x_N, label_N):
  small = np.uint8 if spec.num_values <= 256 else np.int32
  x_NL = x_N.reshape(len(x_N), spec.length).astype(small, copy=False)

  def get(index_B):
    x_BL = x_NL[index_B].astype(np.int32)
    y = {} if label_N is None else dict(label=label_N[index_B])
    return x_BL[..., None], np.ones(x_BL.shape, np.float32), y

  return Split(len(x_NL), get, raw=x_NL.tobytes())
