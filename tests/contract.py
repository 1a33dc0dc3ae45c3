"""The contract, check by check: what makes a figure of ar_jax believable.

A check is a plain function of what it checks. It returns the worst figure it
met, and raises AssertionError with figures where a bar is broken. Spaces are
tiny, so nothing is sampled that can be enumerated: all sequences, under all
orders of a case, are one batch of one compiled call. test_contract.py applies
the checks to every plugin, test_contract_catches.py to broken ones.

Longer than 400 lines because it is one list: the bars stand side by side, and
most checks share the space and the compiled forward of their case.
"""

import contextlib
import functools
import itertools
import json
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.spatial
import scipy.stats

from ar_jax import evaluate, likelihood
from ar_jax import ordering as orders
from ar_jax.types import Batch, Head, Model, Split

SUM = dict(float64=1e-12, float32=1e-6)  # of |sum of p - 1|
STEP = dict(float64=1e-12, float32=1e-5)  # of theta, next to its largest
NLL = 1e-6  # of mean nats per site
SEEN = 1e-9  # a smaller change of theta, in float64, is none
CHANCE = 1e-6  # p-value below which chance is no excuse
DRAWS = 200_000
GARBAGE = 1e6  # finite: 0 * NaN would be NaN in a masked product


class Case(NamedTuple):
  """A model and the blocks it is checked on; block k is an order and a y.

  order_KL: int32 [K, L]; None: the identity, by the path that costs nothing.
  y: name -> int32 [K]; None: no condition, the learned null.
  """

  model: Any
  head: Any
  spec: Any
  params: Any
  order_KL: Any = None
  y: Any = None


@contextlib.contextmanager
def precision(dtype):
  """Arrays of `dtype`, and matmuls that do not round further.

  Programs in float64 are compiled with few optimizations, in two thirds of
  the time: the bits of those that users run are checked in float32.
  """
  double = dtype == "float64"
  highest = jax.default_matmul_precision("highest")
  jax.config.update("jax_disable_most_optimizations", double)
  try:
    with jax.enable_x64(double), highest:
      yield
  finally:
    jax.config.update("jax_disable_most_optimizations", False)


# --- what the checks share ---


def random_params(model, seed=0, scale=0.3, dtype=np.float64):
  """Initial parameters and noise: a map that starts at zero hides errors."""
  return perturbed(_initial(model.init), seed, scale, dtype)


def perturbed(params, seed, scale=0.3, dtype=None):
  """Params plus normal noise."""
  rng = np.random.default_rng(seed)

  def noisy(leaf):
    leaf = leaf + scale * rng.standard_normal(leaf.shape)
    return leaf.astype(dtype or leaf.dtype)

  return jax.tree.map(noisy, params)


@functools.cache
def _initial(init, seed=0):
  """Initial parameters as the library makes them, in float32."""
  with jax.enable_x64(False):
    # unsafe_rbg compiles faster than threefry.
    params = jax.jit(init)(jax.random.key(seed, impl="unsafe_rbg"))
  return jax.tree.map(np.asarray, params)


def sequences(num_values, length, channels):
  """All of them in lexical order, int32 [V ** (L * C), L, C]."""
  assert num_values, "a TINY spec needs discrete values, to be enumerated"
  count = num_values ** (length * channels)
  assert count <= 10_000, f"a TINY spec is too large: {count} sequences"
  digits = itertools.product(range(num_values), repeat=length * channels)
  x_NLC = np.array(list(digits), np.int32)
  return x_NLC.reshape(count, length, channels)


def num_blocks(case):
  """K."""
  sizes = [] if case.order_KL is None else [len(case.order_KL)]
  sizes += [len(values) for values in (case.y or {}).values()]
  assert len(set(sizes)) <= 1, f"blocks of a case differ: {sizes}"
  return sizes[0] if sizes else 1


def space(case):
  """Every sequence in every block: (x_BLC in data order, order, y)."""
  spec, K = case.spec, num_blocks(case)
  x_NLC = sequences(spec.num_values, spec.length, spec.channels)
  block_B = np.repeat(np.arange(K), len(x_NLC))
  return np.tile(x_NLC, (K, 1, 1)), *_rows_of(case, block_B)


def _rows_of(case, block_B):
  """(order, y) of rows that belong to the given blocks."""
  order = case.order_KL
  if order is not None and len(order) > 1:
    order = order[block_B]  # else [1, L]: one order for all rows
  y = case.y and {k: np.asarray(v)[block_B] for k, v in case.y.items()}
  return order, y


def contents(case, seed):
  """Random rows, as many as the space has: (x_BLC, known_BL, order, y)."""
  rng = np.random.default_rng(seed)
  x_BLC, _, _ = space(case)
  B, L, _ = x_BLC.shape
  x_BLC = rng.integers(0, case.spec.num_values, x_BLC.shape, np.int32)
  known_BL = rng.random((B, L)) < 0.4
  known_BL[0] = False  # no common prefix: one compiled sampler for all checks
  known_BL[1] = True
  return (
    x_BLC,
    known_BL,
    *_rows_of(case, rng.integers(num_blocks(case), size=B)),
  )


def forward(case, x_BLC, order, y, params=None):
  """(theta_BLP in generation order, log_prob_BL in data order), finite."""
  run = _forward(case.model.apply, case.head.log_prob)
  params = case.params if params is None else params
  theta_BLP, log_prob_BL = map(np.asarray, run(params, x_BLC, order, y))
  assert np.isfinite(theta_BLP).all(), "theta is not finite"
  assert not np.isnan(log_prob_BL).any(), "log_prob is NaN"
  return theta_BLP, log_prob_BL


@functools.cache
def _forward(apply, log_prob):
  """One compiled forward for all checks of a model and a head."""

  @jax.jit
  def run(params, x_BLC, order, y):
    kept = []

    def keep(*args, **kwargs):
      kept.append(apply(*args, **kwargs))
      return kept[0]

    model = Model(None, keep, None, None, None)
    head = Head(None, log_prob, None, None)
    log_prob_BL = likelihood.log_prob(model, head, params, x_BLC, order, y)
    return kept[0], log_prob_BL

  return run


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


def _apart(a, b):
  """Largest |a - b| next to the largest |a|, or to 1."""
  a, b = np.asarray(a), np.asarray(b)
  assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
  assert np.isfinite(b).all(), "not finite"
  return float(np.abs(a - b).max(initial=0) / max(1, np.abs(a).max(initial=0)))


