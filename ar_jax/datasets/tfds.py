"""TFDS data sets that are prepared on disk: texts, images, integer arrays.

Read without TensorFlow and without a network; see prepared.py.
"""

import numpy as np

from ar_jax import corpus, errors, prepared, registry, text
from ar_jax.media import image
from ar_jax.types import Condition, Dataset, DataSpec, Split

# To be prepared first, by prepare.text.
TINY = [dict(dataset="my_text", data_dir="data/tfds", length=16, stride=8)]

_READS = "Text, and Tensor or Image of integers and of a fixed shape"


def make(
  *,
  dataset,
  data_dir,
  feature="",
  label="",
  splits="train/validation",
  num_values=None,
  pixels="sites",
  length=256,
  stride=128,
  level="char",
  tokenizer="",
  protocol="strided",
  separator="\n",
):
  """One feature of a data set: a Text is one stream, an array is the item.

  An array [H, W], [H, W, 1] or [H, W, 3] of up to 256 values is an image.

  Args:
    dataset: "my_text", "lm1b:1.1.0" or "name/config:1.0.0"; the newest
      version where none is given.
    data_dir: folder that holds the data set as name/version/, in the
      array_record format.
    feature: the one that is x; "": the only one that can be read.
    label: a ClassLabel feature beside an array, which becomes the condition
      "label"; "": none.
    splits: what TFDS calls train/valid or train/valid/test, as
      "train/validation/test" or "train[:50000]/train[50000:]/test".
    num_values: V of an array; None: 256 for uint8, else the largest value of
      these splits and one.
    pixels: of an array [H, W, 3]: "sites", each color a site of its own, or
      "channels", the three a site jointly; [H, W] and [H, W, 1] are the same.
    length, stride, protocol: of the windows of a text; see corpus.dataset.
    level, tokenizer: of a text; see text.make_media.
    separator: what stands between two documents, which come in stored order.
  Raises:
    UsageError: a name, split or feature that is not there or cannot be read.
    DataError: data that is not prepared, another format, or damaged.
  """
  folder = prepared.find(dataset, data_dir)
  builder = prepared.builder(folder)
  features = builder.info.features
  feature = _choose(features, feature)
  sources = prepared.sources(builder, splits)
  name = builder.info.full_name
  if _is_text(features[feature]):
    if label:
      raise errors.UsageError(
        f"config.data.label {label!r}: labels belong to arrays, {feature!r} is"
        " a Text"
      )
    parts = {}
    for split, source in sources.items():
      documents = prepared.examples(*source, feature)
      parts[split] = separator.encode().join(x for (x,) in documents)
    texts = _decoded(parts) if level != "byte" else ()
    media = text.make_media(level, name, texts, tokenizer)
    return corpus.dataset(
      parts, media, length=length, stride=stride, protocol=protocol
    )
  names = _names(features, label) if label else None
  shape = _layout(features, feature, pixels)
  arrays = {
    s: _arrays(src, features, feature, label) for s, src in sources.items()
  }
  spec = _spec(arrays, *shape, num_values, names, feature)
  splits = {split: _split(spec, *pair) for split, pair in arrays.items()}
  return Dataset(spec, splits, _media(name, spec, names))


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


def _names(features, label):
  """The names of the classes of a ClassLabel feature, which may be numbers."""
  found = sorted(features.items())
  known = [name for name, f in found if getattr(f, "num_classes", None)]
  if label not in known:
    raise errors.UsageError(
      f"config.data.label: no ClassLabel {label!r}"
      f"{registry.nearest(label, known)}; there are: {', '.join(known) or '-'}"
    )
  return list(features[label].names)


def _layout(features, feature, pixels):
  """(shape, channels) of an array's sites."""
  if pixels not in ("sites", "channels"):
    raise errors.UsageError(
      f"config.data.pixels {pixels!r} is neither sites nor channels"
    )
  shape, _ = _array_of(features[feature])
  if len(shape) > 1 and shape[-1] == 1:
    shape = shape[:-1]
  if pixels == "sites" or len(shape) == 2:
    return shape, 1
  if len(shape) != 3 or shape[2] != 3:
    raise errors.UsageError(
      "config.data.pixels 'channels' takes arrays [H, W], [H, W, 1] or"
      f" [H, W, 3], got {_describe(feature, features[feature])}"
    )
  return shape[:2], 3


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
  for n, (x, *rest) in enumerate(prepared.examples(*source, *names)):
    x_N[n] = x
    if label:
      label_N[n] = rest[0]
  return x_N, label_N


def _spec(arrays, shape, channels, num_values, names, feature):
  """The DataSpec of arrays by split; an Error where they do not keep it."""
  low = min(int(x_N.min()) for x_N, _ in arrays.values())
  high = max(int(x_N.max()) for x_N, _ in arrays.values())
  if num_values is None:
    stored = arrays["train"][0].dtype
    num_values = 256 if stored == np.uint8 else high + 1
  if low < 0 or high >= min(num_values, 2**31):
    raise errors.UsageError(
      f"config.data.feature {feature!r} has values from {low} to"
      f" {high}, but sites take 0 to {num_values - 1}: set"
      " config.data.num_values, or choose another feature"
    )
  conditions = {}
  if names is not None:
    conditions = dict(label=Condition("label", len(names)))
    for split, (_, label_N) in arrays.items():
      if label_N.min() < 0 or label_N.max() >= len(names):
        raise errors.DataError(
          f"config.data.label: {split} has labels outside"
          f" 0..{len(names) - 1}: it is not labeled"
        )
  return DataSpec(shape, channels, num_values, None, conditions)


def _media(source, spec, names):
  """That of an image, or of any other array."""
  shape, V = spec.shape, spec.num_values
  if 2 <= V <= 256 and (len(shape) == 2 or shape[2:] == (3,)):
    return image.make_media(
      source, shape, spec.channels, num_values=V, labels=names
    )
  media = dict(kind="array", source=source, shape=list(shape), num_values=V)
  return media if names is None else dict(media, labels=names)


def _split(spec, x_N, label_N):
  small = np.uint8 if spec.num_values <= 256 else np.int32
  x_NLC = x_N.reshape(len(x_N), spec.length, spec.channels)
  x_NLC = x_NLC.astype(small, copy=False)

  def get(index_B):
    x_BLC = x_NLC[index_B].astype(np.int32)
    y = {} if label_N is None else dict(label=label_N[index_B])
    return x_BLC, np.ones(x_BLC.shape[:2], np.float32), y

  units = image.units(len(x_NLC), x_NLC[0].size)
  return Split(len(x_NLC), get, units=units, raw=x_NLC.tobytes())
