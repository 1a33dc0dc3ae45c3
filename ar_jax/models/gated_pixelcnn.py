"""Gated PixelCNN: two stacks without a blind spot (van den Oord et al. 2016).

The vertical stack reads the rows above, the horizontal one what is left of a
pixel in its row, and at each layer what the vertical one makes of the rows
above. Neither has a mask: the input is moved by a row, or by a column, and
the kernels reach up, or left, only.

One function runs each stack over rows, or over columns, from what its layers
still hold of those before: `apply` calls it on the whole grid from zeros,
`step` on one row as it begins, and on one pixel.
"""

import itertools

import jax
import jax.numpy as jnp
from flax import linen as nn

from ar_jax import decode
from ar_jax.nn import condition, pixels, reach
from ar_jax.nn.arguments import at_least
from ar_jax.nn.conv import Conv
from ar_jax.nn.dense import Dense
from ar_jax.nn.dropout import dropout, fold
from ar_jax.nn.kept import kept
from ar_jax.nn.subpixel import Tail
from ar_jax.types import Condition, DataSpec, Model

_LABEL = dict(label=Condition("label", 2))
_EVERY = dict(
  label=Condition("label", 2),
  slope=Condition("aligned", None, (6, 2)),
  region=Condition("aligned", 3, (6,)),
)
_SMALL = dict(layers=2, width=4, orderings=("raster",))
TINY = [
  dict(spec=DataSpec((2, 3), 1, 2, None, _LABEL), **_SMALL),
  dict(
    spec=DataSpec((4, 2), 1, 2),
    dilations=(1, 2),
    first_kernel=5,
    dropout=0.1,
    **_SMALL,
  ),
  dict(spec=DataSpec((3, 2), 1, 2, None, _EVERY), **_SMALL),
  dict(spec=DataSpec((2, 2), 3, 2), layers=2, width=4, orderings=("reverse",)),
  dict(spec=DataSpec((2, 2, 2), 1, 2, None, _LABEL), **_SMALL),
  dict(spec=DataSpec((2, 3), 1, None, 0.5, _LABEL), **_SMALL),
]


