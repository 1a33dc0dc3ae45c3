"""Piano rolls: two forms of the same roll, what is scored, and MIDI."""

import json
import pathlib

import matplotlib.image
import numpy as np
import pytest
import scipy.io

from ar_jax import errors, registry
from ar_jax.datasets import piano_roll
from ar_jax.media import roll

FORMS = ("keys", "events")
NOTES = ("ascending", "descending", "random")
FILLS = dict(unscored=0, scored=1)
FRAMES = dict(traindata=(9, 2, 5), validdata=(7, 1, 4), testdata=(6,))


def _roll(rng, frames, keys=88, density=0.1):
  """With an empty frame and a full one, where there is room."""
  roll_FK = (rng.random((frames, keys)) < density).astype(np.uint8)
  roll_FK[1:2] = 0
  roll_FK[3:4] = 1
  return roll_FK


def _cells(rolls):
  cells = np.empty((1, len(rolls)), object)
  cells[0, :] = rolls
  return cells


@pytest.fixture(scope="module")
def rolls():
  """{key: rolls of a file}, of 6 keys."""
  rng = np.random.default_rng(0)
  return {k: [_roll(rng, f, 6, 0.3) for f in n] for k, n in FRAMES.items()}


@pytest.fixture(scope="module")
def path(rolls, tmp_path_factory):
  file = tmp_path_factory.mktemp("rolls") / "rolls.mat"
  scipy.io.savemat(file, {k: _cells(r) for k, r in rolls.items()})
  return str(file)


def _make(path, **changes):
  section = dict(name="piano_roll", path=path, length=4, stride=2)
  return registry.build("datasets", section | changes)


def _all(split):
  return split.get(np.arange(split.size))


# The two forms.


@pytest.mark.parametrize("notes", NOTES)
@pytest.mark.parametrize("form", FORMS)
def test_a_roll_comes_back_exactly(form, notes):
  rng = np.random.default_rng(1)
  order = piano_roll._order(notes, 3, 88)
  media = dict(kind="roll", form=form, notes=notes, order=order, lowest=21)
  for frames in (0, 1, 2, 30):
    roll_FK = _roll(rng, frames)
    x_L = roll.encode(media, roll_FK)
    assert x_L.dtype == np.int32
    decoded = roll.decode(media, x_L[:, None])
    np.testing.assert_array_equal(decoded, roll_FK)
    assert decoded.shape == roll_FK.shape


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_notes_is_that_of_the_sites(form):
  frame = np.array([[1, 0, 1, 1]])
  written = {
    (0, 1, 2, 3): dict(keys=[1, 0, 1, 1], events=[0, 2, 3, 4]),
    (3, 2, 1, 0): dict(keys=[1, 1, 0, 1], events=[3, 2, 0, 4]),
    (2, 0, 3, 1): dict(keys=[1, 1, 1, 0], events=[2, 0, 3, 4]),
  }
  for order, wanted in written.items():
    media = dict(form=form, order=list(order))
    assert roll.encode(media, frame).tolist() == wanted[form]


def test_the_named_orders():
  assert piano_roll._order("ascending", 0, 4) == [0, 1, 2, 3]
  assert piano_roll._order("descending", 0, 4) == [3, 2, 1, 0]
  drawn = [piano_roll._order("random", seed, 88) for seed in (0, 0, 1)]
  assert drawn[0] == drawn[1] != drawn[2]
  assert sorted(drawn[0]) == list(range(88))


def test_a_roll_has_one_string_of_events_but_any_string_is_a_roll():
  media = dict(form="events", order=[0, 1, 2])
  decoded = roll.decode(media, [2, 0, 2, 3, 3, 1])  # 1: its frame has no end
  assert decoded.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
  assert roll.encode(media, decoded).tolist() == [0, 2, 3, 3, 1, 3]
  media = dict(form="keys", order=[1, 0])
  assert roll.decode(media, [1, 0, 1]).tolist() == [[0, 1], [0, 1]]


# The data set.


def _windows_of(made, form, name):
  """(x_BTC, weight_BT) of a split, in rows: frames of keys, or tokens."""
  width = made.spec.shape[1] if form == "keys" else 1
  x_BLC, weight_BL, _ = _all(made.splits[name])
  x_BTC = x_BLC.reshape(len(x_BLC), -1, width)
  weight_BTC = weight_BL.reshape(x_BTC.shape)
  assert (weight_BTC == weight_BTC[..., :1]).all()
  return x_BTC, weight_BTC[..., 0]


