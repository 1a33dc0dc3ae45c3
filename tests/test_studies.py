"""The studies of docs/: their cells, and their figures by hand."""

import json
import math

import jax
import numpy as np
import pytest
import tiny_data

from ar_jax import __main__ as program
from ar_jax import assemble, errors, evaluate, studies, sweep
from ar_jax import config as configs
from ar_jax.types import Condition, DataSpec

FOLDER = tiny_data.ROOT / "experiments"
ARGS = dict(
  architectures=("path=x,seeds=2", "data=text"),
  entropy_gate=("steps=7",),
  heads=("seeds=1", "data=real"),
  scaling=("path=x", "setting=accelerator,path=x"),
)
NAMES = ("architectures", "entropy_gate", "heads", "scaling")


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
  monkeypatch.chdir(tiny_data.ROOT)


def _load(name):
  return configs.load_module(FOLDER / f"{name}.py")


def _config(cell):
  own = ("config", "tags", "checkpoint", "split")
  changes = {k: v for k, v in cell.items() if k not in own}
  return configs.load(cell["config"], changes.items())


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_a_config_of_its_own(name):
  for arg in (None, "tiny", *ARGS[name]):
    cells = _load(name).sweep(arg)
    made = {json.dumps(configs.plain(_config(cell))) for cell in cells}
    assert len(made) == len(cells)


@pytest.mark.slow
@pytest.mark.parametrize("arg", [None, "tiny"])
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_checked_before_anything_runs(name, arg):
  cells = _load(name).sweep(arg)
  assert len(sweep.checked(cells)) == len(cells)


def test_scores_by_item_have_the_figure_as_their_mean():
  rng = np.random.default_rng(0)
  weight_N = rng.integers(1, 9, 50).astype(float)
  rows, bits = [], []
  for _ in range(2):
    nats_N = weight_N * rng.gamma(2, size=50)
    nats = nats_N.sum() / weight_N.sum()
    model = dict(nats_per_site=nats, bits_per_char=nats / math.log(2))
    bits.append(model["bits_per_char"])
    rows.append(dict(model=model, items=dict(nats=nats_N, weight=weight_N)))
  score_SN = studies.per_item(rows, "bits_per_char")
  np.testing.assert_allclose(score_SN.mean(1), bits)
  error = evaluate.standard_error(rows[0]["items"]["nats"], weight_N)
  spread = score_SN[0].std(ddof=1) / math.sqrt(50)
  assert spread * math.log(2) == pytest.approx(error, rel=1e-6)


def test_rows_are_grouped_by_their_tags():
  tags = [dict(data="d", net=n, order=o) for n in "ab" for o in "xyx"]
  rows = [dict(cell=dict(tags=t), row=n) for n, t in enumerate(tags)]
  by = studies.by_tags(rows, "net", "order")
  numbers = {
    net: {order: [row["row"] for row in some] for order, some in of.items()}
    for net, of in by.items()
  }
  assert numbers == dict(a=dict(x=[0, 2], y=[1]), b=dict(x=[3, 5], y=[4]))
  assert studies.by_tags(rows, "data") == {"d": rows}


@pytest.mark.parametrize("kind", ["images", "text"])
def test_networks_have_equal_parameters(kind):
  sizes = configs.load_module(tiny_data.ROOT / "configs" / "architectures.py")
  labels = dict(label=Condition("label", 10))
  spec = {
    "images": DataSpec((8, 8), 1, 17, None, labels),
    "text": DataSpec((65,), 1, 65),
  }[kind]
  data = dict(images="digits", text="text_file")[kind]
  for model in sizes.WIDTHS[kind]:
    config = sizes.get_config(f"data={data},model={model}")
    init = assemble.network(config, spec).model.init
    shapes = jax.eval_shape(init, jax.random.key(0))
    params = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert abs(params / sizes.PARAMS - 1) < 0.06, (model, params)


def test_the_law_that_made_the_losses_is_found():
  study = _load("scaling")
  law = study.Law(1.1, 30.0, 200.0, 0.4, 0.5)
  grid = [(10**n, 10**d) for n in (4, 5, 6, 7) for d in (5, 6, 7)]
  points = [study.Point("", n, d, 6.0 * n * d, 0.0) for n, d in grid]
  nats = law.loss(points)
  assert nats[0] == pytest.approx(1.1 + 30 / 1e4**0.4 + 200 / 1e5**0.5)
  points = [p._replace(nats=x) for p, x in zip(points, nats, strict=True)]
  found = study.fit(points)
  np.testing.assert_allclose(found, law, rtol=1e-3)
  assert found.share == pytest.approx(0.5 / 0.9, rel=1e-3)
  for again in study.bootstrap(points, found, draws=3):
    np.testing.assert_allclose(again.loss(points), nats, rtol=1e-3)
  rng = np.random.default_rng(0)
  noise = 1 + 0.005 * rng.normal(size=len(points))
  noisy = [
    p._replace(nats=p.nats * n) for p, n in zip(points, noise, strict=True)
  ]
  drawn = study.bootstrap(noisy, study.fit(noisy), draws=10)
  assert np.std([one.alpha for one in drawn]) > 1e-3
  # One run that went wrong does not move the law.
  wrong = [points[0]._replace(nats=9.0), *points[1:]]
  np.testing.assert_allclose(study.fit(wrong), law, rtol=0.05)
  with pytest.raises(errors.DataError, match="5 parameters .* got 4"):
    study.fit(points[:4])


