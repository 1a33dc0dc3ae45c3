"""Checks of a model's meaning: it sums to one, is causal, and steps agree.

A check is a plain function of what it checks. It returns the worst figure it
met, and raises cases.Broken with figures where a bar is broken. The tests and
`ar_jax selftest` call the same functions. None is an `assert`: they count
under `python -O` as well.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import decode
from ar_jax.proofs import cases

SUM = dict(float64=1e-12, float32=1e-6)  # of |sum of p - 1|
STEP = dict(float64=1e-12, float32=1e-5)  # of theta, next to its largest
NLL = 1e-6  # of mean nats per site
REAL_SUM = 1e-5  # of masses over a grid that leaves out the far tails
GRID = (8_000, 200)  # steps of it to either side, of one channel or of two
GARBAGE = 1e6  # finite: 0 * NaN would be NaN in a masked product


def normalised(case):
  """exp(log p) over all sequences sums to one, in each block.

  Of real values: over the values of each site, which is the same by the
  chain rule.
  """
  x_BLC, order, y = cases.space(case)
  theta_BLP, log_prob_BL = cases.forward(case, x_BLC, order, y)
  shape = *x_BLC.shape[:2], case.head.num_params
  cases.require(
    theta_BLP.shape == shape, f"theta {theta_BLP.shape}, not {shape}"
  )
  if case.spec.num_values is None:
    theta_NP = theta_BLP.reshape(-1, shape[-1])
    return head_normalised(case.head, case.spec, theta_NP[:64])
  total_B = log_prob_BL.astype(np.float64).sum(-1)
  sum_K = np.exp(total_B).reshape(cases.num_blocks(case), -1).sum(-1)
  worst = np.abs(sum_K - 1).max()
  bar = SUM[str(log_prob_BL.dtype)]
  return cases.below(
    worst, bar, f"sums of p over {len(total_B)} sequences {sum_K}"
  )


def all_swaps(spec):
  """(step, channel, by): each value replaced by each other one.

  Real values are moved by one and by five steps of their grid.
  """
  values = (1, 5) if spec.num_values is None else range(1, spec.num_values)
  return itertools.product(range(spec.length), range(spec.channels), values)


def dependencies(case, params=None, swaps=None):
  """What changes where one value is replaced, over the sequences of the case.

  Args:
    case: Case.
    params: instead of the case's.
    swaps: (step, channel, by) each, `by` being added; None: all there are.
  Returns:
    theta_KLL: [k, t, s], the largest change of theta of step t, over all
      sequences of block k and all swaps, when step s is replaced.
    log_prob_KLL: the same of log_prob at the site of step t.
  """
  x_BLC, order, y = cases.space(case)
  _, L, _ = x_BLC.shape
  K = cases.num_blocks(case)
  before = cases.forward(case, x_BLC, order, y, params)
  result = np.zeros((2, K, L, L))
  for s, c, by in all_swaps(case.spec) if swaps is None else swaps:
    swapped_BLC = _swap(x_BLC, order, s, c, by, case.spec)
    after = cases.forward(case, swapped_BLC, order, y, params)
    theta, log_prob = (
      np.abs(a - b) for a, b in zip(after, before, strict=True)
    )
    for i, change in enumerate(
      (theta.max(-1), cases.to_steps(log_prob, order))
    ):
      worst_KL = change.reshape(K, -1, L).max(1)
      result[i, :, :, s] = np.maximum(result[i, :, :, s], worst_KL)
  return result


def _swap(x_BLC, order, step, channel, by, spec):
  """x with `by` added to what is generated at one step."""
  x_BLC = x_BLC.copy()
  rows = np.arange(len(x_BLC))
  sites = step if order is None else order[:, step]
  x_BLC[rows, sites, channel] = moved(x_BLC[rows, sites, channel], by, spec)
  return x_BLC


def moved(x, by, spec):
  """Other values: `by` is added, on the grid or in a circle."""
  if spec.num_values is None:
    return x + by * spec.delta
  return (x + by) % spec.num_values


def causal(case, changes=None):
  """Nothing generated later moves a step, not by one bit.

  Args:
    case: Case.
    changes: of `dependencies`; None: of all swaps.
  """
  changes = dependencies(case) if changes is None else changes
  theta_KLL, log_prob_KLL = changes
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
  raise cases.Broken(
    f"{what} {t} moves by {change_KLL[k, t, s]:.3g} with the value of step"
    f" {s} (order {order}); {len(leaks)} pairs leak",
    float((change_KLL * forbidden_LL).max()),
  )


def read(case, changes, steps):
  """The value of each of the given steps moves theta of a later one.

  Args:
    case: Case.
    changes: of `dependencies`.
    steps: that were replaced there; those that no step sees are passed over.
  """
  steps = sorted(set(steps))
  declared_KLL = declared(case)
  read_KS = declared_KLL.any(1)[:, steps]
  most_KS = (changes[0] * declared_KLL).max(1)[:, steps]
  unread = [steps[i] for i in np.flatnonzero((read_KS & (most_KS == 0)).any(0))]
  text = f"no later step reads the value of the steps {unread}"
  cases.require(not unread, text, 0.0)
  return float(most_KS[read_KS].min(initial=np.inf))


def declared(case):
  """bool [K, L, L], [k, t, s]: whether step t is to depend on step s."""
  order_KL = case.order_KL
  if order_KL is None:
    order_KL = [None] * cases.num_blocks(case)
  L = case.spec.length
  return np.stack([decode.sees(case.model, L, order) for order in order_KL])


# --- the cached paths ---


def step_equals_apply(case, stretches=None):
  """Cached steps give what one forward gives, whatever the cache held.

  Args:
    case: Case.
    stretches: (first step, steps) each, the cache being extended up to
      there; None: all steps from the first one on.
  """
  L = case.spec.length
  x_BLC, order, y = cases.space(case)
  theta_BLP, _ = cases.forward(case, x_BLC, order, y)
  before_BLC, x_BLC = before(x_BLC, order), cases.to_steps(x_BLC, order)
  clean = cache_of(case, len(x_BLC), order, y)
  slots = slots_of(case, len(x_BLC), order, y, L)
  worst = 0.0
  for t, K in [(0, L)] if stretches is None else stretches:
    cache, stretch = clean, slice(t, t + K)
    if t:
      extend = jax.jit(case.model.extend)
      _, cache = extend(case.params, cache, before_BLC, 0, np.int32(t))
    cache = soiled(cache, clean, slots, t)
    run = _scan(case.model.step)
    steps = run(case.params, cache, before_BLC[:, stretch], np.int32(t))
    theta, x = theta_BLP[:, stretch], x_BLC[:, stretch]
    worst = max(worst, same_theta(case, theta, steps, x, "step"))
  return worst


@functools.cache
def _scan(step):
  """Compiled (params, cache, x read by K steps, t) -> theta of the steps."""

  @jax.jit
  def scan(params, cache, x_BKC, t):
    def body(cache, inputs):
      x_BC, t = inputs
      theta_BP, cache = step(params, cache, x_BC, t)
      return cache, theta_BP

    steps = t + jnp.arange(x_BKC.shape[1], dtype=jnp.int32)
    _, theta_KBP = jax.lax.scan(body, cache, (x_BKC.swapaxes(0, 1), steps))
    return theta_KBP.swapaxes(0, 1)

  return scan


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
  x_BLC, order, y = cases.space(case)
  theta_BLP, _ = cases.forward(case, x_BLC, order, y)
  before_BLC = before(x_BLC, order)
  wrong_BLC = moved(before_BLC, 1, case.spec)
  extend = jax.jit(case.model.extend)
  clean = cache_of(case, len(x_BLC), order, y)
  slots = slots_of(case, len(x_BLC), order, y, L)
  worst = 0.0

  def chunk(cache, x, t, n=None):
    """Extends a cache whose tail is garbage; returns (theta, cache)."""
    nonlocal worst
    K = x.shape[1]
    args = case.params, soiled(cache, clean, slots, t), x, np.int32(t)
    theta, cache = extend(*args, n)
    count = K if n is None else int(n)
    what = f"extend by {K} from step {t}, n = {n}"
    if count < K:
      # A refused value does not enter the cache, but is seen by what follows.
      all_BKP, _ = extend(*args, np.int32(K))
      apart = cases.apart(all_BKP, theta)
      worst = max(worst, apart)
      cases.below(apart, STEP[str(theta_BLP.dtype)], f"refused steps: {what}")
    steps = slice(t, t + count)
    worst = max(worst, cases.apart(theta_BLP[:, steps], theta[:, :count]))
    cases.below(worst, STEP[str(theta_BLP.dtype)], what)
    return theta, cache

  for cut in range(1, L) if cuts is None else ():
    head, cache = chunk(clean, before_BLC[:, :cut], 0, np.int32(cut))
    rest, _ = chunk(cache, before_BLC[:, cut:], cut, np.int32(L - cut))
    theta = np.concatenate([head, rest], 1)
    same_theta(case, theta_BLP, theta, cases.to_steps(x_BLC, order), "extend")
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


def same_theta(case, theta_BKP, other_BKP, x_BKC, what):
  """theta within its bar, and the mean NLL as well; x in generation order."""
  dtype = str(theta_BKP.dtype)
  worst = cases.apart(theta_BKP, other_BKP)
  cases.below(worst, STEP[dtype], f"theta of {what}")
  log_prob = jax.jit(case.head.log_prob)
  nats = [
    -np.asarray(log_prob(theta, x_BKC), np.float64).mean()
    for theta in (theta_BKP, other_BKP)
  ]
  cases.below(
    cases.apart(*nats), min(NLL, STEP[dtype]), f"mean NLL of {what}, {nats}"
  )
  return worst


def soiled(cache, clean, slots, t):
  """The cache with garbage in whatever lies at step t and later.

  Args:
    cache: of some steps.
    clean: the same before its first step.
    slots: of `slots_of`.
    t: first step whose place is soiled.
  """

  def soil(leaf, first, axis):
    leaf = np.array(leaf)
    if axis and not np.any(first):
      np.moveaxis(leaf, axis, 0)[t:] = GARBAGE
    return leaf

  return jax.tree.map(soil, cache, clean, slots)


def slots_of(case, batch, order, y, length):
  """Which axis of a leaf of a cache numbers its steps; 0: none does.

  Float buffers [B, length, ...] or [B, G, length, ...], which are shorter in a
  shorter cache; not a recurrent state, a ring, or what a condition is to each
  step.
  """
  whole, shorter = (
    jax.eval_shape(lambda n=n: cache_of(case, batch, order, y, n))
    for n in (length, max(length - 1, 1))
  )

  def axis(one, other):
    if one.ndim < 3 or not np.issubdtype(one.dtype, np.floating):
      return 0
    sizes = zip(one.shape[:3], other.shape[:3], strict=True)
    found = [i for i, pair in enumerate(sizes) if pair == (length, length - 1)]
    return found[0] if found else 0

  return jax.tree.map(axis, whole, shorter)


def cache_of(case, batch, order, y, length=None):
  """The cache of a batch, before its first step."""
  length = case.spec.length if length is None else length
  y = cases.y_to_steps(case.model, y, order)
  init_cache = jax.jit(case.model.init_cache, static_argnums=(1, 2))
  return init_cache(case.params, batch, length, order, y)


def before(x_BLC, order):
  """What the steps read, in generation order; the first value is unread."""
  return np.roll(cases.to_steps(x_BLC, order), 1, 1)


# --- a head ---


def head_probabilities(head, spec, theta_NP):
  """(p of all values of a site, float64 [N, V ** C]; dtype of log_prob)."""
  values = site_values(spec)
  run = jax.jit(head.log_prob)
  at_once = max(1, 2**26 // theta_NP.size)  # a head may need N x values x P
  parts = [
    np.asarray(run(theta_NP[:, None], values[None, i : i + at_once]))
    for i in range(0, len(values), at_once)
  ]
  log_prob = np.concatenate(parts, 1)
  shape = len(theta_NP), len(values)
  cases.require(
    log_prob.shape == shape, f"log_prob {log_prob.shape}, not {shape}"
  )
  return np.exp(log_prob.astype(np.float64)), str(log_prob.dtype)


def site_values(spec):
  """All values of a site [V ** C, C]; of the real ones, a wide grid."""
  if spec.num_values is not None:
    return cases.sequences(spec.num_values, 1, spec.channels)[:, 0]
  axis = np.arange(-reach(spec), reach(spec) + 1) * np.float64(spec.delta)
  return np.array(list(itertools.product(axis, repeat=spec.channels)))


def reach(spec):
  """Steps of the grid of real values to either side of 0, on each axis."""
  return GRID[spec.channels - 1]


def head_normalised(head, spec, theta_NP, bar=None):
  """exp(log_prob) over the values of a site sums to one; within SUM, or bar.

  Real values have tails beyond any grid: there the bar is REAL_SUM.
  """
  prob_NM, dtype = head_probabilities(head, spec, theta_NP)
  worst = np.abs(prob_NM.sum(1) - 1).max()
  if bar is None:
    bar = SUM[dtype] if spec.num_values is not None else REAL_SUM
  return cases.below(worst, bar, "sum over values")