@pytest.mark.parametrize("notes", NOTES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
  ("length", "stride"), [(4, 2), (5, 5), (30, 7), (1, 1)]
)
def test_each_frame_is_scored_once(rolls, path, form, notes, length, stride):
  made = _make(path, form=form, notes=notes, length=length, stride=stride)
  assert made.spec.num_values == (2 if form == "keys" else 7)
  for name, key in dict(valid="validdata", test="testdata").items():
    x_BTC, weight_BT = _windows_of(made, form, name)
    assert set(np.unique(weight_BT)) <= {0, 1}
    # In order, what is scored is the pieces: no site is lost, or comes twice.
    scored = x_BTC[weight_BT == 1].reshape(-1)
    wanted = [roll.encode(made.media, r) for r in rolls[key]]
    np.testing.assert_array_equal(scored, np.concatenate(wanted))
    frames = sum(FRAMES[key])
    assert made.splits[name].units == dict(frame=frames)
    # What comes before, in a window, is what came before in its piece.
    before = 0
    for x_TC, weight_T in zip(x_BTC, weight_BT, strict=True):
      first = int(weight_T.argmax())
      assert (weight_T[:first] == 0).all()
      flat = np.concatenate(wanted).reshape(-1, x_TC.shape[1])
      np.testing.assert_array_equal(x_TC[:first], flat[before - first : before])
      before += int(weight_T.sum())


@pytest.mark.parametrize("form", FORMS)
def test_training_items_are_all_windows_of_all_pieces(rolls, path, form):
  made = _make(path, form=form, length=4)
  x_BTC, weight_BT = _windows_of(made, form, "train")
  wanted, frames = [], 0
  for roll_FK in rolls["traindata"]:
    row_TC = roll.encode(made.media, roll_FK).reshape(-1, x_BTC.shape[2])
    for start in range(max(1, len(row_TC) - 3)):
      wanted.append(row_TC[start : start + 4])
      ends = wanted[-1] == 6 if form == "events" else wanted[-1][:, :1] >= 0
      frames += int(ends.sum())
  assert len(wanted) == len(x_BTC)
  for x_TC, weight_T, row_TC in zip(x_BTC, weight_BT, wanted, strict=True):
    assert weight_T.tolist() == [1] * len(row_TC) + [0] * (4 - len(row_TC))
    np.testing.assert_array_equal(x_TC[: len(row_TC)], row_TC)
  assert made.splits["train"].units == dict(frame=frames)


@pytest.mark.parametrize("form", FORMS)
def test_the_fill_is_silence_and_scored_where_it_is_asked_for(path, form):
  made = {f: _make(path, form=form, length=50, fill=f) for f in FILLS}
  for fill, weight in FILLS.items():
    media, split = made[fill].media, made[fill].splits["valid"]
    assert media["fill"] == fill
    x_BTC, weight_BT = _windows_of(made[fill], form, "valid")
    assert (weight_BT[:, -1] == weight).all()
    for x_TC, frames in zip(x_BTC, FRAMES["validdata"], strict=True):
      assert not roll.decode(media, x_TC)[frames:].any()
    assert split.units == dict(frame=sum(FRAMES["validdata"]))
  protocols = {m.splits["valid"].protocol for m in made.values()}
  assert len(protocols) == 2


@pytest.mark.parametrize("form", FORMS)
def test_transposed_pieces_lose_no_note(tmp_path, form):
  high = np.array([[0, 0, 1, 0, 1, 0]])  # two to the left, one to the right
  low = np.array([[0, 1, 1, 0, 0, 0]])  # one to the left, three to the right
  empty = np.zeros((1, 6))
  file = tmp_path / "rolls.mat"
  train, valid = _cells([high, low, empty]), _cells([low])
  scipy.io.savemat(file, dict(traindata=train, validdata=valid))
  made = _make(str(file), form=form, length=7, stride=1, transpose=2)
  media = made.media
  found = [roll.decode(media, x)[0] for x in _all(made.splits["train"])[0]]
  found = ["".join(map(str, row_K)) for row_K in found]
  assert sorted(f for f in found if "1" in f) == sorted(
    ["101000", "010100", "001010", "000101"]
    + ["110000", "011000", "001100", "000110"]
  )
  assert made.splits["valid"].size == 1
  assert roll.decode(media, _all(made.splits["valid"])[0])[0].tolist() == (
    low[0].tolist()
  )


def test_the_same_rolls_have_one_fingerprint(path):
  forms = [_make(path, form=form).splits for form in FORMS]
  forms.append(_make(path, length=9, notes="random", transpose=1).splits)
  for name in ("train", "valid", "test"):
    assert len({splits[name].fingerprint for splits in forms}) == 1
  assert len({s.fingerprint for s in forms[0].values()}) == 3


