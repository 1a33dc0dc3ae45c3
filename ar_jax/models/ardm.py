"""ARDM: an order-agnostic network, which predicts all unknown sites at once.

Hoogeboom et al. 2021 (autoregressive diffusion models); on an MLP it is the
order-agnostic estimator of Uria et al. 2014. It is told the values that are
known, an "absent" embedding where they are not, and predicts every site. What
is trained by objectives/order_agnostic.py is one conditional distribution for
each set of known sites: the network takes any order, exactly, by one pass a
step (decode.from_predict), or draws groups of sites in fewer passes
(samplers/grouped.py).
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from ar_jax import decode
from ar_jax.nn import arguments, condition
from ar_jax.nn import block as blocks
from ar_jax.nn import position as positions
from ar_jax.nn.dense import Dense
from ar_jax.nn.dropout import dropout, fold
from ar_jax.types import Condition, DataSpec

TRUNKS = ("mlp", "conv", "attention")

_LABEL = dict(label=Condition("label", 2))
TINY = [
  dict(
    spec=DataSpec((3,), 2, 2, None, _LABEL),
    trunk="mlp",
    depth=2,
    width=8,
    dropout=0.1,
  ),
  dict(spec=DataSpec((2, 2), 1, 2), trunk="conv", depth=1, width=8),
  dict(
    spec=DataSpec((3,), 1, None, 0.5),
    trunk="conv",
    depth=1,
    width=8,
    time=False,
  ),
  dict(
    spec=DataSpec((2, 2), 1, 2, None, _LABEL),
    trunk="attention",
    depth=1,
    width=16,
    heads=2,
    dropout=0.1,
  ),
]


def make(
  spec,
  head,
  ordering,
  *,
  trunk="mlp",
  depth,
  width,
  heads=4,
  kernel=3,
  site_width=4,
  rotary=True,
  time=True,
  dropout=0.0,
):
  """An order-agnostic network over the sites of `spec`.

  `predict(params, x_BLC, known_BL, y=None, *, key_B=None)` gives theta [B, L,
  P] of all sites in data order; it cannot read x where known is False.

  Args:
    spec: DataSpec; labels are added to the stream before each block.
    head: Head.
    ordering: Ordering; every family is the same to it.
    trunk: "mlp" (residual, over all sites at once), "conv" (residual, over the
      grid of spec.shape; each block is told the mean over sites as well) or
      "attention" (Transformer blocks that see all sites).
    depth: blocks N.
    width: D.
    heads: of the attention trunk.
    kernel: of the convolutional trunk, along each axis.
    site_width: of the MLP trunk: features of a site at its input.
    rotary: of the attention trunk: rotary positions beside the learned ones.
    time: whether the network is told how many sites are known, which the
      mask implies.
    dropout: rate on the residual branches.
  Raises:
    ValueError: arguments that do not go together; says which and why.
  """
  del ordering
  arguments.choose("trunk", trunk, TRUNKS)
  if trunk == "attention" and width % heads:
    raise ValueError(f"width {width} must divide by heads {heads}")
  condition.check(spec.conditions, ("label",), "ardm")
  net = _ARDM(
    spec._replace(conditions=None),
    head.num_params,
    trunk,
    depth,
    width,
    heads,
    kernel,
    site_width,
    rotary,
    time,
    dropout,
  )
  bias_net = condition.Bias(condition.tupled(spec.conditions), depth, width)

  def init(key):
    k1, k2 = jax.random.split(key)
    x_BLC = jnp.zeros((1, spec.length, spec.channels), jnp.int32)
    known_BL = jnp.zeros((1, spec.length), bool)
    bias = bias_net.init(k2, None).get("params", {})
    given = bias_net.apply({"params": bias}, None)
    params = net.init(k1, x_BLC, known_BL, given)["params"]
    return dict(condition=bias, ardm=params)

  def predict(params, x_BLC, known_BL, y=None, *, key_B=None):
    if x_BLC.shape[1] != spec.length:
      raise ValueError(
        f"x has {x_BLC.shape[1]} sites, an item has {spec.length}; pass all,"
        " with known = False where there is no value"
      )
    given = bias_net.apply({"params": params["condition"]}, y)
    variables = {"params": params["ardm"]}
    return net.apply(variables, x_BLC, known_BL, given, key_B)

  return decode.from_predict(init, predict, spec)


class _ARDM(nn.Module):
  """Known values to the parameters of all sites."""

  spec: DataSpec
  num_params: int
  trunk: str
  depth: int
  width: int
  heads: int
  kernel: int
  site_width: int
  rotary: bool
  time: bool
  dropout: float

  @nn.compact
  def __call__(self, x_BLC, known_BL, bias, key_B=None):
    """theta [B, L, P]; the MLP's stream is [B, 1, D], the others' [B, L, D].

    Args:
      x_BLC: values in data order, unread where they are not known.
      known_BL: bool.
      bias: of condition.Bias, or None.
      key_B: keys for dropout.
    """
    B, L, _ = x_BLC.shape
    h_BLD = self._embed(x_BLC, known_BL)
    if self.trunk == "mlp":
      h_BLD = Dense(self.width, name="stem")(h_BLD.reshape(B, 1, -1))
    else:
      normal = nn.initializers.normal(1.0)
      place_LD = self.param("position", normal, (L, self.width))
      h_BLD = h_BLD + place_LD[None]
    if self.time:
      h_BLD = h_BLD + self._time(known_BL, h_BLD.dtype)
    block = dict(mlp=self._mlp, conv=self._conv, attention=self._attention)
    for i in range(self.depth):
      h_BLD = h_BLD if bias is None else h_BLD + bias[:, :, i]
      h_BLD = block[self.trunk](h_BLD, f"block_{i}", fold(key_B, i))
    h_BLD = _norm("norm")(h_BLD)
    features = self.num_params * (L if self.trunk == "mlp" else 1)
    init = nn.initializers.normal(self.width**-0.5)
    theta = Dense(features, kernel_init=init, name="head")(h_BLD)
    return theta.reshape(B, L, self.num_params)

  def _embed(self, x_BLC, known_BL):
    """[B, L, E] of the values; the absent vector where there is none."""
    C, V = self.spec.channels, self.spec.num_values
    width = self.site_width if self.trunk == "mlp" else self.width
    normal = nn.initializers.normal(1.0)
    absent_E = self.param("absent", normal, (width,))
    known_BL1 = jnp.asarray(known_BL)[..., None]
    x_BLC = jnp.where(known_BL1, x_BLC, 0)  # an unknown NaN stays outside
    if V is None:
      x_BLC = x_BLC.astype(jnp.promote_types(x_BLC.dtype, absent_E.dtype))
      embedded = Dense(width, name="values")(x_BLC)
    else:
      table = self.param("embedding", normal, (C, V, width))
      embedded = sum(table[c][x_BLC[..., c]] for c in range(C))
    return jnp.where(known_BL1, embedded, absent_E[None, None])

  def _time(self, known_BL, dtype):
    """[B, 1, D] of the number of known sites."""
    table = positions.sinusoidal((known_BL.shape[1] + 1,), self.width)
    features = jnp.asarray(table[1:], dtype)[known_BL.sum(-1)]
    return Dense(self.width, False, name="time")(features)[:, None]

  def _mlp(self, h_BLD, name, key_B):
    r = Dense(self.width, name=f"{name}_up")(_norm(f"{name}_norm")(h_BLD))
    zeros = nn.initializers.zeros
    r = Dense(self.width, kernel_init=zeros, name=f"{name}_down")(nn.gelu(r))
    return h_BLD + dropout(r, self.dropout, key_B)

  def _conv(self, h_BLD, name, key_B):
    B, L, D = h_BLD.shape
    sizes = (self.kernel,) * len(self.spec.shape)
    grid = B, *self.spec.shape, D
    r = _norm(f"{name}_norm")(h_BLD)
    mean = Dense(D, False, name=f"{name}_mean")(r.mean(1, keepdims=True))
    r = nn.Conv(D, sizes, name=f"{name}_up")(r.reshape(grid))
    r = nn.gelu(r.reshape(B, L, D) + mean).reshape(grid)
    zeros = nn.initializers.zeros
    r = nn.Conv(D, sizes, kernel_init=zeros, name=f"{name}_down")(r)
    return h_BLD + dropout(r.reshape(B, L, D), self.dropout, key_B)

  def _attention(self, h_BLD, name, key_B):
    block = blocks.Block(
      heads=self.heads,
      kv_heads=self.heads,
      width=self.width,
      mlp="gelu",
      mlp_ratio=4.0,
      qk_norm=False,
      norm="rmsnorm",
      bias=True,
      dropout=self.dropout,
      scheme="zero_residual",
      depth=self.depth,
      causal=False,
      name=name,
    )
    angles = None
    if self.rotary:
      table = positions.rotary(self.spec.shape, self.width // self.heads)
      wide = jnp.promote_types(h_BLD.dtype, jnp.float32)
      angles = (jnp.asarray(table[1:], wide)[None],) * 2
    return block(h_BLD, angles, 0, None, key_B)[0]


def _norm(name):
  return blocks.NORMS["rmsnorm"](True, name)
