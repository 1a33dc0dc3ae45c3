"""Cells of a study, frozen in a directory, run once each."""

import json
import shutil

import numpy as np
import pytest
import tiny_data
import tiny_run

from ar_jax import __main__ as program
from ar_jax import claims as claiming
from ar_jax import errors, sweep

_STUDY = """
SEEDS = {seeds}
OVERRIDES = {overrides}


def sweep():
  return [
    dict(OVERRIDES, config={config!r}, seed=seed, tags=dict(n=n))
    for n, seed in enumerate(SEEDS)
  ]


def report(rows, folder):
  said = [
    f"{{r['cell']['seed']}} {{r['step']}} {{r['model']['nats_per_site']!r}}"
    for r in rows
  ]
  (folder / "said").write_text("\\n".join(said))
  return []
"""
OVERRIDES = tiny_run.OVERRIDES | {
  "train.steps": 2,
  "train.eval_every": 2,
  "train.accumulate": 1,
  "train.keep": 1,
}


def write(path, seeds, config=tiny_run.CONFIG, **overrides):
  """A study of tiny runs."""
  path.write_text(
    _STUDY.format(
      seeds=list(seeds), overrides=OVERRIDES | overrides, config=config
    )
  )
  return str(path)


def submitted(study, folder):
  """Its cells, frozen in a folder."""
  _, cells = sweep.study(study)
  cells = sweep.checked(cells)
  sweep.submit(folder, study, cells)
  return cells


def attempts(folder):
  """{cell: attempts}."""
  claims = claiming.Claims(folder)
  return {c.id: claims.state(c.id).attempts for c in sweep.load(folder)}


@pytest.fixture(autouse=True)
def _root(monkeypatch):
  monkeypatch.chdir(tiny_data.ROOT)


def test_a_cell_is_known_by_its_resolved_config(tmp_path):
  study = write(tmp_path / "a.py", (0, 1, 0))
  first = submitted(study, tmp_path)
  assert [c.id for c in first] == [first[0].id, first[1].id, first[0].id]
  assert first[0].id != first[1].id
  assert first[1].name == "seed=1"
  other = write(tmp_path / "b.py", (0,), **{"train.steps": 3})
  assert submitted(other, tmp_path)[0].id != first[0].id
  arg = write(
    tmp_path / "c.py", (0,), config="configs/markov_gpt.py:ordering=raster,tiny"
  )
  assert submitted(arg, tmp_path)[0].id == first[0].id


def test_configs_are_frozen_when_they_are_submitted(tmp_path):
  config = tmp_path / "markov.py"
  source = tiny_data.ROOT / "configs" / "markov_gpt.py"
  shutil.copy(source, config)
  study = write(tmp_path / "a.py", (0,), config=f"{config}:tiny")
  (cell,) = submitted(study, tmp_path)
  config.write_text("raise SystemExit")
  (study_cell,) = sweep.load(tmp_path)
  assert study_cell.config.to_dict() == cell.config.to_dict()
  file = tmp_path / "cells" / f"{cell.id}.json"
  file.write_text(file.read_text().replace('"steps": 2', '"steps": 3'))
  with pytest.raises(errors.DataError, match="not as it was submitted"):
    sweep.load(tmp_path)


def test_all_that_is_wrong_is_said_before_anything_starts(tmp_path, capsys):
  study = tmp_path / "a.py"
  cells = [
    dict(config=tiny_run.CONFIG),
    dict(config="configs/none.py"),
    {"config": tiny_run.CONFIG, "train.stepz": 3},
    {"config": tiny_run.CONFIG, "model.heads": 3},
    dict(config=tiny_run.CONFIG, split="tset"),
    {"config": tiny_run.CONFIG, "train.batch_size": 0},
    dict(seed=3),
  ]
  study.write_text(
    f"def sweep():\n  return {cells!r}\n\ndef report(rows, folder):\n  ..."
  )
  folder = tmp_path / "runs"
  assert program.main(["sweep", str(study), f"--workdir={folder}"]) == 2
  said = capsys.readouterr().err
  assert "6 of 7 cells cannot be run:" in said
  for n, what in {
    2: "no file configs/none.py",
    3: "no key 'train.stepz'; nearest: train.steps",
    4: "heads",
    5: "no split 'tset'; there are: ",
    6: "config.train.batch_size 0 must be",
    7: "a cell needs a config",
  }.items():
    (line,) = (x for x in said.splitlines() if x.startswith(f"  cell {n} ("))
    assert what in line
  assert not folder.exists()


def test_one_run_cannot_be_scored_in_two_ways():
  cells = [
    dict(config=tiny_run.CONFIG),
    dict(config=tiny_run.CONFIG, split="train"),
  ]
  with pytest.raises(errors.UsageError, match="cells 1 and 2 are one run"):
    sweep.checked(cells)


