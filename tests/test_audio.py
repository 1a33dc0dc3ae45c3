"""Sound: round trips of every level, windows of files, and the tones.

Longer than 400 lines because the medium and its two sources are tested by what
is written with the one and read with the other.
"""

import json
import pathlib
import struct

import contract
import numpy as np
import pytest
from scipy import signal
from scipy.io import wavfile

from ar_jax import errors
from ar_jax.datasets import audio_file, tones
from ar_jax.media import audio

RATE = 8000
LEVELS = [2, 3, 16, 255, 256, 257, 4096, 2**16]


def media_of(encoding="mu_law", channels=1, **changes):
  return audio.make_media(encoding, RATE, channels, "test", **changes)


# --- mu-law ---


@pytest.mark.parametrize("levels", LEVELS)
def test_every_level_comes_back(levels):
  """Fixed points, zero, order and symmetry of all levels, in float32."""
  q_V = np.arange(levels)
  wave_V = audio.mu_law_decode(q_V, levels)
  assert wave_V.dtype == np.float32
  found_V = audio.mu_law_encode(wave_V, levels)
  assert found_V.dtype == np.int32
  np.testing.assert_array_equal(found_V, q_V)
  assert audio.mu_law_encode(0.0, levels) == levels // 2
  assert (np.diff(wave_V) > 0).all()
  np.testing.assert_array_equal(wave_V, -wave_V[::-1])
  assert wave_V[-1] == 1


def test_ids_are_those_of_the_paper():
  """Monotone, onto, and the nearest value of f wherever that is one."""
  wave = np.linspace(-1, 1, 2**16 + 1).astype(np.float32)
  found = audio.mu_law_encode(wave)
  assert (np.diff(found) >= 0).all()
  assert set(found.tolist()) == set(range(256))
  at = np.sign(wave) * np.log1p(255 * np.abs(wave, dtype=np.float64))
  at = (at / np.log(256) + 1) / 2 * 255
  clear = np.abs(at % 1 - 0.5) > 1e-9
  assert clear.mean() > 0.999
  np.testing.assert_array_equal(found[clear], np.rint(at[clear]))


def test_noise_gets_no_offset():
  """Less than a tenth of the -0.011 that public quantizers add."""
  wave = np.random.default_rng(0).uniform(-1, 1, 10**6)
  wave = np.concatenate([wave, -wave])
  back = audio.mu_law_decode(audio.mu_law_encode(wave))
  assert abs(back.mean(dtype=np.float64)) < 1e-6


@pytest.mark.parametrize("levels", LEVELS)
def test_edges_are_those_of_encode(levels):
  edges = audio.mu_law_edges(levels)
  q = np.arange(1, levels)
  assert (edges.dtype, edges.shape) == (np.float64, (levels - 1,))
  np.testing.assert_array_equal(audio.mu_law_encode(edges, levels), q)
  below = np.nextafter(edges, -1)
  np.testing.assert_array_equal(audio.mu_law_encode(below, levels), q - 1)
  edges[:] = 2  # a copy: encode does not read what a caller changes
  assert audio.mu_law_encode(1.0, levels) == levels - 1


def test_beyond_full_scale_is_clipped():
  found = audio.mu_law_encode(np.float32([-9, -1, 1, 9]))
  assert found.tolist() == [0, 0, 255, 255]


# --- sites ---


def test_all_16_bits_come_back():
  pcm = np.arange(-(2**15), 2**15).astype(np.int16)
  x = audio.split16(pcm)
  assert (x.shape, x.dtype) == ((2**16, 2), np.int32)
  assert (x.min(), x.max()) == (0, 255)
  assert audio.split16(np.int16(0)).tolist() == [128, 0]
  back = audio.join16(x)
  assert back.dtype == np.int16
  np.testing.assert_array_equal(back, pcm)
  # And as amplitudes.
  media = media_of("coarse_fine")
  wave = audio.decode(media, x.reshape(-1, 1))
  assert (wave.dtype, wave.min()) == (np.float32, -1)
  np.testing.assert_array_equal(audio.encode(media, wave), x.reshape(-1))
  assert audio.encode(media, np.ones((1, 1))).tolist() == [255, 255]


