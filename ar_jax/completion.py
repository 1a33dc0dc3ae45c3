"""Completions: items of which some sites are given, and the others drawn."""

import pathlib

import jax
import numpy as np

from ar_jax import corpus, errors, inputs, registry, scoring

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
    return np.load(file, allow_pickle=False)
  except (OSError, ValueError, EOFError) as e:
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


def is_exact(run, known_L):
  """Whether what is given comes first, so that the rest is drawn given it.

  Else a site that comes before a given one is drawn without knowing it.
  """
  orders_KL = run.net.ordering.orders_KL
  if orders_KL is None:
    return not known_L.any()
  count = int(known_L.sum())
  return bool(known_L[np.asarray(orders_KL)[:, :count]].all())


def draw(run, key, x_NLC, known_L, num=1, y=None):
  """Sample of `num` rows for each item, those of an item next to each other.

  Args:
    run: Run.
    key: jax.random.key.
    x_NLC: items; only what is known is read.
    known_L: bool.
    num: completions of each item.
    y: conditions of the items, [N, ...]; None: unconditional.
  """
  if num < 1:
    raise errors.UsageError(f"--num={num}: at least 1")
  y = inputs.conditions(run.spec, y, len(x_NLC))
  x_BLC = np.where(known_L[None, :, None], x_NLC, 0).repeat(num, 0)
  known_BL = np.broadcast_to(known_L, x_BLC.shape[:2])
  y = {name: np.repeat(value, num, 0) for name, value in y.items()}
  order_key, key = jax.random.split(key)
  order_BL = run.net.ordering.draw(jax.random.split(order_key, len(x_BLC)))
  sample = run.net.sampler(run.params, key, order_BL, (x_BLC, known_BL), y)
  return jax.tree.map(np.asarray, sample)


def sheet(x_NLC, known_L, drawn_BLC):
  """(items, known) of a picture with a line for each item.

  What is given, the completions, and the whole item: [N * (num + 2), L, C] and
  bool of the same sites.
  """
  N, num = len(x_NLC), len(drawn_BLC) // len(x_NLC)
  drawn_NMLC = drawn_BLC.reshape(N, num, *x_NLC.shape[1:])
  lines = np.concatenate([x_NLC[:, None], drawn_NMLC, x_NLC[:, None]], 1)
  known_NML = np.ones(lines.shape[:3], bool)
  known_NML[:, 0] = known_L
  flat = N * (num + 2)
  return lines.reshape(flat, *x_NLC.shape[1:]), known_NML.reshape(flat, -1)
