"""The program as a user meets it: output, files and exit codes."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from ar_jax import __main__ as program
from ar_jax import config as configs
from ar_jax import launch, registry, sweep, writer

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A run of a few steps, trained by the command in a process of its own."""
  folder = tmp_path_factory.mktemp("runs") / "a"
  command = [sys.executable, "-m", "ar_jax", "train"]
  command += ["--config=configs/text_gpt.py:tiny", f"--workdir={folder}"]
  command += ["--config.train.steps=4", "--config.train.eval_every=2"]
  command += ["--config.train.log_every=1", "--config.train.ema_decay=0.9"]
  done = subprocess.run(
    command, cwd=ROOT, capture_output=True, text=True, check=True
  )
  (folder / "stdout").write_text(done.stdout)
  return folder


def test_train_leaves_the_records_of_a_run(workdir):
  for name in ("config.json", "spec.json", "run.json"):
    assert json.loads((workdir / name).read_text())
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  lines = [json.loads(line) for line in lines]
  assert [(r["kind"], r["step"]) for r in lines] == [
    ("train", 1),
    ("train", 2),
    ("valid", 2),
    ("train", 3),
    ("train", 4),
    ("valid", 4),
  ]
  picture = (workdir / "reports" / "curves.png").read_bytes()
  assert picture.startswith(b"\x89PNG")
  assert len(picture) > 10_000


def test_train_says_what_it_is_and_how_it_stands(workdir):
  out = (workdir / "stdout").read_text()
  for part in ("parameters", "GFLOP a step", "5-gram", "xz", "protocol: w64"):
    assert part in out
  assert "model (averaged)" in out
  assert "model (last update)" in out
  assert "the model does not beat 5-gram" in out


def test_evaluate_repeats_the_figures_of_train(workdir, capsys):
  report = workdir / "reports" / "evaluation.json"
  before = json.loads(report.read_text())
  assert program.main(["evaluate", f"--workdir={workdir}"]) == 0
  after = json.loads(report.read_text())
  assert after["model"]["sites"] == before["model"]["sites"]
  assert after["baselines"] == before["baselines"]
  nats = [r["model"]["nats_per_site"] for r in (before, after)]
  assert nats[0] == pytest.approx(nats[1], rel=1e-6)
  assert "5-gram, window" in capsys.readouterr().out


def test_evaluate_takes_stride_and_protocol(workdir, capsys):
  flags = [f"--workdir={workdir}", "--config.evaluate.baselines=()"]
  assert program.main(["evaluate", *flags, "--stride=64"]) == 0
  assert "w64/s64" in capsys.readouterr().out
  assert program.main(["evaluate", *flags, "--protocol=nanogpt"]) == 0
  out = capsys.readouterr().out
  assert "1..63 tokens of context" in out


@pytest.mark.slow
def test_sample_continues_each_prompt(workdir, capsys):
  flags = ["--prompt=The ", "--prompt=a", "--num=2", "--length=80"]
  assert program.main(["sample", f"--workdir={workdir}", *flags]) == 0
  first = capsys.readouterr().out
  assert [first.count(f"sample {i}: 80 tokens") for i in range(5)] == [
    1,
    1,
    1,
    1,
    0,
  ]
  assert first.count("\nThe ") == 2
  assert program.main(["sample", f"--workdir={workdir}", *flags]) == 0
  assert capsys.readouterr().out == first
  assert (
    program.main(["sample", f"--workdir={workdir}", *flags, "--seed=1"]) == 0
  )
  assert capsys.readouterr().out != first


@pytest.mark.slow
def test_greedy_has_probability_one_under_the_sampler(workdir, capsys):
  flags = [f"--workdir={workdir}", "--greedy", "--length=5"]
  assert program.main(["sample", *flags]) == 0
  assert "0.000 under the sampler" in capsys.readouterr().out


def test_show_order(capsys):
  assert program.main(["show_order", "reverse", "--shape", "2x3"]) == 0
  out = capsys.readouterr().out
  assert "5 4 3\n2 1 0" in out
  assert "mean jump 1.25, largest jump 2.24" in out
  assert "alone 0.17, tau to raster -1.00" in out


