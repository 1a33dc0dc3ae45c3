"""Scikit-learn's handwritten digits: real images that need no file.

1,797 images of 8 x 8 sites in 17 levels, the test set of the Optical
Recognition of Handwritten Digits of the UCI repository (Alpaydin and Kaynak
1998), by 13 writers who are not named: the splits share them.
"""

import numpy as np

from ar_jax import corpus, data
from ar_jax.media import image
from ar_jax.types import Condition, Dataset, DataSpec

TINY = [dict(split="0.02/0.01/0.01"), dict(split="0.02/0.01", labels=False)]

_LEVELS = 17


def make(*, labels=True, split="0.8/0.1/0.1", seed=0):
  """The images, shuffled by the seed and cut by `split`.

  Args:
    labels: whether the digit is given, as the condition "label".
    split: fractions of the images, train/valid or train/valid/test.
    seed: of the shuffle.
  Raises:
    UsageError: a split of another form. DataError: one without an image.
  """
  from sklearn import datasets

  found = datasets.load_digits()
  x_NLC = found.images.astype(np.int32).reshape(-1, 64, 1)
  label_N = found.target.astype(np.int32)
  parts = corpus.shuffled(split, len(x_NLC), seed, "images")
  names = [str(name) for name in found.target_names] if labels else None
  media = image.make_media("digits", (8, 8), num_values=_LEVELS, labels=names)
  conditions = dict(label=Condition("label", len(names))) if labels else {}
  splits = {
    name: data.items(
      x_NLC[index],
      dict(label=label_N[index]) if labels else {},
      units=image.units(len(index), 64),
      raw=x_NLC[index].astype(np.uint8).tobytes(),
    )
    for name, index in parts.items()
  }
  spec = DataSpec((8, 8), 1, _LEVELS, conditions=conditions)
  return Dataset(spec, splits, media)
