"""NADE: one running sum of what is known, read out for the next site.

Larochelle and Murray 2011. The pre-activation of a step is that of the step
before it plus one row of weights, so a step costs O(H) and the rows say where
values lie: any order goes. With more layers it is the deep order-agnostic
network of Uria et al. 2014: upper layers are computed anew at each step. Each
value has a row of its own, so rows also say that a site is known at all: their
input mask is part of them.

One function computes K steps from the running sum: `apply` in chunks that the
backward pass computes again, `extend` on K steps, `step` on one.
"""

import jax
import jax.numpy as jnp

from ar_jax import decode
from ar_jax.nn import arguments, condition
from ar_jax.nn.dense import matmul
from ar_jax.types import Condition, DataSpec, Model

CHUNK = 28  # steps of `apply` that are held in memory at once
ACTIVATIONS = dict(sigmoid=jax.nn.sigmoid, relu=jax.nn.relu, tanh=jnp.tanh)

_LABEL = dict(label=Condition("label", 2))
_BOTH = dict(_LABEL, pitch=Condition("aligned", None, (4, 2)))
TINY = [
  dict(spec=DataSpec((5,), 1, 3), hidden=8),
  dict(
    spec=DataSpec((2, 2), 2, 2, None, _LABEL),
    hidden=24,
    layers=3,
    activation="relu",
  ),
  dict(spec=DataSpec((4,), 1, 3, None, _BOTH), hidden=8, layers=2),
  dict(spec=DataSpec((4,), 2, None, 0.5), hidden=8),
]


