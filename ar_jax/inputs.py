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
