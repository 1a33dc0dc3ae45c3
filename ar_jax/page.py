"""reports/report.html: a run on one page that needs nothing beside itself."""

import html
import math
import pathlib
import statistics
import tempfile
from importlib import resources

import jax
import numpy as np

from ar_jax import (
  checkpoint,
  cost,
  errors,
  evaluate,
  likelihood,
  markup,
  media,
  report,
  states,
  text,
  writer,
)
from ar_jax import config as configs
from ar_jax import run as runs

# Of a line of metrics.jsonl or of an evaluation: how its figures were made.
_HOW = dict(
  split="split",
  protocol="protocol",
  estimator="estimator",
  items="items",
  sites="sites scored",
  standard_error="s.e. (nats, items as if independent)",
  precision="precision",
)
_COLUMNS = 32  # of a table of values that has no width of its own


def write(workdir, which="last", prompts=(), given="", **sample):
  """Writes reports/report.html, and curves.png and curves.svg beside it.

  The same directory and arguments make the same bytes.

  Args:
    workdir: directory of a run, which may have been cut off at any time.
    which: checkpoint, as of run.load.
    prompts: strs that samples go on from; none: from nothing.
    given: a text to score token by token; "" for none.
    **sample: num, length and seed of the samples.
  Returns:
    (path, list of (what the page lacks, the command that makes it)).
  Raises:
    DataError: the directory holds no run. UsageError: prompts or the given
    text do not fit it.
  """
  workdir = pathlib.Path(workdir)
  values, spec, media = checkpoint.load(workdir)
  kept = states.Checkpoints(workdir, read_only=True)
  run = runs.load(workdir, which) if kept.steps() else None
  config = configs.restore(values)
  record = checkpoint.read_record(workdir, "run")
  lines, evaluation = writer.read(workdir), report.evaluation_of(workdir)
  step = run.step if run else max((r["step"] for r in lines), default=0)
  figures = cost.of_run(config, spec, record, lines, step)
  spent = _cost(config, spec, figures, step, 1 + len(record["resumed"]))
  done = run and run.step
  missing = report.missing(done, config.train.steps, lines, evaluation)
  sections = {
    "Not on this page": _missing_list(missing),
    "Curves": _curves(workdir, config, lines, evaluation),
    "Samples": run and _samples(run, list(prompts) or [""], **sample),
    "Given text": run and given and _given(run, given),
    "Scores": _scores(config, evaluation),
    "Cost": _wide("Cost", ["", "", "how it was counted"], spent),
    "Versions": _versions(record),
    "Config": _config(values, spec, media),
  }
  name = workdir.resolve().name
  page = markup.document(
    f"{name} - ar_jax report",
    resources.files("ar_jax").joinpath("page.css").read_text(encoding="utf-8"),
    _header(name, config, spent, run, evaluation),
    *(markup.section(t, body) for t, body in sections.items() if body),
  )
  path = workdir / "reports" / "report.html"
  try:
    path.parent.mkdir(exist_ok=True)
    report.curves(workdir)
    path.write_text(page, encoding="utf-8")
  except OSError as e:
    raise errors.StorageError(f"cannot write {path}: {e.strerror}") from e
  return path, missing


def _header(name, config, spent, run, evaluation):
  """The run in a few figures."""
  about = f"{config.model.name}, order {config.ordering.name}"
  about += f", on {config.data.name}"
  if run:
    about += f"; step {run.step:,} of {config.train.steps:,}"
  tiles, how = {}, ""
  if evaluation:
    model = evaluation["model"]
    units = "bits_per_byte", "bits_per_dim", "bits_per_site"
    bits = next(unit for unit in units if unit in model)
    for key in ("nats_per_site", bits, "perplexity_per_site"):
      tiles[evaluate.UNITS[key]] = markup.number(model[key])
    how = markup.pairs(_evaluated(config, evaluation, model), "how")
  tiles |= {t: v for t, v, _ in spent if t in ("parameters", "wall time")}
  return markup.tag(
    "header",
    markup.tag("h1", name),
    markup.tag("p", about),
    markup.pairs(tiles, "tiles"),
    how,
  )


