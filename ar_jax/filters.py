"""Filters of a categorical distribution: pure logits -> logits.

`apply` runs temperature, top-k, top-p and min-p in the order and with the
meaning of Hugging Face `transformers` (generation/logits_process.py). The
order matters: logits (3, 2, 1) at temperature 0.5 and top-p 0.8 keep one
value; had top-p come first, they would keep two. What a stage removes is
-inf, so the next one works on the renormalized rest.

The same for every stage:

  logits: [..., V], finite or -inf. What is -inf stays -inf, whatever the
    settings; a row of -inf alone is returned as it is. bfloat16 and float16
    are raised to float32, float64 is never lowered.
  kept: at least one value of every row that has one, and never NaN.
  ties: equal logits are ranked by id, lowest first, so the number kept is
    exact. (Hugging Face keeps every logit tied with the k-th.)
  settings: Python numbers, checked and switched on the host, so that a stage
    which is off costs nothing; out of range is a ValueError.
"""

import math
import numbers

import jax
import jax.numpy as jnp


def apply(logits, *, temperature=1.0, top_k=None, top_p=None, min_p=None):
  """The logits of the filtered distribution, [..., V]; not normalized.

  Args:
    logits: [..., V].
    temperature: finite, >= 0; 0 is greedy.
    top_k: integer >= 0; None or 0 is off.
    top_p: in [0, 1]; None or 1 is off.
    min_p: in [0, 1]; None or 0 is off.
  Raises:
    ValueError: a setting out of its range.
  """
  settings = temperature, top_k, top_p, min_p
  for stage, setting in zip(_STAGES, settings, strict=True):
    logits = stage(logits, setting)
  return logits


def temperature(logits, value):
  """Divides by `value`, up to a constant of the row; 0 is greedy.

  Greedy is 0 at the largest logit and -inf elsewhere, by comparison alone.
  """
  if not 0 <= value < math.inf:
    raise ValueError(f"temperature takes a finite number >= 0, got {value}")
  logits = _raised(logits)
  if value == 0:
    largest = logits.max(axis=-1, keepdims=True)
    return _below_peak(_keep_largest(logits, 1, largest))
  if value == 1:
    return logits
  # Below the peak nothing overflows upwards, and neither the divisor nor its
  # reciprocal, by which XLA may multiply, is flushed to zero: no NaN from
  # inf - inf, 0 / 0 or -inf * 0 at any temperature.
  tiny = float(jnp.finfo(logits.dtype).tiny)
  return _below_peak(logits) / min(max(value, tiny), 1 / tiny)


def top_k(logits, count):
  """Keeps the `count` most likely values; None or 0 is off."""
  if count is None:
    return _raised(logits)
  if not isinstance(count, numbers.Integral) or count < 0:
    raise ValueError(f"top_k takes None or an integer >= 0, got {count}")
  logits = _raised(logits)
  if count == 0 or count >= logits.shape[-1]:
    return logits
  largest, _ = jax.lax.top_k(logits, int(count))
  # The minimum and not [..., -1:]: a slice of the last one makes XLA on CPU
  # sort all V values, which is a hundred times slower at V = 50,257.
  smallest = largest.min(axis=-1, keepdims=True)
  return _keep_largest(logits, count, smallest)


def top_p(logits, mass):
  """Keeps the fewest values, most likely first, that hold `mass`.

  The value that reaches `mass` is kept and nothing after it, also where the
  sum is exact: a value goes if it and all less likely ones hold at most
  1 - mass. Whether the sum of rounded probabilities is exact is decided in
  the dtype of the logits. None or 1 is off: no rounding can then cut a
  value. 0 keeps one.
  """
  _check_fraction("top_p", mass)
  logits = _raised(logits)
  if mass is None or mass == 1:
    return logits
  # Summed from the least likely value up, as in Hugging Face: the small tail
  # that decides about a mass near 1 is exact to its own size, not to 1.
  ascending = jnp.sort(logits, axis=-1)
  tail = jnp.cumsum(jnp.exp(_below_peak(ascending)), axis=-1)
  kept = tail > (1 - mass) * tail[..., -1:]
  count = jnp.maximum(kept.sum(axis=-1, keepdims=True), 1)
  smallest = jnp.take_along_axis(ascending, logits.shape[-1] - count, axis=-1)
  return _keep_largest(logits, count, smallest)


def min_p(logits, ratio):
  """Keeps p >= ratio * max p, compared as logits; None or 0 is off."""
  _check_fraction("min_p", ratio)
  logits = _raised(logits)
  if ratio is None or ratio == 0:
    return logits
  kept = _below_peak(logits) >= math.log(ratio)
  return jnp.where(kept, logits, -jnp.inf)


_STAGES = (temperature, top_k, top_p, min_p)


def _check_fraction(name, value):
  if value is not None and not 0 <= value <= 1:
    raise ValueError(f"{name} takes None or a number in [0, 1], got {value}")


def _raised(logits):
  """Logits in float32 at the least."""
  logits = jnp.asarray(logits)
  return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def _below_peak(logits):
  """Logits minus the row's largest: that becomes 0, -inf stays -inf."""
  peak = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
  # A row of -inf alone has no peak, and -inf - -inf would be NaN.
  return logits - jnp.maximum(peak, jnp.finfo(logits.dtype).min)


def _keep_largest(logits, count, smallest):
  """Keeps exactly `count` values, by (logit descending, id ascending).

  By comparison and not by index, without sorting ids or scattering a mask:
  the same on every backend, and 0.0 ties with -0.0.

  Args:
    logits: [..., V].
    count: integer, or integers [..., 1].
    smallest: [..., 1], the `count`-th largest logit of the row.
  """
  above = logits > smallest
  tied = logits == smallest
  room = count - above.sum(axis=-1, keepdims=True)
  kept = above | (tied & (jnp.cumsum(tied, axis=-1) <= room))
  return jnp.where(kept, logits, -jnp.inf)
