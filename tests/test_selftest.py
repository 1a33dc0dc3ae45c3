"""`ar_jax selftest` passes on what is right, and fails on what is broken.

Each row of its table is seen failing once. Subjects are a table of logits, or
a run of two updates: what is slow here is compiling.

Longer than 400 lines because it is one list: a row of the table without a
mutant here is a check that nobody has seen fail.
"""

import ast
import functools
import itertools
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_contract_catches
from test_contract import SPEC

from ar_jax import __main__ as program
from ar_jax import registry, states, train
from ar_jax import run as runs
from ar_jax.proofs import cases, findings, probe, selftest
from ar_jax.samplers import ancestral

ROOT = pathlib.Path(__file__).parent.parent
CASE = (
  "normalised",
  "causal",
  "reads",
  "step == apply",
  "extend == apply",
  "sampled == scored",
)
CHANCE = ("sampler ~ model", "its power")


@functools.cache
def table():
  """A table of logits under two random orders, float32."""
  case = test_contract_catches.table()
  params = cases.random_params(case.model, scale=1.0, dtype=np.float32)
  return case._replace(params=params, order_KL=case.order_KL[1:])


def sampler_of(case, **settings):
  if case.model is table().model:
    return test_contract_catches.sampler_of(**settings)  # compiled once
  return ancestral.make(case.model, case.head, **settings)


def failed(found):
  return {f.check for f in found if f.passed is False}


@pytest.fixture
def small(monkeypatch):
  """One subject of each kind, with the table in the place of every network."""
  case = table()
  for kind in ("_heads", "_samplers"):
    first = list(getattr(selftest, kind)())[:1]
    monkeypatch.setattr(selftest, kind, lambda first=first: first)
  monkeypatch.setattr(
    selftest, "_network", lambda section, spec, family: (case.head, case.model)
  )
  models = [("gpt[0], random", selftest._model, dict(spec=SPEC))]
  monkeypatch.setattr(
    selftest,
    "_models",
    lambda: [
      (subject, functools.partial(run, subject, section, "random", (0, 0)))
      for subject, run, section in models
    ],
  )


@pytest.mark.slow
def test_command_passes_and_shows_every_check(small, capsys):
  assert program.main(["selftest"]) == 0
  out = capsys.readouterr().out
  for check in (*CASE, *CHANCE, "draws ~ log_prob", "same state"):
    row = next(line for line in out.splitlines() if f" {check} " in line)
    assert " pass " in row
    assert "FAIL" not in row
  assert "all 81 x 2 orders, every swap" in out
  assert "matmul precision highest" in out
  assert "12 checks passed in" in out


def test_command_names_what_failed(small, monkeypatch, capsys):
  def restore(self, like, step=None):
    return jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), like)

  monkeypatch.setattr(states.Checkpoints, "restore", restore)
  assert program.main(["selftest"]) == 4
  out, err = capsys.readouterr()
  row = next(line for line in out.splitlines() if "same state" in line)
  assert " FAIL " in row
  assert "arrays differ when restored" in out
  assert err.startswith("ar_jax: error: selftest: 1 of 12 checks failed")
  assert err.count("\n") == 1


def test_every_model_is_a_subject(monkeypatch):
  """Nothing runs within 0 seconds; what would have run is said."""
  names = registry.names
  load = registry.load
  other = types.SimpleNamespace(
    TINY=[dict(spec=SPEC), dict(spec=SPEC, orderings=("raster",))]
  )
  monkeypatch.setattr(
    registry,
    "names",
    lambda kind: [*names(kind), *["other"] * (kind == "models")],
  )
  monkeypatch.setattr(
    registry,
    "load",
    lambda kind, name: other if name == "other" else load(kind, name),
  )
  found = selftest.default(seconds=0)
  assert all(f.passed is None and "left out" in f.message for f in found)
  subjects = [f.subject for f in found]
  assert {"head categorical[0]", "sampler ancestral[0]", "resume"} < {*subjects}
  for name in names("models"):
    assert f"{name}[0], random" in subjects or f"{name}[0], raster" in subjects
  assert "other[0], random" in subjects
  assert "other[0], raster" in subjects
  assert "other[1], raster" in subjects
  assert "other[1], random" not in subjects
  # Each model first, before the second case of any.
  assert subjects.index("other[0], random") < subjects.index("gpt[0], raster")


def test_a_subject_that_cannot_be_built_is_a_failure(small, monkeypatch):
  def broken(section, spec, family):
    raise TypeError("no such argument\nin this version")

  monkeypatch.setattr(selftest, "_network", broken)
  found = selftest.default()
  wrong = {f.subject: f.message for f in found if f.passed is False}
  assert set(wrong) == {"sampler ancestral[0]", "resume", "gpt[0], random"}
  assert set(wrong.values()) == {"TypeError: no such argument"}


# --- each row fails on what it is there for ---


def leaky(apply):
  def wrong(params, x_BLC, *args, **kwargs):
    theta = apply(params, x_BLC, *args, **kwargs)
    return theta + 1e-3 * x_BLC * jnp.arange(3).reshape(1, 1, 3)

  return dict(apply=wrong)


