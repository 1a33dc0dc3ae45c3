"""Middle-out order: a sequence from its middle to the end, then backwards.

Both halves are contiguous, so a step but one has its neighbor known.
"""

import numpy as np

from ar_jax import ordering

TINY = [dict(shape=(5,)), dict(shape=(2, 3))]


def make(shape, *, start=None):
  """Of the sites as they lie in memory.

  Args:
    shape: sites.
    start: the first site; None: L // 2.
  Raises:
    ValueError: a start that is no site.
  """
  length = int(np.prod(shape))
  start = length // 2 if start is None else start
  if not 0 <= start < length:
    raise ValueError(f"start={start} is no site of {length}")
  site_L = np.arange(length)
  return ordering.fixed(np.concatenate([site_L[start:], site_L[:start][::-1]]))
