"""One device, two and eight, two processes: all compute the same run."""

import functools
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from ar_jax import config as configs
from ar_jax import cost, errors, launch, parallel
from ar_jax import run as runs

ROOT = pathlib.Path(__file__).parent.parent
SCRIPT = ROOT / "tests" / "devices.py"
LAYOUTS = ("pmap", "sharded")
# Devices of each process; the starts of Python and the compiler are dear.
COUNTS = [
  pytest.param((1,), id="1"),
  pytest.param((2,), id="2", marks=pytest.mark.slow),
  pytest.param((8,), id="8"),
  pytest.param((1, 1), id="1-1", marks=pytest.mark.slow),
  pytest.param((2, 2), id="2-2", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
  """(devices of each process) -> what they found, the same in all of them."""
  folder = tmp_path_factory.mktemp("devices")

  @functools.cache
  def of(counts):
    outs = [folder / f"{counts}_{i}.npz" for i in range(len(counts))]
    more = [()]
    if len(counts) > 1:
      address = f"127.0.0.1:{_free_port()}"
      more = [(address, len(counts), i) for i in range(len(counts))]
    started = map(_start, counts, outs, more)
    assert [p.wait() for p in list(started)] == [0] * len(counts)
    found = [dict(np.load(out)) for out in outs]
    assert [bool(f.pop("first")) for f in found] == [
      True,
      *[False] * (len(counts) - 1),
    ]
    for one in found:
      assert one["devices"] == sum(counts)
      for name in one:
        np.testing.assert_array_equal(one[name], found[0][name], name)
    return found[0]

  return of


def _start(devices, out, more):
  # Half the time is the compiler's: it leaves the machine code as it comes.
  flags = f"--xla_force_host_platform_device_count={devices}"
  flags += " --xla_backend_optimization_level=0"
  env = dict(os.environ, XLA_FLAGS=flags, JAX_PLATFORMS="cpu", NPROC="32")
  command = [sys.executable, str(SCRIPT), str(out), *map(str, more)]
  return subprocess.Popen(command, env=env)


def _free_port():
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return found.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_devices_agree(results, n, layout, accumulate):
  # Accumulated or not: other sums, not the same bits. Dropout is by example.
  one, many = results((1,)), results(n)
  run = f"{layout}_{accumulate}"
  assert one["pmap_1_weight"] == many[f"{run}_weight"]
  losses, other = one["pmap_1_losses"], many[f"{run}_losses"]
  losses = losses[: len(other)]
  assert abs(other[0] / losses[0] - 1) < 2e-6
  np.testing.assert_allclose(other, losses, rtol=1e-5)
  # The gradient itself: SGD would show a wrong scale, which Adam hides.
  params, other = one["pmap_1_params"], many[f"{run}_params"]
  np.testing.assert_allclose(other, params, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_state_is_cut_over_devices(results, n, accumulate):
  """Half the parameters on two devices; of the moments an eighth on eight."""
  share = {1: 1, 2: 0.53, 4: 0.45, 8: 0.42}[sum(n)]
  found = results(n)
  assert found[f"pmap_{accumulate}_share"] == 1
  assert found[f"sharded_{accumulate}_share"] <= share


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_item_is_scored_once(results, n, layout):
  """13 items, batches of 4; evaluate.py sees to it that none is left out."""
  nats_N = results(n)[f"{layout}_nats"]
  np.testing.assert_allclose(nats_N, results((1,))["pmap_nats"], rtol=1e-6)
  assert len(nats_N) == 13


@pytest.mark.parametrize("n", COUNTS)
def test_devices_draw_the_same_masks(results, n):
  masks = results(n)["masks"]
  np.testing.assert_array_equal(masks, results((1,))["masks"])
  assert len({m.tobytes() for m in masks}) == len(masks)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_devices_draw_the_same_rows(results, n, layout):
  one, many = results((1,)), results(n)
  if len(n) == 1:
    assert many[f"{layout}_drawn_over"] == n[0]
  rows = one["pmap_drawn"]
  assert len({row.tobytes() for row in rows}) == len(rows) == 5
  np.testing.assert_array_equal(many[f"{layout}_drawn"], rows)
  np.testing.assert_allclose(
    many[f"{layout}_drawn_log_prob"],
    one["pmap_drawn_log_prob"],
    rtol=0,
    atol=1e-5,
  )


@pytest.mark.parametrize("n", COUNTS)
def test_processes_agree_on_what_the_first_says(results, n):
  assert results(n)["agreed"] == 100


class _Mesh:
  shape = dict(data=4, model=2)


@pytest.mark.parametrize(
  ("name", "shape", "spec"),
  [
    ("params/gpt/block_0/up/kernel", (6, 8), (None, "model")),
    ("params/gpt/block_0/down/kernel", (8, 6), ("model", None)),
    ("params/gpt/block_0/down/kernel", (7, 6), (None, "model")),
    ("params/gpt/block_0/up/kernel", (6, 7), (None, None)),
    ("params/gpt/block_0/up/bias", (8,), (None,)),
    ("params/net/conv/kernel", (3, 3, 5, 8), (None, None, None, "model")),
    ("opt_state/1/mu/gpt/block_0/up/kernel", (8, 8), ("data", "model")),
    ("opt_state/1/mu/gpt/block_0/down/kernel", (8, 8), ("model", None)),
    ("opt_state/1/mu/gpt/block_0/up/kernel", (6, 8), (None, "model")),
    ("opt_state/1/count", (), ()),
  ],
)
def test_rules_cut_what_they_divide(name, shape, spec):
  rules = (*parallel.RULES, (r"^opt_state/.*kernel$", 0, "data"))
  a = jax.ShapeDtypeStruct(shape, "float32")
  assert tuple(parallel._spec(_Mesh, rules, name, a)) == spec


@pytest.mark.parametrize(
  ("make", "options", "said"),
  [
    (parallel.sharded, dict(model=3), "must divide the 1 devices"),
    (parallel.sharded, dict(model=0), "must divide the 1 devices"),
    (parallel.sharded, dict(rules=(("kernel", 0),)), "is no rule"),
    (parallel.sharded, dict(rules=(("(", 0, "data"),)), "is no rule"),
    (parallel.sharded, dict(rules=(("a", 0, "rows"),)), "is no rule"),
    (parallel.pmapped, dict(model=2), "parallel.name=sharded"),
    (parallel.pmapped, dict(rules=()), "parallel.name=sharded"),
  ],
)
def test_layout_that_cannot_be_is_refused(make, options, said):
  with pytest.raises(errors.UsageError, match=said):
    make(**options)


@pytest.mark.parametrize(
  ("given", "env", "joined"),
  [
    (dict(), {}, None),
    (dict(num_processes=1), dict(SLURM_STEP_NUM_TASKS="4"), None),
    (dict(), dict(SLURM_STEP_NUM_TASKS="1"), None),
    (dict(), dict(SLURM_STEP_NUM_TASKS="4"), (None, None, None)),
    (dict(coordinator="auto"), {}, (None, None, None)),
    (dict(coordinator="a:1", num_processes=2, process_id=0), {}, ("a:1", 2, 0)),
  ],
)
def test_processes_are_joined_where_there_are_several(
  monkeypatch, given, env, joined
):
  seen = []
  monkeypatch.setattr(jax.distributed, "initialize", lambda **k: seen.append(k))
  monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
  for key, value in env.items():
    monkeypatch.setenv(key, value)
  parallel.start(**given)
  assert [tuple(k.values()) for k in seen] == (
    [] if joined is None else [joined]
  )


def test_processes_that_cannot_be_joined_are_an_error(monkeypatch):
  monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
  with pytest.raises(errors.UsageError, match="--num_processes and"):
    parallel.start("127.0.0.1:1", 2)


def test_a_run_that_does_not_fit_says_so_and_writes_nothing(
  tmp_path, monkeypatch
):
  config = configs.load(ROOT / "configs/text_gpt.py:tiny")
  monkeypatch.setattr(cost, "_free_memory", lambda: 10**6)
  with pytest.raises(errors.UsageError, match="which has 0.000931 GiB free"):
    launch.train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_tasks_of_a_slurm_step_train_one_run(tmp_path):
  """Two tasks of two devices, as SLURM names them, beside one device."""
  env = dict(
    SLURM_JOB_ID=str(int(time.time()) % 10**6),
    SLURM_STEP_NODELIST="127.0.0.1",
    SLURM_NTASKS="2",
    SLURM_STEP_NUM_TASKS="2",
  )
  tasks = [dict(env, SLURM_PROCID=i, SLURM_LOCALID=i) for i in "01"]
  cut = [f"--config.parallel.{a}" for a in ("name=sharded", "model=2")]
  started = [_train(tmp_path / "many", task, 2, *cut) for task in tasks]
  outputs = [p.communicate()[0] for p in started]
  assert [p.returncode for p in started] == [0, 0], outputs
  assert "each scored once" in outputs[0]
  assert "nats" not in outputs[1]
  alone = _train(tmp_path / "one", {}, 1)
  alone.communicate()
  many, one = (runs.load(tmp_path / name) for name in ("many", "one"))
  assert many.step == one.step == 4
  leaves = (jax.tree.leaves(run.params) for run in (many, one))
  for a, b in zip(*leaves, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  lines = [
    (run.workdir / "metrics.jsonl").read_text().splitlines()
    for run in (many, one)
  ]
  for pair in zip(*lines, strict=True):
    here, there = map(json.loads, pair)
    assert here["step"] == there["step"]
    assert here.get("sites") == there.get("sites")
    assert abs(here["nats_per_site"] / there["nats_per_site"] - 1) < 1e-5
  # Begun by two processes, it goes on in one, whatever its layout was.
  again = _train(
    tmp_path / "many",
    {},
    1,
    "--config.parallel.name=pmap",
    "--config.parallel.model=1",
  )
  again.communicate()
  assert again.returncode == 0


def _train(workdir, env, devices, *more):
  """`ar_jax train`, four updates of a tiny GPT."""
  flags = f"--xla_force_host_platform_device_count={devices}"
  env = {**os.environ, "XLA_FLAGS": flags, "NPROC": "32", **env}
  argv = "train", "--config=configs/text_gpt.py:tiny", f"--workdir={workdir}"
  values = dict(steps=4, eval_every=2, log_every=1)
  argv += tuple(f"--config.train.{k}={v}" for k, v in values.items())
  argv += ("--config.optimizer.name=sgd", "--config.optimizer.lr=.1")
  return subprocess.Popen(
    [sys.executable, "-m", "ar_jax", *argv, *more],
    env=env,
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  )
