"""Steps, scores and samples on the devices there are; run by test_parallel.py.

python tests/devices.py OUT.npz [HOST:PORT PROCESSES PROCESS]
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ar_jax import data, evaluate, parallel, registry, train
from ar_jax.nn.dropout import dropout
from ar_jax.types import Batch, DataSpec

SPEC = DataSpec((8,), 1, 5)
B = 16
CUT = (*parallel.RULES, (r"^opt_state/.*kernel$", 0, "data"))


def main(out, *processes):
  if processes:
    address, *numbers = processes
    parallel.start(address, *map(int, numbers))
  ordering = registry.build("orderings", dict(name="raster"), SPEC.shape)
  head = registry.build("heads", dict(name="categorical"), SPEC)
  section = dict(name="gpt", depth=1, width=16, heads=2, dropout=0.3)
  model = registry.build("models", section, SPEC, head, ordering)
  objective = registry.build(
    "objectives", dict(name="nll"), model, head, ordering
  )
  tx = optax.sgd(0.05, 0.9)

  @jax.jit
  def first_state():
    params = model.init(jax.random.key(0))
    params = jax.tree.map(  # zero residual maps would hide the dropout
      lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape),
      params,
    )
    return train.init_state(params, tx)

  results = {}
  score = evaluate.make_score(model, head, ordering, seed=0)
  layouts = dict(
    pmap=parallel.pmapped(),
    sharded=parallel.sharded(model=min(2, jax.device_count()), rules=CUT),
  )
  for name, layout in layouts.items():
    for accumulate in (1, 2):
      state, losses, found = _trained(
        layout, objective, tx, first_state, accumulate
      )
      found["losses"] = losses
      results |= {f"{name}_{accumulate}_{k}": v for k, v in found.items()}
      if accumulate == 1:
        params = parallel.replicate(state.params)
        scored = evaluate.evaluate(
          score, params, _split(), "valid", 4, ordering
        )
        results[f"{name}_nats"] = scored.nats_N
    drawn = _drawn(model, head, layout.place(first_state()).params)
    results |= {f"{name}_{k}": v for k, v in drawn.items()}
  masks = parallel.map_batch(_masks)(0, _batch(0))
  results["masks"] = np.asarray(masks)
  results["first"] = parallel.is_first()
  results["agreed"] = parallel.agreed(100 + jax.process_index())
  np.savez(out, devices=jax.device_count(), **results)


def _trained(layout, objective, tx, first_state, accumulate):
  """(state, losses, what the first step gave) of a run."""
  make_step = functools.partial(
    train.make_train_step, objective, tx, steps=60, accumulate=accumulate
  )
  step = layout.compile(make_step)
  # Both ways to begin: arrays that every process has, and none that has all.
  state = first_state()
  state = layout.place(state) if accumulate == 1 else layout.make(first_state)
  losses, found = [], {}
  rows = layout.rows(B)
  for i in range(60 if accumulate == 1 else 1):
    part = jax.tree.map(lambda a: a[rows], _batch(i))
    state, metrics = step(state, layout.feed(part), jax.random.key(7))
    losses.append(float(metrics["nats"]) / float(metrics["weight"]))
    if i == 0:
      leaves = jax.tree.leaves(parallel.fetch(state.params))
      found["params"] = np.concatenate([leaf.ravel() for leaf in leaves])
      found["weight"] = float(metrics["weight"])
  # Bytes on a device, after the steps, of what there is in all.
  leaves = jax.tree.leaves((state.params, state.opt_state))
  here = [leaf.addressable_shards[0].data.nbytes for leaf in leaves]
  found["share"] = sum(here) / sum(leaf.nbytes for leaf in leaves)
  return state, np.array(losses), found


def _masks(_, batch):
  key_B = train.example_keys(jax.random.key(7), 3, batch.index_B)
  return dropout(jnp.ones((batch.x_BLC.shape[0], 32)), 0.5, key_B)


def _drawn(model, head, params):
  """5 rows, of which the first knows two sites and the others one."""
  sampler = registry.build("samplers", dict(name="ancestral"), model, head)
  x_BLC = np.random.default_rng(0).integers(0, 5, (5, 8, 1)).astype(np.int32)
  known_BL = np.arange(8) < np.array([[2], [1], [1], [1], [1]])
  spread, key = parallel.over_rows(sampler), jax.random.key(3)
  sample = spread(params, key, None, (x_BLC, known_BL))
  return dict(
    drawn=sample.x_BLC,
    drawn_log_prob=sample.log_prob_model_BL,
    drawn_over=len(sample.x_BLC.sharding.device_set),
  )


def _split():
  x_NLC = np.random.default_rng(1).integers(0, 5, (13, 8, 1)).astype(np.int32)
  return data.items(x_NLC)


def _batch(step):
  rng = np.random.default_rng(step)
  x_BLC = rng.integers(0, 5, (B, 8, 1)).astype(np.int32)
  weight_BL = np.ones((B, 8), np.float32)
  weight_BL[:2] = 0  # on 8 devices the first one scores nothing
  weight_BL[2:4, 1:] = 0
  index_B = np.arange(B * step, B * step + B, dtype=np.int32)
  return Batch(x_BLC, weight_BL, {}, index_B)


if __name__ == "__main__":
  main(*sys.argv[1:])