def forgetful(apply):
  def wrong(params, x_BLC, *args, **kwargs):
    return apply(params, jnp.zeros_like(x_BLC), *args, **kwargs)

  return dict(apply=wrong)


def late_step(step):
  def wrong(params, cache, x_BC, t):
    return step(params, cache, x_BC, jnp.maximum(t - 1, 0))

  return dict(step=wrong)


def late_extend(extend):
  def wrong(params, cache, x_BKC, t, n=None):
    return extend(params, cache, x_BKC, jnp.maximum(t - 1, 0), n)

  return dict(extend=wrong)


MUTANTS = dict(
  leak=("apply", leaky, {"causal", "normalised"}),
  forgets=("apply", forgetful, {"reads", "step == apply"}),
  step=("step", late_step, {"step == apply", "sampled == scored"}),
  extend=("extend", late_extend, {"extend == apply"}),
)


def test_findings_about_a_right_model():
  found = findings.of_case("table", table(), sampler=sampler_of(table()))
  assert not failed(found), found
  assert tuple(f.check for f in found) == CASE
  assert all(f.figure and f.bar for f in found)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_model(name):
  field, mutate, checks = MUTANTS[name]
  model = table().model
  model = model._replace(**mutate(getattr(model, field)))
  case = table()._replace(model=model)
  found = findings.of_case("table", case, sampler=sampler_of(case))
  assert checks <= failed(found), found
  if name in ("leak", "step"):
    assert "extend == apply" not in failed(found) or name == "leak"
  figures = [f.figure for f in found if f.check == "causal"]
  assert (figures != ["0"]) == (name == "leak")


def test_a_head_that_does_not_sum_to_one():
  head = table().head

  def log_prob(theta, x):
    return head.log_prob(theta, x) + 1e-5

  wrong = head._replace(log_prob=log_prob)
  case = table()._replace(head=wrong)
  found = findings.of_case("table", case)
  assert failed(found) == {"normalised"}
  assert failed(findings.of_head("head", head, SPEC)) == set()
  assert failed(findings.of_head("head", wrong, SPEC)) == {"normalised"}
  shown = [f.figure for f in found if f.check == "normalised"]
  assert shown == ["4e-05"]  # of four sites


def test_a_head_whose_draws_are_warm():
  head = table().head

  def sample(key, theta):
    return head.sample(key, theta / 1.02)

  wrong = head._replace(sample=sample)
  assert failed(findings.of_head("h", wrong, SPEC)) == {"draws ~ log_prob"}


@pytest.mark.slow
def test_a_sampler_at_another_temperature():
  case = table()._replace(order_KL=table().order_KL[:1])
  plain, warm = sampler_of(case), sampler_of(case, temperature=1.05)
  found = findings.of_draws("s", case, plain, draws=50_000)
  assert not failed(found), found
  found = findings.of_draws("s", case, warm, draws=50_000)
  assert failed(found) == {"sampler ~ model"}
  assert findings.of_samples("s", case, warm).passed is False
  few = findings.of_draws("s", case, plain, draws=10)
  assert failed(few) == {"its power"}
  assert "no power: 10 draws" in few[1].message


RESTORED = dict(
  zeros=lambda like: jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), like),
  # Goes on as if nothing had happened: four updates from the start.
  start=lambda like: selftest_start(),
)


def selftest_start():
  tx = selftest.optim.make(steps=4, lr=1e-2, warmup=1, weight_decay=0.1)
  return train.init_state(cases.initial(table().model.init), tx, 0.9)


@pytest.mark.parametrize("name", RESTORED)
def test_another_state_is_restored(small, monkeypatch, name):
  def restore(self, like, step=None):
    return RESTORED[name](like)

  assert not failed(selftest.resume())
  monkeypatch.setattr(states.Checkpoints, "restore", restore)
  (found,) = selftest.resume()
  assert found.passed is False
  assert "when restored" in found.message


def test_data_that_do_not_follow_the_step(small, monkeypatch):
  calls = itertools.count()
  batch_at = selftest._batch_at
  monkeypatch.setattr(selftest, "_batch_at", lambda step: batch_at(next(calls)))
  (found,) = selftest.resume()
  assert found.passed is False
  assert "when continued" in found.message


def test_float64():
  case = test_contract_catches.table()
  with test_contract_catches.contract.precision("float64"):
    found = findings.of_case("table", case)
  assert not failed(found), found
  assert {f.bar for f in found if f.check != "reads"} == {
    "<= 1e-12",
    "no bit moves",
  }


# --- a run ---