def test_the_tiny_file_is_small_and_whole():
  assert piano_roll._FILE.stat().st_size < 4096
  made = _make(str(piano_roll._FILE))
  assert list(made.splits) == ["train", "valid", "test"]
  assert made.spec.num_values == 89


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(form="midi"), "form 'midi' is none of keys, events"),
    (dict(notes="up"), "notes 'up' is none of ascending, descending, random"),
    (dict(fill="maybe"), "fill 'maybe' is none of"),
    (dict(stride=5), r"stride 5 must be in 1\.\.4"),
    (dict(stride=0), r"stride 0 must be in 1\.\.4"),
    (dict(transpose=-1), "transpose -1 must be 0 or more"),
    (dict(path=""), "--config.data.path=FILE.mat"),
  ],
)
def test_wrong_arguments_are_named(path, changes, message):
  with pytest.raises(errors.UsageError, match=message):
    _make(**(dict(path=path) | changes))


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (dict(traindata=_cells([np.eye(3)])), "has no validdata; it has traindata"),
    (dict(validdata=[[2]], traindata=[[1]]), "traindata, piece 0 is no roll"),
    (
      dict(traindata=_cells([np.eye(3), 2 * np.eye(3)]), validdata=[[1]]),
      "traindata, piece 1 is no roll .* of 0 and 1",
    ),
    (
      dict(traindata=_cells([np.eye(3)]), validdata=_cells([np.eye(4)])),
      "rolls of 3, 4 keys",
    ),
    (
      dict(traindata=_cells([np.eye(3)]), validdata=_cells([np.zeros((0, 3))])),
      "validdata holds no frame",
    ),
    (b"no MATLAB file, but of some length" * 9, "cannot be read as a MATLAB"),
  ],
)
def test_other_files_are_refused(tmp_path, content, message):
  file = tmp_path / "other.mat"
  if isinstance(content, bytes):
    file.write_bytes(content)
  else:
    scipy.io.savemat(file, content)
  with pytest.raises(errors.DataError, match=message):
    _make(str(file))


# MIDI and the picture.


def _parse(raw, frame_ticks=480, lowest=21, keys=88):
  """The roll of a MIDI file: each note from its on to its off."""
  assert raw[:4] == b"MThd"
  header = np.frombuffer(raw[4:14], ">u2").tolist()
  assert header == [0, 6, 0, 1, frame_ticks]
  assert raw[14:18] == b"MTrk"
  track = raw[22:]
  assert int.from_bytes(raw[18:22], "big") == len(track)
  at = tick = 0
  notes, sounding, tempo = [], {}, None
  while True:
    delta = 0
    while True:
      byte, at = track[at], at + 1
      delta = delta * 128 + byte % 128
      if byte < 128:
        break
    tick += delta
    status = track[at]
    if status == 0xFF:
      kind, size = track[at + 1 : at + 3]
      content, at = track[at + 3 : at + 3 + size], at + 3 + size
      if kind == 0x2F:
        break
      assert kind == 0x51
      tempo = int.from_bytes(content, "big")
      continue
    pitch, velocity = track[at + 1 : at + 3]
    at += 3
    if status == 0x90:
      assert velocity == 80
      assert pitch not in sounding
      sounding[pitch] = tick
    else:
      assert status == 0x80
      notes.append((pitch, sounding.pop(pitch), tick))
  assert at == len(track)
  assert not sounding
  assert tempo == 500_000
  roll_FK = np.zeros((tick // frame_ticks, keys), np.uint8)
  for pitch, on, off in notes:
    assert on % frame_ticks == off % frame_ticks == 0
    roll_FK[on // frame_ticks : off // frame_ticks, pitch - lowest] = 1
  return roll_FK, notes


@pytest.mark.parametrize("frames", [0, 1, 40])
def test_midi_is_read_as_the_same_roll(frames):
  roll_FK = _roll(np.random.default_rng(frames), frames)
  roll_FK[-3:-1] = 0  # and a silence of many ticks before the last
  np.testing.assert_array_equal(_parse(roll.midi(roll_FK, 21))[0], roll_FK)
  silent = np.zeros((300, 88), np.uint8)
  assert _parse(roll.midi(silent, 21))[0].shape == silent.shape


def test_a_held_key_is_one_note():
  roll_FK = np.array([[1, 0], [1, 1], [1, 1], [0, 0], [1, 0]], np.uint8)
  _, notes = _parse(roll.midi(roll_FK, 21), keys=2)
  frames = [(p - 21, on // 480, off // 480) for p, on, off in notes]
  assert sorted(frames) == [(0, 0, 3), (0, 4, 5), (1, 1, 3)]


@pytest.mark.parametrize("form", FORMS)
def test_an_item_is_saved_as_midi_and_as_a_picture(path, form, tmp_path):
  made = _make(path, form=form, notes="random", length=5, stride=1)
  media = json.loads(json.dumps(made.media))
  for row, x_LC in enumerate(made.splits["valid"].get(np.arange(2))[0]):
    paths = roll.save(media, x_LC, tmp_path, f"item{row}")
    assert paths == [tmp_path / f"item{row}.mid", tmp_path / f"item{row}.png"]
    read, _ = _parse(paths[0].read_bytes(), keys=6)
    np.testing.assert_array_equal(read, roll.decode(media, x_LC))
    assert matplotlib.image.imread(paths[1]).std() > 0
    assert isinstance(paths[0], pathlib.Path)


def test_silence_has_a_picture_too(tmp_path):
  media = dict(
    form="events", order=list(range(88)), lowest=21, source=r"a $\b_{$"
  )
  for x_L in ([88], [88, 88], []):
    _, picture = roll.save(media, np.array(x_L, int), tmp_path, "silence")
    assert picture.stat().st_size
