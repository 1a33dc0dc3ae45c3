"""`ar_jax bench train`: what it counts and what it prints; no bar on speed."""

import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest

from ar_jax import __main__ as program
from ar_jax import (
  assemble,
  bench,
  bench_train,
  cost,
  data,
  errors,
  operations,
  peer_step,
)
from ar_jax import config as configs
from ar_jax.types import DataSpec

ROOT = pathlib.Path(__file__).parent.parent
TORCH = importlib.util.find_spec("torch") is not None
TINY = ["--config=configs/shakespeare_char.py:tiny", "--values=11"]
TINY += ["--repeats=1", "--steps=2"]


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(bench_train, "_size", lambda: 64)


def _config(file, **values):
  return configs.load(f"configs/{file}", values.items())


def _gpt():
  config = _config("shakespeare_char.py:tiny")
  return bench_train.subject(config, DataSpec((33,), 1, 11))


@pytest.mark.slow
def test_prints_a_table_and_a_line_of_json(capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "200")
  monkeypatch.setattr(bench, "matmul_rate", lambda size: 1e9)
  assert program.main(["bench", "train", *TINY]) == 0
  printed = capsys.readouterr().out.strip().splitlines()
  found = json.loads(printed[-1])
  assert found["sites"] == 4 * 33
  assert found["sites_per_s"] == pytest.approx(132e3 / found["step_ms"])
  rate = found["flops"] / found["step_ms"] * 1e3
  assert found["flops_per_s"] == pytest.approx(rate)
  assert f" {rate / 1e9:.0%} of the measured peak, 1 GFLOP/s" in printed[-5]
  assert "3 x (matrix products" in printed[-6]
  assert printed[-4] == (
    "no published peak of cpu is known here: none is guessed"
  )
  stages = ["imports", "data", "parameters", "trace", "compile", "first_step"]
  assert list(found["stages"]) == stages
  assert found["peer"] is None


@pytest.mark.parametrize(
  "config", ["shakespeare_char.py:tiny", "architectures.py:tiny,model=ardm"]
)
def test_counts_the_products_of_the_parameters(config):
  """Of the backward pass too: what is counted there is twice the forward.

  Of an order-agnostic network those of the one pass that trains it.
  """
  spec = DataSpec((8, 8), 1, 17) if "ardm" in config else DataSpec((33,), 1, 11)
  subject = bench_train.subject(_config(config), spec)
  params, flops = cost.of_step(subject.config, subject.net, subject.spec)
  assert params == sum(p.size for p in jax.tree.leaves(subject.state.params))
  step = subject.train_step
  args = subject.state, subject.layout.feed(subject.batch_at(0))
  counted = operations.flops(step, *args, jax.random.key(0))
  assert counted == flops


def test_every_run_has_its_turn_and_medians_leave_the_first_out(monkeypatch):
  subject = _gpt()
  now, calls = [0.0], []
  monkeypatch.setattr(bench_train.time, "perf_counter", lambda: now[0])
  monkeypatch.setattr(bench_train.time, "process_time", lambda: 2 * now[0])

  def step(state, batch, key):
    now[0] += 0.003 if "ours" in calls else 10.0
    calls.append("ours")
    return state, dict(nats=1.0)

  def theirs(batch):
    now[0] += 0.5 if calls[-1:] == ["theirs"] else 0.012
    calls.append("theirs")

  def batch_at(n):
    now[0] += 0.001
    return np.zeros((4, 2))

  peer = peer_step.Peer("torch 0", 7, None, {"eager": theirs})
  subject = subject._replace(batch_at=batch_at)
  monkeypatch.setattr(bench, "matmul_rate", lambda size: 5e9)
  found = bench_train.training(subject, step, {}, repeats=1, count=1, peer=peer)
  assert found["step_ms"] == pytest.approx(3.0)
  assert found["cpu_ms"] == pytest.approx(6.0)
  assert found["peer"]["step_ms"]["eager"] == pytest.approx(12.0)
  assert found["peer"]["params"] == 7
  assert found["batch_ms"] == pytest.approx(1.0)
  assert found["matmul"] == 5e9
  # The peer's very first one, then in turns; ours once more in the loop.
  assert calls == ["theirs"] + ["theirs", "ours", "ours"] * 2


def test_a_peak_that_nobody_published_is_not_guessed():
  assert bench_train.published(["NVIDIA H200"]) == 989e12
  assert bench_train.published(["TPU v4", "TPU v4"]) == 550e12
  assert bench_train.published(["NVIDIA H200 NVL"]) is None
  assert bench_train.published(["NVIDIA H200", "cpu"]) is None


