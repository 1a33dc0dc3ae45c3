"""Polyphonic music as piano rolls, such as the JSB chorales.

A piece is a roll: which of the 88 keys sound in each frame. The splits are
those of the file, and pieces are never joined. Published figures are nats per
frame; all frames are scored here, the first ones too.

The axis letters F and K stand for frames and keys, here only.
"""

import hashlib
import pathlib

import numpy as np

from ar_jax import corpus, data, errors
from ar_jax.media import roll
from ar_jax.types import Dataset, DataSpec, Split

_FILE = pathlib.Path(__file__).parent / "tiny_rolls" / "tiny.mat"
TINY = [
  dict(path=str(_FILE), form="keys", length=3, stride=2, notes="descending"),
  dict(path=str(_FILE), form="events", length=12, stride=5, transpose=2),
  dict(path=str(_FILE), length=64, stride=64, notes="random", fill="scored"),
]

_KEYS = dict(train="traindata", valid="validdata", test="testdata")
_LOWEST = 21  # MIDI pitch of key 0: the A below all Cs of a piano
_PITCHES = 128
_ORDERS = ("ascending", "descending", "random")


def make(
  *,
  path,
  form="events",
  length=256,
  stride=128,
  notes="ascending",
  notes_seed=0,
  transpose=0,
  fill="unscored",
):
  """The rolls of a MATLAB file: traindata, validdata and perhaps testdata.

  Both forms say the same roll, and lose none of it. "keys": a frame is 88
  sites of 0 or 1, so the nats are exact. "events": a frame is the keys that
  sound and then the token 88, its end. A roll has one such string, but the
  model gives mass to others as well, as to a key that comes twice: its nats
  are an upper bound on those of the roll.

  Training items are all windows of all pieces; evaluation scores each frame
  once, from `stride` to `stride`, with what comes before it in its window.
  What fills a window after a shorter piece is silence. Left to right it weighs
  0 ("unscored"). In every other order it gives the length away and must weigh
  1 ("scored"): figures of another sense, also per frame.

  Args:
    path: of the .mat file: cell arrays of [frames, keys], 0 or 1.
    form: "keys" or "events".
    length: frames of a window in "keys", tokens in "events".
    stride: likewise, between evaluation windows.
    notes: order of the keys in a frame, in both forms: "ascending",
      "descending" or "random", a fixed one.
    notes_seed: of "random".
    transpose: n adds each training piece in the keys -n..+n semitones from
      its own, where all of it fits. It is a part of the training split alone.
    fill: "unscored" or "scored".
  Raises:
    UsageError: an argument out of its range. DataError: a file that holds
      something else.
  """
  _check(form, length, stride, notes, transpose, fill)
  file, rolls = _read(path)
  K = rolls["train"][0].shape[1]
  media = dict(
    kind="roll",
    form=form,
    notes=notes,
    order=_order(notes, notes_seed, K),
    lowest=_LOWEST,
    source=file.name,
    fill=fill,
  )
  splits = {}
  for name, pieces in rolls.items():
    kept = _transposed(pieces, transpose) if name == "train" else pieces
    split = _split(media, kept, length, None if name == "train" else stride)
    splits[name] = split._replace(fingerprint=_hash(pieces))
  shape, num_values = ((length, K), 2) if form == "keys" else ((length,), K + 1)
  return Dataset(DataSpec(shape, 1, num_values), splits, media)


def _check(form, length, stride, notes, transpose, fill):
  choices = dict(
    form=(form, ("keys", "events")),
    notes=(notes, _ORDERS),
    fill=(fill, ("unscored", "scored")),
  )
  for key, (value, allowed) in choices.items():
    if value not in allowed:
      raise errors.UsageError(
        f"config.data.{key} {value!r} is none of {', '.join(allowed)}"
      )
  if not 1 <= stride <= length:
    raise errors.UsageError(
      f"config.data.stride {stride} must be in 1..{length}, the window"
    )
  if transpose < 0:
    raise errors.UsageError(
      f"config.data.transpose {transpose} must be 0 or more semitones"
    )


def _order(notes, seed, K):
  if notes == "random":
    return np.random.default_rng(seed).permutation(K).tolist()
  return list(range(K)) if notes == "ascending" else list(range(K))[::-1]


def _read(path):
  """(file, {split: list of uint8 [F, K]})."""
  import scipy.io

  if not path:
    raise errors.UsageError("give the file as --config.data.path=FILE.mat")
  file, *more = corpus.expand(path)
  if more:
    raise errors.UsageError(f"config.data.path {path!r}: piano_roll takes one")
  try:
    found = scipy.io.loadmat(file)
  except Exception as e:  # scipy's are of a dozen types
    raise errors.DataError(
      f"{file} cannot be read as a MATLAB file up to version 7:"
      f" {type(e).__name__}: {e}"
    ) from e
  missing = [k for k in ("traindata", "validdata") if k not in found]
  if missing:
    has = ", ".join(k for k in found if not k.startswith("__")) or "nothing"
    raise errors.DataError(
      f"{file} has no {' nor '.join(missing)}; it has {has}"
    )
  rolls = {n: _rolls(found[k], k, file) for n, k in _KEYS.items() if k in found}
  widths = {r.shape[1] for pieces in rolls.values() for r in pieces}
  if len(widths) > 1 or max(widths) > _PITCHES - _LOWEST:
    raise errors.DataError(
      f"{file}: rolls of {', '.join(map(str, sorted(widths)))} keys; all must"
      f" have the same number, {_PITCHES - _LOWEST} at the most"
    )
  return file, rolls


