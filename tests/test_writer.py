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


def _fake_wandb(monkeypatch, log):
  """A module of the name `wandb` that notes what it is told."""
  told = []
  run = types.SimpleNamespace(
    define_metric=lambda *a, **k: told.append(("metric", a, k)),
    log=log or (lambda values: told.append(("log", values))),
    finish=lambda: told.append(("finish",)),
  )
  module = types.ModuleType("wandb")
  module.Settings = dict
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
