"""PixelCNN for any order: masked, or locally masked, convolutions.

van den Oord et al. 2016 (masks A and B, residual blocks); Jain et al. 2020
(masks from the order). A site reads a window around it, of which it sees the
sites that come before it, and at all layers but the first itself. Under the
raster's eight symmetries that is one mask of the kernel, and a convolution;
under any other order, a mask for each site. Sub-pixels as sites are groups of
features. The parameters are the same.

Sampling stays in the order of generation: a map holds the features of the
steps, and a table names the steps in the window of each.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ar_jax import decode
from ar_jax import ordering as orders
from ar_jax.nn import condition, pixels, windows
from ar_jax.nn.arguments import at_least
from ar_jax.nn.dense import Dense, matmul
from ar_jax.nn.dropout import dropout, fold
from ar_jax.types import Condition, DataSpec, Model

_LABEL = dict(label=Condition("label", 2))
_EVERY = dict(
  label=Condition("label", 2),
  slope=Condition("aligned", None, (4, 2)),
  region=Condition("aligned", 3, (4,)),
)
_SMALL = dict(blocks=1, width=24, first_kernel=3)  # a ReLU may be off
TINY = [
  dict(spec=DataSpec((2, 2), 1, 2, None, _LABEL), **_SMALL, position=True),
  dict(
    spec=DataSpec((3, 2), 1, 2),
    blocks=2,
    width=16,
    dropout=0.1,
    orderings=("raster",),
  ),
  dict(spec=DataSpec((4, 1), 1, 2, None, _EVERY), **_SMALL, position=True),
  dict(spec=DataSpec((1, 2, 2), 1, 2, None, _LABEL), **_SMALL, position=True),
  dict(spec=DataSpec((2, 1, 3), 1, 2), **_SMALL, orderings=("reverse",)),
  dict(spec=DataSpec((2, 2), 2, 2), **_SMALL, orderings=("random",)),
  dict(
    spec=DataSpec((2, 2), 1, None, 0.5, _LABEL),
    blocks=1,
    width=8,
    first_kernel=3,
    position=True,
  ),
]


def make(
  spec,
  head,
  ordering,
  *,
  blocks=7,
  width=64,
  kernel=3,
  first_kernel=7,
  hidden=None,
  position=False,
  dropout=0.0,
):
  """A PixelCNN over a grid, in any order or family of orders.

  Args:
    spec: DataSpec of shape (H, W), whose channels the head models jointly, or
      of sub-pixels as sites, (H, W, S); conditions of kind "label" and
      "aligned" enter each block.
    head: Head.
    ordering: Ordering.
    blocks: residual blocks N: 1x1 to D / 2, masked k x k, 1x1 to D.
    width: D, features of a site, even.
    kernel: k of the blocks, odd.
    first_kernel: of the first layer, odd, above 1.
    hidden: width of the output's layer; None: D.
    position: whether each site has an embedding of its own: for a family of
      orders, in which what is known does not say which site is next.
    dropout: rate on what each block reads.
  Raises:
    ValueError: another shape or kind of condition; a size that does not fit.
  """
  at_least("pixelcnn", 0, blocks=blocks)
  at_least("pixelcnn", 2, width=width, first_kernel=first_kernel)
  at_least("pixelcnn", 1, kernel=kernel)
  if kernel % 2 == 0 or first_kernel % 2 == 0 or width % 2:
    raise ValueError(
      f"pixelcnn takes odd kernels and an even width, got kernel {kernel},"
      f" first_kernel {first_kernel} and width {width}"
    )
  H, W, S = grid = pixels.shape(spec, "pixelcnn")
  condition.check(spec.conditions, ("label", "aligned"), "pixelcnn")
  L, C, N = spec.length, spec.channels, blocks
  kernels = (first_kernel, *(kernel,) * N)
  net = _Net(
    num_params=head.num_params,
    sites=L if position else 0,
    subpixels=S,
    kernels=kernels,
    width=width,
    hidden=hidden or width,
    dropout=dropout,
  )
  bias_net = condition.Bias(condition.tupled(spec.conditions), N + 1, width)
  masks = _constant_masks(ordering, grid, kernels)

  def dtype_of(params):
    return params["net"]["first_bias"].dtype

  def init(key):
    k1, k2 = jax.random.split(key)
    x_BHWSF = jnp.zeros((1, *grid, C + 1))
    unmasked = [np.ones((k, k, S, S), bool) for k in kernels]
    convolve = functools.partial(_convolve, unmasked)
    site_BL = jnp.arange(L)[None]
    return dict(
      condition=bias_net.init(k2, None).get("params", {}),
      net=net.init(k1, x_BHWSF, convolve, None, site_BL)["params"],
    )

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    rank_BL = orders.rank(order_BL)
    x_BLF = pixels.code(x_BLC, spec.num_values, dtype_of(params))
    x_BHWSF = orders.permute(x_BLF, rank_BL).reshape(-1, *grid, C + 1)
    if masks is not None:
      convolve = functools.partial(_convolve, masks)
    else:
      if rank_BL is None:
        rank_BL = jnp.arange(L, dtype=jnp.int32)[None]
      rank_BHWS = rank_BL.reshape(-1, *grid)
      known = [
        windows.known(rank_BHWS, k, own=n > 0)
        for n, k in ((0, first_kernel), (1, kernel))
      ]
      convolve = functools.partial(_convolve_locally, known)
    bias = bias_net.apply({"params": params["condition"]}, y)
    if bias is not None:
      aligned = bias.shape[1] > 1
      bias = orders.permute(bias, rank_BL) if aligned else bias
      bias = bias.reshape(
        -1, *(grid if aligned else (1, 1, 1)), *bias.shape[2:]
      )
    site_BL = jnp.arange(L)[None]
    variables = {"params": params["net"]}
    theta = net.apply(variables, x_BHWSF, convolve, bias, site_BL, key_B)
    return orders.permute(theta.reshape(len(x_BLC), L, -1), order_BL)

  def init_cache(params, batch, length, order_BL=None, y=None):
    decode.check_length(length, spec)
    order_BL = jnp.arange(L)[None] if order_BL is None else order_BL
    order_BL = jnp.asarray(order_BL, jnp.int32)
    rank_BHWS = orders.rank(order_BL).reshape(-1, *grid)
    sizes = (C + 1, *(width // 2,) * N)
    return dict(
      maps=[
        jnp.zeros((batch, length, size), dtype_of(params)) for size in sizes
      ],
      # Slot t of the first map holds what step t reads: the value before it.
      slots=[
        windows.steps(order_BL, rank_BHWS, k, own=n > 0) + (n == 0)
        for n, k in ((0, first_kernel), (1, kernel))
      ],
      site=order_BL,
      bias=bias_net.apply({"params": params["condition"]}, y),
      room=jnp.zeros(length, bool),  # its shape alone is read
    )

  def extend(params, cache, x_BKC, t, n=None):
    del n  # later steps overwrite what is past the cursor, and never read it
    K = x_BKC.shape[1]
    decode.check_capacity(t, K, len(cache["room"]))
    maps = list(cache["maps"])
    at = functools.partial(
      jax.lax.dynamic_slice_in_dim, start_index=t, slice_size=K, axis=1
    )
    site_BK = at(cache["site"])

    def convolve(n, a_BKD, kernel, bias_SF):
      maps[n] = jax.lax.dynamic_update_slice_in_dim(maps[n], a_BKD, t, axis=1)
      window_BKX = _take(maps[n], at(cache["slots"][min(n, 1)]))
      kernel = kernel.reshape(window_BKX.shape[-1], -1)
      every_BKF = matmul(window_BKX, kernel.astype(a_BKD.dtype))
      every_BKSF = every_BKF.reshape(*every_BKF.shape[:2], *bias_SF.shape)
      return _subpixel(every_BKSF + bias_SF[None, None], site_BK % S)

    coded_BKF = pixels.code(x_BKC, spec.num_values, dtype_of(params))
    bias = condition.at(cache["bias"], t, K)
    variables = {"params": params["net"]}
    theta_BKP = net.apply(variables, coded_BKF, convolve, bias, site_BK)
    return theta_BKP, dict(cache, maps=maps)

  def enter(params, cache, x_BKC, t):
    """Values alone: no feature of a step depends on its own value."""
    values, *maps = cache["maps"]
    coded_BKF = pixels.code(x_BKC, spec.num_values, dtype_of(params))
    values = jax.lax.dynamic_update_slice_in_dim(values, coded_BKF, t, axis=1)
    return dict(cache, maps=[values, *maps])

  step = decode.one_step(extend)
  sees = functools.partial(reached, grid, kernels)
  aligned = condition.aligned(spec.conditions)
  functions = init, apply, init_cache, step, extend, sees
  return Model(*functions, enter=enter, aligned=aligned)


def reached(grid, kernels, order_L):
  """bool [L, L]: the steps that windows lead to, layer by layer.

  Args:
    grid: (H, W, S).
    kernels: of the layers, the first one without the site itself.
    order_L: int [L], numpy, of all sites.
  """
  L = math.prod(grid)
  if len(order_L) != L:
    raise ValueError(f"an order of {len(order_L)} sites, where {L} are")
  rank_L = np.empty(L, np.int32)
  rank_L[order_L] = np.arange(L)
  rank_BHWS = rank_L.reshape(1, *grid)
  seen_LL = np.eye(L + 1, L, dtype=bool)  # row L: nothing
  for n, k in enumerate(kernels):
    table = windows.steps(order_L[None], rank_BHWS, k, own=n > 0, xp=np)
    new_LL = np.zeros_like(seen_LL)
    for steps_L in table[0].T:
      new_LL[:L] |= seen_LL[steps_L]
    seen_LL = new_LL
  return seen_LL[:L]


# --- masked convolutions: (n, features, kernel, bias) -> features ---
#
# features [B, H, W, S, D], kernel [k, k, S, D, S, F], bias [S, F].


def _constant_masks(ordering, grid, kernels):
  """The mask of each layer, bool [k, k, S, S]; None: sites differ."""
  orders_KL = orders.trained(ordering)
  if orders_KL is None or len(orders_KL) > 1:
    return None
  masks = []
  for n, k in enumerate(kernels):
    mask = windows.constant(orders_KL[0], grid, k)
    if mask is None:
      return None
    if n:
      mask[k // 2, k // 2] |= np.eye(grid[2], dtype=bool)
    masks.append(mask)
  return masks


def _convolve(masks, n, a_BHWSD, kernel, bias_SF):
  """One mask for all sites: a convolution with what the mask leaves."""
  B, H, W, S, D = a_BHWSD.shape
  mask, F = masks[n], bias_SF.shape[1]
  r = len(mask) // 2
  kernel = jnp.where(mask[:, :, :, None, :, None], kernel, 0)
  top, bottom = _span(mask.any((1, 2, 3)))
  left, right = _span(mask.any((0, 2, 3)))
  kernel = kernel[top:bottom, left:right]
  kernel = kernel.reshape(*kernel.shape[:2], S * D, S * F)
  y = jax.lax.conv_general_dilated(
    a_BHWSD.reshape(B, H, W, S * D),
    kernel.astype(a_BHWSD.dtype),
    window_strides=(1, 1),
    padding=((r - top, bottom - 1 - r), (r - left, right - 1 - r)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return y.reshape(B, H, W, S, F) + bias_SF[None, None, None]


def _span(used):
  """(first, last + 1) of what is used; of nothing, the middle one."""
  index = np.flatnonzero(used) if used.any() else np.array([len(used) // 2])
  return int(index[0]), int(index[-1]) + 1


def _convolve_locally(known, n, a_BHWSD, kernel, bias_SF):
  """A mask for each site. Windows are k * k maps: kept for no gradient."""

  @jax.checkpoint
  def run(a_BHWSD, kernel, bias_SF):
    B, H, W, S, D = a_BHWSD.shape
    k, F = len(kernel), bias_SF.shape[1]
    window = windows.patches(a_BHWSD, k)
    kernel = kernel.astype(a_BHWSD.dtype).reshape(k * k * S * D, S, F)
    said = []
    for c in range(S):
      seen = known[min(n, 1)][..., c, None]
      masked = jnp.where(seen, window, 0).reshape(B, H, W, -1)
      said.append(matmul(masked, kernel[:, c]))
    return jnp.stack(said, 3) + bias_SF[None, None, None]

  return run(a_BHWSD, kernel, bias_SF)


def _take(map_BTD, slots_BKX):
  """[B, K, X * D] at the slots [1|B, K, X], zero at those that are none."""
  none = dict(axis=1, mode="fill", fill_value=0)
  slots_BX = slots_BKX.reshape(len(slots_BKX), -1)
  if len(slots_BX) == 1:
    window_BXD = jnp.take(map_BTD, slots_BX[0], **none)
  else:
    window_BXD = jnp.take_along_axis(map_BTD, slots_BX[..., None], **none)
  return window_BXD.reshape(len(map_BTD), slots_BKX.shape[1], -1)


def _subpixel(every_BKSF, c_BK):
  """[B, K, F] of the sub-pixels c, [1|B, K]."""
  if every_BKSF.shape[2] == 1:
    return every_BKSF[:, :, 0]
  c_BK = jnp.broadcast_to(c_BK, every_BKSF.shape[:2])
  index = c_BK[..., None, None]
  return jnp.take_along_axis(every_BKSF, index, axis=2)[:, :, 0]


class _Net(nn.Module):
  """All layers, of a whole grid or of one site: that is `convolve`'s."""

  num_params: int
  sites: int
  subpixels: int
  kernels: tuple
  width: int
  hidden: int
  dropout: float

  @nn.compact
  def __call__(self, x, convolve, bias, site, key_B=None):
    """theta [..., P] of coded values [..., F].

    Args:
      x: coded values.
      convolve: (n, features, kernel, bias) -> features of layer n.
      bias: [..., N + 1, D] of the conditions, or None.
      site: int, of each of the sites that x is.
      key_B: keys of dropout, or None.
    """
    D, N = self.width, len(self.kernels) - 1
    h = self._masked("first", 0, x, D, convolve)
    if self.sites:
      init = nn.initializers.normal(1.0)
      table = self.param("position", init, (self.sites, D)).astype(h.dtype)
      h = h + table[site].reshape(-1, *h.shape[1:])
    for n in range(N):
      z = dropout(_add(h, bias, n), self.dropout, fold(key_B, n))
      z = Dense(D // 2, name=f"in_{n}")(nn.relu(z))
      z = self._masked(f"masked_{n}", n + 1, nn.relu(z), D // 2, convolve)
      h = h + Dense(D, name=f"out_{n}")(nn.relu(z))
    h = nn.relu(_add(h, bias, N))
    h = nn.relu(Dense(self.hidden, name="hidden")(h))
    return Dense(self.num_params, name="theta")(h)

  def _masked(self, name, n, x, features, convolve):
    k, S, D = self.kernels[n], self.subpixels, x.shape[-1]
    init = nn.initializers.normal((k * k * S * D / 2) ** -0.5)  # half is seen
    kernel = self.param(f"{name}_kernel", init, (k, k, S, D, S, features))
    zeros = nn.initializers.zeros
    bias = self.param(f"{name}_bias", zeros, (S, features))
    return convolve(n, x, kernel, bias.astype(x.dtype))


def _add(h, bias, n):
  return h if bias is None else h + bias[..., n, :]
