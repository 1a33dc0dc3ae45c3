"""p(y | x) from p(x | y) p(y): figures against what is known exactly."""

import numpy as np
import pytest

from ar_jax import classify, data, errors
from ar_jax.types import Condition, DataSpec

# Two labels, one site of three values: all of it by hand.
GIVEN_YV = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
PRIOR_Y = np.array([0.4, 0.6])


def _split(seed=0, size=4000):
  rng = np.random.default_rng(seed)
  label_N = (rng.random(size) < PRIOR_Y[1]).astype(np.int32)
  x_N = [rng.choice(3, p=GIVEN_YV[y]) for y in label_N]
  x_NLC = np.array(x_N, np.int32)[:, None, None]
  return data.items(x_NLC, dict(label=label_N))


def _log_prob(split):
  """Of the true source; without a label, the mixture."""
  x_BLC, _, y = split.get(np.arange(split.size))
  every_YN = np.log(GIVEN_YV)[:, x_BLC[:, 0, 0]]
  if "label" not in y:
    return np.log(PRIOR_Y @ np.exp(every_YN))[:, None]
  return every_YN[y["label"], np.arange(split.size)][:, None]


def _report(split, prior_Y=PRIOR_Y):
  label_N = split.get(np.arange(split.size))[2]["label"]
  log_joint_NY = classify.log_joint(_log_prob, split, "label", prior_Y)
  null_N = _log_prob(classify.given(split, "label", None)).sum(1)
  return classify.report(log_joint_NY, label_N, prior_Y, null_N)


def test_figures_of_a_known_source():
  result = _report(_split())
  joint_YV = PRIOR_Y[:, None] * GIVEN_YV
  marginal_V = joint_YV.sum(0)
  information = (joint_YV * np.log(GIVEN_YV / marginal_V)).sum()
  accuracy = joint_YV.max(0).sum()
  log_loss = -(joint_YV * np.log(joint_YV / marginal_V)).sum()
  for name, exact in (("accuracy", accuracy), ("information", information)):
    error = result[f"{name}_error"]
    assert 0 < error < 0.02
    assert abs(result[name] - exact) < 4 * error
  assert abs(result["log_loss"] - log_loss) < 0.05
  assert result["information"] < result["label_entropy"]
  gap = result["marginal_nats"] - result["conditional_nats"]
  np.testing.assert_allclose(gap, result["information"])
  np.testing.assert_allclose(result["marginal_nats"], result["null_nats"])
  counts = np.array(result["confusion"])
  assert counts.sum() == 4000 and counts.trace() == 4000 * result["accuracy"]


def test_prior_is_counted():
  prior_Y = classify.prior(_split(size=10_000), "label", 2)
  np.testing.assert_allclose(prior_Y, PRIOR_Y, atol=0.02)
  np.testing.assert_allclose(prior_Y.sum(), 1)
  rare_Y = classify.prior(_split(), "label", 3)
  assert 0 < rare_Y[2] < 0.001


def test_a_skewed_prior_moves_the_posterior():
  fair = _report(_split(), np.array([0.5, 0.5]))
  skewed = _report(_split(), np.array([0.99, 0.01]))
  inferred = [np.array(r["confusion"]).sum(0) for r in (fair, skewed)]
  assert inferred[1][0] > inferred[0][0]


def test_unscored_sites_do_not_count():
  split = _split(size=50)

  def get(index_B):
    x_BLC, weight_BL, y = split.get(index_B)
    return x_BLC, 0 * weight_BL, y

  blind = split._replace(get=get)
  log_joint_NY = classify.log_joint(_log_prob, blind, "label", PRIOR_Y)
  np.testing.assert_allclose(log_joint_NY, np.tile(np.log(PRIOR_Y), (50, 1)))


def test_which_label():
  label = Condition("label", 2)
  pitch = Condition("aligned", None, (4,))
  one = DataSpec((4,), 1, 3, None, dict(voice=label, pitch=pitch))
  two = one._replace(conditions=dict(voice=label, room=label))
  assert classify.label_of(one) == "voice"
  assert classify.label_of(two, "room") == "room"
  for spec, name in ((one, "pitch"), (two, None), (one, "room")):
    with pytest.raises(errors.UsageError, match="this run has the labels"):
      classify.label_of(spec, name)
  with pytest.raises(errors.UsageError, match="nothing to infer"):
    classify.label_of(one._replace(conditions={}))
