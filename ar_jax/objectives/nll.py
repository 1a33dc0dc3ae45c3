"""Negative log-likelihood under the ordering: the loss of the family."""

from ar_jax import likelihood
from ar_jax import ordering as orders
from ar_jax.nn.dropout import fold

TINY = [dict()]


def make(model, head, ordering):
  """-log p per site, the order drawn from the example's key.

  For a family of several orders its mean is an upper bound on the NLL of
  their mixture.
  """

  def objective(params, batch, key_B, done=1.0):
    """(params, Batch, keys [B], share) -> (nats [B, L], weight [B, L])."""
    order_BL = orders.draw_training(ordering, fold(key_B, 0), done)
    log_prob_BL = likelihood.log_prob(
      model,
      head,
      params,
      batch.x_BLC,
      order_BL,
      batch.y,
      key_B=fold(key_B, 1),
    )
    return -log_prob_BL, batch.weight_BL

  return objective
