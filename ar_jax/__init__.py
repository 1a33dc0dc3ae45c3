"""Autoregressive generative models in JAX: one contract, any order, exact."""

__version__ = "0.1.0"


def load(workdir, which="last", **sample):
  """Opens the run of a directory: a `run.Run`, with log_prob and sample.

  Args:
    workdir: directory of a run.
    which: checkpoint: "last", "best" or a number of updates.
    **sample: values that replace those of the run's sampler, as
      temperature=0.8.
  """
  from ar_jax import run  # jax only when it is needed

  return run.load(workdir, which, sample)
