"""Plucked strings and vowels, synthesized from a seed: sound without files.

Strings: Karplus and Strong 1983, "Digital synthesis of plucked-string and
drum timbres", without tuning. Vowels: pulses or noise through a cascade of
resonators (Klatt 1980, "Software for a cascade/parallel formant synthesizer"),
whose first three formants are the men's averages of Peterson and Barney 1952,
"Control methods used in a study of the vowels".
"""

import numpy as np

from ar_jax import errors, registry
from ar_jax.media import audio
from ar_jax.types import Condition, Dataset, DataSpec, Split

TINY = [
  dict(length=24, train_size=7, valid_size=5, levels=16),
  dict(
    length=24,
    train_size=7,
    valid_size=5,
    encoding="coarse_fine",
    classes=("pluck", "i"),
    aligned=True,
  ),
]

# Hertz: F1, F2 and F3 of the vowels of father, head, heed, hawed and who'd.
_FORMANTS = dict(
  a=(730, 1090, 2440),
  e=(530, 1840, 2480),
  i=(270, 2290, 3010),
  o=(570, 840, 2410),
  u=(300, 870, 2240),
)
_HIGHER = (3300, 3750)  # F4 and F5 of all vowels, and the bandwidths (Klatt)
_BANDWIDTHS = (60, 90, 150, 250, 200)
CLASSES = ("pluck", *_FORMANTS)
_WARM_UP = 0.05  # seconds of a vowel that are left out: the filter fills


def make(
  *,
  length=1024,
  rate=8000,
  train_size=4096,
  valid_size=512,
  seed=0,
  encoding="mu_law",
  levels=256,
  classes=CLASSES,
  aligned=False,
):
  """Mono items of random class and pitch, with the class as their label.

  An item is a function of seed, split and number alone, so more items extend
  the fewer. Loudness is drawn, or set by the filter; no item is scaled by its
  own peak.

  Args:
    length: sites of an item.
    rate: samples a second, 6,000 or more.
    train_size, valid_size: items; the splits are different streams of seed.
    seed: of all that is drawn.
    encoding, levels: "mu_law" or "coarse_fine"; see audio.make_media.
    classes: names out of CLASSES, in the order of the labels: the condition
      "label". "pluck" is a string from its first pluck, the others vowels,
      one in five of them whispered.
    aligned: whether the condition "pitch" is given as well, float32 (L, 1):
      of each site, in hundreds of hertz; 0 where the source is noise.
  Raises:
    UsageError: an argument out of its range.
  """
  sizes = dict(train=train_size, valid=valid_size)
  _check(rate, sizes, seed, classes)
  media = audio.make_media(
    encoding, rate, 1, "tones", levels=levels, labels=classes
  )
  frame = audio.sites_per_frame(media)
  if length < frame or length % frame:
    raise errors.UsageError(
      f"config.data.length {length} must be a multiple of {frame}, the sites"
      " of one sample"
    )
  conditions = dict(label=Condition("label", len(classes)))
  if aligned:
    conditions["pitch"] = Condition("aligned", None, (length, 1))
  splits = {}
  for stream, (name, size) in enumerate(sizes.items()):
    items = [
      item(np.random.default_rng([seed, stream, i]), classes, length, media)
      for i in range(size)
    ]
    splits[name] = _split(items, media, aligned)
  spec = DataSpec((length,), 1, audio.num_values(media), conditions=conditions)
  return Dataset(spec, splits, media)


def _check(rate, sizes, seed, classes):
  known = dict(rate=(rate, 6000), seed=(seed, 0))
  known |= {f"{name}_size": (size, 1) for name, size in sizes.items()}
  for name, (value, low) in known.items():
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (whole and value >= low):
      raise errors.UsageError(
        f"tones: {name} is {value!r}; allowed: an integer >= {low:,}"
      )
  for name in classes:
    if name not in CLASSES:
      raise errors.UsageError(
        f"tones: no class named {name!r}{registry.nearest(name, CLASSES)};"
        f" there are: {', '.join(CLASSES)}"
      )
  if not classes or len(set(classes)) < len(classes):
    raise errors.UsageError(
      f"tones: classes are {classes!r}; name one or more, each once"
    )


