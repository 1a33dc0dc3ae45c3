"""What happens between the updates of a run: figures, scores, states, stops."""

import contextlib
import time

import jax

from ar_jax import errors, parallel, record, scoring
from ar_jax import run as runs

_GO_ON, _SAVE, _STOP = 0, 1, 2


class Keeper:
  """The callbacks of train.fit for a run in a directory.

  Args:
    opened: Run at the state that training starts from.
    dataset: Dataset.
    log: writer.Writer.
    checkpoints: states.Checkpoints.
    watch: preemption.Watch.
    view: launch.View.
    attendance: record.Attendance.
    progress: JSON data that the state was kept with, or None.
  """

  def __init__(
    self,
    opened,
    dataset,
    *,
    log,
    checkpoints,
    watch,
    view,
    attendance,
    progress,
  ):
    self._opened, self._dataset = opened, dataset
    self._log, self._checkpoints = log, checkpoints
    self._watch, self._view = watch, view
    self._attendance = attendance
    self._train = opened.config.train
    self._progress = progress or {}
    self._meter = record.Meter(log.append, self._train.log_every, progress)
    self._saved_at = time.monotonic()
    self._stopping = False

  def begin(self):
    """Scores the state that training starts from, where a stop prevented it."""
    if self._progress.get("unscored"):
      step = self._opened.step
      nats = self._score(step, self._opened.params)
      self._checkpoints.rescore(step, self._meter.progress(), nats)

  def on_step(self, step, metrics):
    """Of train.fit."""
    self._meter.add(step, metrics)
    self._attendance.reached(step, self._meter.seconds)
    self._view.stepped(step, metrics)
    self._checkpoints.poll()

  def due(self, step):
    """Of train.fit: whether this state is kept, whatever its number.

    The processes of a run agree, so that all stop after the same step.
    """
    del step
    minutes = self._train.save_minutes
    passed = time.monotonic() - self._saved_at
    late = minutes is not None and passed > 60 * minutes
    own = _STOP if self._watch.asked else _SAVE if late else _GO_ON
    wish = parallel.largest(own)
    self._stopping = wish == _STOP
    return wish != _GO_ON

  def on_state(self, step, state):
    """Of train.fit.

    Raises:
      Preempted: the run was asked to stop, and the state is safe.
    """
    nats = None
    wanted = step % self._train.eval_every == 0 or step == self._train.steps
    if wanted and not self._stopping:
      with contextlib.suppress(errors.Preempted):
        nats = self._score(step, runs.params_of(state)[0])
    progress = self._meter.progress() | dict(unscored=wanted and nats is None)
    self._checkpoints.save(state, progress, nats)
    self._saved_at = time.monotonic()
    if parallel.largest(self._stopping or self._watch.asked is not None):
      self._checkpoints.wait()
      raise errors.Preempted(
        f"{self._watch.asked or 'another process was asked to stop'}: the state"
        f" of step {step} is saved; `ar_jax train"
        f" --workdir={self._opened.workdir}` goes on"
      )
    self.resume()

  def resume(self):
    """Says that training begins or goes on: what was before is not timed."""
    self._meter.restart()

  def _score(self, step, params):
    """Nats a site of the whole validation split, which are written down.

    Preempted where a signal comes meanwhile; processes that score together
    go on to the end.
    """
    together = jax.process_count() > 1
    watch = self._watch
    with contextlib.nullcontext() if together else watch.interruptible():
      _, report = scoring.score_split(self._opened, params, self._dataset)
    self._log.append(step, dict(kind="valid", **report))
    self._view.scored(step, report)
    return report["nats_per_site"]
