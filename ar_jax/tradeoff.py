"""What guidance buys and what it costs, scale by scale.

A guided sampler is a distribution q of its own, so that all of this is exact
but for what is said to be a mean over draws: the likelihood that q gives to
data, the entropy of q, how probable its draws are to the model, how often the
model infers the label that they were asked for, and how many draws from the
model they are worth.
"""

import numpy as np

from ar_jax import classify, data, likelihood, views


def of_run(run, dataset, split_name, name, scales, num, key):
  """The figures of every scale, JSON data.

  Args:
    run: run.Run with labels.
    dataset: Dataset.
    split_name: whose items are scored.
    name: of the label that the draws take turns in.
    scales: of guidance.guided.
    num: draws of each scale.
    key: of the draws; the same noise for every scale.
  Returns:
    dict(label, split, protocol, items, draws, sites, rows=[dict(scale,
    nats=mean -log q(x | y) of an item, nats_error, over_model=its mean
    difference to the model's own, over_model_error, entropy=mean -log q of
    the draws, entropy_error, model_nats=mean -log p of the draws, inferred:
    share of the draws whose label the model infers, effective: draws from the
    model that they are worth)]).
  """
  split = dataset.splits[split_name]
  weight_NL = classify.read(split, lambda x_BLC, weight_BL, y: weight_BL)
  num_labels = run.spec.conditions[name].num_values
  prior_Y = np.full(num_labels, 1 / num_labels)
  label_N = np.arange(num, dtype=np.int32) % num_labels

  def nats(one):
    log_NL = one.log_prob_of(split)
    return -np.where(weight_NL > 0, log_NL * weight_NL, 0).sum(1)

  own_N, rows = nats(run), []
  for scale in scales:
    guided = views.guided(run, scale)
    nats_N = nats(views.scored_as_drawn(guided))
    drawn = guided.sample(key, num, y={name: label_N})
    log_p_N, log_q_N = (
      np.where(drawn.drawn_BT, a, 0).sum(1)
      for a in (drawn.log_prob_model_BT, drawn.log_prob_sampler_BT)
    )
    items = data.items(drawn.x_BTC, {name: label_N})
    log_joint_NY = classify.log_joint(run.log_prob_of, items, name, prior_Y)
    rows.append(
      dict(
        scale=scale,
        nats=float(nats_N.mean()),
        nats_error=_error(nats_N),
        over_model=float((nats_N - own_N).mean()),
        over_model_error=_error(nats_N - own_N),
        entropy=float(-log_q_N.mean()),
        entropy_error=_error(log_q_N),
        model_nats=float(-log_p_N.mean()),
        inferred=float((log_joint_NY.argmax(1) == label_N).mean()),
        effective=likelihood.effective_samples(log_p_N, log_q_N),
      )
    )
  return dict(
    label=name,
    split=split_name,
    protocol=split.protocol,
    items=len(own_N),
    draws=num,
    sites=run.spec.length * run.spec.channels,
    rows=rows,
  )


def draw(result, folder):
  """Writes guidance.png, the curves of `of_run` by scale; returns its path."""
  from matplotlib.figure import Figure

  rows, path = result["rows"], folder / "guidance.png"
  scale_S = [row["scale"] for row in rows]
  figure = Figure(figsize=(8, 3.2), layout="constrained")
  nats, share = figure.subplots(1, 2)
  for name, label in (
    ("nats", f"-log q of the {result['split']} split"),
    ("entropy", "entropy of q"),
    ("model_nats", "-log p of its draws"),
  ):
    nats.plot(scale_S, [row[name] for row in rows], ".-", lw=1, label=label)
  nats.set_ylabel("nats an item")
  for label, values in (
    ("label inferred", [row["inferred"] for row in rows]),
    (
      "effective share of the draws",
      [row["effective"] / result["draws"] for row in rows],
    ),
  ):
    share.plot(scale_S, values, ".-", lw=1, label=label)
  share.set_ylim(0, 1.02)
  for axes in (nats, share):
    axes.axvline(1, color="0.8", lw=0.8, zorder=0)
    axes.set_xlabel("guidance scale")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
  figure.savefig(path, dpi=120)
  return path


def _error(values_N):
  """Standard error of a mean."""
  return float(np.std(values_N, ddof=1) / np.sqrt(len(values_N)))