def _rolls(cells, key, file):
  """The pieces of a cell array; those without a frame are left out."""
  pieces = []
  for n, piece in enumerate(np.asarray(cells).ravel()):
    is_roll = isinstance(piece, np.ndarray) and piece.ndim == 2
    if not is_roll or not np.isin(piece, (0, 1)).all():
      raise errors.DataError(
        f"{file}: {key}, piece {n} is no roll [frames, keys] of 0 and 1"
      )
    if piece.size:
      pieces.append(piece.astype(np.uint8))
  if not pieces:
    raise errors.DataError(f"{file}: {key} holds no frame")
  return pieces


def _transposed(pieces, most):
  """Each piece in every key from -most to +most where no note is lost."""
  found = []
  for piece_FK in pieces:
    sounding = np.flatnonzero(piece_FK.any(0))
    low, high = sounding[[0, -1]] if len(sounding) else (0, 0)
    for shift in range(-most, most + 1):
      if low + shift >= 0 and high + shift < piece_FK.shape[1]:
        found.append(np.roll(piece_FK, shift, 1))
  return found


def _split(media, pieces, length, stride):
  """Windows over pieces that lie end to end, each filled up to a window.

  Args:
    media: of the Dataset.
    pieces: list of uint8 [F, K].
    length: rows of a window: frames of K sites, or tokens.
    stride: None for training: all windows, every row of them scored.
  """
  silence_1C = _rows(media, np.zeros_like(pieces[0][:1]))
  rows, filled, windows = [], [], []
  first = 0
  for piece_FK in pieces:
    row_TC = _rows(media, piece_FK)
    T, total = len(row_TC), max(len(row_TC), length)
    start_N = data.window_starts(T, length, stride or 1)
    scored_N = start_N
    if stride is not None:  # not what an earlier window has scored
      scored_N = np.concatenate([[0], start_N[:-1] + length])
    stop = total if media["fill"] == "scored" else T
    windows.append(first + np.stack([start_N, scored_N, stop + 0 * start_N]))
    rows.append(row_TC)
    filled += [row_TC, np.repeat(silence_1C, total - T, 0)]
    first += total
  flat_TC = np.concatenate(filled)
  start_N, scored_N, stop_N = np.concatenate(windows, 1)

  def get(index_B):
    at_BL = start_N[index_B][:, None] + np.arange(length)
    inside_BL = at_BL >= scored_N[index_B][:, None]
    inside_BL &= at_BL < stop_N[index_B][:, None]
    x_BL = flat_TC[at_BL].astype(np.int32).reshape(len(at_BL), -1)
    weight_BL = np.repeat(inside_BL, flat_TC.shape[1], 1)
    return x_BL[..., None], weight_BL.astype(np.float32), {}

  last_N = np.minimum(start_N + length, stop_N)
  frames = _frames_before(media, filled)
  return Split(
    len(start_N),
    get,
    units=dict(frame=int((frames[last_N] - frames[scored_N]).sum())),
    protocol=_protocol(media, length, stride),
    raw=b"".join(row_TC.tobytes() for row_TC in rows),
  )


def _rows(media, roll_FK):
  """uint8 [T, C]: frames and their K sites in the form keys, or the tokens."""
  width = roll_FK.shape[1] if media["form"] == "keys" else 1
  return roll.encode(media, roll_FK).astype(np.uint8).reshape(-1, width)


def _frames_before(media, filled):
  """int [T + 1]: frames of pieces that end before each row; no fill counts."""
  ends = [
    np.ones(len(row_TC), bool)
    if media["form"] == "keys"
    else row_TC[:, 0] == len(media["order"])
    for row_TC in filled
  ]
  for fill in ends[1::2]:
    fill[:] = False
  return np.concatenate([[0], np.cumsum(np.concatenate(ends))])


def _protocol(media, length, stride):
  unit = "frames" if media["form"] == "keys" else "tokens"
  window = f"crops of {length}" if stride is None else f"w{length}/s{stride}"
  scored = "first scored" if media["fill"] == "unscored" else "fill scored"
  return f"{window} {unit}/{scored}"


def _hash(pieces):
  """Of the rolls: the same in each form and however they are cut."""
  found = hashlib.sha256()
  for piece_FK in pieces:
    found.update(f"{piece_FK.shape}".encode() + piece_FK.tobytes())
  return found.hexdigest()
