"""A run trained in every order, asked for one, for several, and for few."""

import dataclasses
import json

import numpy as np
import pytest
import tiny_data

from ar_jax import __main__ as program
from ar_jax import assemble, data, errors, launch, likelihood, scoring
from ar_jax import config as configs
from ar_jax import run as runs


def _trained(folder, path, **overrides):
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(tiny_data.ROOT)
    overrides = {"train.steps": 2, "train.eval_every": 2, **overrides}
    config = configs.load(path, list(overrides.items()))
    config = tiny_data.fill(config, folder)
  launch.train(config, folder / "run")
  return folder / "run"


@pytest.fixture(scope="module")
def every(tmp_path_factory):
  """A GPT in all orders."""
  folder = tmp_path_factory.mktemp("every")
  path = "configs/markov_gpt.py:tiny,ordering=all"
  return _trained(folder, path, **{"evaluate.baselines": ("marginal",)})


@pytest.mark.slow
def test_one_order_is_scored_exactly(every, capsys):
  argv = ["evaluate", f"--workdir={every}", "--ordering=reverse"]
  assert program.main(argv) == 0
  assert "exact" in capsys.readouterr().out
  model = json.loads((every / "reports" / "evaluation.json").read_text())
  run = runs.load(every)
  split = assemble.dataset(run.config).splits["valid"]
  x_NLC, _, _ = split.get(np.arange(split.size))
  reverse_1L = np.arange(run.spec.length, dtype=np.int32)[None, ::-1]
  log_N = run.log_prob(x_NLC, orders=reverse_1L)
  mean = -log_N.sum() / x_NLC.size
  assert model["model"]["nats_per_site"] == pytest.approx(mean, rel=1e-5)
  assert model["model"]["estimator"] == "exact"
  with np.load(every / "reports" / "maps.npz") as maps:
    np.testing.assert_allclose(maps["site_nats"].sum(), -log_N.mean(), 1e-5)
    assert maps["site_nats"].shape == run.spec.shape
    np.testing.assert_array_equal(maps["step_nats"], maps["site_nats"][::-1])
    assert (maps["site_weight"] == split.size).all()
  picture = (every / "reports" / "maps.png").read_bytes()
  assert picture.startswith(b"\x89PNG")


def test_a_fixed_order_with_options_is_recorded(every, capsys):
  argv = ["evaluate", f"--workdir={every}", "--ordering=random"]
  assert program.main([*argv, "--set", "seed=3"]) == 0
  report = json.loads((every / "reports" / "evaluation.json").read_text())
  assert report["ordering"] == "random"
  with np.load(every / "reports" / "maps.npz") as maps:
    assert maps["ordering"] == "random"
    site_L, step_L = maps["site_nats"], maps["step_nats"]
  order_L = np.random.default_rng(3).permutation(len(site_L))
  np.testing.assert_array_equal(step_L, site_L[order_L])
  capsys.readouterr()
  for name in ("all", "k_set", "blocks"):
    assert program.main([*argv[:2], f"--ordering={name}"]) == 2
  assert program.main([*argv[:2], "--set", "seed=3"]) == 2
  assert capsys.readouterr().err.count("\n") == 4


def test_several_orders_are_mixed(every, capsys):
  argv = ["evaluate", f"--workdir={every}", "--config.evaluate.orders=3"]
  assert program.main(argv) == 0
  assert "orders mixed at the joint level" in capsys.readouterr().out
  report = json.loads((every / "reports" / "evaluation.json").read_text())
  run = runs.load(every)
  split = assemble.dataset(run.config).splits["valid"]
  x_NLC, _, _ = split.get(np.arange(split.size))
  orders_KL = run.first_orders(3)
  rows = [run.log_prob(x_NLC, orders=o[None]) for o in orders_KL]
  mixed_N = likelihood.mix(rows)
  np.testing.assert_allclose(
    run.log_prob(x_NLC, orders=orders_KL), mixed_N, rtol=1e-6
  )
  curve = report["orders"]["mixture"]
  assert list(curve) == ["1", "2", "3"]
  assert curve["3"] == pytest.approx(-mixed_N.mean(), rel=1e-5)
  assert report["model"]["estimator"] == "exact: mixture of 3 orders"
  assert report["orders"]["mean"] == pytest.approx(-np.mean(rows), rel=1e-5)
  assert "best" not in report["orders"]  # of valid itself it would be a leak


def test_the_best_order_is_chosen_on_the_validation_split(every):
  run = runs.load(every)
  dataset = assemble.dataset(run.config)
  train, valid = (dataset.splits[name] for name in ("train", "valid"))
  x_NLC = {
    "test": train.get(np.arange(20))[0],
    "valid": valid.get(np.arange(20))[0],
  }
  splits = {name: data.items(x) for name, x in x_NLC.items()}
  config = configs.restore(configs.plain(run.config))
  config.evaluate.split = "test"
  run = dataclasses.replace(run, config=config)
  _, _, found = scoring.score_orders(
    run, run.params, dataset._replace(splits=splits), 5
  )
  nats = {
    name: [-run.log_prob(x, orders=o[None]).mean() for o in run.first_orders(5)]
    for name, x in x_NLC.items()
  }
  best = int(np.argmin(nats["valid"]))
  assert best != np.argmin(nats["test"])  # else this would show nothing
  assert found["best"] == dict(
    order=best, nats=found["each"][best], chosen_on="valid"
  )
  np.testing.assert_allclose(found["each"], nats["test"], rtol=1e-5)


def test_what_one_order_cannot_be_asked(tmp_path):
  workdir = _trained(tmp_path, "configs/markov_gpt.py:tiny")
  run = runs.load(workdir)
  with pytest.raises(errors.UsageError, match="in the order raster alone"):
    run.in_order("reverse")
  with pytest.raises(errors.UsageError, match="train on a family of several"):
    run.first_orders(2)
  with pytest.raises(errors.UsageError, match="takes an order-agnostic"):
    run.in_passes(3)


@pytest.mark.slow
def test_few_passes_are_an_approximation(tmp_path, capsys):
  workdir = _trained(
    tmp_path,
    "configs/bmnist_ardm.py:tiny,trunk=mlp",
    **{"data.shape": (3, 4), "evaluate.baselines": ("marginal",)},
  )
  sample = ["sample", f"--workdir={workdir}", "--num=2", "--passes=5"]
  assert program.main(sample) == 2
  assert "was scored before: ar_jax evaluate" in capsys.readouterr().err
  assert program.main(["evaluate", f"--workdir={workdir}"]) == 0
  assert program.main(sample) == 0
  assert "5 passes for 12 sites are an approximation" in capsys.readouterr().err
  assert len(list((workdir / "samples").glob("sample_?.png"))) == 2
  assert program.main([*sample[:-1], "--passes=13"]) == 2
  assert "13 passes cannot draw 12 sites" in capsys.readouterr().err
  assert not runs.load(workdir).in_passes(5).net.sampler.exact
  assert runs.load(workdir).in_passes(12).net.sampler.exact
