"""Completions: items of which some sites are given, and the others drawn.

p(x_A | x_B) of any sets of sites, A drawn or scored and B known: inpainting,
infilling, super-resolution, continuation. In an order that puts B first it is
the product of the steps of A, exactly. A network of all orders is asked in
such an order; one of listed orders in those of them that are.
"""

import pathlib
import zipfile

import jax
import numpy as np

from ar_jax import corpus, errors, inputs, registry, scoring, text
from ar_jax import ordering as orders

_PICTURES = (".png", ".jpg", ".jpeg")


def read(run, source, count):
  """(x_NLC, y): the first `count` items of a split, or those of files.

  Args:
    run: Run.
    source: name of a split of the run's data, a picture or several by a glob,
      or an .npy of items.
    count: of the items of a split.
  Raises:
    UsageError, DataError: what is not there, or is no item of this run.
  """
  if count < 1:
    raise errors.UsageError(f"--items={count}: at least 1")
  if source in corpus.NAMES:
    dataset, _ = scoring.dataset_of(run, run.config)
    if source not in dataset.splits:
      raise errors.UsageError(
        f"--given={source}: the data has {', '.join(dataset.splits)}"
      )
    split = dataset.splits[source]
    x_NLC, _, y = split.get(np.arange(min(count, split.size)))
    return x_NLC, y
  files = corpus.expand(source, "--given")
  if len(files) == 1 and files[0].suffix == ".npy":
    return inputs.values(run.spec, _array(files[0])), {}
  return np.stack([_picture(run, file) for file in files]), {}


def _array(file):
  try:
    # Opened here, for np.load does not close a file that is damaged.
    with open(file, "rb") as raw:
      return np.load(raw, allow_pickle=False)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
    raise errors.DataError(f"{file} cannot be read as .npy: {e}") from e


def _picture(run, file):
  from PIL import Image

  if run.media.get("kind") != "image" or file.suffix.lower() not in _PICTURES:
    raise errors.UsageError(
      f"--given: {file} is none of test, valid, train, an .npy of items"
      " and, for a run on images, a .png"
    )
  try:
    with Image.open(pathlib.Path(file)) as opened:
      pixels = np.asarray(opened)
  except OSError as e:
    raise errors.DataError(f"{file} cannot be read: {e}") from e
  if pixels.dtype == bool:
    pixels = pixels.astype(np.uint8) * 255
  return registry.load("media", "image").encode(run.media, pixels)


def top(spec, share):
  """bool [L]: the sites of the first rows, of a share of them.

  The first axis of spec.shape is cut, at a whole row.

  Raises:
    UsageError: a share outside [0, 1).
  """
  if not 0 <= share < 1:
    raise errors.UsageError(f"--keep={share}: a share of the rows, 0 to 1")
  rows = round(share * spec.shape[0])
  known = np.zeros(spec.shape, bool)
  known[:rows] = True
  return known.reshape(-1)


def read_mask(run, source, num):
  """bool [num, L] of a file: which sites of each item are given.

  Args:
    run: Run.
    source: an .npy as of `masks`; of images also a PNG of the grid's size,
      black and white: white is given, with all channels and sub-pixels.
    num: items.
  Raises:
    UsageError: as of `masks`. DataError: a file that cannot be read, or a
      picture with other colors.
  """
  file, what = pathlib.Path(source), f"--mask={source}"
  suffix, is_image = file.suffix.lower(), run.media.get("kind") == "image"
  if suffix == ".npy":
    return masks(run.spec, _array(file), num, what)
  if suffix != ".png" or not is_image:
    raise errors.UsageError(
      f"{what}: neither an .npy nor, for a run on images, a .png"
    )
  white_HW, shape = _white(file), run.spec.shape
  if white_HW.shape != shape[:2]:
    raise errors.UsageError(
      f"{what}: a picture of shape {list(white_HW.shape)}, the images of this"
      f" run are {list(shape[:2])}"
    )
  known = white_HW.reshape(*shape[:2], *(1,) * len(shape[2:]))
  return masks(run.spec, np.broadcast_to(known, shape), num, what)


