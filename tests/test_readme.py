"""Every command that a document shows is one that the program takes."""

import pathlib
import re
import shlex

import pytest

from ar_jax import __main__ as program
from ar_jax import config as configs
from ar_jax import registry

ROOT = pathlib.Path(__file__).parent.parent
FILES = [
  ROOT / "README.md",
  *sorted((ROOT / "configs").glob("*.py")),
  *sorted((ROOT / "examples").glob("*.py")),
  *sorted((ROOT / "ar_jax" / "commands").glob("[a-z]*.py")),
]


def _commands(file):
  """argv of every line that begins with the program, or names it in `...`."""
  text = file.read_text().replace("\\\\\n", "\\\n").replace("\\\n", " ")
  lines = re.findall(r"^ {2,}(ar_jax .*)$", text, re.MULTILINE)
  if file.suffix == ".md":
    lines += re.findall(r"`(ar_jax [^`]* [^`]*)`", text)
  for line in lines:
    yield shlex.split(line, comments=True)[1:]


COMMANDS = [
  (file.name, argv)
  for file in FILES
  for argv in _commands(file)
  if "..." not in " ".join(argv) and "DIR" not in argv
]


def test_there_are_commands_to_check():
  assert len({name for name, _ in COMMANDS}) > 10
  assert sum(name == "README.md" for name, _ in COMMANDS) > 15


@pytest.mark.parametrize(
  ("name", "argv"), COMMANDS, ids=[" ".join(a)[:60] for _, a in COMMANDS]
)
def test_command_of_a_document_is_taken(name, argv, monkeypatch):
  monkeypatch.chdir(ROOT)
  command = registry.load("commands", argv[0].replace("-", "_"))
  seen = []
  monkeypatch.setattr(command, "run", seen.append)
  assert program.main(argv) == 0
  args = seen[0]
  if getattr(args, "config", None):
    configs.load(args.config, args.overrides)
  if argv[0] == "sweep" and args.folder is None:
    file, _, arg = args.study.partition(":")
    study = configs.load_module(ROOT / file)
    assert study.sweep(arg) if arg else study.sweep()
