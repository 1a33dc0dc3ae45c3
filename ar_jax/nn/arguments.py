"""What models refuse, in the same words."""


def choose(name, value, known):
  """The value of an argument, where it is one of those known."""
  if value not in known:
    names = ", ".join(map(str, known))
    raise ValueError(f"{name} {value!r} is none of {names}")
  return value
