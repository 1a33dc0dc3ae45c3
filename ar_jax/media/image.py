"""Images: levels of gray or color to 8-bit pixels and back.

`media` is the JSON data that a run keeps:

  dict(kind="image", source=name, shape=[H, W] or [H, W, 3], channels=1 or 3,
       num_values=V)

and `labels`, the names of the values of the condition "label", where there
are any. Sites run through rows, columns and sub-pixels, red before green
before blue; or the three are the channels of a site. Value v of 0..V-1 is the
gray or color v * 255 / (V - 1), rounded.
"""

import math
import pathlib

import numpy as np

from ar_jax import errors

_GAP = 2  # pixels between the images of a grid, and around them
_GROUND = 128  # their gray
_WIDTH = 800  # pixels of a grid, about
_LARGE = 128  # an image is scaled up to so many pixels at the most


def layout(pixels, height, width):
  """(shape, channels) of "channels", "sites" (both RGB) or "gray"."""
  known = dict(
    channels=((height, width), 3),
    sites=((height, width, 3), 1),
    gray=((height, width), 1),
  )
  if pixels not in known:
    raise errors.UsageError(
      f"config.data.pixels {pixels!r} is none of {', '.join(known)}"
    )
  return known[pixels]


def make_media(source, shape, channels=1, *, num_values=256, labels=None):
  """The media of a source of images.

  Args:
    source: name, for messages.
    shape: of the sites, (H, W) or (H, W, 3).
    channels: 1, or 3 of (H, W).
    num_values: V, 2..256.
    labels: names of the values of the condition "label"; None: no names.
  """
  form = *shape[2:], channels
  if len(shape) < 2 or form not in ((1,), (3,), (3, 1)):
    raise ValueError(f"no image: shape {shape} of {channels} channels")
  if not 2 <= num_values <= 256:
    raise ValueError(f"no image: {num_values} values are not 2..256")
  media = dict(
    kind="image",
    source=source,
    shape=list(shape),
    channels=channels,
    num_values=num_values,
  )
  return media if labels is None else dict(media, labels=list(labels))


def decode(media, x):
  """uint8 [H, W], gray, or [H, W, 3] of one item, sites [L] or [L, C]."""
  picture = _levels(media)[np.asarray(x)].reshape(*media["shape"][:2], -1)
  return picture[..., 0] if picture.shape[-1] == 1 else picture


def encode(media, picture):
  """Sites int32 [L, C] of a picture [H, W] or [H, W, 3], as of `decode`.

  Raises:
    DataError: another shape, or a gray or color that is none of the V levels.
  """
  picture = np.asarray(picture)
  height, width, *subpixels = media["shape"]
  colors = math.prod(subpixels) * media["channels"]
  shape = (height, width) if colors == 1 else (height, width, colors)
  if picture.shape != shape:
    raise errors.DataError(
      f"{media['source']}: a picture of shape {picture.shape}, not {shape}"
    )
  value_of = {int(level): v for v, level in enumerate(_levels(media))}
  found, index = np.unique(picture, return_inverse=True)
  for color in found.tolist():
    if color not in value_of:
      raise errors.DataError(
        f"{media['source']}: {color} is none of the {media['num_values']}"
        " levels v * 255 / (V - 1)"
      )
  values = np.array([value_of[color] for color in found.tolist()], np.int32)
  return values[index].reshape(-1, media["channels"])


def _levels(media):
  """uint8 [V], no two the same."""
  V = media["num_values"]
  return np.rint(np.arange(V) * 255 / (V - 1)).astype(np.uint8)


def save(media, x_LC, folder, name):
  """Writes NAME.png, a pixel for each pixel; returns its path.

  `grid` is for the eye, this one is read back by image_folder.

  Args:
    media: of make_media.
    x_LC: sites of one item.
    folder: exists.
    name: of the file, without a suffix.
  """
  from PIL import Image

  path = pathlib.Path(folder) / f"{name}.png"
  Image.fromarray(decode(media, x_LC)).save(path)
  return [path]


def units(items, dims):
  """Split.units of so many images, of so many sub-pixels each."""
  return dict(item=items, dim=items * dims)


def grid(media, x_BLC, path, columns=None, known_BL=None):
  """Writes items in one PNG, row by row, each pixel a square of pixels.

  An image is scaled by a whole number, as far as the grid stays within 800
  pixels and the image within 128: 8 x 8 becomes 128 x 128 in up to 6 columns,
  and 72 x 72 in 10.

  Args:
    media: of make_media.
    x_BLC: sites of one item or more.
    path: of the PNG.
    columns: images side by side; None: such that the grid is about square.
    known_BL: bool, sites that are shown, the others as the ground; None: all.
  """
  from PIL import Image

  pictures = np.stack([decode(media, x_LC) for x_LC in x_BLC])
  if known_BL is not None:
    known = np.asarray(known_BL).reshape(*pictures.shape[:3], -1)
    shown = known if pictures.ndim == 4 else known[..., 0]
    pictures = np.where(shown, pictures, np.uint8(_GROUND))
  B, H, W = pictures.shape[:3]
  columns = min(B, columns or math.ceil(math.sqrt(B)))
  room = (_WIDTH - _GAP) // columns - _GAP
  scale = max(1, min(_LARGE // max(H, W), room // W))
  pictures = pictures.repeat(scale, 1).repeat(scale, 2)
  H, W = H * scale, W * scale
  rows = -(-B // columns)
  sheet = np.full(
    (
      _GAP + rows * (H + _GAP),
      _GAP + columns * (W + _GAP),
      *pictures.shape[3:],
    ),
    _GROUND,
    np.uint8,
  )
  for n, picture in enumerate(pictures):
    top = _GAP + n // columns * (H + _GAP)
    left = _GAP + n % columns * (W + _GAP)
    sheet[top : top + H, left : left + W] = picture
  Image.fromarray(sheet).save(path)
