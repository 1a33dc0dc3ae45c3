"""Orders are mixed at the joint level: what is reported sums to one."""

import jax
import numpy as np
import pytest
import test_contract
from test_contract import EVERY, SPEC, small_case

from ar_jax import data, errors, evaluate, likelihood, registry
from ar_jax import ordering as orders
from ar_jax.proofs import cases
from ar_jax.types import Split

ORDERS_KL = test_contract.stack(SPEC.length, 3)


def _log_prob_KN(case):
  """log p of every sequence under each order, float64 [K, N]."""
  x_BLC, order, y = cases.space(case)
  _, log_prob_BL = cases.forward(case, x_BLC, order, y)
  total_B = log_prob_BL.astype(np.float64).sum(1)
  return total_B.reshape(len(case.order_KL), -1)


@pytest.mark.slow
def test_mixture_of_orders_sums_to_one():
  case = small_case(SPEC, dtype=np.float32, order_KL=ORDERS_KL)
  mixed_N = likelihood.mix(_log_prob_KN(case))
  assert abs(np.exp(mixed_N).sum() - 1) < 1e-6
  worst = _log_prob_KN(case).min(0)
  assert (mixed_N >= worst).all()


def test_mean_of_logs_is_no_mixture():
  case = small_case(SPEC, dtype=np.float32, order_KL=ORDERS_KL)
  log_KN = _log_prob_KN(case)
  assert np.exp(log_KN.mean(0)).sum() < 0.999
  assert (likelihood.mix(log_KN) >= log_KN.mean(0) - 1e-9).all()


def test_mix_of_impossible_items():
  log_KN = np.array([[-np.inf, -np.inf, -1e4], [-np.inf, -1.0, -1e4]])
  mixed_N = likelihood.mix(log_KN)
  assert mixed_N[0] == -np.inf
  np.testing.assert_allclose(mixed_N[1:], [-1 - np.log(2), -1e4])


def _parts(dtype=np.float32):
  case = small_case(SPEC, dtype=dtype)
  x_NLC = cases.values(SPEC, np.random.default_rng(1), (13, SPEC.length, 1))
  return case, x_NLC, evaluate.make_score_under(case.model, case.head)


@pytest.mark.slow
def test_mixture_of_a_split():
  case, x_NLC, score = _parts()
  split = data.items(x_NLC, units=dict(item=13))
  total, curve, each = evaluate.mixture(
    score, case.params, split, "valid", 4, ORDERS_KL
  )
  log_KN = np.stack(
    [
      cases.forward(case, x_NLC, order_L[None], {})[1].sum(1)
      for order_L in ORDERS_KL
    ]
  )
  np.testing.assert_allclose(total.nats_N, -likelihood.mix(log_KN), rtol=1e-5)
  assert list(curve) == [1, 2, 3]
  np.testing.assert_allclose(curve[1], -log_KN[0].mean(), rtol=1e-5)
  np.testing.assert_allclose(curve[3], total.nats_N.mean())
  np.testing.assert_allclose(each, -log_KN.mean(1), rtol=1e-5)
  assert curve[3] < np.mean(each)
  # Site by site, and step by step in each of the orders.
  site_L, step_L = np.zeros((2, SPEC.length))
  for order_L in ORDERS_KL:
    log_prob_BL = likelihood.log_prob(
      case.model, case.head, case.params, x_NLC, order_L[None]
    )
    nats_L = -np.asarray(log_prob_BL).sum(0)
    site_L += nats_L
    step_L += nats_L[order_L]
  np.testing.assert_allclose(total.site_L.nats, site_L, rtol=1e-5)
  np.testing.assert_allclose(total.step_L.nats, step_L, rtol=1e-5)
  np.testing.assert_allclose(total.site_L.weight, 3 * 13)
  assert total.estimator == "exact: mixture of 3 orders"
  report = evaluate.report(total, split.units)
  np.testing.assert_allclose(report["nats_per_item"], curve[3])


@pytest.mark.slow
def test_maps_by_site_and_by_step_of_drawn_orders():
  case, x_NLC, _ = _parts()
  ordering = registry.build("orderings", EVERY, SPEC.shape)
  score = evaluate.make_score(case.model, case.head, ordering, seed=5)
  weight_NL = np.ones(x_NLC.shape[:2], np.float32)
  weight_NL[:, 1] = 0
  weight_NL[3, 0] = 0
  split = Split(13, lambda i: (x_NLC[i], weight_NL[i], {}))
  total = evaluate.evaluate(
    score, case.params, split, "valid", 4, ordering, seed=5
  )
  fold = jax.vmap(jax.random.fold_in, (None, 0))
  order_NL = np.asarray(ordering.draw(fold(jax.random.key(5), np.arange(13))))
  nats_NL = -np.asarray(
    likelihood.log_prob(case.model, case.head, case.params, x_NLC, order_NL)
  )
  site_L = (nats_NL * weight_NL).sum(0)
  by_step_NL = np.take_along_axis(nats_NL * weight_NL, order_NL, 1)
  weight_by_step = np.take_along_axis(weight_NL, order_NL, 1).sum(0)
  np.testing.assert_allclose(total.site_L.nats, site_L, rtol=1e-5)
  np.testing.assert_allclose(total.step_L.nats, by_step_NL.sum(0), rtol=1e-5)
  np.testing.assert_allclose(total.step_L.weight, weight_by_step)
  mean_L = total.site_L.mean()
  assert np.isnan(mean_L[1])
  np.testing.assert_allclose(mean_L[0], site_L[0] / 12, rtol=1e-5)


def test_parts_of_items_cannot_be_mixed():
  case, x_NLC, score = _parts()
  weight_NL = np.ones(x_NLC.shape[:2], np.float32)
  weight_NL[3, 0] = 0
  split = Split(13, lambda i: (x_NLC[i], weight_NL[i], {}))
  with pytest.raises(errors.UsageError, match="only whole items"):
    evaluate.mixture(score, case.params, split, "valid", 4, ORDERS_KL)


def test_log_jacobian_is_added():
  case, x_NLC, _ = _parts()
  ordering = registry.build("orderings", dict(name="raster"), SPEC.shape)
  score = evaluate.make_score(case.model, case.head, ordering, seed=0)
  plain = data.items(x_NLC)
  extra_N = np.arange(13.0)
  moved = data.items(x_NLC)._replace(
    log_jacobian=lambda i: np.repeat(extra_N[i][:, None], SPEC.length, 1)
  )
  one, two = (
    evaluate.evaluate(score, case.params, s, "valid", 4, ordering)
    for s in (plain, moved)
  )
  np.testing.assert_allclose(
    two.nats_N, one.nats_N - extra_N * SPEC.length, rtol=1e-6
  )


def test_first_orders_go_on_from_fewer():
  every = registry.build("orderings", EVERY, (5,))
  few, more = (orders.first(every, k, 7, 5) for k in (3, 8))
  np.testing.assert_array_equal(few, more[:3])
  assert len({tuple(o) for o in more.tolist()}) > 5
  other = orders.first(every, 3, 8, 5)
  assert (other != few).any()
  fixed = registry.build("orderings", dict(name="random"), (5,))
  assert len(orders.first(fixed, 4, 0, 5)) == 1
  assert jax.tree.leaves(fixed.draw(None))[0].shape == (1, 5)
