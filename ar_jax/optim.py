"""Learning-rate schedule and optax chain from plain arguments."""

import re

import jax
import optax
from optax import contrib

from ar_jax import errors, registry


def make(
  *,
  steps,
  name="adamw",
  lr=1e-3,
  schedule="cosine",
  warmup=0,
  final=0.1,
  b1=0.9,
  b2=0.95,
  weight_decay=0.0,
  decay=r"(kernel|embedding)$",
  clip=None,
  muon=r"block_.*kernel$",
  muon_lr=0.02,
):
  """clip -> direction -> weight decay -> learning rate, as one optax chain.

  Args:
    steps: updates of the whole run; where the decay of the rate ends.
    name: "adamw", "adam" (no weight decay), "sgd" (momentum b1) or "muon"
      (Jordan et al. 2024, on matrices whose path matches `muon`; Adam else).
    lr: peak rate of Adam and SGD.
    schedule: after a linear warm-up: "cosine", "linear" or "constant".
    warmup: updates until the peak rate.
    final: last rate over the peak; unread by "constant".
    b1: decay of the first moment.
    b2: decay of the second moment.
    weight_decay: decoupled, times the rate.
    decay: regular expression searched in the parameter's path
      ("gpt/block_0/up/kernel"): what decays.
    clip: global norm of the gradient at most this; None: off.
    muon: regular expression of the paths that Muon takes.
    muon_lr: peak rate of Muon.
  Returns:
    optax.GradientTransformation.
  Raises:
    UsageError: unknown optimizer or schedule.
  """
  directions = {
    "adamw": lambda: optax.scale_by_adam(b1, b2),
    "adam": lambda: optax.scale_by_adam(b1, b2),
    "sgd": lambda: optax.trace(b1) if b1 else optax.identity(),
    "muon": lambda: _muon(b1, b2, muon, muon_lr / lr),
  }
  if name not in directions:
    raise errors.UsageError(
      f"config.optimizer.name: no optimizer {name!r}"
      f"{registry.nearest(name, directions)};"
      f" there are: {', '.join(directions)}"
    )
  return optax.chain(
    optax.identity() if clip is None else optax.clip_by_global_norm(clip),
    directions[name](),
    optax.identity()
    if name == "adam" or not weight_decay
    else optax.add_decayed_weights(weight_decay, matching(decay)),
    optax.scale_by_learning_rate(
      make_schedule(schedule, lr, steps, warmup, final)
    ),
  )


def make_schedule(name, lr, steps, warmup, final):
  """update number -> rate: linear warm-up, then the named decay."""
  after = max(1, steps - warmup)
  decays = {
    "cosine": lambda: optax.cosine_decay_schedule(lr, after, final),
    "linear": lambda: optax.linear_schedule(lr, lr * final, after),
    "constant": lambda: optax.constant_schedule(lr),
  }
  if name not in decays:
    raise errors.UsageError(
      f"config.optimizer.schedule: no schedule {name!r}"
      f"{registry.nearest(name, decays)}; there are: {', '.join(decays)}"
    )
  if not warmup:
    return decays[name]()
  # The first update has rate lr / warmup, not zero.
  up = optax.linear_schedule(lr / warmup, lr, max(1, warmup - 1))
  return optax.join_schedules([up, decays[name]()], [warmup])


def matching(pattern):
  """params -> tree of bool: whether the leaf's path matches `pattern`."""

  def mask(params):
    def leaf(path, _):
      return bool(re.search(pattern, path_name(path)))

    return jax.tree_util.tree_map_with_path(leaf, params)

  return mask


def path_name(path):
  """'gpt/block_0/up/kernel' of a jax key path."""

  def name(k):
    found = (getattr(k, n) for n in ("key", "name", "idx") if hasattr(k, n))
    return str(next(found, k))

  return "/".join(map(name, path))


def _muon(b1, b2, pattern, ratio):
  """Muon on the matrices that match, Adam elsewhere, at one schedule."""

  def labels(params):
    def label(path, leaf):
      matrix = leaf.ndim == 2 and re.search(pattern, path_name(path))
      return "muon" if matrix else "adam"

    return jax.tree_util.tree_map_with_path(label, params)

  def dimensions(tree):
    return jax.tree.map(lambda _: contrib.MuonDimensionNumbers(), tree)

  directions = dict(
    muon=optax.chain(
      contrib.scale_by_muon(weight_dimension_numbers=dimensions),
      optax.scale(ratio),
    ),
    adam=optax.scale_by_adam(b1, b2),
  )
  return optax.partition(directions, labels)
