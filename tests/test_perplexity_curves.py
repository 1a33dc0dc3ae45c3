"""The study of perplexity curves: its cells, and its figures by hand."""

import json

import numpy as np
import pytest
import tiny_data

from ar_jax import __main__ as program
from ar_jax import config as configs
from ar_jax import sweep, writer

STUDY = tiny_data.ROOT / "experiments" / "perplexity_curves.py"


@pytest.fixture
def study(monkeypatch):
  monkeypatch.chdir(tiny_data.ROOT)
  return configs.load_module(STUDY)


def test_every_cell_is_a_config(study):
  cells = study.sweep("path=input.txt,seeds=2,steps=50")
  assert len(cells) == 2 * len(study.NETWORKS)
  for cell in cells:
    own = ("config", "tags")
    changes = {k: v for k, v in cell.items() if k not in own}
    config = configs.load(cell["config"], changes.items())
    assert config.train.steps == 50
    assert config.data.path == "input.txt"
  assert study.sweep()[0]["config"].endswith("data=python_docs")


def test_the_band_is_students_interval_over_seeds(study):
  nats_ST = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0]])
  mean_T, half_T = study.interval(nats_ST)
  np.testing.assert_allclose(mean_T, [2, 2])
  np.testing.assert_allclose(half_T, [4.302652729911275 / 3**0.5, 0])
  alone = study.interval(nats_ST[:1])
  np.testing.assert_array_equal(alone[0], nats_ST[0])
  assert np.isnan(alone[1]).all()


@pytest.mark.slow
def test_points_are_those_of_the_runs(study, tmp_path, capsys):
  folder = tmp_path / "runs"
  argv = ["sweep", f"{STUDY}:tiny,seeds=2", f"--workdir={folder}"]
  assert program.main([*argv, "--vmap=seed"]) == 0
  out = capsys.readouterr().out
  assert "x as fast" in out
  assert "modern, with Muon" in out
  cells = sweep.load(folder)
  rows = [dict(workdir=sweep.workdir(folder, cell)) for cell in cells[:2]]
  found = study.curve(rows)
  for n, row in enumerate(rows):
    lines = writer.read(row["workdir"])
    valid = [x for x in lines if x["kind"] == "valid"]
    np.testing.assert_array_equal(
      found["valid_ST"][n], [x["nats_per_site"] for x in valid]
    )
    np.testing.assert_array_equal(found["step"], [x["step"] for x in valid])
  config = cells[0].config
  sites = config.train.batch_size * config.data.length
  np.testing.assert_array_equal(found["tokens"], found["step"] * sites)
  each = [
    np.median([x["sites_per_second"] for x in lines if x["kind"] == "train"])
    for lines in (writer.read(row["workdir"]) for row in rows)
  ]
  seconds = np.mean([found["step"] * sites / rate for rate in each], 0)
  np.testing.assert_allclose(found["seconds"], seconds)
  page = (folder / "perplexity_curves.md").read_text()
  text = (rows[0]["workdir"] / "reports" / "evaluation.json").read_text()
  bits = json.loads(text)["baselines"]["5-gram"]["bits_per_byte"]
  (line,) = [x for x in page.splitlines() if x.startswith("| 5-gram |")]
  assert line.split(" | ")[5] == f"{bits:.4f}"
  assert "published" not in page  # another text, other sizes
  for kind in ("png", "svg"):
    picture = folder / f"perplexity_curves.{kind}"
    assert picture.stat().st_size > 20_000
