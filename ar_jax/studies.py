"""What studies make of their rows: by tag, by item, beside the truth.

`rows` are what a study's report is given (sweep.row): dict(cell, workdir,
model, baselines, items, step).
"""

import numpy as np

from ar_jax import assemble, checkpoint, paper
from ar_jax import config as configs


def by_tags(rows, *tags):
  """The rows by their cells' tags: {value: {value: rows}}."""
  found = {}
  for row in rows:
    *outer, last = (row["cell"]["tags"][tag] for tag in tags)
    place = found
    for value in outer:
      place = place.setdefault(value, {})
    place.setdefault(last, []).append(row)
  return found


def per_item(rows, figure):
  """Scores [S, N] whose means over items are the figure.

  Of items that score unequally many sites the ratio is linearized: its mean is
  the figure, its spread the ratio's.
  """
  model, weight_N = rows[0]["model"], rows[0]["items"]["weight"]
  nats_SN = np.stack([row["items"]["nats"] for row in rows])
  mean_S1 = nats_SN.sum(1, keepdims=True) / weight_N.sum()
  rest_SN = (nats_SN - weight_N * mean_S1) / weight_N.mean()
  return (mean_S1 + rest_SN) * model[figure] / model["nats_per_site"]


def exact(row):
  """Exact -log p of the items that a row was scored on, nats [N], or None."""
  config = configs.restore(checkpoint.read_record(row["workdir"], "config"))
  split = assemble.dataset(config).splits[row["model"]["split"]]
  return None if split.exact is None else split.exact(np.arange(split.size))


def interval(found):
  """A compare.Interval or Paired in words; nothing of one replicate."""
  low, high = (paper.known(end, "+.4f") for end in (found.low, found.high))
  return f"{low} .. {high}" if low else ""
