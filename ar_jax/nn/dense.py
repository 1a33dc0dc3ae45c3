"""The linear map of every network, laid out for a fast backward pass."""

import jax
from flax import linen as nn


class Dense(nn.Module):
  """x @ kernel + bias over the last axis; computes in the dtype of x."""

  features: int
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x):
    """[..., D] to [..., features]."""
    shape = (x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    y = matmul(x, kernel.astype(x.dtype))
    if self.use_bias:
      zeros = nn.initializers.zeros
      bias = self.param("bias", zeros, (self.features,)).astype(x.dtype)
      y = y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
    return y


@jax.custom_vjp
def matmul(x, w):
  """x[..., D] @ w[D, F].

  XLA on CPU fuses the gradient that arrives here (of a GELU, say) with the
  transposing copy that the weight gradient needs, at half the speed of a
  Transformer's backward pass. A barrier on that gradient, and tokens
  flattened to one axis, keep the fusions apart.
  """
  return (_flat(x) @ w).reshape(*x.shape[:-1], w.shape[1])


def _flat(x):
  return x.reshape(-1, x.shape[-1])


def _forward(x, w):
  return matmul(x, w), (x, w)


def _backward(saved, g):
  x, w = saved
  g = jax.lax.optimization_barrier(_flat(g))
  weights = jax.lax.platform_dependent(
    _flat(x), g, cpu=_weight_gradient, default=lambda x, g: x.T @ g
  )
  return (g @ w.T).reshape(x.shape), weights


def _weight_gradient(x_ND, g_NF):
  """x^T g; of the two the smaller is transposed, which XLA on CPU leaves be.

  Into fewer features than it has inputs a map's weight gradient takes half the
  time this way. The barriers keep XLA from undoing it.
  """
  if g_NF.shape[1] >= x_ND.shape[1]:
    return x_ND.T @ g_NF
  barrier = jax.lax.optimization_barrier
  return barrier(barrier(g_NF.T) @ x_ND).T


matmul.defvjp(_forward, _backward)
