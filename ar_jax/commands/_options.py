"""What follows --set: options of a plugin, as KEY=VALUE."""

import json

from ar_jax import errors


def help_of(what, *examples):
  """The help of --set."""
  return f"an option of {what}, as {' or '.join(examples)}; repeatable"


def read(texts):
  """{key: value} of "key=value"; a value is JSON, else the text itself."""
  options = {}
  for text in texts:
    key, equals, value = text.partition("=")
    if not equals:
      raise errors.UsageError(f"--set {text}: takes KEY=VALUE")
    try:
      options[key] = json.loads(value)
    except ValueError:
      options[key] = value
  return options
