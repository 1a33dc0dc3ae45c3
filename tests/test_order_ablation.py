"""The study of orders: its cells, and its figures against those by hand."""

import numpy as np
import pytest
import tiny_data

from ar_jax import __main__ as program
from ar_jax import assemble, compare, sweep
from ar_jax import config as configs
from ar_jax.datasets import ising

STUDY = tiny_data.ROOT / "experiments" / "order_ablation.py"


@pytest.fixture(scope="module")
def study():
  return configs.load_module(STUDY)


def test_every_cell_is_a_config(study):
  for data, section in study.STUDIES.items():
    cells = study.sweep(f"data={data},seeds=2")
    count = len(section["networks"]) * len(section["orders"]) * 2
    assert len(cells) == count
    assert len({str(cell["tags"]) for cell in cells}) == count
    for cell in cells[::2]:
      own = ("config", "tags", "split")
      overrides = {k: v for k, v in cell.items() if k not in own}
      config = configs.load(tiny_data.ROOT / cell["config"], overrides.items())
      assert config.seed == cell["tags"]["seed"]
      if "word" not in section:
        name = cell["tags"]["order"]
        assert config.ordering.name == name


def test_positions_are_crossed_with_orders(study):
  told = set()
  for cell in study.sweep("data=positions,seeds=1"):
    told.add(
      (
        cell["tags"]["order"],
        cell["model.position"],
        cell.get("model.step", False),
        cell.get("model.source", True),
        cell.get("model.target", True),
      )
    )
  assert len(told) == 12  # three orders, each told in four ways
  assert {row[1:] for row in told} == {
    ("rotary", False, True, True),
    ("learned", False, True, True),
    ("rotary", True, False, False),
    ("learned", True, False, False),
  }


def test_arguments_it_does_not_know_are_refused(study):
  with pytest.raises(ValueError, match="isin is not known; nearest: ising"):
    study.sweep("data=isin")


@pytest.mark.slow
def test_figures_of_a_small_study(tmp_path, capsys):
  text = STUDY.read_text()
  start = text.index("_IMAGES = (")
  stop = text.index(")\n", start)
  text = f'{text[:start]}_IMAGES = ("raster", "hilbert"{text[stop:]}'
  line = (
    '      "PixelCNN": ("ising.py:model=pixelcnn", {**_STEPS, **_CNN}, {}),\n'
  )
  assert line in text
  (tmp_path / "study.py").write_text(text.replace(line, ""))
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(tiny_data.ROOT)
    path = f"{tmp_path / 'study.py'}:data=ising,tiny,seeds=2"
    runs = tmp_path / "runs"
    assert program.main(["sweep", path, f"--workdir={runs}"]) == 0
    out = capsys.readouterr().out
    config = configs.load("configs/ising.py:model=gpt,tiny")
    split = assemble.dataset(config).splits["test"]
  assert "GPT, bits/image" in out
  nats = []  # by order, then by seed
  for cell in sweep.load(runs):
    reports = sweep.workdir(runs, cell) / "reports"
    with np.load(reports / "items.npz") as file:
      nats.append(file["nats"])
  cube = np.stack(nats).reshape(2, 2, -1) / np.log(2)
  x_NLC = split.get(np.arange(split.size))[0]
  exact_N = ising.log_prob(config.data.shape, config.data.beta, x_NLC)
  excess = cube.mean((1, 2)) + exact_N.mean() / np.log(2)
  gap = compare.paired(cube[0], cube[1])
  page = (runs / "order_ablation.md").read_text()
  lines = {x.split(" | ")[0][2:]: x.split(" | ") for x in page.splitlines()}
  for row, order in enumerate(("raster", "hilbert")):
    cells = lines[order]
    assert float(cells[1]) == pytest.approx(cube[row].mean(), abs=1e-3)
    over = float(cells[2].split(" ± ")[0])
    assert over == pytest.approx(excess[row], abs=1e-3)
  assert float(lines["hilbert"][3]) == pytest.approx(gap.mean, abs=1e-3)
  low, high = map(float, lines["hilbert"][4].split(" .. "))
  assert (low, high) == pytest.approx((gap.low, gap.high), abs=1e-3)
  for what in ("gaps", "maps"):
    picture = runs / f"order_ablation_ising_{what}.png"
    assert picture.stat().st_size > 5_000