def _missing_list(missing):
  items = [
    markup.tag("li", what, ": ", markup.tag("code", command))
    for what, command in missing
  ]
  return items and markup.tag("ul", *items)


def _curves(workdir, config, lines, evaluation):
  if not lines and evaluation is None:
    return None
  label = html.escape(report.in_words(lines, evaluation))
  figures = []
  for name, size in dict(broad=report.WIDE, narrow=report.NARROW).items():
    opened = f'<svg class="{name}" role="img" aria-label="{label}"'
    svg = report.curves_svg(workdir, size, f"{name}-")
    figures.append(markup.Html(svg.replace("<svg", opened, 1)))
  caption = (
    "train: mean over the updates since the point before, on batches as they"
    " are trained on. valid: the whole split at that step."
  )
  figure = markup.tag("figure", *figures, markup.tag("figcaption", caption))
  rows = [line for line in lines if line["kind"] == "valid"]
  if not rows:
    return figure
  units = {k: title for k, title in evaluate.UNITS.items() if k in rows[0]}
  cells = [
    [r["step"], *(markup.number(r[k]) for k in units), *_how(r).values()]
    for r in rows
  ]
  title = f"The {len(rows)} points of the validation curve"
  titles = ["step", *units.values(), *_HOW.values()]
  more = dict(checkpoint="the state of the step", seed=config.seed)
  return markup.join(
    figure,
    markup.tag(
      "details",
      markup.tag("summary", title),
      _wide(title, titles, cells),
      markup.pairs(more, "how"),
    ),
  )


def _wide(label, *args, **attributes):
  return markup.scroll(label, markup.table(*args, **attributes))


def _scores(config, evaluation):
  """The model among its bars, best first, each with how it was made."""
  if evaluation is None:
    return None
  model, raw = evaluation["model"], evaluation["raw"]
  units = {k: title for k, title in evaluate.UNITS.items() if k in model}
  same = f"{model['split']}, {model['sites']:,} sites; fitted on train"
  rows = [(name, v, same) for name, v in evaluation["baselines"].items()]
  rows.append(("model" if raw is None else "model, averaged", model, None))
  if raw is not None:
    rows.append(("model, last update", raw, None))
  bounds = {
    "entropy of an item": model.get("entropy_nats_per_site"),
    "entropy rate of the source": evaluation.get("entropy_rate"),
  }
  for name, nats in bounds.items():
    if nats is not None:
      figures = evaluate.in_units(nats, 1, {})
      rows.append((name, figures, "exact, of the source"))
  body = []
  for name, figures, note in sorted(rows, key=lambda r: r[1]["nats_per_site"]):
    cells = (markup.number(figures[k]) if k in figures else "" for k in units)
    cells = [markup.tag("td", cell) for cell in cells]
    small = markup.tag("small", note) if note else ""
    first = markup.tag("th", name, small, scope="row")
    body.append(
      markup.tag("tr", first, *cells, class_="bar" if note else "model")
    )
    if note is None:
      how = markup.pairs(_evaluated(config, evaluation, figures), "how")
      cell = markup.tag("td", how, colspan=1 + len(units))
      body.append(markup.tag("tr", cell))
  return _wide("Scores", ["", *units.values()], body, class_="scores")


def _how(figures):
  pairs = {title: figures[key] for key, title in _HOW.items()}
  return {
    t: v if isinstance(v, str) else markup.number(v) for t, v in pairs.items()
  }


def _evaluated(config, evaluation, figures):
  """The protocol of a model's figures in evaluation.json."""
  averaged = config.train.ema_decay is not None
  kind = "averaged" if averaged and figures is evaluation["model"] else "last"
  said = _how(figures) | dict(seed=config.seed)
  said["checkpoint"] = f"step {evaluation['step']:,}, {kind} parameters"
  if "excess_nats_per_site" in figures:
    excess = figures["excess_nats_per_site"]
    said["excess over the entropy"] = markup.number(excess, " nats/token")
  if evaluation["same_data"] is False:
    said["data"] = "not what this run was trained on"
  return said


