"""Cells from lists of settings."""

import pytest

from ar_jax import errors, hyper

A = hyper.sweep("a", (1, 2))
B = hyper.sweep("b", ("x", "y", "z"))


def test_product_runs_the_last_fastest():
  cells = hyper.product([hyper.fixed("c", 0), A, B])
  assert len(cells) == 6
  assert cells[:2] == [dict(c=0, a=1, b="x"), dict(c=0, a=1, b="y")]
  assert cells[-1] == dict(c=0, a=2, b="z")
  assert hyper.product([]) == [{}]


def test_zipit_joins_and_chainit_follows():
  assert hyper.zipit([A, hyper.sweep("d", (3, 4))]) == [
    dict(a=1, d=3),
    dict(a=2, d=4),
  ]
  assert hyper.chainit([A, B]) == [*A, *B]
  assert hyper.fixed("c", 0, 2) == [dict(c=0), dict(c=0)]


def test_what_cannot_be_joined_is_refused():
  with pytest.raises(errors.UsageError, match=r"one length, got \[2, 3\]"):
    hyper.zipit([A, B])
  with pytest.raises(errors.UsageError, match="two sweeps set 'a'"):
    hyper.product([A, A])
