"""Sound to integers and back: mu-law, or 16 bits as two sites.

`media` is the JSON data that a run keeps to write its own sound:

  dict(kind="audio", encoding="mu_law" | "coarse_fine", levels=256,
       rate=samples a second, channels=1 | 2, source=name)

and `labels`, the names of the values of the condition "label", where there is
one. Sites run through time; at each time through the channels, left before
right; and of a sample through coarse before fine.
"""

import functools
import pathlib

import numpy as np

from ar_jax import errors
from ar_jax.media import _look

ENCODINGS = ("mu_law", "coarse_fine")
_FULL = 2**15  # the integer of amplitude 1 in 16 bits
_LINES = ("#2f6fb3", "#c4572c")
_RANGE = 70  # decibels of a spectrogram


def make_media(encoding, rate, channels, source, *, levels=256, labels=None):
  """The media of a source of sound.

  Args:
    encoding: "mu_law" or "coarse_fine".
    rate: samples a second, of each channel.
    channels: 1 or 2.
    source: name, for messages.
    levels: of mu-law, 2..65,536; coarse_fine has 256 a site, and no others.
    labels: names of the values of the condition "label"; None: there is none.
  """
  if encoding not in ENCODINGS:
    raise errors.UsageError(
      f"config.data.encoding {encoding!r} is none of {', '.join(ENCODINGS)}"
    )
  _check_whole("rate", rate, 1, 10**7)
  _check_whole("channels", channels, 1, 2)
  _check_whole("levels", levels, 2, 2**16)
  if encoding == "coarse_fine" and levels != 256:
    raise errors.UsageError(
      f"config.data.levels {levels}: coarse_fine has 256 levels a site"
    )
  media = dict(
    kind="audio",
    encoding=encoding,
    levels=levels,
    rate=rate,
    channels=channels,
    source=source,
  )
  return media if labels is None else dict(media, labels=list(labels))


def _check_whole(name, value, low, high):
  whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not (whole and low <= value <= high):
    raise errors.UsageError(
      f"config.data.{name} is {value!r}; allowed: an integer {low}..{high:,}"
    )


def num_values(media):
  """V, the values of a site."""
  return media["levels"]


def sites_per_sample(media):
  """Sites of one sample of one channel."""
  return 2 if media["encoding"] == "coarse_fine" else 1


def sites_per_frame(media):
  """Sites of one instant, all channels."""
  return sites_per_sample(media) * media["channels"]


def encode(media, wave_TC):
  """Sites int32 [L] of float [T, channels] in [-1, 1]; clips what is not."""
  wave_TC = np.asarray(wave_TC)
  if wave_TC.ndim != 2 or wave_TC.shape[1] != media["channels"]:
    raise ValueError(
      f"encode takes [T, {media['channels']}], got {wave_TC.shape}"
    )
  if media["encoding"] == "mu_law":
    return mu_law_encode(wave_TC, media["levels"]).reshape(-1)
  return split16(_to_int16(wave_TC)).reshape(-1)


def decode(media, x):
  """Float32 [T, channels] in [-1, 1] of sites, int [L] or [L, 1]."""
  shape = -1, media["channels"], sites_per_sample(media)
  x_TCS = np.asarray(x).reshape(shape)
  if media["encoding"] == "mu_law":
    return mu_law_decode(x_TCS[..., 0], media["levels"])
  return join16(x_TCS).astype(np.float32) / _FULL


def _to_int16(wave):
  """Rounded to 1 / 2**15, which is how int16 is read as float."""
  scaled = np.rint(np.asarray(wave, np.float64) * _FULL)
  return np.clip(scaled, -_FULL, _FULL - 1).astype(np.int16)


# --- mu-law ---


def mu_law_encode(wave, levels=256):
  """Ids int32 in 0..levels-1 of amplitudes in [-1, 1], by mu_law_edges.

  f(x) = sign(x) log(1 + mu |x|) / log(1 + mu) with mu = levels - 1, rounded
  to the nearest of `levels` values from -1 to 1 (van den Oord et al. 2016,
  arXiv 1609.03499, section 2.2). Bins are equally wide in f and lie
  symmetric about 0, so there is no offset; 0 is levels // 2. What
  mu_law_decode gives comes back as it was.
  """
  return np.searchsorted(_edges(levels), wave, side="right").astype(np.int32)


def mu_law_decode(ids, levels=256):
  """Amplitudes float32 of ids: the middle, in f, of their bins."""
  at = 2 * np.asarray(ids, np.float64) / (levels - 1) - 1
  return _expand(at, levels).astype(np.float32)


def mu_law_edges(levels):
  """float64 [levels - 1]: id q is edges[q - 1] <= amplitude < edges[q].

  The first bin has no lower end and the last no upper one.
  """
  return _edges(levels).copy()


@functools.lru_cache(maxsize=8)
def _edges(levels):
  # About 0, so that both signs share one rounding.
  return _expand((2 * np.arange(1, levels) - levels) / (levels - 1), levels)


