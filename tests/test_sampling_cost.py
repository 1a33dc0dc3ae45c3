"""The study of sampling: its cells, and its page from figures by hand."""

import json

import pytest
import tiny_data

from ar_jax import config as configs
from ar_jax import sweep

STUDY = tiny_data.ROOT / "experiments" / "sampling_cost.py"


@pytest.fixture(scope="module")
def study():
  return configs.load_module(STUDY)


def test_every_cell_is_a_config_of_every_network(study, monkeypatch):
  monkeypatch.chdir(tiny_data.ROOT)
  cells = study.sweep()
  for cell in cells[:: len(study.NETWORKS) // 5]:
    overrides = {k: v for k, v in cell.items() if k not in ("config", "tags")}
    config = configs.load(cell["config"], overrides.items())
    assert config.data.shape == (cell["tags"]["size"],) * 2
  assert len(cells) == 3 * len(study.NETWORKS)
  models = {p.stem for p in (tiny_data.ROOT / "ar_jax/models").glob("*.py")}
  every = {configs.load(c["config"], []).model.name for c in cells[:10]}
  assert every == models - {"__init__"}


def _batch(batch, length, rate, **beside):
  others = {
    name: dict(samples_per_s=r, passes=passes)
    for name, (r, passes) in beside.items()
  }
  return dict(
    batch=batch,
    length=length,
    samples_per_s=rate,
    naive_samples_per_s=rate / 40,
    beside=others,
  )


def _rows(study, folder, schedule):
  """Two networks of one size, measured by hand."""
  cells = [
    c for c in study.sweep("tiny") if c["tags"]["network"] in ("gpt", "ardm")
  ]
  beside = dict(jacobi=(4000.0, 5), speculative=(1000.0, 12))
  kept = (
    dict(
      batches=[_batch(16, 16, 2000.0, **beside)],
      levels=16,
      same=dict(jacobi=0.75),
      schedules=[],
    ),
    dict(
      batches=[_batch(16, 16, 500.0)], levels=16, same={}, schedules=schedule
    ),
  )
  rows = []
  for cell, figures in zip(cells, kept, strict=True):
    workdir = folder / cell["tags"]["network"]
    (workdir / "reports").mkdir(parents=True)
    (workdir / "reports" / "sampling.json").write_text(json.dumps(figures))
    rows.append(dict(cell=cell, workdir=workdir))
  return rows


def test_the_page_says_what_was_measured(study, tmp_path):
  schedule = [dict(passes=8, seconds=0.1, gap=0.5, gap_error=0.02)]
  tables = study.report(_rows(study, tmp_path, schedule), tmp_path)
  assert len(tables) == 3
  page = (tmp_path / "sampling_cost.md").read_text()
  # 256 values of a batch at 2,000 and 50 a second; 4,000 is twice as fast.
  line = "| GPT | 5,120.0 | 128.0 | 40 | - | 2.00 (5) | 0.50 (12) |"
  assert line in page
  assert "| ARDM | 20,480.0 | 512.0 | 40 | - | - | - |" in page
  assert "| GPT | - | 5 | 12 |" in page
  assert "| 16 | 8 | 100.0 | 0.500 | 0.020 |" in page
  assert "| 16 | 16 | 512.0 | 0 | exact |" in page
  assert "Jacobi of GPT 75%" in page
  for name in ("lengths", "passes"):
    picture = tmp_path / f"sampling_cost_{name}.png"
    assert picture.stat().st_size > 10_000


@pytest.mark.slow
def test_a_run_is_measured_once(study, tmp_path, monkeypatch):
  from ar_jax import __main__ as program

  monkeypatch.chdir(tiny_data.ROOT)
  two = [
    c for c in study.sweep("tiny") if c["tags"]["network"] in ("made", "ardm")
  ]
  file = tmp_path / "two.py"
  text = STUDY.read_text()
  file.write_text(text + f"\n\ndef sweep(arg=None):\n  return {two!r}\n")
  assert program.main(["sweep", str(file), f"--workdir={tmp_path}"]) == 0
  ardm = sweep.workdir(tmp_path, sweep.load(tmp_path)[1])
  path = ardm / "reports" / "sampling.json"
  figures = json.loads(path.read_text())
  (one,) = figures["batches"]
  assert one["beside"]["jacobi"]["passes"] <= 16
  assert figures["same"]["jacobi"] == 1
  assert figures["schedules"][0]["passes"] == 8
  assert figures["schedules"][0]["gap"] > -0.2
  before = path.stat().st_mtime_ns
  assert program.main(["sweep", str(file), f"--workdir={tmp_path}"]) == 0
  assert path.stat().st_mtime_ns == before
