"""How a run does on data: the report of a whole split beside its bars."""

import json
import os

import jax
import numpy as np

from ar_jax import (
  assemble,
  checkpoint,
  data,
  errors,
  evaluate,
  inputs,
  maps,
  parallel,
  schedules,
)


def dataset_of(run, config):
  """The data of `config`, for a run that reads its values the same way.

  Returns:
    (Dataset, whether it holds what the run was trained on; None: not known).
  Raises:
    DataError: other shapes, or other meanings of the values.
  """
  dataset = assemble.dataset(config)
  if dataset.spec != run.spec or not inputs.same_values(run, dataset):
    raise errors.DataError(
      "the data is not what this run was trained on: it gives"
      f" {dataset.spec.num_values} values in shape {dataset.spec.shape} from"
      f" {dataset.media.get('source')}, the run knows {run.spec.num_values} in"
      f" shape {run.spec.shape} from {run.media.get('source')}, or another"
      " vocabulary; give the data that it was trained on, or reads alike"
    )
  kept = checkpoint.read_record(run.workdir, "run")["data"]
  return dataset, data.fingerprints(dataset) == kept if kept else None


def score(run, dataset, same_data=None):
  """The report of a whole split beside its baselines.

  Writes it to reports/evaluation.json, and the nats and the weight of each
  item to reports/items.npz, for paired comparisons of runs; the mean nats of
  each site and of each step to reports/maps.npz and maps.png.

  Args:
    run: Run.
    dataset: Dataset.
    same_data: of dataset_of, for the record.
  Returns:
    dict(step, ordering, same_data, model=report, raw=report or None,
    baselines={name: figures}, the source's entropy_rate in nats per site
    where it is known, of several orders the curve of their mixtures, of an
    order-agnostic network its step_nats).
  """
  averaged = run.params is not run.raw_params
  split = dataset.splits[run.config.evaluate.split]
  num, more = run.config.evaluate.orders, {}
  if num is None:
    items, model = score_split(run, run.params, dataset)
  else:
    items, model, more["orders"] = score_orders(run, run.params, dataset, num)
  raw = None
  if averaged and num is None:
    _, raw = score_split(run, run.raw_params, dataset)
  bars = {}
  for fit in assemble.baselines(run.config, run.spec):
    for name, nats in fit(dataset.splits["train"])(split).items():
      bars[name] = evaluate.in_units(nats, model["sites"], split.units)
  result = dict(
    step=run.step,
    ordering=run.config.ordering.name,
    same_data=same_data,
    model=model,
    raw=raw,
    baselines=bars,
    **more,
  )
  every = run.net.ordering.orders_KL is None
  if run.net.model.predict is not None and every:
    result["step_nats"] = step_nats(run, split)
  if "entropy_rate" in run.media:
    result["entropy_rate"] = run.media["entropy_rate"]
  _keep_items(run.workdir, items)
  _keep_maps(run, items)
  write(run.workdir, "evaluation", result)
  return result


def _keep_items(workdir, items):
  """Writes reports/items.npz: nats and weight of each item."""

  def save(path):
    with path.open("wb") as file:
      np.savez(file, nats=items.nats_N, weight=items.weight_N)

  _replace(workdir / "reports" / "items.npz", save)


def _keep_maps(run, items):
  """Writes reports/maps.npz and maps.png: mean nats of each site and step.

  Of several orders that are mixed they are means over the orders, whose sum
  is the bound and not the mixture.
  """
  site_L, step_L = items.site_L.mean(), items.step_L.mean()

  def save(path):
    with path.open("wb") as file:
      np.savez(
        file,
        site_nats=site_L.reshape(run.spec.shape),
        step_nats=step_L,
        site_weight=items.site_L.weight.reshape(run.spec.shape),
        step_weight=items.step_L.weight,
        ordering=run.config.ordering.name,
      )

  _replace(run.workdir / "reports" / "maps.npz", save)
  _replace(
    run.workdir / "reports" / "maps.png",
    lambda path: maps.draw(site_L.reshape(run.spec.shape), step_L, path),
  )


def write(workdir, name, result):
  """Writes reports/NAME.json, whole or not at all.

  Raises:
    StorageError: it cannot be written.
  """
  words = json.dumps(result, indent=2) + "\n"
  path = workdir / "reports" / f"{name}.json"
  _replace(path, lambda part: part.write_text(words, encoding="utf-8"))


def _replace(path, save):
  if not parallel.is_first():
    return
  part = path.with_name(f".{path.stem}.part")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(part)
    os.replace(part, path)
  except OSError as e:
    raise errors.StorageError(
      f"cannot write {path.parent}: {e.strerror}"
    ) from e


def score_split(run, params, dataset):
  """(Score, its report) of the split that the config names, by `params`."""
  split = dataset.splits[run.config.evaluate.split]
  total = evaluate.evaluate(
    run.score_fn,
    parallel.replicate(params),
    split,
    run.config.evaluate.split,
    run.config.evaluate.batch_size,
    run.net.ordering,
    run.config.seed,
  )
  report = evaluate.report(total, split.units, split.entropy)
  return total, dict(report, precision=evaluate.precision(params))


def step_nats(run, split, items=64):
  """Expected nats of the next site where t are known, for each t: [L] floats.

  Of a network that predicts all sites, estimated on the first items of a
  split; what `Run.in_passes` plans with. L passes.
  """
  x_BLC, _, y = split.get(np.arange(min(items, split.size)))
  net, key = run.net, jax.random.key(run.config.seed)
  losses = schedules.step_losses(net.model, net.head, run.params, x_BLC, key, y)
  return losses.tolist()


def score_orders(run, params, dataset, num):
  """The same under `num` orders of the run's family, mixed.

  The best single order is chosen on the validation split, never on another
  one that it is reported for.

  Returns:
    (Score of the mixture, its report, dict(mixture={k: nats an item of the
    first k orders}, mean=nats an item, the bound, each=nats an item of each
    order, and where another split than valid is scored, best=dict(order=k,
    nats=of an item, chosen_on="valid"))).
  """

  def mixed(name):
    return evaluate.mixture(
      run.score_under_fn,
      params,
      dataset.splits[name],
      name,
      run.config.evaluate.batch_size,
      orders_KL,
    )

  name = run.config.evaluate.split
  split, orders_KL = dataset.splits[name], run.first_orders(num)
  total, curve, each = mixed(name)
  report = evaluate.report(total, split.units, split.entropy)
  report["precision"] = evaluate.precision(params)
  curve = {str(k): nats for k, nats in curve.items()}
  found = dict(mixture=curve, mean=float(np.mean(each)), each=each)
  if name not in ("valid", "train") and "valid" in dataset.splits:
    best = int(np.argmin(mixed("valid")[2]))
    found["best"] = dict(order=best, nats=each[best], chosen_on="valid")
  return total, report, found