def _below(figure, bar, what):
  assert figure <= bar, f"{what}: off by {figure:.3g}, the bar is {bar:g}"
  return figure


def _raises(call, what):
  try:
    call()
  except ValueError as e:
    assert str(e), f"{what}: a ValueError without a message"
    return
  raise AssertionError(f"{what} raised no ValueError")


# --- a model: what its forward means ---


def initialized(model):
  """Initial parameters are finite float32 and follow the key alone."""
  uncached = _initial.__wrapped__
  one, same, other = (
    jax.tree.leaves(uncached(model.init, seed)) for seed in (0, 0, 1)
  )
  assert one, "init gives no parameters"
  dtypes = {str(p.dtype) for p in one}
  assert dtypes == {"float32"}, f"init gives {dtypes}"
  assert all(np.isfinite(p).all() for p in one), "init is not finite"
  pairs = list(zip(one, same, strict=True))
  assert all((a == b).all() for a, b in pairs), "init differs at one key"
  moved = any((a != b).any() for a, b in zip(one, other, strict=True))
  assert moved, "init does not use its key"


def normalised(case):
  """exp(log p) over all sequences sums to one, in each block."""
  x_BLC, order, y = space(case)
  theta_BLP, log_prob_BL = forward(case, x_BLC, order, y)
  assert theta_BLP.shape == (*x_BLC.shape[:2], case.head.num_params)
  total_B = log_prob_BL.astype(np.float64).sum(-1)
  sum_K = np.exp(total_B).reshape(num_blocks(case), -1).sum(-1)
  worst = np.abs(sum_K - 1).max()
  bar = SUM[str(log_prob_BL.dtype)]
  return _below(worst, bar, f"sums of p over {len(total_B)} sequences {sum_K}")


def dependencies(case, params=None):
  """What changes where one value is replaced, over the whole space.

  Returns:
    theta_KLL: [k, t, s], the largest change of theta of step t, over all
      sequences of block k and all other values, when step s is replaced.
    log_prob_KLL: the same of log_prob at the site of step t.
  """
  x_BLC, order, y = space(case)
  _, L, C = x_BLC.shape
  K = num_blocks(case)
  before = forward(case, x_BLC, order, y, params)
  result = np.zeros((2, K, L, L))
  values = range(1, case.spec.num_values)
  for s, c, by in itertools.product(range(L), range(C), values):
    swapped_BLC = _swap(x_BLC, order, s, c, by, case.spec.num_values)
    after = forward(case, swapped_BLC, order, y, params)
    theta, log_prob = (
      np.abs(a - b) for a, b in zip(after, before, strict=True)
    )
    for i, change in enumerate((theta.max(-1), to_steps(log_prob, order))):
      worst_KL = change.reshape(K, -1, L).max(1)
      result[i, :, :, s] = np.maximum(result[i, :, :, s], worst_KL)
  return result


def _swap(x_BLC, order, step, channel, by, num_values):
  """x with `by` added to what is generated at one step."""
  x_BLC = x_BLC.copy()
  rows = np.arange(len(x_BLC))
  sites = step if order is None else order[:, step]
  x_BLC[rows, sites, channel] += by
  x_BLC[rows, sites, channel] %= num_values
  return x_BLC


def causal(case):
  """Nothing generated later moves a step, not by one bit."""
  theta_KLL, log_prob_KLL = dependencies(case)
  step = np.arange(case.spec.length)
  hidden_LL = step[:, None] <= step  # theta of step t, value of step s >= t
  _no_leak("theta of step", theta_KLL, hidden_LL, case)
  later_LL = step[:, None] < step
  _no_leak("log_prob at the site of step", log_prob_KLL, later_LL, case)
  return 0.0


def _no_leak(what, change_KLL, forbidden_LL, case):
  leaks = np.argwhere((change_KLL > 0) & forbidden_LL)
  if not len(leaks):
    return
  k, t, s = leaks[0]
  order = "identity" if case.order_KL is None else case.order_KL[k]
  raise AssertionError(
    f"{what} {t} moves by {change_KLL[k, t, s]:.3g} with the value of step"
    f" {s} (order {order}); {len(leaks)} pairs leak"
  )


def complete(case, draws=3):
  """Each step depends on exactly the steps that `sees` declares."""
  L = case.spec.length
  every = [case.params]
  every += [perturbed(case.params, seed) for seed in range(1, draws)]
  change_KLL = np.max([dependencies(case, p)[0] for p in every], axis=0)
  declared_LL = np.tri(L, k=-1, dtype=bool)
  if case.model.sees is not None:
    declared_LL = np.asarray(case.model.sees)
  wrong = np.argwhere((change_KLL > SEEN) != declared_LL)
  if len(wrong):
    k, t, s = wrong[0]
    raise AssertionError(
      f"step {t} {'misses' if declared_LL[t, s] else 'reads'} step {s}, which"
      f" `sees` {'declares' if declared_LL[t, s] else 'excludes'} (change"
      f" {change_KLL[k, t, s]:.3g}); {len(wrong)} pairs differ from `sees`"
    )
  return float(change_KLL[:, declared_LL].min(initial=np.inf))


# --- a model: declared inputs matter ---


def orders_matter(case):
  """theta tells apart all it should know: what lies where, and what is next.

  Values are fixed in generation order, and all orders of the sites tried. So
  two rows whose values lie on other sites, or that predict another site, must
  differ at that step, the first one included; rows alike so far, in the same
  order, must not.
  """
  x_BLC, order_BL, y = _all_orders(case)
  theta_BLP, _ = forward(case, from_steps(x_BLC, order_BL), order_BL, y)
  least = np.inf
  for t in range(case.spec.length):
    known = [_known(case, *row, t) for row in zip(x_BLC, order_BL, strict=True)]
    past = [
      (*o[: t + 1], *x[:t].ravel())
      for x, o in zip(x_BLC, order_BL, strict=True)
    ]
    _, first, same = np.unique(
      past, axis=0, return_index=True, return_inverse=True
    )
    moved = _apart(theta_BLP[:, t], theta_BLP[first[same.ravel()], t])
    _below(moved, 1e-12, f"theta of step {t} under orders that differ later")
    rows = list({k: row for row, k in enumerate(known)}.values())
    if len(rows) > 1:
      tree = scipy.spatial.cKDTree(theta_BLP[rows, t])
      apart, pair = tree.query(theta_BLP[rows, t], k=2)
      i = apart[:, 1].argmin()
      a, b = rows[i], rows[pair[i, 1]] if pair[i, 1] != i else rows[pair[i, 0]]
      assert apart[i, 1] > SEEN, (
        f"theta of step {t} is the same ({apart[i, 1]:.3g} apart) for orders"
        f" {order_BL[a]} and {order_BL[b]} with the values"
        f" {x_BLC[a, :t, 0]} and {x_BLC[b, :t, 0]} in turn"
      )
      least = min(least, apart[i, 1])
  return float(least)


