"""Order-agnostic networks: what they may see, and what they are trained by."""

import functools
import itertools

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import decode, registry
from ar_jax.models import ardm
from ar_jax.objectives import order_agnostic
from ar_jax.proofs import cases
from ar_jax.types import Condition, DataSpec

LABEL = dict(label=Condition("label", 2))
LINE = DataSpec((5,), 1, 3, None, LABEL)
GRID = DataSpec((2, 3), 2, 4)
REAL = DataSpec((2, 6), 1, None, 0.5)  # wider than two convolutions
MLP = dict(trunk="mlp", depth=1, width=8)
NETS = dict(
  mlp=(GRID, MLP),
  mlp_of_reals=(REAL, MLP),
  conv_of_reals=(REAL, dict(trunk="conv", depth=1, width=8, time=False)),
  attention=(GRID, dict(trunk="attention", depth=1, width=16, heads=2)),
  attention_learned=(
    LINE,
    dict(trunk="attention", depth=1, width=6, heads=2, rotary=False),
  ),
)


def build(spec, section):
  """(model, head) of a network, for all orders."""
  name = "categorical" if spec.num_values else "gaussian_mixture"
  head = registry.build("heads", dict(name=name), spec)
  every = registry.build("orderings", dict(name="all"), (2,))
  return ardm.make(spec, head, every, **section), head