def _expand(y, levels):
  """f^-1: amplitudes of what the logarithm made of them."""
  mu = levels - 1
  return np.sign(y) * np.expm1(np.abs(y) * np.log1p(mu)) / mu


# --- 16 bits as two sites ---


def split16(samples):
  """Int16 [...] to int32 [..., 2]: the high and the low byte of n + 2**15."""
  offset = np.asarray(samples).astype(np.int32) + _FULL
  return np.stack([offset >> 8, offset & 255], -1)


def join16(x):
  """Int16 [...] of the two bytes [..., 2] of split16."""
  x = np.asarray(x, np.int32)
  return (x[..., 0] * 256 + x[..., 1] - _FULL).astype(np.int16)


# --- files ---


def save(media, x_LC, folder, name):
  """Writes NAME.wav, of 16 bits, and NAME.png; returns the two paths.

  Args:
    media: of make_media.
    x_LC: sites int [L, 1], whole instants.
    folder: exists.
    name: of the files, without a suffix.
  """
  from scipy.io import wavfile

  wave_TC = decode(media, x_LC)
  path = pathlib.Path(folder) / f"{name}.wav"
  picture = path.with_name(f"{name}.png")
  pcm = _to_int16(wave_TC)
  wavfile.write(path, media["rate"], pcm[:, 0] if pcm.shape[1] == 1 else pcm)
  draw(media, wave_TC, picture, name)
  return [path, picture]


def draw(media, wave_TC, path, title):
  """A picture of the waveform above a spectrogram of each channel."""
  import matplotlib
  from matplotlib.figure import Figure

  names = ("left", "right") if wave_TC.shape[1] == 2 else ("",)
  rate = media["rate"]
  with matplotlib.rc_context(_look.LOOK):
    rows = 1 + len(names)
    figure = Figure(figsize=(7, 1.6 + 1.9 * len(names)), layout="constrained")
    heights = [0.7, *[1] * len(names)]
    axes = figure.subplots(rows, 1, sharex=True, height_ratios=heights)
    for channel, label in enumerate(names):
      _waveform(axes[0], wave_TC[:, channel], rate, _LINES[channel], label)
    axes[0].axhline(0, color=_look.INK, lw=0.4, zorder=0)
    axes[0].set_ylabel("amplitude")
    axes[0].set_xlim(0, max(len(wave_TC), 1) / rate)
    if len(names) == 2:
      place = dict(loc="lower right", bbox_to_anchor=(1, 0.95))
      axes[0].legend(frameon=False, ncols=2, **place)
    words = f"{title}  ({media['source']}, {media['encoding']}, {rate:,} Hz)"
    axes[0].set_title(words, loc="left", fontsize=8)
    images = _spectrograms(axes[1:], wave_TC.T, rate)
    for below, label in zip(axes[1:], names, strict=True):
      below.set_ylabel(f"{label} (Hz)" if label else "Hz")
    axes[-1].set_xlabel("seconds")
    if images:
      bar = figure.colorbar(images[0], ax=axes[1:], pad=0.01, aspect=30)
      bar.set_label("dB of full scale")
    figure.savefig(path, dpi=150)


def _waveform(axes, wave_T, rate, color, label):
  """A line; of a long wave, the band from least to greatest."""
  columns = 2000
  if len(wave_T) <= 4 * columns:
    at_T = np.arange(len(wave_T)) / rate
    axes.plot(at_T, wave_T, color=color, lw=0.6, label=label)
    return
  starts = np.linspace(0, len(wave_T), columns, endpoint=False).astype(int)
  low, high = (f.reduceat(wave_T, starts) for f in (np.minimum, np.maximum))
  band = dict(color=color, lw=0, alpha=0.8, label=label)
  axes.fill_between(starts / rate, low, high, **band)


def _spectrograms(axes, waves, rate):
  """Power in windows of 32 ms (Hann), a full-scale sine 0 dB; the images.

  All have one range of colors, that of the loudest.
  """
  from scipy import signal

  total = waves.shape[1]
  if not total:
    return []
  size = min(2 ** round(np.log2(max(0.032 * rate, 8))), total)
  hop = min(max(1, total // 500), max(1, size // 2))
  _, at, z = signal.stft(
    waves, rate, nperseg=size, noverlap=size - hop, nfft=max(size, 512)
  )
  decibels = 20 * np.log10(2 * np.abs(z) + 1e-6)
  look = dict(
    origin="lower",
    aspect="auto",
    interpolation="bilinear",
    extent=(at[0] - hop / rate / 2, at[-1] + hop / rate / 2, 0, rate / 2),
    cmap="magma",
    vmin=decibels.max() - _RANGE,
    vmax=decibels.max(),
  )
  images = [
    a.imshow(power, **look) for a, power in zip(axes, decibels, strict=True)
  ]
  axes[0].set_xlim(0, total / rate)
  return images
