"""What a run draws from: views of its network, and other samplers.

Here alone is a run's network replaced. Scores stay those of the network, but
for `scored_as_drawn`.
"""

import dataclasses

import numpy as np

from ar_jax import (
  assemble,
  drawing,
  errors,
  guidance,
  inputs,
  penalties,
  registry,
  text,
)
from ar_jax import config as configs

FILTERS = ("temperature", "top_k", "top_p", "min_p")


def adjusted(run, *, banned=(), **settings):
  """The Run, drawing from a view of its network.

  Args:
    run: Run.
    banned: texts of one token each, that are never drawn.
    **settings: repetition, presence, frequency; see penalties.py.
  """
  model, head = run.net.drawn_from
  banned = [_one_token(run, words) for words in banned]
  try:
    view = penalties.penalized(model, head, banned=banned, **settings)
  except ValueError as e:
    raise errors.UsageError(str(e)) from e
  return _from(run, view)


def guided(run, scale):
  """The Run, drawing from a guided view of its network; see guidance.py."""
  if not run.spec.conditions:
    raise errors.UsageError(
      "guidance is of what x is conditioned on, and this run has no labels, nor"
      " other conditions"
    )
  try:
    view = guidance.guided(*run.net.drawn_from, scale)
  except ValueError as e:
    raise errors.UsageError(str(e)) from e
  return _from(run, view)


def _from(run, view):
  section = configs.plain(run.config.sample)
  sampler = assemble.sampler(section, *view)
  net = run.net._replace(sampler=sampler, view=view)
  return dataclasses.replace(run, net=net)


def drawn_by(run, name, **options):
  """The Run with another sampler, of the same filters.

  Args:
    run: Run.
    name: of a sampler.
    **options: of its `make`.
  """
  plain = configs.plain(run.config)
  filters = {f: plain["sample"][f] for f in FILTERS}
  section = dict(filters, name=name, **options)
  sampler = assemble.sampler(section, *run.net.drawn_from)
  config = configs.restore(dict(plain, sample=dict(filters, name=name)))
  net = run.net._replace(sampler=sampler)
  return dataclasses.replace(run, config=config, net=net)


def drafted(run, draft, **options):
  """The Run, sampled by speculation: another run drafts, this one judges.

  What is drawn is distributed as without a draft; see samplers/speculative.py.

  Args:
    run: Run.
    draft: Run of the same data in the same order, a smaller one.
    **options: steps, of the sampler.
  """
  if not inputs.same_values(run, draft) or run.spec.shape != draft.spec.shape:
    raise errors.DataError(
      f"{draft.workdir} cannot draft: it knows {draft.spec.num_values} values"
      f" in shape {draft.spec.shape} from {draft.media.get('source')}, the run"
      f" {run.spec.num_values} in shape {run.spec.shape} from"
      f" {run.media.get('source')}, or another vocabulary; give a run that was"
      " trained on the same data"
    )
  kinds = run.net.ordering.orders_KL, draft.net.ordering.orders_KL
  if kinds[1] is not None and not np.array_equal(*kinds):
    raise errors.UsageError(
      f"{draft.workdir} cannot draft: its order is"
      f" {draft.config.ordering.name}, that of the run"
      f" {run.config.ordering.name}"
    )
  section = configs.plain(run.config.sample)
  filters = {name: section[name] for name in FILTERS}
  network = registry.load("samplers", "speculative").network
  if draft.net.head.log_probs is None:
    raise errors.UsageError(
      f"{draft.workdir} cannot draft: the values of its head"
      f" {draft.config.head.name} cannot be listed"
    )
  model, head = draft.net.model, draft.net.head
  ahead = network(model, head, draft.params, **filters)
  return drawn_by(run, "speculative", draft=ahead, **options)


def counting(run):
  """(Run, list): it notes what its sampler counts, of each window.

  Empty after drawing where a sampler counts nothing: a pass is a step.
  """
  counts, inner = [], run.net.sampler
  if not hasattr(inner, "counted"):
    return run, counts

  def sampler(*args, **conditions):
    sample, counted = inner.counted(*args, **conditions)
    counts.append({k: np.asarray(v) for k, v in counted.items()})
    return sample

  net = run.net._replace(sampler=sampler)
  return dataclasses.replace(run, net=net), counts


def scored_as_drawn(run):
  """The Run whose scores are of what it draws from, the filters included."""
  model, head = run.net.drawn_from
  section = configs.plain(run.config.sample)
  settings = {name: section[name] for name in FILTERS}

  def log_prob(theta, x):
    return head.log_prob(head.adjust(theta, **settings), x)

  scored = head._replace(log_prob=log_prob)
  net = run.net._replace(model=model, head=scored)
  return dataclasses.replace(run, net=net)


def _one_token(run, words):
  token_T = drawing.encode(run, words)
  if len(token_T) != 1:
    shown = [text.decode(run.media, [token]) for token in token_T]
    raise errors.UsageError(
      f"{words!r} cannot be banned: it is {len(token_T)} tokens, {shown}, and a"
      " ban is of one; ban one of them, or stop at the text"
    )
  return int(token_T[0])