def values(spec, batch, seed=0):
  """Random values [B, L, C]."""
  rng = np.random.default_rng(seed)
  shape = batch, spec.length, spec.channels
  if spec.num_values is None:
    return spec.delta * rng.integers(-4, 5, shape).astype(np.float32)
  return rng.integers(0, spec.num_values, shape, np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_unknown_values_are_unseen(name):
  spec, section = NETS[name]
  model, _ = build(spec, section)
  params = cases.random_params(model, dtype=np.float32)
  B, L = 16, spec.length
  known_BL = np.random.default_rng(1).random((B, L)) < 0.5
  known_BL[0], known_BL[1] = True, False
  x_BLC, other_BLC = values(spec, B), values(spec, B, seed=2)
  predict = jax.jit(model.predict)
  theta_BLP = np.asarray(predict(params, x_BLC, known_BL))
  hidden_BLC = np.where(known_BL[..., None], x_BLC, other_BLC)
  assert (hidden_BLC != x_BLC).any()
  assert (theta_BLP == predict(params, hidden_BLC, known_BL)).all()
  if spec.num_values is None:
    hidden_BLC[~known_BL] = np.nan

    def total(params):
      return model.predict(params, hidden_BLC, known_BL).sum()

    assert (theta_BLP == predict(params, hidden_BLC, known_BL)).all()
    grads = jax.tree.leaves(jax.jit(jax.grad(total))(params))
    assert all(np.isfinite(g).all() for g in grads)
  # Each known value is seen by every site.
  one_BL = np.arange(B)[:, None] % L == np.arange(L)
  moved_BLC = np.where((known_BL & one_BL)[..., None], -x_BLC % 3, x_BLC)
  row_B = (moved_BLC != x_BLC).any((1, 2))
  assert row_B.any()
  moved_BLP = np.asarray(predict(params, moved_BLC, known_BL))
  assert (np.abs(moved_BLP - theta_BLP).max(-1)[row_B] > 0).all()


@pytest.mark.parametrize("name", ["mlp", "conv_of_reals", "attention"])
def test_blocks_start_as_the_identity(name):
  spec, section = NETS[name]
  model, _ = build(spec, section)
  params = cases.initial(model.init)
  x_BLC, known_BL = values(spec, 2), np.ones((2, spec.length), bool)
  predict = jax.jit(model.predict)
  theta_BLP = predict(params, x_BLC, known_BL)
  doubled = jax.tree_util.tree_map_with_path(
    lambda path, p: 2 * p if "block_" in jax.tree_util.keystr(path) else p,
    params,
  )
  assert (theta_BLP == predict(doubled, x_BLC, known_BL)).all()


@pytest.mark.parametrize("rows", [5, 64])
def test_steps_are_passes(monkeypatch, rows):
  """apply is one predict a step, however many are batched."""
  monkeypatch.setattr(decode, "_ROWS", rows)
  model, _ = build(LINE, MLP)
  B, L = 2, LINE.length
  rng = np.random.default_rng(0)
  x_BLC, y = values(LINE, B), dict(label=np.array([0, 1]))
  order_BL = np.stack([rng.permutation(L) for _ in range(B)])
  with contract.precision("float64"):
    params = cases.random_params(model)
    apply, predict = jax.jit(model.apply), jax.jit(model.predict)
    for order in (None, order_BL[:1], order_BL):
      each_BL = np.broadcast_to(
        np.arange(L) if order is None else order, (B, L)
      )
      steps_BLC = np.stack([x[o] for x, o in zip(x_BLC, each_BL, strict=True)])
      theta_BLP = apply(params, steps_BLC, order, y)
      for b, t in itertools.product(range(B), range(L)):
        known_L = np.isin(np.arange(L), each_BL[b, :t])
        y_1 = dict(label=y["label"][b : b + 1])
        one_1LP = predict(params, x_BLC[b : b + 1], known_L[None], y_1)
        one_P = one_1LP[0, each_BL[b, t]]
        cases.below(cases.apart(one_P, theta_BLP[b, t]), 1e-12, "theta")


@pytest.mark.parametrize(
  ("section", "what"),
  [
    (dict(MLP, trunk="unet"), "'unet' is none of mlp, conv, attention"),
    (dict(MLP, trunk="attention", heads=3), "8 must divide by heads 3"),
  ],
)
def test_make_refuses(section, what):
  with pytest.raises(ValueError, match=what):
    build(LINE, section)


def test_refuses_conditions_that_tell_later_sites():
  aligned = dict(pitch=Condition("aligned", None, (5,)))
  with pytest.raises(ValueError, match="cannot take condition 'pitch'"):
    build(LINE._replace(conditions=aligned), MLP)


def test_predict_refuses_part_of_an_item():
  model, _ = build(LINE, MLP)
  params = cases.initial(model.init)
  known_BL = np.zeros((2, 3), bool)
  with pytest.raises(ValueError, match="x has 3 sites, an item has 5"):
    model.predict(params, values(LINE, 2)[:, :3], known_BL)


@pytest.mark.parametrize("every", [True, False])
def test_objective_enumerated(every):
  """Its mean over orders and steps is the NLL, at every site, exactly.

  Whatever the weights: they multiply both.
  """
  spec = LINE._replace(shape=(3,))
  model, head = build(spec, MLP)
  L = spec.length
  family = np.array(list(itertools.permutations(range(L))), np.int32)
  family = family if every else family[3:4]
  order_BL = np.repeat(family, L, 0)
  B = len(order_BL)
  x_BLC = np.repeat(values(spec, 1), B, 0)
  y = dict(label=np.ones(B, np.int32))
  with contract.precision("float64"):
    params = cases.random_params(model)
    case = cases.Case(model, head, spec, params)
    exact_BL = -cases.forward(case, x_BLC, order_BL, y)[1]
    at_step = jax.jit(
      functools.partial(order_agnostic.at_step, model, head, every=every)
    )
    nats_BL = at_step(params, x_BLC, order_BL, np.arange(B) % L, y)
    step_BL = jnp.arange(B)[:, None] % L
    known_BL = np.argsort(order_BL, -1) < step_BL
    assert (nats_BL[known_BL] == 0).all()
    assert np.ptp(exact_BL.sum(1)) > 1e-3 or not every
    cases.below(cases.apart(exact_BL.mean(0), nats_BL.mean(0)), 1e-12, "nats")


def test_objective_needs_predict():
  model, head = build(LINE, MLP)
  every = registry.build("orderings", dict(name="all"), (5,))
  with pytest.raises(ValueError, match="train this one by nll"):
    order_agnostic.make(model._replace(predict=None), head, every)
