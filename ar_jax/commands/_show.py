"""What commands print: tables and progress, plain where nobody looks."""

import math
import time

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  TextColumn,
  TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table

from ar_jax import cost, evaluate, launch

_OUT = Console(highlight=False, soft_wrap=True)
if not _OUT.is_terminal:
  _OUT.width = 120
_ERR = Console(stderr=True, highlight=False, soft_wrap=True)
_WIDE = 1000
_PLAIN_SECONDS = 5.0  # between lines where the output is no terminal


def is_terminal():
  """Whether somebody looks on."""
  return _OUT.is_terminal


def say(message):
  """One line."""
  _OUT.print(escape(message))


def show(table):
  """A rich table; as wide as it is where nobody looks on."""
  if _OUT.is_terminal:
    _OUT.print(table)
    return
  before, _OUT.width = _OUT.width, _WIDE
  _OUT.print(table)
  _OUT.width = before


def warn(message):
  """One line to standard error."""
  _ERR.print(escape(f"ar_jax: warning: {message}"))


class Progress:
  """The live line of a training run; lines where output is no terminal.

  Args:
    steps: of the run.
    brief: whether a run with nothing left to train is passed over.
  """

  def __init__(self, steps, brief=False):
    self._steps, self._brief = steps, brief
    self._live = None
    self._last = self._since = None
    if _OUT.is_terminal:
      self._live = RichProgress(
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
        console=_OUT,
      )
      self._task = self._live.add_task("train", total=steps, figures="")
    self.view = launch.View(self._started, self._stepped, self._scored, warn)

  def __enter__(self):
    if self._live:
      self._live.start()
    return self

  def __exit__(self, *_):
    if self._live:
      self._live.stop()

  def _started(self, about):
    if self._brief and about["step"] == about["steps"]:
      return
    say(
      f"{about['model']}, {about['params']:,} parameters, order"
      f" {about['ordering']}, on {about['data']} ({about['items']:,} items)"
    )
    say(
      f"{about['steps']:,} steps of {about['sites_per_step']:,} sites,"
      f" {about['flops_per_step'] / 1e9:.2f} GFLOP a step (products of the"
      f" forward pass x 3), on {about['devices']}"
    )
    if about["memory"] is not None:
      say(f"{cost.gib(about['memory'])} of memory for a step on each device")
    if about["step"]:
      rest = about["steps"] - about["step"]
      more = f"goes on, {rest:,} to go" if rest else "nothing is left to train"
      say(f"{about['step']:,} steps were done before: {more}")
    self._sites = about["sites_per_step"]

  def _stepped(self, step, metrics):
    now = time.perf_counter()
    if self._since is None:  # until now it was compiled, or scored
      self._since, self._first = now, step
    done = step - self._first
    rate = self._sites * done / (now - self._since) if done else math.nan
    loss = metrics["nats"] / metrics["weight"]
    figures = f"loss {loss:.4f} nats"
    figures += f"  {rate:,.0f} tokens/s" if done else ""
    if self._live:
      self._live.update(self._task, completed=step, figures=figures)
    elif self._last is None or (done and now - self._last > _PLAIN_SECONDS):
      self._last = now
      left = (self._steps - step) * (now - self._since) / max(done, 1)
      more = f"  {left:.0f} s left" if done else ""
      say(f"step {step}/{self._steps}  {figures}{more}")

  def _scored(self, step, report):
    say(
      f"step {step}: {report['split']} {report['nats_per_site']:.4f} nats/token"
      f" ({report['sites']:,} scored, {report['protocol']},"
      f" {report['estimator']})"
    )
    self._since = None


def scores(result):
  """The table of a model among its bars, best first."""
  model, raw = result["model"], result["raw"]
  rows = {k: dict(v) for k, v in result["baselines"].items()}
  rows["model" if raw is None else "model (averaged)"] = model
  if raw is not None:
    rows["model (last update)"] = raw
  if "entropy_nats_per_site" in model:
    nats = model["entropy_nats_per_site"]
    rows["entropy of an item"] = evaluate.in_units(nats, 1, {})
  if "entropy_rate" in result:
    rate = result["entropy_rate"]
    rows["entropy rate of the source"] = evaluate.in_units(rate, 1, {})
  columns = [c for c in evaluate.UNITS if c in model]
  if {"bits_per_byte", "bits_per_dim"} & set(columns):
    columns.remove("bits_per_site")
  table = Table(title=f"{model['split']} split after {result['step']:,} steps")
  table.add_column("", no_wrap=True)
  for column in columns:
    table.add_column(evaluate.UNITS[column], justify="right")
  for name, row in sorted(rows.items(), key=lambda r: r[1]["nats_per_site"]):
    style = "bold green" if name.startswith("model") else None
    cells = [_number(row[c]) if c in row else "" for c in columns]
    table.add_row(name, *cells, style=style)
  _OUT.print(table)
  if "orders" in result:
    orders(result["orders"])
  say(
    f"protocol: {model['protocol']}; {model['sites']:,} sites of"
    f" {model['items']:,} items, each scored once; {model['estimator']};"
    f" s.e. {model['standard_error']:.4f} nats over items as if independent"
  )
  if result["same_data"] is False:
    say("the data is not what this run was trained on")
  if "excess_nats_per_site" in model:
    excess = model["excess_nats_per_site"]
    say(
      f"excess over the entropy of an item: {excess:+.4f} nats,"
      f" {excess / math.log(2):+.4f} bits a token"
      f" ({excess / model['standard_error']:+.1f} s.e.)"
    )
  _verdict(model, result["baselines"])


