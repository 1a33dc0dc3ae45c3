"""Hidden Markov sources of known entropy: what a model's nats are held to.

A source is its labelled transition matrices: T[v, s, s'] is the probability
to emit v and move to s', from state s. Everything below (stationary law,
samples, entropy) is read off that one array; a source costs one function.

The axis letter S stands for the states of a source, here only.
"""

import collections
import string

import numpy as np

from ar_jax import errors, registry
from ar_jax.datasets import _known
from ar_jax.types import Dataset, DataSpec

TINY = [
  dict(source="two_state", length=6, train_size=7, valid_size=5),
  dict(source="golden_mean", length=6, train_size=7, valid_size=5),
  dict(source="even", length=6, train_size=7, valid_size=5),
  dict(
    source="random",
    length=6,
    train_size=7,
    valid_size=5,
    num_values=3,
    order=2,
  ),
]

_CHARACTERS = string.digits + string.ascii_lowercase + string.ascii_uppercase
_MAX_ENTRIES = 2**25  # of T, in float64: 256 MiB


def make(
  *,
  source="two_state",
  length=128,
  train_size=16384,
  valid_size=2048,
  seed=0,
  flip=(0.1, 0.3),
  num_values=2,
  order=2,
  concentration=1.0,
  source_seed=0,
):
  """Independent stationary sequences of a source whose entropy is known.

  `entropy` of a split is exact: H(X_1 .. X_length) in nats. It lies above
  length * media["entropy_rate"], as the first symbols have less past.

  Args:
    source: "two_state", "golden_mean", "even" or "random"; see `transitions`.
    length: symbols of one item.
    train_size, valid_size: items. More of them extend the fewer.
    seed: of the samples; the two splits are different streams of it.
    flip, num_values, order, concentration, source_seed: see `transitions`;
      unread by the sources that do not name them.
  Raises:
    UsageError: an argument out of its range.
  """
  _require_whole("length", length, 1)
  _require_whole("seed", seed, 0)
  sizes = dict(train=train_size, valid=valid_size)
  for name, size in sizes.items():
    _require_whole(f"{name}_size", size, 1)
  T_VSS = transitions(
    source,
    flip=flip,
    num_values=num_values,
    order=order,
    concentration=concentration,
    source_seed=source_seed,
  )
  entropy = block_entropy(T_VSS, length)
  splits = {}
  for stream, (name, size) in enumerate(sizes.items()):
    rng = np.random.default_rng([seed, stream])
    splits[name] = _known.split(
      sample(T_VSS, rng, size, length),
      entropy,
      lambda x_BL: -log_prob(T_VSS, x_BL),
      dict(symbol=size * length),
      f"independent sequences of {length}",
    )
  media = dict(
    kind="text",
    level="char",
    vocabulary=sorted(_CHARACTERS[: len(T_VSS)]),  # text.py needs it sorted
    source=source,
    entropy_rate=entropy_rate(T_VSS),
  )
  return Dataset(DataSpec((length,), 1, len(T_VSS)), splits, media)


def transitions(source, **options):
  """T[v, s, s'] of a source by name, float64 [V, S, S].

  two_state: a chain on {0, 1}; flip = the probabilities to leave 0 and 1.
  golden_mean: a fair coin, but a 1 is followed by a 0; 2/3 bit per symbol.
  even: a fair coin between 0 and 11: runs of 1s between 0s are even, so a
    window of 1s, however long, hides the state; 2/3 bit per symbol.
  random: a chain of `order` k over `num_values` V: each of the V**k pasts has
    a row drawn from Dirichlet(concentration) with seed `source_seed`.

  Args:
    source: the name.
    **options: what the source needs of the above; it ignores the rest.
  Raises:
    UsageError: no such source, or an option out of its range.
  """
  if source not in _SOURCES:
    raise errors.UsageError(
      f"markov: no source named {source!r}"
      f"{registry.nearest(source, _SOURCES)}; there are: {', '.join(_SOURCES)}"
    )
  return _SOURCES[source](**options)


def _two_state(*, flip, **_):
  try:
    leave_0, leave_1 = flip
    valid = 0 < leave_0 < 1 and 0 < leave_1 < 1
  except (TypeError, ValueError):
    valid = False
  if not valid:
    raise errors.UsageError(
      f"markov: flip is {flip!r}; allowed: two probabilities inside (0, 1)"
    )
  return _chain(np.array([[1 - leave_0, leave_0], [leave_1, 1 - leave_1]]))


