"""A run opened from its directory, and what it can be asked."""

import contextlib
import dataclasses
import functools
import pathlib
from typing import Any

import jax
import numpy as np

from ar_jax import (
  assemble,
  checkpoint,
  data,
  drawing,
  errors,
  evaluate,
  inputs,
  likelihood,
  parallel,
  report,
  schedules,
  states,
  text,
)
from ar_jax import config as configs
from ar_jax import ordering as orders
from ar_jax import train as training
from ar_jax.types import DataSpec


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained model and what it takes to use it.

  params are the averaged ones where the run keeps an average; raw_params are
  those of the last update.
  """

  workdir: pathlib.Path
  config: Any
  spec: DataSpec
  media: Any
  net: assemble.Network
  params: Any
  raw_params: Any
  step: int

  @property
  def is_stream(self):
    """Whether the data is one long text or wave, cut into windows."""
    endless = self.media.get("kind") in ("text", "audio")
    return endless and "stride" in self.config.data

  @functools.cached_property
  def score_fn(self):
    """(params, batch) -> nats [B, L]; see evaluate.make_score."""
    net = self.net
    return evaluate.make_score(
      net.model, net.head, net.ordering, self.config.seed
    )

  @functools.cached_property
  def score_under_fn(self):
    """((params, order), batch) -> nats; see evaluate.make_score_under."""
    return evaluate.make_score_under(self.net.model, self.net.head)

  @functools.cached_property
  def score_each_fn(self):
    """(params, (batch, order_BL)) -> nats [B, L]: an order for each row."""
    net = self.net

    def score(params, rows):
      batch, order_BL = rows
      return -likelihood.log_prob(
        net.model, net.head, params, batch.x_BLC, order_BL, batch.y
      )

    return parallel.map_batch(score)

  def first_orders(self, num):
    """The first `num` orders of the run's family, int32 [num, L].

    Drawn with the run's seed where the family is all L! of them.
    """
    if num < 1:
      raise errors.UsageError(f"{num} orders: at least one is needed")
    ordering, length = self.net.ordering, self.spec.length
    found = orders.first(ordering, num, self.config.seed, length)
    if len(found) < num:
      raise errors.UsageError(
        f"the order {self.config.ordering.name} is {len(found)} of the {num}"
        " orders asked for; train on a family of several, such as"
        " ordering=all"
      )
    return found

  def log_prob(self, x, y=None, orders=None):
    """Log-probability in nats: float of one text, float64 [N] of several.

    Real values are given in the units that the model sees: the result is the
    log-mass of their bins of spec.delta.

    Args:
      x: str, list of str, or values [N, ...] of N items, as spec.shape says.
      y: conditions of the items by name, [N] or [N, ...], of one text also
        without the first axis; None: unconditional.
      orders: int32 [K, L], orders that are mixed at the joint level, of
        values; see `first_orders`. None: those of the run.
    """
    if orders is not None:
      return self._mixed(inputs.values(self.spec, x), y, orders)
    if isinstance(x, str):
      return float(self.per_site(x, y).sum())
    if isinstance(x, list | tuple) and x and isinstance(x[0], str):
      y_N = inputs.conditions(self.spec, y, len(x))
      rows = [{k: v[n] for k, v in y_N.items()} for n in range(len(x))]
      return np.array([self.log_prob(*t) for t in zip(x, rows, strict=True)])
    return self.per_site(x, y).sum(axis=1)

  def per_site(self, x, y=None, order_NL=None):
    """Log-probability of each site in nats, in data coordinates.

    A text longer than the window is scored in windows, as `ar_jax evaluate`
    does: each token once, with what comes before it in its window. Left to
    right, the beginning of a text is scored as a text of its own. Families
    of several orders are scored under one order drawn for each item: then
    the sum is a bound.

    Args:
      x: str, or values [N, ...] of N items, as spec.shape says.
      y: conditions of the items by name, as of log_prob; every window of a
        text has the same.
      order_NL: int32 [N, L], an order for each item, of values; None: those
        of the run.
    Returns:
      float64 [T] of the T tokens of a text (of an item with an end symbol:
      up to it, it included, whether the text has it or not), float64 [N, L]
      of items: 0 where the data does not score the fill after the end.
    """
    if isinstance(x, str):
      y_1 = inputs.conditions(self.spec, y, 1)
      return self._per_token(drawing.encode(self, x), y_1)
    x_NLC = inputs.values(self.spec, x)
    y_N = inputs.conditions(self.spec, y, len(x_NLC))
    log_NL = self.log_prob_of(data.items(x_NLC, y_N), order_NL)
    if self.media.get("fill") == "unscored" and "end" in self.media:
      end_N = text.lengths(self.media, x_NLC[..., 0])
      log_NL = np.where(np.arange(log_NL.shape[1]) < end_N[:, None], log_NL, 0)
    return log_NL

  def sample(
    self, key, num=1, prompt="", length=None, y=None, stop=(), forced=None
  ):
    """Draws `num` texts or items for each prompt; returns drawing.Drawn.

    Args:
      key: jax.random.key; the same key draws the same.
      num: rows for each prompt.
      prompt: str, or a list of several; "" where items are no text.
      length: sites after the prompt; None: 200 of a text, else the window.
      y: conditions of the rows by name, arrays [B, ...]; None: unconditional.
      stop: str or several, before which a text is cut, wherever it begins
        after the prompt. The tokens up to the one that completes it count.
      forced: {step: text}, steps after the prompt from 0 on.
    """
    args = num, prompt, length, y, stop, forced
    return drawing.sample(self, key, *args)

  def stream(self, key, prompt="", length=None, **options):
    """Yields drawing.Pieces of a text as it is drawn, that of `sample`.

    Args:
      key, prompt, length: of `sample`, of one text.
      **options: y, stop, forced of `sample`; size: tokens of a piece.
    """
    return drawing.pieces(self, key, prompt, length, **options)

  def beams(self, prompt="", width=4, length=None, **options):
    """drawing.Drawn of the `width` likeliest texts found, best first.

    Args:
      prompt: str.
      width: beams; see beam.py.
      length: tokens after the prompt; None: 200 or what the window holds.
      **options: y of `sample`; length_penalty of beam.search.
    """
    return drawing.beams(self, prompt, width, length, **options)

  def in_order(self, name, **options):
    """The run in one fixed order, exactly: of a network trained in all.

    Args:
      name: of an ordering plugin, as raster, reverse or random.
      **options: of the plugin, as seed=3.
    """
    if self.net.ordering.orders_KL is not None:
      raise errors.UsageError(
        f"--ordering={name}: this run was trained in the order"
        f" {self.config.ordering.name} alone; train one with ordering=all"
      )
    section = dict(options, name=name)
    order_L = assemble.order(section, self.spec.shape)
    plain = dict(configs.plain(self.config), ordering=section)
    net = self.net._replace(ordering=orders.fixed(order_L))
    return dataclasses.replace(self, config=configs.restore(plain), net=net)

  def in_passes(self, count):
    """The run with a sampler of `count` passes, as a schedule plans them.

    An approximation: sites of a pass are not told each other. Only an
    order-agnostic network that `ar_jax evaluate` has scored can be asked.
    """
    evaluation = report.evaluation_of(self.workdir) or {}
    if self.net.model.predict is None or "step_nats" not in evaluation:
      raise errors.UsageError(
        "--passes takes an order-agnostic network, such as model ardm, that"
        f" was scored before: ar_jax evaluate --workdir={self.workdir}"
      )
    try:
      steps = schedules.dynamic(evaluation["step_nats"], count)
    except ValueError as e:
      raise errors.UsageError(f"--passes: {e}") from e
    section = dict(configs.plain(self.config.sample), name="grouped")
    section = dict(section, steps=steps)
    sampler = assemble.sampler(section, *self.net.drawn_from)
    return dataclasses.replace(self, net=self.net._replace(sampler=sampler))

  def _per_token(self, token_T, y_1):
    window, end = self.spec.length, self.media.get("end")
    count = len(token_T)
    if end is not None:
      token_T = text.ended(self.media, token_T)
      count = len(token_T)
    if not count or not self.is_stream and count > window:
      raise errors.UsageError(
        f"items of this run have {window} tokens, the text has {count}"
        f"{'' if end is None else ', its end symbol included'}"
      )
    if end is not None:
      token_T = np.pad(token_T, (0, window - count), constant_values=end)
      count = window if self.media["fill"] == "scored" else count
    if not orders.is_identity(self.net.ordering) and len(token_T) < window:
      raise errors.UsageError(
        f"in the order {self.config.ordering.name} a text needs the"
        f" {window} tokens of a window, this one has {count}"
      )
    stride = self.config.data.stride if self.is_stream else window
    if orders.is_identity(self.net.ordering):
      # What pads the last window is seen by none of the tokens before it.
      lengths = len(token_T), window, stride
      room = data.window_starts(*lengths, inside=False)[-1] + window
      token_T = np.pad(token_T, (0, room - len(token_T)))
    split = data.windows(token_T, window, stride)

    def get(index_B):
      return *split.get(index_B)[:2], {
        k: np.repeat(v, len(index_B), 0) for k, v in y_1.items()
      }

    rows_NL = self.log_prob_of(split._replace(get=get))
    _, weight_NL, _ = split.get(np.arange(split.size))
    return rows_NL[weight_NL > 0][:count]

  def _mixed(self, x_NLC, y, orders_KL):
    y_N = inputs.conditions(self.spec, y, len(x_NLC))
    split = data.items(x_NLC, y_N)
    score, _, _ = evaluate.mixture(
      self.score_under_fn,
      self.params,
      split,
      "given",
      self.config.evaluate.batch_size,
      np.asarray(orders_KL, np.int32),
    )
    return -score.nats_N

  def log_prob_of(self, split, order_NL=None):
    """Log-probability in nats of each site of each item: float64 [N, L].

    Of a types.Split, given its y; in data coordinates. order_NL: of per_site.
    """
    size = parallel.padded(min(self.config.evaluate.batch_size, split.size))
    params, rows = parallel.replicate(self.params), []
    for batch in data.eval_batches(split, size):
      if order_NL is None:
        nats_BL = self.score_fn(params, batch)
      else:
        each = batch, order_NL[batch.index_B]
        nats_BL = self.score_each_fn(params, each)
      rows.append(-np.asarray(nats_BL, np.float64))
    return np.concatenate(rows)[: split.size]


def load(workdir, which="last", sample=None):
  """Opens the run of a directory; needs no data.

  Args:
    workdir: directory of a run.
    which: checkpoint: "last", the last that is sound; "best", or a number of
      updates.
    sample: values that replace those of config.sample; None: keep.
  """
  values, spec, media = checkpoint.load(workdir)
  config = configs.restore(values)
  for key, value in (sample or {}).items():
    if value is not None:
      configs.override(config, f"sample.{key}", value)
  net = assemble.network(config, spec)
  state = jax.device_put(_restored(workdir, config, net, which))
  return opened(pathlib.Path(workdir), config, spec, media, net, state)


def state_of(workdir, which="last"):
  """The whole TrainState of a run's directory, of numpy arrays."""
  values, spec, _ = checkpoint.load(workdir)
  config = configs.restore(values)
  return _restored(workdir, config, assemble.network(config, spec), which)


def _restored(workdir, config, net, which):
  tx = assemble.optimizer(config)
  like = jax.eval_shape(lambda: first_state(config, net, tx))
  checkpoints = states.Checkpoints(workdir, read_only=True)
  with contextlib.closing(checkpoints):
    step = None if which == "last" else checkpoints.find(which)
    return checkpoints.restore(like, step)


def opened(workdir, config, spec, media, net, state):
  """The Run of a state."""
  params, raw_params = params_of(state)
  step = int(state.step)
  return Run(workdir, config, spec, media, net, params, raw_params, step)


def params_of(state):
  """(parameters to use, parameters of the last update)."""
  averaged = state.ema_params is not None
  return state.ema_params if averaged else state.params, state.params


def keys(config):
  """(key of the parameters, key of the run)."""
  return jax.random.split(jax.random.key(config.seed))


def first_state(config, net, tx):
  """The TrainState before the first update."""

  @jax.jit
  def init(key):
    params = net.model.init(key)
    return training.init_state(params, tx, config.train.ema_decay)

  return init(keys(config)[0])
