"""One SGD step on however many devices there are; run by test_parallel.py.

python tests/devices.py OUT.npz
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ar_jax import parallel, registry, train
from ar_jax.nn.dropout import dropout
from ar_jax.types import Batch, DataSpec

SPEC = DataSpec((8,), 1, 5)


def main(out):
  ordering = registry.build("orderings", dict(name="raster"), SPEC.shape)
  head = registry.build("heads", dict(name="categorical"), SPEC)
  section = dict(name="gpt", depth=1, width=16, heads=2, dropout=0.3)
  model = registry.build("models", section, SPEC, head, ordering)
  objective = registry.build(
    "objectives", dict(name="nll"), model, head, ordering
  )
  tx = optax.sgd(0.5)
  params = model.init(jax.random.key(0))
  params = jax.tree.map(  # zero residual maps would hide the dropout
    lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape),
    params,
  )
  run_key = jax.random.key(7)
  results = {}
  for accumulate in (1, 2):
    step = parallel.data_parallel(
      functools.partial(
        train.make_train_step,
        objective,
        tx,
        steps=5,
        accumulate=accumulate,
      )
    )
    copy = jax.tree.map(jnp.copy, params)  # the step donates its state
    state = parallel.replicate(train.init_state(copy, tx))
    losses = []
    for i in range(60 if accumulate == 1 else 1):
      batch = parallel.shard(_batch(i))
      state, metrics = step(state, batch, run_key)
      losses.append(float(metrics["nats"]) / float(metrics["weight"]))
      if i == 0:
        results[f"weight_{accumulate}"] = metrics["weight"]
        first = jax.device_get(state.params)
    results[f"losses_{accumulate}"] = np.array(losses)
    leaves = jax.tree.leaves(first)
    results[f"params_{accumulate}"] = np.concatenate(
      [leaf.ravel() for leaf in leaves]
    )

  def masks(_, batch):
    key_B = train.example_keys(run_key, 3, batch.index_B)
    return dropout(jnp.ones((batch.x_BLC.shape[0], 32)), 0.5, key_B)

  results |= _drawn(model, head, params)
  results["masks"] = np.asarray(parallel.map_batch(masks)(0, _batch(0)))
  np.savez(out, devices=jax.device_count(), **results)


def _drawn(model, head, params):
  """5 rows, of which the first knows two sites and the others one."""
  sampler = registry.build("samplers", dict(name="ancestral"), model, head)
  x_BLC = np.random.default_rng(0).integers(0, 5, (5, 8, 1)).astype(np.int32)
  known_BL = np.arange(8) < np.array([[2], [1], [1], [1], [1]])
  spread, key = parallel.over_rows(sampler), jax.random.key(3)
  sample = spread(params, key, None, (x_BLC, known_BL))
  return {
    "drawn": sample.x_BLC,
    "drawn_log_prob": sample.log_prob_model_BL,
    "drawn_over": len(sample.x_BLC.sharding.device_set),
  }


def _batch(step):
  rng = np.random.default_rng(step)
  x_BLC = rng.integers(0, 5, (16, 8, 1)).astype(np.int32)
  weight_BL = np.ones((16, 8), np.float32)
  weight_BL[:2] = 0  # on 8 devices the first one scores nothing
  weight_BL[2:4, 1:] = 0
  index_B = np.arange(16 * step, 16 * step + 16, dtype=np.int32)
  return Batch(x_BLC, weight_BL, {}, index_B)


if __name__ == "__main__":
  main(sys.argv[1])
