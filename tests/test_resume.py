"""A run that was stopped ends as one that was not, bit for bit.

Longer than 400 lines because the stops, the starts and what they refuse share
one small run.
"""

import hashlib
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from damage import flip
from tiny_run import ROOT, STEPS, hashes, metrics
from tiny_run import config as tiny_config

import ar_jax
from ar_jax import __main__ as program
from ar_jax import (
  assemble,
  checkpoint,
  data,
  errors,
  launch,
  states,
  train,
  writer,
)


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


class _Stop(Exception):
  pass


def _train(folder, batches, *, stop=None, config=None, **options):
  """Trains; `batches` collects {step: hash}; stops by raising at a step."""

  def watched(*args):
    batch_at = original(*args)

    def get(step):
      batch = batch_at(step)
      leaves = jax.tree.leaves(batch)
      found = hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in leaves))
      batches[step] = found.hexdigest()
      return batch

    return get

  def stepped(step, metrics):
    if step == stop:
      raise _Stop

  original = data.train_batches
  data.train_batches = watched
  try:
    view = launch.SILENT._replace(stepped=stepped)
    return launch.train(config or tiny_config(), folder, view, **options)[0]
  except _Stop:
    return None
  finally:
    data.train_batches = original


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
  """(folder, batches, states) of the run in one piece."""
  folder = tmp_path_factory.mktemp("calm") / "run"
  batches = {}
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    _train(folder, batches)
    states = hashes(folder)
  assert list(states) == list(range(1, STEPS + 1))
  assert len(set(states.values())) == len(set(batches.values())) == STEPS
  return folder, batches, states


_SEEN = (1, 5, 6, 11)  # the others by `make test-all`


@pytest.mark.parametrize(
  "step",
  [
    pytest.param(s, marks=[pytest.mark.slow] * (s not in _SEEN))
    for s in range(1, STEPS + 1)
  ],
)
def test_resumed_after_any_step_equals_uninterrupted(calm, step, tmp_path):
  folder, batches, states = calm
  cut = tmp_path / "run"
  shutil.copytree(folder, cut)
  for later in range(step + 1, STEPS + 1):
    shutil.rmtree(cut / "checkpoints" / str(later))
  seen = {}
  _train(cut, seen)
  assert seen == {k: v for k, v in batches.items() if k >= step}
  assert hashes(cut) == states
  assert metrics(cut) == metrics(folder)


@pytest.mark.parametrize("stop", [1, 4, 7, 11, 12])
def test_stopped_between_checkpoints_equals_uninterrupted(calm, stop, tmp_path):
  folder, batches, states = calm
  config = tiny_config(**{"train.save_every": 3, "train.keep": 1})
  cut, seen = tmp_path / "run", {}
  assert _train(cut, seen, stop=stop, config=config) is None
  last = max((s for s in (3, 5, 6, 9, 10) if s < stop), default=0)
  before, seen = set(seen), {}
  assert before >= set(range(stop - 1))
  _train(cut, seen, config=config)
  assert seen == {k: v for k, v in batches.items() if k >= last}
  assert hashes(cut)[STEPS] == states[STEPS]
  assert metrics(cut) == metrics(folder)


def test_a_torn_line_is_written_again(calm, tmp_path):
  folder, _, states = calm
  cut = tmp_path / "run"
  shutil.copytree(folder, cut)
  shutil.rmtree(cut / "checkpoints" / "12")
  file = cut / "metrics.jsonl"
  file.write_text(file.read_text()[:-30])
  _train(cut, {})
  assert metrics(cut) == metrics(folder)
  assert hashes(cut) == states