def test_show_order_draws_and_reads_options(tmp_path, capsys):
  picture = tmp_path / "order.png"
  argv = ["show_order", "blocks", "--shape=4x4", "--set", "size=[2,2]"]
  assert program.main([*argv, f"--out={picture}"]) == 0
  assert " 0  1  4  5\n 2  3  6  7\n" in capsys.readouterr().out
  assert picture.read_bytes().startswith(b"\x89PNG")


def test_show_order_of_a_config_tells_its_data_and_its_network(capsys):
  config = "--config=configs/ising.py:model=pixelcnn,tiny"
  flags = ["--config.model.first_kernel=3", "--config.model.blocks=3"]
  assert program.main(["show_order", config, *flags]) == 0
  out = capsys.readouterr().out
  assert "raster: the step" in out
  side = round(out.count("\n") - 2)
  assert f"levels {3 * side - 2} of {side * side} steps" in out
  correlation = float(out.split("at 1, 2, 4 ")[1].split(",")[0])
  assert 0.3 < correlation < 0.9
  assert program.main(["show_order", "hilbert", config]) == 0
  assert "hilbert: the step" in capsys.readouterr().out


def test_the_gallery_shows_every_family(tmp_path):
  assert program.main(["show_order", f"--gallery={tmp_path}"]) == 0
  page = (tmp_path / "orderings.md").read_text()
  for name in registry.names("orderings"):
    assert name in page, name
  assert page == (ROOT / "docs" / "orderings.md").read_text()
  assert (tmp_path / "orderings.png").stat().st_size > 50_000


TRAIN = ["train", "--config=configs/text_gpt.py:tiny", "--workdir=/nowhere/x"]


@pytest.mark.parametrize(
  ("argv", "code", "message"),
  [
    (["trian"], 2, "no command 'trian'; nearest: train"),
    (["train"], 2, "required: --workdir"),
    (["train", "--workdir=/nowhere"], 2, "holds no run to go on with"),
    (["train", "--wrkdir=x", *TRAIN[1:]], 2, "nearest: --workdir"),
    ([*TRAIN, "--config.optimizer.lrr=1"], 2, "nearest: optimizer.lr"),
    ([*TRAIN, "--config.train.steps=many"], 2, "takes int, got 'many'"),
    ([*TRAIN, "--config.model.name=gpd"], 2, "no plugin named 'gpd'"),
    ([*TRAIN, "--config.optimizer.name=adm"], 2, "nearest: adam"),
    ([*TRAIN, "--config.sample.temperature=-1.0"], 2, "temperature"),
    ([*TRAIN, "--config.parallel.name=pmp"], 2, "nearest: pmap"),
    (["evaluate", "--workdir=/nowhere"], 3, "holds no run"),
    (["sample", "--workdir=/nowhere"], 3, "holds no run"),
    (["show_order", "snail", "--shape=4"], 2, "no plugin named 'snail'"),
    (["show_order", "raster", "--shape=4xx"], 2, "no shape such as 16x16"),
    (["show_order", "raster"], 2, "and its --shape"),
    (["show_order", "raster", "--shape=4", "--out=x.foo"], 2, "of a .png"),
    (["show_order", "--gallery=.", "raster"], 2, "stands alone"),
    (["show_order", "blocks", "--shape=4", "--set=size=4"], 2, "size=4"),
    (["show_order", "all", "--shape=4"], 2, "all is not one order"),
    (["show_order", "blocks", "--shape=4"], 2, "needs 'size'"),
    (["show_order", "snake", "--shape=4", "--set=x"], 2, "takes KEY=VALUE"),
    (["show_order", "snake", "--shape=2x2x2x2"], 2, "T, HxW or HxWxS"),
    (["sweep", "experiments/none.py", "--workdir=/x"], 2, "no file"),
    (
      ["sweep", "experiments/none.py", "--workdir=/x", "--config.seed=1"],
      2,
      "a study sets its own configs",
    ),
    (
      ["sample", "--workdir=/nowhere", "--config.sample.temperature=1"],
      2,
      "nearest: --temperature",
    ),
    (
      ["report", "/nowhere", "--config.nonsense=3"],
      2,
      "`ar_jax report` reads no config: no --config.nonsense; its flags: --",
    ),
  ],
)
def test_a_mistake_is_one_line_and_a_code(argv, code, message, capsys):
  assert program.main(argv) == code
  err = capsys.readouterr().err
  assert err.startswith("ar_jax: error: ")
  assert err.count("\n") == 1
  assert message in err


