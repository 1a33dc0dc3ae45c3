"""What the checks find about a model, a head and a sampler: rows of a table."""

import functools
from typing import NamedTuple

import jax
import numpy as np

from ar_jax.proofs import cases, chance, checks

SHIFTS = (1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0, 0.0)  # temperatures


class Finding(NamedTuple):
  """What one check of one subject found.

  on: the cells that it ran on, and whether they are all there are.
  figure, bar: as text.
  passed: None where it did not run.
  message: why it failed, or did not run.
  """

  subject: str
  check: str
  on: str
  figure: str
  bar: str
  passed: bool | None
  message: str = ""


class Plan(NamedTuple):
  """How much of a case is checked; see checks.py.

  swaps, stretches: None stands for all there are.
  cuts: of extend; None: it is not checked.
  prefix: steps given before what is sampled.
  """

  swaps: list | None = None
  stretches: list | None = None
  cuts: tuple | None = (1,)
  prefix: int = 0


def left_out(subject, why, check="all checks"):
  """What did not run, and why."""
  return Finding(subject, check, "", "", "", None, f"left out: {why}")


def guarded(subject, run):
  """The findings of run(); one that says why, where there are none."""
  try:
    return run()
  except Exception as e:  # of a plugin, on versions we have not seen
    return [Finding(subject, "runs", "", "", "", False, _said(e))]


def _said(error):
  """One line about an exception."""
  lines = str(error).strip().splitlines() or [""]
  named = isinstance(error, cases.Broken)
  return lines[0] if named else f"{type(error).__name__}: {lines[0]}"


def find(subject, check, on, bar, run):
  """Runs one check; an exception of any kind is a failure."""
  try:
    figure = run()
    text = figure if isinstance(figure, str) else f"{figure:.2g}"
    return Finding(subject, check, on, text, bar, True)
  except Exception as e:
    figure = getattr(e, "figure", None)
    text = "" if figure is None else f"{figure:.2g}"
    return Finding(subject, check, on, text, bar, False, _said(e))


def of_case(subject, case, plan=Plan(), sampler=None):  # noqa: B008
  """Findings about a model in one case.

  Args:
    subject: what the rows call it.
    case: Case; without sequences of its own it is checked on all there are.
    plan: Plan.
    sampler: of a sampler plugin; None: nothing is sampled.
  """
  L = case.spec.length
  dtype = _dtype(case.params)
  on, swaps = _on(case), plan.swaps
  if swaps is None:
    swaps = list(checks.all_swaps(case.spec))
  changes = functools.cache(lambda: checks.dependencies(case, swaps=swaps))
  row = functools.partial(find, subject)
  rows = []
  if case.x_NLC is None:
    bar = f"<= {checks.SUM[dtype]:g}"
    rows.append(row("normalised", on, bar, lambda: checks.normalised(case)))
  some = "every swap" if plan.swaps is None else f"{len(swaps)} sampled swaps"
  where = f"{on}, {some}"
  steps = [s for s, _, _ in swaps]
  rows += [
    row(
      "causal", where, "no bit moves", lambda: checks.causal(case, changes())
    ),
    row("reads", where, "> 0", lambda: checks.read(case, changes(), steps)),
    row(
      "step == apply",
      f"{on}, {_steps(plan.stretches, L)}",
      f"<= {checks.STEP[dtype]:g}",
      lambda: checks.step_equals_apply(case, plan.stretches),
    ),
  ]
  if plan.cuts is not None:
    rows.append(
      row(
        "extend == apply",
        f"{on}, refused from {plan.cuts[0]}",
        f"<= {checks.STEP[dtype]:g}",
        lambda: checks.extend_equals_apply(case, plan.cuts),
      )
    )
  if sampler is not None:
    rows.append(of_samples(subject, case, sampler, prefix=plan.prefix))
  return rows


def of_samples(subject, case, sampler, settings=(), prefix=0):
  """The row of a sampler's own log-probabilities."""
  bar = checks.STEP[_dtype(case.params)] * case.spec.length
  count = len(cases.space(case)[0])
  given = f"{prefix} steps and 40 %" if prefix else "40 %"
  return find(
    subject,
    "sampled == scored",
    f"{count:,} samples, {given} given",
    f"<= {bar:g}",
    lambda: chance.sampled_equals_scored(case, sampler, settings, prefix),
  )


def _dtype(params):
  """The dtype whose bars hold."""
  found = {str(p.dtype) for p in jax.tree.leaves(params)}
  return "float64" if "float64" in found else "float32"


def _on(case):
  """Which sequences, as "all 243 x 2 orders"."""
  count = len(cases.space(case)[0]) // cases.num_blocks(case)
  kind = "all" if case.x_NLC is None else "sampled:"
  K = cases.num_blocks(case)
  orders = "" if case.order_KL is None else f" x {K} order{'s' * (K > 1)}"
  return f"{kind} {count:,}{orders}"


def _steps(stretches, length):
  if stretches is None:
    return f"all {length} steps"
  return "steps " + ", ".join(f"{t}..{t + K - 1}" for t, K in stretches)


def of_head(subject, head, spec):
  """Findings about a head at random parameters."""
  rng = np.random.default_rng(0)
  theta_NP = 2 * rng.standard_normal((20, head.num_params)).astype(np.float32)
  values = spec.num_values**spec.channels
  return [
    find(
      subject,
      "normalised",
      f"20 sites, all {values} values",
      f"<= {checks.SUM['float32']:g}",
      lambda: checks.head_normalised(head, spec, theta_NP),
    ),
    find(
      subject,
      "draws ~ log_prob",
      f"{chance.DRAWS:,} draws (T 1.02: fail)",
      f"p > {chance.CHANCE:g}",
      lambda: chance.head_follows(head, spec, theta_NP),
    ),
  ]


def of_draws(subject, case, sampler, settings=(), draws=chance.DRAWS):
  """Findings about draws against the enumeration, and about their power."""
  settings = dict(settings)
  warm = settings.get("temperature", 1)
  others = {
    t: functools.partial(
      chance.adjusted, case, dict(settings, temperature=warm * t)
    )
    for t in SHIFTS
  }
  prob_N = functools.cache(lambda: chance.adjusted(case, settings))
  return of_chance(
    subject,
    f"{draws:,} draws, {_on(case)}",
    lambda: chance.sampler_follows(case, sampler, prob_N(), draws),
    lambda: chance.power(prob_N(), others, draws),
  )


def of_chance(subject, on, follows, power):
  """Findings about a test of draws and of its power.

  Args:
    subject, on: of the rows.
    follows: () -> p-value of the draws.
    power: () -> (temperature, p-value) of another distribution.
  """

  def shown():
    temperature, p = power()
    return f"{p:.2g} at T {temperature:g}"

  bar = f"{chance.CHANCE:g}"
  return [
    find(subject, "sampler ~ model", on, f"p > {bar}", follows),
    find(subject, "its power", "as many draws of another", f"p < {bar}", shown),
  ]
