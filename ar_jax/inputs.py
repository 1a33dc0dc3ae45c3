"""What a caller gives a run, checked against what its model knows."""

import numpy as np

from ar_jax import errors


def values(spec, x):
  """int [N, L, C] of items; UsageError for what the model never saw.

  Args:
    spec: DataSpec.
    x: values [N, ...] of N items, as spec.shape says, with channels or
      without, or as one line of sites.
  """
  x = np.asarray(x)
  shapes = (spec.shape, (*spec.shape, spec.channels), (spec.length,))
  shapes = (*shapes, (spec.length, spec.channels))
  if not x.size:
    raise errors.UsageError("nothing to score: give at least one item")
  if x.shape[1:] not in shapes:
    raise errors.UsageError(
      f"items of this run have shape {spec.shape} and {spec.channels}"
      f" channels; got an array {list(x.shape)}, the first axis of which"
      " numbers the items"
    )
  _check_range(x, spec.num_values, "values of this run")
  return x.reshape(len(x), spec.length, spec.channels)


def conditions(spec, y, num):
  """{name: [num, ...]} of conditions; UsageError for what the model lacks.

  Args:
    spec: DataSpec.
    y: {name: [num, ...]}, of one item also without the first axis; None: {}.
    num: items.
  """
  result = {}
  for name, value in (y or {}).items():
    if name not in spec.conditions:
      known = ", ".join(spec.conditions) or "none"
      raise errors.UsageError(
        f"this run has no condition {name!r}; there are: {known}"
      )
    condition = spec.conditions[name]
    value = np.asarray(value)
    if num == 1 and value.shape == condition.shape:
      value = value[None]
    shape = (num, *condition.shape)
    if value.shape != shape:
      raise errors.UsageError(
        f"condition {name!r} of {num} items has shape {list(shape)}, got"
        f" {list(value.shape)}"
      )
    _check_range(value, condition.num_values, f"values of condition {name!r}")
    result[name] = value
  return result


def labels(spec, media, texts, num):
  """{name: int32 [num]} from texts such as "label=3" or "vowel=a,e".

  Several values take turns; a value is a number, or a name that
  media["labels"] knows.

  Args:
    spec: DataSpec.
    media: of the Dataset.
    texts: NAME=VALUE each.
    num: rows.
  """
  result = {}
  for words in texts:
    name, _, values = words.partition("=")
    condition = spec.conditions.get(name)
    if condition is None or condition.kind != "label":
      kinds = {k: c.kind for k, c in spec.conditions.items()}
      known = [k for k, kind in kinds.items() if kind == "label"]
      raise errors.UsageError(
        f"--y {words}: this run has no label {name!r}; there are:"
        f" {', '.join(known) or 'none'}"
      )
    names = media.get("labels") or []
    names = names if len(names) == condition.num_values else []
    row_K = [_label(words, v, names) for v in values.split(",")]
    _check_range(np.array(row_K), condition.num_values, f"labels of {name!r}")
    result[name] = np.resize(np.array(row_K, np.int32), num)
  return result


def _label(words, value, names):
  if value in names:
    return names.index(value)
  if value.isdecimal():
    return int(value)
  known = f" or one of {', '.join(names)}" if names else ""
  raise errors.UsageError(f"--y {words}: {value!r} is no number{known}")


def check_prompt(spec, media, words, token_T):
  """UsageError for a prompt that leaves no site of an item to draw."""
  if media.get("end") in token_T.tolist():
    raise errors.UsageError(
      f"the prompt {words!r} already ends the item: it has the end symbol"
    )
  if len(token_T) >= spec.length:
    raise errors.UsageError(
      f"items of this run have {spec.length} sites, the prompt has"
      f" {len(token_T)}: none is left to draw"
    )


def _check_range(x, num_values, what):
  """UsageError unless x are integers in 0..num_values - 1."""
  if num_values is None:
    return
  if x.dtype.kind not in "iu":
    raise errors.UsageError(f"{what} are integers; got {x.dtype}")
  if x.min() < 0 or x.max() >= num_values:
    raise errors.UsageError(
      f"{what} are 0..{num_values - 1}; got {x.min()}..{x.max()}"
    )


def same_values(one, other):
  """Whether a value means the same to both, runs or data sets."""
  medias = [dict(m, source=None) for m in (one.media, other.media)]
  specs = [s._replace(shape=()) for s in (one.spec, other.spec)]
  return specs[0] == specs[1] and medias[0] == medias[1]
