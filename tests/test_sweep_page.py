"""The page of many runs: what is on it, and that a browser can use it."""

import base64
import hashlib
import html
import json
import math
import re
import shutil

import numpy as np
import pytest
import tiny_data
from matplotlib import colors, image
from test_report import BROWSERS, probes, tree  # noqa: F401
from test_report import browser as browser_fixture

from ar_jax import __main__ as program
from ar_jax import chart, launch, markup, scoring, sweep_page
from ar_jax import config as configs

browser = browser_fixture
CONFIG = "configs/ising.py:model=made,tiny"
CHANGES = {
  "train.steps": 6,
  "train.eval_every": 2,
  "train.save_every": 2,
  "train.keep": 3,
  "train.batch_size": 8,
  "evaluate.batch_size": 8,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Two settings, one of them with two seeds."""
  folder = tmp_path_factory.mktemp("page") / 'runs & "more"'
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(tiny_data.ROOT)
    for lr, seed in ((1e-3, 0), (1e-3, 1), (3e-2, 0)):
      changes = {"optimizer.lr": lr, "seed": seed}
      config = configs.load(CONFIG, (CHANGES | changes).items())
      path = folder / f"{lr:g}_{seed}"
      scoring.score(*launch.train(config, path), same_data=True)
  return folder


@pytest.fixture(scope="module")
def written(folder):
  return sweep_page.write([folder], num=2)


def test_the_page_holds_every_run_and_setting(written, folder):
  text = written.read_text(encoding="utf-8")
  titles = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
  assert titles == [
    "Curves",
    "Runs",
    "Means over seeds",
    "Samples",
    "Where the nats are",
    "Cost",
    "What differs",
  ]
  for name in ("0.001_0", "0.001_1", "0.03_0"):
    assert text.count(f'data-name="{name}"') == 1
  assert text.count("<polyline") == 3
  assert text.count('<button type="button" data-group=') == 2
  assert text.count('src="data:image/png;base64,') == 4  # samples and maps
  assert not re.search(r'(?:src|href)="(?!data:)', text)
  assert html.escape(folder.name) in text
  for name in ("curves.png", "curves.svg"):
    assert written.with_name(name).stat().st_size > 5_000


def test_the_figures_of_a_line_are_those_of_its_run(written, folder):
  text = written.read_text(encoding="utf-8")
  line = re.search(r'<polyline[^>]*data-name="0.03_0"[^>]*>', text).group()
  xs, ys = (
    json.loads(re.search(rf'data-{name}="(.*?)"', line).group(1))
    for name in ("xs", "ys")
  )
  lines = (folder / "0.03_0" / "metrics.jsonl").read_text().splitlines()
  valid = [x for x in map(json.loads, lines) if x["kind"] == "valid"]
  assert xs == [x["step"] for x in valid] == [2, 4, 6]
  assert ys == [x["bits_per_dim"] for x in valid]


def test_only_its_own_script_may_run(written):
  text = written.read_text(encoding="utf-8")
  assert text.count("<script>") == 1
  (policy,) = re.findall(r'content="(default-src.*?)"', text)
  (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
  assert f"script-src 'sha256-{digest.decode()}'" in policy
  assert policy.count("unsafe-inline") == 1  # of styles


def test_the_band_is_that_of_the_runs():
  lines = [("a", [1, 2, 3], [4.0, 3.0, 2.0]), ("b", [2, 3], [5.0, 1.0])]
  steps, low, mean, high = sweep_page.band(lines)
  assert steps == [2, 3]
  np.testing.assert_array_equal([low, mean, high], [[3, 1], [4, 1.5], [5, 2]])


def test_levels_far_away_are_told_and_not_drawn():
  groups = {"a": [("run", [1, 2, 3], [1.0, 0.8, 0.7])]}
  drawn = chart.draw(groups, dict(bar=0.75, png=2.0), "updates", "bits", "")
  assert drawn.count('class="level"') == 1
  assert "Beyond: png 2" in drawn
  alone = chart.draw({"a": [("run", [5], [1.0])]}, {}, "updates", "bits", "")
  assert "nan" not in alone
  assert isinstance(alone, markup.Html)


@pytest.mark.parametrize(
  ("tags", "names"),
  [
    (("low", "low", "high"), ["low", "high"]),
    (("same", "same", "same"), ["0.001", "0.03"]),
  ],
)
def test_settings_are_called_as_the_study_calls_them(
  folder, tmp_path, tags, names
):
  """Where that tells them apart."""
  sweep = _tagged(folder, tmp_path / "sweep", tags)
  assert _buttons(sweep_page.write([sweep], shown=0)) == names


def test_settings_of_two_sweeps_bear_their_names(folder, tmp_path):
  sweeps = [
    _tagged(folder, tmp_path / name, ("low", "low", "high")) for name in "ab"
  ]
  assert _buttons(sweep_page.write(sweeps, shown=0)) == [
    "rate low, of a",
    "rate high, of a",
    "rate low, of b",
    "rate high, of b",
  ]


def test_scores_of_another_split_are_no_seed_of_a_setting(folder, tmp_path):
  sweep = _tagged(folder, tmp_path / "sweep", ("low", "low", "high"))
  file = sweep / "0.001_1" / "reports" / "evaluation.json"
  scores = json.loads(file.read_text())
  way = f"{scores['model']['protocol']}, {scores['model']['estimator']}"
  scores["model"]["split"] = "test"
  file.write_text(json.dumps(scores))
  assert _buttons(sweep_page.write([sweep], shown=0)) == [
    f"low (valid, {way})",
    f"low (test, {way})",
    "high",
  ]


def test_a_run_that_diverged_leaves_the_page_as_it_is(folder, tmp_path):
  """And one whose checkpoints are gone."""
  copy = shutil.copytree(folder, tmp_path / "copy")
  for run, lost in (("0.03_0", math.nan), ("0.001_0", -math.inf)):
    file = copy / run / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    next(x for x in lines if x["kind"] == "valid")["bits_per_dim"] = lost
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
  file = copy / "0.001_0" / "reports" / "evaluation.json"
  scores = json.loads(file.read_text())
  scores["model"]["bits_per_dim"] = math.nan
  file.write_text(json.dumps(scores))
  shutil.rmtree(copy / "0.03_0" / "checkpoints")
  text = sweep_page.write([copy], num=1).read_text(encoding="utf-8")
  points = [json.loads(ys) for ys in re.findall('data-ys="(.*?)"', text)]
  assert sorted(map(len, points)) == [2, 2, 3]
  assert np.isfinite(np.concatenate(points)).all()
  assert "nan" not in "".join(re.findall('points="(.*?)"', text))
  samples = text[text.index(">Samples<") : text.index(">Where the")]
  assert "0.001_1, 6 updates" in samples  # not the one that has no number
  assert samples.count("no checkpoint") == samples.count("<img") == 1


def test_samples_are_of_the_checkpoint_that_was_scored(folder, tmp_path):
  copy = shutil.copytree(folder / "0.03_0", tmp_path / "a" / "run")
  for step in (2, 6):
    file = copy / "reports" / "evaluation.json"
    scores = json.loads(file.read_text()) | dict(step=step)
    file.write_text(json.dumps(scores))
    text = sweep_page.write([copy.parent], num=1).read_text(encoding="utf-8")
    assert f"run, {step} updates" in text


def _tagged(folder, path, tags):
  """A copy of the folder as a sweep whose cells have tags."""
  shutil.copytree(folder, path)
  runs = ("0.001_0", "0.001_1", "0.03_0")
  cells = [
    dict(id=run, values=dict(tags=dict(rate=tag)))
    for run, tag in zip(runs, tags, strict=True)
  ]
  (path / "sweep.json").write_text(json.dumps(dict(cells=cells)))
  return path


def _buttons(path):
  text = path.read_text(encoding="utf-8")
  buttons = re.findall(r"<button[^>]*data-group.*?</button>", text)
  return [re.sub("<[^>]*>", "", button) for button in buttons]


def test_labels_of_close_levels_stand_side_by_side():
  levels = dict(xz=2.52, bzip2=2.40, gram_5=2.41, gram_6=2.45, gram_2=3.6)
  assert chart.steps_aside(levels, 0.07) == dict(
    bzip2=0, gram_5=1, gram_6=2, xz=0, gram_2=0
  )


def test_a_run_of_one_score_is_seen(tmp_path):
  scored = {"a": [("run", [5], [1.0])]}
  drawn = chart.draw(scored, {}, "updates", "bits", "")
  assert re.search(r'<g class="lines"[^>]*><polyline[^>]*></polyline><c', drawn)
  sweep_page.draw(scored, {}, "bits", tmp_path / "curves")
  pixels = image.imread(tmp_path / "curves.png")[:-100, :, :3]  # no legend
  color = colors.to_rgb(chart.COLORS[0])
  assert (abs(pixels - color).max(-1) < 0.01).any()


def test_a_long_legend_leaves_the_curves_their_room(tmp_path):
  """Without room matplotlib warns, and warnings are errors here."""
  name = ", ".join(f"a_setting_{n} {n}" for n in range(20))
  lines = {f"{name} {n}": [("run", [1, 2], [1.0, n])] for n in range(20)}
  sweep_page.draw(lines, {}, "nats", tmp_path / "curves")


def test_a_setting_is_no_formula(tmp_path):
  lines = {"decay=(a$^{$)": [("run", [1, 2], [1.0, 0.8])]}
  sweep_page.draw(lines, {}, "nats", tmp_path / "curves")
  svg = (tmp_path / "curves.svg").read_text(encoding="utf-8")
  assert "<!-- decay=(a$^{$) -->" in svg
  assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_runs_of_two_folders_are_compared(folder, tmp_path, capsys):
  out = tmp_path / "new" / "both.html"
  runs = [str(folder / "0.001_0"), str(folder / "0.03_0")]
  assert program.main(["report", *runs, f"--out={out}", "--num=1"]) == 0
  text = out.read_text(encoding="utf-8")
  for name in ("0.001_0", "0.03_0"):
    assert f'data-name="{name}/."' in text
  assert program.main(["report", *runs, "--prompt=a"]) == 2
  assert "are of one run" in capsys.readouterr().err


_PROBE = """<script>
addEventListener("error", e => console.error(e.message));
addEventListener("load", () => {
  const shown = () => [...document.querySelectorAll(".lines")].map(
    g => getComputedStyle(g).display != "none");
  const column = n => [...document.querySelectorAll("table.sorts")[0]
    .tBodies[0].rows].map(r => r.cells[n].textContent);
  const heads = [...document.querySelectorAll("table.sorts")[0]
    .querySelectorAll("thead button")];
  const n = heads.findIndex(h => h.textContent == "bits_per_dim");
  const seen = {before: shown(), rows: column(n)};
  document.querySelector(".switches button").click();
  seen.off = shown();
  document.querySelector(".switches button").click();
  seen.on = shown();
  heads[n].click();
  seen.up = column(n);
  heads[n].click();
  seen.down = column(n);
  const chart = document.querySelector(".chart svg");
  const line = chart.querySelector("polyline");
  const [x, y] = line.getAttribute("points").split(" ")[1].split(",");
  const at = new DOMPoint(x, y).matrixTransform(chart.getScreenCTM());
  chart.dispatchEvent(new PointerEvent("pointermove",
    {clientX: at.x, clientY: at.y}));
  seen.said = document.querySelector("output").textContent;
  seen.wide = [document.documentElement.scrollWidth, innerWidth];
  const out = document.createElement("textarea");
  out.id = "probe";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [500, 1400])
def test_a_browser_toggles_sorts_and_points(written, browser, tmp_path, width):
  text = written.read_text(encoding="utf-8")
  copy = tmp_path / "probed.html"
  text, count = re.subn(r"<meta http-equiv[^>]*>", "", text)
  assert count == 1
  copy.write_text(text.replace("</head>", f"{_PROBE}</head>"), encoding="utf-8")
  dom, said = browser(copy, f"--window-size={width},1200", "--dump-dom")
  assert said == []
  (probe,) = probes(dom)
  seen = json.loads(probe)
  assert seen["before"] == seen["on"] == [True, True]
  assert seen["off"] == [False, True]
  rows = sorted(seen["rows"], key=float)
  assert len(set(rows)) == 3
  assert seen["up"] == rows
  assert seen["down"] == rows[::-1]
  assert re.fullmatch(r"0.001_\d: [\d.]+ bits/dim at 4 updates", seen["said"])
  assert seen["wide"][0] <= seen["wide"][1]


@pytest.mark.slow
def test_a_browser_opens_it_as_it_is(written, browser):
  """Under the policy that it sets itself."""
  dom, said = browser(written, "--dump-dom")
  assert said == []
  assert "<polyline" in dom
