"""Sequences longer than the window, drawn as they are scored.

The windows are those of `data.windows`: a full window is restarted from its
overlap with the next one, so the log-probabilities of the sampler equal the
strided evaluation of what it drew.
"""

import jax
import numpy as np

from ar_jax import data
from ar_jax import ordering as orders
from ar_jax.types import Sample


def sample(
  sampler, ordering, params, key, prompts, totals, *, spec, stride, y=None
):
  """Continues each prompt to its total of tokens, each row as if alone.

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
  Returns:
    Sample with [B, max total, C] and [B, max total] numpy arrays: 0 from the
    total of a row on.
  """
  B, length, C = len(prompts), spec.length, spec.channels
  total_B = np.broadcast_to(totals, B)
  total = int(total_B.max())
  width = min(length, total)
  dtype = np.int32 if spec.num_values is not None else np.float32
  x_BTC = np.zeros((B, total, C), dtype)
  # Left to right, what lies beyond the total of a row is seen by none of it.
  known_BT = np.arange(total) >= total_B[:, None]
  for row, prompt in enumerate(prompts):
    x_BTC[row, : len(prompt)] = np.reshape(prompt, (-1, C))
    known_BT[row, : len(prompt)] = True
  log_model_BT = np.zeros((B, total), np.float64)
  log_sampler_BT = np.zeros((B, total), np.float64)
  row_B1 = np.arange(B)[:, None]
  done_B = np.zeros(B, int)
  for k, start_B in enumerate(_window_starts(total_B, length, stride)):
    at_BL = start_B[:, None] + np.arange(width)
    key_k = jax.random.fold_in(key, k)
    order_key = jax.random.fold_in(key_k, B)
    key_B = jax.vmap(jax.random.fold_in, (None, 0))(order_key, np.arange(B))
    given = x_BTC[row_B1, at_BL], known_BT[row_B1, at_BL]
    order_BL = ordering.draw(key_B)
    if ordering.orders_KL is None:
      order_BL = orders.known_first(order_BL, given[1])
    part = sampler(params, key_k, order_BL, given, y)
    fresh_BL = (at_BL >= done_B[:, None]) & (at_BL < total_B[:, None])
    fresh = np.nonzero(fresh_BL)[0], at_BL[fresh_BL]
    x_BTC[fresh] = np.asarray(part.x_BLC)[fresh_BL]
    log_model_BT[fresh] = np.asarray(part.log_prob_model_BL)[fresh_BL]
    log_sampler_BT[fresh] = np.asarray(part.log_prob_sampler_BL)[fresh_BL]
    known_BT[fresh] = True
    done_B = np.minimum(start_B + width, total_B)
  return Sample(x_BTC, log_model_BT, log_sampler_BT)


def _window_starts(total_B, length, stride):
  """int [N, B]: of each row, whose last window stays when it has no more."""
  rows = [data.window_starts(n, length, stride) for n in total_B.tolist()]
  most = max(map(len, rows))
  return np.stack([np.pad(r, (0, most - len(r)), "edge") for r in rows], 1)
