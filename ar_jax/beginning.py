"""How a run begins: anew, from another run's parameters, or from given ones."""

import contextlib
import pathlib

import jax

from ar_jax import (
  assemble,
  checkpoint,
  data,
  errors,
  inputs,
  parallel,
  record,
  states,
)
from ar_jax import config as configs
from ar_jax import run as runs
from ar_jax import train as training


def first_state(parts, source):
  """The state before the first update, of another run's parameters or not."""
  state = runs.first_state(parts.config, parts.net, parts.tx)
  if source is None:
    return state
  return _from_run(state, source, parts.dataset, parts.config, parts.tx)


def _from_run(state, source, dataset, config, tx):
  """The first state of a run that starts from another one's parameters."""
  wrong = checkpoint.difference(source.params, state.params)
  if wrong is None and not inputs.same_values(source, dataset):
    wrong = "it reads other values, or the same ones in another sense"
  if wrong is not None:
    raise errors.DataError(
      f"--init_from: {source.workdir} does not fit this run: {wrong}"
    )
  return training.init_state(source.params, tx, config.train.ema_decay)


def begin(workdir, first_state, parts, checkpoints, init_from):
  """(state, progress) of a run that is new; makes its directory."""
  config, dataset = parts[:2]
  if init_from is None:
    state = parts.layout.make(first_state)
  else:  # the other run may be gone when this one goes on
    state = parts.layout.place(first_state())
    _save_first(workdir, checkpoints, state)
  if parallel.is_first():
    about = record.first(data.fingerprints(dataset), init_from)
    _create(workdir, config, dataset.spec, dataset.media, about)
  return state, None


def write(workdir, config, spec, media, params):
  """Makes a run at step 0 of parameters that come from elsewhere.

  Args:
    workdir: directory; must not hold a run.
    config: locked ConfigDict, whose network `params` fit.
    spec: DataSpec.
    media: JSON data of a Dataset.
    params: pytree.
  Returns:
    run.Run.
  Raises:
    DataError: the parameters do not fit; says which.
  """
  net = assemble.network(config, spec)
  tx = assemble.optimizer(config)
  like = jax.eval_shape(lambda: runs.first_state(config, net, tx))
  wrong = checkpoint.difference(params, like.params)
  if wrong is not None:
    raise errors.DataError(f"the parameters do not fit the config: {wrong}")
  state = training.init_state(params, tx, config.train.ema_decay)
  if checkpoint.exists(workdir):
    raise errors.UsageError(
      f"{workdir} already holds a run; choose another --workdir"
    )
  with contextlib.closing(states.Checkpoints(workdir)) as checkpoints:
    _save_first(workdir, checkpoints, state)
  _create(workdir, config, spec, media, record.first({}))
  return runs.opened(pathlib.Path(workdir), config, spec, media, net, state)


def _create(workdir, config, spec, media, run):
  checkpoint.create(
    workdir, config=configs.plain(config), spec=spec, media=media, run=run
  )


def _save_first(workdir, checkpoints, state):
  """Keeps a first state that the config cannot make again."""
  if any(checkpoints.steps()):  # that of step 0 is of a start that was killed
    raise errors.DataError(
      f"{workdir}/checkpoints holds states, but there is no run; remove it, or"
      " choose another --workdir"
    )
  checkpoints.drop_after(-1)
  checkpoints.save(state)
  checkpoints.wait()