def _white(file):
  """bool [H, W] of a picture in black and white."""
  from PIL import Image

  try:
    with Image.open(file) as opened:
      levels = np.asarray(opened.convert("RGB"))
  except OSError as e:
    raise errors.DataError(f"{file} cannot be read: {e}") from e
  white_HW = levels[..., 0] == 255
  other = np.argwhere((levels != 255 * white_HW[..., None]).any(-1))
  if len(other):
    row, column = other[0]
    raise errors.DataError(
      f"{file}: a mask is black and white, and white is given; the pixel in"
      f" row {row}, column {column} is {levels[row, column].tolist()}"
    )
  return white_HW


def masks(spec, known, num, what="known"):
  """bool [num, L] of what says which sites are known, in data order.

  Args:
    spec: DataSpec.
    known: bool or 0 and 1, of spec.shape or [L], one for all items; or one
      for each, [num, *spec.shape] or [num, L].
    num: items.
    what: what the user knows it by, for messages.
  Raises:
    UsageError: another shape, other values, or masks of other items.
  """
  known = np.asarray(known)
  one = spec.shape, (spec.length,)
  if known.shape not in one and known.shape[1:] not in one:
    raise errors.UsageError(
      f"{what}: a mask has shape {list(spec.shape)} or [{spec.length}], or one"
      f" such for each item; got {list(known.shape)}"
    )
  if known.shape not in one and len(known) != num:
    raise errors.UsageError(
      f"{what}: masks of {len(known)} items, but {num} are given; give one"
      " mask for all, or one for each"
    )
  if known.dtype.kind not in "biuf":
    raise errors.UsageError(f"{what}: a mask is 0 and 1; got {known.dtype}")
  other = known[~np.isin(known, (0, 1))]
  if other.size:
    raise errors.UsageError(f"{what}: a mask is 0 and 1; got {other[0]}")
  known_NL = known.astype(bool).reshape(-1, spec.length)
  return np.broadcast_to(known_NL, (num, spec.length))


def is_exact(run, known):
  """Whether the run has an order in which what is given comes first.

  Else a site that comes before a given one is drawn without knowing it.

  Args:
    run: Run.
    known: bool [L], or [N, L], of which each item needs an order.
  """
  orders_KL = run.net.ordering.orders_KL
  if orders_KL is None:
    return True
  return bool(_puts_first(orders_KL, np.atleast_2d(known)).any(1).all())


def _puts_first(orders_KL, known_BL):
  """bool [B, K]: whether an order has no known site after an unknown one."""
  known_BKL = known_BL[:, np.asarray(orders_KL)]
  return (known_BKL[..., :-1] >= known_BKL[..., 1:]).all(-1)


def draw(run, key, x_NLC, known, num=1, y=None):
  """Sample of `num` rows for each item, those of an item next to each other.

  In an order of the run that puts what is known first: of all orders, one
  drawn for each row, by `ordering.known_first`; of listed ones, one drawn
  uniformly of those that do. Where `is_exact` says no, in an order as it is.

  Args:
    run: Run.
    key: jax.random.key.
    x_NLC: items; only what is known is read.
    known: of `masks`; it may differ between items.
    num: completions of each item.
    y: conditions of the items, [N, ...]; None: unconditional.
  """
  if num < 1:
    raise errors.UsageError(f"--num={num}: at least 1")
  N = len(x_NLC)
  y = inputs.conditions(run.spec, y, N)
  known_NL = masks(run.spec, known, N)
  x_BLC = np.where(known_NL[..., None], x_NLC, 0).repeat(num, 0)
  if run.spec.num_values is not None:
    x_BLC = x_BLC.astype(np.int32)  # what is drawn may not fit a file's dtype
  known_BL = known_NL.repeat(num, 0)
  y = {name: np.repeat(value, num, 0) for name, value in y.items()}
  order_key, key = jax.random.split(key)
  key_B = jax.random.split(order_key, len(x_BLC))
  order_BL = _draw_order(run.net.ordering, key_B, known_BL)
  sample = run.net.sampler(run.params, key, order_BL, (x_BLC, known_BL), y)
  return jax.tree.map(np.asarray, sample)


