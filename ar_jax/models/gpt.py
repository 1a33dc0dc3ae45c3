"""GPT: a decoder-only Transformer over sites in any order.

Radford et al. 2019 is the preset `gpt2` of the configs; rotary positions (Su
et al. 2021), RMSNorm, ReLU^2 or SwiGLU, QK-norm and grouped queries are the
choices of later models. Each step is told the value it reads and, by switches
of their own, the site that value came from (source), the site it predicts
(target) and its number (step). With source and target one network takes any
order, also a fresh one for every example.

One function computes K steps from a key-value cache: `apply` runs it on all
steps without a cache, `extend` on K steps, `step` on one.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from ar_jax import decode
from ar_jax import ordering as orders
from ar_jax.nn import arguments, attention, condition
from ar_jax.nn import block as blocks
from ar_jax.nn import position as positions
from ar_jax.nn.dense import Dense
from ar_jax.nn.dropout import dropout, fold
from ar_jax.nn.embed import Embed
from ar_jax.nn.memory import Memory
from ar_jax.types import Condition, DataSpec, Model

_SPEC = DataSpec((5,), 1, 3)
_LABEL = dict(label=Condition("label", 2))
_EVERY = dict(
  label=Condition("label", 2),
  pitch=Condition("aligned", None, (4, 2)),
  phone=Condition("aligned", 3, (4,)),
  words=Condition("sequence", 4, (3,)),
  score=Condition("sequence", None, (2, 2)),
)
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
  dict(spec=DataSpec((4,), 1, 3, None, _EVERY), **_SMALL, target=True),
  dict(spec=DataSpec((4,), 1, None, 0.5, _LABEL), **_SMALL, target=True),
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
  dict(spec=_SPEC, **_SMALL, target=True, step=True),
  dict(spec=_SPEC, **_SMALL, position="learned", target=True, step=True),
  dict(spec=_SPEC, **_SMALL, source=False, step=True, orderings=("random",)),
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
  source=True,
  target=False,
  step=False,
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
    spec: DataSpec; conditions of every kind: labels and aligned features are
      added to the stream before each block, blocks attend to sequences.
    head: Head.
    ordering: Ordering; one other than the identity needs `target` or `step`,
      a family of several `target`.
    depth: blocks N.
    width: D.
    heads: query heads H.
    kv_heads: key-value heads, a divisor of `heads`; None: as many.
    position: how a step is told where it is: "learned", "sinusoidal" (added)
      or "rotary" (queries by target where told, else by source, keys by
      source; by the step alone where `step` is told; what has no part in the
      rotation is added, learned; without source and step nothing rotates).
    source: whether a step is told the site whose value it reads.
    target: whether it is told which site it predicts.
    step: whether it is told its number t, which no order changes.
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
  told = dict(source=source, target=target, step=step)
  _check(spec, head, ordering, width, heads, kv_heads, told, tied, start)
  V = spec.num_values
  if rows not in (None, V) and (V is None or rows < V or not tied):
    raise ValueError(f"rows {rows} must be V = {V}, or more with tied=True")
  kinds = ("label", "aligned", "sequence")
  condition.check(spec.conditions, kinds, "gpt")
  net = _GPT(
    spec=spec._replace(conditions=None),
    num_params=head.num_params,
    depth=depth,
    start=start,
    table_rows=rows,
    tied=tied,
    bias=bias,
    position=arguments.choose(
      "position", position, ("learned", "sinusoidal", "rotary")
    ),
    told=tuple(n for n, given in told.items() if given),
    norm=arguments.choose("norm", norm, tuple(blocks.NORMS)),
    dropout=dropout,
    scheme=arguments.choose("init", init, blocks.INITS),
    width=width,
    block=dict(
      heads=heads,
      kv_heads=kv_heads,
      mlp=arguments.choose("mlp", mlp, blocks.MLPS),
      mlp_ratio=mlp_ratio,
      qk_norm=qk_norm,
    ),
  )
  conditions = condition.tupled(spec.conditions)
  bias_net = condition.Bias(conditions, depth, width)
  memory_net = Memory(conditions, depth, width, heads)

  def run(params, x_BKC, t, rows, given, cache=None, key_B=None):
    variables = {"params": params["gpt"]}
    return net.apply(variables, x_BKC, t, rows, given, cache, key_B)

  def conditioned(params, y):
    """What y is to the network: (biases, memory), computed once."""
    bias = bias_net.apply({"params": params["condition"]}, y)
    return bias, memory_net.apply({"params": params["memory"]}, y)

  def init_params(key):
    k1, k2, k3 = jax.random.split(key, 3)
    x_BLC = jnp.zeros((1, spec.length, spec.channels), jnp.int32)
    params = dict(
      condition=bias_net.init(k2, None).get("params", {}),
      memory=memory_net.init(k3, None).get("params", {}),
    )
    given = conditioned(params, None)
    return dict(params, gpt=net.init(k1, x_BLC, 0, None, given)["params"])

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    before_BLC = jnp.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    rows = positions.rows(order_BL)
    given = conditioned(params, y)
    return run(params, before_BLC, 0, rows, given, key_B=key_B)[0]

  def init_cache(params, batch, length, order_BL=None, y=None):
    decode.check_length(length, spec)
    dtype = jax.tree.leaves(params["gpt"])[0].dtype
    size = batch, length, kv_heads, width // heads
    layers = [attention.empty(*size, dtype) for _ in range(depth)]
    rows = positions.rows(order_BL)
    return dict(layers=layers, rows=rows, given=conditioned(params, y))

  def extend(params, cache, x_BKC, t, n=None):
    del n  # later steps overwrite what is past the cursor, and never read it
    capacity = cache["layers"][0]["k"].shape[2]
    decode.check_capacity(t, x_BKC.shape[1], capacity)
    theta_BKP, layers = run(
      params, x_BKC, t, cache["rows"], cache["given"], cache["layers"]
    )
    return theta_BKP, dict(cache, layers=layers)

  one_step = decode.one_step(extend)
  aligned = condition.aligned(spec.conditions)
  return Model(
    init_params, apply, init_cache, one_step, extend, aligned=aligned
  )


class _GPT(nn.Module):
  """K steps from t on: embeddings, blocks, parameters of the head."""

  spec: DataSpec
  num_params: int
  depth: int
  width: int
  start: int | None
  table_rows: int | None
  tied: bool
  bias: bool
  position: str
  told: tuple
  norm: str
  dropout: float
  scheme: str
  block: dict

  @nn.compact
  def __call__(self, x_BKC, t, rows, given, cache=None, key_B=None):
    """(theta [B, K, P], cache) of steps t .. t + K - 1.

    Args:
      x_BKC: values of steps t - 1 .. t + K - 2; unread at step -1.
      t: first step; a Python 0 or int32[].
      rows: of positions.rows.
      given: (biases, memory) of the conditions, or None each.
      cache: a list of dict(k, v), see attention.empty; None: from t = 0 on.
      key_B: keys for dropout.
    """
    K, (bias, memory) = x_BKC.shape[1], given
    std = 0.02 if self.scheme == "gpt2" else 1.0
    embed = Embed(
      self.spec, self.width, std, self.table_rows, self.start, name="embed"
    )
    h_BKD = embed(x_BKC, t)
    dtype = h_BKD.dtype
    for offset in self._positions(rows, t, K, dtype):
      h_BKD = h_BKD + offset
    h_BKD = dropout(h_BKD, self.dropout, fold(key_B, self.depth))
    angles = self._angles(rows, t, K, dtype)
    bias = condition.at(bias, t, K)
    layers = []
    for i in range(self.depth):
      block = blocks.Block(
        **self.block,
        width=self.width,
        norm=self.norm,
        bias=self.bias,
        dropout=self.dropout,
        scheme=self.scheme,
        depth=self.depth,
        name=f"block_{i}",
      )
      h_BKD, layer = block(
        h_BKD if bias is None else h_BKD + bias[:, :, i],
        angles,
        t,
        None if cache is None else cache[i],
        fold(key_B, i),
        None if memory is None else memory[:, :, i],
      )
      layers.append(layer)
    h_BKD = blocks.NORMS[self.norm](self.bias, "norm")(h_BKD)
    if self.tied:
      return embed.logits(h_BKD, self.num_params), layers
    std = 0.02 if self.scheme == "gpt2" else self.width**-0.5
    init = nn.initializers.normal(std)
    return Dense(self.num_params, False, init, name="head")(h_BKD), layers

  def _positions(self, rows, t, K, dtype):
    """What is added for each that is told: [1|B, K, D]."""
    rotated = "step" if "step" in self.told else "source"
    for name in self.told:
      if self.position == "rotary" and name == rotated:
        continue
      # Steps are told as the sites of a sequence in raster order would be.
      shape = (self.spec.length,) if name == "step" else self.spec.shape
      lying = None if name == "step" else rows
      first = t + (name == "target")
      if self.position == "sinusoidal":
        table = positions.sinusoidal(shape, self.width)
        offset = positions.take(jnp.asarray(table, dtype), lying, first, K)
        init = nn.initializers.normal(0.02)
        yield Dense(self.width, False, init, name=name)(offset)
      else:
        table = positions.learned(self.param, name, shape, self.width)
        yield positions.take(table, lying, first, K)

  def _angles(self, rows, t, K, dtype):
    """Rotations of the queries and of the keys, or None."""
    if self.position != "rotary" or self.told in ((), ("target",)):
      return None
    head_dim = self.width // self.block["heads"]
    by_step = "step" in self.told
    shape = (self.spec.length,) if by_step else self.spec.shape
    wide = jnp.promote_types(dtype, jnp.float32)
    table = jnp.asarray(positions.rotary(shape, head_dim), wide)
    rows = None if by_step else rows
    source = positions.take(table, rows, t, K)
    if by_step or "target" not in self.told:
      return source, source
    return positions.take(table, rows, t + 1, K), source


def _check(spec, head, ordering, width, heads, kv_heads, told, tied, start):
  """Raises ValueError for arguments that do not go together."""
  if width % heads or heads % kv_heads:
    raise ValueError(
      f"width {width} must divide by heads {heads}, and heads by"
      f" kv_heads {kv_heads}"
    )
  family = orders.trained(ordering)
  several = family is None or len(family) > 1
  enough = told["target"] or (told["step"] and not several)
  if not enough and (several or not orders.is_identity(ordering)):
    raise ValueError(
      "an order other than raster needs model.target=True, or one fixed order"
      " model.step=True, or no step knows which site it predicts"
    )
  if spec.num_values is None and (tied or start is not None):
    raise ValueError("real values have no table: tied=False, start=None")
  if tied and (spec.channels != 1 or head.num_params != spec.num_values):
    raise ValueError("tied=True takes a categorical head and one channel")
  if start is not None and not 0 <= start < spec.num_values:
    raise ValueError(f"start {start} is no value of 0..{spec.num_values - 1}")
