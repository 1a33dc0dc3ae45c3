"""What is drawn of a run: samples, streams of text, beams."""

from typing import Any, NamedTuple

import numpy as np

from ar_jax import (
  beam,
  errors,
  inputs,
  stops,
  stream,
  text,
)
from ar_jax import ordering as orders

CHUNK = 16  # steps between two looks at what was drawn


class Drawn(NamedTuple):
  """What was drawn: B rows of T sites, in data coordinates.

  texts: list of B str up to the end symbol, or to the stop string, without
    it; None where items are no text.
  x_BTC: values.
  log_prob_model_BT, log_prob_sampler_BT: nats, as in types.Sample.
  drawn_BT: bool, the sites that were asked for: not the prompt, what was
    forced, nor what lies after the end symbol, after the token that completed
    a stop string, or after `length`.
  """

  texts: list | None
  x_BTC: Any
  log_prob_model_BT: Any
  log_prob_sampler_BT: Any
  drawn_BT: Any


class Piece(NamedTuple):
  """What a stream tells at once.

  text: what comes after the pieces before it.
  drawn: Drawn of one row, of all that was drawn so far.
  """

  text: str
  drawn: Drawn


class _Plan(NamedTuple):
  """known: of each row, its prompt; wanted: its sites, prompt included.

  forced: of (sites after the prompt, token). arguments: of stream.chunks.
  """

  known: list
  wanted: list
  forced: tuple
  stop: tuple
  arguments: dict


def encode(run, words):
  """Tokens of a text; UsageError where items are no text."""
  if run.media.get("kind") != "text":
    raise errors.UsageError("the items of this run are no text")
  return text.encode(run.media, words)


def sample(
  run, key, num=1, prompt="", length=None, y=None, stop=(), forced=None
):
  """Drawn of `num` rows for each prompt; see Run.sample."""
  plan = _plan(run, num, prompt, length, y, stop, forced)
  size = CHUNK if _may_end_early(run, plan) and _in_chunks(run) else None
  for drawn, done_B in _chunks(run, key, plan, size):
    upto_B = np.minimum(plan.wanted, done_B)
    if size and all(_ended(run, plan, drawn, upto_B)):
      break
  return _drawn(run, plan, drawn, upto_B)


def pieces(
  run, key, prompt="", length=None, y=None, stop=(), forced=None, size=CHUNK
):
  """Yields Pieces of one text as it is drawn; see Run.stream."""
  encode(run, "")
  if not _in_chunks(run):
    raise errors.UsageError(
      "a stream is drawn left to right, by the sampler ancestral; this run has"
      f" the order {run.config.ordering.name} and the sampler"
      f" {run.config.sample.name}"
    )
  if size < 1:
    raise errors.UsageError(f"chunks of {size} tokens: at least 1")
  plan = _plan(run, 1, prompt, length, y, stop, forced)
  told, shown = len(plan.known[0]), 0
  for drawn, done_B in _chunks(run, key, plan, size):
    upto_B = np.minimum(plan.wanted, done_B)
    if upto_B[0] <= told:  # of the prompt, or of the window before
      continue
    (ended,) = _ended(run, plan, drawn, upto_B)
    cut = _cut(run, plan, drawn, upto_B, 0, more=not ended)
    yield Piece(cut.text[shown:], _drawn(run, plan, drawn, upto_B))
    if ended:
      return
    told, shown = upto_B[0], len(cut.text)


def beams(run, prompt="", width=4, length=None, y=None, length_penalty=0.0):
  """Drawn of the best `width` continuations, best first; see Run.beams."""
  window = run.spec.length
  encode(run, "")
  if not orders.is_identity(run.net.ordering):
    raise errors.UsageError(
      "beams go left to right; this run has the order"
      f" {run.config.ordering.name}"
    )
  if run.is_stream:
    room = window - len(encode(run, prompt))
    length = min(200, max(room, 1)) if length is None else length
    if length > room:
      raise errors.UsageError(
        f"beams stay within the window of {window} tokens: after this prompt"
        f" a length of {max(room, 0)} at the most, got {length}"
      )
  plan = _plan(run, 1, prompt, length, y, (), None)
  steps = plan.wanted[0] - len(plan.known[0])
  try:
    found = beam.search(
      *run.net.drawn_from,
      run.params,
      plan.known[0],
      steps,
      width,
      length_penalty=length_penalty,
      end=_unscored_end(run),
      y=plan.arguments["y"],
    )
  except ValueError as e:
    raise errors.UsageError(str(e)) from e
  W = len(found.x_BLC)
  plan = plan._replace(known=plan.known * W, wanted=plan.wanted * W)
  return _drawn(run, plan, found, np.array(plan.wanted))


def _chunks(run, key, plan, size):
  """Yields (Sample, steps done [B]); see stream.chunks."""
  net = run.net
  return stream.chunks(
    net.sampler, net.ordering, run.params, key, **plan.arguments, size=size
  )


