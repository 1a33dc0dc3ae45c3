"""The report: whole in itself, exact, escaped, and readable by a browser.

Longer than 400 lines because all of it reads one page, made once, which the
slow tests open in a browser.
"""

import dataclasses
import html
import html.parser
import json
import math
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree

import jax
import numpy as np
import pytest

from ar_jax import __main__ as program
from ar_jax import (
  assemble,
  beginning,
  cost,
  launch,
  markup,
  page,
  report,
  scoring,
)
from ar_jax import config as configs
from ar_jax import run as runs

ROOT = pathlib.Path(__file__).parent.parent
EVIL = "\"><script>alert('1')</script>"
TEXT = f'The {EVIL} & "so" on:\n\tit goes\r\n\n  on \u202e\xa0\x01 \u2603.\n'
VOID = ("meta", "br", "hr", "img", "input")


class Node:
  """An element of a page."""

  def __init__(self, tag, attributes):
    self.tag, self.attributes, self.children = tag, dict(attributes), []

  def text(self):
    return "".join(c if isinstance(c, str) else c.text() for c in self.children)

  def find(self, tag, **attributes):
    """All elements below of that tag, with those attributes."""
    wanted = {k.rstrip("_"): v for k, v in attributes.items()}
    for child in self.children:
      if isinstance(child, Node):
        if child.tag == tag and wanted.items() <= child.attributes.items():
          yield child
        yield from child.find(tag, **attributes)


class Parser(html.parser.HTMLParser):
  """Builds the tree; an element that is not closed in order is an error."""

  def __init__(self, markup):
    super().__init__()
    self.root = Node("", {})
    self.open = [self.root]
    self.feed(markup)
    self.close()
    assert self.open == [self.root], f"not closed: {self.open[-1].tag}"

  def handle_starttag(self, tag, attributes):
    names = [name for name, _ in attributes]
    assert len(names) == len(set(names)), f"twice in <{tag}>: {names}"
    node = Node(tag, attributes)
    self.open[-1].children.append(node)
    if tag not in VOID:
      self.open.append(node)

  def handle_startendtag(self, tag, attributes):
    self.open[-1].children.append(Node(tag, attributes))

  def handle_endtag(self, tag):
    assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
    self.open.pop()

  def handle_data(self, data):
    self.open[-1].children.append(data)


def tree(path):
  return Parser(path.read_text(encoding="utf-8")).root


def section(root, title):
  name = title.lower().replace(" ", "-")
  found = list(root.find("section", **{"aria-labelledby": name}))
  assert len(found) == 1, f"{len(found)} sections {title}"
  return found[0]


def values(root):
  return [node.attributes["value"] for node in root.find("data")]


