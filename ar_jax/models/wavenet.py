"""WaveNet: gated, dilated causal convolutions (van den Oord et al. 2016).

Order-blind: it is not told which site it predicts, so it takes any one fixed
order, and sites of any shape are the sequence in which they are generated.

One function computes K steps from what the layers still hold of earlier ones:
`apply` runs it on all steps from empty rings, `extend` on K, `step` on one.
The rings of all layers are one buffer, read by one gather and written by one
scatter a step, and what all layers take from the past is one batched product:
on CPU a ring for each layer, written by dynamic_update_slice, took 1.7 times
as long a step at batch 1 and nearly four times at batch 16.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ar_jax import decode
from ar_jax import ordering as orders
from ar_jax.nn import causal_conv, condition
from ar_jax.nn.dense import Dense, matmul
from ar_jax.nn.dropout import dropout, fold
from ar_jax.nn.embed import Embed
from ar_jax.nn.kept import kept
from ar_jax.types import Condition, DataSpec, Model

_SMALL = dict(residual=4, skip=6, orderings=("raster",))
_EVERY = dict(
  speaker=Condition("label", 2),
  pitch=Condition("aligned", None, (5, 2)),
  phone=Condition("aligned", 3, (5,)),
)
TINY = [
  dict(spec=DataSpec((7,), 1, 2), dilations=(1, 2), **_SMALL),
  dict(
    spec=DataSpec((5,), 1, 3, None, dict(label=Condition("label", 2))),
    dilations=(1, 2, 1, 16),
    kernel=3,
    gate=5,
    dropout=0.1,
    **_SMALL,
  ),
  dict(
    spec=DataSpec((2, 2), 2, 2),
    dilations=(2, 1),
    front_kernel=2,
    residual=4,
    skip=6,
    orderings=("reverse",),
  ),
  dict(spec=DataSpec((5,), 1, 3, None, _EVERY), dilations=(1, 2), **_SMALL),
  dict(
    spec=DataSpec((4,), 2, None, 0.5, dict(label=Condition("label", 2))),
    dilations=(1, 1),
    kernel=1,
    front_kernel=3,
    **_SMALL,
  ),
]


def make(
  spec,
  head,
  ordering,
  *,
  dilations=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512) * 3,
  kernel=2,
  residual=64,
  skip=256,
  gate=None,
  front_kernel=1,
  dropout=0.0,
):
  """A WaveNet over the steps of one order.

  Args:
    spec: DataSpec; conditions of kind "label" and "aligned" are added to the
      gate of each layer.
    head: Head.
    ordering: Ordering of one fixed order.
    dilations: of each layer, in steps.
    kernel: taps k of each layer.
    residual: width R of the stream between the layers.
    skip: width of the sum of what the layers say to the output.
    gate: width G of the gated unit; None: R.
    front_kernel: taps of a convolution before the layers; 1: none, for the
      embedding is one of one tap.
    dropout: rate on what the convolution of each layer reads.
  Raises:
    ValueError: a family of several orders; a size below 1; conditions of
      kind "sequence".
  """
  dilations = tuple(int(d) for d in dilations)
  gate = residual if gate is None else gate
  sizes = kernel, residual, skip, gate, front_kernel, *dilations
  if not dilations or min(sizes) < 1:
    raise ValueError(f"dilations {dilations} and all sizes must be 1 or more")
  orders_KL = orders.trained(ordering)
  if orders_KL is None or len(orders_KL) > 1:
    raise ValueError(
      "wavenet is not told which site it predicts, so it takes one fixed"
      " order; a family of several needs a model with target=True, as gpt"
    )
  condition.check(spec.conditions, ("label", "aligned"), "wavenet")
  N = len(dilations)
  net = _WaveNet(
    spec=spec._replace(conditions=None),
    num_params=head.num_params,
    dilations=dilations,
    kernel=kernel,
    residual=residual,
    skip=skip,
    gate=gate,
    front_kernel=front_kernel,
    dropout=dropout,
  )
  bias_net = condition.Bias(condition.tupled(spec.conditions), N, 2 * gate)

  def conditioned(params, y):
    return bias_net.apply({"params": params["condition"]}, y)

  def rings(params, batch):
    dtype = params["wavenet"]["bias"].dtype
    slots = (kernel - 1) * sum(dilations)
    return dict(
      layers=jnp.zeros((slots, batch, residual), dtype),
      front=jnp.zeros((front_kernel - 1, batch, residual), dtype),
    )

  def run(params, x_BKC, t, bias, carried, n=None, key_B=None):
    variables = {"params": params["wavenet"]}
    return net.apply(variables, x_BKC, t, bias, carried, n, key_B)

  def init(key):
    k1, k2 = jax.random.split(key)
    x_BKC = jnp.zeros((1, 1, spec.channels), jnp.int32)
    empty = rings(dict(wavenet=dict(bias=jnp.zeros(1))), 1)
    return dict(
      condition=bias_net.init(k2, None).get("params", {}),
      wavenet=net.init(k1, x_BKC, 0, None, empty)["params"],
    )

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    del order_BL  # x is in generation order, and there is one order
    before_BLC = jnp.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    bias, empty = conditioned(params, y), rings(params, len(x_BLC))
    return run(params, before_BLC, 0, bias, empty, key_B=key_B)[0]

  def init_cache(params, batch, length, order_BL=None, y=None):
    del order_BL
    decode.check_length(length, spec)
    room = jnp.zeros(length, bool)  # its shape alone is read
    bias = conditioned(params, y)
    return dict(rings=rings(params, batch), bias=bias, room=room)

  def extend(params, cache, x_BKC, t, n=None):
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    bias = condition.at(cache["bias"], t, x_BKC.shape[1])
    theta_BKP, carried = run(params, x_BKC, t, bias, cache["rings"], n)
    return theta_BKP, dict(cache, rings=carried)

  step = decode.one_step(extend)
  sees = _sees(spec.length, dilations, kernel, front_kernel)
  aligned = condition.aligned(spec.conditions)
  return Model(init, apply, init_cache, step, extend, sees, aligned=aligned)


def receptive_field(dilations, kernel=2, front_kernel=1):
  """How many values, the one before it being the last, a step can see."""
  return 1 + (front_kernel - 1) + (kernel - 1) * sum(dilations)


def _sees(length, dilations, kernel, front_kernel):
  """bool [L, L] in the memory of 2 L; None where a step sees all before it.

  Dilations that leave gaps leave values unseen within the receptive field.
  """
  lags = np.zeros(length, bool)  # step t reads the value of step t - 1 - lag
  lags[:front_kernel] = True
  for dilation in dilations:
    one = lags.copy()
    for tap in range(1, kernel):
      shift = min(tap * dilation, length)
      lags[shift:] |= one[: length - shift]
  if lags[: length - 1].all():
    return None
  # Entry L - 1 - (t - s) of a vector, whatever t and s.
  by_distance = np.concatenate(
    [lags[: length - 1][::-1], np.zeros(length, bool)]
  )
  return np.lib.stride_tricks.sliding_window_view(by_distance, length)[::-1]


class _WaveNet(nn.Module):
  """K steps from t on: embedding, layers, parameters of the head."""

  spec: DataSpec
  num_params: int
  dilations: tuple
  kernel: int
  residual: int
  skip: int
  gate: int
  front_kernel: int
  dropout: float

  @nn.compact
  def __call__(self, x_BKC, t, bias, rings, n=None, key_B=None):
    """(theta [B, K, P], rings) of steps t .. t + K - 1.

    Args:
      x_BKC: values of steps t - 1 .. t + K - 2; unread at step -1.
      t: first step; a Python 0 or int32[].
      bias: [1|B, 1|K, N, 2G] of the conditions, or None.
      rings: of the steps before t.
      n: how many of the K steps enter the rings; None: all.
      key_B: keys of dropout, or None.
    """
    B, K, _ = x_BKC.shape
    N, R, F = len(self.dilations), self.residual, 2 * self.gate
    h_BKR = Embed(self.spec, R, name="embed")(x_BKC, t)
    h_BKR, front = self._front(h_BKR, rings["front"], t, n)
    own_NF = self.param("bias", nn.initializers.zeros, (N, F))[None, None]
    bias = own_NF if bias is None else own_NF + bias
    # Taps on earlier steps need no layer's output of this step: apart from
    # the tap on it, they are one product for all layers.
    init = nn.initializers.normal((self.kernel * R) ** -0.5)
    early = jnp.zeros((N, 0, R, F), bias.dtype)
    if self.kernel > 1:
      early = self.param("early_kernel", init, (N, self.kernel - 1, R, F))
    read, finish = (self._step if K == 1 and n is None else self._steps)(
      rings["layers"], early, bias, t, n
    )
    h_MR = h_BKR.reshape(B * K, R)  # M rows: each step of each example
    said = []
    for i in range(N):
      h_BKR = dropout(h_MR.reshape(B, K, R), self.dropout, fold(key_B, i))
      now_RF = self.param(f"now_{i}_kernel", init, (R, F))
      z_MF = read(i, h_BKR, now_RF).reshape(B * K, F)
      filtered, gate = jnp.split(z_MF, 2, axis=-1)
      said.append(jnp.tanh(filtered) * nn.sigmoid(gate))
      if i + 1 < N:
        h_MR = kept(h_MR + Dense(R, name=f"residual_{i}")(said[i]))
    # A map for each layer and their sum are one map of all.
    h_MS = Dense(self.skip, name="skip")(jnp.concatenate(said, -1))
    h_MS = nn.relu(Dense(self.skip, name="hidden")(nn.relu(h_MS)))
    theta_MP = Dense(self.num_params, name="head")(h_MS)
    theta_BKP = theta_MP.reshape(B, K, self.num_params)
    return theta_BKP, dict(layers=finish(), front=front)

  def _front(self, h_BKR, ring, t, n):
    """The convolution before the layers: (its output, its ring)."""
    k, R = self.front_kernel, self.residual
    if k == 1:
      return h_BKR, ring
    init = nn.initializers.normal((k * R) ** -0.5)
    kernel_kRR = self.param("front_kernel", init, (k, R, R))
    bias_R = self.param("front_bias", nn.initializers.zeros, (R,))
    n = h_BKR.shape[1] if n is None else n
    a_BTR = jnp.concatenate([causal_conv.unrolled(ring, t), h_BKR], 1)
    h_BKR = causal_conv.convolve(a_BTR, kernel_kRR, 1) + bias_R[None, None]
    return h_BKR, causal_conv.rolled(a_BTR, k - 1, t, n)

  def _step(self, ring, early, bias, t, n):
    """(read, finish) of one step.

    read: (layer, its input [B, 1, R], tap on it [R, F]) -> [B, 1, F].
    finish: () -> the ring after all layers have read.
    """
    del n
    inputs = []
    early_NBF = bias[:, 0].transpose(1, 0, 2)
    if self.kernel > 1:
      slots_JN = causal_conv.slots(self.dilations, self.kernel, t)
      held_JNBR = ring[slots_JN]  # a slot of each tap and layer
      early_NBF = early_NBF + jnp.einsum("jnbr,njrf->nbf", held_JNBR, early)

    def read(i, h_BKR, now_RF):
      inputs.append(h_BKR[:, 0])
      return early_NBF[i] + matmul(inputs[i], now_RF.astype(h_BKR.dtype))

    def finish():
      if self.kernel == 1:
        return ring
      inputs_NBR = jnp.stack(inputs).astype(ring.dtype)
      return ring.at[slots_JN[0]].set(inputs_NBR, unique_indices=True)

    return read, finish

  def _steps(self, ring, early, bias, t, n):
    """The same of K steps: convolutions over what is held and what is new."""
    first = causal_conv.offsets(self.dilations, self.kernel)
    rings = [ring[a:b] for a, b in zip(first[:-1], first[1:], strict=True)]
    early = jax.lax.split(early, (1,) * len(rings))
    wholes = []

    def read(i, h_BKR, now_RF):
      held_BSR = causal_conv.unrolled(rings[i], t).astype(h_BKR.dtype)
      wholes.append(jnp.concatenate([held_BSR, h_BKR], 1))
      kernel = jnp.concatenate([early[i][0], now_RF[None]])
      z_BKF = causal_conv.convolve(wholes[i], kernel, self.dilations[i])
      return z_BKF + bias[:, :, i]

    def finish():
      count = wholes[0].shape[1] - len(rings[0]) if n is None else n
      return jnp.concatenate(
        [
          causal_conv.rolled(whole, len(r), t, count).astype(r.dtype)
          for whole, r in zip(wholes, rings, strict=True)
        ]
      )

    return read, finish