def _plan(run, num, prompt, length, y, stop, forced):
  prompts = [prompt] if isinstance(prompt, str) else list(prompt)
  if num < 1 or length is not None and length < 1:
    raise errors.UsageError("num and length of a sample must be at least 1")
  if not prompts:
    raise errors.UsageError("give at least one prompt; it may be empty")
  encoded = [encode(run, p) if p else np.zeros(0, int) for p in prompts]
  known = [token_T for token_T in encoded for _ in range(num)]
  window, is_text = run.spec.length, run.media.get("kind") == "text"
  if length is None:
    length = 200 if run.is_stream and is_text else window
  wanted = [len(k) + length for k in known]
  if not run.is_stream:
    for words, token_T in zip(prompts, encoded, strict=True):
      inputs.check_prompt(run.spec, run.media, words, token_T)
    wanted = [min(w, window) for w in wanted]
  short = run.is_stream and orders.is_identity(run.net.ordering)
  room = min(w - len(k) for w, k in zip(wanted, known, strict=True))
  forced = _forced(run, forced or {}, room)
  stop = (stop,) if isinstance(stop, str) else tuple(stop)
  if stop:
    encode(run, "")
  if not all(stop):
    raise errors.UsageError("a stop string has one character or more")
  arguments = dict(
    prompts=known,
    totals=wanted if short else [max(w, window) for w in wanted],
    spec=run.spec,
    stride=run.config.data.stride if run.is_stream else window,
    y=inputs.conditions(run.spec, y, len(known)),
    forced=forced,
  )
  return _Plan(known, wanted, forced, stop, arguments)


def _forced(run, forced, room):
  """(site after the prompt, token) of each token of {site: text}."""
  result = {}
  for step, words in sorted(forced.items()):
    for n, token in enumerate(encode(run, words), step):
      if not 0 <= n < room:
        raise errors.UsageError(
          f"{words!r} at step {step} cannot be forced: steps after the prompt"
          f" are 0..{room - 1}"
        )
      if n in result:
        raise errors.UsageError(f"step {n} is forced twice")
      result[n] = int(token)
  return tuple(result.items())


def _in_chunks(run):
  """Whether what is drawn can be looked at as it comes."""
  left_to_right = orders.is_identity(run.net.ordering)
  return left_to_right and hasattr(run.net.sampler, "go_on")


def _unscored_end(run):
  """The end symbol, where what follows it means nothing; else None."""
  return run.media.get("end") if run.media.get("fill") == "unscored" else None


def _may_end_early(run, plan):
  return bool(plan.stop) or _unscored_end(run) is not None


def _ended(run, plan, drawn, upto_B):
  """Of each row, whether nothing of what is to come is asked for."""
  end = _unscored_end(run)
  for row, upto in enumerate(upto_B):
    token_T = drawn.x_BLC[row, :upto, 0]
    yield (
      upto >= plan.wanted[row]
      or (end is not None and end in token_T)
      or (plan.stop and _cut(run, plan, drawn, upto_B, row).stopped)
    )


def _cut(run, plan, drawn, upto_B, row, more=False):
  """The stops.Cut of what was drawn of a row, up to its end symbol."""
  token_T = drawn.x_BLC[row, len(plan.known[row]) : upto_B[row], 0]
  (end,) = text.lengths(run.media, token_T[None])
  return stops.cut(run.media, token_T[:end], plan.stop, more)


def _drawn(run, plan, sample, upto_B):
  """Drawn of a Sample whose rows are asked for up to `upto` sites."""
  media, x_BTC = run.media, np.array(sample.x_BLC)
  end_B = np.minimum(text.lengths(media, x_BTC[..., 0]), upto_B)
  site_T = np.arange(x_BTC.shape[1])
  start_B1 = np.array([[len(k)] for k in plan.known])
  scored_B = np.array(upto_B if media.get("fill") == "scored" else end_B)
  end = _unscored_end(run)
  if end is not None:
    # The model never learned what follows the end: it draws noise there.
    ended_BT = x_BTC[..., 0] == end
    ended_BT &= site_T < upto_B[:, None]
    x_BTC[np.cumsum(ended_BT, 1) > 0] = end
  texts = None
  if media.get("kind") == "text":
    rows = zip(x_BTC[..., 0], end_B, strict=True)
    texts = [text.decode(media, token_T[:n]) for token_T, n in rows]
  for row in range(len(x_BTC)) if plan.stop else ():
    cut = _cut(run, plan, sample, upto_B, row)
    if cut.stopped:
      texts[row] = text.decode(media, plan.known[row]) + cut.text
      scored_B[row] = len(plan.known[row]) + cut.tokens
      x_BTC[row, scored_B[row] :] = 0
  inside_BT = site_T < scored_B[:, None]
  asked_BT = inside_BT & (site_T >= start_B1)
  for n, _ in plan.forced:
    asked_BT &= site_T != start_B1 + n
  return Drawn(
    texts,
    x_BTC,
    np.where(inside_BT, sample.log_prob_model_BL, 0),
    np.where(inside_BT, sample.log_prob_sampler_BL, 0),
    asked_BT,
  )
