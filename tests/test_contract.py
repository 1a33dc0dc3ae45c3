"""The contract, kept by every plugin there is: this file walks the folders.

The matrix is a star: every model with one plain head, every head and every
sampler with one GPT; all orders are stacked along one batch, y comes in two
calls (none; all that the model takes). Float64, and float32 for GPT. A plugin
enters by its file alone: its `TINY` is read here, and nothing is skipped.

Longer than 400 lines because every folder of plugins has its walk here.
"""

import functools
import itertools

import contract
import jax
import numpy as np
import pytest
from contract import Case

from ar_jax import data, decode, errors, prepare, registry
from ar_jax.proofs import cases
from ar_jax.samplers import ancestral
from ar_jax.types import Condition, DataSpec

SMALL = dict(name="gpt", depth=1, width=8, heads=2, target=True)
CATEGORICAL = (("name", "categorical"),)
GAUSSIAN = (("name", "gaussian_mixture"),)  # of real values
EVERY = dict(name="all")  # all L! orders
SPEC = DataSpec((4,), 1, 3)
LABELED = DataSpec((4,), 1, 3, None, dict(label=Condition("label", 2)))
FLOAT32 = (("gpt", 1), ("wavenet", 0))  # entries


def entries(kind):
  """(name, number) of every TINY entry; (name, 0) where there is none."""
  found = []
  for name in registry.names(kind):
    sections = getattr(registry.load(kind, name), "TINY", ())
    found += [(name, i) for i in range(max(1, len(sections)))]
  assert found, f"no plugins in {kind}"
  return found


def section_of(kind, name, number):
  """A TINY entry as a config section."""
  sections = getattr(registry.load(kind, name), "TINY", ())
  assert sections, f"{kind}/{name}.py has no TINY: a list of dict(spec=, ...)"
  return dict(sections[number], name=name)


def walk(kind):
  """Parametrizes a test by every TINY entry of a folder.

  Of a model, a head and a sampler all but the first one are slow, and the whole
  of a PixelCNN++, of many programs.
  """
  marked = [
    pytest.param(*entry, marks=[pytest.mark.slow] * is_slow(kind, *entry))
    for entry in entries(kind)
  ]
  return pytest.mark.parametrize(("name", "number"), marked)


def is_slow(kind, name, number):
  """Whether `make test` leaves an entry to `make test-all`."""
  if (kind, name) == ("models", "pixelcnn_pp"):
    return True
  return kind in ("models", "heads", "samplers") and number > 0


@functools.cache
def build_model(name, number, family, depth):
  """(model, head, spec) of a TINY entry, made for a family of orders."""
  section = section_of("models", name, number)
  spec = section.pop("spec")
  section.pop("orderings", None)
  if depth is not None:
    section["depth"] = depth
  head = registry.build("heads", dict(plain_head(spec)), spec)
  ordering = registry.build("orderings", dict(family), spec.shape)
  model = registry.build("models", section, spec, head, ordering)
  return model, head, spec


def plain_head(spec):
  """The head that models are checked with."""
  return CATEGORICAL if spec.num_values else GAUSSIAN


def small_case(
  spec, head=CATEGORICAL, seed=0, dtype=np.float64, section=None, **fields
):
  """A Case of one small network that takes any order, a GPT unless said.

  Args:
    spec: DataSpec.
    head: section of a head, as items.
    seed, dtype: of the parameters.
    section: of a sampler or an objective; its "model", where it is made for
      other networks than GPT, is taken out.
    **fields: of the Case.
  """
  conditions = tuple(spec.conditions.items())
  model = (section or {}).pop("model", SMALL)
  model = tuple(model.items())
  network = small_network(spec._replace(conditions=conditions), head, model)
  params = contract.random_params(network[0], seed, dtype=dtype)
  return Case(*network, spec, params, **fields)


