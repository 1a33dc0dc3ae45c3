"""The same GPT-2 in Hugging Face's transformers, to be timed beside ours."""

import importlib.util
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ar_jax import errors, gpt2

_NEEDS = ("torch", "transformers")


class Peer(NamedTuple):
  """A network that draws as ours does.

  name: of the library and its version.
  generate: (x_BK, count) -> None; draws `count` tokens after those of x,
    with a cache, from the whole softmax, and stops at none of them.
  logits: (x_BK) -> float [B, K, V], of the tokens of x as ours gives them.
  """

  name: str
  generate: Callable
  logits: Callable


def lacks():
  """Names of the libraries that are not installed."""
  return [name for name in _NEEDS if importlib.util.find_spec(name) is None]


def hugging_face(config, spec, params):
  """GPT2LMHeadModel with our parameters, float32 on all cores of the CPU.

  Args:
    config: plain dict of a config.
    spec: DataSpec.
    params: of its model.
  Raises:
    UsageError: a network without GPT-2's arithmetic, or torch or
      transformers are not installed.
  """
  values = gpt2.to_hf(config, spec, {})
  if missing := lacks():
    raise errors.UsageError(
      f"{' and '.join(missing)} not installed, so Hugging Face's generate is"
      " not measured: pip install 'ar_jax[bench]'"
    )
  import torch
  import transformers

  transformers.logging.set_verbosity_error()
  torch.set_num_threads(os.cpu_count())
  model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**values)).eval()
  tensors = gpt2.to_tensors(params, config["model"], spec)
  model.load_state_dict(
    {name: torch.tensor(a) for name, a in tensors.items()}, strict=False
  )
  model.generation_config = transformers.GenerationConfig(
    bos_token_id=values["bos_token_id"], pad_token_id=values["bos_token_id"]
  )

  def inputs(x_BK):
    start_B1 = np.full((len(x_BK), 1), values["bos_token_id"])
    return torch.from_numpy(np.concatenate([start_B1, x_BK], 1).astype("int64"))

  @torch.inference_mode()
  def generate(x_BK, count):
    ids = inputs(x_BK)
    model.generate(
      ids,
      attention_mask=torch.ones_like(ids),
      do_sample=True,
      top_k=0,
      min_new_tokens=count,
      max_new_tokens=count,
    )

  @torch.inference_mode()
  def logits(x_BK):
    return model(inputs(x_BK)[:, :-1]).logits.numpy()

  name = f"transformers {transformers.__version__}, torch {torch.__version__}"
  return Peer(name, generate, logits)