def test_mistakes_in_a_run_are_named(workdir, tmp_path, capsys):
  flag = f"--workdir={workdir}"
  cases = [
    (["sample", flag, "--prompt=a☃"], 2, "'☃' at position 1"),
    (["sample", flag, "--top_p=1.5"], 2, "top_p"),
    (["sample", flag, "--num=0"], 2, "at least 1"),
    (["sample", flag, "--greedy", "--temperature=1"], 2, "not both"),
    (["evaluate", flag, "--stride=65"], 2, "stride 65 must be in 1..64"),
    (["evaluate", flag, "--split=test"], 2, "there are: train, valid"),
    (["evaluate", flag, "--config.data.level=byte"], 3, "not what this run"),
    (
      ["evaluate", flag, "--config.model.depth=3"],
      2,
      "config.model.depth is the run's; evaluate takes data.* and evaluate.*",
    ),
    (["evaluate", flag, "--config.seed=3"], 2, "config.seed is the run's"),
    (
      ["evaluate", flag, "--config.evalute.split=train"],
      2,
      "nearest: evaluate.split",
    ),
    ([*TRAIN[:2], flag], 2, "of another config: train."),
    (
      ["train", flag, "--config.optimizer.lr=1.0"],
      2,
      "optimizer.lr is 0.003 there, 1.0 here",
    ),
    (["sample", flag, "--checkpoint=3"], 2, "there are: last, best, 4"),
  ]
  for argv, code, message in cases:
    assert program.main(argv) == code, argv
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_storage_that_cannot_be_written(tmp_path, capsys):
  (tmp_path / "file").write_text("")
  argv = [*TRAIN[:2], f"--workdir={tmp_path}/file/run"]
  assert program.main(argv) == 5
  assert "cannot write" in capsys.readouterr().err


@pytest.mark.slow
def test_a_diverging_run_stops_with_its_own_code(tmp_path, capsys):
  argv = [*TRAIN[:2], f"--workdir={tmp_path}/run", "--config.optimizer.lr=1e38"]
  argv += ["--config.optimizer.warmup=0", "--config.train.steps=5"]
  assert program.main(argv) == 4
  told = capsys.readouterr().err
  assert re.search(r"step \d, examples \d+ to \d+: .* (nan|inf)", told)


def test_help_is_fast_and_has_an_example(capsys):
  assert program.main([]) == 0
  out = capsys.readouterr().out
  for name in registry.names("commands"):
    assert name.replace("_", "-") in out
    with pytest.raises(SystemExit) as stop:
      program.main([name, "--help"])
    assert stop.value.code == 0
    example = capsys.readouterr().out.replace("-", "_")
    assert f"  ar_jax {name}" in example
  code = "import sys; from ar_jax import __main__ as m; m.main([]);"
  code += "sys.exit('jax' in sys.modules)"
  env = dict(os.environ)
  subprocess.run([sys.executable, "-c", code], env=env, check=True)


def test_debug_shows_the_traceback():
  with pytest.raises(Exception, match="no command"):
    program.main(["trian", "--debug"])


@pytest.mark.slow
def test_study_reports_its_orders_and_does_not_repeat(tmp_path, capsys):
  study = tmp_path / "study.py"
  text = (ROOT / "experiments" / "text_order.py").read_text()
  cell = '"data.stride": 64,'
  assert cell in text
  text = text.replace(cell, f'{cell} "train.steps": 2, "train.eval_every": 2,')
  study.write_text(text)
  argv = ["sweep", str(study), f"--workdir={tmp_path}/runs"]
  assert program.main(argv) == 0
  out = capsys.readouterr().out
  for part in ("left to right", "right to left", "random", "±"):
    assert part in out
  assert (tmp_path / "runs" / "orders.png").stat().st_size > 5_000
  assert program.main(argv) == 0
  again = capsys.readouterr().out
  assert "step 2" not in again
  assert out.splitlines()[-8:] == again.splitlines()[-8:]