@functools.cache
def small_network(spec, head, model):
  """(model, head); the arguments are hashable, to compile once a process."""
  spec = spec._replace(conditions=dict(spec.conditions))
  head = registry.build("heads", dict(head), spec)
  every = registry.build("orderings", EVERY, spec.shape)
  return registry.build("models", dict(model), spec, head, every), head


def stack(length, count=8, shape=None):
  """Raster, reverse, and random orders, `count` of them: int32 [K, L].

  Of a shape those of every family besides, as many as there are.
  """
  rng = np.random.default_rng(length)
  raster = np.arange(length)
  rows = [raster, raster[::-1]]
  rows += [] if shape is None else family_orders(shape)
  rows = [np.array(row) for row in dict.fromkeys(map(tuple, rows))]
  rows += [rng.permutation(length) for _ in range(count - len(rows))]
  return np.stack(rows).astype(np.int32)


def family_orders(shape):
  """The order of every TINY entry that is one order, for another shape."""
  found = []
  for name, number in entries("orderings"):
    section = section_of("orderings", name, number)
    del section["shape"]
    if name != "from_file":  # whose order is of its own shape
      made = registry.build("orderings", section, shape)
      found += [] if made.orders_KL is None else list(made.orders_KL)
  return found


def order_names(section):
  """The orders an entry is checked under; it may restrict them itself."""
  return section.get("orderings", ("raster", "stack"))


def model_case(name, number, orders, y, dtype=np.float64, depth=None):
  """The Case of a TINY entry under its orders, y "given" or "none"."""
  restricted = "orderings" in section_of("models", name, number)
  family = (("name", orders),) if restricted else tuple(EVERY.items())
  model, head, spec = build_model(name, number, family, depth)
  shape = spec.shape if is_slow("models", name, number) else None
  order_KL = stack(spec.length, shape=shape)
  if orders != "stack":
    ordering = registry.build("orderings", dict(name=orders), spec.shape)
    identity = ordering.draw(jax.random.split(jax.random.key(0), 1)) is None
    order_KL = None if identity else ordering.orders_KL
  y_K = None
  if y == "given":
    y_K = cases.conditions(spec, 2 if order_KL is None else len(order_KL))
  params = contract.random_params(model, seed=number, dtype=dtype)
  return Case(model, head, spec, params, order_KL, y_K)


def run(record_property, subject, checks):
  """Runs all checks, records their figures, and fails with all failures."""
  failures = []
  for name, check in checks.items():
    try:
      figure = check()
      text = "ok" if figure is None else f"{figure:.2g}"
    except AssertionError as e:
      failures.append(f"{name}: {e}")
      text = "FAILED"
    record_property("contract", (subject, name, text))
  assert not failures, "\n".join([subject, *failures])


@walk("models")
def test_model(name, number, record_property):
  """All checks: under each of the orders, with and without conditions."""
  section = section_of("models", name, number)
  kinds = ("none", "given") if section["spec"].conditions else ("none",)
  names = order_names(section)
  last = names[-1], kinds[-1]
  for orders, y in itertools.product(names, kinds):
    if y == "given" and orders != last[0]:
      continue  # with conditions: under all orders in one stack
    with contract.precision("float64"):
      case = model_case(name, number, orders, y)
      checks = forward_checks(case, chunks=(orders, y) == (names[0], "none"))
      if (orders, y) == last:
        checks |= full_checks(case, section)
      subject = f"{name}[{number}]  float64  orders {orders}  y {y}"
      run(record_property, subject, checks)
  if (name, number) in FLOAT32:
    with contract.precision("float32"):
      case = model_case(name, number, *last, np.float32)
      checks = forward_checks(case, chunks=True)
      del checks["complete"]  # a change may be lost in rounding
      checks.pop("orders", None)
      subject = f"{name}[{number}]  float32  orders {last[0]}  y {last[1]}"
      run(record_property, subject, checks)
  if section.get("depth", 1) > 1 and "stack" in names:
    with contract.precision("float64"):
      # One layer of attention knows what lies where by the source alone.
      # Deeper ones can work it out from what earlier steps were to predict.
      case = model_case(name, number, "stack", "none", depth=1)
      subject = f"{name}[{number}] at depth 1  float64  orders stack  y none"
      checks = dict(orders=lambda: contract.orders_matter(case))
      run(record_property, subject, checks)


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names("models"))
def test_chunks_cut_anywhere(name, record_property):
  """Of the first entry; a program for each length takes its time."""
  section = section_of("models", name, 0)
  y = "given" if section["spec"].conditions else "none"
  orders = order_names(section)[-1]
  with contract.precision("float64"):
    case = model_case(name, 0, orders, y)
    check = dict(cuts=lambda: contract.extend_equals_apply(case))
    subject = f"{name}[0]  float64  orders {orders}  y {y}"
    run(record_property, subject, check)


