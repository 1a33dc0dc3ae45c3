"""The train step, and the one loop that calls it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ar_jax import errors, optim
from ar_jax.types import TrainState


def init_state(params, tx, ema_decay=None):
  """TrainState before the first update."""
  ema_params = None if ema_decay is None else jax.tree.map(jnp.copy, params)
  return TrainState(jnp.int32(0), params, ema_params, tx.init(params))


def example_keys(run_key, step, index_B):
  """One key for each example: the same in any batch, on any device."""
  key = jax.random.fold_in(run_key, step)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, index_B)


def make_train_step(
  objective,
  tx,
  *,
  steps,
  reduce=lambda tree: tree,
  accumulate=1,
  ema_decay=None,
):
  """(state, batch, run_key) -> (state, metrics): one update, pure.

  The sums of nats, weights and gradients are formed, reduced and only then
  divided, so the update is the same however examples lie on devices.

  Args:
    objective: (params, batch, key_B, done) -> (nats_BL, weight_BL); done is
      the share of the updates that are behind, 0 to 1.
    tx: optax.GradientTransformation.
    steps: updates in all.
    reduce: sums a pytree over devices, as psum does.
    accumulate: micro-batches that a batch is cut into, one after the other.
    ema_decay: of the averaged parameters, min(ema_decay, (1 + t) / (10 + t))
      at update t; None: no average.
  Returns:
    The step. Its metrics: nats and weight, summed over the batch; of the mean
    loss grad_norm, and bad_leaf, the number of the first parameter whose
    gradient is not finite, or -1.
  """

  def total(params, done, batch, key_B):
    nats_BL, weight_BL = objective(params, batch, key_B, done)
    return jnp.sum(nats_BL * weight_BL), jnp.sum(weight_BL)

  def accumulated(params, done, batch, key_B):
    value_and_grad = jax.value_and_grad(total, has_aux=True)
    sums = functools.partial(value_and_grad, params, done)
    if accumulate == 1:
      return sums(batch, key_B)
    # Every micro-batch has rows of every device that the batch lies on.
    parts = jax.tree.map(
      lambda a: a.reshape(-1, accumulate, *a.shape[1:]).swapaxes(0, 1),
      (batch, key_B),
    )

    def body(carry, part):
      return jax.tree.map(jnp.add, carry, sums(*part)), None

    first = functools.partial(jax.tree.map, lambda a: a[0])
    shapes = jax.eval_shape(lambda parts: sums(*first(parts)), parts)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.scan(body, zeros, parts)[0]

  def train_step(state, batch, run_key):
    key_B = example_keys(run_key, state.step, batch.index_B)
    done = state.step / steps
    reduced = reduce(accumulated(state.params, done, batch, key_B))
    (nats, weight), grads = reduced
    grads = jax.tree.map(lambda g: g / weight.astype(g.dtype), grads)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_decay is not None:
      decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
      ema_params = optax.incremental_update(params, ema_params, 1 - decay)
    state = TrainState(state.step + 1, params, ema_params, opt_state)
    return state, dict(nats=nats, weight=weight, **_figures_of(grads))

  return train_step


def _figures_of(grads):
  """Global norm of a gradient, and its first leaf that is not finite or -1."""
  square_N = jnp.stack([jnp.sum(g**2) for g in jax.tree.leaves(grads)])
  bad_N = ~jnp.isfinite(square_N)
  first = jnp.where(bad_N.any(), jnp.argmax(bad_N), -1)
  return dict(grad_norm=jnp.sqrt(square_N.sum()), bad_leaf=first)


def fit(
  state,
  train_step,
  batch_at,
  run_key,
  *,
  steps,
  every,
  on_step,
  on_state,
  due=lambda step: False,
):
  """Trains until `steps` updates are done; the one loop.

  Args:
    state: TrainState; its step is where the data goes on.
    train_step: of make_train_step, compiled.
    batch_at: (step) -> batch, laid out for the devices.
    run_key: key of the run.
    steps: updates in all.
    every: tuple of periods in updates; on_state is called at each.
    on_step: (step, metrics: floats, or arrays where the step has several
      members), called one step late so that the device never waits for the
      host.
    on_state: (step, state), at multiples of `every` and after the last one.
    due: (step) -> whether on_state is called at this one too.
  Returns:
    TrainState.
  Raises:
    NumericalError: a loss or a gradient that is not finite; no later state was
      handed on.
  """
  paths = jax.tree_util.tree_leaves_with_path(state.params)
  names = [optim.path_name(path) for path, _ in paths]
  report = functools.partial(_report, on_step, names)
  pending = None
  for step in range(int(state.step), steps):
    batch = batch_at(step)
    state, metrics = train_step(state, batch, run_key)
    if pending is not None:
      report(*pending)
    pending = step + 1, metrics, batch.index_B
    periodic = step + 1 == steps or any((step + 1) % n == 0 for n in every)
    if due(step + 1) or periodic:
      report(*pending)
      pending = None
      on_state(step + 1, state)
  return state


def _report(on_step, names, step, metrics, index_B):
  """Hands the figures of a step on, if they are numbers."""
  values = {k: np.asarray(v) for k, v in jax.device_get(metrics).items()}
  leaf = values.pop("bad_leaf").ravel()
  nats, norm = values["nats"].ravel(), values["grad_norm"].ravel()
  finite = np.isfinite(nats) & np.isfinite(norm)
  if finite.all():
    on_step(step, {k: v if v.ndim else v.item() for k, v in values.items()})
    return
  n = int(np.argmin(finite))
  bad = "" if leaf[n] < 0 else f", first in that of {names[leaf[n]]}"
  member = f", member {n}" if finite.size > 1 else ""
  raise errors.NumericalError(
    f"step {step}{member}, examples {_range(index_B)}: the loss is {nats[n]}"
    f" nats, the norm of its gradient {norm[n]}{bad}; nothing was"
    " saved from here on. Lower config.optimizer.lr, or set"
    " config.optimizer.clip"
  )


def _range(index_B):
  """Those of this process, as words."""
  shards = getattr(index_B, "addressable_shards", None)
  parts = [index_B] if shards is None else [s.data for s in shards]
  numbers = np.concatenate([np.ravel(p) for p in parts])
  return f"{numbers.min()} to {numbers.max()}"