def make(
  spec,
  head,
  ordering,
  *,
  layers=8,
  width=64,
  kernel=3,
  first_kernel=7,
  dilations=(1,),
  hidden=None,
  dropout=0.0,
):
  """A gated PixelCNN over one of the eight raster orders of a grid.

  Args:
    spec: DataSpec of shape (H, W), whose channels the head models jointly, or
      of sub-pixels as sites, (H, W, S); conditions of kind "label" and
      "aligned" enter both stacks at every layer, aligned ones not with
      sub-pixels as sites.
    head: Head.
    ordering: Ordering of one raster order, from any corner, by rows or columns.
    layers: N.
    width: D, features of a gated unit.
    kernel: k, odd: a pixel reads (k - 1) / 2 rows up and columns left, and as
      many right of it in the rows above.
    first_kernel: that of the first layer.
    dilations: of the layers, in turn.
    hidden: width of the skip path and of the output; None: D.
    dropout: rate on what each layer reads.
  Raises:
    ValueError: another order, shape or kind of condition; a kernel that is
      not odd; a size below 1.
  """
  sizes = dict(layers=layers, width=width, kernel=kernel)
  sizes.update(first_kernel=first_kernel, dilations=min(dilations, default=0))
  at_least("gated_pixelcnn", 1, **sizes)
  if kernel % 2 == 0 or first_kernel % 2 == 0:
    raise ValueError(
      f"gated_pixelcnn takes odd kernels, got first_kernel {first_kernel} and"
      f" kernel {kernel}"
    )
  H, W, S = pixels.grid(spec, ordering, "gated_pixelcnn")
  takes = ("label", "aligned") if S == 1 else ("label",)
  condition.check(spec.conditions, takes, "gated_pixelcnn")
  N, D, L = layers, width, spec.length
  F = S * spec.channels  # values of a pixel
  net = _Net(
    num_params=head.num_params,
    subpixels=S,
    layers=N,
    width=D,
    kernels=(first_kernel, *(kernel,) * (N - 1)),
    dilations=tuple((tuple(dilations) * N)[:N]),
    hidden=hidden or D,
    dropout=dropout,
  )
  bias_net = condition.Bias(condition.tupled(spec.conditions), 2 * N, 2 * D)

  def call(params, method, *args):
    return net.apply({"params": params["net"]}, *args, method=method)

  def conditioned(params, y):
    """(vertical, horizontal): [1|B, 1|H, 1|W, N, 2D] each, or None twice.

    A row of the vertical stack reaches all pixels of its row: it is told the
    aligned features of the row above.
    """
    bias = bias_net.apply({"params": params["condition"]}, y)
    if bias is None:
      return None, None
    if bias.shape[1] == 1:
      return tuple(jnp.split(bias[:, None], 2, axis=3))
    bias = bias.reshape(-1, H, W, 2 * N, 2 * D)
    vertical, horizontal = jnp.split(bias, 2, axis=3)
    return _down(vertical), horizontal

  def dtype_of(params):
    return params["net"]["skip"]["bias"].dtype

  def init(key):
    k1, k2 = jax.random.split(key)
    x_BHWF = jnp.zeros((1, H, W, F + 1))
    return dict(
      condition=bias_net.init(k2, None).get("params", {}),
      net=net.init(k1, x_BHWF, (None, None))["params"],
    )

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    del order_BL  # x is in generation order, and there is one order
    x_BHWF = x_BLC.reshape(-1, H, W, F)
    x_BHWF = pixels.code(x_BHWF, spec.num_values, dtype_of(params))
    bias = conditioned(params, y)
    theta = net.apply({"params": params["net"]}, x_BHWF, bias, key_B)
    return theta.reshape(-1, L, head.num_params)

  def init_cache(params, batch, length, order_BL=None, y=None):
    del order_BL
    decode.check_length(length, spec)
    dtype = dtype_of(params)
    above, left = net.edges(batch, 1, W, F + 1, dtype)
    return dict(
      bias=conditioned(params, y),
      row=jnp.zeros((batch, 1, W, F + 1), dtype),  # its pixels so far
      above=above,
      vertical=jnp.zeros((batch, 1, W, N, 2 * D), dtype),
      left=left,
      pixel=jnp.zeros((batch, F), dtype),  # sub-pixels so far
      feature=jnp.zeros((batch, net.hidden), dtype),
      room=jnp.zeros(length, bool),  # its shape alone is read
    )

  def step(params, cache, x_BC, t):
    p, c = t // S, t % S
    i, j = p // W, p % W
    coded_BC = pixels.code(x_BC, spec.num_values, dtype_of(params))
    cache = dict(cache)
    if S > 1:  # a pixel's values are gathered before it enters the row
      is_last = (jnp.arange(S) == (t - 1) % S)[None]
      cache["pixel"] = jnp.where(is_last, coded_BC[:, :1], cache["pixel"])
      coded_BC = jnp.pad(cache["pixel"], ((0, 0), (0, 1)), constant_values=1)
    before_BF = jnp.where(t == 0, 0, coded_BC)[:, None, None]

    def new_pixel(cache):
      bias_v, bias_h = cache["bias"]
      row = jax.lax.dynamic_update_slice_in_dim(
        cache["row"], before_BF, (p - 1) % W, axis=2
      )

      def new_row():
        above, bias = cache["above"], _row(bias_v, i)
        tell, above = call(params, "vertical", row, above, bias)
        return jnp.stack(tell, 3), above

      vertical, above = jax.lax.cond(
        j == 0, new_row, lambda: (cache["vertical"], cache["above"])
      )
      h_BHWD, left = call(
        params,
        "horizontal",
        jnp.where(j == 0, 0, before_BF),
        [jnp.where(j == 0, 0, a) for a in cache["left"]],
        jnp.unstack(_column(vertical, j), axis=3),
        _column(_row(bias_h, i), j),
      )
      new = dict(row=row, vertical=vertical, above=above, left=left)
      return dict(cache, **new, feature=h_BHWD[:, 0, 0])

    if S == 1:
      cache = new_pixel(cache)
    else:
      cache = jax.lax.cond(c == 0, new_pixel, dict, cache)
    return call(params, "site", cache["feature"], cache["pixel"], c), cache

  scan = decode.extend_by_scan(step)

  def extend(params, cache, x_BKC, t, n=None):
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    return scan(params, cache, x_BKC, t, n)

  sees = reach.sites(_sees(H, W, net.kernels, net.dilations), S)
  aligned = condition.aligned(spec.conditions)
  return Model(init, apply, init_cache, step, extend, sees, aligned=aligned)


def _sees(height, width, kernels, dilations):
  """bool [H, W, H, W]: which pixels each pixel can depend on."""
  own = reach.own(height, width)
  up = reach.moved(own, -1, 0)
  left = reach.moved(own, 0, -1)
  for kernel, d in zip(kernels, dilations, strict=True):
    r = kernel // 2
    rows, columns = range(-r * d, 1, d), range(-r * d, r * d + 1, d)
    up = reach.union(up, itertools.product(rows, columns))
    left = up | reach.union(left, ((0, b) for b in range(-r * d, 1, d)))
  return left


# --- conditions: [1|B, 1|H, 1|W, N, F], or None ---


def _down(bias):
  """Row i - 1 in place of row i; zeros in the first."""
  pad = (0, 0), (1, 0), (0, 0), (0, 0), (0, 0)
  return jnp.pad(bias, pad)[:, :-1]