def test_a_sweep_runs_what_is_missing_and_reports(tmp_path, capsys):
  """An extended grid only its new points; scores that changed anew."""
  folder = tmp_path / "runs"
  study = write(tmp_path / "a.py", (0,))
  argv = ["sweep", study, f"--workdir={folder}"]
  assert program.main(argv) == 0
  said = (folder / "said").read_text().splitlines()
  assert [line.split()[:2] for line in said] == [["0", "2"]]
  assert set(attempts(folder).values()) == {1}
  write(tmp_path / "a.py", (2, 0, 2))
  capsys.readouterr()
  assert program.main(argv) == 0
  assert capsys.readouterr().out.count("run ") == 1
  first, *same, last = (folder / "said").read_text().splitlines()
  assert same == said
  assert first == last
  assert list(attempts(folder).values()) == [1, 1]
  cell = sweep.load(folder)[1]
  result = sweep.workdir(folder, cell) / "reports" / "evaluation.json"
  result.write_text(result.read_text().replace('"step": 2', '"step": 1'))
  assert program.main(argv) == 0
  assert (folder / "said").read_text().splitlines() == [first, *said, first]
  assert list(attempts(folder).values()) == [1, 2]


@pytest.mark.slow
def test_a_run_that_fails_is_listed_and_not_tried_again(tmp_path, capsys):
  study = write(tmp_path / "a.py", (0,), **{"optimizer.lr": 1e30})
  text = (tmp_path / "a.py").read_text()
  (tmp_path / "a.py").write_text(
    text.replace(
      "]\n\n\ndef report",
      '] + [dict(OVERRIDES, **{"config": '
      f"{tiny_run.CONFIG!r}"
      ', "optimizer.lr": 1e-3})]\n\n\ndef report',
    )
  )
  folder = tmp_path / "runs"
  argv = ["sweep", study, f"--workdir={folder}"]
  for _ in range(2):
    assert program.main(argv) == 4
    out, err = capsys.readouterr()
    assert "1 of 2 runs failed" in err
    assert "exit 4" in out
    assert list(attempts(folder).values()) == [1, 1]
  assert program.main(["sweep", "retry", str(folder)]) == 0
  assert program.main(argv) == 4
  assert list(attempts(folder).values()) == [2, 1]
  assert not (folder / "said").exists()


def test_print_gives_a_command_for_each_missing_run(tmp_path, capsys):
  folder = tmp_path / "runs"
  study = write(tmp_path / "a.py", (0, 1))
  argv = ["sweep", study, f"--workdir={folder}", "--on=print"]
  assert program.main(argv) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2
  argv_1 = lines[1].split()[3:]
  assert argv_1[:3] == ["sweep", "work", str(folder)]
  assert program.main(argv_1) == 0
  capsys.readouterr()
  assert program.main(argv) == 0
  assert capsys.readouterr().out.splitlines() == lines[:1]


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    (["stats", "runs"], "is none of status, cancel, retry"),
    (["status"], "which sweep"),
    (["experiments/text_order.py"], "--workdir=DIR is missing"),
    (["experiments/text_order.py", "--workdir=x", "--parallel=0"], "1 or more"),
    (
      ["experiments/text_order.py", "--workdir=x", "--on=slurm", "--slurm=a"],
      "is no KEY=VALUE",
    ),
  ],
)
def test_wrong_commands_are_refused(argv, message, capsys, monkeypatch):
  assert program.main(["sweep", *argv]) == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["status", "cancel", "retry", "work"])
def test_a_folder_without_a_sweep_is_named(verb, tmp_path, capsys):
  assert program.main(["sweep", verb, str(tmp_path)]) == 3
  assert "holds no sweep" in capsys.readouterr().err


def test_status_shows_each_cell(tmp_path, capsys):
  folder = tmp_path / "runs"
  cells = submitted(write(tmp_path / "a.py", (0, 1, 2, 3)), folder)
  claims = claiming.Claims(folder)
  claims.claim(cells[1].id).says(step=1)
  claims.claim(cells[2].id).end(4, "no number")
  claims.claim(cells[3].id).end(0)
  assert program.main(["sweep", "status", str(folder)]) == 0
  out = capsys.readouterr().out
  for part in ("1 done, 1 failed, 1 running, 1 waiting", "exit 4: no number"):
    assert part in out
  before = json.loads((folder / "sweep.json").read_text())
  assert [c["name"] for c in before["cells"]] == [f"seed={n}" for n in range(4)]
  assert np.unique([c.id for c in cells]).size == 4
