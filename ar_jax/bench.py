"""How fast a network samples: cached, naive, and what the machine allows."""

import functools
import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import assemble, decode, errors, operations, registry
from ar_jax import ordering as orders
from ar_jax.types import DataSpec

_LEAST = 2**20  # bytes of the array that bandwidth is measured on


class Subject(NamedTuple):
  """What is measured; config: plain values, where it comes from a config."""

  name: str
  net: assemble.Network
  spec: DataSpec
  params: dict
  config: dict | None = None


def wavenet(length):
  """30 layers, residual 64, skip 256, 256 values; random parameters."""
  spec = DataSpec((length,), 1, 256)
  ordering = registry.build("orderings", dict(name="raster"), spec.shape)
  head = registry.build("heads", dict(name="categorical"), spec)
  section = dict(name="wavenet", residual=64, skip=256)
  model = registry.build("models", section, spec, head, ordering)
  sampler = registry.build("samplers", dict(name="ancestral"), model, head)
  net = assemble.Network(ordering, head, model, sampler)
  name = "wavenet: 30 layers, residual 64, skip 256, 256 values"
  return Subject(name, net, spec, jax.jit(model.init)(jax.random.key(0)))


def check_length(subject, batch, length, prompt=0):
  """Raises UsageError for a length that the network does not take."""
  most = subject.spec.length
  ordered = _order(subject, batch) is not None
  if not 1 <= length <= most or ordered and length != most:
    raise errors.UsageError(
      f"--length={length}: the network samples {most} steps"
      f"{', in this order no fewer' if ordered else ' or fewer'}"
    )
  if not 0 <= prompt < length:
    raise errors.UsageError(
      f"--prompt_length={prompt}: of {length} steps at least one is drawn"
    )


# --- what the machine allows ---


class Ceiling(NamedTuple):
  """The least time of a step, and what it comes from.

  bytes_read: of parameters and cache, each once; of what a step only indexes,
    what it takes; of a row pass that is not due, nothing; of slots that are
    not filled, nothing, where the model's step knows that.
  flops: of the matrix products and convolutions of a step, likewise. Both are
    means over the first step, the middle one and the last.
  bandwidth: bytes/s of matrix-vector products over an array of that size.
  matmul: operations/s of a matrix product.
  seconds: of a step, the larger of the two quotients.
  """

  bytes_read: float
  flops: float
  bandwidth: float
  matmul: float
  seconds: float


