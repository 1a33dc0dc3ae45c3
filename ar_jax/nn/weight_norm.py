"""Weight normalization: the length of a weight apart from its direction.

A map of parameters and not a kind of layer: networks know plain kernels; what
is trained is a direction and a length for each output feature. Source:
Salimans and Kingma 2016, equation 2.
"""

import jax.numpy as jnp


def split(params):
  """Beside each `kernel` [..., F] its length, `scale` [F]."""

  def parts(layer):
    return dict(layer, scale=_length(layer["kernel"]))

  return _each_layer(params, parts)


def join(params):
  """The kernels that `split` stands for: scale * kernel / |kernel|."""

  def whole(layer):
    layer = dict(layer)
    kernel, scale = layer["kernel"], layer.pop("scale")
    factor = (scale / _length(kernel)).reshape((1,) * (kernel.ndim - 1) + (-1,))
    return dict(layer, kernel=kernel * factor)

  return _each_layer(params, whole)


def _each_layer(params, change):
  """The tree with every dict that holds a kernel changed."""
  if "kernel" in params:
    return change(params)
  return {
    name: _each_layer(value, change) if isinstance(value, dict) else value
    for name, value in params.items()
  }


def _length(kernel):
  """[F], over all other axes."""
  return jnp.sqrt(jnp.square(kernel).sum(tuple(range(kernel.ndim - 1))))
