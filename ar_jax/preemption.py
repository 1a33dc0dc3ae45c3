"""Signals that ask a run to stop: it saves first.

SIGTERM comes from a cluster that needs the machine, SIGUSR1 or SIGUSR2 from
SLURM a while before the time is up, SIGINT from Ctrl-C. It is heeded between
two updates; the same one again, or Ctrl-C, at once.
"""

import contextlib
import os
import signal
import threading

from ar_jax import errors

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Watch:
  """Knows whether the run was asked to stop; to be entered.

  asked: the name of the signal, or None. One that is entered within another
    knows what that was asked, and tells it.
  """

  def __init__(self):
    self.asked = None
    self._before, self._outer = {}, None
    self._interruptible = False

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      for number in SIGNALS:
        self._before[number] = signal.signal(number, self._heed)
    outer = getattr(self._before.get(signal.SIGTERM), "__self__", None)
    if isinstance(outer, Watch):
      self._outer, self.asked = outer, self.asked or outer.asked
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)
    if self._outer:
      self._outer.asked = self._outer.asked or self.asked

  @contextlib.contextmanager
  def interruptible(self):
    """Lets the signal end what runs within, as errors.Preempted.

    For work that is long and that a run does again when it goes on.
    """
    if self.asked:
      raise self._preempted()
    self._interruptible = True
    try:
      yield
    finally:
      self._interruptible = False

  def _heed(self, number, _):
    name = signal.Signals(number).name
    if self.asked == name or self.asked and name == "SIGINT":
      os.write(2, f"ar_jax: stopped: {name} again: at once\n".encode())
      os._exit(errors.Preempted.exit_code)
    if self.asked:  # SLURM says the same by several
      return
    self.asked = name
    if self._interruptible:
      raise self._preempted()

  def _preempted(self):
    return errors.Preempted(
      f"{self.asked} came when there was nothing to save; the same command goes"
      " on"
    )