def test_the_best_state_stays_beside_the_last(tmp_path):
  config = tiny_config(**{"train.keep": 1, "train.eval_every": 2})
  _train(tmp_path / "run", {}, config=config)
  lines = writer.read(tmp_path / "run")
  nats = {r["step"]: r["nats_per_site"] for r in lines if r["kind"] == "valid"}
  best = min(nats, key=nats.get)
  kept = states.Checkpoints(tmp_path / "run")
  assert kept.steps() == sorted({best, STEPS})
  assert kept.find("best") == best
  kept.close()
  assert ar_jax.load(tmp_path / "run", "best").step == best
  assert ar_jax.load(tmp_path / "run").step == STEPS


def test_a_finished_run_is_left_as_it_is(calm, tmp_path):
  cut, seen = tmp_path / "run", {}
  shutil.copytree(calm[0], cut)
  assert _train(cut, seen).step == STEPS
  assert not seen
  for file in ("metrics.jsonl", "run.json", "config.json"):
    assert (cut / file).read_bytes() == (calm[0] / file).read_bytes()


def test_another_config_is_refused_by_its_first_key(calm):
  message = r"model.dropout is 0.1 there, 0.2 here; .*--workdir="
  with pytest.raises(errors.UsageError, match=message):
    launch.train(tiny_config(**{"model.dropout": 0.2}), calm[0])


def test_other_data_is_refused_unless_allowed(calm, tmp_path, monkeypatch):
  cut = tmp_path / "run"
  shutil.copytree(calm[0], cut)
  shutil.rmtree(cut / "checkpoints" / "12")
  original = assemble.dataset

  def changed(config):
    made = original(config)
    valid = made.splits["valid"]

    def get(index_B):
      x_BLC, weight_BL, y = valid.get(index_B)
      return x_BLC ^ (index_B == 3)[:, None, None], weight_BL, y

    splits = dict(made.splits, valid=valid._replace(get=get))
    return made._replace(splits=splits)

  monkeypatch.setattr(assemble, "dataset", changed)
  with pytest.raises(errors.DataError, match="valid split differs"):
    _train(cut, {})
  warnings = []
  view = launch.SILENT._replace(warned=warnings.append)
  launch.train(tiny_config(), cut, view, allow_data_change=True)
  assert warnings == ["the valid split is not the one this run began with"]
  record = json.loads((cut / "run.json").read_text())
  assert [r["step"] for r in record["resumed"]] == [11]
  assert list(record["resumed"][0]["changed_splits"]) == ["valid"]


def test_other_versions_are_said(calm, tmp_path, monkeypatch):
  cut = tmp_path / "run"
  shutil.copytree(calm[0], cut)
  shutil.rmtree(cut / "checkpoints" / "12")
  file = cut / "run.json"
  record = json.loads(file.read_text())
  file.write_text(json.dumps(dict(record, jax="0.1.2", threads="64")))
  warnings = []
  launch.train(
    tiny_config(), cut, launch.SILENT._replace(warned=warnings.append)
  )
  assert len(warnings) == 2
  assert "jax 0.1.2 and now has" in warnings[0]
  assert "threads 64 and now has" in warnings[1]


