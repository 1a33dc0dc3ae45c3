"""How many sites to draw in each pass of an order-agnostic network.

A pass at step t that draws k sites at once costs k times the loss of step t,
the later ones of the group not being told the earlier ones. Dynamic
programming finds the passes that cost least (Hoogeboom et al. 2021).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def dynamic(losses_L, K):
  """Sites of each of K passes, with the fewest expected nats: a tuple of K.

  Exact, O(L^2 K).

  Args:
    losses_L: expected nats of the next site where t are known, as of
      `step_losses`.
    K: passes, 1 .. L.
  Raises:
    ValueError: K out of its range; a loss that is not finite.
  """
  losses_L = _checked(losses_L, K)
  L = len(losses_L)
  step = np.arange(L + 1)
  count = step[:, None] - step[:L]  # of a pass from step s to step e: [e, s]
  price = np.where(count > 0, count * losses_L, np.inf)
  best = np.where(step == 0, 0.0, np.inf)  # by the step that is reached
  choices = []
  for _ in range(K):
    total = price + best[:L]
    choice = total.argmin(1)
    best = np.take_along_axis(total, choice[:, None], 1)[:, 0]
    choices.append(choice)
  sizes, end = [], L
  for choice in reversed(choices):
    sizes.append(int(end - choice[end]))
    end = int(choice[end])
  return tuple(reversed(sizes))


def even(length, K):
  """Sites of each of K passes, as equal as can be: a tuple of K."""
  _checked(np.zeros(length), K)
  edges = np.linspace(0, length, K + 1).round().astype(int)
  return tuple(np.diff(edges).tolist())


def expected_nats(losses_L, sizes):
  """Nats of an item that is drawn in passes of the given sizes."""
  starts = np.cumsum([0, *sizes[:-1]])
  return float(np.asarray(losses_L, np.float64)[starts] @ np.asarray(sizes))


def _checked(losses_L, K):
  losses_L = np.asarray(losses_L, np.float64)
  if not 1 <= K <= len(losses_L):
    raise ValueError(f"{K} passes cannot draw {len(losses_L)} sites")
  if not np.isfinite(losses_L).all():
    raise ValueError("losses are not finite")
  return losses_L


def step_losses(model, head, params, x_BLC, key, y=None):
  """Expected nats of the next site where t are known: float64 [L].

  A Monte Carlo estimate: at every t each row has a fresh uniformly random set
  of t known sites, and the mean is over all its unknown ones. L passes; the
  sum over t estimates the bound of the whole item.

  Args:
    model: Model with `predict`.
    head: Head.
    params: of the model.
    x_BLC: items, in data order.
    key: the same key gives the same sets.
    y: conditions by name.
  """
  run = _step_losses(model.predict, head.log_prob)
  x_BLC = jnp.asarray(x_BLC)
  return np.asarray(run(params, x_BLC, key, y), np.float64)


@functools.lru_cache(maxsize=8)
def _step_losses(predict, log_prob):
  """Compiled (params, x, key, y) -> losses [L]."""

  @jax.jit
  def run(params, x_BLC, key, y):
    B, L, _ = x_BLC.shape

    def at(t):
      key_B = jax.random.split(jax.random.fold_in(key, t), B)
      rank_BL = jax.vmap(lambda k: jax.random.permutation(k, L))(key_B)
      unknown_BL = rank_BL >= t
      theta_BLP = predict(params, x_BLC, ~unknown_BL, y)
      nats_BL = -log_prob(theta_BLP, x_BLC)
      return jnp.where(unknown_BL, nats_BL, 0).sum() / (B * (L - t))

    return jax.lax.map(at, jnp.arange(L))

  return run
