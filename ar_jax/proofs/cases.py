"""What checks are made on: a model, orders, conditions and sequences.

All sequences of a small space, under all orders of a case, are one batch of
one compiled call; of a space too large to enumerate, a case names the
sequences to be checked on.
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import numpy as np

from ar_jax import likelihood
from ar_jax.types import Head, Model

ENUMERABLE = 20_000  # sequences
REAL = 48  # sequences of real values that stand for all there are


class Broken(AssertionError):
  """A check that failed; figure: what broke the bar, where there is one."""

  def __init__(self, message, figure=None):
    super().__init__(message)
    self.figure = figure


class Case(NamedTuple):
  """A model and the blocks it is checked on; block k is an order and a y.

  order_KL: int32 [K, L]; None: the identity, by the path that costs nothing.
  y: name -> [K, ...] in data order; None: no condition, the learned null.
  x_NLC: [N, L, C], the sequences of each block; None: all there are, or of
    real values some.
  """

  model: Any
  head: Any
  spec: Any
  params: Any
  order_KL: Any = None
  y: Any = None
  x_NLC: Any = None


def require(holds, message, figure=None):
  """Raises Broken where a fact does not hold."""
  if not holds:
    raise Broken(message, figure)


def below(figure, bar, what):
  """The figure, where it is no larger than its bar."""
  text = f"{what}: off by {figure:.3g}, the bar is {bar:g}"
  require(figure <= bar, text, figure)
  return figure


def apart(a, b):
  """Largest |a - b| next to the largest |a|, or to 1."""
  a, b = np.asarray(a), np.asarray(b)
  require(a.shape == b.shape, f"shapes {a.shape} and {b.shape}")
  require(np.isfinite(b).all(), "not finite")
  return float(np.abs(a - b).max(initial=0) / max(1, np.abs(a).max(initial=0)))


# --- parameters and sequences ---


def random_params(model, seed=0, scale=0.3, dtype=np.float64):
  """Initial parameters and noise: a map that starts at zero hides errors."""
  return perturbed(initial(model.init), seed, scale, dtype)


def perturbed(params, seed, scale=0.3, dtype=None):
  """Params plus normal noise."""
  rng = np.random.default_rng(seed)

  def noisy(leaf):
    leaf = leaf + scale * rng.standard_normal(leaf.shape)
    return leaf.astype(dtype or leaf.dtype)

  return jax.tree.map(noisy, params)


@functools.cache
def initial(init, seed=0):
  """Initial parameters as the library makes them, in float32."""
  with jax.enable_x64(False):
    # unsafe_rbg compiles faster than threefry.
    params = jax.jit(init)(jax.random.key(seed, impl="unsafe_rbg"))
  return jax.tree.map(np.asarray, params)


def sequences(num_values, length, channels):
  """All of them in lexical order, int32 [V ** (L * C), L, C]."""
  require(num_values, "values are real: they cannot be enumerated")
  digits = itertools.product(range(num_values), repeat=length * channels)
  x_NLC = np.array(list(digits), np.int32)
  return x_NLC.reshape(-1, length, channels)


def num_blocks(case):
  """K."""
  sizes = [] if case.order_KL is None else [len(case.order_KL)]
  sizes += [len(values) for values in (case.y or {}).values()]
  require(len(set(sizes)) <= 1, f"blocks of a case differ: {sizes}")
  return sizes[0] if sizes else 1


def space(case):
  """Every sequence of the case in every block: (x_BLC in data order, order, y).

  Which are all that there are, where the case names none.
  """
  spec, K = case.spec, num_blocks(case)
  x_NLC = case.x_NLC
  if x_NLC is None and spec.num_values is None:
    rng = np.random.default_rng(0)
    x_NLC = values(spec, rng, (REAL, spec.length, spec.channels))
  elif x_NLC is None:
    count = spec.num_values ** (spec.length * spec.channels)
    require(count <= ENUMERABLE, f"too many to enumerate: {count} sequences")
    x_NLC = sequences(spec.num_values, spec.length, spec.channels)
  block_B = np.repeat(np.arange(K), len(x_NLC))
  return np.tile(x_NLC, (K, 1, 1)), *rows_of(case, block_B)


def rows_of(case, block_B):
  """(order, y) of rows that belong to the given blocks."""
  order = case.order_KL
  if order is not None and len(order) > 1:
    order = order[block_B]  # else [1, L]: one order for all rows
  y = case.y and {k: np.asarray(v)[block_B] for k, v in case.y.items()}
  return order, y


def values(spec, rng, shape):
  """Random values: uniform int32, or real ones on the grid of the spec."""
  if spec.num_values is not None:
    return rng.integers(0, spec.num_values, shape, np.int32)
  return np.round(3 * rng.standard_normal(shape)) * np.float64(spec.delta)


def conditions(spec, count, seed=0):
  """Every condition for `count` blocks, name -> [count, ...]; None: no such.

  Labels take all values in turn.
  """
  rng = np.random.default_rng(seed)
  result = {}
  for name, condition in spec.conditions.items():
    shape = count, *condition.shape
    if condition.kind == "label":
      label = seed + np.arange(count, dtype=np.int32)
      result[name] = label % condition.num_values
    elif condition.num_values is not None:
      result[name] = rng.integers(0, condition.num_values, shape, np.int32)
    else:
      result[name] = rng.standard_normal(shape)
  return result or None


def y_to_steps(model, y, order):
  """y as the functions of a model take it: what is aligned, by steps."""
  if not y or order is None:
    return y
  return {
    k: to_steps(np.asarray(v), order) if k in model.aligned else v
    for k, v in y.items()
  }


def contents(case, seed):
  """Random rows, as many as the space has: (x_BLC, known_BL, order, y)."""
  rng = np.random.default_rng(seed)
  x_BLC, _, _ = space(case)
  B, L, _ = x_BLC.shape
  x_BLC = values(case.spec, rng, x_BLC.shape)
  known_BL = rng.random((B, L)) < 0.4
  known_BL[0] = False  # no common prefix: one compiled sampler for all checks
  known_BL[1:2] = True
  return (
    x_BLC,
    known_BL,
    *rows_of(case, rng.integers(num_blocks(case), size=B)),
  )


def to_steps(a_BL, order):
  """From data to generation order, by the definition order[t] = site."""
  if order is None:
    return a_BL
  order = np.broadcast_to(order, a_BL.shape[:2])
  return np.stack([a[o] for a, o in zip(a_BL, order, strict=True)])


def from_steps(a_BL, order):
  """From generation to data order, by the definition."""
  if order is None:
    return a_BL
  result = np.empty_like(a_BL)
  order = np.broadcast_to(order, a_BL.shape[:2])
  for row, a, o in zip(result, a_BL, order, strict=True):
    row[o] = a
  return result


# --- the forward ---


def forward(case, x_BLC, order, y, params=None):
  """(theta_BLP in generation order, log_prob_BL in data order), finite."""
  run = _forward(case.model.apply, case.head.log_prob, case.model.aligned)
  params = case.params if params is None else params
  theta_BLP, log_prob_BL = map(np.asarray, run(params, x_BLC, order, y))
  require(np.isfinite(theta_BLP).all(), "theta is not finite")
  require(not np.isnan(log_prob_BL).any(), "log_prob is NaN")
  return theta_BLP, log_prob_BL


@functools.cache
def _forward(apply, log_prob, aligned):
  """One compiled forward for all checks of a model and a head."""

  @jax.jit
  def run(params, x_BLC, order, y):
    kept = []

    def keep(*args, **kwargs):
      kept.append(apply(*args, **kwargs))
      return kept[0]

    model = Model(None, keep, None, None, None, aligned=aligned)
    head = Head(None, log_prob, None, None)
    log_prob_BL = likelihood.log_prob(model, head, params, x_BLC, order, y)
    return kept[0], log_prob_BL

  return run
