"""GPT: a decoder-only Transformer over sites in any order.

Radford et al. 2019 is the preset `gpt2` of the configs; rotary positions (Su
et al. 2021), RMSNorm, ReLU^2 or SwiGLU, QK-norm and grouped queries are the
choices of later models. Each step is told the value it reads, the site that
value came from (source) and, with `target`, the site it predicts: so one
network takes any order, also a fresh one for every example.

One function computes K steps from a key-value cache: `apply` runs it on all
steps without a cache, `extend` on K steps, `step` on one.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from ar_jax import decode
from ar_jax import ordering as orders
from ar_jax.nn import condition
from ar_jax.nn import position as positions
from ar_jax.nn.attention import Attention
from ar_jax.nn.dense import Dense, matmul
from ar_jax.nn.dropout import dropout, fold
from ar_jax.types import Condition, DataSpec, Model

_SPEC = DataSpec((5,), 1, 3)
_LABEL = dict(label=Condition("label", 2))
_SMALL = dict(depth=2, width=8, heads=2)
TINY = [
  dict(spec=_SPEC, **_SMALL, target=True),
  dict(
    spec=DataSpec((5,), 1, 3, None, _LABEL),
    **_SMALL,
    position="learned",
    norm="layernorm",
    mlp="gelu",
    bias=True,
    tied=True,
    target=True,
    dropout=0.1,
  ),
  dict(
    spec=DataSpec((2, 2), 2, 2, None, _LABEL),
    depth=2,
    width=16,
    heads=4,
    kv_heads=2,
    mlp="swiglu",
    qk_norm=True,
    target=True,
  ),
  dict(spec=_SPEC, **_SMALL, position="sinusoidal", kv_heads=1, target=True),
  dict(
    spec=_SPEC,
    orderings=("raster",),
    **_SMALL,
    position="learned",
    norm="layernorm",
    mlp="gelu",
    bias=True,
    tied=True,
    start=0,
    rows=5,
  ),
]


def make(
  spec,
  head,
  ordering,
  *,
  depth,
  width,
  heads,
  kv_heads=None,
  position="rotary",
  target=False,
  norm="rmsnorm",
  mlp="relu2",
  mlp_ratio=4.0,
  qk_norm=False,
  bias=False,
  tied=False,
  start=None,
  rows=None,
  init="zero_residual",
  dropout=0.0,
):
  """A GPT over the sites of `spec`.

  Args:
    spec: DataSpec with discrete values; conditions of kind label.
    head: Head.
    ordering: Ordering; one other than the identity needs `target`.
    depth: blocks N.
    width: D.
    heads: query heads H.
    kv_heads: key-value heads, a divisor of `heads`; None: as many.
    position: "learned", "sinusoidal" (added) or "rotary" (queries by target
      where told, keys by source).
    target: whether a step is told which site it predicts.
    norm: "layernorm" or "rmsnorm".
    mlp: "gelu" (tanh form), "relu2" or "swiglu" (at 2/3 of the ratio).
    mlp_ratio: hidden width over width.
    qk_norm: RMSNorm of queries and keys (Henry et al. 2020).
    bias: biases in linear maps and LayerNorm.
    tied: logits from the embedding table; categorical head, one channel.
    start: value that stands before the first one; None: one of its own.
    rows: of the embedding table, at least V; those from V on are padding
      that nothing reads, as in a vocabulary rounded up. None: V.
    init: "gpt2" (std 0.02, residual maps by 1/sqrt(2N)) or "zero_residual"
      (1/sqrt(fan in), residual maps zero).
    dropout: rate on embeddings, attention weights and residual branches.
  Raises:
    ValueError: arguments that do not go together; says which and why.
  """
  kv_heads = heads if kv_heads is None else kv_heads
  _check(spec, head, ordering, width, heads, kv_heads, target, tied, start)
  V = spec.num_values
  rows = V if rows is None else rows
  if rows < V or (rows > V and not tied):
    raise ValueError(f"rows {rows} must be V = {V}, or more with tied=True")
  condition.check(spec.conditions, ("label",), "gpt")
  net = _GPT(
    spec=spec._replace(conditions=None),
    num_params=head.num_params,
    depth=depth,
    start=start,
    table_rows=rows,
    tied=tied,
    bias=bias,
    position=_choose("position", position, ("learned", "sinusoidal", "rotary")),
    target=target,
    norm=_choose("norm", norm, tuple(_NORMS)),
    dropout=dropout,
    scheme=_choose("init", init, ("gpt2", "zero_residual")),
    width=width,
    block=dict(
      heads=heads,
      kv_heads=kv_heads,
      mlp=_choose("mlp", mlp, ("gelu", "relu2", "swiglu")),
      mlp_ratio=mlp_ratio,
      qk_norm=qk_norm,
    ),
  )
  labels = tuple((k, c.num_values) for k, c in spec.conditions.items())
  label_bias = condition.LabelBias(labels, depth, width)

  def biases(params, y):
    return label_bias.apply({"params": params["label"]}, y)

  def run(params, x_BKC, t, rows, bias_BND, cache=None, key_B=None):
    variables = {"params": params["gpt"]}
    return net.apply(variables, x_BKC, t, rows, bias_BND, cache, key_B)

  def init_params(key):
    k1, k2 = jax.random.split(key)
    x_BLC = jnp.zeros((1, spec.length, spec.channels), jnp.int32)
    label = label_bias.init(k2, None).get("params", {})
    bias_BND = label_bias.apply({"params": label}, None)
    gpt = net.init(k1, x_BLC, 0, None, bias_BND)["params"]
    return dict(gpt=gpt, label=label)

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    before_BLC = jnp.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    rows = positions.rows(order_BL)
    bias_BND = biases(params, y)
    return run(params, before_BLC, 0, rows, bias_BND, key_B=key_B)[0]

  def init_cache(params, batch, length, order_BL=None, y=None):
    decode.check_length(length, spec)
    dtype = jax.tree.leaves(params["gpt"])[0].dtype
    shape = (batch, length, kv_heads, width // heads)
    zeros = functools.partial(jnp.zeros, shape, dtype)
    layers = [dict(k=zeros(), v=zeros()) for _ in range(depth)]
    rows = positions.rows(order_BL)
    return dict(layers=layers, rows=rows, bias=biases(params, y))

  def extend(params, cache, x_BKC, t, n=None):
    del n  # later steps overwrite what is past the cursor, and never read it
    capacity = cache["layers"][0]["k"].shape[1]
    decode.check_capacity(t, x_BKC.shape[1], capacity)
    theta_BKP, layers = run(
      params, x_BKC, t, cache["rows"], cache["bias"], cache["layers"]
    )
    return theta_BKP, dict(cache, layers=layers)

  step = decode.one_step(extend)
  return Model(init_params, apply, init_cache, step, extend)


class _GPT(nn.Module):
  """K steps from t on: embeddings, blocks, parameters of the head."""

  spec: DataSpec
  num_params: int
  depth: int
  width: int
  start: int | None
  table_rows: int
  tied: bool
  bias: bool
  position: str
  target: bool
  norm: str
  dropout: float
  scheme: str
  block: dict

  @nn.compact
  def __call__(self, x_BKC, t, rows, bias_BND, cache=None, key_B=None):
    """(theta [B, K, P], cache) of steps t .. t + K - 1.

    Args:
      x_BKC: values of steps t - 1 .. t + K - 2; unread at step -1.
      t: first step; a Python 0 or int32[].
      rows: of positions.rows.
      bias_BND: [1|B, N, D] from the labels, or None.
      cache: a list of dict(k, v) [B, capacity, G, Dh]; None: from t = 0 on.
      key_B: keys for dropout.
    """
    embed, table_VD = self._embed(x_BKC, t)
    h_BKD = embed
    for offset in self._positions(rows, t, x_BKC.shape[1], embed.dtype):
      h_BKD = h_BKD + offset
    h_BKD = dropout(h_BKD, self.dropout, fold(key_B, 2 * self.depth))
    angles = self._angles(rows, t, x_BKC.shape[1], h_BKD.dtype)
    layers = []
    for i in range(self.depth):
      layer = None if cache is None else cache[i]
      h_BKD, layer = _Block(
        **self.block,
        width=self.width,
        norm=self.norm,
        bias=self.bias,
        dropout=self.dropout,
        scheme=self.scheme,
        depth=self.depth,
        name=f"block_{i}",
      )(
        h_BKD if bias_BND is None else h_BKD + bias_BND[:, i, None],
        angles,
        t,
        layer,
        fold(key_B, 2 * i),
        fold(key_B, 2 * i + 1),
      )
      layers.append(layer)
    h_BKD = _NORMS[self.norm](self.bias, "norm")(h_BKD)
    if self.tied:
      return matmul(h_BKD, table_VD[: self.num_params].T), layers
    std = 0.02 if self.scheme == "gpt2" else self.width**-0.5
    init = nn.initializers.normal(std)
    return Dense(self.num_params, False, init, name="head")(h_BKD), layers

  def _embed(self, x_BKC, t):
    """The values' embeddings [B, K, D]; the table [rows, D] of channel 0."""
    C = self.spec.channels
    init = nn.initializers.normal(0.02 if self.scheme == "gpt2" else 1.0)
    table = self.param("embedding", init, (C, self.table_rows, self.width))
    if self.start is None:
      start_D = self.param("start", init, (self.width,))
    else:
      start_D = table[0, self.start]
    embed = sum(table[c][x_BKC[..., c]] for c in range(C))
    first = (t + jnp.arange(x_BKC.shape[1]) == 0)[None, :, None]
    return jnp.where(first, start_D[None, None], embed), table[0]

  def _positions(self, rows, t, K, dtype):
    """What is added for source and for target: each [1|B, K, D]."""
    names = ["source"] if self.position != "rotary" else []
    names += ["target"] if self.target else []
    for name in names:
      first = t + (name == "target")
      if self.position == "sinusoidal":
        table = positions.sinusoidal(self.spec.shape, self.width)
        offset = positions.take(jnp.asarray(table, dtype), rows, first, K)
        init = nn.initializers.normal(0.02)
        yield Dense(self.width, False, init, name=name)(offset)
      else:
        yield positions.take(self._table(name), rows, first, K)

  def _table(self, name):
    """A learned table [L + 1, D]: the sum of one table for each axis."""
    init = nn.initializers.normal(0.02)
    shape = self.spec.shape
    coordinates = positions.coordinates(shape).astype(int)
    total = 0
    for axis, size in enumerate(shape):
      table = self.param(f"{name}_{axis}", init, (size + 1, self.width))
      one_axis = len(shape) == 1
      total = total + (table if one_axis else table[coordinates[:, axis] + 1])
    return total

  def _angles(self, rows, t, K, dtype):
    """Rotations of the queries and of the keys, or None."""
    if self.position != "rotary":
      return None
    head_dim = self.width // self.block["heads"]
    table = positions.rotary(self.spec.shape, head_dim)
    table = jnp.asarray(table, dtype)
    source = positions.take(table, rows, t, K)
    if not self.target:
      return source, source
    return positions.take(table, rows, t + 1, K), source


