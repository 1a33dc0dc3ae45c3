"""Adapters that complete a Model: a new model needs `init` and `apply` only.

A fast model writes one of `step` and `extend`; the other comes from here. The
naive cache stays as the reference that fast steps are compared against.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax.types import Model


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


def extend_by_scan(step):
  """`extend` as K calls of `step`."""

  def extend(params, cache, x_BKC, t, n=None):
    x_BKC = jnp.asarray(x_BKC)
    K = x_BKC.shape[1]

    def body(cache, k):
      theta_BP, new = step(params, cache, x_BKC[:, k], t + k)
      if n is not None:
        new = jax.tree.map(lambda a, b: jnp.where(k < n, a, b), new, cache)
      return new, theta_BP

    cache, theta_KBP = jax.lax.scan(body, cache, jnp.arange(K))
    return theta_KBP.swapaxes(0, 1), cache

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
