"""The checks on this machine and these versions: what runs on what.

Every model, head and sampler at its smallest, where all sequences there are can
be checked, and the resuming of a run. probe.py does it for a trained model.
"""

import functools
import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from ar_jax import optim, registry, states, train
from ar_jax.proofs import cases, findings
from ar_jax.types import Batch, DataSpec

SECONDS = 40  # after which no other subject is begun
SPEC = DataSpec((4,), 1, 3)
SMALL = dict(name="gpt", depth=1, width=8, heads=2, target=True)
EVERY = dict(name="all")  # all L! orders


def default(seconds=SECONDS):
  """Findings about every plugin at its smallest, and about resuming.

  Args:
    seconds: after which no other subject is begun; each one that is left out
      is one that says so.
  """
  start = time.perf_counter()
  found = []
  with jax.default_matmul_precision("highest"):
    for subject, run in [
      *_heads(),
      *_samplers(),
      ("resume", resume),
      *_models(),
    ]:
      if time.perf_counter() - start < seconds:
        found += findings.guarded(subject, run)
      else:
        found.append(
          findings.left_out(
            subject, f"{seconds} s were over; again: programs are kept"
          )
        )
  return found


def machine():
  """Backend, devices and versions, in one line."""
  devices = jax.devices()
  return (
    f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()}),"
    f" jax {jax.__version__}, numpy {np.__version__}, {_default_dtype()},"
    " matmul precision highest"
  )


# --- the plugins at their smallest ---


def _tiny(kind, name):
  """(number, TINY entry as a section) of those with discrete values."""
  for i, entry in enumerate(registry.load(kind, name).TINY):
    if "spec" not in entry or entry["spec"].num_values is not None:
      yield i, dict(entry, name=name)


def _heads():
  for name in registry.names("heads"):
    for i, section in list(_tiny("heads", name))[:1]:
      run = functools.partial(_head, f"head {name}[{i}]", section)
      yield f"head {name}[{i}]", run


def _head(subject, section):
  spec = section.pop("spec")
  return findings.of_head(subject, registry.build("heads", section, spec), spec)


def _samplers():
  for name in registry.names("samplers"):
    section = dict(registry.load("samplers", name).TINY[0], name=name)
    run = functools.partial(_sampler, f"sampler {name}[0]", section)
    yield f"sampler {name}[0]", run


def _sampler(subject, section):
  """One random order, and parameters at which temperature shows."""
  section = dict(section)
  head, model = _network(section.pop("model", SMALL), SPEC, EVERY)
  params = cases.random_params(model, scale=1.0, dtype=_default_dtype())
  order_1L = registry.build("orderings", dict(name="random"), SPEC.shape)
  case = cases.Case(model, head, SPEC, params, order_1L.orders_KL)
  sampler = registry.build("samplers", section, model, head)
  known = ("temperature", "top_k", "top_p", "min_p")
  settings = {k: v for k, v in section.items() if k in known}
  drawn = findings.of_draws(subject, case, sampler, settings)
  return [*drawn, findings.of_samples(subject, case, sampler, settings)]


def _default_dtype():
  return np.dtype(jnp.result_type(float))


def _network(section, spec, family):
  """(head, model) made for a family of orders."""
  head = registry.build("heads", dict(name="categorical"), spec)
  ordering = registry.build("orderings", family, spec.shape)
  return head, registry.build("models", section, spec, head, ordering)


def _models():
  """First each model in one case, then each in its others."""
  found = []
  for name in registry.names("models"):
    for number, (i, section) in enumerate(list(_tiny("models", name))[:2]):
      orders = section.get("orderings", ("random", "raster"))
      for place, order in enumerate(orders[:2]):
        rank = number, place
        subject = f"{name}[{i}], {order}"
        run = functools.partial(_model, subject, section, order, rank)
        found.append((rank, subject, run))
  found.sort(key=lambda f: f[0])
  return [(subject, run) for _, subject, run in found]


def _model(subject, section, order, rank):
  """Under two orders with labels, or under one without.

  The sampler is compiled for the first case of a model alone, `extend` for
  the first one of an entry: they take longest.
  """
  section = dict(section)
  spec = section.pop("spec")
  family = EVERY
  if "orderings" in section:
    family = dict(name=section.pop("orderings")[0])
  head, model = _network(section, spec, family)
  params = cases.random_params(model, dtype=_default_dtype())
  case = cases.Case(model, head, spec, params)
  if order == "random":
    rng = np.random.default_rng(0)
    order_KL = [rng.permutation(spec.length) for _ in range(2)]
    order_KL = np.array(order_KL, np.int32)
    case = case._replace(order_KL=order_KL, y=cases.conditions(spec, 2))
  else:
    ordering = registry.build("orderings", dict(name=order), spec.shape)
    case = case._replace(order_KL=ordering.draw(None))
  sampler = None
  if rank == (0, 0):
    sampler = registry.build("samplers", dict(name="ancestral"), model, head)
  plan = findings.Plan(cuts=None if rank[1] else (1,))
  return findings.of_case(subject, case, plan, sampler)


# --- resuming ---


def resume(updates=4):
  """A run stopped halfway and continued from its checkpoint: the same bits."""
  bar = "no bit differs"
  on = f"{updates} updates, and {updates // 2} + {updates // 2}"
  return [
    findings.find("resume", "same state", on, bar, lambda: _resumes(updates))
  ]


def _resumes(updates):
  head, model = _network(SMALL, SPEC, EVERY)
  ordering = registry.build("orderings", EVERY, SPEC.shape)
  nll = registry.build("objectives", dict(name="nll"), model, head, ordering)
  tx = optim.make(steps=updates, lr=1e-2, warmup=1, weight_decay=0.1)
  step = jax.jit(train.make_train_step(nll, tx, steps=updates, ema_decay=0.9))

  def go_on(state, steps):
    return train.fit(
      state,
      step,
      _batch_at,
      jax.random.key(1),
      steps=steps,
      every=(steps,),
      on_step=lambda step, metrics: None,
      on_state=lambda step, state: None,
    )

  start = train.init_state(cases.initial(model.init), tx, 0.9)
  straight = go_on(start, updates)
  half = go_on(start, updates // 2)
  with tempfile.TemporaryDirectory() as folder:
    checkpoints = states.Checkpoints(pathlib.Path(folder))
    checkpoints.save(half)
    checkpoints.wait()
    restored = checkpoints.restore(jax.eval_shape(lambda: half))
    checkpoints.close()
  _same_bits(restored, half, "restored")
  _same_bits(go_on(jax.device_put(restored), updates), straight, "continued")
  return 0.0


def _same_bits(found, wanted, what):
  found = jax.tree_util.tree_leaves_with_path(found)
  wanted = jax.tree.leaves(wanted)
  wrong = [
    jax.tree_util.keystr(path)
    for (path, a), b in zip(found, wanted, strict=True)
    if np.asarray(a).tobytes() != np.asarray(b).tobytes()
  ]
  text = f"{len(wrong)} of {len(wanted)} arrays differ when {what}: {wrong[:1]}"
  cases.require(not wrong, text, len(wrong))


def _batch_at(step):
  rng = np.random.default_rng(step)
  x_BLC = rng.integers(0, SPEC.num_values, (8, *SPEC.shape, 1), np.int32)
  index_B = np.arange(8 * step, 8 * step + 8, dtype=np.int32)
  return Batch(x_BLC, np.ones(x_BLC.shape[:2], np.float32), {}, index_B)