def _scored(run, **more):
  """The protocol of what this page computes itself."""
  orders_KL = run.net.ordering.orders_KL
  one = orders_KL is not None and len(orders_KL) == 1
  protocol = f"items of {run.spec.length}"
  if run.is_stream:
    protocol = f"w{run.spec.length}/s{run.config.data.stride}"
  kind = "last" if run.params is run.raw_params else "averaged"
  said = dict(
    unit="bits, -log2 p of each token under the model",
    protocol=protocol,
    estimator="exact" if one else "bound: one drawn order a row",
    **more,
    checkpoint=f"step {run.step:,}, {kind} parameters",
    precision=evaluate.precision(run.params),
  )
  return markup.pairs(said, "how")


def _samples(run, prompts, num=2, length=None, seed=0):
  drawn = run.sample(jax.random.key(seed), num, prompts, length)
  settings = [run.config.sample.name]
  settings += [
    f"{key} {value}"
    for key, value in run.config.sample.items()
    if value is not None and key != "name"
  ]
  blocks = [
    _legend(run),
    _scored(
      run, split="drawn by the model", sampler=", ".join(settings), seed=seed
    ),
  ]
  if len(drawn.x_BTC) > 1:
    blocks.append(medium(run, drawn.x_BTC, "All samples"))
  for row, drawn_T in enumerate(drawn.drawn_BT):
    end = 1 + np.flatnonzero(drawn_T)[-1] if drawn_T.any() else len(drawn_T)
    bits_T = -likelihood.bits(drawn.log_prob_model_BT[row, :end])
    values_TC = drawn.x_BTC[row, :end]
    blocks.append(markup.tag("h3", f"Sample {row + 1}"))
    blocks.append(medium(run, drawn.x_BTC[row : row + 1], f"Sample {row + 1}"))
    blocks.append(_colored(run, values_TC, bits_T, ~drawn_T[:end]))
  return markup.join(*blocks)


def medium(run, x_BTC, label):
  """Pictures and sound of a sample, or the grid of several; none of text."""
  if run.media.get("kind") == "text":
    return ""
  with tempfile.TemporaryDirectory() as folder:
    paths = [pathlib.Path(folder) / "grid.png"]
    if len(x_BTC) == 1:
      [paths] = media.save(run.media, x_BTC, folder)
    elif not media.grid(run.media, x_BTC, paths[0]):
      return ""
    return markup.join(*(markup.medium(path, label) for path in paths))


def _given(run, given):
  bits_T = -likelihood.bits(run.per_site(given))
  token_T = text.encode(run.media, given)
  fill = len(bits_T) - len(token_T)  # the end symbol, of items that have one
  token_T = np.append(token_T, fill * [run.media.get("end")]).astype(int)
  given_T = np.zeros(len(token_T), bool)
  how = _scored(run, split="given with --text", seed=run.config.seed)
  shown = _colored(run, token_T[:, None], bits_T, given_T)
  return markup.join(how, shown)


def _top(run):
  """Bits of the strongest color: those of a uniform guess."""
  return max(1.0, math.log2(run.spec.num_values or 2**8))


def _legend(run):
  values = run.spec.num_values
  uniform = f"a uniform guess of {values} values"
  if values is None:
    uniform = f"one of {2**8} bins of {run.spec.delta:g}"
  return markup.legend(
    _top(run),
    "The ground of a token: its bits, -log2 p, given what comes before it in"
    " its window and order; point at it for the figure. The strongest has"
    f" those of {uniform}, {_top(run):.2f}; what has more is underlined. What"
    " was given stands on a blue line; dots are spaces.",
  )


