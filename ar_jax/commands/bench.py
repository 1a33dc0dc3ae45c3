"""Measure this machine: how fast a network samples, or trains, and could.

  ar_jax bench sample
  ar_jax bench sample --batch=1,16 --length=4096
  ar_jax bench sample --config=configs/text_gpt.py:tiny --batch=1,64
  ar_jax bench sample --workdir=runs/a
  ar_jax bench sample --config=configs/gpt2.py --values=50257 --batch=1,8 \\
      --length=192 --prompt_length=64
  ar_jax bench sample --config=configs/shakespeare_char.py:setting=gpu \\
      --values=65 --config.data.length=16384 --length=512 --batch=1 \\
      --capacity=1024,16384
  ar_jax bench sample --config=configs/digits_pixelcnn.py \\
      --config.sample.name=levels --beside=ancestral
  ar_jax bench train --config=configs/digits_gated_pixelcnn.py
  ar_jax bench train --config=configs/shakespeare_char.py --values=65 \\
      --peer=experiments/peers/nanogpt_step.py --torch_compile

`bench sample` without a config or a run: the WaveNet of 30 layers, residual 64,
skip 256, 256 values. Parameters are random but for those of a run; --values
stands for the text of a config, which is then not read. The ceiling is what the
machine allows, measured in the same process: the bytes that a step has to read
at the speed of matrix-vector products over as many, or its operations at that
of a matrix product. The naive way is one forward for each value, over the
values that a step can see; where it would take long it is left out.

--beside names other samplers, which take turns with that of the network; how
many passes a batch takes is told by those that need not take one a step, as
jacobi, and of a draft the share of its values that is kept: --draft=DIR. A
network with GPT-2's arithmetic takes turns with Hugging Face's `generate`, with
its cache and our parameters, where torch and transformers are installed (pip
install 'ar_jax[bench]'). --capacity says what a step costs by the room of its
cache, the steps in it being the same.

The last line is JSON: network, machine, load, and rows, one for each batch:
batch, length, prompt (of it), samples_per_s (drawn values of all rows),
first_ms (to the first one, the prompt read), token_us (for each after it),
sampler_step_us, step_us (the model alone), compile_s, window and
naive_samples_per_s (null: left out), passes, kept, beside, peer (of Hugging
Face: name, samples_per_s, first_ms, token_us, logits_apart; or null),
capacities (microseconds of a step), and ceiling: bytes_read, flops, bandwidth,
matmul, seconds of a step.

`bench train` takes --config, --values, --repeats and: --steps, of a run;
--peer=FILE.py, the same network in PyTorch with our parameters, which takes
turns (experiments/peers; "peer not installed" without torch); --torch_compile,
its compiled step too. It tells the time of a step, its operations beside the
best matrix product of the same turns, how long a step waits for its batch, and
where the time until the first finished step goes. Its line of JSON: network,
machine, load, stages (seconds), batch, sites, step_ms, quickest_ms,
cpu_ms, sites_per_s, params, flops, flops_per_s, matmul, published (null: no
peak of this device is known), batch_ms (to make one), wait_ms, peer (name,
params, apart, first_s, step_ms, cpu_ms; or null). NPROC=1 in the environment
gives both one thread.
"""

import argparse

from ar_jax.commands import _bench_train