def _all_orders(case):
  """(x_BLC in generation order, order_BL, y): sequences under all L! orders."""
  rng = np.random.default_rng(0)
  x_BLC, _, _ = space(case)
  B, L, _ = x_BLC.shape
  perms = np.array(list(itertools.permutations(range(L))), np.int32)
  perms = rng.permutation(perms)[: B // 2]
  row_B = np.arange(B)
  # The first values are alike: only their sites tell such rows apart.
  x_BLC = rng.integers(0, case.spec.num_values, x_BLC.shape, np.int32)
  x_BLC = x_BLC[row_B // len(perms)]
  x_BLC[row_B < len(perms)] = 0
  x_BLC[row_B < len(perms), -2:] = 1
  _, y = _rows_of(case, np.zeros(B, int))
  return x_BLC, perms[row_B % len(perms)], y


def _known(case, x_LC, order_L, t):
  """What step t is to know: values on the sites it sees, and its own site."""
  sees = case.model.sees
  seen = range(t) if sees is None else np.flatnonzero(sees[t])
  return frozenset((order_L[s], *x_LC[s]) for s in seen), order_L[t]


def order_shapes_agree(case):
  """None, [1, L] and [B, L] are three ways to say one order."""
  x_BLC, _, _ = space(case)
  order_1L = np.arange(case.spec.length, dtype=np.int32)[None]
  order_BL = np.repeat(order_1L, len(x_BLC), 0)
  _, y = _rows_of(case, np.zeros(len(x_BLC), int))
  one, *others = (
    forward(case, x_BLC, o, y)[0] for o in (None, order_1L, order_BL)
  )
  worst = max(_apart(one, other) for other in others)
  return _below(worst, STEP[str(one.dtype)], "theta by the shape of the order")


def labels_matter(case):
  """At every step, each label moves theta, and so does its absence."""
  x_BLC, order, _ = space(case)
  least = np.inf
  for name, condition in case.spec.conditions.items():
    labels = [
      {name: np.full(len(x_BLC), v, np.int32)}
      for v in range(condition.num_values)
    ]
    thetas = [forward(case, x_BLC, order, y)[0] for y in (None, *labels)]
    for (i, a), (j, b) in itertools.combinations(enumerate(thetas), 2):
      change_L = np.abs(a - b).max((0, 2))
      assert change_L.min() > SEEN, (
        f"{name}: theta of step {change_L.argmin()} is the same for two of"
        f" (absent, 0, 1, ...), numbers {i} and {j}"
      )
      least = min(least, change_L.min())
  return float(least)


def examples_own_dropout(case):
  """Dropout is on when keys are given, and each row's mask is its key's."""
  x_BLC, order, y = space(case)
  key_B = jax.random.split(jax.random.key(0), len(x_BLC))
  apply = jax.jit(case.model.apply)

  def rolled(a):
    return np.roll(a, 1, 0)

  off, _ = forward(case, x_BLC, order, y)
  x_BLC = to_steps(x_BLC, order)
  on = apply(case.params, x_BLC, order, y, key_B=key_B)
  assert _apart(off, on) > 0.01, "keys change nothing: dropout stays off"
  order = order if order is None or len(order) == 1 else rolled(order)
  y = jax.tree.map(rolled, y)
  key_B = jnp.roll(key_B, 1)
  moved = apply(case.params, rolled(x_BLC), order, y, key_B=key_B)
  worst = _apart(rolled(on), moved)
  return _below(
    worst, STEP[str(off.dtype)], "theta of a row moved with its key"
  )


# --- a model: the cached paths ---


def step_equals_apply(case):
  """L cached steps give what one forward gives, whatever the cache held."""
  x_BLC, order, y = space(case)
  theta_BLP, _ = forward(case, x_BLC, order, y)
  cache = soiled(_cache(case, x_BLC, order, y), case.spec.length, 0)
  steps = _scan(case.model.step)(case.params, cache, x_BLC, order)
  _same_theta(case, theta_BLP, steps, x_BLC, order, "step")
  return _apart(theta_BLP, steps)


def extend_equals_apply(case, cuts=None):
  """Chunks, cut anywhere, give what one forward gives.

  Also where a chunk holds refused values: only its first n steps count, and
  what follows goes on from there.

  Args:
    case: Case.
    cuts: after how many steps refused values begin; None: cuts everywhere,
      also of chunks that count whole.
  """
  L = case.spec.length
  x_BLC, order, y = space(case)
  theta_BLP, _ = forward(case, x_BLC, order, y)
  before_BLC = _before(x_BLC, order)
  wrong_BLC = (before_BLC + 1) % case.spec.num_values
  extend = jax.jit(case.model.extend)
  clean = _cache(case, x_BLC, order, y)
  worst = 0.0

  def chunk(cache, x, t, n=None):
    """Extends a cache whose tail is garbage; returns (theta, cache)."""
    nonlocal worst
    cache = soiled(cache, L, t)
    theta, cache = extend(case.params, cache, x, np.int32(t), n)
    count = x.shape[1] if n is None else int(n)
    what = f"extend by {x.shape[1]} from step {t}, n = {n}"
    steps = slice(t, t + count)
    worst = max(worst, _apart(theta_BLP[:, steps], theta[:, :count]))
    _below(worst, STEP[str(theta_BLP.dtype)], what)
    return theta, cache

  for cut in range(1, L) if cuts is None else ():
    head, cache = chunk(clean, before_BLC[:, :cut], 0, np.int32(cut))
    rest, _ = chunk(cache, before_BLC[:, cut:], cut, np.int32(L - cut))
    theta = np.concatenate([head, rest], 1)
    _same_theta(case, theta_BLP, theta, x_BLC, order, "extend")
  for n in range(L) if cuts is None else cuts:
    drafts = np.concatenate([before_BLC[:, :n], wrong_BLC[:, n:]], 1)
    _, cache = chunk(clean, drafts, 0, np.int32(n))
    chunk(cache, before_BLC[:, n:], n, np.int32(L - n))
  if cuts is not None:
    return worst
  # A refused draft in the middle, and after it a chunk that is whole.
  t = L // 2
  _, cache = chunk(clean, before_BLC[:, :t], 0, np.int32(t))
  drafts = np.concatenate([before_BLC[:, t : t + 1], wrong_BLC[:, t + 1 :]], 1)
  _, cache = chunk(cache, drafts, t, np.int32(1))
  chunk(cache, before_BLC[:, t + 1 :], t + 1)
  return worst


def _same_theta(case, theta_BLP, other_BLP, x_BLC, order, what):
  """theta within its bar, and the mean NLL as well."""
  dtype = str(theta_BLP.dtype)
  _below(_apart(theta_BLP, other_BLP), STEP[dtype], f"theta of {what}")
  x_BLC = to_steps(x_BLC, order)
  log_prob = jax.jit(case.head.log_prob)
  nats = [
    -np.asarray(log_prob(theta, x_BLC), np.float64).mean()
    for theta in (theta_BLP, other_BLP)
  ]
  bar = min(NLL, STEP[dtype])
  _below(_apart(*nats), bar, f"mean NLL of {what}, {nats}")


def soiled(cache, length, t):
  """The cache with garbage in whatever lies at step t and later.

  A float leaf [B, length, ...] is a buffer over steps. Another leaf (a
  recurrent state, a ring whose zeros are padding) is left alone.
  """

  def soil(leaf):
    leaf = np.array(leaf)
    buffer = leaf.ndim > 2 and leaf.shape[1] == length
    if buffer and np.issubdtype(leaf.dtype, np.floating):
      leaf[:, t:] = GARBAGE
    return leaf

  return jax.tree.map(soil, cache)


def _cache(case, x_BLC, order, y, length=None):
  length = case.spec.length if length is None else length
  init_cache = jax.jit(case.model.init_cache, static_argnums=(1, 2))
  return init_cache(case.params, len(x_BLC), length, order, y)


def _before(x_BLC, order):
  """What the steps read, in generation order; the first value is unread."""
  return np.roll(to_steps(x_BLC, order), 1, 1)


@functools.cache
def _scan(step):
  """Compiled (params, cache, x in data order, order) -> theta of all steps."""

  @jax.jit
  def scan(params, cache, x_KBC):
    def body(cache, inputs):
      x_BC, t = inputs
      theta_BP, cache = step(params, cache, x_BC, t)
      return cache, theta_BP

    steps = jnp.arange(len(x_KBC), dtype=jnp.int32)
    return jax.lax.scan(body, cache, (x_KBC, steps))[1].swapaxes(0, 1)

  def run(params, cache, x_BLC, order):
    return np.asarray(scan(params, cache, _before(x_BLC, order).swapaxes(0, 1)))

  return run


def capacity(case):
  """A cache refuses what it cannot hold; one that is shorter works."""
  L, B = case.spec.length, 2
  x_BLC, order, y = space(case)
  y = y and {k: v[:B] for k, v in y.items()}
  order = order if order is None else order[:B]
  for length in (0, L + 1):
    _raises(
      lambda: _cache(case, x_BLC[:B], order, y, length),
      f"init_cache for {length} of {L} steps",
    )
  cache = _cache(case, x_BLC[:B], order, y, L - 1)
  params, x_BKC = jax.tree.map(jnp.asarray, (case.params, x_BLC[:B, :2]))
  for t in (L - 2, np.int32(L - 2), jnp.int32(L - 1)):
    _raises(
      lambda: case.model.extend(params, cache, x_BKC, t),
      f"extend by 2 from step {t} in a cache of {L - 1}",
    )
  x_BLC, order, y = space(case)
  theta_BLP = forward(case, x_BLC, order, y)[0][:, :-1]
  cache = soiled(_cache(case, x_BLC, order, y, L - 1), L - 1, 0)
  before = _before(x_BLC, order)[:, :-1]
  short, _ = jax.jit(case.model.extend)(case.params, cache, before, 0)
  bar = STEP[str(theta_BLP.dtype)]
  return _below(_apart(theta_BLP, short), bar, "theta of a shorter cache")


# --- a sampler ---


def cached_equals_naive(case, cached, naive):
  """The same keys give the same samples without any cache.

  Args:
    case: Case, in float64.
    cached: sampler of the model.
    naive: the same sampler, of the model completed by decode.naive_cache.
  """
  x_BLC, known_BL, order, y = contents(case, 0)
  key = jax.random.key(1)
  one, two = (
    sampler(case.params, key, order, (x_BLC, known_BL), y)
    for sampler in (cached, naive)
  )
  differ = int((np.asarray(one.x_BLC) != np.asarray(two.x_BLC)).sum())
  assert not differ, f"{differ} of {x_BLC.size} sampled values differ"
  pairs = zip(one[1:], two[1:], strict=True)
  worst = max(_apart(a, b) for a, b in pairs)
  return _below(worst, 1e-12, "log-probabilities of the sampler")


def sampled_equals_scored(case, sampler, settings=()):
  """The sampler's log-probabilities are those of what it drew, both kinds."""
  x_BLC, known_BL, order, y = contents(case, 2)
  key = jax.random.key(2)
  sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
  sample = type(sample)(*map(np.asarray, sample))
  theta_BLP, log_prob_BL = forward(case, sample.x_BLC, order, y)
  bar = STEP[str(theta_BLP.dtype)]
  summed = _apart(log_prob_BL.sum(1), sample.log_prob_model_BL.sum(1))
  _below(summed, bar * case.spec.length, "log_prob of samples, summed")
  sites = _apart(log_prob_BL, sample.log_prob_model_BL)
  _below(sites, bar * case.spec.length, "log_prob of samples, by site")
  drawn_BL = _adjusted_log_prob(case, theta_BLP, sample.x_BLC, order, settings)
  drawn_BL = np.where(known_BL, 0, from_steps(drawn_BL, order))
  drawn = _apart(drawn_BL, sample.log_prob_sampler_BL)
  _below(drawn, bar * case.spec.length, "log_prob under what was drawn from")
  given = np.abs(sample.log_prob_sampler_BL[known_BL]).max()
  assert given == 0, f"log_prob_sampler of given sites is {given}, not 0"
  return max(summed, sites, drawn)


def sampler_follows_model(case, make_sampler, settings=(), draws=DRAWS):
  """Draws agree with the enumerated probabilities, by chi-square.

  A chi-square that would pass anything proves nothing: the same number of
  draws at temperature 1.02 has to fail.

  Args:
    case: Case of one block.
    make_sampler: (**settings) -> sampler.
    settings: of head.adjust.
    draws: how many.
  """
  prob_N = adjusted(case, settings)
  p = _p_value(case, make_sampler(**dict(settings)), prob_N, draws)
  assert p > CHANCE, f"{draws} draws do not follow the model: p = {p:.2g}"
  _power(prob_N, adjusted(case, warmer(settings)), draws)
  return p


def adjusted(case, settings=()):
  """Enumerated probabilities under head.adjust(theta, **settings)."""
  assert num_blocks(case) == 1, "one order, one y"
  x_NLC, order, y = space(case)
  theta_NLP, _ = forward(case, x_NLC, order, y)
  log_prob_NL = _adjusted_log_prob(case, theta_NLP, x_NLC, order, settings)
  prob_N = np.exp(log_prob_NL.astype(float).sum(1))
  _below(abs(prob_N.sum() - 1), 1e-5, "sum of the adjusted p")
  return prob_N


def _adjusted_log_prob(case, theta_BLP, x_BLC, order, settings):
  """log_prob [B, L] of adjust(theta), in generation order."""
  settings = tuple(dict(settings).items())
  log_prob = _log_prob_of_adjusted(
    case.head.log_prob, case.head.adjust, settings
  )
  return np.asarray(log_prob(theta_BLP, to_steps(x_BLC, order)))


@functools.cache
def _log_prob_of_adjusted(log_prob, adjust, settings):
  return jax.jit(lambda theta, x: log_prob(adjust(theta, **dict(settings)), x))


def warmer(settings):
  """The settings at 1.02 times the temperature."""
  settings = dict(settings)
  return dict(settings, temperature=1.02 * settings.get("temperature", 1))


def spiky(case, settings=(), tries=400, draws=DRAWS):
  """The case with other parameters, such that 1.02 is seen in the draws.

  Found by hill climbing: each try perturbs the best so far.
  """
  least = 1.0
  for seed in range(tries):
    scale = (0.1, 0.3, 1.0)[seed % 3]
    other = case._replace(params=perturbed(case.params, seed, scale))
    prob_N, warm_N = (adjusted(other, s) for s in (settings, warmer(settings)))
    if ((prob_N > 0) != (warm_N > 0)).any():
      continue  # it would only be tested which values are kept
    p = _p_value_of_warm(prob_N, warm_N, draws)
    if p < least:
      least, case = p, other
    if p < CHANCE**2:
      break
  return case


def _power(prob_N, warm_N, draws):
  """As many draws from the warmer distribution have to fail."""
  p = _p_value_of_warm(prob_N, warm_N, draws)
  assert p < CHANCE, (
    f"no power: {draws} draws at temperature 1.02 pass as well, p = {p:.2g}"
  )


def _p_value_of_warm(prob_N, warm_N, draws):
  rng = np.random.default_rng(0)
  counts_N = rng.multinomial(draws, warm_N / warm_N.sum())
  return chi_square(counts_N, prob_N)


def _p_value(case, sampler, prob_N, draws):
  """Of `draws` unconditional samples against the enumeration."""
  spec, at_once = case.spec, min(draws, 50_000)
  given = (
    np.zeros((at_once, spec.length, spec.channels), np.int32),
    np.zeros((at_once, spec.length), bool),
  )
  y = case.y and {k: np.repeat(v, at_once) for k, v in case.y.items()}
  counts_N = np.zeros(len(prob_N))
  for i in range(draws // at_once):
    key = jax.random.key(i)
    sample = sampler(case.params, key, case.order_KL, given, y)
    x_BS = np.asarray(sample.x_BLC).reshape(at_once, -1)
    cell_B = np.ravel_multi_index(x_BS.T, (spec.num_values,) * x_BS.shape[1])
    counts_N += np.bincount(cell_B, minlength=len(prob_N))
  return chi_square(counts_N, prob_N)


def chi_square(counts_N, prob_N):
  """p-value; cells that expect fewer than 5 are merged into one.

  A draw of an impossible cell has p-value 0.
  """
  if counts_N[prob_N == 0].any():
    return 0.0
  expected_N = prob_N / prob_N.sum() * counts_N.sum()
  small_N = expected_N < 5
  counts = np.append(counts_N[~small_N], counts_N[small_N].sum())
  expected = np.append(expected_N[~small_N], expected_N[small_N].sum())
  if expected[-1] < 5 and len(expected) > 1:
    i = expected[:-1].argmin()
    counts[i] += counts[-1]
    expected[i] += expected[-1]
    counts, expected = counts[:-1], expected[:-1]
  if len(expected) == 1:
    return 1.0
  return float(scipy.stats.chisquare(counts, expected).pvalue)


def given_is_kept(case, sampler):
  """Known values stay; what else was passed does not matter.

  Under random masks; token 0 is a value like any other.
  """
  x_BLC, known_BL, order, y = contents(case, 3)
  assert (x_BLC[known_BL] == 0).any(), "no token 0 was given"
  sample = _kept(case, sampler, x_BLC, known_BL, order, y)
  other_BLC = np.where(known_BL[..., None], x_BLC, 1 - np.minimum(x_BLC, 1))
  other = _kept(case, sampler, other_BLC, known_BL, order, y)
  differ = int((sample.x_BLC != other.x_BLC).sum())
  assert not differ, f"values that are not known change {differ} samples"
  return 0.0


def prompts_are_forced(case, sampler):
  """Prompts of other lengths in each row; what is all given is scored.

  A prefix common to all rows may be taken in one piece: that is the same as
  to force it step by step.
  """
  x_BLC, known_BL, order, y = contents(case, 3)
  B, L = known_BL.shape
  prompt_B = np.random.default_rng(3).integers(2, L + 1, (B, 1))
  known_BL = from_steps(np.arange(L) < prompt_B, order)
  whole = _kept(case, sampler, x_BLC, known_BL, order, y)
  known_BL[0] = False
  forced = _kept(case, sampler, x_BLC, known_BL, order, y)
  differ = int((whole.x_BLC[1:] != forced.x_BLC[1:]).any((1, 2)).sum())
  assert not differ, f"{differ} of {B - 1} rows are not what forcing gives"
  known_BL[:] = True
  given = _kept(case, sampler, x_BLC, known_BL, order, y)
  assert (given.log_prob_sampler_BL == 0).all(), "given sites were drawn"
  _, log_prob_BL = forward(case, x_BLC, order, y)
  worst = _apart(log_prob_BL, given.log_prob_model_BL)
  return _below(worst, STEP[str(log_prob_BL.dtype)], "log_prob of given sites")


def _kept(case, sampler, x_BLC, known_BL, order, y):
  """The sample, numpy; what was known is unchanged in it."""
  key = jax.random.key(3)
  sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
  sample = type(sample)(*map(np.asarray, sample))
  moved = int((sample.x_BLC[known_BL] != x_BLC[known_BL]).sum())
  assert not moved, f"{moved} of {known_BL.sum()} given values were changed"
  return sample


def rows_independent(case, sampler):
  """A row does not feel the others: not their content, not their noise."""
  one = contents(case, 4)
  two = [
    a if a is None else jax.tree.map(np.copy, a) for a in contents(case, 5)
  ]
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
    b[0] = a[0]
  results = []
  for x_BLC, known_BL, order, y in (one, two):
    key = jax.random.key(4)
    sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
    results.append([*sample, *forward(case, x_BLC, order, y)])
  names = ("sample", "log_prob_model", "log_prob_sampler", "theta", "log_prob")
  for name, a, b in zip(names, *results, strict=True):
    assert (np.asarray(a[0]) == np.asarray(b[0])).all(), (
      f"{name} of row 0 changes with the content of other rows"
    )
  return _neighbors_agree_by_chance(case, sampler)


def _neighbors_agree_by_chance(case, sampler):
  """Rows of the same content are as often equal as independent draws are."""
  x_BLC, order, y = space(case)
  B, L, _ = x_BLC.shape
  _, log_prob_BL = forward(case, x_BLC, order, y)
  log_prob_N = log_prob_BL[: B // num_blocks(case)].sum(1)
  chance = float(np.exp(2 * log_prob_N).sum())
  order, y = _rows_of(case, np.zeros(B, int))
  given = np.zeros_like(x_BLC), np.zeros((B, L), bool)
  sample = sampler(case.params, jax.random.key(5), order, given, y)
  x = np.asarray(sample.x_BLC)
  equal = (x[1:] == x[:-1]).all((1, 2)).mean()
  error = math.sqrt(chance * (1 - chance) / (B - 1))
  assert abs(equal - chance) < 6 * error + 2 / B, (
    f"{equal:.3f} of neighboring rows are equal, {chance:.3f} would be by"
    f" chance: their noise is not independent"
  )
  return abs(equal - chance) / error


def greedy_is_argmax(case, sampler):
  """Temperature 0 takes the likeliest value, by the full forward."""
  x_BLC, known_BL, order, y = contents(case, 6)
  key = jax.random.key(6)
  sample = sampler(case.params, key, order, (x_BLC, known_BL), y)
  x_BLC = np.asarray(sample.x_BLC)
  theta_BLP, _ = forward(case, x_BLC, order, y)
  values = sequences(case.spec.num_values, 1, case.spec.channels)[:, 0]
  every = (
    theta_BLP[:, :, None],
    np.broadcast_to(values, (*x_BLC.shape[:2], *values.shape)),
  )
  best_BL = np.asarray(case.head.log_prob(*every)).argmax(-1)
  wrong_BL = (values[best_BL] != to_steps(x_BLC, order)).any(-1)
  wrong_BL &= ~to_steps(known_BL, order)
  assert not wrong_BL.any(), (
    f"{wrong_BL.sum()} of {(~known_BL).sum()} greedy values are not the argmax"
  )
  return 0.0


# --- a head ---


def head_normalised(head, spec, theta_NP):
  """exp(log_prob) over the values of a site sums to one."""
  values = sequences(spec.num_values, 1, spec.channels)[:, 0]
  log_prob = np.asarray(jax.jit(head.log_prob)(theta_NP[:, None], values[None]))
  assert log_prob.shape == (len(theta_NP), len(values)), log_prob.shape
  worst = np.abs(np.exp(log_prob.astype(np.float64)).sum(1) - 1).max()
  return _below(worst, SUM[str(log_prob.dtype)], "sum over values")


def head_follows(head, spec, theta_NP, draws=DRAWS):
  """Draws of one theta agree with log_prob; those at 1.02 do not.

  Of the thetas given, the one whose log_prob varies most: there is power.
  """
  values = sequences(spec.num_values, 1, spec.channels)[:, 0]

  def probabilities(theta_NP):
    log_prob = jax.jit(head.log_prob)(theta_NP[:, None], values[None])
    return np.exp(np.asarray(log_prob, float))

  warm_NP = head.adjust(theta_NP, temperature=1.02)
  prob_NM, warm_NM = probabilities(theta_NP), probabilities(warm_NP)
  best = ((prob_NM - warm_NM) ** 2 / prob_NM).sum(1).argmax()
  theta_BP = np.broadcast_to(theta_NP[best], (draws, head.num_params))
  x_BC = np.asarray(jax.jit(head.sample)(jax.random.key(0), theta_BP))
  assert x_BC.shape == (draws, spec.channels), x_BC.shape
  assert x_BC.dtype == np.int32, x_BC.dtype
  cell_B = np.ravel_multi_index(x_BC.T, (spec.num_values,) * spec.channels)
  p = chi_square(np.bincount(cell_B, minlength=len(values)), prob_NM[best])
  assert p > CHANCE, f"draws of the head do not follow log_prob: p = {p:.2g}"
  _power(prob_NM[best], warm_NM[best], draws)
  return p


def head_adjusts(head, spec, theta_NP):
  """Settings that are off change nothing; temperature 0 is the mode."""
  values = sequences(spec.num_values, 1, spec.channels)[:, 0]

  def log_prob(theta_NP):
    run = jax.jit(head.log_prob)
    return np.asarray(run(theta_NP[:, None], values[None]))

  plain = log_prob(theta_NP)
  off = head.adjust(theta_NP, temperature=1.0, top_k=None, top_p=None, min_p=0)
  worst = _below(_apart(plain, log_prob(off)), 1e-6, "log_prob, settings off")
  greedy = log_prob(head.adjust(theta_NP, temperature=0))
  assert (greedy.argmax(1) == plain.argmax(1)).all(), "temperature 0: the mode"
  _below(float(np.abs(greedy.max(1)).max()), 1e-6, "log_prob of the mode")
  return worst


# --- an ordering ---


def ordering_keeps(ordering, length):
  """Orders are permutations of the family, drawn by the key alone."""
  family = ordering.orders_KL
  key_B = jax.random.split(jax.random.key(0), 64)
  drawn = ordering.draw(key_B)
  if family is not None:
    _permutations(family, length)
    single = len(family) == 1
    identity = single and (family == np.arange(length)).all()
    assert (drawn is None) == identity, (
      "draw gives None for the identity, and for it alone"
    )
    if single:
      _same_order(ordering.draw(None), drawn, "draw without keys")
  if drawn is None:
    return
  drawn = np.asarray(drawn)
  _permutations(drawn, length)
  assert len(drawn) in (1, len(key_B)), f"{len(drawn)} orders for 64 keys"
  _same_order(ordering.draw(key_B), drawn, "draw again with the same keys")
  if len(drawn) > 1:
    moved = ordering.draw(jnp.roll(key_B, 1))
    _same_order(moved, np.roll(drawn, 1, 0), "draw for keys in other rows")
  if family is not None:
    known = {tuple(o) for o in family.tolist()}
    strange = [o for o in drawn.tolist() if tuple(o) not in known]
    assert not strange, f"draw gives {strange[0]}, which orders_KL has not"
  rank_BL = np.asarray(orders.rank(drawn))
  step_BL = np.take_along_axis(rank_BL, drawn, -1)
  assert (step_BL == np.arange(length)).all(), "rank[order[t]] is not t"
  x_BL = np.random.default_rng(0).random((len(drawn), length))
  steps_BL = np.asarray(orders.permute(x_BL, drawn))
  assert _apart(to_steps(x_BL, drawn), steps_BL) < 1e-6, "permute"
  assert _apart(x_BL, orders.unpermute(steps_BL, drawn)) < 1e-6, "unpermute"


def _permutations(order_KL, length):
  order_KL = np.asarray(order_KL)
  assert order_KL.dtype == np.int32, f"orders are {order_KL.dtype}, not int32"
  assert order_KL.shape[1:] == (length,), f"orders of shape {order_KL.shape}"
  wrong = (np.sort(order_KL, -1) != np.arange(length)).any(-1)
  assert not wrong.any(), f"{order_KL[wrong][0]} is no permutation"


def _same_order(a, b, what):
  same = a is None if b is None else np.array_equal(a, b)
  assert same, f"{what}: {a} is not {b}"


def draws_uniform(ordering, length, draws=20_000):
  """Each order of a family is drawn equally often; all L! where it is None."""
  family = ordering.orders_KL
  if family is None:
    family = np.array(list(itertools.permutations(range(length))))
  code = length ** np.arange(length)
  cell = {int(o @ code): i for i, o in enumerate(np.asarray(family))}
  key_B = jax.random.split(jax.random.key(1), draws)
  drawn = np.asarray(ordering.draw(key_B))
  assert len(drawn) == draws, f"{len(drawn)} orders for {draws} keys"
  counts = np.bincount(
    [cell[int(o @ code)] for o in drawn], minlength=len(cell)
  )
  p = chi_square(counts, np.full(len(cell), 1 / len(cell)))
  assert p > CHANCE, f"orders are drawn {counts} times: p = {p:.2g}"
  return p


# --- objectives, data, baselines ---


def objective_is_nll(objective, case, ordering, draws=2048):
  """The mean over keys is the exact NLL, averaged over the orders drawn.

  For a family of one order that holds without any averaging.
  """
  rng = np.random.default_rng(0)
  spec = case.spec
  shape = draws, spec.length, spec.channels
  x_BLC = rng.integers(0, spec.num_values, shape, np.int32)
  x_BLC[1:] = x_BLC[0]  # one item under many keys
  weight_BL = rng.integers(0, 3, shape[:2]) / np.float32(2)
  y = {
    name: np.full(draws, condition.num_values - 1, np.int32)
    for name, condition in spec.conditions.items()
  }
  batch = Batch(x_BLC, weight_BL, y, np.arange(draws, dtype=np.int32))
  key_B = jax.random.split(jax.random.key(0), draws)

  def total(params):
    nats_BL, weight_BL = objective(params, batch, key_B)
    return (nats_BL * weight_BL).sum(), (nats_BL, weight_BL)

  graded = jax.jit(jax.value_and_grad(total, has_aux=True))
  (_, (nats_BL, weights)), grads = graded(case.params)
  nats_BL = np.asarray(nats_BL)
  assert nats_BL.shape == shape[:2], f"nats of shape {nats_BL.shape}"
  assert np.isfinite(nats_BL).all(), "nats are not finite"
  assert np.array_equal(weights, weight_BL), "weights are not the batch's"
  grads = jax.tree.leaves(grads)
  assert all(np.isfinite(g).all() for g in grads), "gradients are not finite"
  assert any((g != 0).any() for g in grads), "gradients are all zero"
  family = ordering.orders_KL
  if family is None:
    perms = itertools.permutations(range(spec.length))
    family = np.array(list(perms), np.int32)
  rows = np.arange(draws) % len(family)
  _, log_prob_BL = forward(case, x_BLC, family[rows], y)
  exact_L = -log_prob_BL[: len(family)].mean(0)
  mean_L = nats_BL.mean(0)
  error_L = nats_BL.std(0) / math.sqrt(draws)
  bar_L = 6 * error_L + STEP[str(nats_BL.dtype)]
  worst = np.abs(mean_L - exact_L)
  assert (worst <= bar_L).all(), (
    f"mean nats by site {mean_L} are not the exact {exact_L}, within {bar_L}"
  )
  return float(worst.max())


def dataset_keeps(dataset):
  """Items have the declared shape and values, and are the same each time."""
  spec = dataset.spec
  json.dumps(dataset.media)
  assert dataset.splits, "no splits"
  for name, split in dataset.splits.items():
    assert split.size > 0, f"{name} is empty"
    index = np.unique(np.linspace(0, split.size - 1, 5).astype(int))[::-1]
    x_BLC, weight_BL, y = split.get(index)
    shape = len(index), spec.length, spec.channels
    assert x_BLC.shape == shape, f"{name}: x {x_BLC.shape}, spec {shape}"
    assert weight_BL.shape == shape[:2], f"{name}: weight {weight_BL.shape}"
    assert np.isfinite(weight_BL).all(), f"{name}: weight is not finite"
    assert (weight_BL >= 0).all(), f"{name}: weight below 0"
    if spec.num_values is not None:
      assert x_BLC.dtype == np.int32, f"{name}: values are {x_BLC.dtype}"
      inside = (x_BLC >= 0) & (x_BLC < spec.num_values)
      assert inside.all(), f"{name}: values outside 0..{spec.num_values - 1}"
    assert set(y) == set(spec.conditions), f"{name}: conditions {set(y)}"
    again = split.get(index)
    alone = [split.get(index[i : i + 1]) for i in range(len(index))]
    joined = jax.tree.map(lambda *a: np.concatenate(a), *alone)
    for other, what in ((again, "twice"), (joined, "one by one")):
      _same_items((x_BLC, weight_BL, y), other, f"{name}, read {what}")
    units = all(isinstance(n, int) and n > 0 for n in split.units.values())
    assert units, f"{name}: units {split.units}"
    assert split.entropy is None or 0 <= split.entropy < math.inf


def _same_items(a, b, what):
  leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  assert all(np.array_equal(*pair) for pair in leaves), f"{what}: items differ"


def baseline_keeps(fit, spec):
  """A bar gives finite nats of a whole split, by name, the same each time."""
  rng = np.random.default_rng(0)

  def split(size):
    x_NLC = rng.integers(
      0, spec.num_values, (size, spec.length, spec.channels), np.int32
    )
    weight_NL = np.ones(x_NLC.shape[:2], np.float32)
    raw = x_NLC.astype(np.uint8).tobytes()
    return Split(size, lambda i: (x_NLC[i], weight_NL[i], {}), raw=raw)

  train, valid = split(300), split(80)
  score = fit(train)
  bars = score(valid)
  assert bars, "no bars"
  for name, nats in bars.items():
    assert isinstance(nats, float), f"{name}: {type(nats)}"
    assert math.isfinite(nats), f"{name}: {nats}"
    # What is uniform costs log V a value, and cannot be guessed.
    uniform = 80 * spec.length * spec.channels * math.log(spec.num_values)
    assert nats > 0.9 * uniform, f"{name}: {nats} nats, entropy {uniform}"
  assert score(valid) == bars, "bars differ when scored twice"


# --- scores ---


def whole_split(case, ordering, evaluate_split=evaluate.evaluate, report=None):
  """13 items in batches of 4: each is scored once, then one division.

  Args:
    case: Case without conditions, of the ordering's one order.
    ordering: Ordering.
    evaluate_split: evaluate.evaluate, or what is to replace it.
    report: evaluate.report, or what is to replace it.
  """
  rng = np.random.default_rng(0)
  spec = case.spec
  shape = 13, spec.length, spec.channels
  x_NLC = rng.integers(0, spec.num_values, shape, np.int32)
  weight_NL = np.ones(shape[:2], np.float32)
  weight_NL[rng.random(shape[:2]) < 0.4] = 0  # a mean of means is wrong
  split = Split(13, lambda index: (x_NLC[index], weight_NL[index], {}))
  score = evaluate.make_score(case.model, case.head, ordering, seed=0)
  result = evaluate_split(score, case.params, split, "valid", 4, ordering)
  order = ordering.draw(None)
  _, log_prob_NL = forward(case, x_NLC, order, {})
  nats_N = -(log_prob_NL.astype(float) * weight_NL).sum(1)
  assert len(result.nats_N) == 13, f"{len(result.nats_N)} of 13 items scored"
  assert result.weight == weight_NL.sum(), (
    f"weight {result.weight}, the split has {weight_NL.sum()}"
  )
  worst = _below(_apart(nats_N, result.nats_N), NLL, "nats of the items")
  _below(abs(result.nats / nats_N.sum() - 1), NLL, "nats of the split")
  report = evaluate.report if report is None else report
  mean = report(result, {})["nats_per_site"]
  exact = nats_N.sum() / weight_NL.sum()
  _below(abs(mean - exact), NLL, f"nats per site {mean}")
  return worst


def batches_cover(eval_batches, size, batch_size):
  """Batches of one size hold every item once; the padding weighs 0."""
  x_NLC = np.arange(size, dtype=np.int32)[:, None, None]
  weight_NL = np.ones((size, 1), np.float32)
  split = Split(size, lambda index: (x_NLC[index], weight_NL[index], {}))
  counts_N = np.zeros(size, int)
  for batch in eval_batches(split, batch_size):
    assert len(batch.x_BLC) == batch_size, f"a batch of {len(batch.x_BLC)}"
    np.add.at(counts_N, batch.x_BLC[:, 0, 0], batch.weight_BL[:, 0] > 0)
  assert (counts_N == 1).all(), f"items are scored {counts_N} times"


def entropy_gate(mean, error, entropy, tolerance):
  """entropy - 4 s.e. <= mean NLL <= entropy + tolerance; below is a leak.

  Args:
    mean: nats per site of a trained model.
    error: its standard error, over independent sequences.
    entropy: of the source, nats per site.
    tolerance: nats per site.
  """
  figures = f"NLL {mean:.5f} +- {error:.5f}, entropy {entropy:.5f} nats"
  assert error < tolerance, f"no power: {figures}"
  assert mean >= entropy - 4 * error, f"below the entropy, a leak: {figures}"
  assert mean <= entropy + tolerance, f"not learned: {figures}"
  return (mean - entropy) / error


def entropy_floor(losses, num_values, small=0.01):
  """Uniform random tokens cost log V, however long one trains on them."""
  mean = float(np.mean(losses[-20:]))
  floor = math.log(num_values)
  assert mean >= floor - small, (
    f"uniform tokens cost {mean:.4f} nats, below log V = {floor:.4f}: a leak"
  )
  return mean - floor
