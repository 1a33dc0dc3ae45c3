"""Workers of a sweep on this machine: started, watched, started again."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

from ar_jax import claims as claiming
from ar_jax import errors, preemption

_POLL_SECONDS = 0.5


def run(folder, cells, parallel, look=lambda: None):
  """Runs cells in `parallel` processes until each is done or has failed.

  A process that is killed is started again, and its cell goes on where its
  last checkpoint stands. Cores and GPUs are shared out, so that the bits of a
  run depend on `parallel` but on nothing else.

  Args:
    folder: of the sweep.
    cells: ids.
    parallel: processes at a time.
    look: called twice a second.
  Raises:
    Preempted: it was asked to stop; the processes have saved.
    Error: a worker cannot run at all.
  """
  folder, claims = pathlib.Path(folder), claiming.Claims(folder)
  workers, asked = {}, False
  # What each cell may cost, and a few that are killed before they have one.
  left = parallel + len(cells) * (1 + claiming.RETRIES) + 10
  with preemption.Watch() as watch, _ending(workers):
    while True:
      names = [claims.state(cell).name for cell in cells]
      todo = sum(name in ("waiting", "stopped") for name in names)
      stop = watch.asked or claims.cancelled()
      if watch.asked and not asked:
        asked = True
        for worker in workers.values():
          worker.terminate()  # nothing, to one that is over
      for slot in range(parallel):
        if slot in workers and not _ended(folder, slot, workers[slot]):
          continue
        workers.pop(slot, None)
        if todo > 0 and not stop:
          if not left:
            raise errors.StorageError(
              f"workers are killed again and again; see {_log(folder, slot)}"
            )
          left, todo = left - 1, todo - 1
          workers[slot] = _start(folder, slot, parallel)
      look()
      if not workers and (stop or not todo and "running" not in names):
        break
      time.sleep(_POLL_SECONDS)
    if watch.asked:
      raise errors.Preempted(
        f"{watch.asked}: the runs are saved; the same command goes on"
      )


@contextlib.contextmanager
def _ending(workers):
  """Lets no process outlive an error."""
  try:
    yield
  finally:
    for worker in workers.values():
      worker.terminate()
    for worker in workers.values():
      worker.wait()


def command(folder, *more):
  """The command line of a worker of this interpreter."""
  name = [sys.executable, "-m", "ar_jax", "sweep", "work", str(folder)]
  return [*name, *more]


def share(items, slot, parallel):
  """Those of the items that one of several workers has: at least one.

  Each has as many, for the bits of a run depend on it.
  """
  size = max(1, len(items) // parallel)
  first = slot * size % len(items)
  return items[first : first + size]


def _start(folder, slot, parallel):
  """A worker in a session of its own, whose Ctrl-C is ours to hand on."""
  log = _log(folder, slot)
  log.parent.mkdir(exist_ok=True)
  env = dict(os.environ, COLUMNS="120")
  if gpus := _gpus():
    env["CUDA_VISIBLE_DEVICES"] = ",".join(share(gpus, slot, parallel))
  argv = command(folder)
  if hasattr(os, "sched_getaffinity"):
    cores = share(sorted(os.sched_getaffinity(0)), slot, parallel)
    argv += [f"--cores={','.join(map(str, cores))}"]
  with log.open("ab") as out:
    return subprocess.Popen(
      argv, env=env, stdout=out, stderr=out, start_new_session=True
    )


def _gpus():
  """Names of NVIDIA's GPUs that this process may use."""
  named = os.environ.get("CUDA_VISIBLE_DEVICES")
  if named is not None:
    return list(filter(None, named.split(",")))
  found = pathlib.Path("/dev").glob("nvidia[0-9]*")
  return [str(n) for n, _ in enumerate(found)]  # as CUDA counts them


def _ended(folder, slot, worker):
  """Whether a worker is over; raises where it could not run at all."""
  code = worker.poll()
  if code is None:
    return False
  if code <= 0 or code == errors.Preempted.exit_code:
    return True
  log = _log(folder, slot)
  last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
  error = errors.Error(
    f"a worker ended with exit code {code}: {''.join(last)}; see {log}"
  )
  error.exit_code = code
  raise error


def _log(folder, slot):
  return folder / "logs" / f"worker-{slot}.log"
