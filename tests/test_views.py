"""What a run draws from: other samplers, drafts, views on top of views."""

import dataclasses

import numpy as np
import pytest
from test_drawing import KEY, _quick, _run  # noqa: F401

from ar_jax import errors, views


@pytest.mark.slow
def test_another_sampler_draws_the_same():
  run = _run()
  other, counts = views.counting(views.drawn_by(run, "jacobi", window=4))
  one, two = (r.sample(KEY, 3, prompt="ab", length=8) for r in (run, other))
  np.testing.assert_array_equal(one.x_BTC, two.x_BTC)
  assert len(counts) == 1 and 0 < counts[0]["passes"] <= 10
  assert other.config.sample.name == "jacobi"


def test_filters_stay():
  run = views.drawn_by(_run(temperature=0.0), "speculative", steps=2)
  greedy = _run(temperature=0.0)
  one, two = (r.sample(KEY, 2, prompt="ab", length=8) for r in (run, greedy))
  np.testing.assert_array_equal(one.x_BTC, two.x_BTC)


def test_a_run_keeps_all_that_it_drafts_itself():
  run = _run()
  drafted, counts = views.counting(views.drafted(run, run, steps=3))
  drafted.sample(KEY, 4, prompt="ab", length=10)
  (window,) = counts
  assert (window["kept"] == window["drafted"]).all()
  assert (window["drafted"] > 0).all()
  assert (window["passes"] == 3).all()  # of 12 steps, 3 drafted and one more


def test_what_counts_nothing_is_left_alone():
  run = _run()
  again, counts = views.counting(run)
  assert again is run and counts == []


def test_a_view_under_another_sampler_is_scored_as_it_is_drawn():
  run = views.adjusted(_run(temperature=0.7), frequency=0.5, banned=["b"])
  run = views.drawn_by(run, "speculative")
  drawn = run.sample(KEY, 2, length=10)
  assert not any("b" in words for words in drawn.texts)
  scored = views.scored_as_drawn(run)
  for words, log_T in zip(drawn.texts, drawn.log_prob_sampler_BT, strict=True):
    np.testing.assert_allclose(
      scored.per_site(words), log_T[: len(words)], atol=1e-4
    )
  assert not np.allclose(drawn.log_prob_sampler_BT, drawn.log_prob_model_BT)


@pytest.mark.parametrize(
  ("draft", "message"),
  [
    (lambda: _run("items"), "cannot draft: it knows 4 .* another vocabulary"),
    (lambda: _run(order="reverse"), "its order is reverse, that of the run"),
  ],
)
def test_a_draft_of_something_else_is_refused(draft, message):
  with pytest.raises(errors.Error, match=message):
    views.drafted(_run(), draft())


def test_a_draft_whose_values_cannot_be_listed_is_refused():
  run = _run()
  head = run.net.head._replace(log_probs=None)
  draft = dataclasses.replace(run, net=run.net._replace(head=head))
  with pytest.raises(errors.UsageError, match="cannot be listed"):
    views.drafted(run, draft)
