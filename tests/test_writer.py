"""metrics.jsonl is always written; a tracker that fails stops nothing."""

import json
import os
import sys
import types

import pytest

from ar_jax import errors, writer

LINES = [
  (1, dict(kind="train", nats_per_site=3.5, grad_norm=1.0)),
  (2, dict(kind="train", nats_per_site=3.0, grad_norm=2.0)),
  (2, dict(kind="valid", nats_per_site=3.25, split="valid")),
]


def _write(workdir, lines=LINES, **options):
  log = writer.Writer(workdir, **options)
  for step, values in lines:
    log.append(step, values)
  log.close()


def test_lines_come_back(tmp_path):
  _write(tmp_path)
  found = [
    {k: v for k, v in r.items() if k != "time"} for r in writer.read(tmp_path)
  ]
  assert found == [dict(step=step, **values) for step, values in LINES]


def test_a_resumed_run_drops_the_lines_it_writes_again(tmp_path):
  _write(tmp_path)
  file = tmp_path / "metrics.jsonl"
  whole = file.read_text()
  file.write_text(whole + '{"step": 3, "ti')  # torn by a kill
  _write(tmp_path, [], step=2)
  assert file.read_text() == whole
  _write(tmp_path, LINES[1:], step=1)
  assert [r["step"] for r in writer.read(tmp_path)] == [1, 2, 2]
  _write(tmp_path, [], step=0)
  assert file.read_text() == ""


def test_tensorboard_is_told_the_same_figures(tmp_path):
  pytest.importorskip("tensorboardX")
  warnings = []
  options = dict(trackers=("tensorboard",), warn=warnings.append)
  _write(tmp_path, **options)
  _write(tmp_path, [(3, LINES[1][1])], step=2, **options)
  assert not warnings
  assert _scalars(tmp_path / "tensorboard") == {
    ("train/nats_per_site", 1): 3.5,
    ("train/grad_norm", 1): 1.0,
    ("train/nats_per_site", 2): 3.0,
    ("train/grad_norm", 2): 2.0,
    ("valid/nats_per_site", 2): 3.25,
    ("train/nats_per_site", 3): 3.0,
    ("train/grad_norm", 3): 2.0,
  }


def _scalars(folder):
  """{(tag, step): value} of the event files, read by their format."""
  from tensorboardX.proto import event_pb2

  found = {}
  for file in sorted(folder.iterdir()):
    raw = file.read_bytes()
    while raw:
      size = int.from_bytes(raw[:8], "little")
      event = event_pb2.Event.FromString(raw[12 : 12 + size])
      for value in event.summary.value:
        found[value.tag, event.step] = value.simple_value
      raw = raw[16 + size :]
  return found


def _fake_wandb(monkeypatch, log, known=True):
  """A module of the name `wandb` that notes what it is told.

  known: whether it finds credentials.
  """
  told = []
  run = types.SimpleNamespace(
    define_metric=lambda *a, **k: told.append(("metric", a, k)),
    log=log or (lambda values: told.append(("log", values))),
    finish=lambda: told.append(("finish",)),
  )
  module = types.ModuleType("wandb")
  module.Settings = dict
  module.login = lambda prompt: known and not prompt
  module.init = lambda **k: (told.append(("init", k)), run)[1]
  monkeypatch.setitem(sys.modules, "wandb", module)
  return told


def test_wandb_goes_on_with_the_run_it_knows(tmp_path, monkeypatch):
  told = _fake_wandb(monkeypatch, None)
  options = dict(trackers=("wandb",), identity="abc", config=dict(seed=0))
  _write(tmp_path, LINES[:1], **options)
  (
    _,
    init,
  ) = told[0]
  assert (init["id"], init["resume"], init["config"]) == (
    "abc",
    "allow",
    dict(seed=0),
  )
  assert (
    "log",
    {"train/nats_per_site": 3.5, "train/grad_norm": 1.0, "step": 1},
  ) in told
  assert told[-1] == ("finish",)


def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(
  tmp_path, monkeypatch
):
  def broken(values):
    raise OSError("no space\nleft")

  told = _fake_wandb(monkeypatch, broken)
  warnings = []
  _write(tmp_path, trackers=("wandb",), warn=warnings.append)
  assert warnings == [
    "no more figures go to wandb: no space left; the run goes on"
  ]
  assert ("finish",) not in told
  assert len(writer.read(tmp_path)) == len(LINES)


