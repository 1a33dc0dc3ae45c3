"""p(y | x) from p(x | y) p(y): what a conditional model knows about labels."""

import numpy as np

from ar_jax import errors, likelihood


def label_of(spec, name=None):
  """The name of a condition of kind "label"; UsageError where none fits."""
  labels = [k for k, c in spec.conditions.items() if c.kind == "label"]
  if not labels:
    raise errors.UsageError("this run has no label: there is nothing to infer")
  if (
    name is None and len(labels) > 1 or name is not None and name not in labels
  ):
    raise errors.UsageError(
      f"--label {name}: this run has the labels {', '.join(labels)}"
    )
  return name or labels[0]


def prior(split, name, num_values):
  """Frequencies of the labels of a split, float64 [Y], add-one smoothed."""
  label_N = read(split, lambda x_BLC, weight_BL, y: y[name])
  count_Y = 1 + np.bincount(label_N, minlength=num_values)
  return count_Y / count_Y.sum()


def read(split, pick):
  """What `pick(x_BLC, weight_BL, y)` gives, of all items of a split."""
  parts = [
    pick(*split.get(np.arange(first, min(first + 4096, split.size))))
    for first in range(0, split.size, 4096)
  ]
  return np.concatenate(parts)


def log_joint(log_prob, split, name, prior_Y):
  """log p(x | y) + log p(y) of every label, nats: float64 [N, Y].

  One pass a label; sites that the split does not score do not count.

  Args:
    log_prob: (Split) -> float64 [N, L], of its items given its y.
    split: Split.
    name: of the label; other conditions keep the values of the split.
    prior_Y: p(y).
  """
  weight_NL = read(split, lambda x_BLC, weight_BL, y: weight_BL)
  columns = []
  for label in range(len(prior_Y)):
    log_NL = log_prob(given(split, name, label))
    columns.append(np.where(weight_NL > 0, log_NL * weight_NL, 0).sum(1))
  return np.stack(columns, 1) + np.log(prior_Y)


def given(split, name, label):
  """The split with one label for all items; None: with none."""

  def get(index_B):
    x_BLC, weight_BL, y = split.get(index_B)
    y = {k: v for k, v in y.items() if k != name}
    if label is not None:
      y[name] = np.full(len(index_B), label, np.int32)
    return x_BLC, weight_BL, y

  return split._replace(get=get)


def report(log_joint_NY, label_N, prior_Y, null_N=None):
  """Figures of the posterior p(y | x), JSON data.

  Args:
    log_joint_NY: of `log_joint`.
    label_N: true labels.
    prior_Y: p(y).
    null_N: log p(x) by the model without a label, nats [N], or None.
  Returns:
    dict(items, accuracy, log_loss: nats of the true label,
    conditional_nats: mean -log p(x | y), marginal_nats: mean -log sum over y,
    information: their difference, an estimate of I(x; y), with its standard
    error; label_entropy: of the prior, which bounds I(x; y); null_nats: mean
    -log p(x) without a label, which a model that knows its labels should
    match with marginal_nats; confusion: counts [true][inferred]).
  """
  items = np.arange(len(label_N))
  log_x_N = likelihood.mix(log_joint_NY.T) + np.log(len(prior_Y))
  log_true_N = log_joint_NY[items, label_N]
  inferred_N = log_joint_NY.argmax(1)
  right_N = inferred_N == label_N
  conditional_N = np.log(prior_Y)[label_N] - log_true_N
  information_N = -log_x_N - conditional_N
  confusion = np.zeros((len(prior_Y), len(prior_Y)), int)
  np.add.at(confusion, (label_N, inferred_N), 1)
  result = dict(
    items=len(label_N),
    accuracy=float(right_N.mean()),
    accuracy_error=_error(right_N),
    log_loss=float((log_x_N - log_true_N).mean()),
    conditional_nats=float(conditional_N.mean()),
    marginal_nats=float(-log_x_N.mean()),
    information=float(information_N.mean()),
    information_error=_error(information_N),
    label_entropy=float(-(prior_Y * np.log(prior_Y)).sum()),
    confusion=confusion.tolist(),
  )
  if null_N is not None:
    result["null_nats"] = float(-null_N.mean())
  return result


def _error(values_N):
  """Standard error of a mean."""
  return float(np.std(values_N, ddof=1) / np.sqrt(len(values_N)))


def of_run(run, dataset, split_name, name):
  """The report of a split, by a run: one pass a label, one without.

  Args:
    run: run.Run.
    dataset: Dataset.
    split_name: whose items are classified.
    name: of the label.
  """
  split = dataset.splits[split_name]
  num_values = run.spec.conditions[name].num_values
  prior_Y = prior(dataset.splits["train"], name, num_values)
  log_joint_NY = log_joint(run.log_prob_of, split, name, prior_Y)
  label_N = read(split, lambda x_BLC, weight_BL, y: y[name])
  null_N = run.log_prob_of(given(split, name, None)).sum(1)
  return dict(
    label=name,
    split=split_name,
    protocol=split.protocol,
    **report(log_joint_NY, label_N, prior_Y, null_N),
  )