@pytest.fixture(scope="module", autouse=True)
def _compiled_fast():
  """Nothing here is about speed, and both sides of a test are compiled so."""
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A run of a few steps on text that is not good to a page."""
  folder = tmp_path_factory.mktemp("runs")
  corpus = folder / "in.txt"
  corpus.write_text(TEXT * 60, encoding="utf-8", newline="")
  config = configs.load(
    f"{ROOT}/configs/text_gpt.py:tiny,data=text_file",
    [
      ("data.path", str(corpus)),
      ("data.length", "16"),
      ("data.stride", "8"),
      ("model.depth", "1"),
      ("model.width", "16"),
      ("optimizer.name", "adamw"),
      ("train.ema_decay", "0.9"),
    ],
  )
  config.train.update(steps=4, eval_every=2, log_every=1)
  config.evaluate.baselines = ("marginal",)
  scoring.score(*launch.train(config, folder / "a"), same_data=True)
  return folder / "a"


@pytest.fixture(scope="module")
def markov(tmp_path_factory):
  """(directory, run) of a scored model that was not trained, as imported."""
  folder = tmp_path_factory.mktemp("runs") / "markov"
  config = configs.load(f"{ROOT}/configs/markov_gpt.py:tiny", [])
  config.evaluate.baselines = ("marginal",)
  dataset = assemble.dataset(config)
  net = assemble.network(config, dataset.spec)
  params = jax.jit(net.model.init)(jax.random.key(0))
  run = beginning.write(folder, config, dataset.spec, dataset.media, params)
  scoring.score(run, dataset, same_data=True)
  return folder, run


@pytest.fixture(scope="module")
def written(workdir):
  """(path, run) of the page of the first run."""
  sample = dict(prompts=["The "], given=TEXT * 3, num=2, length=30, seed=3)
  run = runs.load(workdir)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(page.runs, "load", lambda *_: run)
    path, missing = page.write(workdir, **sample)
  assert missing == []
  return path, run


def test_page_needs_nothing_beside_itself(written):
  text = written[0].read_text(encoding="utf-8")
  bare = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
  assert "://" not in bare
  root = tree(written[0])
  for tag in ("link", "script", "img", "iframe", "object", "base", "form"):
    assert not list(root.find(tag)), tag
  for found in re.findall(r"(?:href|src)=\"([^\"]*)\"", bare):
    assert found.startswith("#"), found
  for found in re.findall(r"url\(([^)]*)\)", bare):
    assert found.startswith("#"), found
  assert "@import" not in bare
  assert "@font-face" not in bare
  policy = 'http-equiv="Content-Security-Policy" content="default-src'
  assert f"{policy} 'none'; style-src 'unsafe-inline'" in text


def test_page_is_well_formed(written):
  root = tree(written[0])
  text = written[0].read_text(encoding="utf-8")
  assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
  assert next(root.find("title")).text() == "a - ar_jax report"
  drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
  assert len(drawn) == 2
  for svg in drawn:
    element = xml.etree.ElementTree.fromstring(svg)
    assert element.get("role") == "img"
    assert "valid from" in element.get("aria-label")
  ids = re.findall(r'\bid="([^"]*)"', text)
  assert len(ids) == len(set(ids))
  assert {f[1:] for f in re.findall(r'href="(#[^"]*)"', text)} <= set(ids)
  levels = [int(n) for n in re.findall(r"<h(\d)", text)]
  assert levels[0] == 1
  assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_figures_lie_beside_it(written):
  folder = written[0].parent
  assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
  svg = (folder / "curves.svg").read_text(encoding="utf-8")
  assert "prefers-color-scheme:dark" in svg
  for text in (svg, written[0].read_text(encoding="utf-8")):
    assert "currentColor" in text
    assert "#000000" not in text
    assert "fill: #ffffff" not in text
  xml.etree.ElementTree.fromstring(svg)


def test_every_score_stands_with_its_protocol(workdir, written):
  evaluation = report.evaluation_of(workdir)
  scores = section(tree(written[0]), "Scores")
  rows = list(scores.find("tr"))
  for name, figures in {
    "model, averaged": evaluation["model"],
    "model, last update": evaluation["raw"],
  }.items():
    (at,) = [k for k, row in enumerate(rows) if row.text().startswith(name)]
    numbers = values(rows[at]) + values(rows[at + 1])
    for key, value in figures.items():
      if isinstance(value, str):
        assert value in rows[at + 1].text(), key
      else:
        assert repr(value) in numbers, key
    how = {dt.text() for dt in rows[at + 1].find("dt")}
    assert how >= {"split", "protocol", "estimator", "items", "sites scored"}
    assert how >= {"seed", "precision", "checkpoint"}
    said = "averaged" if "averaged" in name else "last"
    assert f"step 4, {said} parameters" in rows[at + 1].text()
  for name, figures in evaluation["baselines"].items():
    (row,) = [r for r in rows if r.text().startswith(f"{name}valid")]
    assert sorted(values(row)) == sorted(map(repr, figures.values()))
    assert f"{evaluation['model']['sites']:,} sites" in row.text()
  points = section(tree(written[0]), "Curves")
  for line in (workdir / "metrics.jsonl").read_text().splitlines():
    line = json.loads(line)
    if line["kind"] == "valid":
      assert repr(line["bits_per_byte"]) in values(points)
      assert repr(line["standard_error"]) in values(points)
      assert line["protocol"] in points.text()


def bits_of(span):
  """The bits in the title of a span, one for each of its tokens."""
  said = re.match(r"[-\d. +]+ bits", span.attributes["title"])[0]
  return [float(b) for b in said.removesuffix(" bits").split(" + ")]


def test_given_text_carries_the_bits_of_per_site(written):
  path, run = written
  (shown,) = section(tree(path), "Given text").find("pre")
  spans = list(shown.find("span"))
  bits = [b for span in spans for b in bits_of(span)]
  wanted = -run.per_site(TEXT * 3) / math.log(2)
  assert len(bits) == len(TEXT * 3) == len(wanted)
  np.testing.assert_allclose(bits, wanted, atol=5.1e-5, rtol=0)
  total = float(values(section(tree(path), "Given text"))[1])
  assert total == pytest.approx(wanted.sum(), abs=1e-9)
  top = math.log2(run.spec.num_values)
  for span, b in zip(spans, wanted, strict=True):
    share = float(span.attributes["style"].removeprefix("--b:"))
    assert share == pytest.approx(min(b / top, 1), abs=6e-4)
    assert ("over" in span.attributes.get("class", "")) == (b > top)


def test_samples_carry_the_bits_of_what_was_drawn(written):
  path, run = written
  part = section(tree(path), "Samples")
  drawn = run.sample(jax.random.key(3), 2, ["The "], 30)
  sums = list(part.find("p", class_="sums"))
  for row, shown in enumerate(part.find("pre")):
    spans = list(shown.find("span"))
    bits = np.array([b for span in spans for b in bits_of(span)])
    given = [span.attributes.get("class", "")[:5] == "given" for span in spans]
    assert given == [True] * 4 + [False] * 30
    wanted = -run.per_site(drawn.texts[row]) / math.log(2)
    np.testing.assert_allclose(bits, wanted, atol=2e-4, rtol=0)
    tokens, total, mean, *rest = map(float, values(sums[row]))
    assert tokens == 30
    assert total == pytest.approx(bits[4:].sum(), abs=30 * 5.1e-5)
    assert mean == total / tokens
    assert rest[1] == pytest.approx(bits[:4].sum(), abs=4 * 5.1e-5)


def test_white_space_stays_and_the_rest_is_escaped(written):
  (shown,) = section(tree(written[0]), "Given text").find("pre")
  text = shown.text()
  hidden = {"\r": r"\r", "\u202e": r"\u202e", "\xa0": r"\xa0", "\x01": r"\x01"}
  wanted = TEXT * 3
  for character, escape in hidden.items():
    wanted = wanted.replace(character, escape)
  assert text == wanted
  for name in ("space", "newline", "tab", "raw"):
    assert list(shown.find("i", class_=name)), name
  for node in shown.find("i", class_="newline"):
    assert node.text() == "\n"


@pytest.mark.parametrize(
  ("pieces", "shown", "titles"),
  [
    ([b"a", "\u2603".encode(), b"b"], "a\u2603b", ["1", "2", "3"]),
    ([b"\xe2", b"\x98", b"\x83", b"b"], "\u2603b", ["1 + 2 + 3", "4"]),
    ([b"x\xe2\x98", b"\x83\xc3", b"\xa9"], "x\u2603\xe9", ["1 + 2 + 3"]),
    ([b"\xff", b"a"], r"\xffa", ["1", "2"]),
    ([b"\xe2", b"a"], r"\xe2a", ["1 + 2"]),
    ([b"a", b"\xe2\x98"], r"a\xe2\x98", ["1", "2"]),
    ([b"a", b"\xe2", "end"], r"a\xe2end", ["1", "2", "3"]),
    ([b"<b>", b"&amp;"], "<b>&amp;", ["1", "2"]),
    ([b'"><b>', b"'><b>"], "\"><b>'><b>", ["1", "2"]),
    (["end"], "end", ["1"]),
    ([b"a\0"], r"a\x00", ["1"]),
    ([b"\xed\xb2\x80"], r"\xed\xb2\x80", ["1"]),
  ],
)
def test_no_broken_character_shows(pieces, shown, titles):
  bits = np.arange(1.0, len(pieces) + 1)
  text = markup.tokens(pieces, bits, [False] * len(pieces), 8.0)
  text.encode()  # no lone surrogate
  root = Parser(text).root
  assert root.text() == shown
  wanted = [[float(b) for b in t.split(" + ")] for t in titles]
  assert [bits_of(span) for span in root.find("span")] == wanted


def test_what_a_run_holds_is_no_markup(workdir, tmp_path):
  folder = tmp_path / "<b>$x^2$ &amp;"
  shutil.copytree(workdir, folder)
  shutil.rmtree(folder / "checkpoints")
  rewrite(folder / "config.json", "optimizer", "decay", EVIL)
  rewrite(folder / "run.json", "devices", 0, EVIL)
  rewrite(folder / "reports/evaluation.json", "model", "protocol", EVIL)
  file = folder / "reports" / "evaluation.json"
  evaluation = json.loads(file.read_text())
  evaluation["baselines"][f"--> {EVIL}"] = evaluation["baselines"]["unigram"]
  file.write_text(json.dumps(evaluation))
  root = tree(page.write(folder)[0])
  assert not list(root.find("script"))
  assert not list(root.find("b"))
  assert next(root.find("h1")).text() == folder.name
  for name in ("Config", "Versions", "Scores"):
    assert EVIL in section(root, name).text(), name
  svg = next(root.find("svg"))
  assert EVIL in svg.attributes["aria-label"]
  xml.etree.ElementTree.parse(folder / "reports" / "curves.svg")


def rewrite(file, section, key, value):
  values = json.loads(file.read_text(encoding="utf-8"))
  values[section][key] = value
  file.write_text(json.dumps(values), encoding="utf-8")


def test_whole_config_is_shown(workdir, written):
  part = section(tree(written[0]), "Config")
  kept = json.loads((workdir / "config.json").read_text())
  rows = [[c.text() for c in r.children] for r in part.find("tr")]
  for name, values in kept.items():
    inner = values if isinstance(values, dict) else {name: values}
    for key, value in inner.items():
      shown = value if isinstance(value, str) and value else json.dumps(value)
      assert [key, shown] in rows, f"{name}.{key}"


@pytest.fixture
def opened(written, monkeypatch):
  """What was compiled for the first page serves for its copies."""
  monkeypatch.setattr(page.runs, "load", lambda *_: written[1])


@pytest.mark.usefixtures("opened")
def test_same_directory_makes_the_same_bytes(workdir, written):
  before = {p.name: p.read_bytes() for p in written[0].parent.iterdir()}
  page.write(workdir, "last", ["The "], TEXT * 3, num=2, length=30, seed=3)
  after = {p.name: p.read_bytes() for p in written[0].parent.iterdir()}
  assert {"report.html", "curves.png", "curves.svg"} <= set(before)
  for name, content in before.items():
    assert after[name] == content, name


@pytest.mark.usefixtures("opened")
def test_a_run_that_was_cut_off_says_what_is_missing(workdir, tmp_path, capsys):
  folder = tmp_path / "cut"
  shutil.copytree(workdir, folder)
  (folder / "reports" / "evaluation.json").unlink()
  flags = ["--prompt=The ", "--num=2", "--length=30"]
  assert program.main(["report", str(folder), *flags]) == 0
  out = capsys.readouterr().out
  said = "Scores of a whole split: ar_jax evaluate --workdir=DIR"
  assert said in out
  root = tree(folder / "reports" / "report.html")
  assert said in section(root, "Not on this page").text()
  assert list(section(root, "Samples").find("pre"))
  assert list(section(root, "Curves").find("svg"))

  shutil.rmtree(folder / "checkpoints")
  rewrite_lines(folder, lambda line: line["kind"] == "train")
  page.write(folder)
  label = next(root_of(folder).find("svg")).attributes["aria-label"]
  assert "train from" in label
  assert "valid" not in label

  (folder / "metrics.jsonl").unlink()
  shutil.rmtree(folder / "reports")
  assert program.main(["report", str(folder)]) == 0
  part = section(root_of(folder), "Not on this page")
  assert [li.text() for li in part.find("li")] == [
    "Samples: there is no checkpoint yet: ar_jax train --workdir=DIR",
    "Curves: metrics.jsonl holds no line yet: ar_jax train --workdir=DIR",
    "Scores of a whole split: ar_jax train --workdir=DIR",
  ]
  assert "0 updates" in section(root_of(folder), "Cost").text()


def root_of(folder):
  return tree(folder / "reports" / "report.html")


def rewrite_lines(folder, keep):
  file = folder / "metrics.jsonl"
  lines = [x for x in file.read_text().splitlines() if keep(json.loads(x))]
  file.write_text("".join(f"{line}\n" for line in lines))


def test_mistakes_are_one_line(workdir, tmp_path, capsys):
  broken = tmp_path / "broken"
  shutil.copytree(workdir, broken)
  (broken / "reports" / "evaluation.json").write_text("{")
  cases = [
    (["report", "/nowhere/run"], 3, "holds no run"),
    (["report", str(broken)], 3, "is no JSON"),
    (["report", str(workdir), "--checkpoint=77"], 2, "no checkpoint '77'"),
    (["report", str(workdir), "--text=\u00e9"], 2, "'\u00e9' at position 0"),
    (["report", str(workdir), "--num=0"], 2, "at least 1"),
    (["report"], 2, "required: DIR"),
  ]
  for argv, code, message in cases:
    assert program.main(argv) == code, argv
    err = capsys.readouterr().err
    assert err.startswith("ar_jax: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_entropy_is_a_line_and_a_number(markov, monkeypatch):
  folder, run = markov
  monkeypatch.setattr(page.runs, "load", lambda *_: run)
  path, missing = page.write(folder, num=2, seed=1)
  assert [what for what, _ in missing] == [
    "What comes after step 0 of 20",
    "Curves: metrics.jsonl holds no line yet",
  ]
  entropy = report.evaluation_of(folder)["model"]["entropy_nats_per_site"]
  text = path.read_text()
  label = next(tree(path).find("svg")).attributes["aria-label"]
  assert f"entropy {entropy:.3f}" in label
  strong = r"stroke-dasharray: [^;]*; [^\"]*stroke-width: 1.4"
  assert len(re.findall(strong, text)) == 2  # broad and narrow
  scores = section(tree(path), "Scores")
  (row,) = [r for r in scores.find("tr") if "entropy of an item" in r.text()]
  assert values(row)[0] == repr(entropy)
  rate = report.evaluation_of(folder)["entropy_rate"]
  assert repr(rate) in values(scores)


def test_items_that_are_no_text_are_tables_of_values(
  markov, tmp_path, capsys, monkeypatch
):
  folder, run = tmp_path / "grid", markov[1]
  shutil.copytree(markov[0], folder)
  spec = json.loads((folder / "spec.json").read_text())
  spec["media"] = dict(kind="array", source="test", shape=[16], num_values=2)
  (folder / "spec.json").write_text(json.dumps(spec))
  run = dataclasses.replace(run, media=spec["media"])
  monkeypatch.setattr(page.runs, "load", lambda *_: run)
  monkeypatch.setattr(page, "_COLUMNS", 5)
  path, _ = page.write(folder, num=2, seed=1)
  drawn = run.sample(jax.random.key(1), 2)
  wanted = -run.per_site(drawn.x_BTC) / math.log(2)
  tables = list(section(tree(path), "Samples").find("table"))
  assert len(tables) == 2
  for row, shown in enumerate(tables):
    lines = [list(line.find("td")) for line in shown.find("tr")]
    assert [len(line) for line in lines] == [5, 5, 5, 1]
    cells = [cell for line in lines for cell in line]
    assert [c.text() for c in cells] == [str(v) for v in drawn.x_BTC[row].flat]
    bits = [b for cell in cells for b in bits_of(cell)]
    np.testing.assert_allclose(bits, wanted[row], atol=2e-4, rtol=0)
  assert not list(tree(path).find("pre"))
  for flag in ("--prompt=0", "--text=0"):
    assert program.main(["report", str(folder), flag]) == 2
    assert "are no text" in capsys.readouterr().err


def test_end_symbols_are_named(markov):
  media = dict(markov[1].media, end=1, fill="unscored")
  run = dataclasses.replace(markov[1], media=media)
  root = Parser(page._given(run, "000")).root
  (shown,) = root.find("pre")
  assert shown.text() == "000end"
  bits = [b for span in shown.find("span") for b in bits_of(span)]
  wanted = -run.per_site("000") / math.log(2)
  np.testing.assert_allclose(bits, wanted, atol=5.1e-5, rtol=0)


def test_cost_counts_each_start_once():
  start = "2026-11-20T14:00:00+0000"
  resumed = [dict(time="2026-11-20T15:00:00+0000", step=2)]
  begin = 1795183200.0
  times = [begin + 5, begin + 30, begin + 3600 + 7]
  lines = [dict(time=t, kind="valid") for t in times]
  assert cost.wall_time(dict(time=start, resumed=[]), lines[:2]) == 30
  assert cost.wall_time(dict(time=start, resumed=resumed), lines) == 37
  assert cost.wall_time(dict(time=start, resumed=[]), []) == 0


def test_cost_of_the_run(workdir, written):
  root = section(tree(written[0]), "Cost")
  run = written[1]
  rows = {r.children[0].text(): r for r in root.find("tr")}
  params = sum(p.size for p in jax.tree.leaves(run.params))
  assert values(rows["parameters"]) == [str(params)]
  assert values(rows["sites seen"]) == [str(4 * 16 * 16)]
  step, whole = (
    float(*values(rows[f"FLOP {k}"])) for k in ("a step", "in all")
  )
  assert whole == 4 * step
  assert step > 3 * 16 * 16 * params
  seconds = float(*values(rows["wall time"]))
  assert 0 < seconds < 600


def test_versions_have_a_column_for_each_start(workdir, tmp_path):
  folder = tmp_path / "resumed"
  shutil.copytree(workdir, folder)
  shutil.rmtree(folder / "checkpoints")
  record = json.loads((folder / "run.json").read_text())
  record["resumed"] = [dict(record, jax="9.9.9", step=2)]
  (folder / "run.json").write_text(json.dumps(record))
  part = section(tree(page.write(folder)[0]), "Versions")
  assert "on from step 2" in part.text()
  rows = {r.children[0].text(): r for r in part.find("tr")}
  assert [c.text() for c in rows["jax"].find("td")] == [record["jax"], "9.9.9"]
  assert [m.text() for m in part.find("mark")] == ["9.9.9"]


def test_labels_lie_apart_and_no_further_than_need_be():
  levels = [1.0, 1.0, 3.0, 1.1, 3.05, 9.0]
  places = report._apart(levels, 0.5)
  ordered = sorted(zip(levels, places, strict=True))
  gaps = np.diff([place for _, place in ordered])
  assert (gaps > 0.5 - 1e-9).all()
  assert places[5] == 9.0
  assert sum(places) == pytest.approx(sum(levels))


def test_colors_have_contrast():
  style = (ROOT / "ar_jax" / "page.css").read_text()
  light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
  for scheme in (light, dark):
    color = dict(re.findall(r"--(\w+): ([^;]+);", scheme))
    ground = rgb(color["ground"])
    for name in ("ink", "soft", "accent"):
      assert contrast(rgb(color[name]), ground) >= 4.5, name
    hot, most = rgb(color["hot"]), float(color["most"])
    for share in np.linspace(0, most, 9):
      under = hot * share + ground * (1 - share)
      assert contrast(rgb(color["ink"]), under) >= 4.5, share
    for line in (report._TRAIN, report._VALID):
      assert contrast(rgb(line), ground) >= 3, line


def rgb(text):
  if text.startswith("#"):
    text = text[1:] if len(text) == 7 else "".join(2 * c for c in text[1:])
    return np.array([int(text[k : k + 2], 16) for k in (0, 2, 4)], float)
  return np.array(text.split(), float)


def contrast(a, b):
  """Of WCAG 2.2, from 1 to 21."""
  both = np.array([a, b]) / 255
  linear = np.where(
    both <= 0.04045, both / 12.92, ((both + 0.055) / 1.055) ** 2.4
  )
  low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
  return (high + 0.05) / (low + 0.05)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What the page forbids itself, the test adds to a copy of it.
PROBE = """<script>
addEventListener("error", e => console.error(e.message));
addEventListener("load", () => {
  const box = e => { const r = e.getBoundingClientRect();
    return [r.width, r.height]; };
  const ink = e => getComputedStyle(e);
  const out = document.createElement("textarea");
  out.id = "probe";
  out.textContent = JSON.stringify({
    wide: [document.documentElement.scrollWidth, innerWidth],
    svg: [...document.querySelectorAll("svg")].map(s => [
      s.getAttribute("class"), ...box(s), s.querySelectorAll("path").length]),
    curve: [...document.querySelectorAll("svg path")].filter(p =>
      ink(p).stroke == "rgb(47, 125, 225)").map(box),
    text: [...document.querySelectorAll("pre")].map(p => p.textContent),
    lit: [...document.querySelectorAll("pre span")].map(s =>
      ink(s).backgroundColor),
    page: [ink(document.body).backgroundColor, ink(document.body).color],
  });
  document.body.append(out);
});
</script>"""


@pytest.fixture
def browser(tmp_path):
  """Runs headless Chromium on a file: what it prints, and what it says."""
  found = next(filter(None, map(shutil.which, BROWSERS)), None)
  if found is None:
    pytest.skip(
      f"the page was opened in no browser: none of {BROWSERS} is here"
    )

  def run(file, *flags):
    command = [found, "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--disable-quic", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--hide-scrollbars"]
    command += ["--disable-component-update", "--enable-logging=stderr"]
    command += ["--v=0", f"--user-data-dir={tmp_path}/browser"]
    done = subprocess.run(
      [*command, *flags, file.as_uri()],
      capture_output=True,
      text=True,
      check=True,
      timeout=120,
    )
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)

  return run


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [500, 1600])
def test_a_browser_shows_the_page(written, browser, tmp_path, width, scheme):
  flags = [f"--window-size={width},1200"]
  if scheme == "dark":
    flags.append("--blink-settings=preferredColorScheme=0")
  text = written[0].read_text(encoding="utf-8")
  copy = tmp_path / "probed.html"
  policy = re.compile(r"<meta http-equiv[^>]*>")
  assert len(policy.findall(text)) == 1
  text = policy.sub("", text).replace("</head>", f"{PROBE}</head>")
  copy.write_text(text, encoding="utf-8")
  dom, said = browser(copy, *flags, "--dump-dom")
  assert said == []
  (probe,) = probes(dom)
  seen = json.loads(probe)
  assert seen["wide"][0] <= seen["wide"][1]
  shown = {name: (w, h, n) for name, w, h, n in seen["svg"]}
  here, away = ("narrow", "broad") if width < 736 else ("broad", "narrow")
  assert shown[here][0] > 0.6 * min(width, 1000)
  assert shown[here][1] > 150
  assert shown[here][2] > 20
  assert shown[away][:2] == (0, 0)
  assert any(w > 100 and h > 1 for w, h in seen["curve"])
  assert len(set(seen["lit"])) > 20
  dark = seen["page"] == ["rgb(20, 22, 26)", "rgb(228, 230, 234)"]
  assert dark == (scheme == "dark")
  # The text is what a reader copies: white space is in it, marks are not.
  assert seen["text"] == [p.text() for p in tree(written[0]).find("pre")]


def probes(dom):
  found = re.findall(r'<textarea id="probe">(.*?)</textarea>', dom, re.DOTALL)
  return [html.unescape(text) for text in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report.html", "curves.svg"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws(written, browser, tmp_path, name, scheme):
  """As it is, policy included: nothing to complain of, and to be read."""
  from matplotlib import image

  picture = tmp_path / "drawn.png"
  flags = ["--window-size=1000,1400", f"--screenshot={picture}"]
  if scheme == "dark":
    flags.append("--blink-settings=preferredColorScheme=0")
  _, said = browser(written[0].with_name(name), *flags)
  assert said == []
  pixels = image.imread(picture)[..., :3]
  assert pixels.shape == (1400, 1000, 3)
  ground = pixels[0, 0]
  assert (ground.max() < 0.2) == (scheme == "dark")
  apart = np.abs(pixels - ground).max(2)
  assert (apart > 0.5).mean() > 0.002  # of the ink, on any ground
  assert (apart > 0.5).mean() < 0.3
  assert len(np.unique((pixels.reshape(-1, 3) * 255).astype(int), axis=0)) > 50