def test_blocks_alone_are_counted():
  study = _load("scaling")
  cell = study.sweep()[-1]  # width 16, 2 blocks
  assert cell["tags"]["size"] == "16x2"
  net = assemble.network(_config(cell), DataSpec((64,), 1, 65))
  # and a scale for each of the norms
  assert 0 <= study._hidden(net.model) - 2 * 12 * 16**2 < 200


@pytest.mark.slow
def test_a_leak_is_called_one(tmp_path, monkeypatch, capsys):
  """Trained for ten updates all are above; then one is scored too well."""
  folder = _ran("entropy_gate", "tiny", tmp_path)
  page = (folder / "entropy_gate.md").read_text()
  study = _load("entropy_gate")
  assert page.count("| ok |") == len(study.RUNS)
  assert "leak |" not in page
  rows = []
  for cell in sweep.load(folder):
    workdir = sweep.workdir(folder, cell)
    text = (workdir / "reports" / "evaluation.json").read_text()
    with np.load(workdir / "reports" / "items.npz") as items:
      row = dict(json.loads(text), items=dict(items), cell=cell.values)
    rows.append(dict(row, workdir=workdir))
  first = rows[0]
  split = assemble.dataset(sweep.load(folder)[0].config).splits["valid"]
  exact_N = split.exact(np.arange(split.size))
  found = study.excess(first)
  over_N = (first["items"]["nats"] - exact_N) / math.log(2)
  assert found["over_exact"] == pytest.approx(over_N.mean())
  error = over_N.std(ddof=1) / math.sqrt(len(over_N))
  assert found["z"] == pytest.approx(over_N.mean() / error)
  assert found["entropy"] == pytest.approx(split.entropy / math.log(2))
  rng = np.random.default_rng(0)
  first["items"]["nats"] = exact_N - 0.1 + 0.01 * rng.random(len(exact_N))
  rows[1]["items"]["nats"][3] = math.nan
  study.report(rows, tmp_path)
  page = (tmp_path / "entropy_gate.md").read_text()
  assert page.count("| leak |") == 1
  assert page.count("| no number |") == 1
  assert page.count("| ok |") == len(rows) - 2


@pytest.mark.slow
def test_heads_are_compared_by_seed(tmp_path, capsys):
  folder = _ran("heads", "tiny,seeds=2,data=process", tmp_path)
  page = (folder / "heads.md").read_text()
  values = {}
  for cell in sweep.load(folder):
    text = sweep.workdir(folder, cell) / "reports" / "evaluation.json"
    head = cell.values["tags"]["head"]
    figure = json.loads(text.read_text())["model"]["bits_per_sample"]
    values.setdefault(head, []).append(figure)
  gap = np.mean(values["10 logistics"]) - np.mean(values["softmax"])
  assert f"{gap:+.4f}" in page
  assert f"{np.mean(values['softmax']):.4f}" in page


@pytest.mark.slow
def test_architectures_report_the_better_rate(tmp_path, capsys):
  folder = _ran("architectures", "tiny,data=text", tmp_path)
  page = (folder / "architectures.md").read_text()
  best = {}
  for cell in sweep.load(folder):
    text = sweep.workdir(folder, cell) / "metrics.jsonl"
    lines = [json.loads(line) for line in text.read_text().splitlines()]
    valid = [x["nats_per_site"] for x in lines if x["kind"] == "valid"]
    tags = cell.values["tags"]
    best.setdefault(tags["network"], {})[tags["rate"]] = min(valid)
  study = _load("architectures")
  for network, rates in best.items():
    rate = min(rates, key=rates.get)
    line = next(x for x in page.splitlines() if study.NAMES[network] in x)
    edge = " (edge)" if rate in (min(rates), max(rates)) else ""
    assert f"| {rate:g}{edge} |" in line
    assert f"{rates[rate]:.4f}" in line


@pytest.mark.slow
def test_scaling_fits_its_runs(tmp_path, capsys):
  folder = _ran("scaling", "tiny", tmp_path)
  page = (folder / "scaling.md").read_text()
  assert "| alpha |" in page
  cell = sweep.load(folder)[0]
  text = sweep.workdir(folder, cell) / "reports" / "evaluation.json"
  nats = json.loads(text.read_text())["model"]["nats_per_site"]
  first = next(line for line in page.splitlines() if "| 32x2 |" in line)
  assert "| 3,968 |" in first  # 62 updates of 4 x 16 tokens
  assert f"| {nats:.4f} |" in first
  assert (folder / "scaling.svg").stat().st_size > 10_000


def _ran(name, arg, tmp_path):
  folder = tmp_path / "runs"
  study = f"{FOLDER / name}.py:{arg}"
  assert program.main(["sweep", study, f"--workdir={folder}"]) == 0
  return folder
