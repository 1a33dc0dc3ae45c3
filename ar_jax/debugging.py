"""A train step that checks every number where it is made: --debug."""

import pathlib
import traceback

from jax.experimental import checkify

from ar_jax import errors


def checked(compiled, step):
  """The compiled step, with a check of every number that is made in it.

  Raises NumericalError, which names the operation that made the first NaN, and
  its place in the code. Several times slower. Indices are not checked: checkify
  of JAX 0.10 fails on a scatter under vmap.
  """
  run = compiled(checkify.checkify(step, errors=checkify.float_checks))

  def call(state, batch, run_key):
    error, (state, metrics) = run(state, batch, run_key)
    if (found := error.get_exception()) is not None:
      told = " ".join(str(error.get()).split()).rstrip(".")
      raise errors.NumericalError(
        f"step {int(state.step)}: {told}, {_place(found)}; nothing was saved"
        " from here on"
      )
    return state, metrics

  call.lower = run.lower
  return call


def _place(error):
  """Where in this package an error of checkify came about."""
  frames = traceback.extract_tb(error.traceback_info.as_python_traceback())
  own = [f for f in frames if pathlib.Path(__file__).parent.name in f.filename]
  return f"{own[-1].filename}, line {own[-1].lineno}" if own else "elsewhere"
