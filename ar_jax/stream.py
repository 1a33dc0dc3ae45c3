"""Sequences longer than the window, drawn as they are scored.

A full window is restarted from its overlap with the next one, so the
log-probabilities of the sampler equal the strided evaluation of what it drew.
Left to right a window lies where the stride puts it, and its last steps may
be left out: so a text is distributed as the beginning of any longer one. In
other orders each window is whole, and the last one ends with the sequence.
"""

import jax
import numpy as np

from ar_jax import data
from ar_jax import ordering as orders
from ar_jax.types import Sample


def sample(*args, **kwargs):
  """What `chunks` has drawn in the end: a Sample."""
  *_, (drawn, _) = chunks(*args, **kwargs)
  return drawn


def chunks(
  sampler,
  ordering,
  params,
  key,
  prompts,
  totals,
  *,
  spec,
  stride,
  y=None,
  forced=(),
  size=None,
):
  """Continues each prompt to its total of tokens, each row as if alone.

  The noise of a site is that of the number of its window and of its place
  there, whatever the size of the chunks. So left to right, what is drawn in
  two calls, the second with what came out of the first as its prompt, is what
  one call draws, wherever the first one ends.

  Args:
    sampler: of a sampler plugin.
    ordering: Ordering; one other than the identity needs totals >= length. Of
      all orders each window is drawn in one that begins with what is known.
    params: of the model.
    key: one key for all rows.
    prompts: list of B arrays [T] or [T, C], of any lengths up to their totals.
    totals: sites of each row, prompt included: int, or B of them.
    spec: DataSpec, whose length is the window.
    stride: sites between windows.
    y: conditions by name.
    forced: of (n, value), n sites after each prompt; those from the total on
      are left out.
    size: steps of a chunk, of a sampler that goes on in chunks, left to right;
      None: a window at once.
  Yields:
    (Sample, done_B) after each chunk: of a row the first `done` sites are
    drawn or given. The Sample is one of numpy arrays [B, max total, C] and
    [B, max total] that is filled in place: 0 from the total of a row on.
  """
  B, length, C = len(prompts), spec.length, spec.channels
  total_B = np.broadcast_to(totals, B)
  total = int(total_B.max())
  width = min(length, total)
  start_NB = _window_starts(total_B, length, stride, ordering)
  room = int(start_NB.max()) + width
  dtype = np.int32 if spec.num_values is not None else np.float32
  x_BTC = np.zeros((B, room, C), dtype)
  # Left to right, what lies beyond the total of a row is seen by none of it.
  known_BT = np.arange(room) >= total_B[:, None]
  for row, prompt in enumerate(prompts):
    x_BTC[row, : len(prompt)] = np.reshape(prompt, (-1, C))
    known_BT[row, : len(prompt)] = True
    for n, value in forced:
      if len(prompt) + n < total_B[row]:
        x_BTC[row, len(prompt) + n] = value
        known_BT[row, len(prompt) + n] = True
  log_model_BT = np.zeros((B, total), np.float64)
  log_sampler_BT = np.zeros((B, total), np.float64)
  drawn = Sample(x_BTC[:, :total], log_model_BT, log_sampler_BT)
  row_B1 = np.arange(B)[:, None]
  done_B = np.zeros(B, int)
  for k, start_B in enumerate(start_NB):
    at_BL = start_B[:, None] + np.arange(width)
    key_k = jax.random.fold_in(key, k)
    order_key = jax.random.fold_in(key_k, B)
    key_B = jax.vmap(jax.random.fold_in, (None, 0))(order_key, np.arange(B))
    given = x_BTC[row_B1, at_BL], known_BT[row_B1, at_BL]
    order_BL = ordering.draw(key_B)
    if ordering.orders_KL is None:
      order_BL = orders.known_first(order_BL, given[1])
    for t, part in _parts(sampler, size, params, key_k, order_BL, given, y):
      at_BK = at_BL[:, t : t + part.x_BLC.shape[1]]
      fresh_BK = (at_BK >= done_B[:, None]) & (at_BK < total_B[:, None])
      fresh = np.nonzero(fresh_BK)[0], at_BK[fresh_BK]
      for whole, new in zip(drawn, part, strict=True):
        whole[fresh] = np.asarray(new)[fresh_BK]
      known_BT[fresh] = True
      done_B = np.clip(at_BK[:, -1] + 1, done_B, total_B)
      yield drawn, done_B
      if (done_B == total_B).all():
        return


def _parts(sampler, size, params, key, order_BL, given, y):
  """(first step, Sample of steps) of a window, in turn."""
  if size is None:
    yield 0, sampler(params, key, order_BL, given, y)
    return
  t, width = 0, given[0].shape[1]
  state, part = sampler.begin(params, key, order_BL, given, y)
  while t < width:
    if part.x_BLC.shape[1]:
      yield t, part
    t += part.x_BLC.shape[1]
    if t < width:
      state, part = sampler.go_on(params, state, t, size)


def _window_starts(total_B, length, stride, ordering):
  """int [N, B]: of each row, whose last window stays when it has no more."""
  inside = not orders.is_identity(ordering)
  rows = [
    data.window_starts(n, length, stride, inside=inside)
    for n in total_B.tolist()
  ]
  most = max(map(len, rows))
  return np.stack([np.pad(r, (0, most - len(r)), "edge") for r in rows], 1)
