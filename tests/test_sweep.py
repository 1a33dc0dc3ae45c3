"""Cells of a study, frozen in a directory, run once each."""

import shlex
import shutil
import time

import pytest
import tiny_data
import tiny_run

from ar_jax import __main__ as program
from ar_jax import claims as claiming
from ar_jax import errors, fleet, sweep

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
    dict(config=tiny_run.CONFIG, checkpoint="bset"),
    {"config": tiny_run.CONFIG, "objective.name": "order_agnostic"},
    {"config": tiny_run.CONFIG, "train.trackers": ("tensorbord",)},
    {"config": "configs/ising.py:tiny,model=ardm", "model.width": 7},
  ]
  study.write_text(
    f"def sweep():\n  return {cells!r}\n\ndef report(rows, folder):\n  ..."
  )
  folder = tmp_path / "runs"
  assert program.main(["sweep", str(study), f"--workdir={folder}"]) == 2
  said = capsys.readouterr().err
  assert "10 of 11 cells cannot be run:" in said
  for n, what in {
    2: "no file configs/none.py",
    3: "no key 'train.stepz'; nearest: train.steps",
    4: "heads",
    5: "no split 'tset'; there are: ",
    6: "config.train.batch_size 0 must be",
    7: "a cell needs a config",
    8: "no checkpoint 'bset'; there are: last, best",
    9: "order_agnostic",
    10: "tensorb",
    11: "models.ardm: width 7 cannot hold positions of 1 axes",
  }.items():
    (line,) = (x for x in said.splitlines() if x.startswith(f"  cell {n} ("))
    assert what in line
  assert not folder.exists()


@pytest.mark.parametrize(
  ("code", "arg", "message"),
  [
    ("def sweep():\n  return [dict()]\n", ":tiny", "too many positional"),
    ("def sweep(arg):\n  return [dict()]\n", "", "missing a required"),
    ("def sweep():\n  return []\n", "", "gives no cells"),
    ("def sweep(arg):\n  raise ValueError('as x')\n", ":y", "as x"),
    ("", "", "is no study: it has no `sweep`"),
  ],
)
def test_a_study_that_is_none_is_refused(tmp_path, code, arg, message, capsys):
  study = tmp_path / "a.py"
  study.write_text(code + "def report(rows, folder):\n  ...\n")
  assert program.main(["sweep", f"{study}{arg}", f"--workdir={tmp_path}"]) == 2
  assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
  study = write(tmp_path / "a.py", (0,))
  (tmp_path / "file").write_text("")
  argv = ["sweep", study, f"--workdir={tmp_path / 'file'}"]
  assert program.main(argv) == 5
  assert "cannot write" in capsys.readouterr().err


def test_one_run_cannot_be_scored_in_two_ways():
  cells = [
    dict(config=tiny_run.CONFIG),
    dict(config=tiny_run.CONFIG, split="train"),
  ]
  with pytest.raises(errors.UsageError, match="cells 1 and 2 are one run"):
    sweep.checked(cells)
  cells[1] = dict(config=tiny_run.CONFIG, checkpoint="best")
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
  folder = tmp_path / "my runs"
  study = write(tmp_path / "a.py", (0, 1))
  argv = ["sweep", study, f"--workdir={folder}", "--on=print"]
  assert program.main(argv) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2
  argv_1 = shlex.split(lines[1])[3:]
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


def test_status_shows_each_cell(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(claiming, "_BEAT_SECONDS", 0.01)
  folder = tmp_path / "runs"
  cells = submitted(write(tmp_path / "a.py", (0, 1, 2, 3)), folder)
  claims = claiming.Claims(folder)
  with claims.claim(cells[1].id) as attempt:
    attempt.says(step=1)
    time.sleep(0.5)
  claims.claim(cells[2].id).end(4, "no number")
  claims.claim(cells[3].id).end(0)
  assert program.main(["sweep", "status", str(folder)]) == 0
  out = capsys.readouterr().out
  counts = "1 done, 1 failed, 1 running, 1 waiting"
  for part in (counts, "exit 4: no number", " 1/2 ", " 2/2 "):
    assert part in out


def test_a_run_that_another_has_is_not_said_to_be_done(tmp_path, capsys):
  (cell,) = submitted(write(tmp_path / "a.py", (0,)), tmp_path)
  with claiming.Claims(tmp_path).claim(cell.id):
    work = ["sweep", "work", str(tmp_path), f"--cell={cell.id}"]
    assert program.main(work) == 75
  assert "is running; start it again" in capsys.readouterr().err


def test_what_was_cancelled_goes_on_with_the_same_command(tmp_path, capsys):
  study = write(tmp_path / "a.py", (0,))
  folder = tmp_path / "runs"
  (cell,) = submitted(study, folder)
  claims = claiming.Claims(folder)
  for _ in range(3):
    with claims.claim(cell.id) as attempt:
      attempt.end(75, "stopped")
  assert program.main(["sweep", "cancel", str(folder)]) == 0
  assert "none is begun" in capsys.readouterr().out
  assert claims.claim(cell.id) is None
  assert program.main(["sweep", study, f"--workdir={folder}"]) == 0
  assert claims.state(cell.id).name == "done"
  # Who calls again means it: what was stopped before does not count.
  assert (folder / "claims" / cell.id / "3" / "again").exists()


@pytest.mark.parametrize(
  ("count", "parallel", "wanted"),
  [(4, 2, ["01", "23"]), (3, 2, ["0", "1"]), (2, 3, ["0", "1", "0"])],
)
def test_cores_are_shared_out_alike(count, parallel, wanted):
  shared = [fleet.share("0123"[:count], n, parallel) for n in range(parallel)]
  assert shared == wanted
