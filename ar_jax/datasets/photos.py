"""Patches of scikit-learn's two photographs: natural images, without a file.

china.jpg and flower.jpg, 640 x 427 pixels, come with the package. Each
photograph is cut into upright strips, one for each split: no pixel is in two.
The strips lie side by side, so a split shows another part of the same scene.
"""

import hashlib
import math

import numpy as np

from ar_jax import corpus, errors
from ar_jax.media import image
from ar_jax.types import Condition, Dataset, DataSpec, Split

TINY = [
  dict(size=4, stride=40),
  dict(size=5, stride=50, pixels="sites", labels=True),
  dict(size=4, stride=40, pixels="gray", split="0.9/0.1"),
]

_NAMES = ("china", "flower")


def make(
  *,
  size=32,
  stride=4,
  pixels="channels",
  labels=False,
  split="0.7/0.15/0.15",
):
  """Square patches: of training, `stride` apart; of other splits, tiles.

  Tiles do not overlap; what is left at the right and at the bottom of a strip
  is not scored. A compressor of the training split is given its strips, which
  hold each pixel once.

  Args:
    size: pixels of a side.
    stride: pixels between training patches, down and across.
    pixels: "channels" (sites (size, size) of three channels), "sites" (sites
      (size, size, 3)) or "gray" (sites (size, size), luma of ITU-R 601).
    labels: whether the photograph is given, as the condition "label".
    split: fractions of the width, train/valid or train/valid/test.
  Raises:
    UsageError: an argument out of its range, or a strip narrower than a
      patch.
  """
  if size < 1 or stride < 1:
    raise errors.UsageError(
      f"config.data.size {size} and stride {stride} must be 1 or more"
    )
  shape, channels = image.layout(pixels, size, size)
  names = _NAMES if labels else None
  media = image.make_media("photos", shape, channels, labels=names)
  photos = _photographs(pixels == "gray")
  splits = {}
  for name, (a, b) in _strips(split, photos.shape[2]).items():
    if size > min(b - a, photos.shape[1]):
      raise errors.UsageError(
        f"config.data.size {size}: the {name} strips of {split!r} are"
        f" {b - a} x {photos.shape[1]} pixels; lower it, or give them more"
      )
    strips = np.ascontiguousarray(photos[:, :, a:b])
    step = stride if name == "train" else size
    splits[name] = _split(name, strips, size, step, channels, labels)
  conditions = dict(label=Condition("label", len(_NAMES))) if labels else {}
  spec = DataSpec(shape, channels, 256, conditions=conditions)
  return Dataset(spec, splits, media)


def _photographs(gray):
  """uint8 [2, height, width], or [2, height, width, 3]."""
  from PIL import Image
  from sklearn import datasets

  found = [datasets.load_sample_image(f"{name}.jpg") for name in _NAMES]
  if gray:
    found = [np.asarray(Image.fromarray(p).convert("L")) for p in found]
  return np.stack(found)


def _strips(split, width):
  """{split: (first column, column after the last)}."""
  unit, ends = corpus.marks(split, math.inf, lambda: width)
  if unit != "char":
    raise errors.UsageError(
      f"config.data.split {split!r}: photographs are split by fractions of"
      " their width, as 0.8/0.2"
    )
  starts = [0, *ends]
  return dict(zip(corpus.NAMES, zip(starts, ends, strict=False), strict=False))


def _split(name, strips, size, step, channels, labels):
  """Patches whose corners lie `step` apart, [photograph, row, column]."""
  view = np.lib.stride_tricks.sliding_window_view(
    strips, (size, size), axis=(1, 2)
  )[:, ::step, ::step]
  corners = view.shape[:3]
  total = math.prod(corners)

  def get(index_B):
    index_B = np.asarray(index_B)
    photo_B, *at = np.unravel_index(index_B, corners)
    patch_B = view[photo_B, *at]
    if strips.ndim == 4:
      patch_B = np.moveaxis(patch_B, 1, -1)
    x_BLC = patch_B.astype(np.int32).reshape(len(index_B), -1, channels)
    y = dict(label=photo_B.astype(np.int32)) if labels else {}
    return x_BLC, np.ones(x_BLC.shape[:2], np.float32), y

  train = name == "train"
  scored = strips if train else get(np.arange(total))[0].astype(np.uint8)
  return Split(
    total,
    get,
    units=image.units(total, size**2 * math.prod(strips.shape[3:])),
    protocol=f"patches of {size}/s{step}",
    raw=scored.tobytes(),
    fingerprint=hashlib.sha256(strips).hexdigest(),
  )
