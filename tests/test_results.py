"""Runs as one table: what sets them apart, means over seeds, paired gaps."""

import csv
import io
import json

import numpy as np
import pytest
import tiny_run

from ar_jax import __main__ as program
from ar_jax import compare, errors, results
from ar_jax import config as configs


def _write(folder, name, nats_N, seed, **changes):
  """A run's directory as far as the table reads it."""
  path = folder / "runs" / name
  (path / "reports").mkdir(parents=True)
  config = configs.plain(tiny_run.config(**changes, seed=seed))
  (path / "config.json").write_text(json.dumps(config))
  (path / "run.json").write_text(json.dumps(dict(runtime=dict(seconds=2.5))))
  model = dict(split="valid", nats_per_site=float(np.mean(nats_N)) / 8)
  model |= dict(bits_per_site=1.0, standard_error=0.1, protocol="whole")
  scores = dict(step=12, model=model, baselines={})
  (path / "reports" / "evaluation.json").write_text(json.dumps(scores))
  np.savez(path / "reports" / "items.npz", nats=nats_N)


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tiny_run.ROOT)
  rng = np.random.default_rng(0)
  for lr, offset in ((1e-3, 0.0), (1e-2, 0.4)):
    for seed in (0, 1, 2):
      nats_N = 5 + 0.1 * seed + offset + rng.normal(size=20)
      # The second setting's in another order of names.
      name = f"{lr:g}_{seed if lr < 5e-3 else 2 - seed}"
      _write(tmp_path, name, nats_N, seed, **{"optimizer.lr": lr})
  return tmp_path


def _nats(folder, lr):
  nats = {}
  for number in (0, 1, 2):
    path = folder / "runs" / f"{lr:g}_{number}"
    seed = json.loads((path / "config.json").read_text())["seed"]
    with np.load(path / "reports" / "items.npz") as file:
      nats[seed] = file["nats"]
  return np.stack([nats[seed] for seed in (0, 1, 2)])


def test_columns_are_what_differs_and_the_figures(folder):
  rows = results.rows(folder)
  assert len(rows) == 6
  titles = results.columns(rows)
  assert titles[:3] == ["run", "optimizer.lr", "seed"]
  assert "model.width" not in titles
  assert {"step", "split", "nats_per_site", "seconds"} <= set(titles)
  # What belongs to one of two networks goes with its name.
  _write(folder, "other", np.ones(20), 0)
  path = folder / "runs" / "other" / "config.json"
  config = json.loads(path.read_text())
  config["model"] = dict(name="made", hidden=[8])
  path.write_text(json.dumps(config))
  titles = results.columns(results.rows(folder))
  assert "model.name" in titles
  assert not {"model.width", "model.hidden"} & set(titles)


def _change(path, **changes):
  """Other scores of a run."""
  file = path / "reports" / "evaluation.json"
  scores = json.loads(file.read_text())
  scores["model"].update(changes)
  file.write_text(json.dumps(scores))


def test_runs_on_other_data_are_no_seeds_of_one_setting(folder):
  for number in (0, 1, 2):
    path = folder / "runs" / f"0.01_{number}" / "config.json"
    config = json.loads(path.read_text())
    config["optimizer"]["lr"] = 1e-3
    config["data"]["path"] = "other.txt"
    path.write_text(json.dumps(config))
  rows = results.rows(folder)
  assert "data.path" in results.columns(rows)
  assert len(results.grouped(rows, ["data.path"])) == 2


