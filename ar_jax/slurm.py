"""A sweep as a job array of SLURM, by submitit: a job for each run.

A job that is preempted, requeued or out of time goes on as the same job where
the last checkpoint stands; a worker that is killed in it is started again.
"""

import os
import pathlib
import subprocess
import time

from ar_jax import checkpoint, errors, fleet

_MOST = 1000  # jobs of an array; SLURM's MaxArraySize is 1001 by default
# SLURM kills a job 30 s (KillWait) after it has asked it to stop.
_GRACE_SECONDS = 45.0
_POLL_SECONDS = 0.2


def executor(folder, parallel=None, options=()):
  """What submits the jobs of a sweep, by submitit.

  Args:
    folder: of the sweep, on a file system that the nodes share.
    parallel: jobs at a time; None: as many as SLURM lets.
    options: of "key=value", as submitit names what sbatch takes; "time" is
      needed.
  Raises:
    UsageError: submitit or SLURM is not there, or does not take an option.
  """
  submitit = _submitit()
  values = dict(_option(text) for text in options)
  if not isinstance(values.get("time"), int):
    raise errors.UsageError(
      "--on=slurm needs the minutes that a job may take: --slurm=time=120"
    )
  values["array_parallelism"] = parallel or _MOST
  values = {f"slurm_{key}": value for key, value in values.items()}
  folder = pathlib.Path(folder).absolute() / "slurm"
  try:
    made = submitit.AutoExecutor(folder, cluster="slurm")
  except RuntimeError as e:
    raise errors.UsageError(
      f"--on=slurm: {_last(e)}; start it where `sbatch` can be called, or take"
      " --on=print"
    ) from e
  try:
    made.update_parameters(name="ar_jax", **values)
  except (NameError, TypeError, ValueError) as e:
    raise errors.UsageError(f"--slurm: {str(e).splitlines()[0]}") from e
  return made


def submit(executor, folder, cells):
  """Submits a job for each cell; returns the numbers of the jobs.

  Args:
    executor: of `executor`.
    folder: of the sweep.
    cells: ids. Those whose job still waits or runs are left out.
  Raises:
    UsageError: sbatch refuses it.
  """
  folder = pathlib.Path(folder).absolute()
  before = _jobs(folder)
  queued = _queued(before.values())
  cells = [cell for cell in cells if before.get(cell) not in queued]
  jobs = {}
  for first in range(0, len(cells), _MOST):
    some = cells[first : first + _MOST]
    tasks = [Task(fleet.command(folder, f"--cell={c}")) for c in some]
    try:
      found = executor.submit_array(tasks)
    except Exception as e:  # submitit has its own for what sbatch refuses
      raise errors.UsageError(f"sbatch: {_last(e)}") from e
    jobs |= {c: job.job_id for c, job in zip(some, found, strict=True)}
    checkpoint.write_json(_file(folder), before | jobs)
  return list(jobs.values())


def cancel(folder):
  """Cancels the jobs of a sweep that wait or run."""
  jobs = _queued(_jobs(folder).values())
  if jobs:
    subprocess.run(["scancel", *sorted(jobs)], check=False)


class Task:
  """What a job runs: a worker for one cell, until the cell is over.

  Args:
    argv: the command line of the worker.
  """

  def __init__(self, argv):
    self.argv = argv
    self._child = None

  def __call__(self):
    """Returns when the cell is done.

    Raises:
      RuntimeError: it has failed, which SLURM then shows.
    """
    while True:
      self._child = subprocess.Popen(self.argv)
      while (code := self._child.poll()) is None:
        time.sleep(_POLL_SECONDS)
      if code == 0:
        return
      if code > 0 and code != errors.Preempted.exit_code:
        raise RuntimeError(f"exit {code}: {' '.join(self.argv)}")
      if code > 0:  # the signal was for the job, which is ended by SLURM
        time.sleep(_GRACE_SECONDS)

  def checkpoint(self):
    """Of submitit, on the signal before the time is up: the same again."""
    import submitit

    until = time.monotonic() + _GRACE_SECONDS
    while self._child.poll() is None and time.monotonic() < until:
      time.sleep(_POLL_SECONDS)  # it was sent to the worker too, which saves
    return submitit.helpers.DelayedSubmission(Task(self.argv))


def _submitit():
  """The module, which else would take the program's logging over."""
  name, before = "SUBMITIT_LOG_LEVEL", os.environ.get("SUBMITIT_LOG_LEVEL")
  os.environ[name] = "NOCONFIG"
  try:
    import submitit
  except ImportError as e:
    raise errors.UsageError(
      "--on=slurm needs submitit: pip install 'ar_jax[slurm]'"
    ) from e
  finally:
    del os.environ[name]
    if before is not None:
      os.environ[name] = before
  return submitit


def _option(text):
  """(key, value) of "key=value", the value a number where it is one."""
  key, equals, value = text.partition("=")
  if not equals:
    raise errors.UsageError(f"--slurm={text} is no KEY=VALUE")
  return key, int(value) if value.isdecimal() else value


def _file(folder):
  return pathlib.Path(folder) / "slurm" / "jobs.json"


def _jobs(folder):
  """{cell: job} of what was submitted last."""
  file = _file(folder)
  return checkpoint.read_json(file, "") if file.exists() else {}


def _queued(jobs):
  """Those of the jobs that wait or run."""
  jobs = set(jobs)
  if not jobs:
    return jobs
  numbers = ",".join(sorted(jobs))
  command = ["squeue", "--noheader", "--array", "--format=%i", "--me"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
  except OSError as e:
    raise errors.UsageError(
      f"cannot ask SLURM about the jobs {numbers}: {e.strerror}; start this"
      " where `squeue` can be called"
    ) from e
  if done.returncode:
    raise errors.UsageError(
      f"cannot ask SLURM about the jobs {numbers}: {done.stderr.strip()}"
    )
  return jobs & set(done.stdout.split())


def _last(error):
  return (str(error).strip() or repr(error)).splitlines()[-1]