def trained(folder, config, *flags):
  argv = ["train", f"--config={ROOT}/{config}", f"--workdir={folder}"]
  argv += ["--config.train.steps=2", "--config.evaluate.baselines=()"]
  assert program.main([*argv, *flags]) == 0
  return folder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A run of two updates on 2 ** 16 sequences: too many to enumerate."""
  folder = tmp_path_factory.mktemp("runs") / "markov"
  return trained(folder, "configs/markov_gpt.py:tiny")


def check_run(workdir, capsys):
  capsys.readouterr()
  assert program.main(["selftest", f"--workdir={workdir}"]) == 0
  out = capsys.readouterr().out
  assert "9 checks passed" in out
  for check in (*CASE, *CHANCE, "same state"):
    assert f" {check} " in out
  return out


@pytest.mark.slow
def test_a_run_is_checked_on_sampled_cells(workdir, capsys):
  out = check_run(workdir, capsys)
  assert "sampled: 64 sites, all 2 values" in out
  assert "sampled: 20,000 draws of step" in out
  assert "sampled: 16, 26 sampled swaps" in out
  assert "sampled: 16, all 16 steps" in out


@pytest.mark.slow
def test_a_run_on_text(tmp_path, capsys):
  flags = ["--config.data.length=32", "--config.data.stride=16"]
  run = trained(tmp_path / "text", "configs/text_gpt.py:tiny", *flags)
  out = check_run(run, capsys)
  assert "sampled: 16, all 32 steps" in out


@pytest.mark.slow
@pytest.mark.parametrize("ordering", ["random", "all"])
def test_a_run_in_another_order(tmp_path, capsys, ordering):
  config = f"configs/markov_gpt.py:tiny,ordering={ordering}"
  run = trained(tmp_path / "run", config, "--config.data.length=8")
  out = check_run(run, capsys)
  orders = dict(random="1 order", all="2 orders")[ordering]
  assert f"all 256 x {orders}, every swap" in out


def probed(case, sampler=None):
  """What the probe finds about a case of a larger space."""
  order_KL = case.order_KL
  ordering = types.SimpleNamespace(draw=lambda key_B: order_KL)
  sampler = sampler_of(case) if sampler is None else sampler
  return probe.trained(
    case.model, case.head, ordering, case.spec, case.params, sampler
  )


@pytest.fixture
def few(monkeypatch):
  """The table is probed on sampled cells, as if it had too many sequences."""
  monkeypatch.setattr(cases, "ENUMERABLE", 80)
  return table()._replace(order_KL=None)


@pytest.mark.slow
def test_a_probe_finds_what_is_broken(few):
  found = probed(few)
  assert not failed(found), found
  assert all("sampled" in f.on or f.check == "its power" for f in found[:-1])
  model = few.model
  wrong = model._replace(**leaky(model.apply), **late_step(model.step))
  found = probed(few._replace(model=wrong))
  assert {"causal", "step == apply", "sampled == scored"} <= failed(found)
  warm = probed(few, sampler_of(few, temperature=1.2))
  assert failed(warm) == {"sampler ~ model", "sampled == scored"}


def test_a_probe_sums_the_head_at_sampled_sites(few):
  def log_prob(theta, x):
    return few.head.log_prob(theta, x) + 1e-4

  head = few.head._replace(log_prob=log_prob)
  wrong = few._replace(head=head, x_NLC=np.zeros((2, 4, 1), np.int32))
  rng = np.random.default_rng(0)
  found = probe._site(wrong, sampler_of(few), rng)
  assert found[0].check == "normalised"
  assert found[0].passed is False


def test_a_run_of_nan_is_a_failure(few):
  params = jax.tree.map(lambda p: p * np.nan, few.params)
  (found,) = probed(few._replace(params=params))
  assert found.passed is False
  assert found.message == "theta is not finite"


def test_stretches_find_a_step_that_is_wrong_deep_in_the_cache():
  """A recurrent state: what is not extended up to a stretch is wrong there."""
  case = test_contract_catches.recurrent()
  params = cases.random_params(case.model, dtype=np.float32)
  case = case._replace(params=params)
  step = case.model.step

  def tired(params, cache, x_BC, t):
    theta, cache = step(params, cache, x_BC, t)
    return theta + jnp.where(t == 3, 0.1, 0), cache

  plan = findings.Plan([(0, 0, 1)], [(0, 2), (2, 2)], cuts=None)
  assert not failed(findings.of_case("state", case, plan))
  wrong = case._replace(model=case.model._replace(step=tired))
  found = findings.of_case("state", wrong, plan)
  assert failed(found) == {"step == apply"}
  shallow = plan._replace(stretches=[(0, 2)])
  assert not failed(findings.of_case("state", wrong, shallow))


@pytest.mark.slow
def test_real_values_are_refused(workdir, monkeypatch, capsys):
  run = types.SimpleNamespace(spec=SPEC._replace(num_values=None, delta=0.1))
  monkeypatch.setattr(runs, "load", lambda workdir: run)
  assert program.main(["selftest", "--workdir=x"]) == 2
  assert "discrete values" in capsys.readouterr().err


@pytest.mark.parametrize(
  "file",
  sorted((ROOT / "ar_jax" / "proofs").glob("*.py")),
  ids=lambda file: file.stem,
)
def test_no_check_is_lost_under_python_O(file):
  source = file.read_text()
  found = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Assert)]
  assert not found
