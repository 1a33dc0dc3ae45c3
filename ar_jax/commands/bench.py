"""Measure this machine: how fast a network samples, and how fast it could.

  ar_jax bench sample
  ar_jax bench sample --batch=1,16 --length=4096
  ar_jax bench sample --config=configs/text_gpt.py:tiny --batch=1,64
  ar_jax bench sample --workdir=runs/a
  ar_jax bench sample --config=configs/digits_pixelcnn.py \\
      --config.sample.name=levels --beside=ancestral

Without a config or a run: the WaveNet of 30 layers, residual 64, skip 256,
256 values. Parameters are random but for those of a run. The ceiling is what
the machine allows, measured in the same process: the bytes that a step has to
read at the speed of matrix-vector products over as many, or its operations at
that of a matrix product. The naive way is one forward for each value, over
the values that a step can see. --beside names other samplers, which take turns
with that of the network; how many passes a batch takes is told by those that
need not take one a step, as jacobi. The last line is JSON.
"""

import argparse

OVERRIDES = True


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("what", choices=("sample",), help="what is measured")
  parser.add_argument(
    "--config", metavar="FILE.py[:ARGS]", help="network with random parameters"
  )
  parser.add_argument("--workdir", metavar="DIR", help="a run")
  parser.add_argument(
    "--batch", type=_counts, default=(1, 16), metavar="B,...", help="rows"
  )
  parser.add_argument(
    "--length", type=int, metavar="L", help="steps (default: all of an item)"
  )
  parser.add_argument(
    "--repeats", type=int, default=5, metavar="N", help="of each run"
  )
  parser.add_argument(
    "--beside", default="", metavar="NAME,...", help="samplers, as ancestral"
  )


def run(args):
  """Prints the ceilings, a table of what was reached, and a line of JSON."""
  import json
  import os

  import jax

  from ar_jax import bench, errors
  from ar_jax.commands import _show

  if args.repeats < 1:
    raise errors.UsageError(f"--repeats={args.repeats}: takes 1 or more")
  subject = _subject(args)
  length = subject.spec.length if args.length is None else args.length
  machine = (
    f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    f" ({jax.default_backend()}), {os.cpu_count()} cores,"
    f" jax {jax.__version__}"
  )
  load = os.getloadavg()[0]
  _show.say(f"{subject.name}; {length:,} steps")
  _show.say(f"on {machine}; load {load:.1f} before the first measurement")
  rows, beside = [], [name for name in args.beside.split(",") if name]
  for batch in args.batch:
    bench.check_length(subject, batch, length)
    limit = bench.ceiling(subject, batch, length)
    _show.say(
      f"ceiling at batch {batch}: {batch / limit.seconds:,.0f} samples/s;"
      f" a step reads {limit.bytes_read / 1e6:.1f} MB at"
      f" {limit.bandwidth / 1e9:.1f} GB/s and has"
      f" {limit.flops / 1e6:.1f} MFLOP at {limit.matmul / 1e9:.0f} GFLOP/s"
    )
    reached = bench.sampling(subject, batch, length, args.repeats, beside)
    rows.append(dict(reached, ceiling=limit._asdict()))
  _print(rows, args.repeats)
  print(json.dumps(dict(network=subject.name, machine=machine, rows=rows)))


def _subject(args):
  """The network that the flags name."""
  import jax

  from ar_jax import assemble, bench, errors
  from ar_jax import config as configs
  from ar_jax import run as runs

  if args.overrides and args.config is None:
    raise errors.UsageError("--config.KEY=VALUE needs --config=FILE.py")
  if args.config is not None and args.workdir is not None:
    raise errors.UsageError("give --config or --workdir, not both")
  if args.workdir is not None:
    trained = runs.load(args.workdir)
    name = f"{trained.config.model.name} of {args.workdir}"
    return bench.Subject(name, trained.net, trained.spec, trained.params)
  if args.config is None:
    return bench.wavenet(4096 if args.length is None else args.length)
  config = configs.load(args.config, args.overrides)
  spec = assemble.dataset(config).spec
  net = assemble.network(config, spec)
  params = jax.jit(net.model.init)(jax.random.key(config.seed))
  name = f"{config.model.name} of {args.config}, random parameters"
  return bench.Subject(name, net, spec, params)


def _print(rows, repeats):
  from rich.table import Table

  from ar_jax.commands import _show

  table = Table(title=f"sampling; medians of {repeats} runs that took turns")
  names = (
    "batch",
    "samples/s",
    "naive samples/s",
    "cached / naive",
    "% of ceiling",
    "us a step",
    "us a step, model alone",
    "s to compile",
    *(["passes"] if rows[0]["passes"] else []),
    *(f"x {name}" for name in rows[0]["beside"]),
  )
  for name in names:
    table.add_column(name, justify="right")
  for row in rows:
    rate, naive = row["samples_per_s"], row["naive_samples_per_s"]
    ceiling = row["batch"] / row["ceiling"]["seconds"]
    cells = (
      f"{row['batch']}",
      f"{rate:,.0f}",
      f"{naive:,.1f}",
      f"{rate / naive:,.0f}",
      f"{100 * rate / ceiling:.0f}",
      f"{row['sampler_step_us']:,.1f}",
      f"{row['step_us']:,.1f}",
      f"{row['compile_s']:.1f}",
      *([f"{row['passes']:,}"] if row["passes"] else []),
      *(_ratio(rate, **other) for other in row["beside"].values()),
    )
    table.add_row(*cells)
  _show.show(table)
  _show.say(
    "samples are values of all rows together; naive is one forward of"
    f" {rows[0]['window']:,} steps for each value"
  )


def _ratio(rate, samples_per_s, passes):
  told = f", {passes:,} passes" if passes else ""
  return f"{rate / samples_per_s:.2f}{told}"


def _counts(text):
  try:
    counts = tuple(int(n) for n in text.split(","))
  except ValueError:
    counts = (0,)
  if min(counts) < 1:
    raise argparse.ArgumentTypeError(f"{text!r} is no list such as 1,16")
  return counts