def _colored(run, values_TC, bits_T, given_T):
  """The sums over what was scored, and each site on its color."""
  sums = []
  for name, chosen_T in (("", ~given_T), ("given: ", given_T)):
    n = int(chosen_T.sum())
    if n:
      total = float(bits_T[chosen_T].sum())
      sums += [name, markup.number(n, " tokens"), ", "]
      sums += [markup.number(total, " bits"), ", "]
      sums += [markup.number(total / n, " bits/token"), ". "]
  if run.media.get("kind") == "text":
    pieces = text.pieces(run.media, values_TC[:, 0])
    for at, value in enumerate(values_TC[:, 0].tolist()):
      if value == run.media.get("end"):
        pieces[at] = "end"
      pieces[at] = pieces[at] or f"token {value}"
    body = markup.tokens(pieces, bits_T, given_T, _top(run))
  elif run.media.get("kind") != "array":
    return markup.tag("p", *sums, class_="sums")  # it has its picture
  else:
    shown = [", ".join(map(str, v)) for v in values_TC.tolist()]
    width = math.prod(run.spec.shape[1:])
    width = width if len(run.spec.shape) > 1 else _COLUMNS
    body = markup.grid(shown, bits_T, width, _top(run))
  return markup.join(markup.tag("p", *sums, class_="sums"), body)


def _cost(config, spec, figures, step, starts):
  """Rows (what, value, how it was counted)."""
  batch = f"{config.train.batch_size} items of {spec.length} sites"
  in_time = (
    f"{starts} start{'s' * (starts > 1)}, each from its time in run.json"
  )
  in_time += " to its last line in metrics.jsonl, validation included"
  shown = dict(
    params=("parameters", markup.whole, "one set, without the optimizer's"),
    flops_per_step=(
      "FLOP a step",
      markup.big,
      f"products of the forward pass x 3, {batch}",
    ),
    flops=("FLOP in all", markup.big, f"{step:,} updates"),
    sites=("sites seen", markup.whole, f"{step:,} x {batch}"),
    seconds=("wall time", markup.duration, in_time),
  )
  rows = [(t, show(figures[k]), how) for k, (t, show, how) in shown.items()]
  speeds = figures["sites_per_second"]
  if speeds:
    how = f"updates alone: median of {len(speeds)} lines of metrics.jsonl,"
    how += f" {min(speeds):,.0f} to {max(speeds):,.0f}"
    value = markup.whole(statistics.median(speeds))
    rows.append(("sites a second", value, how))
  return rows


def _versions(record):
  """run.json: a column for each start; what changed is marked."""
  starts = [record, *record["resumed"]]
  titles = [f"on from step {s['step']:,}" for s in starts[1:]]
  apart = ("id", "init_from", "data", "resumed")
  rows = []
  for key in record:
    if key not in apart:
      cells = [markup.plain(start.get(key)) for start in starts]
      changed = zip([cells[0], *cells], cells, strict=False)
      if key != "time":
        cells = [b if a == b else markup.tag("mark", b) for a, b in changed]
      rows.append([key, *cells])
  more = {key: markup.plain(record[key]) for key in ("id", "init_from")}
  more |= {f"sha256 of {k}": v for k, v in record["data"].items()}
  table = _wide("Versions", ["", "first start", *titles], rows)
  return markup.join(table, markup.pairs(more, "how"))


def _config(values, spec, media):
  """All of config.json, and what spec.json says of the data."""
  sections = {k: v for k, v in values.items() if isinstance(v, dict)}
  single = {k: v for k, v in values.items() if k not in sections}
  facts = checkpoint.spec_to_json(spec)
  facts |= {k: v for k, v in media.items() if not isinstance(v, dict | list)}
  blocks = []
  named = {"config.json": single, **sections, "spec.json": facts}
  for name, section in named.items():
    rows = [[key, markup.plain(value)] for key, value in section.items()]
    table = markup.table([""], rows)
    blocks.append(markup.tag("div", markup.tag("h3", name), table))
  return markup.tag("div", *blocks, class_="config")
