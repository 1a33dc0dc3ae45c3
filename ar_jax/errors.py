"""Errors a user can mend: one line each, and the exit code of the command."""


class Error(Exception):
  """Base of the errors that end a command with one line and no traceback."""

  exit_code = 1


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
