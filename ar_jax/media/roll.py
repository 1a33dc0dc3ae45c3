"""Piano rolls, the keys that sound in each frame: as values, MIDI, a picture.

`media` is the JSON data that a run keeps:

  dict(kind="roll", form="keys" or "events", notes=name, order=[k, ...],
    lowest=21, source=name, fill="unscored" or "scored")

`order` permutes the K keys; `notes` is its name. In the form "keys" a frame
is K sites of 0 or 1, key order[0] first. In "events" it is the keys that
sound, in that order, and then K, the end of the frame.

The axis letters F and K stand for frames and keys, here only.
"""

import pathlib

import numpy as np

from ar_jax.media import _look

_TICKS = 480  # of a frame, which is a quarter note
_MICROSECONDS = 500_000  # of a quarter note: 120 a minute
_VELOCITY = 80
_OCTAVE = 12


def encode(media, roll_FK):
  """Values int32 [L] of 0 or 1 [F, K]: F K of them in keys, or the tokens."""
  ordered_FK = np.asarray(roll_FK)[:, media["order"]]
  if media["form"] == "keys":
    return ordered_FK.astype(np.int32).reshape(-1)
  ended = np.pad(ordered_FK, ((0, 0), (0, 1)), constant_values=1)
  token_of_rank = np.array([*media["order"], len(media["order"])], np.int32)
  return token_of_rank[np.nonzero(ended)[1]]


def decode(media, x):
  """uint8 [F, K], the roll of the values of one item, of any length.

  Of a last frame that is cut short, what is missing is silent. Events in
  another order than the roll's, or repeated, are still notes of their frame.
  """
  x_T = np.asarray(x).reshape(-1)
  order_K = np.asarray(media["order"])
  K = len(order_K)
  if media["form"] == "keys":
    ordered_FK = np.pad(x_T, (0, -len(x_T) % K)).reshape(-1, K)
    roll_FK = np.zeros(ordered_FK.shape, np.uint8)
    roll_FK[:, order_K] = ordered_FK
    return roll_FK
  end_T = x_T == K
  frame_T = np.cumsum(end_T) - end_T
  roll_FK = np.zeros((frame_T[-1] + 1 if len(x_T) else 0, K), np.uint8)
  roll_FK[frame_T[~end_T], x_T[~end_T]] = 1
  return roll_FK


def save(media, x_LC, folder, name):
  """Writes NAME.mid and NAME.png of one item; returns the two paths.

  Args:
    media: as above.
    x_LC: values of `encode`, [L] or [L, 1].
    folder: exists.
    name: of the files, without a suffix.
  """
  roll_FK = decode(media, x_LC)
  path = pathlib.Path(folder) / f"{name}.mid"
  picture = path.with_name(f"{name}.png")
  path.write_bytes(midi(roll_FK, media["lowest"]))
  _draw(media, roll_FK, picture, name)
  return [path, picture]


def midi(roll_FK, lowest):
  """A Standard MIDI File, type 0: a frame is a quarter note at 120 a minute.

  A key that sounds in frames one after the other is one note. The end of the
  track keeps the silent frames at the end.

  Args:
    roll_FK: 0 or 1.
    lowest: MIDI pitch of key 0.
  """
  change = np.diff(np.pad(roll_FK.astype(int), ((1, 1), (0, 0))), axis=0)
  track = b"\0\xff\x51\3" + _MICROSECONDS.to_bytes(3, "big")
  last = 0
  for frame, key in np.argwhere(change).tolist():
    begins = change[frame, key] > 0
    status, velocity = (0x90, _VELOCITY) if begins else (0x80, 0)
    track += _number((frame - last) * _TICKS)
    track += bytes([status, lowest + key, velocity])
    last = frame
  track += _number((len(roll_FK) - last) * _TICKS) + b"\xff\x2f\0"
  header = b"".join(n.to_bytes(2, "big") for n in (0, 1, _TICKS))
  return _chunk(b"MThd", header) + _chunk(b"MTrk", track)


def _number(value):
  """A variable-length quantity: 7 bits a byte, the high bit set on all but
  the last."""
  found = bytes([value & 0x7F])
  while value := value >> 7:
    found = bytes([value & 0x7F | 0x80]) + found
  return found


def _chunk(kind, content):
  return kind + len(content).to_bytes(4, "big") + content


def _draw(media, roll_FK, path, title):
  """The roll over frames and pitch, in whole octaves from C to C."""
  import matplotlib
  from matplotlib.figure import Figure

  lowest, frames = media["lowest"], max(1, len(roll_FK))
  sounding = np.flatnonzero(roll_FK.any(0))
  sounding = sounding if len(sounding) else np.arange(roll_FK.shape[1])
  low = (lowest + sounding[0]) // _OCTAVE * _OCTAVE
  high = -(-(lowest + sounding[-1] + 1) // _OCTAVE) * _OCTAVE
  size = np.clip(1 + 0.07 * frames, 4, 24), 0.8 + 0.07 * (high - low)
  with matplotlib.rc_context(_look.PLAIN):
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    octaves = np.arange(low, high + 1, _OCTAVE)
    for pitch in octaves:
      axes.axhline(pitch - 0.5, color="0.75", lw=0.5)
    edges_F, edges_K = np.arange(frames + 1), np.arange(roll_FK.shape[1] + 1)
    if roll_FK.any():
      axes.pcolormesh(
        edges_F,
        lowest + edges_K - 0.5,
        np.ma.masked_equal(roll_FK.T, 0),
        cmap="Blues",
        vmin=0,
        vmax=1.2,
      )
    axes.set_xlim(0, frames)
    axes.set_ylim(low - 0.5, high + 0.5)
    axes.set_yticks(octaves, [f"C{p // _OCTAVE - 1}" for p in octaves])
    axes.set_xlabel("frame")
    axes.set_ylabel("pitch")
    axes.set_title(f"{title}  ({media['source']})", loc="left", fontsize=8)
    figure.savefig(path, dpi=150)
