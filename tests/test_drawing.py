"""What is drawn of a run: streams, stop strings, forced tokens, views."""

import dataclasses
import functools

import contract
import jax
import numpy as np
import pytest

from ar_jax import assemble, drawing, errors, text, views
from ar_jax import config as configs
from ar_jax import run as runs
from ar_jax.types import DataSpec

WINDOW, STRIDE = 12, 4
KEY = jax.random.key(5)
# Alike in all tests, to compile once: 4 rows up to the end of a stride.
PROMPT = "b ab"
ASK = dict(prompt=PROMPT, length=28)


@pytest.fixture(autouse=True)
def _quick():
  """Compiled in less time; parameters, and so what is computed, are float32."""
  with contract.precision("float64"):
    yield


CHARS = dict(text.make_media("char", "t", ["ab c"]), end=None)
ITEMS = dict(text.make_media("char", "t", ["ab.c"]), end=0, fill="unscored")
SAMPLE = dict(
  name="ancestral", temperature=1.0, top_k=None, top_p=None, min_p=None
)


@functools.cache
def _run(kind="chars", order="raster", **sample):
  """A Run in memory, of random parameters: of a stream, or of items."""
  media = dict(chars=CHARS, items=ITEMS)[kind]
  data = dict(stride=STRIDE) if kind != "items" else {}
  config = configs.restore(
    dict(
      seed=0,
      data=data,
      ordering=dict(name=order),
      head=dict(name="categorical"),
      model=dict(name="gpt", depth=1, width=8, heads=2, target=True),
      sample={**SAMPLE, **sample},
      evaluate=dict(batch_size=8),
    )
  )
  spec = DataSpec((WINDOW,), 1, text.num_values(media))
  net = assemble.network(config, spec)
  params = contract.random_params(net.model, scale=0.5, dtype=np.float32)
  return runs.Run(None, config, spec, media, net, params, params, 0)


def _same(one, two, rtol=1e-4):
  """Two Drawn, up to rounding."""
  assert one.texts == two.texts
  T = min(one.x_BTC.shape[1], two.x_BTC.shape[1])
  np.testing.assert_array_equal(one.x_BTC[:, :T], two.x_BTC[:, :T])
  for a, b in zip(one[2:], two[2:], strict=True):
    np.testing.assert_allclose(a[:, :T], b[:, :T], rtol=rtol, atol=1e-5)


def follow(module, run, **options):
  """(all that a stream tells, its last Drawn, how many pieces)."""
  told = list(module.pieces(run, KEY, **ASK, size=3, **options))
  return "".join(p.text for p in told), told[-1].drawn, len(told)


@pytest.mark.slow
def test_a_stream_tells_the_tokens_of_a_sample():
  run = _run()
  whole = run.sample(KEY, **ASK)
  told, drawn, count = follow(drawing, run)
  assert PROMPT + told == whole.texts[0]
  _same(drawn, whole)
  assert 28 / 3 < count < 28
  first = next(iter(run.stream(KEY, **ASK, size=3)))
  assert first.drawn.drawn_BT.sum() == 3


def check_stop(module):
  """Cut and counted alike, in a stream and not, early or in the end."""
  run = _run()
  # The prompt holds one of them, which does not count.
  plain = module.sample(run, KEY, 4, **ASK)
  stop = ["cac", "b a"]
  cut = module.sample(run, KEY, 4, **ASK, stop=stop)
  counts = cut.drawn_BT.sum(1)
  assert len(set(counts.tolist())) > 2
  for row, words in enumerate(plain.texts):
    ends = [words.find(s, 4) + len(s) for s in stop if s in words[4:]]
    count = min(ends, default=32) - 4
    shown = words[: 4 + count - 3] if ends else words  # stops of 3
    assert (cut.texts[row], counts[row]) == (shown, count)
    upto = slice(4 + count)
    after = slice(4 + count, None)
    np.testing.assert_array_equal(cut.x_BTC[row, upto], plain.x_BTC[row, upto])
    for one, two in zip(cut[2:4], plain[2:4], strict=True):
      np.testing.assert_allclose(one[row, upto], two[row, upto], rtol=1e-4)
      assert (one[row, after] == 0).all()
    assert (cut.x_BTC[row, after] == 0).all()
  told, drawn, _ = follow(module, run, stop=stop)
  assert PROMPT + told == cut.texts[0]
  assert drawn.drawn_BT.sum() == counts[0]
  # What was held back is told in the end.
  held = [plain.texts[0][-3:] + "☃"]
  told, _, _ = follow(module, run, stop=held)
  assert PROMPT + told == plain.texts[0]


