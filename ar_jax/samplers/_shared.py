"""What samplers share: filters, noise held for many steps, what is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

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


@functools.partial(jax.jit, static_argnums=1)
def row_keys(key, count):
  """A key for each row, whatever is drawn beside it."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def common_prefix(known_BL, order_BL):
  """How many of the first steps are known in every row."""
  if order_BL is not None:
    known_BL = np.take_along_axis(
      known_BL,
      np.broadcast_to(np.asarray(order_BL), known_BL.shape),
      axis=1,
    )
  unknown_L = ~known_BL.all(axis=0)
  return int(unknown_L.argmax()) if unknown_L.any() else len(unknown_L)


def whole(x_BLC, model):
  """x up to all steps of an item: `apply` takes no fewer of a grid."""
  if callable(model.sees) or model.sees is None:
    return x_BLC
  more = len(model.sees) - x_BLC.shape[1]
  return jnp.pad(x_BLC, ((0, 0), (0, more), (0, 0)))