def orders(curve):
  """The curve of mixtures over orders."""
  table = Table(title="orders mixed at the joint level")
  table.add_column("orders K", justify="right")
  table.add_column("nats/item", justify="right")
  table.add_column("passes", justify="right")
  for k, nats in curve["mixture"].items():
    table.add_row(k, _number(nats), f"{k} x")
  _OUT.print(table)
  say(f"mean over the orders, a bound: {curve['mean']:.4f} nats/item")
  if "best" in curve:
    best = curve["best"]
    say(
      f"best single order: number {best['order']},"
      f" {best['nats']:.4f} nats/item; chosen on {best['chosen_on']}"
    )


def classification(result, names=None):
  """What a run infers about labels; names: of the labels."""
  say(
    f"{result['label']} of the {result['split']} split: {result['items']:,}"
    f" items, {result['protocol']}"
  )
  table = Table()
  table.add_column("")
  table.add_column("", justify="right")
  chance = max(map(sum, result["confusion"])) / result["items"]
  accuracy = f"{result['accuracy']:.4f} +- {result['accuracy_error']:.4f}"
  information = f"{result['information']:.4f}"
  information += f" +- {result['information_error']:.4f}"
  rows = {
    "accuracy (+- s.e.)": accuracy,
    "of the commonest label": f"{chance:.4f}",
    "log-loss, nats": f"{result['log_loss']:.4f}",
    "I(x; y), nats (+- s.e.)": information,
    "H(y), which bounds it": f"{result['label_entropy']:.4f}",
    "-log p(x | y), nats/item": f"{result['conditional_nats']:.4f}",
    "-log p(x), mixed over y": f"{result['marginal_nats']:.4f}",
    "-log p(x), without a label": f"{result['null_nats']:.4f}",
  }
  for row in rows.items():
    table.add_row(*row)
  _OUT.print(table)
  names = names or [str(i) for i in range(len(result["confusion"]))]
  if len(names) <= 20:
    table = Table(title="items of a true label (row) by inferred label")
    table.add_column("")
    for name in names:
      table.add_column(name, justify="right")
    for name, row in zip(names, result["confusion"], strict=True):
      table.add_row(name, *map(str, row))
    _OUT.print(table)


def _verdict(model, bars):
  """Says how the model stands against the bars."""
  grams = {k: v for k, v in bars.items() if k.endswith("-gram")}
  packers = {k: v for k, v in bars.items() if k in ("bzip2", "xz")}
  nats = model["nats_per_site"]
  for kind in (grams, packers):
    if kind:
      name = min(kind, key=lambda k: kind[k]["nats_per_site"])
      gap = kind[name]["nats_per_site"] - nats
      verb = "beats" if gap > 0 else "does not beat"
      say(f"the model {verb} {name}: by {abs(gap):.4f} nats a token")


def sample(row, text, *of_row):
  """One sample under its header, which is that of `figures`."""
  figures(row, *of_row)
  _OUT.print(escape(text))


def figures(row, log_model, log_sampler, tokens, num_bytes=None):
  """The header of a sample; num_bytes: of what was drawn, if text."""
  if not tokens:
    _OUT.rule(f"sample {row}: nothing to draw", align="left")
    return
  per_byte = ""
  if num_bytes:
    bits = -log_model / math.log(2) / num_bytes
    per_byte = f" ({bits:.3f} bits/byte)"
  _OUT.rule(
    escape(
      f"sample {row}: {tokens} tokens, {-log_model / tokens:.3f} nats/token"
      f"{per_byte} under the model, {-log_sampler / tokens:.3f} under the"
      " sampler"
    ),
    align="left",
  )


def piece(text):
  """A part of a text, as it comes."""
  _OUT.out(text, end="", highlight=False)


def beam(row, text, tokens, log_p, log_q=None):
  """One beam under its header; log_q: where it is not p that beams go by."""
  of_q = "" if log_q is None else f", {log_q:.4f} with penalties"
  _OUT.rule(
    escape(f"beam {row}: {tokens} tokens, log p {log_p:.4f} nats{of_q}"),
    align="left",
  )
  _OUT.print(escape(text))


def rank_map(title, rank):
  """The grid of ranks; one line for each row of the last axis."""
  say(title)
  width = len(str(rank.size - 1))
  for row in np.atleast_2d(rank).reshape(-1, rank.shape[-1]):
    say(" ".join(f"{r:>{width}}" for r in row))


def _number(value):
  if abs(value) < 100:
    return f"{value:.4f}"
  return f"{value:,.2f}" if abs(value) < 1e6 else f"{value:,.4g}"