_STUDY = """
def sweep():
  return [dict(config="configs/text_gpt.py:tiny,data=text_file", **%r)]

def report(rows, folder):
  (row,) = rows
  text = f"{row['step']} {row['model']['split']} {row['model']['protocol']}"
  nats = row["items"]["nats"].sum() / row["items"]["weight"].sum()
  (folder / "said").write_text(f"{text} {nats:.6f}")
  return []
"""


def _workdir(tmp_path):
  _, cells = sweep.study(str(tmp_path / "study.py"))
  return sweep.workdir(tmp_path / "runs", sweep.checked(cells)[0])


@pytest.mark.slow
def test_a_study_takes_no_scores_but_its_own(tmp_path, capsys):
  cell = {"train.steps": 2, "train.save_every": 1, "train.log_every": 1}
  cell = {**cell, "data.stride": 64, "evaluate.baselines": ()}
  cell["data.path"] = str(tmp_path / "input.txt")
  (tmp_path / "input.txt").write_text("a short text of many lines\n" * 400)
  (tmp_path / "study.py").write_text(_STUDY % cell)
  workdir = _workdir(tmp_path)
  result = workdir / "reports" / "evaluation.json"
  items = workdir / "reports" / "items.npz"
  said = tmp_path / "runs" / "said"

  def interrupt(step, metrics):
    if step == 2:
      raise KeyboardInterrupt

  config = configs.load("configs/text_gpt.py:tiny,data=text_file", cell.items())
  with pytest.raises(KeyboardInterrupt):
    launch.train(config, workdir, launch.SILENT._replace(stepped=interrupt))
  evaluate = ["evaluate", f"--workdir={workdir}"]
  assert program.main(evaluate) == 0
  assert json.loads(result.read_text())["step"] == 1

  argv = ["sweep", str(tmp_path / "study.py"), f"--workdir={tmp_path}/runs"]
  assert program.main(argv) == 0
  own = said.read_text()
  assert own.startswith("2 valid w64/s64/first site scored ")
  nats = json.loads(result.read_text())["model"]["nats_per_site"]
  assert float(own.split()[-1]) == pytest.approx(nats, abs=1e-6)

  def again():
    said.unlink()
    capsys.readouterr()
    assert program.main(argv) == 0
    assert said.read_text() == own
    return capsys.readouterr().out

  for flag in ("--split=train", "--stride=32"):
    assert program.main([*evaluate, flag]) == 0
    again()
  text = result.read_text()
  result.write_text(text.replace('"split": "valid"', '"split": "test"'))
  again()
  items.unlink()
  again()
  items.write_bytes(items.read_bytes()[:100])
  again()
  result.write_text("{")
  again()
  before = result.stat().st_mtime_ns
  assert again() == ""
  assert result.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_study_scores_the_checkpoint_that_its_cell_names(tmp_path):
  cell = {"train.steps": 4, "train.eval_every": 1, "optimizer.lr": 3.0}
  cell |= {"checkpoint": "best", "split": "train", "evaluate.baselines": ()}
  cell["data.path"] = str(tmp_path / "input.txt")
  (tmp_path / "input.txt").write_text("a short text of many lines\n" * 400)
  (tmp_path / "study.py").write_text(_STUDY % cell)
  argv = ["sweep", str(tmp_path / "study.py"), f"--workdir={tmp_path}/runs"]
  for _ in range(2):  # the second takes the scores of the first
    assert program.main(argv) == 0
    lines = writer.read(_workdir(tmp_path))
    lines = [x for x in lines if x["kind"] == "valid"]
    valid = {x["step"]: x["nats_per_site"] for x in lines}
    best = min(valid, key=valid.get)
    assert best < 4, valid
    said = (tmp_path / "runs" / "said").read_text().split()
    assert said[:2] == [str(best), "train"]
