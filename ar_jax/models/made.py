"""MADE: an autoencoder masked into an autoregressive network, in any order.

Germain et al. 2015. One rule makes all masks: every node has a level, and an
edge goes from a to b where level a <= level b. An input has the rank of its
site plus one, an output the rank of its site, a hidden unit its degree d: it
reads the steps before d, and the outputs from step d on read it.

`apply` is one masked forward. `step` carries the pre-activations: a new value
is one row of the first layer, and the units of degree t, just complete, are
read by the next layer once.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import decode
from ar_jax import ordering as orders
from ar_jax.nn import arguments, condition
from ar_jax.nn.dense import matmul
from ar_jax.nn.dropout import dropout as drop
from ar_jax.nn.dropout import fold
from ar_jax.types import Condition, DataSpec, Model

ACTIVATIONS = dict(
  relu=jax.nn.relu, sigmoid=jax.nn.sigmoid, tanh=jnp.tanh, gelu=jax.nn.gelu
)

_LABEL = dict(label=Condition("label", 2))
TINY = [
  dict(spec=DataSpec((5,), 1, 2), hidden=(12,)),
  dict(
    spec=DataSpec((5,), 1, 3, None, _LABEL),
    hidden=(16, 12),
    direct=False,
    activation="tanh",
    dropout=0.1,
  ),
  dict(
    spec=DataSpec((2, 2), 2, 2, None, _LABEL),
    hidden=(40, 48),
    direct=False,
    activation="sigmoid",
    masks="sampled",
    mask_seed=1,
    one_hot=True,
  ),
  dict(
    spec=DataSpec((5,), 1, 3), hidden=(2, 3), direct=False, activation="tanh"
  ),
  dict(
    spec=DataSpec((4,), 2, None, 0.5),
    hidden=(6,),
    direct=False,
    activation="sigmoid",
  ),
]


def make(
  spec,
  head,
  ordering,
  *,
  hidden=(500,),
  direct=True,
  activation="relu",
  masks="fixed",
  mask_seed=0,
  one_hot=False,
  dropout=0.0,
):
  """A MADE over the sites of `spec`, in any order.

  One order for the batch, [1, L], costs one dense forward. Orders [B, L] mean
  other masks for each row, and the rows go one by one.

  Args:
    spec: DataSpec; labels are added in every layer, the output included.
      Binary values enter as -1 and 1, more values one-hot, real ones as they
      are beside a 1.
    head: Head.
    ordering: unread: the masks follow the order that is given.
    hidden: widths of the hidden layers; () with `direct` is a logistic
      autoregression.
    direct: whether outputs also read the inputs, by one more matrix of (L C V)
      x (L P) weights.
    activation: a key of ACTIVATIONS.
    masks: "fixed": degrees spread evenly over 1 .. L - 1, the same in every
      order. "sampled": uniform ones drawn anew for each order, as a hash of
      it, so the likelihood under an order stays exact. A degree t follows
      from the first t sites alone.
    mask_seed: which degrees.
    one_hot: binary values enter one-hot as well, and not as -1 and 1: then a
      unit is told which sites it knows, whatever their values. It is what the
      paper calls conditioning on the mask.
    dropout: rate on the hidden layers.
  Raises:
    ValueError: arguments that do not go together.
  """
  del ordering
  condition.check(spec.conditions, ("label",), "made")
  if not hidden and not direct:
    raise ValueError("hidden=() with direct=False reads no input")
  arguments.choose("activation", activation, ACTIVATIONS)
  if masks not in ("fixed", "sampled"):
    raise ValueError(f"masks {masks!r} is neither 'fixed' nor 'sampled'")
  act = ACTIVATIONS[activation]
  L, P = spec.length, head.num_params
  scalar = spec.num_values is None or spec.num_values == 2 and not one_hot
  inputs = spec.channels * (1 if scalar else spec.num_values)
  inputs += spec.num_values is None  # the 1 beside real values
  even = even_degrees(L, hidden, mask_seed)
  # How many units of a layer can be complete at once.
  widest = [np.bincount(d).max() for d in even]
  label_net = condition.Bias(
    condition.tupled(spec.conditions), 1, sum(hidden) + L * P
  )

  def init(key):
    keys = iter(jax.random.split(key, len(hidden) + 2))
    sizes = (L * inputs, *hidden)
    # Of the inputs of a site's channel, one is not zero where V > 2.
    fans = (L * spec.channels, *hidden)
    params = dict(
      label=label_net.init(next(keys), None).get("params", {}),
      hidden=[
        dict(
          kernel=jax.random.normal(next(keys), (D, E)) * fan**-0.5,
          bias=jnp.zeros(E),
        )
        for D, E, fan in zip(sizes, hidden, fans, strict=False)
      ],
      out=dict(bias=jnp.zeros((L, P))),
    )
    if hidden:
      normal = jax.random.normal(next(keys), (L, P, hidden[-1]))
      params["out"]["kernel"] = normal * hidden[-1] ** -0.5
    if direct:
      params["out"]["direct"] = jnp.zeros((L * inputs, L * P))
    return params

  def degrees_of(order_RL):
    if masks == "sampled" and hidden:
      return sampled_degrees(order_RL, hidden, mask_seed)
    return [jnp.asarray(d)[None] for d in even]

  def biases(params, y):
    """(of each hidden layer [1|B, H], of the output [1|B, L * P])."""
    layers = [p["bias"][None] for p in params["hidden"]]
    layers.append(params["out"]["bias"].reshape(1, -1))
    label = label_net.apply({"params": params["label"]}, y)
    if label is None:
      return layers[:-1], layers[-1]
    parts = jnp.split(label[:, 0, 0], np.cumsum(hidden), axis=-1)
    layers = [a + b for a, b in zip(layers, parts, strict=True)]
    return layers[:-1], layers[-1]

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    order_RL = _given(order_BL, L)
    dtype = params["out"]["bias"].dtype
    x_BLC = orders.unpermute(x_BLC, order_BL)
    x_BD = encode(x_BLC, spec, scalar, dtype).reshape(len(x_BLC), -1)
    rank_RL = jnp.argsort(order_RL, -1)
    level_RD = jnp.repeat(rank_RL + 1, inputs, -1)
    level_RO = jnp.repeat(rank_RL, P, -1)
    layers, theta_BO = biases(params, y)
    h_BD, below_RD = x_BD, level_RD
    for i, degree_RH in enumerate(degrees_of(order_RL)):
      kernel = params["hidden"][i]["kernel"]
      z_BH = masked(h_BD, kernel, below_RD, degree_RH) + layers[i]
      h_BD, below_RD = drop(act(z_BH), dropout, fold(key_B, i)), degree_RH
    if hidden:
      kernel = params["out"]["kernel"].reshape(L * P, -1).T
      theta_BO = theta_BO + masked(h_BD, kernel, below_RD, level_RO)
    if direct:
      kernel = params["out"]["direct"]
      theta_BO = theta_BO + masked(x_BD, kernel, level_RD, level_RO)
    return orders.permute(theta_BO.reshape(len(x_BD), L, P), order_BL)

  def init_cache(params, batch, length, order_BL=None, y=None):
    decode.check_length(length, spec)
    order_RL = _given(order_BL, L)
    layers, theta = biases(params, y)
    return dict(
      order=order_RL,
      degrees=degrees_of(order_RL),
      hidden=[jnp.broadcast_to(b, (batch, b.shape[1])) for b in layers],
      theta=jnp.broadcast_to(theta, (batch, L * P)),
      room=jnp.zeros(length, bool),  # its shape alone is read
    )

  def step(params, cache, x_BC, t):
    degrees = cache["degrees"]
    source_R = cache["order"][:, jnp.maximum(t - 1, 0)]
    site_R = cache["order"][:, t]
    hidden_BH, theta_BO = list(cache["hidden"]), cache["theta"]

    def read(kernel):
      kernel = kernel.reshape(L, inputs, -1)
      rows = _row(kernel, source_R, x_BC, spec, scalar)
      return jnp.where(t > 0, rows, 0)

    if direct:
      theta_BO = theta_BO + read(params["out"]["direct"])
    new_BH = read(params["hidden"][0]["kernel"]) if hidden else None
    for i, degree_RH in enumerate(degrees):
      # Units of a smaller degree are complete: nothing enters them any more.
      open_RH = degree_RH >= t
      hidden_BH[i] = hidden_BH[i] + jnp.where(open_RH, new_BH, 0)
      done_BH = act(hidden_BH[i])
      if i + 1 < len(hidden):
        new_BH = jnp.where(degree_RH == t, done_BH, 0)
        new_BH = hand_on(new_BH, params["hidden"][i + 1]["kernel"], i, t)
    theta_BP = _at(theta_BO.reshape(-1, L, P), site_R)
    if hidden:
      done_BH = jnp.where(degrees[-1] <= t, done_BH, 0)
      kernel_RPH = params["out"]["kernel"][site_R]
      theta_BP = theta_BP + _each(done_BH, kernel_RPH.swapaxes(1, 2))
    return theta_BP, dict(cache, hidden=hidden_BH, theta=theta_BO)

  def hand_on(done_BH, kernel_HE, i, t):
    """What units of layer i give to the next; done_BH is 0 but at degree t."""
    if masks == "fixed":  # these units stand side by side
      first = jnp.asarray(np.searchsorted(even[i], np.arange(L)))[t]
      done_BH, kernel_HE = (
        jax.lax.dynamic_slice_in_dim(a, first, widest[i], axis)
        for a, axis in ((done_BH, 1), (kernel_HE, 0))
      )
    return done_BH @ kernel_HE

  scan = decode.extend_by_scan(step)

  def extend(params, cache, x_BKC, t, n=None):
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    return scan(params, cache, x_BKC, t, n)

  sees = None if direct or masks == "sampled" else _sees(L, even)
  return Model(init, apply, init_cache, step, extend, sees)


def _given(order_BL, length):
  """The order as an array, int32 [1|B, L]."""
  if order_BL is None:
    return jnp.arange(length, dtype=jnp.int32)[None]
  return jnp.asarray(order_BL)


# --- masks ---


def even_degrees(length, hidden, seed):
  """A sorted int array of degrees 1 .. L - 1 for each layer; seed shifts them.

  A layer of L - 1 units or more has every degree.
  """
  shift = np.random.default_rng(seed).random()
  return [
    1 + ((np.arange(size) + shift) * (length - 1) / size).astype(np.int32)
    for size in hidden
  ]


def sampled_degrees(order_RL, hidden, seed):
  """Uniform degrees 1 .. L - 1 by a hash of the order: int32 [R, H] a layer.

  At step t, a unit that is still open closes with probability 1 / (L - t), by
  a hash of the unit and of the first t sites. So what step t computes does
  not depend on the order of later steps.
  """
  L = order_RL.shape[1]
  step_L = np.arange(L, dtype=np.int32)
  place_RL = order_RL + L * step_L[None]
  site_RL = _mix(place_RL.astype(jnp.uint32))
  # Of the sites before each step; sums wrap around.
  prefix_RL = jnp.cumsum(site_RL, 1, dtype=jnp.uint32) - site_RL
  prefix_RL = _mix(prefix_RL + _mix(jnp.uint32(seed)))
  unit_N = _mix(jnp.arange(sum(hidden), dtype=jnp.uint32) + 1)
  draw_RLN = _mix(prefix_RL[:, :, None] ^ unit_N[None, None])
  chance_L = ((2**32 - 1) // (L - np.arange(L))).astype(np.uint32)
  closes_RLN = draw_RLN <= chance_L[None, :, None]
  step_L[0] = L  # no unit closes at step 0
  degree_RN = jnp.where(closes_RLN, step_L[None, :, None], np.int32(L)).min(1)
  return jnp.split(degree_RN, np.cumsum(hidden)[:-1], axis=1)


def _mix(x):
  """The finalizer of MurmurHash3, a bijection of uint32."""
  x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
  return x ^ (x >> 16)


def masked(x_BD, kernel_DE, below_RD, above_RE):
  """x @ kernel over the edges from a level to the same or a higher one.

  Each row with a mask of its own: one by one, which is many times faster than
  all masked kernels at once, and computed again in the backward pass.
  """

  def product(x_BD, below_D, above_E):
    edge_DE = below_D[:, None] <= above_E[None]
    return matmul(x_BD, jnp.where(edge_DE, kernel_DE, 0))

  if len(below_RD) == len(above_RE) == 1:
    return product(x_BD, below_RD[0], above_RE[0])
  B = len(x_BD)
  below_BD, above_BE = (
    jnp.broadcast_to(a, (B, a.shape[1])) for a in (below_RD, above_RE)
  )

  @jax.checkpoint
  def row(args):
    x_D, below_D, above_E = args
    return product(x_D[None], below_D, above_E)[0]

  return jax.lax.map(row, (x_BD, below_BD, above_BE))


def _sees(length, degrees):
  """bool [L, L]: which steps a path of the masks leads from; None: all."""
  step_L = np.arange(length)
  reached_L = step_L + 1  # the lowest level that each input leads to
  for degree_H in degrees:  # sorted
    above = np.append(degree_H, length)
    reached_L = above[np.searchsorted(degree_H, reached_L)]
  sees_LL = reached_L[None] <= step_L[:, None]
  every = np.tri(length, k=-1, dtype=bool)
  return None if np.array_equal(sees_LL, every) else sees_LL


# --- inputs and single sites ---


def encode(x_BLC, spec, scalar, dtype):
  """[B, L, I]: one-hot; as scalars -1 and 1, or real values and a 1.

  Never 0 throughout: so are the inputs of a site that is not known.
  """
  if not scalar:
    one_hot = jax.nn.one_hot(x_BLC, spec.num_values, dtype=dtype)
    return one_hot.reshape(*x_BLC.shape[:2], -1)
  x_BLC = x_BLC.astype(dtype)
  if spec.num_values is not None:
    return 2 * x_BLC - 1
  return jnp.concatenate([x_BLC, jnp.ones_like(x_BLC[..., :1])], -1)


def _row(kernel_LIE, site_R, x_BC, spec, scalar):
  """What the value of one site adds: [B, E]."""
  if scalar:
    x_BI = encode(x_BC[:, None], spec, True, kernel_LIE.dtype)[:, 0]
    return _each(x_BI, kernel_LIE[site_R])
  V = spec.num_values
  # Summed channel by channel: a gather of rows, where V may be large.
  return sum(
    kernel_LIE[site_R, c * V + x_BC[:, c]] for c in range(spec.channels)
  )


def _each(x_BD, kernel_RDE):
  """x @ kernel, one kernel for all rows or one for each."""
  if len(kernel_RDE) == 1:
    return x_BD @ kernel_RDE[0]
  return jnp.einsum("bd,bde->be", x_BD, kernel_RDE)


def _at(theta_BLP, site_R):
  """theta of one site, the same in all rows or one for each."""
  if len(site_R) == 1:
    return theta_BLP[:, site_R[0]]
  return jnp.take_along_axis(theta_BLP, site_R[:, None, None], 1)[:, 0]