def test_runs_scored_in_other_ways_are_not_averaged(folder):
  _change(folder / "runs" / "0.01_1", split="test")
  _change(folder / "runs" / "0.001_0", estimator="bound")
  (folder / "runs" / "0.001_2" / "reports" / "evaluation.json").unlink()
  rows = results.rows(folder)
  groups = results.grouped(rows, ["optimizer.lr"])
  numbers = {label: len(some) for label, some in groups.items()}
  assert numbers == {
    "0.001 (valid, whole, bound)": 2,  # with the one that is not scored
    "0.001 (valid, whole)": 1,
    "0.01 (valid, whole)": 2,
    "0.01 (test, whole)": 1,
  }
  titles = results.columns([row for row in rows if "split" in row])
  assert "estimator" in titles
  assert "protocol" not in titles
  kept = [row for row in rows if row.get("split") == "valid"]
  groups = results.grouped(kept, ["run"])
  with pytest.raises(errors.UsageError, match="valid, whole, bound, runs"):
    results.paired(groups, "runs/0.001_1", "nats_per_site")


def test_a_score_that_is_no_number_is_shown(folder, capsys):
  _change(folder / "runs" / "0.01_1", nats_per_site=float("nan"))
  argv = ["results", str(folder), "--format=csv"]
  assert program.main(argv) == 0
  lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
  by_run = {line["run"]: line["nats_per_site"] for line in lines}
  assert by_run.pop("runs/0.01_1") == "nan"
  assert all(map(float, by_run.values()))


def test_a_config_alone_is_no_run(folder):
  exported = folder / "runs" / "0.01_0" / "exported"
  exported.mkdir()
  (exported / "config.json").write_text("{}")
  assert len(results.rows(folder)) == 6


def test_tags_of_a_study_are_columns(folder):
  ids = [f"{lr:g}_{n}" for lr in (1e-2, 1e-3) for n in (2, 0, 1)]
  cells = [
    dict(id=name, values=dict(tags=dict(rate=name[:5], study="s")))
    for name in ids
  ]
  (folder / "sweep").mkdir()
  (folder / "runs").rename(folder / "sweep" / "runs")
  (folder / "sweep" / "sweep.json").write_text(json.dumps(dict(cells=cells)))
  rows = results.rows(folder)
  assert [row["run"] for row in rows] == [f"sweep/runs/{n}" for n in ids]
  titles = results.columns(rows)
  assert titles[:4] == ["run", "tags.rate", "seed", "step"]
  assert titles[-1] == "optimizer.lr"
  by = results.grouped(rows, ["tags.rate"])
  assert {label: len(some) for label, some in by.items()} == {
    "0.01_": 3,
    "0.001": 3,
  }
  assert len(results.chosen(rows, ["tags.study=s"])) == 6


@pytest.mark.parametrize(
  ("condition", "count"),
  [
    ("seed=0", 2),
    ("seed!=0", 4),
    ("seed<=1", 4),
    ("seed>1", 2),
    ("optimizer.lr<5e-3", 3),
    ("optimizer.lr>=0.01", 3),
    ("model.name=gpt", 6),
    ("model.name!=gpt", 0),
  ],
)
def test_rows_are_chosen(folder, condition, count):
  assert len(results.chosen(results.rows(folder), [condition])) == count


def test_conditions_all_hold(folder):
  chosen = results.chosen(results.rows(folder), ["seed=0", "optimizer.lr<5e-3"])
  assert [row["run"] for row in chosen] == ["runs/0.001_0"]


def test_a_run_without_the_figure_is_not_below_it(folder):
  rows = [*results.rows(folder), dict(run="begun", workdir=folder)]
  assert len(results.chosen(rows, ["nats_per_site<100"])) == 6
  assert results.metric(rows) == "nats_per_site"
  # Of text that is not scored yet, too.
  assert results.metric([dict(run="begun")]) == "nats_per_site"


def test_means_have_students_interval(folder):
  groups = results.grouped(results.rows(folder), ["optimizer.lr"])
  first, _ = results.summary(groups, "nats_per_site")
  mean_S = _nats(folder, 1e-3).mean(1) / 8
  assert first.count == 3
  assert first.mean == pytest.approx(mean_S.mean())
  assert first.error == pytest.approx(mean_S.std(ddof=1) / 3**0.5)
  half = 4.302652729911275 * first.error  # t, 2 degrees of freedom
  assert (first.low, first.high) == pytest.approx(
    (first.mean - half, first.mean + half)
  )
  one = results.summary({"a": [dict(nats_per_site=1.0), {}]}, "nats_per_site")
  assert one[0].count == 1
  assert np.isnan([one[0].error, one[0].low]).all()


