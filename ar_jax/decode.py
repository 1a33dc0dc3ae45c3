"""Adapters that complete a Model: a new model needs `init` and `apply` only.

A fast model writes one of `step` and `extend`; the other comes from here. The
naive cache stays as the reference that fast steps are compared against.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import ordering as orders
from ar_jax.types import Model

_ROWS = 64  # of one `predict`; on CPU four times as many gain a fifth


def complete(init, apply, spec, sees=None):
  """A Model from `init` and `apply` alone: exact, one forward per step."""
  init_cache, step = naive_cache(apply, spec)
  scan = extend_by_scan(step)

  def extend(params, cache, x_BKC, t, n=None):
    check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    return scan(params, cache, x_BKC, t, n)

  return Model(init, apply, init_cache, step, extend, sees)


def naive_cache(apply, spec):
  """`init_cache` and `step` whose cache is the sequence so far."""
  dtype = jnp.int32 if spec.num_values else jnp.result_type(float)

  def init_cache(params, batch, length, order_BL=None, y=None):
    del params
    check_length(length, spec)
    x_BLC = jnp.zeros((batch, spec.length, spec.channels), dtype)
    room = jnp.zeros(length, bool)  # its shape alone is read
    return dict(x=x_BLC, order=order_BL, y=y, room=room)

  def step(params, cache, x_BC, t):
    # At t = 0 slot 0 receives the unread value; theta[:, 0] does not see it.
    x_BLC = jax.lax.dynamic_update_slice_in_dim(
      cache["x"], x_BC[:, None].astype(dtype), jnp.maximum(t - 1, 0), axis=1
    )
    theta_BLP = apply(params, x_BLC, cache["order"], cache["y"])
    theta_BP = jax.lax.dynamic_index_in_dim(theta_BLP, t, 1, keepdims=False)
    return theta_BP, dict(cache, x=x_BLC)

  return init_cache, step


def from_predict(init, predict, spec):
  """A Model of an order-agnostic network, from `init` and `predict` alone.

  Step t is one pass, told the values of the steps before it: all sites are
  predicted, and that of step t is kept. So `apply` takes L passes for each
  row, and `step` one. A network with aligned conditions is not for this: it
  would see the rows of later steps.
  """
  L = spec.length
  dtype = jnp.int32 if spec.num_values else jnp.result_type(float)

  def sites(order_BL):
    """(order, rank), each [1|B, L]: sorting is dear, and done once."""
    if order_BL is None:
      return (jnp.arange(L, dtype=jnp.int32)[None],) * 2
    return jnp.asarray(order_BL), orders.rank(order_BL)

  def passes(params, x_BLC, order_BL, rank_BL, y, t, K, key_B=None):
    """theta [B, K, P] of steps t .. t + K - 1; x in generation order."""
    B = len(x_BLC)
    x_BLC = orders.permute(x_BLC, rank_BL)  # to data order
    # A numpy table cannot be read by a traced value of the loop below.
    params = jax.tree.map(jnp.asarray, params)
    chunks = -(-K // max(1, _ROWS // B))
    M = -(-K // chunks)

    def some(t_M):
      """theta [M, B, P]: M passes as one batch."""
      known_MBL = rank_BL[None] < t_M[:, None, None]
      known_MBL = jnp.broadcast_to(known_MBL, (M, B, L))
      x_RLC, y_R = jax.tree.map(lambda a: jnp.concatenate([a] * M), (x_BLC, y))
      key_R = None
      if key_B is not None:
        fold = jax.vmap(jax.random.fold_in, (0, None))
        key_R = jax.vmap(fold, (None, 0))(key_B, t_M).reshape(-1)
      known_RL = known_MBL.reshape(-1, L)
      theta = predict(params, x_RLC, known_RL, y_R, key_B=key_R)
      theta = theta.reshape(M, B, L, -1)
      site_MB = jnp.broadcast_to(order_BL[:, t_M].T, (M, B))
      return jnp.take_along_axis(theta, site_MB[..., None, None], 2)[:, :, 0]

    # The last chunk may run over; what it gives beyond is cut off.
    t_NM = jnp.minimum(t + jnp.arange(chunks * M), L - 1).reshape(-1, M)
    theta = some(t_NM[0])[None] if chunks == 1 else jax.lax.map(some, t_NM)
    return theta.reshape(chunks * M, B, -1)[:K].swapaxes(0, 1)

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    return passes(params, x_BLC, *sites(order_BL), y, 0, L, key_B)

  def init_cache(params, batch, length, order_BL=None, y=None):
    del params
    check_length(length, spec)
    # Slot t holds what step t reads: a value that is never read needs none.
    before_BLC = jnp.zeros((batch, L, spec.channels), dtype)
    room = jnp.zeros(length, bool)  # its shape alone is read
    order_BL, rank_BL = sites(order_BL)
    place = dict(order=order_BL, rank=rank_BL)
    return dict(place, before=before_BLC, y=y, room=room)

  def extend(params, cache, x_BKC, t, n=None):
    del n  # later steps overwrite what is past the cursor, and never read it
    K = x_BKC.shape[1]
    check_capacity(t, K, len(cache["room"]))
    before_BLC = jax.lax.dynamic_update_slice_in_dim(
      cache["before"], x_BKC.astype(dtype), t, axis=1
    )
    x_BLC = jnp.roll(before_BLC, -1, axis=1)  # the last is known to no step
    place = cache["order"], cache["rank"]
    theta_BKP = passes(params, x_BLC, *place, cache["y"], t, K)
    return theta_BKP, dict(cache, before=before_BLC)

  step = one_step(extend)
  return Model(init, apply, init_cache, step, extend, predict=predict)


def sees(model, length, order_L=None):
  """bool [L, L], [t, s]: whether step t can depend on step s, under an order.

  Args:
    model: Model.
    length: L.
    order_L: int [L]; None: the identity.
  """
  if model.sees is None:
    return np.tri(length, k=-1, dtype=bool)
  if not callable(model.sees):
    return model.sees
  return model.sees(np.arange(length) if order_L is None else order_L)


def extend_by_scan(step):
  """`extend` as K calls of `step`."""

  def extend(params, cache, x_BKC, t, n=None):
    x_BKC = jnp.asarray(x_BKC)
    K = x_BKC.shape[1]

    def body(caches, k):
      """What is not to be kept is still seen by the steps after it."""
      kept, before = caches
      theta_BP, cache = step(params, before, x_BKC[:, k], t + k)

      def keep(new, old, kept):
        # What no step changes, as weights, is not copied for each of them.
        return kept if new is old else jnp.where(k < n, new, kept)

      if n is not None:
        kept = jax.tree.map(keep, cache, before, kept)
      return (kept, cache), theta_BP

    first = None if n is None else cache, cache
    (kept, cache), theta_KBP = jax.lax.scan(body, first, jnp.arange(K))
    return theta_KBP.swapaxes(0, 1), cache if n is None else kept

  return extend


def one_step(extend):
  """`step` as `extend` by one."""

  def step(params, cache, x_BC, t):
    theta_BKP, cache = extend(params, cache, x_BC[:, None], t)
    return theta_BKP[:, 0], cache

  return step


def check_length(length, spec):
  """Raises ValueError for a cache longer than the items of the spec."""
  if not 1 <= length <= spec.length:
    raise ValueError(
      f"cache for {length} steps, but an item has {spec.length} sites"
    )


def check_capacity(t, K, capacity):
  """Raises ValueError where K steps from t do not fit the cache.

  XLA would clamp the write and overwrite earlier steps without a word. A
  traced t cannot be looked at: samplers check their whole length beforehand.
  """
  start = 0 if isinstance(t, jax.core.Tracer) else int(np.asarray(t))
  if start + K > capacity:
    raise ValueError(
      f"extend: steps {start}..{start + K - 1} do not fit a cache of"
      f" {capacity} steps; pass a larger length to init_cache"
    )
