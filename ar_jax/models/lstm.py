"""LSTM and GRU language models over sites in any order.

Graves 2013 (arXiv:1308.0850), Zaremba et al. 2014, Karpathy's char-rnn: layers
of recurrent cells, here with residual connections. Each step is told the
value it reads and, with `target`, the site that value came from and the site
it predicts: so one network takes any order, also a fresh one for every
example. All that it knows of earlier steps is the state of its layers, which
is zero before the first one.

One function computes K steps from a carried state: `apply` runs it on all
steps from the zero state, `extend` on K steps, `step` on one.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from ar_jax import decode
from ar_jax import ordering as orders
from ar_jax.nn import arguments, condition, rnn
from ar_jax.nn import block as blocks
from ar_jax.nn import position as positions
from ar_jax.nn.dense import Dense
from ar_jax.nn.dropout import dropout, fold
from ar_jax.nn.embed import Embed
from ar_jax.types import Condition, DataSpec, Model

_SPEC = DataSpec((4,), 1, 3)
_LABEL = dict(label=Condition("label", 2))
_EVERY = dict(
  label=Condition("label", 2),
  pitch=Condition("aligned", None, (4, 2)),
  phone=Condition("aligned", 3, (4,)),
)
_SMALL = dict(depth=2, width=6)
TINY = [
  dict(spec=_SPEC, **_SMALL, target=True),
  dict(spec=_SPEC, **_SMALL, cell="gru", target=True, norm="rmsnorm"),
  dict(
    spec=DataSpec((4,), 1, 3, None, _EVERY),
    **_SMALL,
    embed=5,
    tied=True,
    target=True,
    dropout=0.1,
  ),
  dict(
    spec=DataSpec((2, 2), 2, 2, None, _LABEL),
    **_SMALL,
    cell="gru",
    embed=3,
    norm="layernorm",
    target=True,
  ),
  dict(
    spec=DataSpec((4,), 2, None, 0.5, _LABEL),
    **_SMALL,
    residual=False,
    target=True,
  ),
  dict(
    spec=DataSpec((5,), 1, 3),
    orderings=("raster", "reverse"),
    **_SMALL,
    cell="gru",
    tied=True,
  ),
]


def make(
  spec,
  head,
  ordering,
  *,
  depth,
  width,
  cell="lstm",
  embed=None,
  target=False,
  residual=True,
  norm=None,
  tied=False,
  dropout=0.0,
):
  """A recurrent network over the sites of `spec`.

  Args:
    spec: DataSpec; labels and aligned features are added to the input of
      each layer.
    head: Head.
    ordering: Ordering; a family of several orders needs `target`.
    depth: layers N.
    width: D, of the state and of the stream between layers.
    cell: "lstm" or "gru" (reset after the product, as in cuDNN).
    embed: width of the embedded values; None: `width`. Another one is mapped
      to `width`.
    target: whether a step is told which site it reads and which it predicts.
    residual: whether a layer's output is added to its input, or replaces it.
    norm: of each layer's input and of the last output: None, "layernorm" or
      "rmsnorm".
    tied: logits from the embedding table; categorical head, one channel.
    dropout: rate on embeddings and outputs of layers, one mask for all steps
      of a sequence (Gal & Ghahramani 2016), none within the recurrence.
  Raises:
    ValueError: arguments that do not go together; says which and why.
  """
  embed = width if embed is None else embed
  _check(spec, head, ordering, target, tied)
  condition.check(spec.conditions, ("label", "aligned"), "lstm")
  net = _Net(
    spec=spec._replace(conditions=None),
    num_params=head.num_params,
    cell=arguments.choose("cell", cell, tuple(rnn.CELLS)),
    depth=depth,
    width=width,
    embed=embed,
    target=target,
    residual=residual,
    norm=arguments.choose("norm", norm, (None, *blocks.NORMS)),
    tied=tied,
    dropout=dropout,
  )
  bias_net = condition.Bias(condition.tupled(spec.conditions), depth, width)
  layer = rnn.CELLS[cell](width)

  def run(params, x_BKC, t, rows, bias, states, n=None, key_B=None):
    variables = {"params": params["lstm"]}
    return net.apply(variables, x_BKC, t, rows, bias, states, n, key_B)

  def biases(params, y):
    return bias_net.apply({"params": params["condition"]}, y)

  def zero_states(params, batch):
    """No sequence knows of another: each begins here."""
    dtype = jax.tree.leaves(params["lstm"])[0].dtype
    return [layer.zero_state(batch, dtype) for _ in range(depth)]

  def init_params(key):
    k1, k2 = jax.random.split(key)
    params = dict(condition=bias_net.init(k2, None).get("params", {}))
    x_BLC = jnp.zeros((1, spec.length, spec.channels), jnp.int32)
    states = [layer.zero_state(1, jnp.float32) for _ in range(depth)]
    given = 0, None, biases(params, None), states
    return dict(params, lstm=net.init(k1, x_BLC, *given)["params"])

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    before_BLC = jnp.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    states = zero_states(params, len(x_BLC))
    given = positions.rows(order_BL), biases(params, y), states
    return run(params, before_BLC, 0, *given, key_B=key_B)[0]

  def init_cache(params, batch, length, order_BL=None, y=None):
    decode.check_length(length, spec)
    return dict(
      states=zero_states(params, batch),
      rows=positions.rows(order_BL),
      bias=biases(params, y),
      room=jnp.zeros(length, bool),  # its shape alone is read
    )

  def extend(params, cache, x_BKC, t, n=None):
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    given = cache["rows"], cache["bias"], cache["states"]
    theta_BKP, states = run(params, x_BKC, t, *given, n)
    return theta_BKP, dict(cache, states=states)

  step = decode.one_step(extend)
  aligned = condition.aligned(spec.conditions)
  return Model(init_params, apply, init_cache, step, extend, aligned=aligned)


class _Net(nn.Module):
  """K steps from t on: embeddings, layers, parameters of the head."""

  spec: DataSpec
  num_params: int
  cell: str
  depth: int
  width: int
  embed: int
  target: bool
  residual: bool
  norm: str | None
  tied: bool
  dropout: float

  @nn.compact
  def __call__(self, x_BKC, t, rows, bias, states, n=None, key_B=None):
    """(theta [B, K, P], states) of steps t .. t + K - 1.

    Args:
      x_BKC: values of steps t - 1 .. t + K - 2; unread at step -1.
      t: first step; a Python 0 or int32[].
      rows: of positions.rows.
      bias: of condition.Bias, or None.
      states: of each layer, before step t.
      n: how many of the steps enter the states; None: all.
      key_B: keys for dropout.
    """
    K = x_BKC.shape[1]
    # A table that is read as logits begins small, as GPT-2's.
    std = 0.02 if self.tied else 1.0
    embedding = Embed(self.spec, self.embed, std, name="embed")
    h_BKD = embedding(x_BKC, t)
    if self.embed != self.width:
      h_BKD = Dense(self.width, False, name="widen")(h_BKD)
    for name in ("source", "target") if self.target else ():
      shape, width = self.spec.shape, self.width
      table = positions.learned(self.param, name, shape, width)
      table = table.astype(h_BKD.dtype)
      h_BKD = h_BKD + positions.take(table, rows, t + (name == "target"), K)
    bias = condition.at(bias, t, K)
    h_KBD = h_BKD.swapaxes(0, 1)  # the layers are scans over steps
    h_KBD = self._drop(h_KBD, fold(key_B, self.depth))
    after = []
    for i in range(self.depth):
      if bias is not None:
        h_KBD = h_KBD + bias[:, :, i].swapaxes(0, 1)
      layer = rnn.CELLS[self.cell](self.width, name=f"layer_{i}")
      o_KBD, state = layer(self._normed(h_KBD, f"norm_{i}"), states[i], n)
      o_KBD = self._drop(o_KBD, fold(key_B, i))
      h_KBD = h_KBD + o_KBD if self.residual else o_KBD
      after.append(state)
    h_BKD = self._normed(h_KBD, "norm").swapaxes(0, 1)
    if self.tied:
      if self.embed != self.width:
        h_BKD = Dense(self.embed, False, name="narrow")(h_BKD)
      return embedding.logits(h_BKD, self.num_params), after
    # Small, not zero: components of a mixture that begin alike stay alike.
    init = nn.initializers.normal(0.05 * self.width**-0.5)
    return Dense(self.num_params, True, init, name="head")(h_BKD), after

  def _normed(self, h_KBD, name):
    if self.norm is None:
      return h_KBD
    return blocks.NORMS[self.norm](True, name)(h_KBD)

  def _drop(self, h_KBD, key_B):
    """Dropout with the mask of the example, the same at all steps."""
    ones_BD = jnp.ones(h_KBD.shape[1:], h_KBD.dtype)
    return h_KBD * dropout(ones_BD, self.dropout, key_B)[None]


def _check(spec, head, ordering, target, tied):
  """Raises ValueError for arguments that do not go together."""
  orders_KL = orders.trained(ordering)
  if not target and (orders_KL is None or len(orders_KL) > 1):
    raise ValueError(
      "several orders need model.target=True, or no step knows which site it"
      " predicts; without it the network takes any one fixed order"
    )
  if spec.num_values is None and tied:
    raise ValueError("real values have no table: tied=False")
  if tied and (spec.channels != 1 or head.num_params != spec.num_values):
    raise ValueError("tied=True takes a categorical head and one channel")