def test_gaps_are_paired_by_seed(folder):
  groups = results.grouped(results.rows(folder), ["optimizer.lr"])
  (row,) = results.paired(groups, "0.001", "nats_per_site").values()
  nats = {"0.001": _nats(folder, 1e-3) / 8, "0.01": _nats(folder, 1e-2) / 8}
  wanted = compare.summary(nats, "0.001")["0.01"]
  np.testing.assert_allclose(row.paired, wanted.paired, rtol=1e-9)
  np.testing.assert_allclose(row.paired.mean, 0.05, atol=0.05)
  # Of two gaps the p of each is adjusted.
  groups["1.0"] = [dict(r, nats_per_site=r["seed"]) for r in groups["0.01"]]
  rows = results.paired(groups, "0.001", "nats_per_site")
  raw = [row.paired.p for row in rows.values()]
  holm = [row.holm for row in rows.values()]
  np.testing.assert_allclose(holm, compare.holm(raw))
  assert max(holm) > max(raw) or min(holm) > min(raw)


def test_what_cannot_be_paired_is_refused(folder):
  groups = results.grouped(results.rows(folder), ["optimizer.lr"])
  with pytest.raises(errors.UsageError, match="--base=0.1: no such group"):
    results.paired(groups, "0.1", "nats_per_site")
  last = groups["0.01"].pop()
  with pytest.raises(errors.UsageError, match="they are not paired"):
    results.paired(groups, "0.001", "nats_per_site")
  groups["0.01"].append(dict(last, seed=9))
  with pytest.raises(errors.UsageError, match="they are not paired"):
    results.paired(groups, "0.001", "nats_per_site")
  with pytest.raises(errors.UsageError, match="several runs of a seed"):
    results.paired({"a": [dict(seed=0, m=1), dict(seed=0, m=2)]}, "a", "m")


def test_the_command_writes_three_formats(folder, capsys):
  argv = ["results", str(folder), "--by=optimizer.lr", "--base=0.001"]
  assert program.main([*argv, "--format=csv"]) == 0
  table = list(csv.reader(io.StringIO(capsys.readouterr().out)))
  assert table[0][:3] == ["optimizer.lr", "runs", "nats_per_site"]
  gap = (_nats(folder, 1e-2) - _nats(folder, 1e-3)).mean() / 8
  assert float(table[2][6]) == pytest.approx(gap, abs=1e-4)
  assert table[1][6] == ""
  assert program.main([*argv, "--format=markdown"]) == 0
  assert capsys.readouterr().out.splitlines()[1].startswith("| --- | ---: |")
  assert program.main(["results", str(folder)]) == 0
  out = capsys.readouterr().out
  assert out.count("runs/0.0") == 6
  assert "…" not in out  # nothing is cut off where nobody looks on


@pytest.mark.parametrize(
  ("argv", "code", "message"),
  [
    (["--where=sede=0"], 2, "no column 'sede'; nearest: seed"),
    (["--where=seed"], 2, "as seed=0"),
    (["--where=seed=9"], 2, "no run is left"),
    (["--by=model.nam"], 2, "nearest: model.name"),
    (["--base=raster"], 2, "one of the groups that --by makes"),
    (["--by=seed", "--metric=nats"], 2, "no column 'nats'"),
    (["--by=seed", "--metric=model.name"], 2, "'gpt' is no number"),
    (["--where=seed=9", "--where=optimizer.lr=1"], 2, "no run is left"),
  ],
)
def test_wrong_questions_are_refused(folder, argv, code, message, capsys):
  assert program.main(["results", str(folder), *argv]) == code
  assert message in capsys.readouterr().err


def test_a_folder_without_runs_is_named(tmp_path, capsys):
  assert program.main(["results", str(tmp_path)]) == 3
  assert "holds no run" in capsys.readouterr().err
