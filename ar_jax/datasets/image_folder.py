"""PNG and JPEG files, of 8 bits a channel: squares of one size."""

import pathlib

import numpy as np

from ar_jax import corpus, errors
from ar_jax.media import image
from ar_jax.types import Condition, Dataset, DataSpec, Split

_TINY = str(pathlib.Path(__file__).parent / "tiny_images" / "*.png")
TINY = [
  dict(path=_TINY, size=8, fit="exact", split="0.5/0.2/0.3", labels=True),
  dict(path=_TINY, size=4, pixels="sites", split="0.5/0.5"),
  dict(path=_TINY, size=5, mode="gray", convert=True, split="0.5/0.5"),
]

_MODES = dict(rgb="RGB", gray="L")  # Pillow's words
_FITS = ("crop", "resize", "exact")
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH = 24  # where a PNG says it, from its start


def make(
  *,
  path,
  size=32,
  fit="crop",
  mode="rgb",
  convert=False,
  pixels="channels",
  labels=False,
  split="0.8/0.1/0.1",
  seed=0,
  valid_path="",
  test_path="",
):
  """An image is an item of size x size; its orientation in EXIF is obeyed.

  Args:
    path: files and globs, as in text_file.
    size: pixels of a side.
    fit: "crop", the central square of the image scaled to it, "resize",
      which changes the proportions, both up or down and bicubic, or "exact":
      an image of another size is an error.
    mode: "rgb" or "gray". An image of another mode is an error, unless:
    convert: whether it is converted: to gray by the luma of ITU-R 601, what
      is transparent on white.
    pixels: of "rgb", "channels" (sites (size, size) of three channels) or
      "sites" (sites (size, size, 3)). Unread in "gray".
    labels: whether the name of the folder that a file lies in is given, as
      the condition "label".
    split: fractions of the files, train/valid or train/valid/test. Unread
      with valid_path.
    seed: of the shuffle before the split.
    valid_path, test_path: files and globs of these splits; path then trains.
  Raises:
    DataError: no such file, one that is neither PNG nor JPEG, is damaged, or
      of another depth, mode or size; a split without a file; a file in two.
  """
  choices = dict(
    fit=(fit, _FITS),
    mode=(mode, tuple(_MODES)),
    pixels=(pixels, ("channels", "sites")),
  )
  for key, (value, known) in choices.items():
    if value not in known:
      raise errors.UsageError(
        f"config.data.{key} {value!r} is none of {', '.join(known)}"
      )
  if size < 1:
    raise errors.UsageError(f"config.data.size {size} must be 1 or more")
  files = _files(path, valid_path, test_path)
  names = sorted({_folder(file) for file in files["train"]})
  source = corpus.source(files["train"])
  pixels = "gray" if mode == "gray" else pixels
  shape, channels = image.layout(pixels, size, size)
  known = names if labels else None
  media = image.make_media(source, shape, channels, labels=known)
  if not valid_path:
    files = _cut(files["train"], split, seed)
  splits = {}
  for name, found in files.items():
    pictures = (_read(file, size, fit, mode, convert) for file in found)
    x_NLC = [image.encode(media, p).astype(np.uint8) for p in pictures]
    label_N = [_label(file, names) for file in found] if labels else None
    splits[name] = _split(np.stack(x_NLC), label_N)
  conditions = dict(label=Condition("label", len(names))) if labels else {}
  spec = DataSpec(shape, channels, 256, conditions=conditions)
  return Dataset(spec, splits, media)


def _files(path, valid_path, test_path):
  """{split: files} of the patterns that are given, no file in two of them."""
  if not path:
    raise errors.UsageError("give the images as --config.data.path=FILES")
  if test_path and not valid_path:
    raise errors.UsageError(
      "there are files for test and none for valid: give config.data.valid_path"
    )
  patterns = dict(train=path, valid=valid_path, test=test_path)
  found, split_of = {}, {}
  for name, pattern in patterns.items():
    if not pattern:
      continue
    key = "config.data.path" if name == "train" else f"config.data.{name}_path"
    found[name] = corpus.expand(pattern, key)
    for file in found[name]:
      other = split_of.setdefault(file.resolve(), name)
      if other != name:
        raise errors.DataError(
          f"{key}: {file} is also in the {other} split; give each file to one"
          " of them"
        )
  return found


def _cut(files, split, seed):
  """{split: files}, shuffled by the seed and cut by fractions."""
  parts = corpus.shuffled(split, len(files), seed, "files")
  return {n: [files[i] for i in sorted(at)] for n, at in parts.items()}


def _folder(file):
  return file.absolute().parent.name


def _label(file, names):
  if _folder(file) not in names:
    raise errors.DataError(
      f"{file}: its folder {_folder(file)!r} is no label of the training files,"
      f" which are: {', '.join(names)}"
    )
  return names.index(_folder(file))


def _split(x_NLC, label_N):
  def get(index_B):
    x_BLC = x_NLC[index_B].astype(np.int32)
    y = {}
    if label_N is not None:
      y["label"] = np.array(label_N, np.int32)[index_B]
    return x_BLC, np.ones(x_BLC.shape[:2], np.float32), y

  total = len(x_NLC)
  return Split(
    total, get, units=image.units(total, x_NLC[0].size), raw=x_NLC.tobytes()
  )


# --- files ---


def _read(file, size, fit, mode, convert):
  """uint8 [size, size] or [size, size, 3]."""
  from PIL import Image, ImageOps

  picture = _open(file)
  wanted = _MODES[mode]
  if picture.mode != wanted:
    if not convert:
      same = [m for m, word in _MODES.items() if word == picture.mode]
      options = [f"--config.data.mode={m}" for m in same]
      options += ["--config.data.convert=True"]
      raise errors.DataError(
        f"{file} has the mode {picture.mode}, config.data.mode asks for {mode}"
        f" ({wanted}); set {', or '.join(options)}"
      )
    if picture.has_transparency_data:
      picture = picture.convert("RGBA")
      ground = Image.new("RGBA", picture.size, "white")
      picture = Image.alpha_composite(ground, picture)
    picture = picture.convert(wanted)
  square = size, size
  if fit == "exact" and picture.size != square:
    width, height = picture.size
    raise errors.DataError(
      f"{file} has {width} x {height} pixels, config.data.size asks for {size}"
      f" x {size}; set --config.data.fit=crop or resize, or leave it out"
    )
  method = Image.Resampling.BICUBIC
  if fit == "crop":
    picture = ImageOps.fit(picture, square, method)
  if fit == "resize":
    picture = picture.resize(square, method)
  return np.asarray(picture)


def _open(file):
  """Pillow's image of a file, read whole and turned as its EXIF says."""
  from PIL import Image, ImageOps

  with file.open("rb") as opened:
    head = opened.read(_DEPTH + 1)
  # Of 16-bit colors Pillow would keep the upper halves, and say nothing.
  if head.startswith(_PNG) and head[_DEPTH:] == bytes([16]):
    raise errors.DataError(
      f"{file} has 16 bits a channel, image_folder takes 8; convert it, as"
      " `magick IN.png -depth 8 OUT.png` does"
    )
  try:
    with Image.open(file, formats=("PNG", "JPEG")) as found:
      return ImageOps.exif_transpose(found)
  except Exception as e:  # of damaged files: Pillow's, zlib's, struct's
    words = " ".join(str(e).split())
    raise errors.DataError(
      f"{file} cannot be read as PNG or JPEG: {type(e).__name__}: {words}; copy"
      " it again, or leave it out"
    ) from e
