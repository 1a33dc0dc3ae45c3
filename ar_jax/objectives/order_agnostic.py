"""The order-agnostic objective: all sites not yet known, at a random step.

Uria et al. 2014, Hoogeboom et al. 2021. One pass of the network
an example, where the exact NLL of an order takes L.
"""

import jax
import jax.numpy as jnp

from ar_jax import ordering as orders
from ar_jax.nn.dropout import fold

TINY = [dict(model=dict(name="ardm", trunk="mlp", depth=1, width=8))]


def make(model, head, ordering):
  """An unbiased estimate of -log p per site, averaged over the orders.

  Its mean over orders and steps is, site by site, that of objectives/nll.py,
  and so an upper bound on the NLL of their mixture.

  Raises:
    ValueError: a model that does not predict all sites at once.
  """
  if model.predict is None:
    raise ValueError(
      "order_agnostic takes a network that predicts all unknown sites at"
      " once, as models/ardm.py; train this one by nll"
    )
  every = ordering.orders_KL is None

  def objective(params, batch, key_B, done=1.0):
    """(params, Batch, keys [B], share) -> (nats [B, L], weight [B, L])."""
    order_BL = orders.draw_training(ordering, fold(key_B, 0), done)
    L = batch.x_BLC.shape[1]
    step_B = jax.vmap(lambda key: jax.random.randint(key, (), 0, L))(
      fold(key_B, 1)
    )
    nats_BL = at_step(
      model,
      head,
      params,
      batch.x_BLC,
      order_BL,
      step_B,
      batch.y,
      every=every,
      key_B=fold(key_B, 2),
    )
    return nats_BL, batch.weight_BL

  return objective


def at_step(
  model, head, params, x_BLC, order_BL, step_B, y=None, *, every, key_B=None
):
  """Nats [B, L] in data order; their mean over all L steps is the NLL.

  Under uniformly random orders each unknown site is as likely to be the next
  one: all L - t of them are scored, and weigh L / (L - t). In other families
  that would be the NLL of other orders: the site of step t alone is scored,
  and weighs L; the noise of that estimate is much larger.

  Args:
    model: Model with `predict`.
    head: Head.
    params: of the model.
    x_BLC: values in data order.
    order_BL: int32 [1, L] or [B, L]; None is the identity.
    step_B: t, the number of sites that are known.
    y: conditions by name.
    every: whether all L! orders are as likely.
    key_B: keys for dropout.
  """
  L = x_BLC.shape[1]
  rank_BL = jnp.arange(L)[None] if order_BL is None else orders.rank(order_BL)
  t_B1 = step_B[:, None]
  known_BL = rank_BL < t_B1
  theta_BLP = model.predict(params, x_BLC, known_BL, y, key_B=key_B)
  nats_BL = -head.log_prob(theta_BLP, x_BLC)
  scored_BL = ~known_BL if every else rank_BL == t_B1
  times_B1 = L / (L - t_B1).astype(nats_BL.dtype) if every else L
  return jnp.where(scored_BL, times_B1 * nats_BL, 0)
