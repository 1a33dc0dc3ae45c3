"""Autoregressive processes of known entropy: sound, and series in classes.

mu_law: x_t = quantize(sum_i a_i deq(x_{t-i}) + noise * eps_t), deq the value
  of a mu-law level. The loop is closed, the mean comes from the DEQUANTIZED
  past, so the mass of a level is a difference of two Gaussian distribution
  functions, exactly; the outermost levels take the tails. (Quantizing an
  open loop gives a hidden Markov process without a closed entropy.) One
  coefficient: a chain, started stationary. More: started from silence,
  deq(x_t) = 0 for t < 0, so that these are exact from the first step on.
classes: x_t = 2 r cos(theta) x_{t-1} - r^2 x_{t-2} + eps_t, where a label
  drawn uniformly picks theta. Started stationary, rounded to multiples of
  delta. Nats are densities at the rounded values, minus log delta: right to
  delta^2 (1 + 4 r^2 + r^4) / 24 a step at most, 2e-5 at the defaults.

A process is a dict of plain numbers, which media["process"] keeps:

  dict(kind="mu_law", coefficients=[0.9], noise=0.05, num_values=256)
  dict(kind="classes", radius=0.9, angles=[0.2, 0.25], delta=0.01)

Longer than 400 lines because both kinds are told by their exact arithmetic.
"""

import functools
import math

import numpy as np

from ar_jax import errors
from ar_jax.media import audio, series
from ar_jax.types import Condition, Dataset, DataSpec, Split

TINY = [
  dict(length=6, train_size=7, valid_size=5, num_values=16),
  dict(length=6, train_size=7, valid_size=5, coefficients=(1.6, -0.81)),
  dict(length=6, train_size=7, valid_size=5, kind="classes"),
]

_UNIT = 0.5 * math.log(2 * math.pi * math.e)  # nats of a unit Gaussian
_STEPS = 2**19  # of a Monte Carlo entropy, over all its items


def make(
  *,
  kind="mu_law",
  length=128,
  train_size=16384,
  valid_size=2048,
  seed=0,
  coefficients=(0.9,),
  noise=0.05,
  num_values=256,
  rate=16000,
  radius=0.9,
  angles=(0.20, 0.25, 0.30, 0.35),
  delta=0.01,
):
  """Independent sequences of a process whose conditionals are known.

  `entropy` of a split, in nats of an item: exact for "mu_law" with one
  coefficient; the entropy GIVEN THE LABEL for "classes" (see `bounds` for
  the one without it); None for "mu_law" with more coefficients, where
  media["entropy"] is a Monte Carlo mean of `conditionals` over
  media["entropy_items"] further items, with media["entropy_standard_error"].
  media["entropy_rate"]: nats a step, in the limit, where it is exact.

  Args:
    kind: "mu_law" (levels, audio) or "classes" (real values, y["label"]).
    length: steps of one item.
    train_size, valid_size: items. More of them extend the fewer.
    seed: of the samples; the two splits are different streams of it.
    coefficients, noise, num_values: a_i, noise and levels of "mu_law".
    rate: samples a second at which "mu_law" is heard.
    radius, angles, delta: r, theta / pi of each class, and the resolution.
      What its kind does not name is unread.
  Raises:
    UsageError: an argument out of its range.
  """
  if kind not in ("mu_law", "classes"):
    raise errors.UsageError(
      f"ar_process: kind is {kind!r}; allowed: mu_law, classes"
    )
  sizes = dict(train=train_size, valid=valid_size)
  _require("length", length, 1, whole=True)
  _require("seed", seed, 0, whole=True)
  for name, size in sizes.items():
    _require(f"{name}_size", size, 1, whole=True)
  streams = {n: (seed, k, sizes[n]) for k, n in enumerate(sizes)}
  if kind == "mu_law":
    process = mu_law(coefficients, noise, num_values)
    return _mu_law_dataset(process, length, streams, rate)
  return _classes_dataset(classes(radius, angles, delta), length, streams)


def mu_law(coefficients=(0.9,), noise=0.05, num_values=256):
  """The dict of a process of kind "mu_law"; UsageError out of range."""
  coefficients = _numbers("coefficients", coefficients, -4, 4, 1)
  _require("noise", noise, 1e-6, 1e6)
  _require("num_values", num_values, 2, 1024, whole=True)
  numbers = dict(noise=float(noise), num_values=int(num_values))
  return dict(kind="mu_law", coefficients=coefficients, **numbers)


