"""Errors a user can mend: one line each, and the exit code of the command."""


class Error(Exception):
  """Base of the errors that end a command with one line and no traceback."""

  exit_code = 1
  word = "error"


class UsageError(Error):
  """A wrong command line, config or name."""

  exit_code = 2


class DataError(Error):
  """Data or a checkpoint that cannot be used."""

  exit_code = 3


class NumericalError(Error):
  """A loss that is no number any more."""

  exit_code = 4


class StorageError(Error):
  """A directory that cannot be written."""

  exit_code = 5


class Preempted(Error):
  """A run that was asked to stop; it can go on (EX_TEMPFAIL)."""

  exit_code = 75
  word = "stopped"