@pytest.mark.parametrize("encoding", audio.ENCODINGS)
def test_left_before_right_coarse_before_fine(encoding):
  media = media_of(encoding, 2)
  wave_TC = np.float32([[-1, 1], [0.5, 0], [0, -1]])
  x_L = audio.encode(media, wave_TC)
  wanted = dict(
    mu_law=[0, 255, 239, 128, 128, 0],
    coarse_fine=[0, 0, 255, 255, 192, 0, 128, 0, 128, 0, 0, 0],
  )
  assert x_L.tolist() == wanted[encoding]
  assert len(x_L) == 3 * audio.sites_per_frame(media)
  back_TC = audio.decode(media, x_L)
  assert back_TC.shape == (3, 2)
  np.testing.assert_allclose(back_TC, wave_TC, atol=0.02)
  with pytest.raises(ValueError, match=r"\[T, 2\]"):
    audio.encode(media, wave_TC[:, :1])


def test_media_is_json_and_arguments_are_checked():
  media = media_of("coarse_fine", 2, labels=("a", "b"))
  assert json.loads(json.dumps(media)) == dict(
    kind="audio",
    encoding="coarse_fine",
    levels=256,
    rate=RATE,
    channels=2,
    source="test",
    labels=["a", "b"],
  )
  assert "labels" not in media_of()
  wrong = [
    (dict(encoding="linear"), "'linear' is none of mu_law, coarse_fine"),
    (dict(levels=1), "levels is 1; allowed: an integer 2..65,536"),
    (dict(levels=256.0), "levels is 256.0"),
    (dict(channels=3), "channels is 3"),
    (dict(encoding="coarse_fine", levels=16), "256 levels a site"),
  ]
  for changes, message in wrong:
    with pytest.raises(errors.UsageError, match=message):
      media_of(**changes)


# --- files that are written ---