def classes(radius=0.9, angles=(0.20, 0.25, 0.30, 0.35), delta=0.01):
  """The dict of a process of kind "classes"; UsageError out of range."""
  _require("radius", radius, 0, 0.9999)
  _require("delta", delta, 1e-5, 0.5)
  angles = _numbers("angles", angles, 0, 1, 2)
  numbers = dict(radius=float(radius), delta=float(delta))
  return dict(kind="classes", angles=angles, **numbers)


def _mu_law_dataset(process, length, streams, rate):
  levels, order = process["num_values"], len(process["coefficients"])
  facts, entropy = dict(process=process), None
  if order == 1:
    entropy = block_entropy(process, length)
    facts["entropy_rate"] = entropy_rate(process)
  else:
    # Streams 0 and 1 of a seed are the splits.
    items = max(64, _STEPS // length)
    x_NL = sample(process, items, length, (0, 2))
    nats_N = conditionals(process, x_NL[..., None]).sum(1)
    facts["entropy"] = float(nats_N.mean())
    facts["entropy_standard_error"] = float(nats_N.std() / math.sqrt(items))
    facts["entropy_items"] = items
  source = f"mu-law AR({order})"
  media = audio.make_media("mu_law", rate, 1, source, levels=levels)
  splits, kind = {}, np.uint8 if levels <= 256 else np.uint16
  for name, (seed, stream, size) in streams.items():
    x_NL = sample(process, size, length, (seed, stream)).astype(np.int32)
    raw = x_NL.astype(kind).tobytes()
    split = _split(x_NL[..., None], {}, entropy, process)
    splits[name] = split._replace(raw=raw)
  return Dataset(DataSpec((length,), 1, levels), splits, media | facts)


def _classes_dataset(process, length, streams):
  entropy, delta = block_entropy(process, length), process["delta"]
  splits = {}
  for name, (seed, stream, size) in streams.items():
    x_NL = sample(process, size, length, (seed, stream))
    y = dict(label=labels(process, size, (seed, stream)))
    splits[name] = _split(x_NL[..., None], y, entropy, process)
  source = f"{len(process['angles'])} AR(2) classes"
  media = series.make_media(source, ["x"], [delta], fitted="nothing")
  media |= dict(process=process, entropy_rate=entropy_rate(process))
  conditions = dict(label=Condition("label", len(process["angles"])))
  spec = DataSpec((length,), 1, None, delta, conditions)
  return Dataset(spec, splits, media)


def _split(x_NLC, y, entropy, process):
  size, length = x_NLC.shape[:2]

  def get(indices):
    weight_BL = np.ones((len(indices), length), np.float32)
    return x_NLC[indices], weight_BL, {k: v[indices] for k, v in y.items()}

  def exact(indices):
    label_B = y["label"][indices] if y else None
    return conditionals(process, x_NLC[indices], label_B).sum(1)

  return Split(
    size=size,
    get=get,
    units=dict(sample=size * length),
    entropy=entropy,
    exact=exact,
    protocol=f"independent sequences of {length}",
  )


def sample(process, size, length, seed):
  """Independent items: levels int64, or rounded float32, [size, length].

  More items extend the fewer. seed: integers, of numpy's default_rng.
  """
  from scipy import special

  rng = np.random.default_rng(seed)
  if process["kind"] == "mu_law":
    uniform_NL = rng.random((size, length))
    return _sample_mu_law(process, uniform_NL, special.ndtri(uniform_NL))
  first_KL, second_KL, scale_KL = _steps(process, length)
  label_N = labels(process, size, seed)
  x_NL = rng.standard_normal((size, length)) * scale_KL[label_N]
  for t in range(1, length):
    x_NL[:, t] += first_KL[label_N, t] * x_NL[:, t - 1]
    if t > 1:
      x_NL[:, t] += second_KL[label_N, t] * x_NL[:, t - 2]
  n_NL = np.rint(x_NL / process["delta"])
  return (n_NL * process["delta"]).astype(np.float32)


def _sample_mu_law(process, uniform_NL, normal_NL):
  """By the inverse of the distribution function, step by step."""
  value_V, edge_E = _levels(process)
  coefficients = process["coefficients"]
  x_NL = np.zeros(uniform_NL.shape, int)
  past_NP = np.zeros((len(x_NL), len(coefficients)))  # the latest first
  for t in range(x_NL.shape[1]):
    if t == 0 and len(coefficients) == 1:
      cdf_V = stationary(process).cumsum()
      cdf_V /= cdf_V[-1]
      x_NL[:, 0] = np.searchsorted(cdf_V, uniform_NL[:, 0], "right")
    else:
      wave_N = past_NP @ coefficients + process["noise"] * normal_NL[:, t]
      x_NL[:, t] = np.searchsorted(edge_E[1:-1], wave_N, "right")
    past_NP = np.roll(past_NP, 1, 1)
    past_NP[:, 0] = value_V[x_NL[:, t]]
  return x_NL


def labels(process, size, seed):
  """The labels of `sample`'s items, int32 [size], uniform."""
  rng = np.random.default_rng([*seed, 1])
  return (rng.random(size) * len(process["angles"])).astype(np.int32)


def conditionals(process, x_BLC, label_B=None):
  """Exact -log p(x_t | x_<t, label) in nats, float64 [B, L].

  Args:
    process: the dict.
    x_BLC: levels, or real values: their nats are those of delta's bins.
    label_B: of "classes"; None: the mixture over labels, -log p(x_t | x_<t).
  """
  x_BL = np.asarray(x_BLC)[..., 0]
  if process["kind"] == "mu_law":
    return _mu_law_nats(process, x_BL)
  nats_KBL = _class_nats(process, x_BL)
  if label_B is not None:
    return nats_KBL[np.asarray(label_B), np.arange(len(x_BL))]
  joint_BL = np.logaddexp.reduce(-nats_KBL.cumsum(-1), axis=0)
  joint_BL -= math.log(len(nats_KBL))
  return -np.diff(joint_BL, axis=1, prepend=0.0)


def _mu_law_nats(process, x_BL):
  value_V, edge_E = _levels(process)
  wave_BL = value_V[x_BL]
  mean_BL = np.zeros(x_BL.shape)
  for lag, coefficient in enumerate(process["coefficients"], 1):
    mean_BL[:, lag:] += coefficient * wave_BL[:, :-lag]
  low_BL, high_BL = edge_E[x_BL], edge_E[x_BL + 1]
  noise = process["noise"]
  nats_BL = -_log_mass((low_BL - mean_BL) / noise, (high_BL - mean_BL) / noise)
  if len(process["coefficients"]) == 1:
    law_V = stationary(process)
    nats_BL[:, 0] = -np.log(np.maximum(law_V, 1e-300))[x_BL[:, 0]]
  return nats_BL


def _class_nats(process, x_BL):
  """-log p(x_t | x_<t, k) of all classes, [K, B, L]."""
  first_KL, second_KL, scale_KL = _steps(process, x_BL.shape[1])
  x_BL = x_BL.astype(np.float64)
  past_BL = np.pad(x_BL, ((0, 0), (2, 0)))
  mean_KBL = first_KL[:, None] * past_BL[:, 1:-1]
  mean_KBL += second_KL[:, None] * past_BL[:, :-2]
  scale_KBL = scale_KL[:, None]
  quadratic_KBL = 0.5 * ((x_BL - mean_KBL) / scale_KBL) ** 2
  constant = 0.5 * math.log(2 * math.pi) - math.log(process["delta"])
  return quadratic_KBL + np.log(scale_KBL) + constant


def posterior(process, x_BLC):
  """p(label | x) by Bayes' rule, of "classes": float64 [B, K]."""
  log_KB = -_class_nats(process, np.asarray(x_BLC)[..., 0]).sum(-1)
  p_KB = np.exp(log_KB - log_KB.max(0))
  return (p_KB / p_KB.sum(0)).T


def bounds(process, length, size=8192, seed=0):
  """What no model of "classes" can pass, by Monte Carlo but `conditional`.

  Returns: dict of floats: conditional and marginal entropy, nats a step at
    delta (of densities: add log delta); information I(x; label), nats of an
    item; accuracy of Bayes' rule; marginal_standard_error and so on.
  """
  x_NLC = sample(process, size, length, (seed, 3))[..., None]
  label_N = labels(process, size, (seed, 3))
  p_NK = posterior(process, x_NLC)
  right_N = p_NK.argmax(1) == label_N
  gain_N = np.log(p_NK[np.arange(size), label_N] * p_NK.shape[1])
  gain, error = gain_N.mean(), gain_N.std() / math.sqrt(size)
  conditional = block_entropy(process, length) / length
  result = dict(
    conditional=conditional,
    marginal=conditional + gain / length,
    marginal_standard_error=error / length,
    information=gain,
    information_standard_error=error,
    accuracy=right_N.mean(),
    accuracy_standard_error=right_N.std() / math.sqrt(size),
  )
  return {name: float(value) for name, value in result.items()}


def entropy_rate(process):
  """Nats a step in the limit; of "mu_law" with one coefficient only."""
  if process["kind"] == "classes":
    return _UNIT - math.log(process["delta"])
  return float(stationary(process) @ _entropy(transitions(process)))


def block_entropy(process, length):
  """H(x_1 .. x_length), of "classes" given the label, in nats of an item."""
  if process["kind"] == "classes":
    scale_KL = _steps(process, length)[2]
    nats = length * (_UNIT - math.log(process["delta"]))
    return float(nats + np.log(scale_KL).sum(1).mean())
  first = _entropy(stationary(process))
  return float(first + (length - 1) * entropy_rate(process))


def transitions(process):
  """P(x_t = w | x_{t-1} = v) of "mu_law" with one coefficient, [V, V].

  Raises:
    ValueError: the process has more coefficients: no chain on its levels.
  """
  if len(process["coefficients"]) != 1:
    raise ValueError("transitions takes one coefficient, got more")
  value_V, edge_E = _levels(process)
  mean_V1 = process["coefficients"][0] * value_V[:, None]
  z_VE = (edge_E - mean_V1) / process["noise"]
  return np.exp(_log_mass(z_VE[:, :-1], z_VE[:, 1:]))


def stationary(process):
  """The law of a level in the long run, float64 [V]; UsageError: not one."""
  coefficients = tuple(process["coefficients"])
  return _law(coefficients, process["noise"], process["num_values"])


@functools.lru_cache(maxsize=4)
def _law(coefficients, noise, num_values):
  P_VV = transitions(mu_law(coefficients, noise, num_values))
  # pi (I - P) = 0 and sum(pi) = 1, added into one square system.
  system_VV = np.eye(num_values) - P_VV.T + 1.0
  condition = np.linalg.cond(system_VV, 1)
  if not condition < 1e9:
    raise errors.UsageError(
      "ar_process: the levels fall into parts that do not mix, condition"
      f" number {condition:.1e}; allowed: < 1e9 (raise noise)"
    )
  law_V = np.maximum(np.linalg.solve(system_VV, np.ones(num_values)), 0.0)
  return law_V / law_V.sum()


def _levels(process):
  """Value of each level, [V]; edges about levels, infinite ends: [V + 1]."""
  num_values = process["num_values"]
  value_V = audio.mu_law_decode(np.arange(num_values), num_values)
  edge_E = np.r_[-np.inf, audio.mu_law_edges(num_values), np.inf]
  return value_V.astype(np.float64), edge_E


def _steps(process, length):
  """AR(2) started stationary: lag 1, lag 2, noise of each step, 3 [K, L]."""
  r, theta_K1 = process["radius"], np.pi * np.c_[process["angles"]]
  a_K1, b = 2 * r * np.cos(theta_K1), -(r**2)
  rho_K1 = a_K1 / (1 - b)  # correlation at lag 1, by Yule and Walker
  var_K1 = 1 / ((1 - rho_K1**2) * (1 - b**2))
  t = np.arange(length)
  first_KL = np.where(t > 1, a_K1, np.where(t == 1, rho_K1, 0.0))
  second_KL = np.broadcast_to(np.where(t > 1, b, 0.0), first_KL.shape)
  early_KL = var_K1 * np.where(t == 1, 1 - rho_K1**2, 1.0)
  return first_KL, second_KL, np.sqrt(np.where(t > 1, 1.0, early_KL))


def _log_mass(low, high):
  """Log of a unit Gaussian's mass between low and high, in both tails."""
  from scipy import special

  right = low > 0  # mirrored: there the distribution function rounds to 1
  low, high = np.where(right, -high, low), np.where(right, -low, high)
  log_low, log_high = special.log_ndtr(low), special.log_ndtr(high)
  return log_high + np.log(-np.expm1(log_low - log_high))


def _entropy(p_V):
  """Nats along the last axis, 0 log 0 = 0."""
  return -(p_V * np.log(np.where(p_V > 0, p_V, 1.0))).sum(-1)


def _numbers(name, values, low, high, count):
  given = values if isinstance(values, tuple | list) else (values,)
  if len(given) < count:
    raise errors.UsageError(
      f"ar_process: {name} is {values!r}; allowed: {count} numbers or more"
    )
  for k, value in enumerate(given):
    _require(f"{name}[{k}]", value, low, high)
  return [float(value) for value in given]


def _require(name, value, low, high=None, whole=False):
  types = int if whole else int | float
  number = isinstance(value, types) and not isinstance(value, bool)
  if number and low <= value and (high is None or value <= high):
    return
  limits = f">= {low}" if high is None else f"from {low} to {high}"
  raise errors.UsageError(
    f"ar_process: {name} is {value!r}; allowed:"
    f" {'an integer' if whole else 'a number'} {limits}"
  )
