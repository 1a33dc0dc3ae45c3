"""Which items make which batch, and what each window scores."""

import numpy as np
import pytest

from ar_jax import data, errors

STREAM = np.arange(57)


def _scored(split):
  """How often each token of the stream is scored, by its value."""
  x_BLC, weight_BL, _ = split.get(np.arange(split.size))
  return np.bincount(
    x_BLC[..., 0].ravel(), weight_BL.ravel(), minlength=len(STREAM)
  )


@pytest.mark.parametrize(
  ("length", "stride"), [(8, 8), (8, 4), (8, 1), (50, 25), (57, 3), (9, 7)]
)
def test_windows_score_each_token_once(length, stride):
  split = data.windows(STREAM, length, stride)
  np.testing.assert_array_equal(_scored(split), 1)
  x_BLC, weight_BL, _ = split.get(np.arange(split.size))
  # A token has its predecessors in the window before it, as many as promised.
  for x_LC, weight_L in zip(x_BLC[1:], weight_BL[1:], strict=True):
    np.testing.assert_array_equal(np.diff(x_LC[:, 0]), 1)
    assert weight_L.argmax() >= length - stride
    assert (np.diff(weight_L) >= 0).all()


def test_first_token_can_be_left_out():
  split = data.windows(STREAM, 9, 8, first_scored=False)
  expected = np.ones(len(STREAM))
  expected[0] = 0
  np.testing.assert_array_equal(_scored(split), expected)
  # nanoGPT's protocol: the first site of every window is context only.
  assert (split.get(np.arange(split.size - 1))[1][:, 0] == 0).all()


def test_crops_are_all_windows():
  split = data.crops(STREAM, 8)
  x_BLC, weight_BL, _ = split.get(np.arange(split.size))
  assert split.size == len(STREAM) - 7
  np.testing.assert_array_equal(x_BLC[:, 0, 0], np.arange(split.size))
  np.testing.assert_array_equal(x_BLC[:, -1, 0], np.arange(7, len(STREAM)))
  assert (weight_BL == 1).all()


@pytest.mark.parametrize(("length", "stride"), [(8, 0), (8, 9)])
def test_bad_stride_is_named(length, stride):
  with pytest.raises(errors.UsageError, match=f"stride {stride}.*1..{length}"):
    data.windows(STREAM, length, stride)


def test_short_stream_is_named():
  with pytest.raises(errors.DataError, match="57 tokens.*window of 58"):
    data.windows(STREAM, 58, 58)


def test_sampling_windows_end_with_the_stream():
  assert data.window_starts(5, 8, 4).tolist() == [0]
  assert data.window_starts(8, 8, 4).tolist() == [0]
  assert data.window_starts(17, 8, 4).tolist() == [0, 4, 8, 9]
  assert data.window_starts(17, 8, 4, inside=False).tolist() == [0, 4, 8, 12]
  assert data.window_starts(16, 8, 4, inside=False).tolist() == [0, 4, 8]


def test_evaluation_batches_pad_with_weight_zero():
  split = data.windows(STREAM[:13], 1, 1)
  batches = list(data.eval_batches(split, 4))
  assert [b.x_BLC.shape for b in batches] == [(4, 1, 1)] * 4
  real = np.concatenate([b.weight_BL[:, 0] for b in batches]) > 0
  index = np.concatenate([b.index_B for b in batches])
  assert sorted(index[real]) == list(range(13))
  assert real.sum() == 13


def test_training_data_is_a_function_of_seed_and_step():
  split = data.crops(STREAM, 8)
  one, two = (data.train_batches(split, 5, seed=3) for _ in range(2))
  other = data.train_batches(split, 5, seed=4)
  late = one(37).x_BLC
  one(2)  # no state: looking elsewhere changes nothing
  np.testing.assert_array_equal(one(37).x_BLC, late)
  np.testing.assert_array_equal(two(37).x_BLC, late)
  assert (other(37).x_BLC != late).any()


def test_training_epoch_shows_each_item_once_and_reshuffles():
  split = data.crops(STREAM, 8)  # 50 items
  batch_at = data.train_batches(split, 10, seed=0)
  epochs = [
    np.concatenate([batch_at(s).x_BLC[:, 0, 0] for s in range(e, e + 5)])
    for e in (0, 5)
  ]
  for epoch in epochs:
    assert sorted(epoch) == list(range(50))
  assert (epochs[0] != epochs[1]).any()
  index = np.concatenate([batch_at(s).index_B for s in range(10)])
  assert index.tolist() == list(range(100))
