"""What happens between the updates of a run: figures, scores, states, stops."""

import time

from ar_jax import errors, record, scoring
from ar_jax import run as runs

# What on_step and `due` say.
GO_ON, SAVE, STOP = 0, 1, 2


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

  def begin(self):
    """Scores the state that training starts from, where a stop prevented it."""
    if self._progress.get("unscored"):
      step = self._opened.step
      with self._watch.interruptible():
        nats = self._score(step, self._opened.params)
      self._checkpoints.rescore(step, self._meter.progress(), nats)

  def on_step(self, step, metrics):
    """Of train.fit."""
    self._meter.add(step, metrics)
    self._attendance.reached(step, self._meter.seconds)
    self._view.stepped(step, metrics)
    self._checkpoints.poll()

  def due(self, step):
    """Of train.fit: whether this state is kept, whatever its number."""
    del step
    if self._watch.asked:
      return STOP
    minutes = self._train.save_minutes
    passed = time.monotonic() - self._saved_at
    return SAVE if minutes is not None and passed > 60 * minutes else GO_ON

  def on_state(self, step, state):
    """Of train.fit.

    Raises:
      Preempted: the run was asked to stop, and the state is safe.
    """
    nats = None
    wanted = step % self._train.eval_every == 0 or step == self._train.steps
    if wanted and not self._watch.asked:
      try:
        with self._watch.interruptible():
          nats = self._score(step, runs.params_of(state)[0])
      except errors.Preempted:
        nats = None
    progress = self._meter.progress() | dict(unscored=wanted and nats is None)
    self._checkpoints.save(state, progress, nats)
    self._saved_at = time.monotonic()
    if self._watch.asked:
      self._checkpoints.wait()
      raise errors.Preempted(
        f"{self._watch.asked}: the state of step {step} is saved; `ar_jax train"
        f" --workdir={self._opened.workdir}` goes on"
      )
    self._meter.restart()

  def _score(self, step, params):
    """Nats a site of the whole validation split, which are written down."""
    _, report = scoring.score_split(self._opened, params, self._dataset)
    self._log.append(step, dict(kind="valid", **report))
    self._view.scored(step, report)
    return report["nats_per_site"]
