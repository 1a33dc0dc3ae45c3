"""Processes that work for this one: results in order, and no orphans."""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import threading
from multiprocessing import connection

from ar_jax import errors

_AHEAD = 2  # tasks a process that are under way or wait to be fetched


@contextlib.contextmanager
def workers(count):
  """each(function, tasks) -> results in order, from `count` processes.

  Args:
    count: 1: this process itself.
  Raises:
    StorageError: one of them died.
  """
  if count < 1:
    raise errors.UsageError(f"--workers must be at least 1, got {count}")
  if count == 1:
    yield itertools.starmap
    return
  context = multiprocessing.get_context("spawn")
  held, lifeline = context.Pipe(duplex=False)
  pool = concurrent.futures.ProcessPoolExecutor(count, context, _start, (held,))
  try:
    yield functools.partial(_each, pool, _AHEAD * count)
    pool.shutdown()
  except concurrent.futures.process.BrokenProcessPool as e:
    raise errors.StorageError(
      "a worker process died, perhaps for want of memory; what is written"
      " stays: run the same command again, or with fewer --workers"
    ) from e
  finally:
    lifeline.close()  # after an error nobody waits for what is under way
    pool.shutdown(cancel_futures=True)
    held.close()


def _each(pool, ahead, function, tasks):
  waiting = collections.deque()
  for task in tasks:
    waiting.append(pool.submit(function, *task))
    if len(waiting) == ahead:
      yield waiting.popleft().result()
  while waiting:
    yield waiting.popleft().result()


def _start(lifeline):
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback of its own
  os.environ["TOKENIZERS_PARALLELISM"] = "false"
  threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline):
  """Ends this worker when the parent closes its end, or is killed.

  The queue of tasks would not tell: the other workers hold it open.
  """
  connection.wait([lifeline])
  os._exit(1)
