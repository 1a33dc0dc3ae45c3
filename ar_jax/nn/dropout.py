"""Dropout whose randomness belongs to the example, not to the batch."""

import jax
import jax.numpy as jnp


def dropout(x_B, rate, key_B):
  """Inverted dropout of each example with its own key.

  The same example gets the same mask in any batch, on any device.

  Args:
    x_B: [B, ...].
    rate: probability of a zero, in [0, 1).
    key_B: keys, or None for no dropout.
  """
  if key_B is None or rate == 0:
    return x_B

  def keep(key):
    return jax.random.bernoulli(key, 1 - rate, x_B.shape[1:])

  return jnp.where(jax.vmap(keep)(key_B), x_B / (1 - rate), 0)


def fold(key_B, number):
  """Keys of another place in the network; None stays None."""
  if key_B is None:
    return None
  return jax.vmap(jax.random.fold_in, (0, None))(key_B, number)
