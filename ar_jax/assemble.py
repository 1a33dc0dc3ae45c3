"""A config into the parts of a run: the one place that reads a config."""

import functools
from typing import Any, NamedTuple

import jax

from ar_jax import compute, errors, optim, parallel, registry, train
from ar_jax import config as configs
from ar_jax import ordering as orders
from ar_jax.types import Head, Model, Ordering


class Network(NamedTuple):
  """What turns sites into probabilities, and back into samples.

  view: (model, head) that the sampler draws from where it is another than
    what scores: a penalized one; see `views.adjusted`.
  """

  ordering: Ordering
  head: Head
  model: Model
  sampler: Any
  view: Any = None

  @property
  def drawn_from(self):
    """(model, head) that the sampler draws from."""
    return self.view or (self.model, self.head)


def dataset(config):
  """The Dataset of config.data.

  Raises:
    UsageError: there is no split of the name config.evaluate.split; or what
      fills short items is not scored, and the order sees it before what it
      follows.
  """
  made = _build("datasets", configs.plain(config.data))
  check_dataset(config, made)
  return made


def check_dataset(config, made):
  """The checks of `dataset`, of a Dataset that is there."""
  name = config.evaluate.split
  if name not in made.splits:
    raise errors.UsageError(
      f"config.evaluate.split: no split {name!r};"
      f" there are: {', '.join(made.splits)}"
    )
  if made.media.get("fill") == "unscored":
    section = configs.plain(config.ordering)
    family = _build("orderings", section, made.spec.shape)
    if family.training or not orders.is_identity(family):
      raise errors.UsageError(
        f"in the order {config.ordering.name} the fill of short items gives"
        " their length away; score it too: --config.data.fill=scored"
      )


def kept(config):
  """The config that a run keeps: with what a plugin has read from a file.

  A family of orders may expose `keep(section)` for that, also where it is a
  part of another one.
  """
  plain = configs.plain(config)
  section = _kept(plain["ordering"])
  if section == plain["ordering"]:
    return config
  return configs.restore(dict(plain, ordering=section))


def _kept(value):
  if isinstance(value, tuple):
    return tuple(map(_kept, value))
  if not isinstance(value, dict):
    return value
  value = {key: _kept(inner) for key, inner in value.items()}
  if "name" not in value:
    return value
  plugin = registry.load("orderings", value["name"])
  return plugin.keep(value) if hasattr(plugin, "keep") else value


def order(section, shape):
  """int [L], the order of a section.

  Raises:
    UsageError: a family that is not one order, or does not take the shape.
  """
  try:
    made = registry.build("orderings", section, shape)
    return orders.only(made, section["name"])
  except (ValueError, TypeError, KeyError) as e:
    said = "".join(f", {k}={v}" for k, v in section.items() if k != "name")
    what = str(e) if isinstance(e, ValueError) else f"a wrong value: {e}"
    raise errors.UsageError(f"{section['name']}{said}: {what}") from e


def network(config, spec):
  """The Network of a config over data of `spec`."""
  plain = configs.plain(config)
  ordering = _build("orderings", plain["ordering"], spec.shape)
  head = _build("heads", plain["head"], spec)
  model = _build("models", plain["model"], spec, head, ordering)
  drawing = sampler(plain["sample"], model, head)
  return Network(ordering, head, model, drawing)


def check_network(config, net):
  """UsageError where the parameters of a network cannot be made."""
  try:
    jax.eval_shape(net.model.init, jax.random.key(0))
  except ValueError as e:
    said = str(e).splitlines()[0]
    raise errors.UsageError(
      f"config: models.{config.model.name}: {said}"
    ) from e


def sampler(section, model, head):
  """The sampler of a section, its rows over all local devices.

  UsageError where it cannot be.
  """
  return parallel.over_rows(_build("samplers", section, model, head))


def objective(config, net):
  """The objective of a config, as a train step computes it."""
  section = configs.plain(config.objective)
  precision, remat = config.train.precision, config.train.remat
  model = compute.trained(net.model, precision, remat)
  return _build("objectives", section, model, net.head, net.ordering)


def optimizer(config):
  """The optax chain of a config."""
  section = configs.plain(config.optimizer)
  section["steps"] = config.train.steps
  return registry.call(optim.make, "optimizer", section)


def layout(config):
  """The parallel.Layout of a config."""
  section = configs.plain(config.parallel)
  makers = dict(pmap=parallel.pmapped, sharded=parallel.sharded)
  name = section.pop("name")
  if name not in makers:
    raise errors.UsageError(
      f"config.parallel.name: none is named {name!r}"
      f"{registry.nearest(name, makers)}; there are: {', '.join(makers)}"
    )
  made = registry.call(makers[name], f"parallel.{name}", section)
  batch_size, accumulate = config.train.batch_size, config.train.accumulate
  parallel.check_batch_size(batch_size, accumulate, made.ways)
  return made


def train_step(config, net, tx, layout, debug=False):
  """The compiled train step of a config, for states of a Layout.

  debug: whether it checks every number; see parallel.Layout.
  """
  return layout.compile(step_maker(config, net, tx), debug)


def step_maker(config, net, tx):
  """(reduce=...) -> the pure train step of a config."""
  return functools.partial(
    train.make_train_step,
    objective(config, net),
    tx,
    steps=config.train.steps,
    accumulate=config.train.accumulate,
    ema_decay=config.train.ema_decay,
  )


def baselines(config, spec):
  """The classical bars of config.evaluate: `fit` of each."""
  names = config.evaluate.baselines
  return [_build("baselines", dict(name=n), spec) for n in names]


def _build(kind, section, *context):
  """registry.build, where a ValueError of the plugin is the user's to mend."""
  try:
    return registry.build(kind, section, *context)
  except ValueError as e:
    raise errors.UsageError(f"config: {kind}.{section['name']}: {e}") from e