def _golden_mean(**_):
  return _chain(np.array([[0.5, 0.5], [1.0, 0.0]]))


def _even(**_):
  T_VSS = np.zeros((2, 2, 2))
  T_VSS[0, 0, 0] = T_VSS[1, 0, 1] = 0.5
  T_VSS[1, 1, 0] = 1.0
  return T_VSS


def _random(*, num_values, order, concentration, source_seed, **_):
  _require_whole("num_values", num_values, 2, len(_CHARACTERS))
  _require_whole("order", order, 0, 12)
  _require_whole("source_seed", source_seed, 0)
  if num_values ** (2 * order + 1) > _MAX_ENTRIES:
    raise errors.UsageError(
      f"markov: num_values {num_values} at order {order} is too large;"
      f" allowed: num_values**(2 * order + 1) <= {_MAX_ENTRIES}"
    )
  number = isinstance(concentration, int | float)
  if not (number and 0 < concentration < np.inf):
    raise errors.UsageError(
      f"markov: concentration is {concentration!r}; allowed: a number > 0"
    )
  # Streams 0 and 1 of a seed are the splits: a source shares no draws with
  # its samples, whatever the two seeds.
  rng = np.random.default_rng([source_seed, 2])
  alpha_V = np.full(num_values, float(concentration))
  return _chain(rng.dirichlet(alpha_V, num_values**order))


def _chain(rows_SV):
  """The chain that emits v with rows[s, v]; s spells the last symbols."""
  num_states, num_values = rows_SV.shape
  T_VSS = np.zeros((num_values, num_states, num_states))
  state_S = np.arange(num_states)
  for v in range(num_values):
    T_VSS[v, state_S, (state_S * num_values + v) % num_states] = rows_SV[:, v]
  return T_VSS


_SOURCES = dict(
  two_state=_two_state,
  golden_mean=_golden_mean,
  even=_even,
  random=_random,
)


def stationary(T_VSS):
  """The stationary distribution over states, float64 [S].

  Raises:
    UsageError: there are several, or rounding cannot tell them from one.
  """
  # pi (I - P) = 0 and sum(pi) = 1, added into one square system; it is
  # singular just where the states fall into several closed classes.
  P_SS = T_VSS.sum(0)
  system_SS = np.eye(len(P_SS)) - P_SS.T + 1.0
  condition = np.linalg.cond(system_SS, 1)
  if not condition < 1e9:
    raise errors.UsageError(
      "markov: the source falls into parts that do not mix, condition number"
      f" {condition:.1e}; allowed: < 1e9 (raise flip or concentration)"
    )
  pi_S = np.maximum(np.linalg.solve(system_SS, np.ones(len(P_SS))), 0.0)
  return pi_S / pi_S.sum()


def entropy_rate(T_VSS):
  """Nats per symbol of a unifilar source: sum over s of pi_s H(v | s).

  Shannon 1948, section 7. Unifilar: state and symbol fix the next state; for
  other sources the sum is only a lower bound, and is refused.

  Raises:
    ValueError: the source is not unifilar.
  """
  if np.count_nonzero(T_VSS, axis=-1).max() > 1:
    raise ValueError("entropy_rate takes unifilar sources, got another")
  return float(stationary(T_VSS) @ _entropy(T_VSS.sum(-1).T))


def block_entropy(T_VSS, length):
  """Exact H(X_1 .. X_length) in nats, the source started stationary.

  The past matters through the belief P(state | past) alone, so H is the sum
  over steps, over beliefs, of P(belief) H(next symbol | belief): the mixed
  states of Ellison, Mahoney and Crutchfield 2009 (arXiv 0905.3587). Linear in
  `length` where beliefs recur, as for all sources here, V**length otherwise.
  """
  prob_KV, after_KV = _beliefs(T_VSS, length)
  nats_K = _entropy(prob_KV)
  weight_K = np.zeros(len(nats_K))
  weight_K[0] = 1.0
  total = 0.0
  for _ in range(length):
    total += weight_K @ nats_K
    flow_KV = weight_K[:, None] * prob_KV
    weight_K = np.bincount(after_KV.ravel(), flow_KV.ravel(), len(nats_K))
  return float(total)


