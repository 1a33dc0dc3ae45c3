"""A run of twelve steps that has all that a resumed one could forget."""

import hashlib
import pathlib

import jax
import numpy as np

from ar_jax import assemble, checkpoint, states, writer
from ar_jax import config as configs
from ar_jax import run as runs

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = "configs/markov_gpt.py:tiny"
STEPS = 12
# Dropout, an average, accumulation, warm-up and decay, epochs that end inside
# the run and not with a batch, and periods that do not divide each other.
OVERRIDES = {
  "data.length": 8,
  "data.train_size": 20,
  "data.valid_size": 6,
  "model.depth": 1,
  "model.width": 16,
  "model.heads": 2,
  "model.dropout": 0.1,
  "optimizer.name": "adamw",
  "optimizer.schedule": "cosine",
  "optimizer.warmup": 3,
  "train.batch_size": 6,
  "train.accumulate": 3,
  "train.ema_decay": 0.9,
  "train.steps": STEPS,
  "train.eval_every": 5,
  "train.save_every": 1,
  "train.keep": STEPS,
  "train.log_every": 4,
  "evaluate.batch_size": 6,
  "evaluate.baselines": (),
}
TIMES = ("time", "sites_per_second")


def config(**changes):
  """The config, to be loaded from the root of the repository."""
  return configs.load(CONFIG, (OVERRIDES | changes).items())


def hashes(folder):
  """{step: hash of every leaf} of all the states that a run keeps."""
  values, spec, _ = checkpoint.load(folder)
  values = configs.restore(values)
  net = assemble.network(values, spec)
  tx = assemble.optimizer(values)
  like = jax.eval_shape(lambda: runs.first_state(values, net, tx))
  kept = states.Checkpoints(folder, read_only=True)
  result = {}
  for step in kept.steps():
    found = hashlib.sha256()
    state = kept.restore(like, step)
    assert int(state.step) == step
    for leaf in jax.tree.leaves(state):
      found.update(np.asarray(leaf).tobytes())
    result[step] = found.hexdigest()
  kept.close()
  return result


def metrics(folder):
  """Lines of metrics.jsonl but for what depends on the clock."""
  lines = writer.read(folder)
  return [{k: v for k, v in r.items() if k not in TIMES} for r in lines]