def _row(bias, i):
  if bias is None or bias.shape[1] == 1:
    return bias
  return jax.lax.dynamic_slice_in_dim(bias, i, 1, axis=1)


def _column(bias, j):
  if bias is None or bias.shape[2] == 1:
    return bias
  return jax.lax.dynamic_slice_in_dim(bias, j, 1, axis=2)


class _Net(nn.Module):
  """Both stacks, over any rows and columns."""

  num_params: int
  subpixels: int
  layers: int
  width: int
  kernels: tuple
  dilations: tuple
  hidden: int
  dropout: float

  def setup(self):
    N, D = range(self.layers), self.width
    half = [(k + 1) // 2 for k in self.kernels]
    d = self.dilations
    self.up = [Conv(2 * D, (half[n], self.kernels[n]), (d[n], d[n])) for n in N]
    self.left = [Conv(2 * D, (1, half[n]), (1, d[n])) for n in N]
    self.across = [Dense(2 * D, False) for _ in N]
    self.residual = [Dense(D) for _ in N[:-1]]
    self.skip = Dense(self.hidden)
    self.tail = Tail(self.hidden, self.num_params, self.subpixels)

  def reach(self, n):
    """Rows above and columns to the left that layer n still needs."""
    return self.kernels[n] // 2 * self.dilations[n]

  def edges(self, batch, rows, columns, features, dtype):
    """What the layers hold before the first row, and before the first column.

    (above, left): of layer n [B, reach, columns, D], [B, rows, reach, D].
    """
    sizes = [features] + [self.width] * (self.layers - 1)
    above, left = [], []
    for n, size in enumerate(sizes):
      r = self.reach(n)
      above.append(jnp.zeros((batch, r, columns, size), dtype))
      left.append(jnp.zeros((batch, rows, r, size), dtype))
    return above, left

  def vertical(self, x_BRWD, above, bias, key_B=None):
    """R rows: (what each layer tells the pixels [B, R, W, 2D], above).

    x_BRWD: of row i the pixels of row i - 1.
    above: the inputs of the layers in the rows before.
    bias: [1|B, 1|R, 1|W, N, 2D] or None.
    """
    tell, keep = [], []
    for n, up in enumerate(self.up):
      r = self.reach(n)
      x_BRWD = dropout(x_BRWD, self.dropout, fold(key_B, 2 * n))
      x_BRWD = jnp.concatenate([above[n], x_BRWD], 1)
      keep.append(x_BRWD[:, x_BRWD.shape[1] - r :])
      z = up(jnp.pad(x_BRWD, ((0, 0), (0, 0), (r, r), (0, 0))))
      z = z if bias is None else z + bias[:, :, :, n]
      tell.append(self.across[n](z))
      x_BRWD = kept(_gate(z))
    return tell, keep

  def horizontal(self, x_BRMD, left, vertical, bias, key_B=None):
    """M columns: (feature of each pixel [B, R, M, hidden], left).

    x_BRMD: in column j the pixel of column j - 1.
    left: the inputs of the layers in the columns before.
    vertical: [B, R, M, 2D] of each layer; one array of all of them would have
      a gradient as large for each layer.
    bias: [1|B, 1|R, 1|M, N, 2D] or None.
    """
    said, keep = [], []
    for n, conv in enumerate(self.left):
      r = self.reach(n)
      x = dropout(x_BRMD, self.dropout, fold(key_B, 2 * n + 1))
      x = jnp.concatenate([left[n], x], 2)
      keep.append(x[:, :, x.shape[2] - r :])
      z = conv(x) + vertical[n]
      said.append(_gate(z if bias is None else z + bias[:, :, :, n]))
      if n < len(self.residual):
        h = self.residual[n](said[n])
        x_BRMD = kept(h + x_BRMD if n else h)
    return self.skip(jnp.concatenate(said, -1)), keep

  def site(self, feature_BD, value_BS, c):
    """theta [B, P] of sub-pixel c of one pixel."""
    return self.tail(feature_BD, value_BS, c)

  def __call__(self, x_BHWF, bias, key_B=None):
    """theta [B, H, W, S, P] of coded pixels."""
    B, H, W, F = x_BHWF.shape
    above, left = self.edges(B, H, W, F, x_BHWF.dtype)
    up = jnp.pad(x_BHWF, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
    before = jnp.pad(x_BHWF, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    vertical, _ = self.vertical(up, above, bias[0], key_B)
    h_BHWD, _ = self.horizontal(before, left, vertical, bias[1], key_B)
    return self.tail.every(h_BHWD, x_BHWF[..., :-1])


def _gate(z):
  a, b = jnp.split(z, 2, axis=-1)
  return jnp.tanh(a) * nn.sigmoid(b)
