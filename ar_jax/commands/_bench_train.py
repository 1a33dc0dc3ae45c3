"""`ar_jax bench train`: flags, and what is printed."""


def add_arguments(parser):
  """Flags that `bench sample` has not."""
  parser.add_argument(
    "--steps", type=int, default=10, metavar="N", help="of a run (train)"
  )
  parser.add_argument(
    "--peer", metavar="FILE.py", help="the same network in PyTorch (train)"
  )
  parser.add_argument(
    "--torch_compile", action="store_true", help="its compiled step too (train)"
  )


def run(args, machine):
  """Prints what was measured, and a line of JSON."""
  import json
  import os

  import jax

  from ar_jax import bench_train, errors
  from ar_jax import config as configs
  from ar_jax.commands import _show

  stages = dict(imports=bench_train.since_start())
  if args.config is None:
    raise errors.UsageError("bench train takes --config=FILE.py")
  if args.steps < 1:
    raise errors.UsageError(f"--steps={args.steps}: takes 1 or more")
  config, load = configs.load(args.config, args.overrides), os.getloadavg()[0]
  (spec, split), stages["data"] = bench_train.timed(_data, args, config)
  subject, stages["parameters"] = bench_train.timed(
    bench_train.subject, config, spec, split
  )
  name = f"{config.model.name} of {args.config}, random parameters"
  batch = "drawn at random" if split is None else config.data.name
  _show.say(f"{name}; batches {batch}")
  _show.say(f"on {machine}; load {load:.1f} before the first measurement")
  peer, apart = _peer(args, config, subject), None
  if peer:
    apart = bench_train.apart(subject, peer, subject.batch_at(0))
    _show.say(f"beside {peer.name}: {peer.params:,} parameters")
  more, step, state = bench_train.first_step(subject)
  stages |= more
  found = bench_train.training(
    subject, step, state, repeats=args.repeats, count=args.steps, peer=peer
  )
  if peer:
    found["peer"]["apart"] = apart
  found = dict(network=name, machine=machine, load=load, stages=stages, **found)
  _print(found, args, jax.devices()[0].device_kind)
  print(json.dumps(found))


def _data(args, config):
  """(DataSpec, training split or None where batches are drawn at random)."""
  from ar_jax import assemble
  from ar_jax.commands import bench
  from ar_jax.types import DataSpec

  given = config.data.get("path", None)
  if args.values is not None:
    return bench.spec(args, config), None
  if given == "" and "num_values" in config.data:  # its file is not here
    return DataSpec(tuple(config.data.shape), 1, config.data.num_values), None
  dataset = assemble.dataset(config)
  return dataset.spec, dataset.splits["train"]


def _peer(args, config, subject):
  """The Peer of --peer, or None and a line that says why."""
  from ar_jax import config as configs
  from ar_jax import errors, peer_step
  from ar_jax.commands import _show

  if args.peer is None:
    if args.torch_compile:
      raise errors.UsageError("--torch_compile is of a --peer=FILE.py")
    return None
  peer = peer_step.load(
    args.peer,
    configs.plain(config),
    subject.spec,
    subject.state.params,
    compiled=args.torch_compile,
  )
  if peer is None:
    _show.say("peer not installed: pip install 'ar_jax[bench]'")
  return peer


def _print(found, args, kind):
  from rich.table import Table

  from ar_jax import bench_train
  from ar_jax.commands import _show

  table = Table(title=f"a train step of {found['sites']:,} sites")
  columns = (
    "",
    "ms a step",
    "CPU ms",
    "sites/s",
    "ours / it",
    "CPU",
    "s to first",
  )
  for column in columns:
    table.add_column(column, justify="right" if column else "left")
  stages, ours = found["stages"], found["step_ms"]
  peer = found["peer"] or dict(step_ms={}, cpu_ms={}, first_s={})
  all_ms = dict(ar_jax=ours, **peer["step_ms"])
  all_cpu = dict(ar_jax=found["cpu_ms"], **peer["cpu_ms"])
  first = sum(stages[k] for k in ("trace", "compile", "first_step"))
  first_s = dict(ar_jax=first, **peer["first_s"])
  for name, ms in all_ms.items():
    cpu = all_cpu[name]
    table.add_row(
      name,
      f"{ms:,.1f}",
      f"{cpu:,.1f}",
      f"{1e3 * found['sites'] / ms:,.0f}",
      f"{ours / ms:.2f}",
      f"{found['cpu_ms'] / cpu:.2f}",
      f"{first_s[name]:.1f}",
    )
  if args.peer and not found["peer"]:
    table.add_row("PyTorch", "peer not installed")
  _show.show(table)
  _show.say(
    f"medians of {args.repeats} runs of {args.steps} steps that took turns; the"
    f" quickest of ours: {found['quickest_ms']:,.1f} ms. CPU: of all threads;"
    " under NPROC=1, the time of the work on a busy machine too"
  )
  if found["peer"]:
    _show.say(
      f"theta of both differs by {peer['apart']:.1e} of the largest"
      + (peer["apart"] > 1e-3) * ": NOT THE SAME NETWORK"
    )
  _show.say(
    f"{found['params']:,} parameters; {found['flops'] / 1e9:,.2f} GFLOP a step:"
    f" {bench_train.FORMULA}"
  )
  rate, peak = found["flops_per_s"], found["published"]
  _show.say(
    f"{rate / 1e9:,.1f} GFLOP/s: {rate / found['matmul']:.0%} of the measured"
    f" peak, {found['matmul'] / 1e9:,.0f} GFLOP/s of a float32 matrix product"
  )
  if peak is None:
    _show.say(f"no published peak of {kind} is known here: none is guessed")
  else:
    _show.say(f"{rate / peak:.1%} of the published bfloat16 peak of {kind}")
  wait = found["wait_ms"]
  _show.say(
    f"a batch takes {found['batch_ms']:.2f} ms to make; made ahead, a step"
    f" waits {wait:.2f} ms for it, {wait / ours:.1%} of its time"
  )
  told = (f"{k} {s:.1f}" for k, s in stages.items() if s is not None)
  total = sum(s for s in stages.values() if s is not None)
  _show.say(
    f"the first step is finished after {total:.1f} s:"
    f" {', '.join(told).replace('_', ' ')}"
  )
