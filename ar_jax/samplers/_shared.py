"""What samplers share: the filters of a head, and noise held for many steps."""

import functools

import jax
import jax.numpy as jnp

MOST = 2**24  # numbers of noise that are held at once


def adjust(head, **filters):
  """(theta) -> theta after the filters.

  Raises:
    ValueError: what the head cannot do, said here and not at the first draw.
  """
  adjusted = functools.partial(head.adjust, **filters)
  theta = jax.ShapeDtypeStruct((head.num_params,), jnp.float32)
  jax.eval_shape(adjusted, theta)
  return adjusted


def noise(head, dtype):
  """(key -> noise, (noise, theta) -> x) of one site; theta is of `dtype`."""
  if head.noise is None:
    return lambda key: key, head.sample
  return functools.partial(head.noise, dtype=dtype), head.draw


def is_held(times, noise):
  """Whether to make the noise of all steps at once.

  One small batch of noise a step costs more than that of all steps.

  Args:
    times: steps.
    noise: of one step, arrays or their shapes.
  """
  return times * sum(leaf.size for leaf in jax.tree.leaves(noise)) <= MOST