def forward_checks(case, chunks):
  """What is checked under all orders, with and without conditions."""
  checks = dict(
    normalised=lambda: contract.normalised(case),
    causal=lambda: contract.causal(case),
    complete=lambda: contract.complete(case),
    step=lambda: contract.step_equals_apply(case),
  )
  if chunks:
    checks["extend"] = lambda: contract.extend_equals_apply(case, (1,))
  if case.order_KL is not None and len(case.order_KL) > 1:
    checks["orders"] = lambda: contract.orders_matter(case)
  if case.y:
    checks["conditions"] = lambda: contract.conditions_matter(case)
    checks["reach"] = lambda: contract.conditions_reach(case)
  return checks


def full_checks(case, section):
  """What is checked once for an entry: samplers, chunks, capacity."""
  sampler = ancestral.make(case.model, case.head)
  naive_sampler = ancestral.make(naive(case.model, case.spec), case.head)
  checks = {
    "init": lambda: contract.initialized(case.model),
    "extend": lambda: contract.extend_equals_apply(case, (1,)),
    "cached = naive": lambda: contract.cached_equals_naive(
      case, sampler, naive_sampler
    ),
    "sampled = scored": lambda: contract.sampled_equals_scored(case, sampler),
    "rows": lambda: contract.rows_independent(case, sampler),
    "capacity": lambda: contract.capacity(case),
  }
  if section.get("dropout"):
    checks["dropout"] = lambda: contract.examples_own_dropout(case)
  if order_names(section) == ("raster", "stack"):
    checks["order shapes"] = lambda: contract.order_shapes_agree(case)
  return checks


def naive(model, spec):
  """The model without its own cache."""
  init_cache, step = decode.naive_cache(model.apply, spec)
  extend = decode.extend_by_scan(step)
  return model._replace(init_cache=init_cache, step=step, extend=extend)


@walk("heads")
def test_head(name, number, record_property):
  section = section_of("heads", name, number)
  spec = section.pop("spec")
  head = registry.build("heads", section, spec)
  rng = np.random.default_rng(number)
  theta_NP = 2 * rng.standard_normal((20, head.num_params)).astype(np.float32)
  with contract.precision("float32"):
    checks = dict(
      normalised=lambda: contract.head_normalised(head, spec, theta_NP),
      draws=lambda: contract.head_follows(head, spec, theta_NP),
      adjust=lambda: contract.head_adjusts(head, spec, theta_NP),
    )
    if head.noise is not None:
      checks["noise"] = lambda: contract.noise_is_apart(head, theta_NP)
    run(record_property, f"heads.{name}[{number}]  float32", checks)
  with contract.precision("float64"):
    order_KL = stack(spec.length)[1:2]
    case = small_case(spec, tuple(section.items()), order_KL=order_KL)
    sampler = ancestral.make(case.model, case.head)
    checks = {
      "normalised": lambda: contract.normalised(case),
      "step": lambda: contract.step_equals_apply(case),
      "sampled = scored": lambda: contract.sampled_equals_scored(case, sampler),
    }
    subject = f"heads.{name}[{number}] of gpt  float64  orders reverse  y none"
    run(record_property, subject, checks)


