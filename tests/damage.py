"""Bits of files, flipped: what a bad disk does."""

import numpy as np


def flip(path, place=None):
  """Flips the lowest bit of a byte, by default of the middle one."""
  data = bytearray(path.read_bytes())
  data[len(data) // 2 if place is None else place] ^= 1
  path.write_bytes(data)


def flipped(folder, count, seed):
  """Yields files with one random bit flipped, whole again afterwards.

  The files of the folder that have a byte take turns.
  """
  rng = np.random.default_rng(seed)
  files = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size]
  for n in range(count):
    path = sorted(files)[n % len(files)]
    right = path.read_bytes()
    wrong = bytearray(right)
    wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
    path.write_bytes(wrong)
    yield path
    path.write_bytes(right)