@pytest.mark.slow
def test_init_from_starts_from_the_parameters_of_another_run(calm, tmp_path):
  source = ar_jax.load(calm[0])
  config = tiny_config(**{"optimizer.lr": 0.0, "optimizer.weight_decay": 0.0})
  run = _train(tmp_path / "run", {}, config=config, init_from=calm[0])
  for a, b in zip(
    jax.tree.leaves(run.raw_params), jax.tree.leaves(source.params), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  record = json.loads((tmp_path / "run" / "run.json").read_text())
  assert record["init_from"] == str(calm[0])


def test_init_from_is_kept_when_the_run_is_cut_off_at_once(calm, tmp_path):
  config = tiny_config(**{"train.save_every": None})
  whole, cut = tmp_path / "whole", tmp_path / "cut"
  _train(whole, {}, config=config, init_from=calm[0])
  assert _train(cut, {}, stop=2, config=config, init_from=calm[0]) is None
  _train(cut, {}, config=config)  # without --init_from
  assert hashes(cut)[STEPS] == hashes(whole)[STEPS]


def test_a_run_that_goes_on_does_not_start_again(calm):
  with pytest.raises(errors.UsageError, match="did not start from elsewhere"):
    launch.train(tiny_config(), calm[0], init_from="elsewhere")


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("steps", 0),
    ("eval_every", 0),
    ("save_every", 0),
    ("keep", 0),
    ("keep_best", -1),
    ("log_every", 0),
    ("batch_size", 0),
    ("accumulate", 0),
    ("eval_every", None),
    ("ema_decay", 2.0),
  ],
)
def test_counts_that_are_none_are_named(tmp_path, key, value):
  config = tiny_config(**{f"train.{key}": value})
  with pytest.raises(errors.UsageError, match=f"config.train.{key} {value}"):
    launch.train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_init_from_of_another_network_names_the_leaf(calm, tmp_path):
  config = tiny_config(**{"model.width": 8})
  message = r"does not fit this run: .*float32\[.*wanted float32\["
  with pytest.raises(errors.DataError, match=message):
    launch.train(config, tmp_path / "run", init_from=calm[0])
  assert not (tmp_path / "run").exists()


def test_a_reader_leaves_alone_what_is_being_written(calm, tmp_path, caplog):
  cut = tmp_path / "run"
  shutil.copytree(calm[0], cut)
  part = cut / "checkpoints" / "13.orbax-checkpoint-tmp"
  part.mkdir()
  assert ar_jax.load(cut).step == STEPS
  assert part.is_dir()
  assert not caplog.records


def test_two_starts_at_once_are_one_too_many(tmp_path):
  folder = tmp_path / "run"
  with (
    checkpoint.locked(folder),
    pytest.raises(errors.StorageError, match="another process trains in"),
  ):
    launch.train(tiny_config(), folder)
  assert not (folder / "config.json").exists()


def test_the_same_tokens_of_another_alphabet_are_other_data(
  calm, tmp_path, monkeypatch
):
  cut = tmp_path / "run"
  shutil.copytree(calm[0], cut)
  original = assemble.dataset

  def changed(config):
    made = original(config)
    return made._replace(media=dict(made.media, vocabulary=["x", "y"]))

  monkeypatch.setattr(assemble, "dataset", changed)
  for allowed in (False, True):
    with pytest.raises(errors.DataError, match="or another vocabulary"):
      launch.train(tiny_config(), cut, allow_data_change=allowed)


def test_checkpoints_that_are_gone_are_said(calm, tmp_path):
  config = tiny_config(**{"train.save_every": None, "train.keep": 1})
  cut, warnings = tmp_path / "run", []
  assert _train(cut, {}, stop=2, config=config) is None
  view = launch.SILENT._replace(warned=warnings.append)
  launch.train(config, cut, view)
  assert warnings == [f"{cut} has no checkpoint yet: its run starts again"]
  other = tmp_path / "other"
  _train(other, {}, config=config, init_from=calm[0])
  shutil.rmtree(other / "checkpoints")
  with pytest.raises(errors.DataError, match="the checkpoints are gone"):
    launch.train(config, other)


def test_states_without_a_run_are_not_taken_for_one(calm, tmp_path):
  shutil.copytree(calm[0] / "checkpoints", tmp_path / "run" / "checkpoints")
  with pytest.raises(errors.DataError, match="holds states, but there is no"):
    _train(tmp_path / "run", {}, init_from=calm[0])


@pytest.mark.parametrize("name", ["config", "spec", "run"])
def test_a_damaged_record_is_named(calm, tmp_path, name):
  cut = tmp_path / "run"
  shutil.copytree(calm[0], cut)
  for content in ("{}", "[]", '{"a": 1'):
    (cut / f"{name}.json").write_text(content)
    with pytest.raises(errors.DataError, match=r"\.json"):
      ar_jax.load(cut)
    with pytest.raises(errors.DataError, match=r"\.json"):
      launch.train(tiny_config(), cut)


