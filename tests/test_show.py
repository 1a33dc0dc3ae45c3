"""What commands print: samples, and the progress of a run."""

import numpy as np

from ar_jax.commands import _show


def test_a_sample_of_nothing_says_so(capsys):
  nothing = np.zeros(0).sum()
  _show.sample(3, "the prompt", nothing, nothing, 0, 0)
  out = capsys.readouterr().out
  assert "sample 3: nothing to draw" in out
  assert "the prompt" in out
  assert "nan" not in out


def test_the_rate_shown_is_of_training_alone(monkeypatch, capsys):
  clock = [0.0]
  monkeypatch.setattr(_show.time, "perf_counter", lambda: clock[0])
  about = dict(model="m", params=1, ordering="o", data="d", items=1, steps=50)
  about |= dict(sites_per_step=10, flops_per_step=1, devices="1", memory=None)
  report = dict(split="valid", nats_per_site=1, sites=1, protocol="items")
  view = _show.Progress(50).view
  view.started(dict(about, step=0))
  for step in range(1, 20):  # a step takes a second
    view.stepped(step, dict(nats=1.0, weight=1))
    clock[0] += 1
    if step == 9:
      view.scored(step, dict(report, estimator="exact"))
      clock[0] += 1000
  lines = capsys.readouterr().out.splitlines()
  told = [line.split()[1:] for line in lines if line.startswith("step")]
  assert told[0] == ["1/50", "loss", "1.0000", "nats"]
  assert told[1][:1] + told[1][4:] == [
    "7/50",
    "10",
    "tokens/s",
    "43",
    "s",
    "left",
  ]
  after = [line for line in told if line[0] in ("11/50", "17/50")]
  assert [line[4:] for line in after] == [
    ["10", "tokens/s", "39", "s", "left"],
    ["10", "tokens/s", "33", "s", "left"],
  ]
