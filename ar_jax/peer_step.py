"""The same train step in PyTorch, to be timed beside ours."""

import importlib.util
import os
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from ar_jax import config as configs
from ar_jax import errors, optim


class Peer(NamedTuple):
  """A network of PyTorch with our parameters, and its train steps.

  name: of the library, its version and its threads.
  params: their number.
  logits: (x_BLC, y) -> float [B, L, V] with the parameters as they are.
  steps: {"eager": step, ...}; step(Batch) -> loss in nats a site, one update.
  """

  name: str
  params: int
  logits: Callable
  steps: dict


def load(path, config, spec, params, *, compiled=False):
  """The Peer that a file defines, or None where torch is not installed.

  Updates are those of the config: AdamW (PyTorch's fused one, which is its
  fastest), decay of the same parameters, clipped and averaged alike, at the
  peak rate all along. float32 on the cores of the CPU, or NPROC of them, as
  XLA takes them.

  Args:
    path: Python file with make(config, spec, tensors) -> logits; see
      experiments/peers.
    config: plain dict of a config.
    spec: DataSpec.
    params: of its model.
    compiled: whether the step of torch.compile is measured too.
  Raises:
    UsageError: the file's network is another one.
  """
  if importlib.util.find_spec("torch") is None:
    return None
  make = configs.load_module(path).make
  # Threads that spin while it is our turn slow both, most on a busy machine.
  os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
  import torch

  torch.set_num_threads(int(os.environ.get("NPROC", os.cpu_count())))
  tensors = _tensors(params)
  try:
    logits = make(config, spec, tensors)
  except ValueError as e:
    raise errors.UsageError(f"--peer={path}: {e}") from e
  update = _update(config, tensors)

  def loss(x_BL, y, weight_BL):
    nats = torch.nn.functional.cross_entropy(
      logits(x_BL, y).flatten(0, 1), x_BL.flatten(), reduction="none"
    )
    return (nats * weight_BL.flatten()).sum() / weight_BL.sum()

  def step(loss):
    def run(batch):
      found = loss(*_inputs(batch))
      found.backward()
      update()
      return float(found.detach())

    return run

  def shown(x_BLC, y):
    x_BL, y, _ = _inputs((x_BLC, np.ones(x_BLC.shape[:2], np.float32), y))
    with torch.no_grad():
      return logits(x_BL, y).numpy()

  steps = dict(eager=step(loss))
  if compiled:
    steps["torch.compile"] = step(torch.compile(loss))
  return Peer(
    f"torch {torch.__version__}, {torch.get_num_threads()} threads",
    sum(t.numel() for t in tensors.values()),
    shown,
    steps,
  )


def _tensors(params):
  """{path: tensor}; kernels of convolutions as [F, D, kh, kw]."""
  import torch

  found = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    tensor = torch.tensor(np.asarray(leaf))
    if tensor.ndim == 4 and optim.path_name(path).endswith("kernel"):
      tensor = tensor.permute(3, 2, 0, 1).contiguous()
    found[optim.path_name(path)] = tensor.requires_grad_()
  return found


def _inputs(batch):
  """(x int64 [B, L], y, weight [B, L]) of a Batch."""
  import torch

  x_BLC, weight_BL, y = batch[:3]
  x_BL = torch.from_numpy(np.asarray(x_BLC)[..., 0].astype(np.int64))
  y = {
    k: torch.from_numpy(np.asarray(v).astype(np.int64)) for k, v in y.items()
  }
  return x_BL, y, torch.from_numpy(np.array(weight_BL, np.float32))


def _update(config, tensors):
  """() -> None: clips, updates and averages by the gradients that are there."""
  import torch

  section, ema = config["optimizer"], config["train"]["ema_decay"]
  if section["name"] not in ("adam", "adamw"):
    raise errors.UsageError(
      f"--peer: config.optimizer.name {section['name']} is not written for"
      " PyTorch; take adamw"
    )
  decayed = section["name"] == "adamw" and section["weight_decay"]
  groups = {0.0: [], float(decayed): []}
  for path, tensor in tensors.items():
    matches = decayed and re.search(section["decay"], path)
    groups[float(decayed) if matches else 0.0].append(tensor)
  adam = torch.optim.AdamW(
    [dict(params=p, weight_decay=w) for w, p in groups.items() if p],
    lr=section["lr"],
    betas=(section["b1"], section["b2"]),
    fused=True,
  )
  all_of_them = list(tensors.values())
  averages = [t.detach().clone() for t in all_of_them]

  def update():
    if section["clip"] is not None:
      torch.nn.utils.clip_grad_norm_(all_of_them, section["clip"])
    adam.step()
    adam.zero_grad()
    if ema is not None:
      with torch.no_grad():
        torch._foreach_lerp_(averages, all_of_them, 1 - ema)

  return update