@pytest.mark.parametrize("encoding", audio.ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_saved_is_read_as_the_same_sites(encoding, channels, tmp_path):
  media = media_of(encoding, channels)
  rng = np.random.default_rng(0)
  x_LC = rng.integers(0, 256, (96 * audio.sites_per_frame(media), 1), np.int32)
  paths = audio.save(media, x_LC, tmp_path, "a $1_2")
  assert [p.name for p in paths] == ["a $1_2.wav", "a $1_2.png"]
  rate, wave_TC = audio_file._read(paths[0])
  assert (rate, wave_TC.shape) == (RATE, (96, channels))
  np.testing.assert_array_equal(audio.encode(media, wave_TC), x_LC[:, 0])
  assert wavfile.read(paths[0])[1].dtype == np.int16


def test_the_picture_shows_a_sine_at_its_pitch(tmp_path, monkeypatch):
  """Axes in seconds and hertz; the brightest row lies at 1 kHz, 0 dB."""
  from matplotlib.figure import Figure

  figures = []
  keep = Figure.savefig
  monkeypatch.setattr(
    Figure, "savefig", lambda f, *a, **k: figures.append(f) or keep(f, *a, **k)
  )
  media = media_of("coarse_fine")
  wave_TC = 0.999 * np.sin(np.arange(2 * RATE) * 2 * np.pi / 8)[:, None]
  _, picture = audio.save(media, audio.encode(media, wave_TC), tmp_path, "sine")
  assert picture.read_bytes()[:4] == b"\x89PNG"
  top, below = figures[0].axes[:2]
  assert top.get_xlim() == below.get_xlim() == (0, 2)
  assert below.get_ylim() == (0, RATE / 2)
  assert below.get_xlabel() == "seconds"
  assert below.get_ylabel() == "Hz"
  (image,) = below.get_images()
  assert image.origin == "lower"
  decibels = image.get_array()
  row, column = np.unravel_index(decibels.argmax(), decibels.shape)
  left, right, low, high = image.get_extent()
  assert abs(low + row / (len(decibels) - 1) * high - 1000) < 20
  assert abs(decibels[row, decibels.shape[1] // 2]) < 0.1
  assert left == pytest.approx(0, abs=0.01)
  assert right == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("total", [1, 2, 9, 300, 40000])
def test_waves_of_any_length_are_drawn(total, tmp_path):
  """Silence as well: no warning, which would be an error."""
  x_L = audio.encode(media_of(), np.zeros((total, 1)))
  for path in audio.save(media_of(), x_L, tmp_path, "wave"):
    assert path.stat().st_size > 0


# --- files that are read ---


def write(path, wave, rate=RATE):
  path.parent.mkdir(exist_ok=True, parents=True)
  wavfile.write(path, rate, wave)
  return str(path)


def pcm_of(total, first=0):
  """Samples of which each is another."""
  return np.arange(first, first + total).astype(np.int16)


def made(path, **changes):
  section = dict(rate=RATE, length=16, encoding="coarse_fine")
  return audio_file.make(path=str(path), **section | changes)


def samples(media, x_BLC):
  return np.array([audio.decode(media, x) for x in x_BLC]) * 2**15


@pytest.mark.parametrize(
  ("dtype", "full"),
  [(np.uint8, 2**7), (np.int16, 2**15), (np.int32, 2**31), ("float", 1)],
)
def test_samples_of_every_kind_are_read(dtype, full, tmp_path):
  at = np.float64([-1, -0.5, 0, 0.25, 0.5])
  if dtype == "float":
    wave = at.astype(np.float32)
  else:
    offset = full if dtype == np.uint8 else 0
    wave = (at * full + offset).astype(dtype)
  rate, found = audio_file._read(write(tmp_path / "a.wav", wave))
  assert (rate, found.dtype) == (RATE, np.float32)
  assert found[:, 0].tolist() == at.tolist()


def test_24_bits_are_read_past_a_chunk_of_names(tmp_path):
  body = b"".join(
    n.to_bytes(3, "little", signed=True) for n in (-(2**23), -1, 0, 2**22)
  )
  form = struct.pack("<HHIIHH", 1, 1, RATE, 3 * RATE, 3, 24)
  chunks = b"fmt " + struct.pack("<I", 16) + form
  chunks += b"note" + struct.pack("<I", 4) + b"abcd"
  chunks += b"data" + struct.pack("<I", len(body)) + body
  file = tmp_path / "a.wav"
  size = struct.pack("<I", 4 + len(chunks))
  file.write_bytes(b"RIFF" + size + b"WAVE" + chunks)
  found = audio_file._read(file)[1][:, 0]
  assert found.tolist() == [-1, -(2.0**-23), 0, 0.5]


@pytest.mark.parametrize("encoding", audio.ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("stride", [4, 12, 16, None])
def test_each_sample_is_scored_once(encoding, channels, stride, tmp_path):
  rng = np.random.default_rng(0)
  sizes = (16, 17, 40, 23)
  waves = [rng.integers(-(2**15), 2**15, (n, channels)) for n in sizes]
  for i, wave in enumerate(waves):
    write(tmp_path / f"{i}.wav", wave.astype(np.int16))
  data = made(
    write(tmp_path / "train" / "a.wav", waves[0].astype(np.int16)),
    stride=stride,
    encoding=encoding,
    channels={1: "mono", 2: "stereo"}[channels],
    valid_path=str(tmp_path / "*.wav"),
  )
  split = data.splits["valid"]
  x_BLC, weight_BL, y = split.get(np.arange(split.size))
  assert y == {}
  # The scored sites, in order, are the files.
  found = x_BLC[weight_BL == 1][:, 0]
  wanted = [audio.encode(data.media, wave / 2**15) for wave in waves]
  np.testing.assert_array_equal(found, np.concatenate(wanted))
  total = len(found) // audio.sites_per_frame(data.media)
  assert split.units == dict(sample=total * channels)
  assert set(np.unique(weight_BL)) <= {0, 1}


def test_training_takes_every_window_of_every_file(tmp_path):
  for i, total in enumerate((8, 11, 20)):
    write(tmp_path / f"{i}.wav", pcm_of(total, 1000 * i))
  valid = write(tmp_path / "valid" / "v.wav", pcm_of(8, 9000))
  files = str(tmp_path / "*.wav")
  data = made(files, valid_path=valid)
  split = data.splits["train"]
  x_BLC, weight_BL, _ = split.get(np.arange(split.size))
  assert (weight_BL == 1).all()
  found = samples(data.media, x_BLC)[..., 0]
  wanted = [1000 * i + k for i, n in enumerate((1, 4, 13)) for k in range(n)]
  assert found[:, 0].tolist() == wanted
  assert (np.diff(found) == 1).all()  # no window over two files
  assert split.units == dict(sample=split.size * 8)
  # Of a hop the last window ends with its file.
  split = made(files, valid_path=valid, hop=5).splits["train"]
  first = samples(data.media, split.get(np.arange(split.size))[0])[:, 0, 0]
  assert first.tolist() == [0, 1000, 1003, 2000, 2005, 2010, 2012]


@pytest.mark.parametrize("length", [16, 64])
def test_one_file_is_cut_by_time_with_a_gap(length, tmp_path):
  path = write(tmp_path / "a.wav", pcm_of(1000))
  data = made(path, split="0.6/0.2/0.2", length=length)
  seen = {}
  for name, split in data.splits.items():
    x_BLC, _, _ = split.get(np.arange(split.size))
    found = samples(data.media, x_BLC)
    seen[name] = (found.min(), found.max())
  # What is held out does not move with the window.
  assert seen["valid"] == (600, 799)
  assert seen["test"] == (800, 999)
  assert seen["train"] == (0, 599 - length // 2)


def test_files_are_in_one_split_each(tmp_path):
  for i in range(10):
    write(tmp_path / f"{i}.wav", pcm_of(50, 100 * i))
  path = tmp_path / "*.wav"

  def files_of(**changes):
    data = made(path, split="0.7/0.2/0.1", **changes)
    found = {}
    for name, split in data.splits.items():
      x_BLC, _, _ = split.get(np.arange(split.size))
      found[name] = set((samples(data.media, x_BLC).ravel() // 100).tolist())
    return found

  found = files_of()
  assert {n: len(f) for n, f in found.items()} == dict(train=7, valid=2, test=1)
  assert set.union(*found.values()) == set(range(10))
  assert files_of() == found
  assert files_of(seed=1) != found


def test_loudness_is_left_as_it_is(tmp_path):
  """A quiet file stays quiet, whatever comes later in it (D14)."""
  write(tmp_path / "a.wav", np.full(40, 100, np.int16))
  loud = write(tmp_path / "b.wav", np.full(40, 30000, np.int16))
  data = made(tmp_path / "a.wav", valid_path=loud)
  for name, level in (("train", 100), ("valid", 30000)):
    x_BLC, _, _ = data.splits[name].get(np.arange(2))
    assert (samples(data.media, x_BLC) == level).all()


def test_folders_are_labels(tmp_path):
  for name, first in (("yes", 0), ("no", 1000)):
    for i in range(4):
      write(tmp_path / name / f"{i}.wav", pcm_of(20, first + 100 * i))
  path = tmp_path / "[yn]*" / "*.wav"
  data = made(path, label="folder", split="0.5/0.5")
  assert data.media["labels"] == ["no", "yes"]
  condition = data.spec.conditions["label"]
  assert condition == ("label", 2, ())
  for split in data.splits.values():
    x_BLC, _, y = split.get(np.arange(split.size))
    wanted = samples(data.media, x_BLC)[:, 0, 0] < 1000
    assert y["label"].dtype == np.int32
    np.testing.assert_array_equal(y["label"], wanted)
  contract.dataset_keeps(data)
  other = write(tmp_path / "maybe" / "0.wav", pcm_of(20))
  message = "'maybe' is no label .*: no, yes"
  with pytest.raises(errors.DataError, match=message):
    made(path, label="folder", valid_path=other)


def test_stereo_is_asked_for_or_averaged(tmp_path):
  wave = np.stack([pcm_of(60), pcm_of(60, 200)], -1)
  path = write(tmp_path / "stereo.wav", wave)
  with pytest.raises(errors.DataError, match="has 2 channels.*channels=stereo"):
    made(path)
  data = made(path, mix=True, split="0.5/0.5")
  x_BLC, _, _ = data.splits["valid"].get(np.arange(1))
  assert samples(data.media, x_BLC)[0, :, 0].tolist() == list(range(130, 138))
  data = made(path, channels="stereo", split="0.5/0.5")
  assert data.media["channels"] == 2
  x_BLC, _, _ = data.splits["valid"].get(np.arange(1))
  np.testing.assert_array_equal(samples(data.media, x_BLC)[0], wave[30:34])
  mono = write(tmp_path / "mono.wav", pcm_of(60))
  with pytest.raises(errors.DataError, match="1 channels.* set channels=mono"):
    made(mono, channels="stereo")


def test_another_rate_is_an_error_or_resampled(tmp_path):
  at = np.arange(4 * RATE) / (2 * RATE)
  wave = (20000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)
  path = write(tmp_path / "a.wav", wave, 2 * RATE)
  with pytest.raises(errors.DataError, match="16,000 .* 8,000; .*rate=16000"):
    made(path)
  data = made(path, resample=True, length=2048, split="0.5/0.5")
  x_BLC, _, _ = data.splits["train"].get(np.arange(1))
  found = samples(data.media, x_BLC)[0, :, 0]
  np.testing.assert_allclose(found[100:], wave[200:2048:2], atol=40)
  assert data.media["rate"] == RATE


def test_broken_files_are_named(tmp_path):
  whole = pathlib.Path(write(tmp_path / "whole.wav", pcm_of(500))).read_bytes()
  broken = {
    "text.wav": (b"this is text, not sound", "no wav file that can be read"),
    "header.wav": (whole[:20], "no wav file that can be read"),
    "cut.wav": (whole[:400], "is cut off"),
    "silent.wav": (whole[:40] + bytes(4), "holds no samples|is cut off"),
    "empty.wav": (b"", "is empty"),
  }
  for name, (content, message) in broken.items():
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(errors.DataError, match=message) as caught:
      made(file)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
  path = write(tmp_path / "none.wav", pcm_of(0))
  with pytest.raises(errors.DataError, match="none.wav holds no samples"):
    made(path)
  for value in (1.5, np.nan):
    path = write(tmp_path / "float.wav", np.float32([0, value, 0.1]))
    with pytest.raises(errors.DataError, match="float.wav reaches .* one fac"):
      made(path)


@pytest.mark.parametrize(
  ("changes", "error", "message"),
  [
    (dict(length=15), errors.UsageError, "length 15 must be a multiple of 2"),
    (dict(stride=18), errors.UsageError, "stride 18 must be in 2..16"),
    (dict(stride=3), errors.UsageError, "stride 3 must be a multiple of 2"),
    (dict(hop=0), errors.UsageError, "hop 0 must be 1 or more"),
    (dict(channels="5.1"), errors.UsageError, "neither mono nor stereo"),
    (dict(label="name"), errors.UsageError, "neither none nor folder"),
    (dict(split="9K/1K"), errors.UsageError, "split by fractions"),
    (dict(length=400), errors.DataError, "valid split: .*a.wav gives it 100 "),
    (dict(split=".1/.9", length=300), errors.DataError, "train split: .* 0 "),
  ],
)
def test_wrong_arguments_are_named(changes, error, message, tmp_path):
  path = write(tmp_path / "a.wav", pcm_of(1000))
  with pytest.raises(error, match=message):
    made(path, **changes)


def test_a_split_without_a_file_is_an_error(tmp_path):
  paths = [write(tmp_path / f"{i}.wav", pcm_of(60)) for i in range(2)]
  with pytest.raises(errors.DataError, match="2 files leave none for the"):
    made(",".join(paths), split="0.4/0.6")
  with pytest.raises(errors.DataError, match="is also in config.data.path"):
    made(paths[0], valid_path=",".join(paths))
  with pytest.raises(errors.UsageError, match="--config.data.path=FILES"):
    made("")


def test_a_fingerprint_is_of_the_sound(tmp_path):
  for i in range(4):
    write(tmp_path / f"{i}.wav", pcm_of(60, 100 * i))

  def found(**changes):
    data = made(tmp_path / "*.wav", split="0.5/0.5", **changes)
    return data.splits["valid"].fingerprint

  assert found() == found(stride=4, length=8, hop=3)
  assert len({found(), found(seed=1), found(encoding="mu_law")}) == 3


# --- tones ---


def drawn(size, split="train", **changes):
  sizes = dict(train_size=1, valid_size=1) | {f"{split}_size": size}
  data = tones.make(**dict(length=1024) | sizes | changes)
  return data, *data.splits[split].get(np.arange(size))


def test_more_tones_extend_the_fewer():
  few, many = (
    drawn(n, length=64, aligned=True, classes=("i", "pluck")) for n in (5, 9)
  )
  assert (many[1][:5] == few[1]).all()
  for name in ("label", "pitch"):
    assert (many[3][name][:5] == few[3][name]).all()
  same, other, valid = (
    drawn(5, length=64, **c)[1]
    for c in (dict(), dict(seed=1), dict(split="valid"))
  )
  assert (drawn(5, length=64)[1] == same).all()
  assert (same != other).any()
  assert (same != valid).any()


def test_tones_are_neither_silent_nor_clipped():
  data, x_BLC, weight_BL, y = drawn(600)
  assert data.media["labels"] == ["pluck", "a", "e", "i", "o", "u"]
  wave_BL = audio.mu_law_decode(x_BLC[..., 0])
  assert np.abs(wave_BL).max() < 0.99
  assert wave_BL.std(1).min() > 0.02
  assert abs(wave_BL.mean()) < 0.005
  assert (weight_BL == 1).all()
  assert data.splits["train"].units == dict(sample=600 * 1024)
  assert np.bincount(y["label"]).min() > 60


def test_the_spectrum_tells_the_class():
  """The nearest of the classes' mean spectra, of other items."""
  spectra, labels = {}, {}
  data = tones.make(length=1024, train_size=400, valid_size=400)
  for name, split in data.splits.items():
    x_BLC, _, y = split.get(np.arange(400))
    wave_BL = audio.mu_law_decode(x_BLC[..., 0])
    _, power = signal.welch(wave_BL, RATE, nperseg=64)
    decibels = 10 * np.log10(power + 1e-9)
    spectra[name] = decibels - decibels.mean(1, keepdims=True)
    labels[name] = y["label"]
  mean_VF = np.array(
    [spectra["train"][labels["train"] == v].mean(0) for v in range(6)]
  )
  distance = ((spectra["valid"][:, None] - mean_VF) ** 2).sum(-1)
  right = distance.argmin(1) == labels["valid"]
  assert right.mean() > 0.9


@pytest.mark.parametrize("name", ["pluck", "u"])
def test_the_pitch_is_that_of_the_sound(name):
  """The wave repeats after one period: correlation at the declared lag."""
  found = []
  for i in range(40):
    rng = np.random.default_rng(i)
    draw = tones.pluck if name == "pluck" else tones.vowel
    wave_T, hertz_T = draw(rng, 1200, RATE, name)
    if not hertz_T.any():
      continue  # whispered
    mid = slice(500, 900)
    lag = round(RATE / hertz_T[mid].mean())
    late = slice(500 + lag, 900 + lag)
    half = slice(500 + lag // 2, 900 + lag // 2)
    same = np.corrcoef(wave_T[mid], wave_T[late])[0, 1]
    found.append((same, np.corrcoef(wave_T[mid], wave_T[half])[0, 1]))
  same, other = np.median(found, 0)
  assert len(found) > 20
  assert same > 0.9
  assert other < 0.5


def test_the_formants_are_where_they_should_be():
  """The resonators and the recorder's zero: a peak near each of F1 to F3."""
  for name in "aeiou":
    hertz, response = signal.freqz(
      [1.0, 1.0], tones._poles(name, RATE, 1.0), 4096, fs=RATE
    )
    decibels = 20 * np.log10(np.abs(response))
    peaks = hertz[signal.find_peaks(decibels)[0]]
    for formant in tones._FORMANTS[name]:
      assert np.abs(peaks / formant - 1).min() < 0.04, (name, formant)


def test_pitch_is_given_for_each_site():
  for encoding, sites in (("mu_law", 1), ("coarse_fine", 2)):
    data, x_BLC, _, y = drawn(
      40, length=64 * sites, encoding=encoding, aligned=True
    )
    pitch_BL1 = y["pitch"]
    assert data.spec.conditions["pitch"] == ("aligned", None, (64 * sites, 1))
    assert pitch_BL1.shape == x_BLC.shape
    assert pitch_BL1.dtype == np.float32
    assert (pitch_BL1[:, ::sites] == pitch_BL1[:, sites - 1 :: sites]).all()
    voiced = (pitch_BL1 > 0).all(1)[:, 0]
    assert ((pitch_BL1[voiced] > 0.7) & (pitch_BL1[voiced] < 4.1)).all()
    assert (pitch_BL1[~voiced] == 0).all()
    assert 2 < (~voiced).sum() < 15
    pluck = y["label"] == 0
    assert voiced[pluck].all()


def test_a_long_string_is_plucked_again():
  wave_T, hertz_T = tones.pluck(np.random.default_rng(0), 2 * RATE, RATE)
  onsets = np.flatnonzero(np.diff(hertz_T)) + 1
  gaps = np.diff([0, *onsets, 2 * RATE])
  assert (gaps[:-1] > 0.24 * RATE).all()
  assert (gaps < 0.51 * RATE).all()
  assert np.abs(wave_T).max() < 0.9


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(classes=("pluk",)), "'pluk'; nearest: pluck"),
    (dict(classes=()), "name one or more"),
    (dict(classes=("a", "a")), "each once"),
    (dict(rate=4000), "rate is 4000; allowed: an integer >= 6,000"),
    (dict(train_size=0), "train_size is 0"),
    (dict(length=7, encoding="coarse_fine"), "multiple of 2"),
  ],
)
def test_wrong_arguments_of_tones_are_named(changes, message):
  with pytest.raises(errors.UsageError, match=message):
    tones.make(**dict(length=8, train_size=2, valid_size=2) | changes)


@pytest.mark.parametrize("levels", [2, 1000])
def test_other_numbers_of_levels(levels, tmp_path):
  path = write(tmp_path / "a.wav", (300 * pcm_of(100)).astype(np.int16))
  for data in (
    made(path, encoding="mu_law", levels=levels, split="0.5/0.5"),
    tones.make(length=16, train_size=6, valid_size=4, levels=levels),
  ):
    contract.dataset_keeps(data)
    assert data.spec.num_values == levels
    x_BLC, _, _ = data.splits["train"].get(np.arange(6))
    assert x_BLC.max() > levels * 0.5 - 1