def test_a_score_that_is_no_number_is_never_the_best(tmp_path):
  kept = states.Checkpoints(tmp_path, keep=3, keep_best=1)
  tx = optax.sgd(0.1)
  for step, score in enumerate([float("nan"), 2.0, 1.0, None]):
    state = train.init_state(dict(w=jnp.ones(2)), tx)
    kept.save(state._replace(step=jnp.int32(step)), score=score)
  assert kept.find("best") == 2
  kept.close()


@pytest.fixture
def moved(tmp_path):
  """A run on a text file that was stopped, and the file's new place."""
  path, folder = tmp_path / "input.txt", tmp_path / "run"
  path.write_text("".join(f"fox {i} jumps\n" for i in range(200)))
  argv = ["train", "--config=configs/text_gpt.py:data=text_file,tiny"]
  argv += [f"--config.data.path={path}", f"--workdir={folder}"]
  argv += ["--config.train.steps=4", "--config.train.eval_every=2"]
  argv += ["--config.evaluate.baselines=", "--config.train.keep=2"]
  assert program.main(argv) == 0
  shutil.rmtree(folder / "checkpoints" / "4")
  (tmp_path / "moved").mkdir()
  return folder, path.rename(tmp_path / "moved" / "input.txt")


@pytest.mark.slow
def test_a_directory_alone_goes_on_also_when_the_data_has_moved(moved, capsys):
  folder, path = moved
  before = hashes(folder)
  assert list(before) == [2]
  assert program.main(["train", f"--workdir={folder}"]) == 3
  assert "no file" in capsys.readouterr().err
  argv = ["train", f"--workdir={folder}", f"--config.data.path={path}"]
  assert program.main(argv) == 0
  assert "2 steps were done before: goes on, 2 to go" in capsys.readouterr().out
  assert list(hashes(folder)) == [2, 4]
  assert program.main(["train", f"--workdir={folder}"]) == 0
  assert "nothing is left to train" in capsys.readouterr().out


@pytest.mark.slow
def test_other_data_is_refused_by_the_command_too(moved, capsys):
  folder, path = moved
  path.write_text(path.read_text().replace("fox 7", "fox 8"))
  argv = ["train", f"--workdir={folder}", f"--config.data.path={path}"]
  assert program.main(argv) == 3
  assert "--allow_data_change" in capsys.readouterr().err
  assert program.main([*argv, "--allow_data_change"]) == 0
  result = json.loads((folder / "reports" / "evaluation.json").read_text())
  assert result["same_data"] is False


def test_the_command_lists_verifies_and_compares(calm, tmp_path, capsys):
  cut = tmp_path / "run"
  shutil.copytree(calm[0], cut)

  def said(*argv, code=0):
    assert program.main(["checkpoints", *map(str, argv)]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err

  rows = said("list", cut).splitlines()
  assert sum("20" in row and ":" in row for row in rows) == STEPS
  (best,) = (row for row in rows if "best" in row)
  lines = [r for r in metrics(cut) if r["kind"] == "valid"]
  least = min(lines, key=lambda r: r["nats_per_site"])
  cells = [c.strip() for c in best.split("│")]
  assert int(cells[1]) == least["step"]
  assert float(cells[4]) == pytest.approx(least["nats_per_site"], abs=1e-4)
  assert said("verify", cut).count("as it was committed") == STEPS
  assert "0 of" not in said("diff", f"{cut}@12", calm[0])
  told = said("diff", f"{cut}@11", f"{cut}@12")
  assert re.search(r"step .* norm 11 .* norm 12 .* 1 ", told)
  file = next((cut / "checkpoints" / "7" / "state").glob("d/*"))
  flip(file, 3)
  told = said("verify", cut, code=3)
  assert "1 of 12 checkpoints" in told
  assert str(file) in told
  assert "checkpoint of step 7" in said("diff", f"{cut}@7", cut, code=3)