def test_wandb_without_credentials_does_not_ask_for_them(tmp_path, monkeypatch):
  told = _fake_wandb(monkeypatch, None, known=False)
  warnings = []
  options = dict(trackers=("wandb",), warn=warnings.append)
  monkeypatch.delenv("WANDB_MODE", raising=False)
  _write(tmp_path, **options)
  assert not told
  assert len(warnings) == 1
  assert "run `wandb login`, or set WANDB_MODE=offline" in warnings[0]
  monkeypatch.setenv("WANDB_MODE", "offline")
  _write(tmp_path, **options)
  assert told[0][0] == "init"
  assert len(warnings) == 1


def test_a_tracker_that_exits_does_not_end_the_run(tmp_path, monkeypatch):
  def leave(values):
    raise SystemExit(1)

  _fake_wandb(monkeypatch, leave)
  warnings = []
  _write(tmp_path, trackers=("wandb",), warn=warnings.append)
  assert len(warnings) == 1
  assert len(writer.read(tmp_path)) == len(LINES)


def test_an_interrupt_is_not_taken_for_a_tracker_that_fails(
  tmp_path, monkeypatch
):
  def interrupted(values):
    raise KeyboardInterrupt

  _fake_wandb(monkeypatch, interrupted)
  with pytest.raises(KeyboardInterrupt):
    _write(tmp_path, trackers=("wandb",))


def test_one_tracker_may_be_named_without_a_tuple(tmp_path, monkeypatch):
  told = _fake_wandb(monkeypatch, None)
  for none in (None, ()):
    writer.check(none)
    _write(tmp_path, trackers=none)
  assert not told
  writer.check("wandb")
  _write(tmp_path, trackers="wandb")
  assert told[0][0] == "init"
  with pytest.raises(errors.UsageError, match="no tracker 'wandbb'"):
    writer.check("wandbb")


def test_figures_that_cannot_be_written_are_a_storage_error(
  tmp_path, monkeypatch
):
  log = writer.Writer(tmp_path)
  (tmp_path / "metrics.jsonl").mkdir()
  with pytest.raises(errors.StorageError, match=r"metrics\.jsonl: Is a dir"):
    log.append(*LINES[0])
  (tmp_path / "metrics.jsonl").rmdir()
  _write(tmp_path)

  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "replace", full)
  with pytest.raises(errors.StorageError, match=r"metrics\.jsonl: No space"):
    writer.Writer(tmp_path, step=1)


@pytest.mark.parametrize("bad", [b"{bad", b"", b"3", b"\xff\xfe", b"{}"])
def test_a_damaged_line_is_named(tmp_path, bad):
  _write(tmp_path)
  file = tmp_path / "metrics.jsonl"
  first, *others = file.read_bytes().split(b"\n")
  file.write_bytes(b"\n".join([first, bad, *others]))
  for use in (writer.read, writer.Writer):
    with pytest.raises(errors.DataError, match=r"metrics\.jsonl, line 2") as e:
      use(tmp_path)
    assert "\n" not in str(e.value)


def test_a_tracker_that_is_not_installed_is_said(tmp_path, monkeypatch):
  for name in ("wandb", "tensorboardX"):
    monkeypatch.setitem(sys.modules, name, None)
  warnings = []
  names = ("tensorboard", "wandb")
  _write(tmp_path, trackers=names, warn=warnings.append)
  assert len(warnings) == 2
  for name, warning in zip(names, warnings, strict=True):
    assert f"pip install 'ar_jax[{name}]'" in warning
  assert len(writer.read(tmp_path)) == len(LINES)


def test_an_unknown_tracker_is_named():
  with pytest.raises(errors.UsageError, match="nearest: tensorboard"):
    writer.check(("tensorbord",))


@pytest.mark.slow
def test_real_wandb_offline(tmp_path, monkeypatch):
  pytest.importorskip("wandb")
  monkeypatch.setenv("WANDB_MODE", "offline")
  monkeypatch.setenv("WANDB_SILENT", "true")
  warnings = []
  _write(tmp_path, trackers=("wandb",), identity="abc", warn=warnings.append)
  assert not warnings
  files = [f for _, _, names in os.walk(tmp_path) for f in names]
  assert any(f.endswith(".wandb") for f in files)
  assert json.loads((tmp_path / "metrics.jsonl").read_text().split("\n")[0])
