"""`ar_jax sample` of text: its flags, and what it prints."""

import re

import contract
import pytest
from test_drawing import _run

from ar_jax import __main__ as program
from ar_jax import run as runs


@pytest.fixture(autouse=True)
def _loaded(monkeypatch):
  """Every command opens the run in memory."""
  monkeypatch.setattr(runs, "load", lambda *_: _run())
  with contract.precision("float64"):
    yield


def _say(capsys, *flags):
  assert program.main(["sample", "--workdir=runs/a", *flags]) == 0
  return capsys.readouterr().out


def _sampled(capsys, *flags):
  """(header, text) of one sample, either of which may come first."""
  lines = _say(capsys, "--prompt=b ab", *flags).splitlines()
  (at,) = [i for i, line in enumerate(lines) if line.startswith("sample 0")]
  header = lines.pop(at)
  return header, "\n".join(lines)


def test_a_stream_prints_what_a_sample_prints(capsys):
  flags = ["--length=28", "--stop=cc", "--force=9:bc"]
  header, words = _sampled(capsys, *flags)
  assert _sampled(capsys, "--stream", *flags) == (header, words)
  assert words.startswith("b ab")
  assert "cc" not in words
  assert int(re.search(r"sample 0: (\d+) tokens", header)[1]) < 26


def test_bans_and_forced_tokens_are_kept(capsys):
  flags = ["--ban=c", "--ban= ", "--force=3:c c", "--length=28"]
  header, words = _sampled(capsys, *flags)
  assert words[7:10] == "c c"
  assert set(words[4:7] + words[10:]) <= {"a", "b"}
  assert "sample 0: 25 tokens" in header


def test_beams_are_printed_best_first(capsys):
  flags = ["--beams=3", "--length=6"]
  out = _say(capsys, *flags, "--prompt=ab")
  logs = [float(x) for x in re.findall(r"6 tokens, log p (\S+) nats", out)]
  assert len(logs) == 3
  assert logs[0] >= logs[1] >= logs[2]
  assert out.count("\nab") == 3
  assert "with penalties" not in out
  assert "with penalties" in _say(capsys, *flags, "--ban=a")


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--ban=ab"], "'ab' cannot be banned: it is 2 tokens"),
    (["--stop="], "one character or more"),
    (["--force=3"], "--force=3: takes STEP:TEXT"),
    (["--force=1:a", "--force=1:b"], "step 1 is forced twice"),
    (["--force=200:a"], "steps after the prompt are 0..199"),
    (["--repetition_penalty=0"], "repetition takes"),
    (["--stream", "--num=2"], "--stream shows one text"),
    (["--stream", "--prompt=a", "--prompt=b"], "--stream shows one text"),
    (["--stream", "--passes=3"], "--stream shows one text"),
    (["--passes=3", "--ban=a"], "--passes draws sites side by side"),
    (["--passes=3", "--presence_penalty=1"], "it takes no --ban and no pen"),
    (["--beams=2", "--top_p=1"], "it takes no --top_p"),
    (["--beams=2", "--num=2"], "it takes no --num"),
    (["--beams=2", "--length=13"], "the window of 12 tokens"),
    (["--length_penalty=1"], "is of --beams"),
    (["--given=valid", "--stop=a"], "--given completes items"),
  ],
)
def test_a_mistake_is_one_line(flags, message, capsys):
  assert program.main(["sample", "--workdir=runs/a", *flags]) == 2
  err = capsys.readouterr().err
  assert message in err
  assert err.count("\n") == 1
