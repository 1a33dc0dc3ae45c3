"""How a train step computes a network: its precision, and what it keeps.

Both are a Model made of a Model. Parameters, gradients, the optimizer and the
likelihood stay in float32, and scoring and sampling use the network as it is.
"""

import jax
import jax.numpy as jnp

from ar_jax import errors, registry
from ar_jax.nn import kept

PRECISIONS = dict(float32=None, bfloat16=jnp.bfloat16)
POLICIES = (
  "nothing_saveable",
  "dots_saveable",
  "dots_with_no_batch_dims_saveable",
)


def trained(model, precision="float32", remat=None):
  """The Model that a train step uses.

  Args:
    model: Model.
    precision: of products and activations, "float32" or "bfloat16".
    remat: name of a policy of POLICIES, see `remade`; None: all is kept.
  Raises:
    UsageError: no such precision or policy.
  """
  _check("precision", precision, PRECISIONS)
  if PRECISIONS[precision] is not None:
    model = lowered(model, PRECISIONS[precision])
  if remat is not None:
    _check("remat", remat, POLICIES)
    model = remade(model, remat)
  return model


def _check(key, name, known):
  if name not in known:
    raise errors.UsageError(
      f"config.train.{key}: none is named {name!r}"
      f"{registry.nearest(name, known)}; there are: {', '.join(known)}"
    )


def lowered(model, dtype):
  """The Model whose passes compute in `dtype`, and give float32.

  Parameters and real inputs are rounded on the way in, gradients come back in
  the dtype of the parameters.
  """

  def low(tree):
    return jax.tree.map(
      lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a,
      tree,
    )

  def wrap(function):
    def call(params, *inputs, key_B=None):
      theta = function(low(params), *low(inputs), key_B=key_B)
      return theta.astype(jnp.promote_types(theta.dtype, jnp.float32))

    return call

  return _of_passes(model, wrap)


def remade(model, policy):
  """The Model whose backward pass computes anew what was not kept.

  Kept are the results of blocks (see nn/kept.py), and inside them what the
  policy of jax.checkpoint_policies names. Chen et al. 2016.
  """
  policies = jax.checkpoint_policies
  keep = policies.save_from_both_policies(
    policies.save_only_these_names(kept.NAME), getattr(policies, policy)
  )

  def wrap(function):
    def call(params, *inputs, key_B=None):
      # Orders that are known stay so: masks are made of them.
      def of(params):
        return function(params, *inputs, key_B=key_B)

      return jax.checkpoint(of, policy=keep)(params)

    return call

  return _of_passes(model, wrap)


def _of_passes(model, wrap):
  """The Model with other passes over whole items; steps stay as they are."""
  predict = None if model.predict is None else wrap(model.predict)
  return model._replace(apply=wrap(model.apply), predict=predict)