class _Block(nn.Module):
  """Attention and MLP, each after a norm, each added to the stream."""

  heads: int
  kv_heads: int
  width: int
  mlp: str
  mlp_ratio: float
  qk_norm: bool
  norm: str
  bias: bool
  dropout: float
  scheme: str
  depth: int

  @nn.compact
  def __call__(self, h_BKD, angles, t, cache, key1_B, key2_B):
    """(h [B, K, D], cache); key1_B, key2_B: of the two branches."""
    norm = _NORMS[self.norm]
    attention = Attention(
      self.heads,
      self.kv_heads,
      self.qk_norm,
      self.bias,
      self.dropout,
      self._init(),
      self._init(residual=True),
      name="attention",
    )
    a_BKD, cache = attention(
      norm(self.bias, "norm_1")(h_BKD), angles, t, cache, fold(key1_B, 0)
    )
    h_BKD = h_BKD + dropout(a_BKD, self.dropout, fold(key1_B, 1))
    m_BKD = self._mlp(norm(self.bias, "norm_2")(h_BKD))
    return h_BKD + dropout(m_BKD, self.dropout, key2_B), cache

  def _mlp(self, h_BKD):
    D = h_BKD.shape[-1]
    if self.mlp == "swiglu":
      hidden = 2 * round(self.mlp_ratio * D / 3)
      gate = nn.silu(self._dense("gate", hidden)(h_BKD))
      h = gate * self._dense("up", hidden)(h_BKD)
    else:
      h = self._dense("up", round(self.mlp_ratio * D))(h_BKD)
      h = nn.gelu(h) if self.mlp == "gelu" else jnp.square(nn.relu(h))
    return self._dense("down", D, residual=True)(h)

  def _dense(self, name, features, residual=False):
    return Dense(features, self.bias, self._init(residual), name=name)

  def _init(self, residual=False):
    """Of a linear map; residual: of one whose result joins the stream."""
    if self.scheme == "gpt2":
      std = 0.02 / (2 * self.depth) ** 0.5 if residual else 0.02
      return nn.initializers.normal(std)
    if residual:
      return nn.initializers.zeros
    return nn.initializers.variance_scaling(1.0, "fan_in", "normal")


_NORMS = dict(
  layernorm=lambda bias, name: nn.LayerNorm(1e-5, use_bias=bias, name=name),
  rmsnorm=lambda bias, name: nn.RMSNorm(1e-6, name=name),
)


def _check(spec, head, ordering, width, heads, kv_heads, target, tied, start):
  """Raises ValueError for arguments that do not go together."""
  if spec.num_values is None:
    raise ValueError("gpt takes discrete values; the data has real ones")
  if width % heads or heads % kv_heads:
    raise ValueError(
      f"width {width} must divide by heads {heads}, and heads by"
      f" kv_heads {kv_heads}"
    )
  if not target and not orders.is_identity(ordering):
    raise ValueError(
      "an order other than raster needs model.target=True, or no step"
      " knows which site it predicts"
    )
  if tied and (spec.channels != 1 or head.num_params != spec.num_values):
    raise ValueError("tied=True takes a categorical head and one channel")
  if start is not None and not 0 <= start < spec.num_values:
    raise ValueError(f"start {start} is no value of 0..{spec.num_values - 1}")


def _choose(name, value, known):
  if value not in known:
    raise ValueError(f"{name} {value!r} is none of {', '.join(known)}")
  return value
