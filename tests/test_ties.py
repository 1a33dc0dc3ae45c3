"""Float32: free-running cached and naive samples part at ties alone.

In float64 they are identical (contract.cached_equals_naive). In float32 the
two passes round differently, so a draw may go the other way where two values
are as good as equal, and everything after it differs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import decode, registry
from ar_jax.samplers import ancestral
from ar_jax.types import DataSpec

TIE = 1e-4  # of logit + Gumbel noise
SPEC = DataSpec((48,), 1, 5)
ROWS = 64


def _model():
  fresh = dict(name="all")
  ordering = registry.build("orderings", fresh, SPEC.shape)
  head = registry.build("heads", dict(name="categorical"), SPEC)
  section = dict(name="gpt", depth=2, width=32, heads=4, target=True)
  model = registry.build("models", section, SPEC, head, ordering)
  params = jax.tree.map(
    lambda p: p + 0.2 * jax.random.normal(jax.random.key(p.size), p.shape),
    model.init(jax.random.key(0)),
  )
  return model, head, params


def _gaps(cached, naive, head, params):
  """The gap of logit + noise at the first difference of each row."""
  key = jax.random.key(3)
  given = np.zeros((ROWS, 48, 1), np.int32), np.zeros((ROWS, 48), bool)
  x, y = (
    np.asarray(ancestral.make(m, head)(params, key, None, given).x_BLC[..., 0])
    for m in (cached, naive)
  )
  theta_BLV = naive.apply(params, jnp.asarray(y)[..., None])
  gaps = []
  for row in np.flatnonzero((x != y).any(1)):
    t = int((x[row] != y[row]).argmax())
    key_t = jax.random.fold_in(jax.random.fold_in(key, row), t)
    noise_CV = jax.random.gumbel(key_t, (1, SPEC.num_values))
    score_V = np.asarray(theta_BLV[row, t] + noise_CV[0])
    assert (
      score_V.argmax() == y[row, t] or score_V.max() - score_V[y[row, t]] < TIE
    )
    gaps.append(abs(score_V[x[row, t]] - score_V[y[row, t]]))
  return gaps


@pytest.mark.slow
def test_first_difference_is_a_tie():
  model, head, params = _model()
  naive = decode.complete(model.init, model.apply, SPEC)
  gaps = _gaps(model, naive, head, params)
  assert all(gap < TIE for gap in gaps), max(gaps)
  # What differs by more than rounding parts elsewhere, and is caught.
  noisy = model._replace(step=_noisy(model.step))
  assert max(_gaps(noisy, naive, head, params)) > TIE


def _noisy(step):
  def wrong(params, cache, x_BC, t):
    theta_BP, cache = step(params, cache, x_BC, t)
    return theta_BP + 0.01 * jnp.arange(SPEC.num_values)[None], cache

  return wrong


@pytest.mark.parametrize("seed", [0, 1])
def test_the_noise_is_the_one_of_categorical(seed):
  """The gap above is computed from the noise that the head draws."""
  key, logits_CV = jax.random.key(seed), jnp.arange(5.0)[None] / 3
  noise_CV = jax.random.gumbel(key, (1, 5))
  drawn = jax.random.categorical(key, logits_CV)
  assert int(drawn[0]) == int((logits_CV + noise_CV)[0].argmax())