def sampler_of(case, section, **settings):
  """A sampler of a TINY entry, with settings of its own replaced."""
  return registry.build(
    "samplers", {**section, **settings}, case.model, case.head
  )


def is_exact(sampler):
  """Whether it draws from the model; an approximation says that it is one."""
  return getattr(sampler, "exact", True)


def settings_of(section):
  """What of a sampler's section adjusts the head."""
  known = ("temperature", "top_k", "top_p", "min_p")
  return {k: section[k] for k in known if k in section}


@walk("samplers")
def test_sampler(name, number, record_property):
  section = section_of("samplers", name, number)
  with contract.precision("float64"):
    y = dict(label=np.array([0, 1, 1], np.int32))
    case = small_case(LABELED, section=section, order_KL=stack(4, 3), y=y)
    sampler = sampler_of(case, section)
    settings = settings_of(section)
    checks = {"given": lambda: contract.given_is_kept(case, sampler)}
    if is_exact(sampler):
      checks["sampled = scored"] = lambda: contract.sampled_equals_scored(
        case, sampler, settings
      )
    if not settings:
      if is_exact(sampler):
        checks["prompts"] = lambda: contract.prompts_are_forced(case, sampler)
      checks["rows"] = lambda: contract.rows_independent(case, sampler)
    subject = f"samplers.{name}[{number}]  float64  orders stack  y labels"
    run(record_property, subject, checks)


@pytest.mark.slow
@walk("samplers")
def test_sampler_follows_model(name, number, record_property):
  section = section_of("samplers", name, number)
  settings = settings_of(section)
  with contract.precision("float32"):
    order_1L = stack(4)[2:3]
    case = small_case(
      SPEC, dtype=np.float32, section=section, order_KL=order_1L
    )
    if not is_exact(sampler_of(case, section)):
      return  # it declares that it follows another distribution
    case = contract.spiky(case, settings)
    make_sampler = functools.partial(sampler_of, case, section)
    checks = dict(
      draws=lambda: contract.sampler_follows_model(case, make_sampler, settings)
    )
    subject = f"samplers.{name}[{number}]  float32  one random order  y none"
    run(record_property, subject, checks)


@pytest.mark.parametrize("name", registry.names("samplers"))
def test_greedy_is_argmax(name, record_property):
  section = section_of("samplers", name, 0)
  with contract.precision("float64"):
    case = small_case(SPEC, section=section, order_KL=stack(4, 3))
    sampler = sampler_of(case, dict(name=name), temperature=0)
    checks = dict(greedy=lambda: contract.greedy_is_argmax(case, sampler))
    run(record_property, f"samplers.{name} at temperature 0", checks)


@walk("orderings")
def test_ordering(name, number, record_property):
  section = section_of("orderings", name, number)
  shape = section.pop("shape")
  ordering = registry.build("orderings", section, shape)
  checks = dict(
    keeps=lambda: contract.ordering_keeps(ordering, int(np.prod(shape)))
  )
  family = ordering.orders_KL
  if family is None:  # all L! orders can be counted where L is 3
    small = registry.build("orderings", section, (3,))
    checks["uniform"] = lambda: contract.draws_uniform(small, 3)
  elif len(family) > 1:
    checks["uniform"] = lambda: contract.draws_uniform(
      ordering, family.shape[1]
    )
  run(record_property, f"orderings.{name}[{number}]", checks)