def ceiling(subject, batch, length, prompt=0):
  """The Ceiling of sampling `batch` rows up to `length` steps.

  `prompt` of them are given: no step of theirs is counted.
  """
  model, params = subject.net.model, subject.params
  order_BL = _order(subject, batch)

  def init_cache(params):
    return model.init_cache(params, batch, length, order_BL)

  x_BC = _values(subject.spec, (batch, subject.spec.channels))
  args = params, jax.eval_shape(init_cache, params), x_BC

  def mean(count):
    at = (prompt, (prompt + length - 1) // 2, length - 1)
    return statistics.mean(
      count(lambda *args, t=t: model.step(*args, t), *args) for t in at
    )

  count, flops = mean(operations.bytes_read), mean(operations.flops)
  bandwidth, matmul = measured_bandwidth(count), measured_matmul()
  seconds = max(count / bandwidth, flops / matmul)
  return Ceiling(count, flops, bandwidth, matmul, seconds)


def measured_bandwidth(size):
  """Bytes/s of products of a vector with an array of `size` bytes."""
  N = 512
  rows = max(int(size), _LEAST) // (4 * N)
  a_MN = jnp.full((rows, N), 1 / N, jnp.float32)
  count = max(4, 2**27 // a_MN.nbytes)

  @jax.jit
  def run(a_MN, v_N):
    # Each product needs the one before: none is moved out of the loop.
    def body(_, v_N):
      return (a_MN @ v_N)[:N]

    return jax.lax.fori_loop(0, count, body, v_N)

  v_N = jnp.ones(N, jnp.float32)
  return count * a_MN.nbytes / _best(run, (a_MN, v_N))


@functools.cache
def measured_matmul():
  """Operations/s of the product of two square matrices; measured once."""
  return matmul_rate(1024)


def matmul_rate(size):
  """Operations/s of the product of two square matrices, in float32."""
  a = jnp.ones((size, size), jnp.float32)
  return 2 * size**3 / _best(jax.jit(jnp.matmul), (a, a))


# --- what was reached ---


def sampling(
  subject,
  batch,
  length,
  repeats=5,
  beside=None,
  *,
  prompt=0,
  naive=True,
  peer=None,
):
  """Times of sampling, medians of runs that take turns.

  The naive way is one forward of `window` steps for each value.

  Args:
    subject: Subject.
    batch: rows.
    length: steps; see check_length.
    repeats: of each.
    beside: {name: sampler} that are measured too, of `samplers`.
    prompt: how many of the steps are given and not drawn.
    naive: whether to measure the naive way.
    peer: peer.Peer that draws as many tokens after the same prompt, or None.
  Returns:
    dict(batch, length, prompt, window, compile_s, first_ms, token_us, step_us,
    sampler_step_us, samples_per_s, naive_samples_per_s, passes, kept,
    beside, peer):
    samples are values of all rows together, those of the prompt not among
    them; first_ms until the first is drawn, the prompt read; token_us for
    each one after it; step_us of the model's step alone, the values given;
    naive_samples_per_s None where it is not measured; passes of the network
    for a batch, None where they are its steps; kept: share of the drafted
    values, None without a draft; beside = {name: dict(samples_per_s, passes,
    kept)}; peer = dict(name, samples_per_s, first_ms,
    token_us, logits_apart) or None, logits_apart the largest difference of
    two logits over the largest logit.
  """
  spec, net = subject.spec, subject.net
  order_BL = _order(subject, batch)
  shown, drawn = window(subject, length), length - prompt
  x_BLC = _values(spec, (batch, length, spec.channels))
  known_BL = np.broadcast_to(np.arange(length) < prompt, (batch, length))
  if order_BL is not None:  # the first in the order, as the sampler knows them
    known_BL = np.asarray(orders.unpermute(known_BL, order_BL))
  given = np.asarray(x_BLC), known_BL
  key = jax.random.key(0)

  @jax.jit
  def steps(params, x_BLC):
    cache = net.model.init_cache(params, batch, length, order_BL)

    def body(cache, inputs):
      theta_BP, cache = net.model.step(params, cache, *inputs)
      return cache, theta_BP.sum(-1)

    xs = x_BLC.swapaxes(0, 1), jnp.arange(length)
    xs = jax.tree.map(lambda a: a[prompt:], xs)
    return jax.lax.scan(body, cache, xs)[1]

  def sample(name=None):
    sampler = others[name] if name else net.sampler
    return sampler(subject.params, key, order_BL, given)

  def first():
    one = jax.tree.map(lambda a: a[:, : prompt + 1], given)
    return net.sampler(subject.params, key, None, one)

  others = beside or {}
  runs = dict(
    sample=(sample, ()),
    steps=(steps, (subject.params, x_BLC)),
    **{f"sample by {name}": (sample, (name,)) for name in others},
  )
  if naive:
    shown_BLC = _values(spec, (batch, shown, spec.channels))
    forward = jax.jit(net.model.apply)
    runs["naive"] = forward, (subject.params, shown_BLC, order_BL)
  if prompt and order_BL is None:
    runs["first"] = first, ()
  if peer:
    prompt_BK = given[0][:, :prompt, 0]
    runs["peer"] = peer.generate, (prompt_BK, drawn)
    runs["peer's first"] = peer.generate, (prompt_BK, 1)
  seconds = {name: [] for name in runs}
  for _ in range(1 + repeats):  # the first of each compiles
    for name, (run, args) in runs.items():
      seconds[name].append(_time(run, args))
  median = {name: statistics.median(s[1:]) for name, s in seconds.items()}
  # Without a prompt the first is drawn as all others are.
  until = median.get("first", median["sample"] / drawn)
  return dict(
    batch=batch,
    length=length,
    prompt=prompt,
    window=shown,
    compile_s=seconds["sample"][0] - median["sample"],
    **_split(median["sample"], until, drawn),
    step_us=1e6 * median["steps"] / drawn,
    sampler_step_us=1e6 * median["sample"] / drawn,
    samples_per_s=batch * drawn / median["sample"],
    naive_samples_per_s=batch / median["naive"] if naive else None,
    **_counted(net.sampler, subject.params, key, order_BL, given),
    beside={
      name: dict(
        samples_per_s=batch * drawn / median[f"sample by {name}"],
        **_counted(sampler, subject.params, key, order_BL, given),
      )
      for name, sampler in others.items()
    },
    peer=peer
    and dict(
      name=peer.name,
      samples_per_s=batch * drawn / median["peer"],
      **_split(median["peer"], median["peer's first"], drawn),
      logits_apart=_apart(subject, peer, x_BLC[:, : min(length, 32)]),
    ),
  )


def _split(total, first, drawn):
  """Time to the first value, and that of each after it."""
  after = max(total - first, 0) / (drawn - 1) if drawn > 1 else total
  return dict(first_ms=1e3 * first, token_us=1e6 * after)


def _apart(subject, peer, x_BLC):
  """The largest difference of logits, over the largest logit."""
  ours = np.asarray(jax.jit(subject.net.model.apply)(subject.params, x_BLC))
  theirs = peer.logits(np.asarray(x_BLC)[..., 0])[..., : ours.shape[-1]]
  return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def naive_seconds(subject, batch, length):
  """How long a naive forward takes at the least, at the rate of products."""
  shape = batch, window(subject, length), subject.spec.channels
  x_BLC = _values(subject.spec, shape)
  args = subject.params, x_BLC, _order(subject, batch)
  return operations.flops(subject.net.model.apply, *args) / measured_matmul()


def capacities(subject, batch, length, sizes, repeats=5):
  """Microseconds of a step by the room of its cache: {capacity: float}.

  Of the first `length` steps, the values given; runs take turns.
  """
  model, params = subject.net.model, subject.params
  x_BLC = _values(subject.spec, (batch, length, subject.spec.channels))
  order_BL = _order(subject, batch)

  @functools.partial(jax.jit, donate_argnums=1)
  def steps(params, cache):
    def body(cache, inputs):
      theta_BP, cache = model.step(params, cache, *inputs)
      return cache, theta_BP.sum(-1)

    return jax.lax.scan(body, cache, (x_BLC.swapaxes(0, 1), jnp.arange(length)))

  caches, seconds = {}, {size: [] for size in sizes}
  for size in sizes:
    check_length(subject, batch, size)
    cache = model.init_cache(params, batch, size, order_BL)
    caches[size] = jax.tree.map(jnp.copy, cache)  # to be given away, each once

  def run(size):
    caches[size], result = steps(params, caches[size])
    return result

  for _ in range(1 + repeats):
    for size in sizes:
      seconds[size].append(_time(run, (size,)))
  return {
    size: 1e6 * statistics.median(s[1:]) / length for size, s in seconds.items()
  }


def samplers(subject, names):
  """{name: sampler} of the network, by names of plugins."""
  model, head = subject.net.model, subject.net.head
  return {n: assemble.sampler(dict(name=n), model, head) for n in names}


def _counted(sampler, *args):
  """dict(passes: of the row that takes most, kept: share of a draft)."""
  if not hasattr(sampler, "counted"):
    return dict(passes=None, kept=None)
  counts = sampler.counted(*args)[1]
  drafted = int(np.sum(counts.get("drafted", 0)))
  kept = int(np.sum(counts["kept"])) / drafted if drafted else None
  return dict(passes=int(np.max(counts["passes"])), kept=kept)


def window(subject, length):
  """How many values a naive forward is given.

  Those that a step can see where the model declares that and the order is the
  identity; else all. A grid is always whole.
  """
  if len(subject.spec.shape) > 1:
    return subject.spec.length
  if subject.net.model.sees is None or _order(subject, 1) is not None:
    return length
  last_L = decode.sees(subject.net.model, subject.spec.length)[length - 1]
  return length - 1 - int(last_L.argmax()) if last_L.any() else 1


def _order(subject, batch):
  return subject.net.ordering.draw(jax.random.split(jax.random.key(0), batch))


def _values(spec, shape):
  if spec.num_values is None:
    return jnp.zeros(shape, jnp.float32)
  return jax.random.randint(jax.random.key(1), shape, 0, spec.num_values)


def _best(run, args, repeats=5):
  """Seconds of the quickest call; a first one, which compiles, is left out."""
  return min([_time(run, args) for _ in range(1 + repeats)][1:])


def _time(run, args):
  start = time.perf_counter()
  jax.block_until_ready(run(*args))
  return time.perf_counter() - start