OVERRIDES = True
_PATIENCE = 1.0  # seconds of a naive forward
_SAME = 1e-3  # of logits, over the largest: rounding is less


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("what", choices=("sample", "train"), help="measured")
  parser.add_argument(
    "--config", metavar="FILE.py[:ARGS]", help="network with random parameters"
  )
  parser.add_argument("--workdir", metavar="DIR", help="a run")
  parser.add_argument(
    "--batch",
    type=_counts,
    metavar="B,...",
    help="rows (default: 1,8,64 of a GPT, else 1,16)",
  )
  parser.add_argument(
    "--values", type=int, metavar="V", help="tokens of a text that is not read"
  )
  parser.add_argument(
    "--prompt_length", type=int, default=0, metavar="K", help="steps given"
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
  parser.add_argument(
    "--draft", metavar="DIR", help="of a run: beside it, drafted by another one"
  )
  parser.add_argument(
    "--naive",
    choices=("auto", "yes", "no"),
    default="auto",
    help="measure it (default: where it does not take long)",
  )
  parser.add_argument(
    "--hugging_face",
    choices=("auto", "yes", "no"),
    default="auto",
    help="beside its generate (default: a GPT-2, where it is installed)",
  )
  parser.add_argument(
    "--capacity", type=_counts, default=(), metavar="N,...", help="of a cache"
  )
  _bench_train.add_arguments(parser)


def run(args):
  """Prints the ceilings, a table of what was reached, and a line of JSON."""
  import json
  import os

  from ar_jax import bench, errors
  from ar_jax.commands import _show

  if args.repeats < 1:
    raise errors.UsageError(f"--repeats={args.repeats}: takes 1 or more")
  _check_flags(args)
  if args.what == "train":
    _bench_train.run(args, machine())
    return
  subject = _subject(args)
  length = subject.spec.length if args.length is None else args.length
  is_gpt = subject.config and subject.config["model"]["name"] == "gpt"
  batches = args.batch or ((1, 8, 64) if is_gpt else (1, 16))
  load = os.getloadavg()[0]
  _show.say(f"{subject.name}; {length:,} steps")
  _show.say(f"on {machine()}; load {load:.1f} before the first measurement")
  names = [name for name in args.beside.split(",") if name]
  beside = bench.samplers(subject, names) | _draft(args)
  rows, prompt = [], args.prompt_length
  for batch in batches:
    bench.check_length(subject, batch, length, prompt)
  peer = _peer(args, subject)
  for batch in batches:
    limit = bench.ceiling(subject, batch, length, prompt)
    _show.say(
      f"ceiling at batch {batch}: {batch / limit.seconds:,.0f} samples/s;"
      f" a step reads {limit.bytes_read / 1e6:.1f} MB at"
      f" {limit.bandwidth / 1e9:.1f} GB/s and has"
      f" {limit.flops / 1e6:.1f} MFLOP at {limit.matmul / 1e9:.0f} GFLOP/s"
    )
    reached = bench.sampling(
      subject,
      batch,
      length,
      args.repeats,
      beside,
      prompt=prompt,
      naive=_is_naive(args, subject, batch, length),
      peer=peer,
    )
    sizes = args.capacity and bench.capacities(
      subject, batch, length, args.capacity, args.repeats
    )
    row = dict(reached, capacities=sizes or None, ceiling=limit._asdict())
    rows.append(row)
  _print(rows, args.repeats)
  found = dict(network=subject.name, machine=machine(), load=load, rows=rows)
  print(json.dumps(found))


def machine():
  """Devices, cores and version of JAX."""
  import os

  import jax

  return (
    f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    f" ({jax.default_backend()}), {os.cpu_count()} cores,"
    f" jax {jax.__version__}"
  )


def _check_flags(args):
  """UsageError for a flag of what is not measured."""
  from ar_jax import errors

  shared = ("what", "config", "values", "repeats")
  parser = argparse.ArgumentParser()
  _bench_train.add_arguments(parser)
  of_train = [action.dest for action in parser._actions[1:]]
  add_arguments(parser := argparse.ArgumentParser())
  for action in parser._actions[1:]:
    name = action.dest
    if name in shared or (name in of_train) == (args.what == "train"):
      continue
    if getattr(args, name) != action.default:
      raise errors.UsageError(f"bench {args.what} takes no --{name}")


def _draft(args):
  """{name: sampler} of --draft."""
  from ar_jax import errors, views
  from ar_jax import run as runs

  if args.draft is None:
    return {}
  if args.workdir is None:
    raise errors.UsageError("--draft=DIR drafts for a --workdir=DIR")
  run = views.drafted(runs.load(args.workdir), runs.load(args.draft))
  return {f"drafted by {args.draft}": run.net.sampler}


def _peer(args, subject):
  """Hugging Face's network, or None and a line that says why."""
  from ar_jax import errors, gpt2, peer
  from ar_jax.commands import _show

  if args.hugging_face == "no":
    return None
  try:
    if subject.config is None:
      raise errors.UsageError("--hugging_face takes a GPT-2 of a config or run")
    if args.hugging_face == "auto":
      gpt2.to_hf(subject.config, subject.spec, {})  # else it is not meant
  except errors.UsageError:
    if args.hugging_face == "yes":
      raise
    return None
  try:
    made = peer.hugging_face(subject.config, subject.spec, subject.params)
  except errors.UsageError as e:
    if args.hugging_face == "yes":
      raise
    _show.say(str(e))
    return None
  _show.say(f"beside {made.name}, float32 on all cores")
  return made


def _is_naive(args, subject, batch, length):
  """Whether the naive way is measured; says so where it is left out."""
  from ar_jax import bench
  from ar_jax.commands import _show

  if args.naive != "auto":
    return args.naive == "yes"
  seconds = bench.naive_seconds(subject, batch, length)
  if seconds <= _PATIENCE:
    return True
  _show.say(
    f"the naive way at batch {batch} is left out: a forward takes"
    f" {seconds:.1f} s or more; --naive=yes measures it"
  )
  return False


def _subject(args):
  """The network that the flags name."""
  import jax

  from ar_jax import assemble, bench, errors
  from ar_jax import config as configs
  from ar_jax import run as runs

  if args.overrides and args.config is None:
    raise errors.UsageError("--config.KEY=VALUE needs --config=FILE.py")
  if args.values is not None and args.config is None:
    raise errors.UsageError("--values=V needs --config=FILE.py, of a text")
  if args.config is not None and args.workdir is not None:
    raise errors.UsageError("give --config or --workdir, not both")
  if args.workdir is not None:
    trained = runs.load(args.workdir)
    name = f"{trained.config.model.name} of {args.workdir}"
    return bench.Subject(
      name,
      trained.net,
      trained.spec,
      trained.params,
      configs.plain(trained.config),
    )
  if args.config is None:
    return bench.wavenet(4096 if args.length is None else args.length)
  config = configs.load(args.config, args.overrides)
  found = spec(args, config)
  net = assemble.network(config, found)
  params = jax.jit(net.model.init)(jax.random.key(config.seed))
  name = f"{config.model.name} of {args.config}, random parameters"
  return bench.Subject(name, net, found, params, configs.plain(config))


def spec(args, config):
  """The DataSpec of a config: of its data, or of a text of --values tokens."""
  from ar_jax import assemble, errors
  from ar_jax.types import DataSpec

  if args.values is None:
    return assemble.dataset(config).spec
  if args.values < 1 or "level" not in config.data:
    raise errors.UsageError(
      f"--values={args.values}: tokens of a config whose data is text, such"
      " as configs/gpt2.py"
    )
  return DataSpec((config.data.length,), 1, args.values)


def _print(rows, repeats):
  from rich.table import Table

  from ar_jax.commands import _show

  table = Table(title=f"sampling; medians of {repeats} runs that took turns")
  cells = [_cells(row) for row in rows]
  for name in cells[0]:
    table.add_column(name, justify="right")
  for row in cells:
    table.add_row(*row.values())
  _show.show(table)
  told = f"; naive is one forward of {rows[0]['window']:,} steps for each value"
  naive = any(row["naive_samples_per_s"] for row in rows)
  _show.say("samples are values of all rows together" + (told if naive else ""))
  for row in rows:
    if peer := row["peer"]:
      _show.say(
        f"batch {row['batch']}: Hugging Face's logits differ by"
        f" {peer['logits_apart']:.1e} of the largest"
        + (peer["logits_apart"] > _SAME)
        * ": NOT THE SAME NETWORK"
      )
    if sizes := row["capacities"]:
      least = sizes[min(sizes)]
      told = (f"{n:,}: {us:,.0f} us" for n, us in sizes.items())
      _show.say(
        f"batch {row['batch']}: a step of the first {row['length']:,} by the"
        f" room of its cache, {', '.join(told)}; ratio"
        f" {sizes[max(sizes)] / least:.2f}"
      )


def _cells(row):
  """{column: cell} of a row."""
  rate, naive, peer = (
    row[k] for k in ("samples_per_s", "naive_samples_per_s", "peer")
  )
  cells = {
    "batch": f"{row['batch']}",
    "samples/s": f"{rate:,.0f}",
  }
  if naive:
    cells["naive samples/s"] = f"{naive:,.1f}"
    cells["cached / naive"] = f"{rate / naive:,.0f}"
  cells |= {
    "% of ceiling": _percent(row),
    "ms to the first": f"{row['first_ms']:,.1f}",
    "us a sample after it": f"{row['token_us']:,.1f}",
    "us a step, model alone": f"{row['step_us']:,.1f}",
    "s to compile": f"{row['compile_s']:.1f}",
  }
  if row["passes"]:
    cells["passes"] = f"{row['passes']:,}"
  for name, other in row["beside"].items():
    cells[f"x {name}"] = _ratio(rate, **other)
  if peer:
    cells |= {
      "Hugging Face": f"{peer['samples_per_s']:,.0f}",
      "ms to its first": f"{peer['first_ms']:,.1f}",
      "x Hugging Face": f"{rate / peer['samples_per_s']:.2f}",
    }
  return cells


def _percent(row):
  """Of the ceiling, reached by the samples after the first."""
  after = row["token_us"] / 1e6
  return f"{100 * row['ceiling']['seconds'] / after:.0f}" if after else "-"


def _ratio(rate, samples_per_s, passes, kept):
  told = f", {passes:,} passes" if passes else ""
  told += "" if kept is None else f", {kept:.0%} kept"
  return f"{rate / samples_per_s:.2f}{told}"


def _counts(text):
  try:
    counts = tuple(int(n) for n in text.split(","))
  except ValueError:
    counts = (0,)
  if min(counts) < 1:
    raise argparse.ArgumentTypeError(f"{text!r} is no list such as 1,16")
  return counts
