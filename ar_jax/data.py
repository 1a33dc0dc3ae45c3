"""The one input pipeline: which items make which batch.

The order of the data is a pure function of (seed, epoch, index), so the
position of a run is one integer, the step.
"""

import collections
import contextlib
import hashlib
from concurrent import futures

import numpy as np

from ar_jax import errors
from ar_jax.types import Batch, Split


def train_batches(split, batch_size, seed, rows=slice(None)):
  """batches[step] -> Batch, shuffled anew each epoch, without end.

  index_B numbers the examples through the whole run. rows: of each batch,
  those that are read.
  """
  import grain  # half a second: not for commands that only score or sample

  dataset = grain.MapDataset.range(split.size).seed(seed).shuffle().repeat()
  dataset = dataset.batch(batch_size, drop_remainder=True)
  dataset = dataset.map(lambda index_B: split.get(index_B[rows]))

  def batch_at(step):
    first = step * batch_size
    index_B = np.arange(first, first + batch_size)[rows] % 2**31
    return Batch(*dataset[step], index_B.astype(np.int32))

  return batch_at


@contextlib.contextmanager
def ahead(batch_at, first, stop, count=2):
  """batch_at whose batches are made, in their order, beside what takes them.

  A batch is what its step makes it: which ones are ready changes no value.

  Args:
    batch_at: (step) -> batch; runs in one thread of its own.
    first, stop: the steps that will be asked for, one after the other.
    count: batches that are ready, or made, at most.
  Returns:
    A context manager of (step) -> batch, which raises what batch_at raised
    for that step. On leaving it the thread ends and what is ready is dropped.
  """
  with futures.ThreadPoolExecutor(1) as pool:
    pending = collections.deque()
    steps = iter(range(first, stop))

    def begin_next():
      for step in steps:
        pending.append((step, pool.submit(batch_at, step)))
        return

    def take(step):
      begun, batch = pending.popleft()
      if begun != step:
        raise ValueError(f"step {step} is asked for, {begun} is the next")
      begin_next()
      return batch.result()

    for _ in range(count):
      begin_next()
    try:
      yield take
    finally:
      pool.shutdown(cancel_futures=True)


def any_batch(split, batch_size, rows=slice(None)):
  """A Batch such as those of train_batches, outside of their order."""
  index_B = np.arange(batch_size, dtype=np.int32)[rows]
  return Batch(*split.get(index_B % split.size), index_B)


AT_ONCE = 2**20  # numbers that `chunks` works on


def eval_batches(split, batch_size):
  """All items once, in order; the last batch is padded with weight 0."""
  for first in range(0, split.size, batch_size):
    index_B = np.arange(first, first + batch_size)
    real_B = index_B < split.size
    index_B = np.where(real_B, index_B, 0)
    x_BLC, weight_BL, y = split.get(index_B)
    weight_BL = weight_BL * real_B[:, None].astype(weight_BL.dtype)
    yield Batch(x_BLC, weight_BL, y, index_B.astype(np.int32))


def chunks(split, width):
  """(x_BLC, weight_BL) of all items once, in order, as many as fit memory.

  Args:
    split: Split.
    width: numbers that one item takes up where it is worked on.
  """
  size = max(1, AT_ONCE // width)
  for first in range(0, split.size, size):
    yield split.get(np.arange(first, min(first + size, split.size)))[:2]


def items(x_NLC, y_N=None, **fields):
  """A Split of N items in memory, all sites scored.

  Args:
    x_NLC: values.
    y_N: conditions by name, [N, ...].
    **fields: more fields of the Split.
  """
  weight_L = np.ones(x_NLC.shape[1], np.float32)

  def get(index_B):
    x_BLC = x_NLC[index_B]
    weight_BL = np.broadcast_to(weight_L, x_BLC.shape[:2])
    return x_BLC, weight_BL, {k: v[index_B] for k, v in (y_N or {}).items()}

  return Split(len(x_NLC), get, **fields)


def fingerprints(dataset):
  """{split: sha256 of what it holds}: the same data, however it is cut."""
  return {name: _hash(split) for name, split in dataset.splits.items()}


def _hash(split, items=4096):
  if split.fingerprint is not None:
    return split.fingerprint
  found = hashlib.sha256(split.raw or b"")  # what the tokens stand for
  if split.stream is not None:
    found.update(np.ascontiguousarray(split.stream))
    return found.hexdigest()
  for first in range(0, split.size, items):
    index_B = np.arange(first, min(first + items, split.size))
    x_BLC, weight_BL, y = split.get(index_B)
    for array in (x_BLC, weight_BL, *(y[k] for k in sorted(y))):
      found.update(np.ascontiguousarray(array))
  return found.hexdigest()


def window_starts(total, length, stride, *, inside=True):
  """First positions of the windows over `total` tokens, int64 [N].

  Windows lie `stride` apart; the last one ends with the stream, so it may
  overlap more. A stream shorter than a window is one shorter window.

  Args:
    total, length, stride: tokens of the stream, of a window, between windows.
    inside: False: the last one, too, lies where the stride puts it, and may
      reach beyond the end; then no window depends on how long the stream is.
  """
  if total <= length:
    return np.zeros(1, np.int64)
  start_N = np.arange(1 + -(-(total - length) // stride)) * stride
  return np.minimum(start_N, total - length) if inside else start_N


def windows(stream, length, stride, *, first_scored=True, **fields):
  """Evaluation items: each token of the stream is scored exactly once.

  A window weighs 1 where no earlier window ended later, 0 on the overlap.

  Args:
    stream: int[T].
    length: sites of a window.
    stride: tokens between windows, 1..length.
    first_scored: whether the very first token, which has no context, counts.
    **fields: more fields of the Split.
  """
  _check(stream, length, stride)
  start_N = window_starts(len(stream), length, stride)
  scored_N = np.concatenate([[0 if first_scored else 1], start_N[:-1] + length])

  def get(index_B):
    at_BL = start_N[index_B][:, None] + np.arange(length)
    weight_BL = (at_BL >= scored_N[index_B][:, None]).astype(np.float32)
    return stream[at_BL][..., None].astype(np.int32), weight_BL, {}

  return Split(len(start_N), get, stream=stream, **fields)


def crops(stream, length, **fields):
  """Training items: every window of the stream, all sites scored."""
  _check(stream, length, 1)

  def get(index_B):
    at_BL = np.asarray(index_B)[:, None] + np.arange(length)
    weight_BL = np.ones(at_BL.shape, np.float32)
    return stream[at_BL][..., None].astype(np.int32), weight_BL, {}

  return Split(len(stream) - length + 1, get, stream=stream, **fields)


def _check(stream, length, stride):
  if not 1 <= stride <= length:
    raise errors.UsageError(
      f"config.data.stride {stride} must be in 1..{length}, the window"
    )
  if len(stream) < length:
    raise errors.DataError(
      f"a split of {len(stream)} tokens is shorter than a window of {length};"
      " give more data, or lower config.data.length"
    )
