"""PixelRNN: Row LSTM and Diagonal BiLSTM (van den Oord et al. 2016).

A convolution over the pixels before each, then layers of LSTMs with residual
links. In Row LSTM a pixel is told of its neighbors in the row above, and what
it sees of the image is a triangle (`sees`). In Diagonal BiLSTM it is told of
the pixel before it and of that above, by one network from left to right and by
one from right to left, whose output is read a row lower: it sees all.

But in the paper the last pixel of the row above: no feature of that row comes
after it. So there is one more column here, for which nothing is predicted.

A step computes one pixel through all layers, from stored rows of state, by
the cells and kernels that `apply` runs over the grid. The network from right
to left goes over a row once the row is finished.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ar_jax import decode
from ar_jax.nn import arguments, condition, conv_lstm, pixels, reach
from ar_jax.nn.conv import Conv
from ar_jax.nn.dense import Dense
from ar_jax.nn.dropout import dropout, fold
from ar_jax.nn.subpixel import Tail
from ar_jax.types import Condition, DataSpec, Model

_LABEL = dict(label=Condition("label", 2))
_EVERY = dict(
  label=Condition("label", 2),
  slope=Condition("aligned", None, (6, 2)),
  region=Condition("aligned", 3, (6,)),
)
_SMALL = dict(layers=2, width=3, first_kernel=3, hidden=4)
_ROW = dict(cell="row_lstm", orderings=("raster",), **_SMALL)
_DIAGONAL = dict(_ROW, cell="diagonal_bilstm")
TINY = [
  dict(spec=DataSpec((3, 2), 1, 2), **_ROW),
  dict(spec=DataSpec((3, 2), 1, 2, None, _EVERY), dropout=0.1, **_DIAGONAL),
  dict(spec=DataSpec((2, 3), 1, 2, None, _LABEL), **_DIAGONAL),
  dict(
    _ROW,
    spec=DataSpec((2, 4), 1, 2, None, _LABEL),
    kernel=1,
    dropout=0.1,
    orderings=("reverse",),
  ),
  dict(spec=DataSpec((2, 2), 3, 2), **_DIAGONAL),
  dict(spec=DataSpec((2, 2, 2), 1, 2, None, _LABEL), **_DIAGONAL),
  dict(spec=DataSpec((2, 2, 3), 1, 2), **_ROW),
  dict(spec=DataSpec((2, 3), 2, None, 0.5, _LABEL), **_ROW),
]


def make(
  spec,
  head,
  ordering,
  *,
  cell,
  layers=7,
  width=16,
  first_kernel=7,
  kernel=3,
  hidden=32,
  dropout=0.0,
):
  """A PixelRNN over one of the eight raster orders of a grid.

  Args:
    spec: DataSpec of shape (H, W), whose channels the head models jointly, or
      of sub-pixels as sites, (H, W, S); conditions of kind "label" and
      "aligned" enter at every layer, aligned ones not with sub-pixels as
      sites.
    head: Head.
    ordering: Ordering of one raster order, from any corner, by rows or columns.
    cell: "row_lstm" or "diagonal_bilstm".
    layers: N, of LSTMs.
    width: h, of the state; the stream between layers has 2h features.
    first_kernel: k, odd: the first layer reads the pixels before its own of
      k x k around it.
    kernel: of Row LSTM, odd: how many states of the row above a pixel is told,
      and the width of the convolution over its own row, half of it masked.
    hidden: width of the last layer but one.
    dropout: rate on what each layer adds to the stream.
  Raises:
    ValueError: another order, shape, cell or kind of condition; a kernel that
      is not odd, a size below 1.
  """
  name = "pixel_rnn"
  arguments.choose("cell", cell, ("row_lstm", "diagonal_bilstm"))
  sizes = dict(layers=layers, width=width, kernel=kernel, hidden=hidden)
  arguments.at_least(name, 1, **sizes)
  arguments.at_least(name, 3, first_kernel=first_kernel)
  if kernel % 2 == 0 or first_kernel % 2 == 0:
    raise ValueError(f"{name}: odd kernels, not {first_kernel}, {kernel}")
  H, W, S = pixels.grid(spec, ordering, name)
  takes = ("label", "aligned") if S == 1 else ("label",)
  condition.check(spec.conditions, takes, name)
  F, a = S * spec.channels, first_kernel // 2  # F values of a pixel
  row = cell == "row_lstm"
  net = _Net(
    **sizes,
    first_kernel=first_kernel,
    row=row,
    num_params=head.num_params,
    subpixels=S,
    dropout=dropout,
  )
  conditions = condition.tupled(spec.conditions)
  bias_net = condition.Bias(conditions, layers, 2 * width)
  columns = W if row else W + 1
  edge = (0, 0), (a, 0), (a, a + columns - W), (0, 0)

  def call(params, method, *args):
    return net.apply({"params": params["net"]}, *args, method=method)

  def dtype_of(params):
    return params["net"]["state_kernel"].dtype

  def conditioned(params, y):
    """[1|B, 1|H, 1|columns, N, 2h] or None."""
    bias = bias_net.apply({"params": params["condition"]}, y)
    if bias is None or bias.shape[1] == 1:
      return None if bias is None else bias[:, None]
    bias = bias.reshape(-1, H, W, *bias.shape[2:])
    pad = (0, 0), (0, 0), (0, columns - W), (0, 0), (0, 0)
    return jnp.pad(bias, pad)  # nothing is known of a column past the last

  def init(key):
    k1, k2 = jax.random.split(key)
    x_BHWF = jnp.pad(jnp.zeros((1, H, W, F + 1)), edge)
    return dict(
      condition=bias_net.init(k2, None).get("params", {}),
      net=net.init(k1, x_BHWF, None, columns - W)["params"],
    )

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    del order_BL  # x is in generation order, and there is one order
    x_BHWF = x_BLC.reshape(-1, H, W, F)
    x_BHWF = pixels.code(x_BHWF, spec.num_values, dtype_of(params))
    given = jnp.pad(x_BHWF, edge), conditioned(params, y), columns - W, key_B
    theta = net.apply({"params": params["net"]}, *given)
    return theta.reshape(-1, spec.length, head.num_params)

  def init_cache(params, batch, length, order_BL=None, y=None):
    del order_BL
    decode.check_length(length, spec)
    dtype = dtype_of(params)
    inside = jnp.zeros((batch, H, W, F + 1), dtype).at[..., -1].set(1)
    return dict(
      bias=conditioned(params, y),
      pixels=jnp.pad(inside, edge),  # coded values so far
      state=net.zero_state(batch, columns, dtype),
      feature=jnp.zeros((batch, 2 * width), dtype),
      room=jnp.zeros(length, bool),  # its shape alone is read
    )

  def step(params, cache, x_BC, t):
    cache = dict(cache, pixels=_written(cache["pixels"], x_BC, t))
    i, j, s = t // S // W, t // S % W, t % S

    def at(state, i, j):
      """(feature, state) of a pixel that comes next in its row."""
      window = _slice(cache["pixels"], i, j, a + 1, first_kernel)
      bias = cache["bias"]
      if bias is not None:  # an index into a single row is clamped to it
        bias = _slice(bias, i, j, 1, 1)
      return call(params, "pixel", window, bias, state, i, j)

    def finish_row(state):
      _, state = at(state, i - 1, W)  # past the last pixel
      return call(params, "backwards", state)

    def new_pixel(_, state):
      if not row:
        begins = (i > 0) & (j == 0)
        state = jax.lax.cond(begins, finish_row, lambda state: state, state)
      return at(state, i, j)

    given = cache["feature"], cache["state"]
    if S == 1:
      feature, state = new_pixel(*given)
    else:
      feature, state = jax.lax.cond(s == 0, new_pixel, lambda *a: a, *given)
    value = _slice(cache["pixels"], i + a, j + a, 1, 1)[:, 0, 0, :-1]
    theta = call(params, "site", feature, value, s)
    return theta, dict(cache, feature=feature, state=state)

  def _written(pixels_BHWF, x_BC, t):
    """With the values of step t - 1; before the first one, none."""
    q, s = (t - 1) // S, (t - 1) % S if S > 1 else 0
    coded_BC = pixels.code(x_BC, spec.num_values, pixels_BHWF.dtype)[:, :-1]
    coded_BC = jnp.where(t == 0, 0, coded_BC)[:, None, None]
    at = [jnp.int32(n) for n in (0, q // W + a, q % W + a, s)]
    return jax.lax.dynamic_update_slice(pixels_BHWF, coded_BC, at)

  scan = decode.extend_by_scan(step)

  def extend(params, cache, x_BKC, t, n=None):
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    return scan(params, cache, x_BKC, t, n)

  sees = None
  if row:
    sees = reach.sites(_triangle(H, W, layers, kernel // 2, a), S)
  aligned = condition.aligned(spec.conditions)
  return Model(init, apply, init_cache, step, extend, sees, aligned=aligned)


def _slice(a_BHW, i, j, rows, columns):
  a_BHW = jax.lax.dynamic_slice_in_dim(a_BHW, i, rows, axis=1)
  return jax.lax.dynamic_slice_in_dim(a_BHW, j, columns, axis=2)


def _triangle(height, width, layers, r, a):
  """bool [H, W, H, W]: which pixels a pixel of Row LSTM can depend on.

  From a pixel one goes up through the states, r to either side a row, r to
  the left a layer, and last to what the first kernel reads, a to the left in
  the row and a to either side above.
  """
  i, j, above, other = np.ogrid[:height, :width, :height, :width]
  up, right = i - above, other - j
  least = -(a + r * up + r * layers)
  most = np.where(up == 0, -1, a + r * (up - 1))
  return (up >= 0) & (right >= least) & (right <= most)


class _Net(nn.Module):
  """The layers, over the whole grid and for one pixel."""

  row: bool  # Row LSTM, or else Diagonal BiLSTM
  num_params: int
  subpixels: int
  layers: int
  width: int
  first_kernel: int
  kernel: int
  hidden: int
  dropout: float

  @property
  def taps(self):
    """Pixels of a row, up to the own one, that a state is given."""
    return (self.kernel + 1) // 2 if self.row else 1

  def setup(self):
    N, D, k = self.layers, self.width, self.first_kernel
    # The two parts of a masked k x k kernel that are not zero.
    self.above = Conv(2 * D, (k // 2, k))
    self.before = Conv(2 * D, (1, k // 2), use_bias=False)
    # Networks, and how many states a pixel is told.
    count, told = (1, self.kernel) if self.row else (2, 2)
    read = functools.partial(Conv, kernel=(1, self.taps))
    self.read = [
      (read if self.taps > 1 else Dense)(count * 4 * D) for _ in range(N)
    ]
    shape = N, count, told * D, 4 * D
    self.state_kernel = self.param("state_kernel", conv_lstm.orthogonal, shape)
    self.up = [Dense(2 * D) for _ in range(N)]
    self.tail = Tail(self.hidden, self.num_params, self.subpixels)

  def __call__(self, x_BHWF, bias, past, key_B=None):
    """theta [B, H, W, S, P].

    Args:
      x_BHWF: coded pixels with edges, as wide as the first kernel reaches.
      bias: [1|B, 1|H, 1|W, N, 2h] or None.
      past: columns past the last one.
      key_B: keys for dropout.
    """
    u_BHWD = self.first(x_BHWF)
    for n in range(self.layers):
      u_BHWD = u_BHWD if bias is None else u_BHWD + bias[:, :, :, n]
      before = (0, 0), (0, 0), (self.taps - 1, 0), (0, 0)
      gates_BHWG = self.read[n](jnp.pad(u_BHWD, before))
      states = self._rows if self.row else self._diagonals
      h_BHWD = states(gates_BHWG, self.state_kernel[n])
      h_BHWD = dropout(h_BHWD, self.dropout, fold(key_B, n))
      u_BHWD = u_BHWD + self.up[n](h_BHWD)
    W, a = u_BHWD.shape[2] - past, self.first_kernel // 2
    values = x_BHWF[:, a:, a : a + W, :-1]
    return self.tail.every(u_BHWD[:, :, :W], values)

  def first(self, x_BHWF):
    """Of the pixels before each, in windows of (a + 1) x (2a + 1)."""
    a = self.first_kernel // 2
    before = self.before(x_BHWF[:, a:, : -(a + 1)])
    return self.above(x_BHWF[:, :-1]) + before

  def _rows(self, gates_BHWG, kernel):
    """States of Row LSTM [B, H, W, h], row by row."""
    r = self.kernel // 2
    gates_HBWG = gates_BHWG.swapaxes(0, 1)[:, None]
    h_HBWD = conv_lstm.scan(gates_HBWG, kernel, range(-r, r + 1))
    return h_HBWD[:, 0].swapaxes(0, 1)

  def _diagonals(self, gates_BHWG, kernel):
    """Of Diagonal BiLSTM, both directions added; the second a row lower."""
    gates = jnp.split(gates_BHWG, 2, -1)
    gates = jnp.stack([gates[0], gates[1][:, :, ::-1]])
    gates_KRBHG = jnp.moveaxis(conv_lstm.skew(gates), -2, 0)
    h_KRBHD = conv_lstm.scan(gates_KRBHG, kernel, (0, -1))
    h = conv_lstm.unskew(jnp.moveaxis(h_KRBHD, 0, -2))
    backwards = jnp.pad(h[1], ((0, 0), (1, 0), (0, 0), (0, 0)))
    return h[0] + backwards[:, :-1, ::-1]

  def site(self, feature_BD, value_BS, s):
    """theta [B, P] of sub-pixel s of one pixel."""
    return self.tail(feature_BD, value_BS, s)

  # --- one pixel from stored rows, of all layers beside each other ---

  def zero_state(self, batch, columns, dtype):
    """Before the first pixel.

    h: [N, B, columns with edges, h], the row above, overwritten by the own;
      of Row LSTM, that still reads what is left in the row above, two rows
      that take turns.
    c: [N, B, columns with edges, h], the row above, overwritten.
    left: [N, B, taps - 1, 2h], inputs of the layers at the pixels before.
    gates: [N, B, columns, 4h], of the second direction in the own row.
    backwards: [N, B, columns, h], the second direction in the row above.
    """
    N, D = self.layers, self.width
    wide = columns + (self.kernel - 1 if self.row else 1)
    sizes = dict(
      h=(wide * (2 if self.row else 1), D),
      c=(wide, D),
      left=(self.taps - 1, 2 * D),
    )
    if not self.row:
      sizes.update(gates=(columns, 4 * D), backwards=(columns, D))
    return {k: jnp.zeros((N, batch, *v), dtype) for k, v in sizes.items()}

  def pixel(self, window_BHWF, bias, state, i, j):
    """(feature [B, 2h], state) of the pixel (i, j), the next in its row."""
    N, D = self.layers, self.width
    kernel = self.state_kernel[:, 0]
    h, c = state["h"], state["c"]
    told = kernel.shape[1] // D
    edge = told // 2  # of columns, before the first one
    wide, lines = c.shape[2], h.shape[2] // c.shape[2]
    own, above = (wide * (n % lines) for n in (i, i + 1))
    told_h = _columns(h, above + j, told).reshape(N, -1, told * D)
    # Row LSTM goes on from c above, Diagonal BiLSTM from c on the left.
    told_c = _columns(c, j + edge if self.row else j)[:, :, 0]
    recurrent = told_h @ kernel
    if not self.row:
      backwards = _columns(state["backwards"], j)[:, :, 0]
    left = jnp.where(j == 0, 0, state["left"])
    u_BD = self.first(window_BHWF)[:, 0, 0]
    inputs, after = [], []
    for n in range(N):
      u_BD = u_BD if bias is None else u_BD + bias[:, 0, 0, n]
      inputs.append(jnp.concatenate([left[n], u_BD[:, None]], 1))
      gates = self.read[n](inputs[n][:, None])[:, 0, 0]
      new_h, new_c = conv_lstm.cell(gates[:, : 4 * D] + recurrent[n], told_c[n])
      after.append((new_h, new_c, gates[:, 4 * D :]))
      u_BD = u_BD + self.up[n](new_h if self.row else new_h + backwards[n])
    new_h, new_c, gates = map(jnp.stack, zip(*after, strict=True))
    state = dict(
      state,
      h=_put(h, new_h, own + j + edge),
      c=_put(c, new_c, j + edge),
      left=jnp.stack(inputs)[:, :, 1:],
    )
    if not self.row:
      state["gates"] = _put(state["gates"], gates, j)
    return u_BD, state

  def backwards(self, state):
    """The state with the second direction of the row that is now finished."""
    kernel = self.state_kernel[:, 1]

    def column(carried, inputs):
      h, c = carried
      gates, above = inputs
      told = jnp.concatenate([h, above], -1)
      h, c = conv_lstm.cell(gates + told @ kernel, c)
      return (h, c), h

    by_column = [jnp.moveaxis(state[k], 2, 0) for k in ("gates", "backwards")]
    zero = jnp.zeros_like(by_column[1][0])
    _, h = jax.lax.scan(column, (zero, zero), by_column, reverse=True)
    return dict(state, backwards=jnp.moveaxis(h, 0, 2))


def _columns(a_NBW, j, count=1):
  return jax.lax.dynamic_slice_in_dim(a_NBW, j, count, axis=2)


def _put(a_NBW, new_NB, j):
  new_NBW = new_NB[:, :, None]
  return jax.lax.dynamic_update_slice_in_dim(a_NBW, new_NBW, j, axis=2)
