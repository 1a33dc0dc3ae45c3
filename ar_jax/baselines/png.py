"""What the items of a split cost as one PNG, as people store images."""

import io
import math

import numpy as np

from ar_jax import data, errors
from ar_jax.types import DataSpec

TINY = [
  dict(spec=DataSpec((2, 3), num_values=4)),
  dict(spec=DataSpec((3, 2), channels=3, num_values=256)),
]

_COLORS = (1, 3)


def make(spec):
  """The items one below the other, in one file: headers cost next to nothing.

  Two values take a bit each before they are compressed, more of them a byte.

  Returns:
    fit(train) -> score; score(split) -> {"png": nats} of all items, whatever
    the weights exclude.
  Raises:
    UsageError: values above 255, or sites that are no image.
  """
  colors = math.prod(spec.shape[2:]) * spec.channels
  V = spec.num_values
  if len(spec.shape) < 2 or colors not in _COLORS or not V or V > 256:
    raise errors.UsageError(
      "png takes images of up to 256 values, gray or of three colors; got shape"
      f" {spec.shape}, {spec.channels} channels and {V} values"
    )
  height, width = spec.shape[:2]

  def fit(train):
    del train  # a PNG knows of no other

    def score(split):
      chunks = data.chunks(split, height * width * colors)
      rows = [np.asarray(x_BLC, np.uint8).reshape(-1) for x_BLC, _ in chunks]
      pixels = np.concatenate(rows).reshape(-1, width, colors)
      return {"png": 8 * math.log(2) * len(_encode(pixels, V))}

    return score

  return fit


def _encode(pixels, num_values):
  """The bytes of the file."""
  from PIL import Image

  picture = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
  if num_values == 2 and picture.ndim == 2:
    picture = picture.astype(bool)
  file = io.BytesIO()
  Image.fromarray(picture).save(file, "PNG", optimize=True)
  return file.getvalue()
