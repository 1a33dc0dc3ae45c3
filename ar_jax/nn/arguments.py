"""What models refuse, in the same words."""


def choose(name, value, known):
  """The value of an argument, where it is one of those known."""
  if value not in known:
    names = ", ".join(map(str, known))
    raise ValueError(f"{name} {value!r} is none of {names}")
  return value


def at_least(model, least, **sizes):
  """Raises ValueError for a size below `least`, or that is no integer."""
  for name, size in sizes.items():
    if isinstance(size, bool) or not isinstance(size, int) or size < least:
      raise ValueError(f"{model}: {name} {size!r} is no integer >= {least}")
