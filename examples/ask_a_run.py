"""A trained run, asked from Python: likelihood, surprise, samples.

  ar_jax train --config=configs/text_gpt.py:tiny --workdir=runs/example
  python examples/ask_a_run.py runs/example

Cells are marked by `# %%`: editors that know them run this file as a notebook.
"""

# %% Open a run: its directory is all that is needed.
import sys

import jax
import numpy as np

import ar_jax

run = ar_jax.load(sys.argv[1] if len(sys.argv) > 1 else "runs/example")
print(f"{run.config.model.name} after {run.step} updates, {run.spec.shape}")

# %% The exact log-probability of a text, in nats; a list gives an array.
sentence = "The list of the names of a class."
shuffled = "".join(np.random.default_rng(0).permutation(list(sentence)))
for words, nats in zip(
  (sentence, shuffled), run.log_prob([sentence, shuffled]), strict=True
):
  print(f"{nats:9.2f} nats, {-nats / len(words):.3f} a character: {words!r}")

# %% Where is the surprise? One figure for each token, in bits.
bits = -run.per_site(sentence) / np.log(2)
for character, surprise in zip(sentence, bits, strict=True):
  print(f"{character!r:>5} {surprise:6.2f} {'#' * round(4 * surprise)}")

# %% Samples, and what they cost under the model.
drawn = run.sample(jax.random.key(0), 4, prompt="The ", length=60)
for text, log_prob in zip(
  drawn.texts, drawn.log_prob_model_BT.sum(axis=1), strict=True
):
  print(f"{log_prob:9.2f} nats: {text!r}")

# %% Sampling settings belong to the sampler, so they are said on loading.
greedy = ar_jax.load(run.workdir, temperature=0.0)
print(greedy.sample(jax.random.key(0), prompt="The ", length=60).texts[0])

# %% Arrays work as texts do: items of the run's shape, one score for each.
items = np.zeros((3, *run.spec.shape), np.int32)
print(run.log_prob(items))
