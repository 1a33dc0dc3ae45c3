"""The program `ar_jax`: finds the command, runs it, and turns errors the
user can mend into one line and an exit code."""

import argparse
import ctypes
import os
import pathlib
import sys

import ar_jax
from ar_jax import errors, registry

_EXITS = (
  "exit codes: 0 done, 2 usage or config, 3 data or checkpoint,\n"
  "  4 numerical abort, 5 storage, 75 preempted: start it again to go on"
)


def main(argv=None):
  """Runs one command line; returns the exit code."""
  argv = sys.argv[1:] if argv is None else argv
  debug = "--debug" in argv
  try:
    return _dispatch([a for a in argv if a != "--debug"], debug)
  except errors.Error as e:
    if debug:
      raise
    print(f"ar_jax: {e.word}: {e}", file=sys.stderr)
    return e.exit_code
  except KeyboardInterrupt:
    print("ar_jax: stopped", file=sys.stderr)
    return 130
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _dispatch(argv, debug):
  names = registry.names("commands")
  if not argv or argv[0] in ("-h", "--help"):
    print(_help(names))
    return 0
  if argv[0] == "--version":
    print(ar_jax.__version__)
    return 0
  name = argv[0].replace("-", "_")
  if name not in names:
    raise errors.UsageError(
      f"no command {argv[0]!r}{registry.nearest(name, names)};"
      f" there are: {', '.join(names)}"
    )
  command = registry.load("commands", name)
  parser = _Parser(
    prog=f"ar_jax {argv[0]}",
    description=command.__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  command.add_arguments(parser)
  args, rest = parser.parse_known_args(argv[1:])
  args.overrides = overrides(rest, parser)
  args.debug = debug
  if args.overrides and not getattr(command, "OVERRIDES", False):
    raise errors.UsageError(_refusal(args.overrides[0][0], parser))
  _cache_compilations()
  _keep_memory()
  command.run(args)
  return 0


def overrides(rest, parser):
  """("optimizer.lr", "3e-4") of each --config.optimizer.lr=3e-4."""
  known = _flags(parser)
  found = []
  rest = list(rest)
  while rest:
    word = rest.pop(0)
    flag, equals, value = word.partition("=")
    if not flag.startswith("--config."):
      raise errors.UsageError(
        f"{parser.prog}: unknown argument {word!r}"
        f"{registry.nearest(flag, known)}"
      )
    if not equals:
      if not rest:
        raise errors.UsageError(f"{flag} needs a value, as {flag}=VALUE")
      value = rest.pop(0)
    found.append((flag.removeprefix("--config."), value))
  return found


def _refusal(key, parser):
  """Why a command that reads no config does not take --config.`key`."""
  known = [f for f in _flags(parser) if f not in ("-h", "--help")]
  near = registry.nearest(f"--{key.split('.')[-1]}", known)
  instead = f"; its flags: {', '.join(known)}" if known else ""
  return f"`{parser.prog}` reads no config: no --config.{key}{instead}{near}"


def _flags(parser):
  return [o for a in parser._actions for o in a.option_strings]


def _cache_compilations():
  """XLA's persistent cache, in a folder only this user can write.

  What lies in it is run: a folder that others can write is not used.
  """
  named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
  home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  folder = pathlib.Path(named or pathlib.Path(home) / "ar_jax" / "xla")
  if named and (not folder.is_dir() or _is_private(folder)):
    return  # JAX makes it, or it is no folder of this machine
  if not named:
    try:
      folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
      folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
      return
  if not _is_private(folder):
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    print(
      f"ar_jax: warning: {folder} belongs to another user or can be written by"
      " others, so no compiled program is taken from it; `chmod 700` it",
      file=sys.stderr,
    )
    return
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


def _is_private(folder):
  """Whether this user, and nobody else, can write a folder."""
  if not hasattr(os, "geteuid"):  # no such modes
    return True
  found = folder.stat()
  return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _keep_memory():
  """Lets the C library keep what XLA gives back after each step.

  XLA on CPU allocates its buffers anew at every call, and glibc returns large
  ones to the system: the page faults of getting them again took 30 % of a
  small GPT's train step. One arena, because those of other threads hold no
  more than 64 MB. Elsewhere than on glibc nothing happens.
  """
  if sys.platform != "linux":
    return
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
  if mallopt is not None:  # musl has none
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # malloc.h
    mallopt(arena_max, 1)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(mmap_threshold, 2**30)


def _help(names):
  lines = ["usage: ar_jax COMMAND ...", "", ar_jax.__doc__, "", "commands:"]
  for name in names:
    summary = registry.load("commands", name).__doc__.split("\n")[0]
    lines.append(f"  {name.replace('_', '-'):<13}{summary}")
  lines += [
    "",
    "  ar_jax COMMAND --help tells more, with an example.",
    "  ar_jax COMMAND --debug shows the traceback of an error; of train it",
    "  also checks every number where it is made, and that keys serve once.",
    "",
    _EXITS,
  ]
  return "\n".join(lines)


class _Parser(argparse.ArgumentParser):
  """argparse whose errors are ours: one line, exit code 2."""

  def error(self, message):
    raise errors.UsageError(f"{self.prog}: {message}; see {self.prog} --help")


if __name__ == "__main__":
  sys.exit(main())
