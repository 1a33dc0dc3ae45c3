"""Gradients that are written by hand are those of the maps, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax.nn import causal_conv, conv, dense

SHAPES = [  # of x, of the kernel, dilation
  ((3, 9, 10, 20), (2, 3, 20, 6), (1, 1)),  # by taps, both
  ((3, 9, 10, 20), (2, 3, 20, 6), (3, 2)),
  ((2, 7, 9, 3), (1, 4, 3, 5), (1, 2)),  # few features
  ((1, 20, 21, 18), (3, 2, 18, 4), (1, 1)),  # a large grid
  ((2, 1, 30, 4), (1, 2, 4, 7), (1, 8)),
  ((2, 5, 4, 8), (1, 1, 8, 3), (1, 1)),  # one tap: a product
  ((2, 5, 4, 3), (1, 1, 3, 8), (1, 1)),
  ((4, 2, 3, 5), (2, 3, 5, 6), (1, 1)),  # one window: a product
]


def _gradients(function, x, kernel):
  """Of a sum in which every result has a weight of its own."""

  def total(x, kernel):
    y = function(x, kernel)
    weight = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    return (weight * y).sum()

  return jax.jit(jax.value_and_grad(total, (0, 1)))(x, kernel)


def _drawn(*shapes):
  generator = np.random.default_rng(0)
  return [jnp.asarray(generator.normal(size=shape)) for shape in shapes]


def _same(ours, wanted):
  for a, b in zip(*map(jax.tree.leaves, (ours, wanted)), strict=True):
    assert a.dtype == jnp.float64
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("shape", "kernel", "dilation"), SHAPES)
def test_convolution(shape, kernel, dilation):
  with jax.enable_x64(True):
    args = _drawn(shape, kernel)

    def plain(x_BHWD, kernel):
      return jax.lax.conv_general_dilated(
        x_BHWD,
        kernel,
        (1, 1),
        "VALID",
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
      )

    def ours(x_BHWD, kernel):
      return conv.convolve(x_BHWD, kernel, dilation=dilation)

    _same(_gradients(ours, *args), _gradients(plain, *args))


@pytest.mark.parametrize("dilation", [1, 4])
def test_causal_convolution(dilation):
  with jax.enable_x64(True):
    args = _drawn((2, 13, 18), (3, 18, 5))

    def plain(a_BTD, kernel):
      T = a_BTD.shape[1] - 2 * dilation
      taps = [a_BTD[:, j * dilation : j * dilation + T] for j in range(3)]
      return sum(tap @ kernel[j] for j, tap in enumerate(taps))

    def ours(a_BTD, kernel):
      return causal_conv.convolve(a_BTD, kernel, dilation)

    _same(_gradients(ours, *args), _gradients(plain, *args))


@pytest.mark.parametrize("sizes", [(7, 3), (3, 7), (4, 4)])
def test_linear_map(sizes):
  with jax.enable_x64(True):
    args = _drawn((2, 5, sizes[0]), sizes)
    _same(_gradients(dense.matmul, *args), _gradients(jnp.matmul, *args))


@pytest.mark.parametrize(
  ("function", "shapes", "counted"),
  [
    (conv.convolve, ((3, 9, 10, 20), (2, 3, 20, 6)), dict(convolution=3)),
    (dense.matmul, ((5, 7), (7, 3)), dict(dot_general=3)),
  ],
)
def test_other_devices_keep_the_gradients_of_xla(function, shapes, counted):
  """Of taps and transposed products nothing is compiled for a GPU."""
  args = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
  traced = jax.jit(lambda *args: _gradients(function, *args)).trace(*args)
  texts = [
    traced.lower(lowering_platforms=(platform,)).as_text()
    for platform in ("cuda", "cpu")
  ]
  names = "convolution", "dot_general", "optimization_barrier"
  cuda, cpu = (
    {name: text.count(f"stablehlo.{name}") for name in names} for text in texts
  )
  barriers = cuda.pop("optimization_barrier")  # one, of the linear map
  assert {name: n for name, n in cuda.items() if n} == counted
  assert barriers == int(function is dense.matmul)
  assert cpu["optimization_barrier"] == barriers + 2