def _beliefs(T_VSS, length):
  """The distinct beliefs after fewer than `length` symbols; row 0: no past.

  Returns:
    prob_KV: of the next symbol, given the belief.
    after_KV: row of the belief after that symbol; 0, to be left unread, where
      the symbol cannot come or is the last.
  """
  belief_S = stationary(T_VSS)
  row = {_rounded(belief_S): 0}  # a merge that is missed costs only time
  queue = collections.deque([(belief_S, 0)])
  prob, after = [], []
  while queue:
    belief_S, t = queue.popleft()
    support = np.flatnonzero(belief_S)
    joint_VS = np.tensordot(T_VSS[:, support], belief_S[support], (1, 0))
    prob_V = joint_VS.sum(-1)
    after_V = np.zeros(len(T_VSS), int)
    for v in np.flatnonzero(prob_V) if t + 1 < length else ():
      next_S = joint_VS[v] / prob_V[v]
      key = _rounded(next_S)
      if key not in row:
        row[key] = len(row)
        queue.append((next_S, t + 1))
      after_V[v] = row[key]
    prob.append(prob_V)
    after.append(after_V)
  return np.array(prob), np.array(after)


def _rounded(belief_S):
  """A hashable key that beliefs equal to 12 digits share."""
  rounded_S = np.round(belief_S, 12)
  support = np.flatnonzero(rounded_S)
  return support.tobytes(), rounded_S[support].tobytes()


def _entropy(prob_KV):
  """Nats of each row, 0 log 0 = 0."""
  log_KV = np.log(np.where(prob_KV > 0, prob_KV, 1.0))
  return -(prob_KV * log_KV).sum(-1)


def log_prob(T_VSS, x_NL):
  """Exact log p(x) of each sequence in nats, float64 [N]; -inf: impossible.

  By the forward algorithm, the source started stationary.
  """
  forward_NS = np.tile(stationary(T_VSS), (len(x_NL), 1))
  log_N = np.zeros(len(x_NL))
  for x_N in np.asarray(x_NL).T:
    forward_NS = np.einsum("ns,nsz->nz", forward_NS, T_VSS[x_N])
    mass_N = forward_NS.sum(1)
    with np.errstate(divide="ignore"):
      log_N += np.log(mass_N)
    forward_NS /= np.where(mass_N > 0, mass_N, 1.0)[:, None]
  return log_N


def sample(T_VSS, rng, size, length):
  """Independent sequences, each started stationary: uint8 [size, length].

  Args:
    T_VSS: the source.
    rng: numpy Generator. Row n reads draws n * (length + 1) onward, so a
      larger `size` extends a smaller one.
    size: sequences N.
    length: symbols of each.
  """
  cdf_SE, value_SE, next_SE = _edges(T_VSS)
  uniform_NL = rng.random((size, length + 1))
  start_S = stationary(T_VSS).cumsum()
  state_N = np.searchsorted(start_S / start_S[-1], uniform_NL[:, 0], "right")
  x_NL = np.empty((size, length), np.uint8)
  for t in range(length):
    edge_N = (cdf_SE[state_N] <= uniform_NL[:, t + 1, None]).sum(-1)
    x_NL[:, t] = value_SE[state_N, edge_N]
    state_N = next_SE[state_N, edge_N]
  return x_NL


def _edges(T_VSS):
  """The ways out of each state: cumulative probability, symbol, next state.

  States with fewer ways than others are filled up with ways of probability
  0. Each row's cdf ends in exactly 1, so no uniform number selects these.
  """
  num_states = T_VSS.shape[1]
  flat_SE = T_VSS.swapaxes(0, 1).reshape(num_states, -1)
  ways = np.count_nonzero(flat_SE, axis=-1).max()
  edge_SE = np.argsort(flat_SE == 0, axis=-1, kind="stable")[:, :ways]
  cdf_SE = np.take_along_axis(flat_SE, edge_SE, -1).cumsum(-1)
  return (cdf_SE / cdf_SE[:, -1:], *np.divmod(edge_SE, num_states))


def _require_whole(name, value, low, high=None):
  whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if whole and low <= value and (high is None or value <= high):
    return
  limits = f">= {low}" if high is None else f"from {low} to {high}"
  raise errors.UsageError(
    f"markov: {name} is {value!r}; allowed: an integer {limits}"
  )
