"""The types every room speaks, and the legend of axis letters.

Axis letters (suffixes of names at public boundaries, as in `x_BLC`):

  B batch       L sites, or steps    C channels of a site   V values
  P parameters of the head of one site                      D width
  H heads       N layers or items    K orders, or steps of one `extend`

`order[t] = site`: the site generated at step t; `rank = argsort(order)`. An
order is int32 [1, L] or [B, L]; None is the identity and costs nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Model(NamedTuple):
  """Pure functions of one network.

  Arrays are in generation order: index t of axis L is the t-th step. `y` is a
  dict by condition name; a name that is absent is the learned null.

  init: (key) -> params
  apply: (params, x_BLC, order_BL=None, y=None, *, key_B=None) -> theta_BLP;
    theta[:, t] depends on x[:, :t] only. Dropout is on when keys are given.
  init_cache: (params, batch, length, order_BL=None, y=None) -> cache; room
    for `length` steps.
  step: (params, cache, x_BC, t) -> (theta_BP, cache); t: int32[]; x_BC is the
    value of step t - 1, unread at t = 0.
  extend: (params, cache, x_BKC, t, n=None) -> (theta_BKP, cache): K calls of
    step in one; x[:, k] is the value of step t - 1 + k, theta[:, k] belongs
    to step t + k; only the first n steps enter the cache. A cache longer
    than an item, or steps past its capacity, are a ValueError.
  sees: bool [L, L], which earlier steps a step can depend on; None: all.
    Where it depends on the order: (order int [L]) -> bool [L, L], and then the
    model knows the order through that graph alone. Read it by
    `decode.sees`.
  predict: order-agnostic networks only: (params, x_BLC in data order,
    known_BL, y=None, *, key_B=None) -> theta_BLP.
  enter: (params, cache, x_BKC, t) -> cache: what `extend` writes of values,
    without their steps. Only of a model whose cache is slots of steps, and
    whose steps are right in any number of calls once the values they see are
    entered. None: values enter with their steps.
  aligned: names of the conditions that are in generation order as x is: row t
    belongs to the site that step t predicts, and steps from t on may see it.
  """

  init: Callable
  apply: Callable
  init_cache: Callable
  step: Callable
  extend: Callable
  sees: np.ndarray | Callable | None = None
  predict: Callable | None = None
  enter: Callable | None = None
  aligned: tuple = ()


class Head(NamedTuple):
  """The distribution of one site, its C channels jointly.

  num_params: P.
  log_prob: (theta[..., P], x[..., C]) -> float[...] in nats; sums to one.
  sample: (key, theta[..., P]) -> x[..., C].
  adjust: (theta, *, temperature, top_k, top_p, min_p) -> theta of the same
    head; raises ValueError for what the head cannot do.
  noise, draw: what `sample` needs of its key, apart from theta, so that a
    sampler makes it for many steps at once: sample(key, theta[P]) is
    draw(noise(key, theta.dtype), theta). None: not apart.
  log_probs: (theta[..., P]) -> float[..., V], log_prob of each value of a site
    of one channel. None: more channels, or values that cannot be listed.
  """

  num_params: int
  log_prob: Callable
  sample: Callable
  adjust: Callable
  noise: Callable | None = None
  draw: Callable | None = None
  log_probs: Callable | None = None


class Ordering(NamedTuple):
  """A family of orders.

  orders_KL: int32 [K, L], all orders of the family; None: all L! of them.
  draw: (key_B) -> order_BL, [1, L] where every row is the same, None for the
    identity. `key_B` may be None for a family of one order.
  training: (key_B, done) -> order_BL, where training draws other orders than
    those that are scored and sampled; done: the share of the updates, 0 to 1.
    None: `draw`.
  """

  orders_KL: np.ndarray | None
  draw: Callable
  training: Callable | None = None


class Condition(NamedTuple):
  """What is known beside x.

  kind: "label" (one number for an item), "aligned" (a row for each site, in
    data order) or "sequence" (a memory of S rows that every step may see).
  num_values: its values are 0..num_values - 1; None: they are real.
  shape: of an item: () of a label; (L,) or (L, F); (S,) or (S, F).
  """

  kind: str
  num_values: int | None = None
  shape: tuple[int, ...] = ()


class DataSpec(NamedTuple):
  """What one item is.

  shape: sites, as (T,), (H, W), (H, W, 3); L = prod(shape).
  channels: C, the values of a site that the head models jointly.
  num_values: V, or None for real values, which then carry `delta`.
  delta: declared resolution of real values, in the units of x: these lie on
    the grid of its multiples, and a head gives the mass of the bin
    [x - delta / 2, x + delta / 2].
  conditions: name -> Condition.
  """

  shape: tuple[int, ...]
  channels: int = 1
  num_values: int | None = None
  delta: float | None = None
  conditions: Mapping[str, Condition] = {}

  @property
  def length(self) -> int:
    """L, the number of sites."""
    return int(np.prod(self.shape))


class Split(NamedTuple):
  """One split of a data set.

  size: number of items N.
  get: (indices int[B]) -> (x_BLC, weight_BL, y), numpy, in data coordinates;
    weight says what is scored.
  units: what the scored sites of the whole split amount to, as
    dict(byte=n, char=m, word=k).
  entropy: exact entropy of one item in nats where the source is known.
  exact: (indices) -> float64 [B], the exact -log p(x | y) of items in nats,
    where the source is known: no model's are lower in the mean.
  protocol: how the items were cut, as "w128/s64".
  stream: int[T], the tokens behind a split that is one stream, else None.
  raw: the bytes a compressor would be given, or None.
  fingerprint: a hash of the content where reading it all would take long;
    None: `data.fingerprints` reads it.
  log_jacobian: (indices) -> float [B, L], nats to be added to the log-mass of
    each site: of a bin in the units of x, to one of the resolution declared
    in original units. None: the two are the same.
  """

  size: int
  get: Callable
  units: Mapping[str, int] = {}
  entropy: float | None = None
  exact: Callable | None = None
  protocol: str = "items"
  stream: np.ndarray | None = None
  raw: bytes | None = None
  fingerprint: str | None = None
  log_jacobian: Callable | None = None


class Dataset(NamedTuple):
  """Splits by name ("train", "valid", ...), and the way back to the medium.

  media: JSON data that turns arrays into media and back; see `text.py`.
  """

  spec: DataSpec
  splits: Mapping[str, Split]
  media: Mapping[str, Any]


class Batch(NamedTuple):
  """Arrays in data coordinates; index_B: global example numbers."""

  x_BLC: Any
  weight_BL: Any
  y: Mapping[str, Any]
  index_B: Any


class Sample(NamedTuple):
  """Samples in data coordinates, with both log-probabilities in nats.

  log_prob_model_BL: under the model itself.
  log_prob_sampler_BL: under the distribution drawn from (temperature, ...);
    0 at the sites that were given.
  """

  x_BLC: Any
  log_prob_model_BL: Any
  log_prob_sampler_BL: Any


class TrainState(NamedTuple):
  """A pytree: no functions, no keys. ema_params is None without an EMA."""

  step: Any
  params: Any
  ema_params: Any
  opt_state: Any
