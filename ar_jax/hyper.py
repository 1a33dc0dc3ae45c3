"""Cells of a study, put together from lists of settings.

  hyper.product([
    hyper.fixed("config", "configs/ising.py:model=gpt"),
    hyper.zipit([
      hyper.sweep("model.width", (32, 64)),
      hyper.sweep("optimizer.lr", (2e-3, 1e-3)),
    ]),
    hyper.sweep("seed", range(3)),
  ])

are six cells. A list of dicts is all that a study needs; these write it down.
The names are those of big_vision's sweeps.
"""

import itertools

from ar_jax import errors


def sweep(key, values):
  """One cell for each value of a key."""
  return [{key: value} for value in values]


def fixed(key, value, length=1):
  """The same value in `length` cells."""
  return [{key: value} for _ in range(length)]


def product(sweeps):
  """Every combination of cells, the last sweep running fastest."""
  return [_joined(cells) for cells in itertools.product(*sweeps)]


def zipit(sweeps):
  """The first cells joined, the second ones, ...

  Raises:
    UsageError: sweeps of several lengths.
  """
  lengths = [len(cells) for cells in sweeps]
  if len(set(lengths)) > 1:
    raise errors.UsageError(
      f"zipit takes sweeps of one length, got {lengths} cells"
    )
  return [_joined(cells) for cells in zip(*sweeps, strict=True)]


def chainit(sweeps):
  """All cells, one sweep after the other."""
  return list(itertools.chain(*sweeps))


def _joined(cells):
  """One dict of several; UsageError for a key that two of them set."""
  found = {}
  for cell in cells:
    for key in cell:
      if key in found:
        raise errors.UsageError(f"two sweeps set {key!r} of the same cell")
    found.update(cell)
  return found