def item(rng, classes, length, media):
  """(sites int32 [L], label, pitch float32 [L]) of one draw of everything."""
  frame = audio.sites_per_frame(media)
  label = int(rng.integers(len(classes)))
  draw = pluck if classes[label] == "pluck" else vowel
  wave_T, hertz_T = draw(rng, length // frame, media["rate"], classes[label])
  x_L = audio.encode(media, wave_T[:, None])
  return x_L, label, np.repeat(hertz_T / 100, frame).astype(np.float32)


def _split(items, media, aligned):
  x_NL, label_N, pitch_NL = map(np.array, zip(*items, strict=True))
  small = np.uint8 if media["levels"] <= 256 else np.uint16
  x_NL, label_N = x_NL.astype(small), label_N.astype(np.int32)
  samples = x_NL.size // audio.sites_per_sample(media)

  def get(index_B):
    x_BL = x_NL[index_B].astype(np.int32)
    y = dict(label=label_N[index_B])
    if aligned:
      y["pitch"] = pitch_NL[index_B][..., None]
    return x_BL[..., None], np.ones(x_BL.shape, np.float32), y

  return Split(
    len(x_NL),
    get,
    units=dict(sample=samples),
    protocol=f"independent items of {x_NL.shape[1]}",
    raw=x_NL.tobytes(),
  )


def pluck(rng, total, rate, name="pluck"):
  """(wave [T], hertz [T]): a string, plucked again every 0.25 to 0.5 s.

  y[n] = x[n] + g (y[n - N] + y[n - N - 1]) / 2, where x is one period of
  noise: a mean of values past, so never louder than x.
  """
  from scipy import signal

  del name
  wave_T, hertz_T = np.zeros(total), np.zeros(total)
  start = 0
  while start < total:
    stop = min(total, start + int(rate * rng.uniform(0.25, 0.5)))
    period = round(rate / _log_uniform(rng, 90, 400))
    noise = rng.uniform(-1, 1, period)
    amplitude = rng.uniform(0.3, 0.45)
    excitation_T = np.zeros(max(stop - start, period))
    excitation_T[:period] = amplitude * (noise - noise.mean())
    loop = np.zeros(period + 2)
    loop[0] = 1
    loop[period:] = -0.5 * rng.uniform(0.985, 0.998)
    sound_T = signal.lfilter([1.0], loop, excitation_T)
    wave_T[start:stop] = sound_T[: stop - start]
    hertz_T[start:stop] = rate / (period + 0.5)
    start = stop
  return wave_T, hertz_T


def vowel(rng, total, rate, name):
  """(wave [T], hertz [T]): a vowel of gliding pitch, or whispered.

  The gain comes from the filter and the pitch, not from what was drawn; tanh
  keeps the peaks below 1.
  """
  from scipy import signal

  warm_up = int(_WARM_UP * rate)
  at_T = np.arange(total + warm_up) / rate
  poles = _poles(name, rate, size=rng.uniform(0.94, 1.06))
  # Octaves: a slow wave about the pitch of the item.
  glide_T = rng.uniform(0.05, 0.2) * np.sin(
    2 * np.pi * (rng.uniform(1, 5) * at_T + rng.uniform())
  )
  hertz_T = _log_uniform(rng, 90, 240) * 2**glide_T
  noise_T = rng.standard_normal(len(at_T))
  level = rng.uniform(0.12, 0.25)
  # All have a zero at half the rate, where recorders cut.
  if rng.uniform() < 0.2:
    hertz_T, source_T, zeros, power = 0 * hertz_T, noise_T, [1.0, 1.0], 1.0
  else:
    source_T = _pulses(hertz_T, rate, rng.uniform()) + 0.01 * noise_T
    power = hertz_T.mean() / rate
    # The slope of voices: -12 dB an octave of the glottis, 6 of the lips.
    pole = np.exp(-2 * np.pi * 100 / rate)
    poles = np.convolve(poles, [1, -2 * pole, pole**2])
    zeros = [1.0, 0.0, -1.0]
  impulse = np.zeros(int(0.05 * rate))
  impulse[0] = 1
  response = signal.lfilter(zeros, poles, impulse)
  gain = level / np.sqrt(power * np.sum(response**2))
  wave_T = np.tanh(gain * signal.lfilter(zeros, poles, source_T))
  return wave_T[warm_up:], hertz_T[warm_up:]


def _poles(name, rate, size):
  """The denominator of the resonators below half the rate."""
  formants = zip((*_FORMANTS[name], *_HIGHER), _BANDWIDTHS, strict=True)
  product = np.ones(1)
  for hertz, bandwidth in formants:
    if hertz * size >= 0.49 * rate:
      continue
    radius = np.exp(-np.pi * bandwidth / rate)
    angle = 2 * np.pi * hertz * size / rate
    product = np.convolve(product, [1, -2 * radius * np.cos(angle), radius**2])
  return product


def _pulses(hertz_T, rate, phase):
  """Unit pulses at the pitch; one between two samples falls on both."""
  turns_T = phase + np.cumsum(hertz_T) / rate
  at = np.flatnonzero(np.diff(np.floor(turns_T)) > 0) + 1
  late = (turns_T[at] % 1) / (hertz_T[at] / rate)  # part of a sample
  pulse_T = np.zeros(len(hertz_T))
  pulse_T[at] += 1 - late
  pulse_T[at - 1] += late
  return pulse_T


def _log_uniform(rng, low, high):
  return np.exp(rng.uniform(np.log(low), np.log(high)))
