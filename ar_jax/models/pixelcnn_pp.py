"""PixelCNN++: two streams down and up several scales (Salimans et al. 2017).

The u stream reads the rows above a pixel, the l stream what is left of it in
its row as well, and at each block what the u stream has there. Both go down,
by strided convolutions, and up again, where each block reads by a skip
connection what the one across had on the way down. Nothing is masked: the
input is moved by a row, or by a column, and the kernels reach up, or left,
only.

A coarse row begins at an even row of the scale above, a coarse pixel at an
even pixel of it. So a step runs little of the network: rows of u when a row of
pixels begins, coarse ones every other time, and one pixel of l. Each
convolution keeps the last two rows of what it reads: `win` hands it the whole
map, padded (`apply`), or its window out of those rows (`step`); all layers are
the same code.

Longer than 400 lines because steps, layers and what is seen follow the same
way through the scales, and are read side by side.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ar_jax import decode
from ar_jax.nn import condition, pixels, reach, weight_norm
from ar_jax.nn.arguments import at_least
from ar_jax.nn.conv import convolve
from ar_jax.nn.dropout import dropout, fold
from ar_jax.nn.kept import kept
from ar_jax.types import Condition, DataSpec, Model

_LABEL = dict(label=Condition("label", 2))
_SMALL = dict(scales=2, blocks=1, width=4, orderings=("raster",))
TINY = [
  dict(_SMALL, spec=DataSpec((2, 3), 1, 2, None, _LABEL), dropout=0.1),
  dict(spec=DataSpec((3, 2), 1, None, 0.5, _LABEL), **_SMALL),
  dict(_SMALL, spec=DataSpec((2, 2), 3, 2), orderings=("reverse",)),
  dict(_SMALL, spec=DataSpec((4, 2), 1, 2), scales=3),
]

KERNELS = dict(u=(2, 3), l=(2, 2))
NOISE = 4  # images of noise that the lengths of the weights are set on


def make(spec, head, ordering, *, scales=3, blocks=5, width=160, dropout=0.0):
  """A PixelCNN++ over one of the eight raster orders of a grid.

  Weights are normalized; their lengths and the biases start such that what a
  layer makes of images of noise has mean 0 and variance 1, or 0.01 in the gate
  of a block and in theta.

  Args:
    spec: DataSpec of shape (H, W), of any size, whose channels the head models
      jointly; conditions of kind "label" enter every block.
    head: Head; rgb_logistic is that of the paper.
    ordering: Ordering of one raster order, from any corner, by rows or columns.
    scales: S, each half as high and wide as the one before, rounded up.
    blocks: gated residual blocks of a stream, at each scale on its way down.
    width: D, features of both streams.
    dropout: rate within the blocks.
  Raises:
    ValueError: another order, shape or kind of condition; a size below 1.
  """
  at_least("pixelcnn_pp", 1, scales=scales, blocks=blocks, width=width)
  H, W, sites = pixels.grid(spec, ordering, "pixelcnn_pp")
  if sites > 1:
    raise ValueError(
      "pixelcnn_pp models the colors of a pixel jointly, as channels; sites of"
      f" sub-pixels, as shape {spec.shape} has, are for gated_pixelcnn"
    )
  condition.check(spec.conditions, ("label",), "pixelcnn_pp")
  L, C, V = spec.length, spec.channels, spec.num_values
  layout = _layout(scales, blocks)
  net = _Net(head.num_params, scales, blocks, width, dropout)
  num_blocks = sum(len(n) for down, up in layout.values() for n in (down, up))
  bias_net = condition.Bias(
    condition.tupled(spec.conditions), num_blocks, 2 * width
  )

  def prepared(params, y):
    """What all steps share: (weights, biases of blocks [1|B, 1, N, 2D])."""
    bias = bias_net.apply({"params": params["condition"]}, y)
    return weight_norm.join(params["net"]), bias

  def dtype_of(params):
    return params["net"]["theta"]["bias"].dtype

  def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    shape = NOISE, H, W, C
    if V is None:
      x_BHWC = jax.random.normal(k3, shape)
    else:
      x_BHWC = jax.random.randint(k3, shape, 0, V)
    x_BHWF = pixels.code(x_BHWC, V, jnp.result_type(float))
    return dict(
      condition=bias_net.init(k2, None).get("params", {}),
      net=weight_norm.split(net.init(k1, x_BHWF, None)["params"]),
    )

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    del order_BL  # x is in generation order, and there is one order
    x_BHWF = pixels.code(x_BLC.reshape(-1, H, W, C), V, dtype_of(params))
    weights, bias = prepared(params, y)
    theta = net.apply({"params": weights}, x_BHWF, bias, key_B)
    return theta.reshape(-1, L, head.num_params)

  def init_cache(params, batch, length, order_BL=None, y=None):
    del order_BL
    decode.check_length(length, spec)
    dtype = dtype_of(params)
    weights, bias = prepared(params, y)
    return dict(
      weights=weights,
      bias=bias,
      row=jnp.zeros((batch, 1, W, C + 1), dtype),  # its pixels so far
      beside=jnp.zeros((batch, 1, W, width), dtype),
      levels=_levels(layout, width, (batch, H, W, C + 1), dtype),
      room=jnp.zeros(length, bool),  # its shape alone is read
    )

  def step(params, cache, x_BC, t):
    i, j = t // W, t % W
    coded_BF = pixels.code(x_BC, V, dtype_of(params))
    before = jnp.where(t == 0, 0, coded_BF)[:, None, None]
    row = jax.lax.dynamic_update_slice_in_dim(
      cache["row"], before, (t - 1) % W, axis=2
    )

    def run(method, *args):
      return net.apply({"params": cache["weights"]}, *args, method=method)

    def new_row():
      maps = dict(cache["levels"][0]["u"])
      x, beside = run("begin_u", _pushes(maps, "u", i, 0), row)
      levels = [dict(cache["levels"][0], u=maps), *cache["levels"][1:]]
      _, levels = _visit(run, "u", 0, levels, i, 0, x, cache["bias"])
      return beside, levels

    beside, levels = jax.lax.cond(
      j == 0, new_row, lambda: (cache["beside"], cache["levels"])
    )
    maps = dict(levels[0]["l"])
    x = run(
      "begin_l",
      _pushes(maps, "l", i, j),
      jnp.where(j == 0, 0, before),
      _at(beside, j),
    )
    levels = [dict(levels[0], l=maps), *levels[1:]]
    h, levels = _visit(run, "l", 0, levels, i, j, x, cache["bias"])
    theta_BP = run("end", h)[:, 0, 0]
    return theta_BP, dict(cache, row=row, beside=beside, levels=levels)

  scan = decode.extend_by_scan(step)

  def extend(params, cache, x_BKC, t, n=None):
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    return scan(params, cache, x_BKC, t, n)

  sees = reach.sites(_sees(H, W, layout), 1)
  return Model(init, apply, init_cache, step, extend, sees)


def _layout(scales, blocks):
  """(stream, scale) -> numbers of its blocks, on the way down and up."""
  count = itertools.count()
  return {
    (stream, s): (
      [next(count) for _ in range(blocks)],
      [next(count) for _ in range(blocks + (s + 1 < scales))],
    )
    for stream in KERNELS
    for s in range(scales)
  }


# --- a step: two rows of what each convolution reads, for every scale ---


def _levels(layout, width, shape, dtype):
  """What is kept of each scale, before the first row.

  u, l: name of a map -> [B, 2, 1 + W (+ 1), F], the last two rows that the
    convolution reads: row r in slot r % 2, with a column of zeros at the left,
    and of u at the right.
  up_u, up_l: [B, 2, W, D], what the scale below says of the two rows.
  enc, dec: [B, 1, W, N, D], the u stream of this row on its way down and up.
  """
  B, H, W, F = shape
  levels = []
  scales = len(layout) // len(KERNELS)
  for s in range(scales):
    level = dict()
    for stream in KERNELS:
      channels = dict(x=F) if s == 0 else {}
      if s + 1 < scales:
        channels["down"] = width
        even = B, 2, 2 * -(-W // 2), width
        level[f"up_{stream}"] = jnp.zeros(even, dtype)
      for number in itertools.chain(*layout[stream, s]):
        channels |= dict.fromkeys(_names(number), 2 * width)
      columns = W + KERNELS[stream][1] - 1
      level[stream] = {
        name: jnp.zeros((B, 2, columns, n), dtype)
        for name, n in channels.items()
      }
    down, up = layout["u", s]
    level["enc"] = jnp.zeros((B, 1, W, len(down) + 1, width), dtype)
    level["dec"] = jnp.zeros((B, 1, W, len(up), width), dtype)
    levels.append(level)
    H, W = -(-H // 2), -(-W // 2)
  return levels


def _visit(run, stream, s, levels, r, c, x, bias):
  """Row r of u, or pixel (r, c) of l: (feature, levels).

  Args:
    run: calls a method of the net.
    stream: "u" or "l".
    s: the scale.
    levels: of `_levels`, from scale s on.
    r, c: row and column of this scale; c is 0 for u.
    x: feature that enters, [B, 1, W, D] or [B, 1, 1, D].
    bias: of all blocks.
  """
  level, lower, up = dict(levels[0]), levels[1:], f"up_{stream}"
  maps = level[stream] = dict(level[stream])
  win = _pushes(maps, stream, r, c)
  enc = dec = None
  if stream == "l":
    enc, dec = (_features(_at(level[name], c)) for name in ("enc", "dec"))
  seen = run("encode", stream, s, win, x, enc, bias)
  if lower:
    window = win("down", seen[-1])

    def begin(lower):
      x = run("down", stream, s, window)
      h, lower = _visit(run, stream, s + 1, lower, r // 2, c // 2, x, bias)
      h = run("up", stream, s, h)
      return jax.lax.dynamic_update_slice(level[up], h, _start(0, c)), lower

    level[up], lower = jax.lax.cond(
      (r % 2 == 0) & (c % 2 == 0),
      begin,
      lambda lower: (level[up], lower),
      lower,
    )
    h = jax.lax.dynamic_slice(level[up], _start(r, c), x.shape)
    outs = run("decode", stream, s, win, h, seen, dec, bias)
  else:
    outs = run("decode", stream, s, win, seen[-1], seen[:-1], dec, bias)
  if stream == "u":
    level.update(enc=jnp.stack(seen, 3), dec=jnp.stack(outs, 3))
  return outs[-1], [level, *lower]


def _pushes(maps, stream, r, c):
  """win(name, x): puts a row, or a pixel, into its map; gives the window.

  `maps` holds the new ones afterwards.
  """

  def win(name, x):
    at = _start(r, c + 1)
    both = maps[name] = jax.lax.dynamic_update_slice(maps[name], x, at)
    if stream == "l":
      both = jax.lax.dynamic_slice_in_dim(both, c, KERNELS["l"][1], axis=2)
    return jnp.where(r % 2 == 0, both[:, ::-1], both)

  return win


def _start(r, c):
  """Where row r and column c begin in [B, 2, W, F]."""
  return tuple(jnp.int32(n) for n in (0, r % 2, c, 0))


def _at(rows, c):
  """Column c of [B, 1, W, ...]."""
  return jax.lax.dynamic_slice_in_dim(rows, c, 1, axis=2)


def _features(rows):
  """The N features [B, 1, W, D] of [B, 1, W, N, D]."""
  return [rows[:, :, :, n] for n in range(rows.shape[3])]


# --- what it sees ---


def _sees(height, width, layout):
  """bool [H, W, H, W]: which pixels each pixel can depend on."""
  own = reach.own(height, width)
  scales = len(layout) // len(KERNELS)

  def conv(seen, stream, rows=(-1, 0)):
    columns = range(-1, KERNELS[stream][1] - 1)
    return reach.union(seen, itertools.product(rows, columns))

  def blocks(stream, x, others):
    outs = []
    for other in others:
      x = x | conv(conv(x, stream) | other, stream)
      outs.append(x)
    return outs

  def upsampled(stream, h, shape):
    left, right = h, h if stream == "l" else h | reach.moved(h, 0, 1)
    h = np.stack([left, right], 2).reshape(len(h), -1, *h.shape[2:])
    return h.repeat(2, axis=0)[: shape[0], : shape[1]]

  def visit(stream, s, x, beside):
    down, up = layout[stream, s]
    none = [False] * (len(down) + 1), [False] * len(up)
    enc, dec = beside[0] if beside else none
    seen = [x, *blocks(stream, x, enc[1:])]
    lower, skips, h = [], seen[:-1], seen[-1]
    if s + 1 < scales:
      coarse = conv(h, stream)[::2, ::2]
      lower = visit(stream, s + 1, coarse, beside[1:])
      skips, h = seen, upsampled(stream, lower[0][1][-1], x.shape)
    others = [a | b for a, b in zip(skips[::-1], dec, strict=True)]
    return [(seen, blocks(stream, h, others)), *lower]

  above = reach.moved(own, -1, 0)
  before = reach.moved(own, 0, -1)
  u = visit("u", 0, conv(above, "u"), [])
  x = conv(above, "u", rows=(0,)) | reach.union(before, [(-1, 0), (0, 0)])
  return visit("l", 0, x, u)[0][1][-1]


# --- layers ---


class _Net(nn.Module):
  """Both streams, over any rows and columns.

  `win(name, x)` gives what a convolution reads to make its output at x: a row
  above, a column at the left, and for u one at the right.
  """

  num_params: int
  scales: int
  blocks: int
  width: int
  dropout: float

  def setup(self):
    D, layout = self.width, _layout(self.scales, self.blocks)

    def stack(numbers, kernel):
      return [_Block(D, kernel, n, self.dropout) for n in numbers]

    self.first_above = _Map(D, KERNELS["u"])
    self.first_row = _Map(D, (1, 3))
    self.first_left = _Map(D, (2, 1))
    way_down, way_up, strided, spread = {}, {}, {}, {}
    for (stream, s), (down, up) in layout.items():
      kernel, name = KERNELS[stream], f"{stream}{s}"
      way_down[name], way_up[name] = stack(down, kernel), stack(up, kernel)
      if s + 1 < self.scales:
        strided[name] = _Map(D, kernel, stride=2)
        spread[name] = _Map(2 * kernel[1] * D)
    self.way_down, self.way_up = way_down, way_up
    self.strided, self.spread = strided, spread
    self.theta = _Map(self.num_params, scale=0.1)

  def __call__(self, x_BHWF, bias, key_B=None):
    """theta [B, H, W, P] of coded pixels."""

    def win(stream, name, x):
      del name
      right = KERNELS[stream][1] - 2
      return jnp.pad(x, ((0, 0), (1, 0), (1, right), (0, 0)))

    def visit(stream, s, x, beside):
      """[(down, up)] of scale s and those below."""
      pad, keys = functools.partial(win, stream), (bias, key_B)
      enc, dec = beside[0] if beside else (None, None)
      seen = self.encode(stream, s, pad, x, enc, *keys)
      lower, skips, h = [], seen[:-1], seen[-1]
      if s + 1 < self.scales:
        coarse = self.down(stream, s, pad("down", h))
        lower = visit(stream, s + 1, coarse, beside[1:])
        h = self.up(stream, s, lower[0][1][-1])
        h, skips = h[:, : x.shape[1], : x.shape[2]], seen
      return [(seen, self.decode(stream, s, pad, h, skips, dec, *keys)), *lower]

    above = jnp.pad(x_BHWF, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
    before = jnp.pad(x_BHWF, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    x, beside = self.begin_u(functools.partial(win, "u"), above)
    u = visit("u", 0, x, [])
    x = self.begin_l(functools.partial(win, "l"), before, beside)
    return self.end(visit("l", 0, x, u)[0][1][-1])

  def begin_u(self, win, x):
    """(first of u, what l reads of the row above); x: of row i, row i - 1."""
    window = win("x", x)
    return self.first_above(window), self.first_row(window[:, 1:])

  def begin_l(self, win, x, beside):
    """First of l; x: of pixel (i, j), pixel (i, j - 1)."""
    return beside + self.first_left(win("x", x)[:, :, 1:])

  def encode(self, stream, s, win, x, beside, bias, key_B=None):
    """[x, after each block]; beside: the same of u, or None."""
    outs = [x]
    for n, block in enumerate(self.way_down[f"{stream}{s}"]):
      other = None if beside is None else beside[n + 1]
      outs.append(block(win, outs[-1], other, bias, key_B))
    return outs

  def decode(self, stream, s, win, x, skips, beside, bias, key_B=None):
    """[after each block]; skips: of `encode`, the last is read first."""
    outs = []
    for n, block in enumerate(self.way_up[f"{stream}{s}"]):
      other = skips[-1 - n]
      if beside is not None:
        other = jnp.concatenate([beside[n], other], -1)
      x = block(win, x, other, bias, key_B)
      outs.append(x)
    return outs

  def down(self, stream, s, window):
    """To the next scale: of a window [B, 2.., 2.., D]."""
    return self.strided[f"{stream}{s}"](window)

  def up(self, stream, s, h_BRCD):
    """[B, 2R, 2C, D] of the scale above, by a transposed convolution.

    Its kernel is 2 x 2 for l, and 2 x 3 for u, where a pixel also speaks of
    the column at its left.
    """
    B, R, C, D = h_BRCD.shape
    z = self.spread[f"{stream}{s}"](h_BRCD).reshape(B, R, C, 2, -1, D)
    if stream == "u":
      left, even, odd = jnp.moveaxis(z, 4, 0)
      left = jnp.pad(left[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0), (0, 0)))
      z = jnp.stack([even, odd + left], 4)
    return z.swapaxes(2, 3).reshape(B, 2 * R, 2 * C, D)

  def end(self, h):
    """theta [B, R, C, P]."""
    return self.theta(nn.elu(h))


class _Block(nn.Module):
  """Gated residual block; `beside` enters by a 1x1."""

  width: int
  kernel: tuple
  number: int
  dropout: float

  @nn.compact
  def __call__(self, win, x, beside, bias, key_B):
    D = self.width
    into, out = _names(self.number)
    z = _Map(D, self.kernel, name="into")(win(into, _concat_elu(x)))
    if beside is not None:
      z = z + _Map(D, name="beside")(_concat_elu(beside))
    z = dropout(_concat_elu(z), self.dropout, fold(key_B, self.number))
    z = _Map(2 * D, self.kernel, scale=0.1, name="out")(win(out, z))
    if bias is not None:
      z = z + bias[:, :, None, self.number]
    a, b = jnp.split(z, 2, axis=-1)
    return kept(x + a * nn.sigmoid(b))


class _Map(nn.Module):
  """VALID convolution; unit variance of what it first sees, times scale^2."""

  features: int
  kernel: tuple = (1, 1)
  stride: int = 1
  scale: float = 1.0

  @nn.compact
  def __call__(self, x_BHWD):
    shape = *self.kernel, x_BHWD.shape[-1], self.features

    def unit(key, shape):
      kernel = nn.initializers.lecun_normal()(key, shape)
      y_BHWF = self._convolve(x_BHWD, kernel.astype(x_BHWD.dtype))
      std = y_BHWF.std((0, 1, 2), keepdims=True)
      # What sees nothing but the edge keeps the variance it was drawn with.
      return kernel * self.scale / jnp.where(std > 1e-6, std, 1)

    def centered(key, shape):
      del key
      return -y_BHWF.mean((0, 1, 2)).reshape(shape)

    kernel = self.param("kernel", unit, shape).astype(x_BHWD.dtype)
    y_BHWF = self._convolve(x_BHWD, kernel)
    bias = self.param("bias", centered, (self.features,)).astype(y_BHWF.dtype)
    return y_BHWF + bias.reshape(1, 1, 1, -1)

  def _convolve(self, x_BHWD, kernel):
    return convolve(x_BHWD, kernel, stride=self.stride)


def _names(number):
  """Of the maps that the convolutions of a block read."""
  return f"{number}_into", f"{number}_out"


def _concat_elu(x):
  return jnp.concatenate([nn.elu(x), nn.elu(-x)], -1)
