"""Wav files: sound as integers, cut by file or, of one file, by time."""

import hashlib
import math
import pathlib
import warnings
from typing import NamedTuple

import numpy as np

from ar_jax import corpus, errors
from ar_jax.media import audio
from ar_jax.types import Condition, Dataset, DataSpec, Split

_TINY = pathlib.Path(__file__).parent / "tiny_audio"
TINY = [
  dict(
    path=str(_TINY / "pluck.wav"), rate=8000, levels=16, length=24, stride=7
  ),
  dict(
    path=str(_TINY / "*.wav"),
    rate=8000,
    encoding="coarse_fine",
    length=24,
    hop=5,
    split="0.5/0.5",
  ),
]
_CHANNELS = dict(mono=1, stereo=2)


class _Clip(NamedTuple):
  """The sites of a file, or of a part of one: integers [T]."""

  file: pathlib.Path
  sites: np.ndarray
  label: int


def make(
  *,
  path,
  rate,
  length=4096,
  stride=None,
  hop=1,
  encoding="mu_law",
  levels=256,
  channels="mono",
  mix=False,
  resample=False,
  label="none",
  split="0.9/0.1",
  seed=0,
  valid_path="",
):
  """Windows of wav files, none over two files; nothing is scaled per file.

  Several files are split by file. One file is split by time: the last
  `length` sites before the end of its training part are left out, so that no
  window of training is closer than a window to what is held out, and what is
  held out is the same at every length.

  Args:
    path: files and globs, as in text_file: integer PCM or float in [-1, 1].
    rate: samples a second. A file of another rate is an error, unless:
    resample: whether it is resampled (scipy.signal.resample_poly).
    length: sites of an item; see ar_jax/media/audio.py for the sites of a
      sample.
    stride: sites between evaluation windows, in 1..length; None: half of
      `length`. Each site is scored exactly once.
    hop: samples between training windows.
    encoding, levels: "mu_law" or "coarse_fine"; see audio.make_media.
    channels: "mono" or "stereo". A stereo file in mono is an error, unless:
    mix: whether its channels are averaged. Unread in stereo.
    label: "folder": the name of the folder that a file lies in is its label,
      the condition "label"; "none".
    split: "0.9/0.1", fractions of the files or of the time, train/valid or
      train/valid/test. Unread with valid_path.
    seed: of the shuffle of several files before the split.
    valid_path: files and globs of the validation split; path then trains.
  Raises:
    DataError: no such file, one that is no wav, is damaged, empty, of another
      rate or number of channels, or shorter than a window; a split without a
      file; a file in two splits.
  """
  if channels not in _CHANNELS:
    raise errors.UsageError(
      f"config.data.channels {channels!r} is neither mono nor stereo"
    )
  if label not in ("none", "folder"):
    raise errors.UsageError(
      f"config.data.label {label!r} is neither none nor folder"
    )
  if not path:
    raise errors.UsageError("give the wav files as --config.data.path=FILES")
  files = dict(train=corpus.expand(path))
  if valid_path:
    files["valid"] = corpus.expand(valid_path, "config.data.valid_path")
    _check_apart(files)
  names = sorted({file.absolute().parent.name for file in files["train"]})
  media = audio.make_media(
    encoding,
    rate,
    _CHANNELS[channels],
    corpus.source(files["train"]),
    levels=levels,
    labels=None if label == "none" else names,
  )
  frame = audio.sites_per_frame(media)
  stride = max(1, length // frame // 2) * frame if stride is None else stride
  _check_windows(length, stride, hop, frame)
  clips = {
    name: [_clip(file, media, mix, resample) for file in found]
    for name, found in files.items()
  }
  if not valid_path:
    clips = _parts(clips["train"], split, seed, length, frame)
  steps = dict.fromkeys(clips, stride) | dict(train=hop * frame)
  splits = {
    name: _split(name, found, media, length, steps[name])
    for name, found in clips.items()
  }
  conditions = {}
  if label == "folder":
    conditions["label"] = Condition("label", len(names))
  spec = DataSpec((length,), 1, audio.num_values(media), conditions=conditions)
  return Dataset(spec, splits, media)


def _check_apart(files):
  train = {file.resolve() for file in files["train"]}
  for file in files["valid"]:
    if file.resolve() in train:
      raise errors.DataError(
        f"config.data.valid_path: {file} is also in config.data.path; give"
        " each file to one of them"
      )


def _check_windows(length, stride, hop, frame):
  for name, value in (("length", length), ("stride", stride)):
    if value < frame or value % frame:
      raise errors.UsageError(
        f"config.data.{name} {value} must be a multiple of {frame}, the sites"
        " of one instant"
      )
  if stride > length:
    raise errors.UsageError(
      f"config.data.stride {stride} must be in {frame}..{length}, the window"
    )
  if hop < 1:
    raise errors.UsageError(f"config.data.hop {hop} must be 1 or more")


def _clip(file, media, mix, resample):
  """The _Clip of a whole file."""
  rate, wave_TC = _read(file)
  found, wanted = wave_TC.shape[1], media["channels"]
  if found != wanted and not (mix and wanted == 1):
    options = {1: "set channels=mono", 2: "set channels=stereo"}
    options = [options[found]] if found in options else []
    options += ["mix=True to average them"] if wanted == 1 else []
    raise errors.DataError(
      f"{file} has {found} channels, config.data.channels asks for {wanted};"
      f" {' or '.join(options) or 'leave it out'}"
    )
  if found != wanted:
    wave_TC = wave_TC.mean(1, keepdims=True)
  if rate != media["rate"]:
    if not resample:
      raise errors.DataError(
        f"{file} has {rate:,} samples a second, config.data.rate is"
        f" {media['rate']:,}; set --config.data.rate={rate}, or"
        " --config.data.resample=True"
      )
    wave_TC = _resampled(wave_TC, rate, media["rate"])
  label = 0
  if "labels" in media:
    name = file.absolute().parent.name
    if name not in media["labels"]:
      raise errors.DataError(
        f"{file}: its folder {name!r} is no label of the training files, which"
        f" are: {', '.join(media['labels'])}"
      )
    label = media["labels"].index(name)
  small = np.uint8 if media["levels"] <= 256 else np.uint16
  return _Clip(file, audio.encode(media, wave_TC).astype(small), label)


def _read(file):
  """(rate, float32 [T, channels] in [-1, 1]) of a wav file."""
  from scipy.io import wavfile

  advice = "convert it to PCM, as `ffmpeg -i IN OUT.wav` does"
  try:
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always")
      rate, wave = wavfile.read(file)
  except Exception as e:  # the library raises nothing narrower
    words = " ".join(str(e).split())
    raise errors.DataError(
      f"{file} is no wav file that can be read ({words}); {advice}"
    ) from e
  # Other warnings are of chunks that hold no sound, such as names.
  if any("EOF" in str(w.message) for w in caught):
    raise errors.DataError(
      f"{file} is cut off: its header promises more than it holds; copy it"
      f" again, or {advice}"
    )
  if not wave.size:
    raise errors.DataError(f"{file} holds no samples; leave it out")
  wave_TC = wave.reshape(len(wave), -1)
  if wave.dtype.kind == "u":  # 8 bits are the only ones without a sign
    return rate, (wave_TC.astype(np.float32) - 128) / 128
  if wave.dtype.kind == "i":  # 24 bits come in the upper ones of 32
    full = np.float32(2.0 ** (8 * wave.itemsize - 1))
    return rate, wave_TC.astype(np.float32) / full
  peak = np.abs(wave_TC).max()
  if not peak <= 1:
    raise errors.DataError(
      f"{file} reaches {peak:.4g}, floats must lie in [-1, 1]; scale all files"
      " by one factor"
    )
  return rate, wave_TC.astype(np.float32)


def _resampled(wave_TC, rate, wanted):
  from scipy import signal

  shared = math.gcd(rate, wanted)
  return signal.resample_poly(wave_TC, wanted // shared, rate // shared)


def _parts(clips, split, seed, length, frame):
  """{split: clips}: several files by file, one by time."""
  if len(clips) == 1:
    alone = clips[0].sites
    parts = corpus.fractions(split, len(alone) // frame, "samples")
    cut = {n: alone[a * frame : b * frame] for n, (a, b) in parts.items()}
    # What no window of training may touch lies between it and the rest.
    cut["train"] = cut["train"][: max(0, len(cut["train"]) - length)]
    return {n: [clips[0]._replace(sites=sites)] for n, sites in cut.items()}
  parts = corpus.shuffled(split, len(clips), seed, "files")
  return {n: [clips[i] for i in sorted(at)] for n, at in parts.items()}


def _split(name, clips, media, length, step):
  """Windows `step` sites apart; the last of a file ends where it does."""
  frame = audio.sites_per_frame(media)
  size_N = np.array([len(clip.sites) for clip in clips])
  if size_N.min() < length:
    short = clips[int(size_N.argmin())]
    raise errors.DataError(
      f"{name} split: {short.file} gives it {len(short.sites) // frame:,}"
      f" samples, a window has {length // frame:,}; leave the file out, or"
      " lower config.data.length"
    )
  sites_T = np.concatenate([clip.sites for clip in clips])
  label_N = np.array([clip.label for clip in clips], np.int32)
  first_N = np.cumsum(size_N) - size_N
  count_N = 1 - (length - size_N) // step
  end_N = np.cumsum(count_N)

  def get(index_B):
    index_B = np.asarray(index_B)
    clip_B = np.searchsorted(end_N, index_B, side="right")
    start_B = (index_B - (end_N - count_N)[clip_B]) * step
    # Where the window before this one ended, 0 for the first.
    seen_B = np.where(start_B > 0, start_B - step + length, 0)
    start_B = np.minimum(start_B, size_N[clip_B] - length)
    at_BL = start_B[:, None] + np.arange(length)
    weight_BL = np.ones(at_BL.shape, np.float32)
    if name != "train":
      weight_BL[at_BL < seen_B[:, None]] = 0
    x_BL = sites_T[first_N[clip_B][:, None] + at_BL].astype(np.int32)
    y = {"label": label_N[clip_B]} if "labels" in media else {}
    return x_BL[..., None], weight_BL, y

  found = hashlib.sha256(repr((media["rate"], media["channels"])).encode())
  for clip in clips:
    found.update(f"{len(clip.sites)} {clip.label} ".encode())
  found.update(sites_T)
  # N-grams count a training stream whole, so joints of files are no matter.
  whole = name == "train" or len(clips) == 1
  count = int(end_N[-1])
  scored = count * length if name == "train" else len(sites_T)
  return Split(
    count,
    get,
    units=dict(sample=scored // audio.sites_per_sample(media)),
    protocol=f"w{length}/s{step}/within files",
    stream=sites_T if whole else None,
    raw=sites_T.tobytes(),
    fingerprint=found.hexdigest(),
  )