@walk("objectives")
@pytest.mark.parametrize("orders", ["raster", "fixed", "fresh"])
def test_objective(name, number, orders, record_property):
  section = section_of("objectives", name, number)
  sections = dict(
    raster=dict(name="raster"), fixed=dict(name="random"), fresh=EVERY
  )
  spec = LABELED._replace(shape=(3,))
  ordering = registry.build("orderings", sections[orders], spec.shape)
  with contract.precision("float64"):
    case = small_case(spec, section=section)
    objective = registry.build(
      "objectives", section, case.model, case.head, ordering
    )
    checks = dict(
      nll=lambda: contract.objective_is_nll(objective, case, ordering)
    )
    subject = f"objectives.{name}[{number}]  float64  orders {orders}"
    run(record_property, subject, checks)


@walk("datasets")
def test_dataset(name, number, tmp_path):
  section = section_of("datasets", name, number)
  if "data_dir" in section:  # of TFDS: prepared here, not kept
    prepare.text([__file__], section["dataset"], tmp_path, "0.9/0.1")
    section["data_dir"] = str(tmp_path)
  contract.dataset_keeps(registry.build("datasets", section))


@walk("baselines")
def test_baseline(name, number):
  section = section_of("baselines", name, number)
  spec = section.pop("spec")
  contract.baseline_keeps(registry.build("baselines", section, spec), spec)


@pytest.mark.parametrize("orders", ["raster", "reverse"])
def test_whole_split(orders, record_property):
  ordering = registry.build("orderings", dict(name=orders), SPEC.shape)
  with contract.precision("float32"):
    case = small_case(SPEC, dtype=np.float32)
    checks = {"13 items": lambda: contract.whole_split(case, ordering)}
    run(record_property, f"whole split  float32  orders {orders}", checks)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 13, 20])
def test_batches_cover_the_split(batch_size):
  contract.batches_cover(data.eval_batches, 13, batch_size)


def triples():
  """(model, head, sampler) entries: each pair of two kinds is among them.

  Every model with every head by the first sampler, and with every sampler
  under the plain head of its values.
  """
  models, heads, samplers = map(entries, ("models", "heads", "samplers"))
  yield from itertools.product(models, heads, samplers[:1])
  for model, sampler in itertools.product(models, samplers[1:]):
    spec = section_of("models", *model)["spec"]
    name = dict(plain_head(spec))["name"]
    yield model, (name, 0), sampler


def said(triple):
  """The id of a triple."""
  return "-".join(f"{name}.{i}" for name, i in triple)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("model", "head", "sampler"), triples(), ids=map(said, triples())
)
def test_product(model, head, sampler, record_property):
  """Models, heads and samplers go together, or say that they do not."""
  section = section_of("models", *model)
  spec = section.pop("spec")
  names = section.pop("orderings", ("random",))
  if section.get("tied") and head[0] != "categorical":
    section["tied"] = False  # a table of values is no head of parameters
  ordering = registry.build("orderings", dict(name=names[0]), spec.shape)
  head_section = section_of("heads", *head)
  head_section.pop("spec")
  sampling = section_of("samplers", *sampler)
  sampling.pop("model", None)
  subject = " x ".join(f"{name}[{i}]" for name, i in (model, head, sampler))
  with contract.precision("float64"):
    try:
      head_fn = registry.build("heads", head_section, spec)
      net = registry.build("models", section, spec, head_fn, ordering)
      draw = registry.build("samplers", sampling, net, head_fn)
    except (ValueError, errors.UsageError) as e:
      # Not made for each other: said in words, before anything is drawn.
      assert len(str(e)) > 20, e
      record_property("contract", (subject, "pair", "refused"))
      return
    params = contract.random_params(net)
    order_KL = None if names[0] == "raster" else ordering.orders_KL
    case = Case(net, head_fn, spec, params, order_KL)
    checks = {"step": lambda: contract.step_equals_apply(case)}
    if spec.num_values:
      # Of real values the head's own test integrates: here theta may be wider
      # than any grid.
      checks["normalised"] = lambda: contract.normalised(case)
    if is_exact(draw):
      checks["sampled = scored"] = lambda: contract.sampled_equals_scored(
        case, draw, settings_of(sampling)
      )
    run(record_property, f"{subject}  float64", checks)
