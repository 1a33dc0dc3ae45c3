"""The ancestral sampler beyond its contract: where its noise is made."""

import contract
import jax
import numpy as np
from test_contract import LABELED, small_case, stack

from ar_jax.samplers import _shared, ancestral


def test_noise_of_all_steps_or_of_each_is_the_same(monkeypatch):
  y = dict(label=np.array([0, 1, 1], np.int32))
  with contract.precision("float64"):
    case = small_case(LABELED, order_KL=stack(4, 3), y=y)
    x_BLC, known_BL, order, y = contract.cases.contents(case, 0)
    drawn = []
    for most in (_shared.MOST, 0):
      monkeypatch.setattr(_shared, "MOST", most)
      sampler = ancestral.make(case.model, case.head)
      given = x_BLC, known_BL
      drawn.append(sampler(case.params, jax.random.key(3), order, given, y))
  for one, two in zip(*drawn, strict=True):
    np.testing.assert_array_equal(one, two)
  assert len(np.unique(drawn[0].x_BLC, axis=0)) > 1
