"""The Ising model on a grid with free edges: exact samples, nats and entropy.

p(s) = exp(beta * sum over neighboring pairs s_i s_j) / Z of spins s = 2x - 1,
values x of 0 or 1. By site-wise transfer: what a raster knows of its past is
the frontier, the last spin of each column, so a message has 2**W entries for W
columns, and one site costs a few passes over them. The message of step t is
the mass of all completions,

  m_t(f) = sum over sites t.. of exp(beta * sum of the pairs that end in them)

given the frontier f, in which bit c is the spin of column c. Rescaled at each
step, in float64. The joint entropy is the same for every order of the sites.
"""

import math

import numpy as np

from ar_jax import errors
from ar_jax.datasets import _known
from ar_jax.media import image
from ar_jax.types import Dataset, DataSpec

TINY = [
  dict(shape=(2, 3), num_train=7, num_valid=5, num_test=3),
  dict(shape=(3, 2), beta=-0.2, num_train=7, num_valid=5, num_test=3),
]

_CRITICAL = math.log(1 + math.sqrt(2)) / 2  # 0.440687, Onsager 1944
_WIDEST = 16  # columns
_MOST = 2**27  # entries of all messages: 1 GiB
_ROWS = 2**13  # items that are drawn at once


def make(
  *,
  shape=(8, 8),
  beta=_CRITICAL,
  num_train=200_000,
  num_valid=10_000,
  num_test=10_000,
  seed=0,
):
  """Independent exact samples; `entropy` of a split is exact, nats an item.

  Args:
    shape: (H, W), one of them 16 at most.
    beta: inverse temperature, -10..10; the default, 0.440687, is critical on
      the endless grid. Below 0 neighbors differ.
    num_train, num_valid, num_test: items. More of them extend the fewer.
    seed: of the samples; each split is a stream of its own.
  Raises:
    UsageError: an argument out of its range.
  """
  sizes = dict(train=num_train, valid=num_valid, test=num_test)
  for name, size in sizes.items():
    _require_whole(f"num_{name}", size, 1)
  _require_whole("seed", seed, 0)
  drawn = {
    name: sample(shape, beta, size, (seed, stream))
    for stream, (name, size) in enumerate(sizes.items())
  }
  nats = entropy(shape, beta)

  def exact(x_BL):
    return -log_prob(shape, beta, x_BL)

  splits = {
    name: _known.split(x_NL, nats, exact, image.units(*x_NL.shape))
    for name, x_NL in drawn.items()
  }
  media = image.make_media("ising", tuple(shape), num_values=2)
  media |= dict(beta=float(beta))
  return Dataset(DataSpec(tuple(shape), 1, 2), splits, media)


def log_partition(shape, beta):
  """log Z, in nats; UsageError for a shape or beta out of range."""
  H, W, beta = _narrow(shape, beta)
  return _sums(H, W, beta)[0]


def entropy(shape, beta):
  """Exact entropy of an item in nats: log Z - beta E[sum of s_i s_j].

  Raises:
    UsageError: a shape or beta out of range.
  """
  H, W, beta = _narrow(shape, beta)
  log_Z, pairs = _sums(H, W, beta)
  return log_Z - beta * pairs


def sample(shape, beta, size, seed):
  """Independent exact samples, uint8 [size, L] in raster order.

  Args:
    shape, beta: of the model.
    size: items. More of them extend the fewer.
    seed: integers, of numpy's default_rng.
  Raises:
    UsageError: a shape or beta out of range.
  """
  H, W, beta = _narrow(shape, beta)
  message_TF = _messages(H, W, beta)
  rng = np.random.default_rng(seed)
  x_NL = np.empty((size, H * W), np.uint8)
  for first in range(0, size, _ROWS):
    x_BL = x_NL[first : first + _ROWS]
    uniform_BL = rng.random(x_BL.shape)
    frontier_B = np.zeros(len(x_BL), np.int32)
    for t in range(H * W):
      up_B, down_B = _masses(message_TF[t + 1], frontier_B, t, W, beta)
      x_BL[:, t] = uniform_BL[:, t] * (up_B + down_B) < up_B
      frontier_B = _put(frontier_B, t % W, x_BL[:, t])
  if tuple(shape) == (H, W):
    return x_NL
  return x_NL.reshape(size, H, W).swapaxes(1, 2).reshape(size, H * W)


def conditionals(shape, beta, x_NL):
  """Exact log p(x_t | x_<t) of raster order in nats, float64 [N, L].

  A row's sum is log p(x).

  Args:
    shape, beta: of the model.
    x_NL: values of 0 or 1; [N, L, 1] as a Split gives them will do.
  Raises:
    UsageError: rows of more than 16 columns, or a beta out of range.
  """
  H, W = _shape(shape)
  beta = _beta(beta)
  _require_columns(H, W)
  x_NL = np.asarray(x_NL).reshape(-1, H * W)
  message_TF = _messages(H, W, beta)
  frontier_N = np.zeros(len(x_NL), np.int32)
  log_NL = np.empty(x_NL.shape)
  for t in range(H * W):
    up_N, down_N = _masses(message_TF[t + 1], frontier_N, t, W, beta)
    mass_N = np.where(x_NL[:, t] == 1, up_N, down_N)
    log_NL[:, t] = np.log(mass_N) - np.log(up_N + down_N)
    frontier_N = _put(frontier_N, t % W, x_NL[:, t])
  return log_NL