def test_data_of_the_config_or_values_drawn_at_random():
  config = _config("markov_gpt.py:tiny")
  dataset = assemble.dataset(config)
  subject = bench_train.subject(config, dataset.spec, dataset.splits["train"])
  size = config.train.batch_size
  wanted = data.train_batches(dataset.splits["train"], size, config.seed)(3)
  for a, b in zip(
    *map(jax.tree.leaves, (subject.batch_at(3), wanted)), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  spec = DataSpec((2, 3), 2, 5)
  first, again, other = map(bench_train.noise(spec, 4), (0, 0, 1))
  assert first.x_BLC.shape == (4, 6, 2)
  np.testing.assert_array_equal(first.x_BLC, again.x_BLC)
  assert (first.x_BLC != other.x_BLC).any()
  assert set(np.unique(bench_train.noise(spec, 100)(0).x_BLC)) == set(range(5))
  real = bench_train.noise(DataSpec((6,), 1, None, 0.5), 4)(0)
  assert real.x_BLC.dtype == np.float32


@pytest.mark.parametrize(
  ("flags", "told"),
  [
    (["train"], "takes --config"),
    (["train", *TINY, "--batch=3"], "bench train takes no --batch"),
    (["train", *TINY, "--torch_compile"], "--peer=FILE.py"),
    (["train", *TINY, "--steps=0"], "--steps=0"),
    (["sample", "--steps=3"], "bench sample takes no --steps"),
    (["sample", "--peer=a.py"], "bench sample takes no --peer"),
  ],
)
def test_flags_that_do_not_go_together(flags, told, capsys):
  assert program.main(["bench", *flags]) == 2
  assert told in capsys.readouterr().err


def test_without_torch_the_row_says_so(capsys, monkeypatch):
  real = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    "find_spec",
    lambda name, *args: None if name == "torch" else real(name, *args),
  )
  monkeypatch.setenv("COLUMNS", "200")
  flags = [*TINY, "--peer=experiments/peers/nanogpt_step.py"]
  assert program.main(["bench", "train", *flags]) == 0
  printed = capsys.readouterr().out
  assert "│ PyTorch │ peer not installed │" in printed
  assert json.loads(printed.strip().splitlines()[-1])["peer"] is None


PEERS = {
  "nanogpt_step": ("shakespeare_char.py:tiny", {}),
  "gated_pixelcnn": ("digits_gated_pixelcnn.py:tiny", {"model.dropout": 0.2}),
  "pixelcnn_pp": ("digits_pixelcnn_pp.py:tiny", {"model.dropout": 0.2}),
}


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
@pytest.mark.parametrize(
  "name",
  [
    "nanogpt_step",
    "gated_pixelcnn",
    pytest.param("pixelcnn_pp", marks=pytest.mark.slow),
  ],
)
def test_the_peer_is_the_same_network(name):
  """Its theta, its loss, and its parameters after an update are ours."""
  file, values = PEERS[name]
  config = _config(file, **values)
  # An average that is kept alike, and a rate that shows in one update.
  config.train.ema_decay = 0.9
  config.optimizer.update(schedule="constant", warmup=0, lr=1e-2)
  spec, split = DataSpec((33,), 1, 11), None
  if name != "nanogpt_step":
    dataset = assemble.dataset(config)
    spec, split = dataset.spec, dataset.splits["train"]
  made = bench_train.subject(config, spec, split)
  path = f"experiments/peers/{name}.py"
  params = jax.tree.map(np.asarray, made.state.params)
  peer = peer_step.load(path, configs.plain(config), spec, params)
  batch = made.batch_at(0)
  assert peer.params == sum(p.size for p in jax.tree.leaves(params))
  assert bench_train.apart(made, peer, batch) < 1e-5
  if name != "nanogpt_step":  # dropout draws other masks
    config.model.dropout = 0.0
    made = bench_train.subject(config, spec, split)
    peer = peer_step.load(path, configs.plain(config), spec, params)
  args = made.layout.feed(batch), jax.random.key(0)
  state, metrics = made.train_step(made.state, *args)
  loss = peer.steps["eager"](batch)
  ours = float(metrics["nats"] / metrics["weight"])
  np.testing.assert_allclose(loss, ours, rtol=1e-5)
  updated = made._replace(state=state)
  assert bench_train.apart(updated, peer, batch) < 1e-2
  assert bench_train.apart(made._replace(state=_first(params)), peer, batch) > (
    10 * bench_train.apart(updated, peer, batch)
  )


def _first(params):
  return bench_train.runs.training.TrainState(0, params, None, None)


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
@pytest.mark.parametrize(
  ("name", "file", "values"),
  [
    ("nanogpt_step", "shakespeare_char.py:preset=modern,tiny", {}),
    ("gated_pixelcnn", "digits_pixelcnn_pp.py:tiny", {}),
    ("pixelcnn_pp", "digits_gated_pixelcnn.py:tiny", {}),
  ],
)
def test_another_network_is_no_peer(name, file, values):
  config = _config(file, **values)
  spec = DataSpec((33,), 1, 11)
  with pytest.raises(errors.UsageError, match=f"{name}.*this peer"):
    peer_step.load(
      f"experiments/peers/{name}.py", configs.plain(config), spec, {}
    )