def _draw_order(ordering, key_B, known_BL):
  """Orders [1, L] or [B, L] of a family, what is known first where one can."""
  orders_KL = ordering.orders_KL
  if orders_KL is None:
    alike = (known_BL == known_BL[:1]).all()
    known_BL = known_BL[:1] if alike else known_BL
    return orders.known_first(ordering.draw(key_B), known_BL)
  if len(orders_KL) == 1:
    return ordering.draw(key_B)
  fits_BK = _puts_first(orders_KL, known_BL)
  fits_BK = fits_BK | ~fits_BK.any(1, keepdims=True)
  uniform_B = np.asarray(jax.vmap(jax.random.uniform)(key_B))
  nth_B = (uniform_B * fits_BK.sum(1)).astype(int)
  index_BK = np.argsort(~fits_BK, axis=1, kind="stable")  # those that fit first
  index_B = np.take_along_axis(index_BK, nth_B[:, None], 1)[:, 0]
  return np.asarray(orders_KL, np.int32)[index_B]


def drawn_sites(run, known_BL, x_BLC):
  """bool [B, L]: sites that were drawn, up to the end symbol of an item.

  Where the data does not score the fill after it, the model knows none.
  """
  if run.media.get("fill") != "unscored" or "end" not in run.media:
    return ~known_BL
  end_B = text.lengths(run.media, x_BLC[..., 0])
  return ~known_BL & (np.arange(known_BL.shape[1]) < end_B[:, None])


def conditional_log_prob(run, x, known, y=None, order=None):
  """log p(x_A | x_B) in nats, float64 [N]: A the other sites, B the known ones.

  Exact, by an order with B first. Of a network of all orders it is the
  figure of one order: B, then A, each in data order, or as they come in
  `order`. Another order of either gives another figure, for each order is a
  distribution of its own; each sums to one over all x_A. Of listed orders it
  is that of the first that puts B first. Orders are not mixed: a mean of
  p(x_A | x_B) over orders is not the conditional of the mixture.

  Args:
    run: Run.
    x: values [N, ...] of N items, as spec.shape says.
    known: of `masks`; it may differ between items.
    y: conditions of the items by name, [N, ...]; None: unconditional.
    order: int [L] or [N, L], for a network of all orders.
  Raises:
    UsageError: no order of the run puts what is known first.
  """
  x_NLC = inputs.values(run.spec, x)
  known_NL = masks(run.spec, known, len(x_NLC))
  order_NL = _scoring_order(run, known_NL, order)
  log_NL = run.per_site(x_NLC, y, order_NL)
  return np.where(known_NL, 0, log_NL).sum(1)


def _scoring_order(run, known_NL, order):
  """int32 [N, L]: an order of the run for each item, what is known first."""
  orders_KL, name = run.net.ordering.orders_KL, run.config.ordering.name
  if orders_KL is None:
    if order is not None:
      if np.shape(order)[-1:] != known_NL.shape[1:]:
        raise errors.UsageError("order: each names every site once")
      order = np.broadcast_to(order, known_NL.shape)
      if (np.sort(order, 1) != np.arange(order.shape[1])).any():
        raise errors.UsageError("order: each names every site once")
    return orders.known_first(order, known_NL)
  if order is not None:
    raise errors.UsageError(
      f"order: this run knows the order {name} alone, leave it out"
    )
  fits_NK = _puts_first(orders_KL, known_NL)
  lacking = np.flatnonzero(~fits_NK.any(1))
  if lacking.size:
    raise errors.UsageError(
      f"in the order {name} some sites come before those that are known, of"
      f" item {lacking[0]}: p(x_A | x_B) is no product of its steps; train"
      " with every order"
    )
  return np.asarray(orders_KL, np.int32)[fits_NK.argmax(1)]


def sheet(x_NLC, known_NL, drawn_BLC):
  """(items, known) of a picture with a line for each item.

  What is given, the completions, and the whole item: [N * (num + 2), L, C] and
  bool of the same sites.
  """
  N, num = len(x_NLC), len(drawn_BLC) // len(x_NLC)
  drawn_NMLC = drawn_BLC.reshape(N, num, *x_NLC.shape[1:])
  lines = np.concatenate([x_NLC[:, None], drawn_NMLC, x_NLC[:, None]], 1)
  known_NML = np.ones(lines.shape[:3], bool)
  known_NML[:, 0] = known_NL
  flat = N * (num + 2)
  return lines.reshape(flat, *x_NLC.shape[1:]), known_NML.reshape(flat, -1)