def log_prob(shape, beta, x_NL):
  """Exact log p(x) in nats, float64 [N]: beta sum s_i s_j - log Z.

  Args and errors as of `log_partition`; x_NL as in `conditionals`.
  """
  log_Z = log_partition(shape, beta)
  s_NHW = 2.0 * np.asarray(x_NL).reshape(-1, *shape) - 1
  across_N = (s_NHW[:, :, 1:] * s_NHW[:, :, :-1]).sum((1, 2))
  down_N = (s_NHW[:, 1:] * s_NHW[:, :-1]).sum((1, 2))
  return beta * (across_N + down_N) - log_Z


# --- transfer ---


def _messages(H, W, beta):
  """m_t of all steps 0..L, each up to a factor: float64 [L + 1, 2**W]."""
  if H * W * 2**W > _MOST:
    raise errors.UsageError(
      f"ising: {H} x {W} sites with messages of 2**{W} entries take"
      f" {H * W * 2 ** (W - 27):.1f} GiB; allowed: {_MOST / 2**27:.0f} GiB"
    )
  message_TF = np.empty((H * W + 1, 2**W))
  message_TF[-1] = 1.0
  for t in range(H * W - 1, -1, -1):
    message_TF[t], _, _ = _back(message_TF[t + 1], None, t, W, beta)
  return message_TF


def _sums(H, W, beta):
  """(log Z, E[sum of s_i s_j]): the messages, and their slopes by beta."""
  log_Z, message_F, slope_F = 0.0, np.ones(2**W), np.zeros(2**W)
  for t in range(H * W - 1, -1, -1):
    message_F, slope_F, scale = _back(message_F, slope_F, t, W, beta)
    log_Z += math.log(scale)
  # Nothing comes before the first site: all entries are the same.
  return log_Z + math.log(message_F[0]), float(slope_F[0] / message_F[0])


def _back(message_F, slope_F, t, W, beta):
  """m_t of m_{t+1}, its slope likewise, and the factor taken out of both."""
  view, pairs = _view(t, W)
  before = np.zeros(view)
  slope = None if slope_F is None else np.zeros(view)
  for x in (0, 1):
    after = message_F.reshape(view)[:, x : x + 1]
    weight = np.exp(beta * pairs[x])
    before += weight * after
    if slope is not None:
      after_slope = slope_F.reshape(view)[:, x : x + 1]
      slope += weight * (pairs[x] * after + after_slope)
  scale = before.max()
  before /= scale
  if slope is not None:
    slope = (slope / scale).reshape(-1)
  return before.reshape(-1), slope, scale


def _view(t, W):
  """The axes of a message about site t, and the pairs that end in it.

  Returns:
    view: shape (high bits, bit c, bit c - 1 or 1, low bits), c = t % W.
    pairs: for each value of the site, s (s_up + s_left) over those axes.
  """
  row, c = divmod(t, W)
  low = max(c - 1, 0)
  view = (2 ** (W - 1 - c), 2, 2 if c else 1, 2**low)
  spin_2 = np.array([-1.0, 1.0])
  above = spin_2.reshape(1, 2, 1, 1) * (row > 0)
  beside = spin_2.reshape(1, 1, 2, 1) if c else 0.0
  return view, [s * (above + beside) for s in spin_2]


def _masses(message_F, frontier_N, t, W, beta):
  """Mass of all completions with site t at 1, and at 0; message m_{t+1}."""
  row, c = divmod(t, W)
  field_N = np.zeros(len(frontier_N))
  if row:
    field_N += 2.0 * (frontier_N >> c & 1) - 1
  if c:
    field_N += 2.0 * (frontier_N >> (c - 1) & 1) - 1
  up_N = np.exp(beta * field_N) * message_F[frontier_N | (1 << c)]
  down_N = np.exp(-beta * field_N) * message_F[frontier_N & ~(1 << c)]
  return up_N, down_N


def _put(frontier_N, c, x_N):
  """The frontier with bit c set to x."""
  return frontier_N & ~(1 << c) | x_N.astype(np.int32) << c


# --- arguments ---


def _narrow(shape, beta):
  """(H, W, beta) with the smaller side as columns; UsageError out of range."""
  W, H = sorted(_shape(shape))
  _require_columns(H, W)
  return H, W, _beta(beta)


def _shape(shape):
  given = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
  whole = [isinstance(n, int | np.integer) and n > 0 for n in given]
  if len(given) != 2 or not all(whole):
    raise errors.UsageError(
      f"ising: shape is {shape!r}; allowed: two integers >= 1, as (8, 8)"
    )
  return given


def _require_columns(H, W):
  if W > _WIDEST:
    raise errors.UsageError(
      f"ising: {H} rows of {W} sites need 2**{W} numbers at each of"
      f" {H * W} sites; allowed: rows of {_WIDEST} sites"
    )


def _beta(beta):
  number = isinstance(beta, int | float) and not isinstance(beta, bool)
  if not (number and abs(beta) <= 10):  # beyond, masses underflow
    raise errors.UsageError(
      f"ising: beta is {beta!r}; allowed: a number from -10 to 10"
    )
  return float(beta)


def _require_whole(name, value, low):
  whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not (whole and value >= low):
    raise errors.UsageError(
      f"ising: {name} is {value!r}; allowed: an integer >= {low}"
    )