def make(spec, head, ordering, *, hidden=500, layers=1, activation="sigmoid"):
  """A NADE over the sites of `spec`, in any order.

  One order for the batch, [1, L], trains faster than [B, L]: its gradients
  are products, not scattered rows.

  Args:
    spec: DataSpec; labels and aligned features are added in every layer.
    head: Head.
    ordering: unread: rows are those of the order that is given.
    hidden: width H of every layer.
    layers: 1 is NADE; more are computed for each step, O(H^2).
    activation: a key of ACTIVATIONS.
  Raises:
    ValueError: a condition or an activation that it has not.
  """
  del ordering
  condition.check(spec.conditions, ("label", "aligned"), "nade")
  arguments.choose("activation", activation, ACTIVATIONS)
  act = ACTIVATIONS[activation]
  L, P = spec.length, head.num_params
  inputs = spec.channels * (spec.num_values or 1) + (spec.num_values is None)
  conditions = condition.tupled(spec.conditions)
  bias_net = condition.Bias(conditions, layers, hidden)

  def init(key):
    keys = jax.random.split(key, layers + 2)
    normal = jax.random.normal
    return dict(
      condition=bias_net.init(keys[0], None).get("params", {}),
      input=normal(keys[1], (L, inputs, hidden)) * L**-0.5,
      hidden=[normal(k, (hidden, hidden)) * hidden**-0.5 for k in keys[2:-1]],
      bias=jnp.zeros((layers, hidden)),
      out=dict(
        kernel=normal(keys[-1], (L, P, hidden)) * hidden**-0.5,
        bias=jnp.zeros((L, P)),
      ),
    )

  def given(params, order_BL, y):
    """What all steps share: the order, and the biases of the conditions."""
    if order_BL is None:
      order_BL = jnp.arange(L, dtype=jnp.int32)[None]
    bias = bias_net.apply({"params": params["condition"]}, y)
    return dict(order=jnp.asarray(order_BL), bias=bias)

  def upper(params, z, bias):
    """The last hidden layer from the first pre-activation [..., H].

    bias: [..., N, H] of the conditions, or None.
    """
    h = z
    for i in range(layers):
      z = matmul(h, params["hidden"][i - 1]) if i else z
      z = z + params["bias"][i].reshape((1,) * (z.ndim - 1) + (hidden,))
      h = act(z if bias is None else z + bias[..., i, :])
    return h

  def run(params, shared, z_BH, x_BKC, t):
    """(theta [B, K, P], running sums [K, B, H]) of steps t .. t + K - 1."""
    step_K = t + jnp.arange(x_BKC.shape[1])
    source_RK = shared["order"][:, jnp.maximum(step_K - 1, 0)]
    target_RK = shared["order"][:, step_K]
    rows_KBH = _rows(params["input"], source_RK, x_BKC, spec)
    rows_KBH = jnp.where(step_K[:, None, None] > 0, rows_KBH, 0)

    def body(z_BH, row_BH):
      z_BH = z_BH + row_BH
      return z_BH, z_BH

    _, z_KBH = jax.lax.scan(body, z_BH, rows_KBH)
    bias = condition.at(shared["bias"], t, x_BKC.shape[1])
    h_KBH = upper(params, z_KBH, None if bias is None else bias.swapaxes(0, 1))
    kernel_RKPH = params["out"]["kernel"][target_RK]
    if len(target_RK) == 1:
      theta_KBP = jnp.einsum("kbh,kph->kbp", h_KBH, kernel_RKPH[0])
    else:
      theta_KBP = jnp.einsum("kbh,bkph->kbp", h_KBH, kernel_RKPH)
    theta_BKP = theta_KBP.swapaxes(0, 1)
    return theta_BKP + params["out"]["bias"][target_RK], z_KBH

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    del key_B
    before_BLC = jnp.pad(x_BLC, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    shared = given(params, order_BL, y)
    z_BH = jnp.zeros((len(x_BLC), hidden), params["bias"].dtype)
    chunks, rest = divmod(L, CHUNK)
    thetas = []

    @jax.checkpoint
    def body(z_BH, t):
      x_BKC = jax.lax.dynamic_slice_in_dim(before_BLC, t, CHUNK, 1)
      theta_BKP, z_KBH = run(params, shared, z_BH, x_BKC, t)
      return z_KBH[-1], theta_BKP

    if chunks:
      z_BH, theta_NBKP = jax.lax.scan(body, z_BH, CHUNK * jnp.arange(chunks))
      theta_BNKP = theta_NBKP.swapaxes(0, 1)
      thetas.append(theta_BNKP.reshape(len(x_BLC), -1, P))
    if rest:
      tail_BKC = before_BLC[:, L - rest :]
      thetas.append(run(params, shared, z_BH, tail_BKC, L - rest)[0])
    return jnp.concatenate(thetas, 1)

  def init_cache(params, batch, length, order_BL=None, y=None):
    decode.check_length(length, spec)
    sum_BH = jnp.zeros((batch, hidden), params["bias"].dtype)
    room = jnp.zeros(length, bool)  # its shape alone is read
    return dict(sum=sum_BH, shared=given(params, order_BL, y), room=room)

  def extend(params, cache, x_BKC, t, n=None):
    x_BKC = jnp.asarray(x_BKC)
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    theta_BKP, z_KBH = run(params, cache["shared"], cache["sum"], x_BKC, t)
    if n is None:
      return theta_BKP, dict(cache, sum=z_KBH[-1])
    z_KBH = jnp.concatenate([cache["sum"][None], z_KBH])
    return theta_BKP, dict(cache, sum=z_KBH[n])

  def predict(params, x_BLC, known_BL, y=None, *, key_B=None):
    """theta of every site from those known, in one pass; data order."""
    del key_B
    x_BLI = _features(x_BLC, spec, params["bias"].dtype)
    x_BLI = jnp.where(known_BL[..., None], x_BLI, 0)
    kernel = params["input"].reshape(L * inputs, hidden)
    z_BH = matmul(x_BLI.reshape(len(x_BLC), -1), kernel)
    bias = bias_net.apply({"params": params["condition"]}, y)
    h_BLH = upper(params, z_BH[:, None], bias)  # [B, 1|L, H]
    kernel_LPH = params["out"]["kernel"]
    if h_BLH.shape[1] == 1:
      theta_BLP = jnp.einsum("bh,lph->blp", h_BLH[:, 0], kernel_LPH)
    else:
      theta_BLP = jnp.einsum("blh,lph->blp", h_BLH, kernel_LPH)
    return theta_BLP + params["out"]["bias"][None]

  return Model(
    init,
    apply,
    init_cache,
    decode.one_step(extend),
    extend,
    predict=predict,
    aligned=condition.aligned(spec.conditions),
  )


def _features(x_BKC, spec, dtype):
  """[B, K, I]: one-hot; real values and a 1, which says that they are known."""
  if spec.num_values is None:
    x_BKC = x_BKC.astype(dtype)
    return jnp.concatenate([x_BKC, jnp.ones_like(x_BKC[..., :1])], -1)
  one_hot = jax.nn.one_hot(x_BKC, spec.num_values, dtype=dtype)
  return one_hot.reshape(*x_BKC.shape[:2], -1)


def _rows(kernel_LIH, site_RK, x_BKC, spec):
  """What the values of K sites add to the sum: [K, B, H]."""
  if len(site_RK) == 1:
    x_BKI = _features(x_BKC, spec, kernel_LIH.dtype)
    return jnp.einsum("bki,kih->kbh", x_BKI, kernel_LIH[site_RK[0]])
  if spec.num_values is None:
    x_BKI = _features(x_BKC, spec, kernel_LIH.dtype)
    return jnp.einsum("bki,bkih->kbh", x_BKI, kernel_LIH[site_RK])
  V, x_KBC = spec.num_values, x_BKC.swapaxes(0, 1)
  rows = (
    kernel_LIH[site_RK.T, c * V + x_KBC[..., c]] for c in range(spec.channels)
  )
  return sum(rows)
