"""Runs that differ in their seed alone, trained as one program.

The states of the members lie along a leading axis, and one compiled step
updates all of them on the same batch: small networks leave most of a device
idle. Each member has its own directory from the start, an ordinary run that
could have been trained alone: members that a crash has left at other steps
than the rest go on by themselves. On one device, in one process.
"""

import contextlib
import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ar_jax import assemble, data, errors, launch, preemption
from ar_jax import run as runs
from ar_jax import train as training
from ar_jax.types import TrainState

# The step is one for all members.
_AXES = TrainState(None, 0, 0, 0)
_REPEATS = 7


class Gain(NamedTuple):
  """Seconds of a step, medians of turns: of all members, and of one alone."""

  members: int
  together: float
  alone: float

  @property
  def ratio(self):
    """How many times as fast the members are together."""
    return self.members * self.alone / self.together


def train(configs, workdirs, views, measured=lambda gain: None):
  """Trains runs whose configs differ in `seed` alone; see launch.train.

  Args:
    configs: locked ConfigDicts, all of one `train.shuffle_seed`.
    workdirs: their directories.
    views: launch.View of each.
    measured: called with the Gain where training begins.
  Returns:
    (list of Run, Dataset).
  Raises:
    UsageError: the configs differ in more. NumericalError, Preempted, ...: as
    launch.train, of any of the members; where Preempted, all have saved.
  """
  _check(configs)
  with preemption.Watch() as watch, contextlib.ExitStack() as stack:
    with watch.interruptible():
      parts, first_state = launch.prepare(configs[0], workdirs[0])
      prepared = [(parts, first_state)]
      for config, workdir in zip(configs[1:], workdirs[1:], strict=True):
        prepared.append(launch.prepare_like(parts, config, workdir))
    members = []
    for given, workdir, view in zip(prepared, workdirs, views, strict=True):
      begun = launch.started(workdir, *given, view, watch)
      members.append((given[0], workdir, *stack.enter_context(begun)))
    found = [state for _, _, state, _ in members]
    groups = {}
    for n, (_, _, state, keep) in enumerate(members):
      if keep is not None:
        groups.setdefault(int(state.step), []).append(n)
    for _, numbers in sorted(groups.items()):
      some = [members[n] for n in numbers]
      for n, state in zip(numbers, _fit(some, measured), strict=True):
        found[n] = state
  opened = [
    launch.opened(workdir, own, state)
    for (own, workdir, _, _), state in zip(members, found, strict=True)
  ]
  return opened, parts.dataset


def stack(states):
  """One TrainState of several at the same step, along a leading axis."""
  joined = jax.tree.map(lambda *a: jnp.stack(a), *states)
  return joined._replace(step=states[0].step)


def take(state, n):
  """The TrainState of a member."""
  own = jax.tree.map(lambda a: a[n], state._replace(step=None))
  return own._replace(step=state.step)


def compiled(parts):
  """(states, batch, keys) -> (states, metrics [M]), the states donated."""
  step = assemble.step_maker(parts.config, parts.net, parts.tx)()
  mapped = jax.vmap(step, in_axes=(_AXES, None, 0), out_axes=(_AXES, 0))
  return jax.jit(mapped, donate_argnums=0)


def _check(configs):
  first = configs[0]
  for config in configs:
    same = {**config.to_dict(), "seed": 0} == {**first.to_dict(), "seed": 0}
    if not same or config.train.shuffle_seed is None:
      raise errors.UsageError(
        "members are runs that differ in `seed` alone and share a"
        " config.train.shuffle_seed"
      )


def _fit(members, measured):
  """The states that the training of members at one step ends with."""
  parts, _, state, _ = members[0]
  config = parts.config
  keepers = [keep for *_, keep in members]
  states = stack([state for _, _, state, _ in members])
  keys = jnp.stack([runs.keys(own.config)[1] for own, *_ in members])
  batch_at = launch.batches(parts, slice(None))
  step = compiled(parts)
  first = int(state.step)
  if len(members) > 1:
    measured(_gain(parts, step, states, keys, batch_at(first)))

  def on_step(number, metrics):
    for n, keep in enumerate(keepers):
      keep.on_step(number, {k: float(v[n]) for k, v in metrics.items()})

  def on_state(number, states):
    stopped = None
    for n, keep in enumerate(keepers):
      try:
        keep.on_state(number, take(states, n))
      except errors.Preempted as e:  # the others save too
        stopped = e
    if stopped:
      raise stopped
    for keep in keepers:  # what the others did is no training either
      keep.resume()

  def due(number):
    wishes = [keep.due(number) for keep in keepers]  # each is to be asked
    return any(wishes)

  for keep in keepers:
    keep.begin()
  for keep in keepers:
    keep.resume()
  steps = config.train.steps
  with data.ahead(batch_at, first, steps) as batch_at:
    states = training.fit(
      states,
      step,
      batch_at,
      keys,
      steps=steps,
      every=launch.periods(config.train),
      on_step=on_step,
      on_state=on_state,
      due=due,
    )
  return [take(states, n) for n in range(len(members))]


def _gain(parts, step, states, keys, batch):
  """The Gain, of copies of the states."""
  layout = parts.layout
  alone, fed = layout.place(take(states, 0)), layout.feed(batch)

  def seconds(step, state, batch, key):
    state = jax.block_until_ready(jax.tree.map(jnp.copy, state))
    began = time.perf_counter()
    jax.block_until_ready(step(state, batch, key))
    return time.perf_counter() - began

  turns = dict(
    together=lambda: seconds(step, states, batch, keys),
    alone=lambda: seconds(parts.train_step, alone, fed, keys[0]),
  )
  times = {name: [] for name in turns}
  for _ in range(1 + _REPEATS):
    for name, turn in turns.items():
      times[name].append(turn())
  # The first turns compile.
  medians = {k: statistics.median(v[1:]) for k, v in times.items()}
  return Gain(len(keys), **medians)
