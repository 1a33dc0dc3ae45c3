"""Items of a source whose entropy is known, as a split."""

import numpy as np

from ar_jax.types import Split


def split(x_NL, entropy, exact, units, protocol="independent samples"):
  """Split of whole items of one channel, each site scored once.

  Args:
    x_NL: values, unsigned integers of any width.
    entropy: exact, nats an item.
    exact: (values [B, L]) -> exact -log p of each row in nats, [B].
    units: {unit: how many of it the split holds}.
    protocol: what the items are, in words.
  """

  def get(index_B):
    x_BL = x_NL[index_B].astype(np.int32)
    return x_BL[..., None], np.ones(x_BL.shape, np.float32), {}

  return Split(
    size=len(x_NL),
    get=get,
    units=units,
    entropy=float(entropy),
    exact=lambda index_B: exact(x_NL[index_B]),
    protocol=protocol,
    raw=x_NL.tobytes(),
  )