def test_a_text_is_cut_before_a_stop_string():
  check_stop(drawing)


def test_a_stop_string_is_of_every_sampler():
  run = _run(name="jacobi", window=4)
  cut = run.sample(KEY, 4, **ASK, stop="ca")
  _same(_run().sample(KEY, 4, **ASK, stop="ca"), cut)


def _counting(run):
  """(the run, a list that grows with each chunk)."""
  calls, sampler = [], run.net.sampler

  def counted(*args):
    return sampler(*args)

  def go_on(*args):
    calls.append(1)
    return sampler.go_on(*args)

  counted.begin, counted.go_on = sampler.begin, go_on
  net = run.net._replace(sampler=counted)
  return dataclasses.replace(run, net=net), calls


def test_drawing_ends_when_every_row_has_ended(monkeypatch):
  """By the end symbol; the rows are those of a whole draw."""
  monkeypatch.setattr(drawing, "CHUNK", 2)
  run, calls = _counting(_run("items"))
  found = run.sample(KEY, 3)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(drawing, "_in_chunks", lambda run: False)
    _same(found, run.sample(KEY, 3))
  assert (found.x_BTC[:, -1] == ITEMS["end"]).all()
  longest = max(map(len, found.texts))
  assert longest < WINDOW - 2
  assert len(calls) == -(-longest // 2)


def test_what_came_out_is_a_prompt_to_go_on_from():
  """Up to the end of the window, where a text is the tokens that it was."""
  run = _run()
  whole = run.sample(KEY, 4, **ASK)
  part = run.sample(KEY, 4, PROMPT, WINDOW - 4)
  assert part.texts == [t[:WINDOW] for t in whole.texts]
  again = run.sample(KEY, prompt=part.texts, length=32 - WINDOW)
  assert again.texts == whole.texts


def test_what_is_forced_stands_and_does_not_count():
  run = _run()
  forced = {1: "cc", 20: " "}
  prompts = [PROMPT, "b ac"]
  drawn = run.sample(KEY, 2, prompt=prompts, length=28, forced=forced)
  start = 4
  for words, asked in zip(drawn.texts, drawn.drawn_BT, strict=True):
    assert words[start + 1 : start + 3] == "cc"
    assert words[start + 20] == " "
    assert asked.sum() == 25
  assert len(set(drawn.texts)) == 4
  np.testing.assert_allclose(
    drawn.log_prob_model_BT.sum(1), run.log_prob(drawn.texts), rtol=1e-4
  )


def test_a_view_is_drawn_from_and_the_model_scores():
  run = _run()
  # Views add up.
  view = views.adjusted(run, frequency=0.5, banned=[" "])
  view = views.adjusted(view, banned=["b"])
  drawn = view.sample(KEY, 4, **ASK)
  assert set("".join(words[4:] for words in drawn.texts)) == {"a", "c"}
  np.testing.assert_allclose(
    drawn.log_prob_model_BT.sum(1), run.log_prob(drawn.texts), rtol=1e-4
  )
  assert view.log_prob("ab c") == run.log_prob("ab c")
  apart = drawn.log_prob_model_BT - drawn.log_prob_sampler_BT
  assert (np.abs(apart[drawn.drawn_BT]) > 1e-5).all()


def test_beams_are_scored_as_the_model_scores_them():
  run = _run()
  found = run.beams("ab", 5, 8)
  log_W = found.log_prob_model_BT[:, 2:].sum(1)
  assert (np.diff(log_W) <= 0).all()
  assert len(set(found.texts)) == 5
  assert (found.drawn_BT.sum(1) == 8).all()
  np.testing.assert_allclose(
    found.log_prob_model_BT.sum(1), run.log_prob(found.texts), rtol=1e-5
  )


def test_beams_of_items_stand_still_after_their_end():
  run = _run("items")
  found = run.beams(width=40)
  ended = [t.endswith(".") for t in found.texts]
  assert any(ended)
  assert len(set(found.texts)) == 40
  for words, x_T, asked_T in zip(
    found.texts, found.x_BTC[..., 0], found.drawn_BT, strict=True
  ):
    assert words.find(".") in (-1, len(words) - 1)
    assert asked_T.sum() == len(words)
    assert (x_T[len(words) :] == ITEMS["end"]).all()
  np.testing.assert_allclose(
    found.log_prob_model_BT[ended].sum(1),
    run.log_prob([t for t, e in zip(found.texts, ended, strict=True) if e]),
    rtol=1e-5,
  )


@pytest.mark.parametrize(
  ("ask", "message"),
  [
    (lambda r: views.adjusted(r, banned=["ab"]), r"2 tokens, \['a', 'b'\]"),
    (lambda r: views.adjusted(r, banned=[""]), "it is 0 tokens"),
    (lambda r: views.adjusted(r, banned=[*"ab c"]), "all 4 values"),
    (lambda r: views.adjusted(r, repetition=0.0), "repetition takes"),
    (lambda r: r.sample(KEY, stop=["a", ""]), "one character or more"),
    (lambda r: r.sample(KEY, length=5, forced={4: "ab"}), "steps .* 0..4"),
    (lambda r: r.sample(KEY, forced={1: "ab", 2: "b"}), "step 2 is forced tw"),
    (lambda r: list(r.stream(KEY, size=0)), "chunks of 0 tokens"),
    (lambda r: r.beams("ab", 2, 11), "a length of 10 at the most, got 11"),
    (lambda r: r.beams("ab" * 6), "a length of 0 at the most, got 1"),
    (lambda r: r.beams(width=0), "width=0"),
  ],
)
def test_questions_without_an_answer_are_named(ask, message):
  with pytest.raises(errors.UsageError, match=message):
    ask(_run())


def test_an_item_has_room_for_what_is_forced():
  with pytest.raises(errors.UsageError, match="steps .* are 0..9"):
    _run("items").sample(KEY, prompt="ab", forced={10: "a"})


def test_other_orders_and_samplers_do_not_stream():
  for run, what in (
    (_run(order="reverse"), "the order reverse"),
    (_run(name="jacobi", window=4), "the sampler jacobi"),
  ):
    with pytest.raises(errors.UsageError, match=what):
      next(run.stream(KEY))
  with pytest.raises(errors.UsageError, match="the order reverse"):
    _run(order="reverse").beams("a")
  image = dataclasses.replace(_run(), media=dict(kind="image"))
  for ask in (
    lambda: next(image.stream(KEY)),
    lambda: image.beams(),
    lambda: image.sample(KEY, stop="a"),
    lambda: image.sample(KEY, forced={0: "a"}),
    lambda: views.adjusted(image, banned=["a"]),
  ):
    with pytest.raises(errors.UsageError, match="are no text"):
      ask()


WRONG = {
  "what a stop held back is lost": {"more=not ended)": "more=True)"},
  "counted up to the text": {"+ cut.tokens": "+ len(cut.text)"},
  "a stop in the prompt": {
    "len(plan.known[row]) : upto_B[row]": "0 : upto_B[row]"
  },
}


@pytest.mark.parametrize("breakage", WRONG)
def test_another_cut_is_seen(breakage, mutated):
  wrong = mutated("drawing", WRONG[breakage])
  with pytest.raises(AssertionError):
    check_stop(wrong)
