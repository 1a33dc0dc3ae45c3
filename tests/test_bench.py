"""`ar_jax bench`: what it counts and what it prints; no bar on speed."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ar_jax import __main__ as program
from ar_jax import assemble, bench, gpt2, operations, peer, registry
from ar_jax.commands import bench as command
from ar_jax.models import wavenet
from ar_jax.nn import dense
from ar_jax.proofs import cases
from ar_jax.types import DataSpec

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


def subject(name, length=6, ordering="raster", **section):
  """A Subject of a tiny network over ternary values."""
  spec = DataSpec((length,), 1, 3)
  made = registry.build("orderings", dict(name=ordering), spec.shape)
  head = registry.build("heads", dict(name="categorical"), spec)
  section = dict(name=name, **section)
  model = registry.build("models", section, spec, head, made)
  sampler = registry.build("samplers", dict(name="ancestral"), model, head)
  net = assemble.Network(made, head, model, sampler)
  return bench.Subject(name, net, spec, cases.initial(model.init))


def small_wavenet(**fields):
  sizes = dict(dilations=(1, 2), residual=4, skip=6)
  return subject("wavenet", **sizes, **fields)


TABLE = np.zeros((100, 8), np.float32)  # 3200 bytes
ROW = 32


@pytest.mark.parametrize(
  ("step", "count"),
  [
    (lambda a, t: a[t] + a[t + 1], 2 * ROW),
    (lambda a, t: a[jnp.stack([t, t, t])], 3 * ROW),
    (lambda a, t: a.sum(), 100 * ROW),
    (lambda a, t: a[:60] + a[40:], 100 * ROW),  # no more than all
    (lambda a, t: a.at[t].set(1.0), 0),
    (lambda a, t: a.at[t].set(1.0)[t], ROW),
    (lambda a, t: a.at[t].set(1.0) @ jnp.ones(8), 100 * ROW),
    (lambda a, t: jax.jit(lambda b: b.at[t].set(1.0))(a).T[:, t], ROW),
    (lambda a, t: jax.jit(lambda b: b.reshape(-1))(a).sum(), 100 * ROW),
    (lambda a, t: jnp.zeros((100, 8)).at[t].set(a[t]), ROW),
    # What one of two branches reads is not read by every call.
    (lambda a, t: jax.lax.cond(t > 0, lambda: a.sum(), lambda: a[t, 0]), 4),
    (lambda a, t: jax.lax.cond(t > 0, lambda: a.sum(), lambda: 0.0), 0),
  ],
)
def test_bytes_read(step, count):
  t = jax.ShapeDtypeStruct((), np.int32)
  found = operations.bytes_read(lambda a, t: step(a, t), TABLE, t)
  assert count <= found <= count + 16  # and t itself


A, B = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)


def _convolved(x_BHWD):
  kernel = jnp.ones((2, 3, 4, 6))
  layout = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(
    x_BHWD, kernel, (1, 1), "VALID", dimension_numbers=layout
  )


@pytest.mark.parametrize(
  ("function", "args", "count"),
  [
    (jnp.matmul, (A, B), 2 * 3 * 4 * 5),
    (lambda a: jnp.einsum("bij,bkj->bik", a, a), (np.ones((7, 3, 4)),), 504),
    (jax.jit(lambda a, b: jnp.tanh(a @ b) + 1), (A, B), 120),
    (jax.checkpoint(jnp.matmul), (A, B), 120),
    (dense.matmul, (A, B), 120),
    (_convolved, (np.ones((2, 5, 5, 4)),), 2 * (2 * 4 * 3 * 6) * 2 * 3 * 4),
    (
      lambda a: jax.lax.scan(lambda c, _: (c @ c, None), a, None, 9)[0],
      (np.ones((4, 4)),),
      9 * 2 * 64,
    ),
    (
      lambda a: jax.lax.cond(a[0, 0] > 0, lambda: a @ a, lambda: a),
      (np.ones((4, 4)),),
      0,
    ),
  ],
)
def test_flops_are_those_of_products(function, args, count):
  assert operations.flops(function, *args) == count


def test_ceiling_counts_the_parameters_and_the_rings_slots():
  made = small_wavenet()
  params = sum(p.nbytes for p in jax.tree.leaves(made.params))
  for batch in (1, 4):
    limit = bench.ceiling(made, batch, 6)
    # A row of the table each, of 3 rows in all; two taps of both layers are
    # one slot each. Then the values.
    table, row = 3 * 16, 16
    expected = params - table + min(table, batch * row) + 2 * batch * row
    assert limit.bytes_read == expected + 4 * batch
    assert limit.flops > 2 * params / 4 * batch * 0.8
    assert limit.bandwidth > 0
    assert limit.matmul > 0
    slowest = limit.bytes_read / limit.bandwidth, limit.flops / limit.matmul
    assert limit.seconds == max(slowest)


def test_naive_takes_the_receptive_field_where_it_is_declared():
  made = small_wavenet()
  assert bench.window(made, 6) == wavenet.receptive_field((1, 2)) == 4
  assert bench.window(made, 3) == 2
  assert bench.window(small_wavenet(ordering="reverse"), 6) == 6
  everything = made.net.model._replace(sees=None)
  net = made.net._replace(model=everything)
  assert bench.window(made._replace(net=net), 6) == 6
  previous = made.net.model._replace(sees=np.eye(6, k=-1, dtype=bool))
  net = made.net._replace(model=previous)
  assert bench.window(made._replace(net=net), 6) == 1
  assert bench.window(made._replace(net=net), 1) == 1


def test_sampling_says_how_long_it_took():
  row = bench.sampling(small_wavenet(), 3, 5, repeats=2)
  step = row["sampler_step_us"] / 1e6
  assert row["samples_per_s"] == pytest.approx(3 / step)
  assert row["step_us"] > 0
  assert row["naive_samples_per_s"] > 0
  assert (row["batch"], row["length"]) == (3, 5)


@pytest.mark.slow
def test_samplers_side_by_side(capsys, monkeypatch):
  flags = ["--config=configs/text_gpt.py:tiny", "--batch=2", "--repeats=1"]
  flags += ["--config.model.depth=1", "--config.model.width=16"]
  calls = []

  def timed(run, args):
    """The other sampler takes twice the time."""
    if args not in [(), ("levels",)]:
      return 1.0
    run(*args)
    calls.append(args)
    return 2.0 if args else 1.0

  def sampler(section, model, head):
    made = registry.build("samplers", section, model, head)

    def draw(*args):
      drawn.append(section["name"])
      return made(*args)

    return draw

  drawn = []
  monkeypatch.setattr(assemble, "sampler", sampler)
  monkeypatch.setattr(bench, "_time", timed)
  monkeypatch.setenv("COLUMNS", "200")
  assert program.main(["bench", "sample", *flags, "--beside=levels"]) == 0
  printed = capsys.readouterr().out.strip().splitlines()
  [row] = json.loads(printed[-1])["rows"]
  other = dict(samples_per_s=row["samples_per_s"] / 2, passes=None, kept=None)
  assert row["beside"] == dict(levels=other)
  assert calls == [(), ("levels",)] * 2  # to compile and to measure, in turns
  assert drawn == ["ancestral", "levels"] * 2
  assert any("x levels" in line for line in printed)
  assert any(line.rstrip("│ ").endswith("2.00") for line in printed)
  monkeypatch.undo()
  monkeypatch.chdir(ROOT)
  assert program.main(["bench", "sample", *flags, "--beside=level"]) == 2
  assert "nearest: levels" in capsys.readouterr().err


@pytest.mark.slow
def test_passes_are_told_where_they_are_not_steps(capsys, monkeypatch):
  flags = ["--config=configs/text_gpt.py:tiny", "--batch=2", "--repeats=1"]
  flags += ["--config.model.depth=1", "--config.model.width=16"]
  flags += ["--config.sample.name=jacobi", "--length=12"]
  monkeypatch.setenv("COLUMNS", "200")
  assert program.main(["bench", "sample", *flags]) == 0
  printed = capsys.readouterr().out.strip().splitlines()
  [row] = json.loads(printed[-1])["rows"]
  assert 1 <= row["passes"] <= 12
  [line] = [line for line in printed if line.startswith("│")]
  assert int(line.strip("│ ").split("│")[-1]) == row["passes"]
  subject = small_wavenet()
  beside = bench.samplers(subject, ["jacobi", "speculative"])
  row = bench.sampling(subject, 3, 5, repeats=1, beside=beside)
  assert row["passes"] is None
  assert 1 <= row["beside"]["jacobi"]["passes"] <= 5
  assert row["beside"]["jacobi"]["kept"] is None
  assert 0 <= row["beside"]["speculative"]["kept"] < 1


def test_command_ends_with_json(capsys):
  flags = ["--batch=2", "--length=12", "--repeats=1"]
  config = ["--config=configs/text_gpt.py:tiny"]
  config += ["--config.model.depth=1", "--config.model.width=16"]
  config += ["--config.model.heads=2"]
  assert program.main(["bench", "sample", *config, *flags]) == 0
  out = capsys.readouterr().out.splitlines()
  found = json.loads(out[-1])
  assert [row["batch"] for row in found["rows"]] == [2]
  assert all(row["window"] == row["length"] == 12 for row in found["rows"])
  assert "gpt of configs/text_gpt.py:tiny" in found["network"]
  ceilings = [i for i, line in enumerate(out) if line.startswith("ceiling at")]
  table = next(i for i, line in enumerate(out) if "medians of 1" in line)
  assert len(ceilings) == 1
  assert max(ceilings) < table


SMALL = ["--config=configs/shakespeare_char.py:tiny", "--values=5"]
SMALL += ["--config.model.depth=1", "--config.model.width=16"]
SMALL += ["--batch=2", "--length=12", "--repeats=1"]


def bench_row(capsys, *flags):
  """(the one row of the JSON, all that was printed)."""
  assert program.main(["bench", "sample", *SMALL, *flags]) == 0
  out = capsys.readouterr().out
  [row] = json.loads(out.strip().splitlines()[-1])["rows"]
  return row, out


def test_prompt_is_read_and_not_drawn(capsys, monkeypatch):
  known = []

  def timed(run, args):
    if args == () and run.__name__ in ("sample", "first"):
      run(*args)
    # Reading and the first value: 1 s; the 7 after it: .5 s each.
    return dict(first=1.0, sample=4.5).get(run.__name__, 1.0)

  def sampler(section, model, head):
    def draw(params, key, order_BL, given):
      known.append(given[1].sum(1).tolist() + [given[1].shape[1]])

    return draw

  monkeypatch.setattr(assemble, "sampler", sampler)
  monkeypatch.setattr(bench, "_time", timed)
  row, _ = bench_row(capsys, "--prompt_length=4", "--hugging_face=no")
  assert known == [[4, 4, 12], [4, 4, 5]] * 2
  assert (row["first_ms"], row["token_us"]) == (1000, pytest.approx(5e5))
  assert row["samples_per_s"] == pytest.approx(2 * 8 / 4.5)
  assert (row["prompt"], row["peer"]) == (4, None)
  row, _ = bench_row(capsys, "--hugging_face=no")
  assert row["token_us"] == pytest.approx(1e6 * 4.5 / 12)


@pytest.mark.slow
def test_naive_is_left_out_where_it_would_take_long(capsys, monkeypatch):
  monkeypatch.setattr(command, "_PATIENCE", 0.0)
  row, out = bench_row(capsys, "--hugging_face=no")
  assert row["naive_samples_per_s"] is None
  assert "--naive=yes measures it" in out
  row, _ = bench_row(capsys, "--hugging_face=no", "--naive=yes")
  assert row["naive_samples_per_s"] > 0


@pytest.mark.slow
def test_step_by_the_room_of_its_cache(capsys):
  flags = ["--hugging_face=no", "--capacity=12,32", "--naive=no"]
  row, out = bench_row(capsys, *flags)
  assert list(row["capacities"]) == ["12", "32"]
  ratio = row["capacities"]["32"] / row["capacities"]["12"]
  assert f"ratio {ratio:.2f}" in out
  assert program.main(["bench", "sample", *SMALL, "--capacity=99"]) == 2


def test_ceiling_counts_the_slots_that_are_filled():
  made = subject("gpt", length=11, depth=1, width=8, heads=2)
  first, last = (
    bench.ceiling(made, 3, n + 1, prompt=n).bytes_read for n in (4, 10)
  )
  assert last - first == 6 * (2 * 3 * 8 * 4)  # keys and values of 3 rows


def test_without_the_libraries_a_line_says_what_to_install(capsys, monkeypatch):
  monkeypatch.setattr(peer, "_NEEDS", ("no_such_library",))
  row, out = bench_row(capsys, "--naive=no")
  assert row["peer"] is None
  assert "pip install 'ar_jax[bench]'" in out
  assert program.main(["bench", "sample", *SMALL, "--hugging_face=yes"]) == 2
  assert "no_such_library not installed" in capsys.readouterr().err
  # To a network that is no GPT-2 the line says nothing.
  row, out = bench_row(capsys, "--naive=no", "--config.model.qk_norm=True")
  assert "not a GPT-2" not in out


def test_hugging_face_draws_from_the_same_network(capsys, monkeypatch):
  pytest.importorskip("torch")
  pytest.importorskip("transformers")
  row, out = bench_row(capsys, "--naive=no", "--prompt_length=4")
  theirs = row["peer"]
  assert theirs["logits_apart"] < 1e-5
  assert "NOT THE SAME" not in out
  assert theirs["samples_per_s"] > 0
  assert theirs["first_ms"] > 0
  tensors = gpt2.to_tensors

  def other(*args):
    return {
      k: a * (1.1 if "ln_f" in k else 1) for k, a in tensors(*args).items()
    }

  monkeypatch.setattr(gpt2, "to_tensors", other)
  row, out = bench_row(capsys, "--naive=no")
  assert "NOT THE SAME NETWORK" in out


def test_default_is_the_published_size():
  shapes = jax.eval_shape(lambda: bench.wavenet(8).params)
  shapes = {k: p.shape for k, p in shapes["wavenet"].items() if "kernel" in k}
  assert shapes["early_kernel"] == (30, 1, 64, 128)
  assert len([k for k in shapes if k.startswith("now_")]) == 30


@pytest.mark.parametrize(
  ("flags", "what"),
  [
    ([], "what"),
    (["serve"], "invalid choice"),
    (["sample", "--batch=0"], "no list such as 1,16"),
    (["sample", "--batch=a"], "no list such as 1,16"),
    (["sample", "--repeats=0"], "1 or more"),
    (["sample", "--config.seed=1"], "needs --config"),
    (["sample", "--config=a", "--workdir=b"], "not both"),
    (["sample", "--values=5"], "needs --config"),
    (["sample", "--values=5", "--config=configs/ising.py:tiny"], "is text"),
    ([*["sample"], *SMALL, "--prompt_length=12"], "at least one is drawn"),
    pytest.param(
      ["sample", "--hugging_face=yes", "--length=8"],
      "takes a GPT-2",
      marks=pytest.mark.slow,
    ),
    (
      ["sample", "--config=configs/text_gpt.py:tiny", "--length=100000"],
      "or fewer",
    ),
  ],
)
def test_what_a_user_can_mend(flags, what, capsys):
  assert program.main(["bench", *flags]) == 2
  assert what in capsys.readouterr().err
