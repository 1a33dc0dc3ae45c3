"""Sequences longer than the window, drawn as they are scored.

The windows are those of `data.windows`: a full window is restarted from its
overlap with the next one, so the log-probabilities of the sampler equal the
strided evaluation of what it drew.
"""

import jax
import numpy as np

from ar_jax import data
from ar_jax.types import Sample


def sample(
  sampler, ordering, params, key, prompts, total, *, length, stride, y=None
):
  """Continues each prompt to `total` tokens.

  Args:
    sampler: of a sampler plugin.
    ordering: Ordering; one other than the identity needs total >= length.
    params: of the model.
    key: one key for all rows.
    prompts: list of B int arrays, of any lengths up to `total`.
    total: tokens of each row, prompt included.
    length: sites of the window.
    stride: tokens between windows.
    y: conditions by name.
  Returns:
    Sample with [B, total, 1] and [B, total] numpy arrays.
  """
  B = len(prompts)
  x_BTC = np.zeros((B, total, 1), np.int32)
  known_BT = np.zeros((B, total), bool)
  for row, prompt in enumerate(prompts):
    x_BTC[row, : len(prompt), 0] = prompt
    known_BT[row, : len(prompt)] = True
  log_model_BT = np.zeros((B, total), np.float64)
  log_sampler_BT = np.zeros((B, total), np.float64)
  done = 0
  for k, start in enumerate(data.window_starts(total, length, stride)):
    window = slice(start, start + length)
    key_k = jax.random.fold_in(key, k)
    order_key = jax.random.fold_in(key_k, B)
    key_B = jax.vmap(jax.random.fold_in, (None, 0))(order_key, np.arange(B))
    part = sampler(
      params,
      key_k,
      ordering.draw(key_B),
      (x_BTC[:, window], known_BT[:, window]),
      y,
    )
    new = slice(done - start, None)
    done = min(start + length, total)
    fresh = slice(start + new.start, done)
    x_BTC[:, fresh] = np.asarray(part.x_BLC)[:, new]
    log_model_BT[:, fresh] = np.asarray(part.log_prob_model_BL)[:, new]
    log_sampler_BT[:, fresh] = np.asarray(part.log_prob_sampler_BL)[:, new]
    known_BT[:, fresh] = True
  return Sample(x_BTC, log_model_BT, log_sampler_BT)
