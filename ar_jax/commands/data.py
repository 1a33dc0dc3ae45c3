"""Make data: learn a tokenizer, write token files, prepare a data set.

  ar_jax data tokenizer corpus/*.txt --out=tokenizer.json --vocab_size=8192
  ar_jax data tokenize corpus/*.txt --out=tokens --level=bpe \\
      --tokenizer=tokenizer.json
  ar_jax data prepare corpus/*.txt --name=my_text --data_dir=tfds
  ar_jax data prepare-images mnist FOLDER --data_dir=data/tfds

`ar_jax data ACTION --help` tells more. configs/text_gpt.py:data=token_files
trains on a directory of token files, configs/tfds_text.py on a prepared text.
"""

import argparse

_PLAIN_SECONDS = 5.0  # between lines where the output is no terminal
_TOKENIZER = """Learn a byte-level BPE tokenizer from text.

  ar_jax data tokenizer a.txt more/*.txt --out=tokenizer.json
  ar_jax data tokenizer a.txt --out=t.json --vocab_size=8192

The files are read in blocks, so they may be larger than memory. The same
text gives the same tokenizer, byte for byte.
"""

_TOKENIZE = """Turn text into a directory of token files.

  ar_jax data tokenize a.txt more/*.txt --out=tokens --level=byte
  ar_jax data tokenize a.txt --out=tokens --level=bpe \\
      --tokenizer=tokenizer.json --split=90M/5M/5M
  ar_jax train --config=configs/text_gpt.py:data=token_files \\
      --config.data.path=tokens --workdir=runs/a

The files are read one after the other, as `cat` does, in blocks, so they may
be larger than memory. What was stopped, at whatever moment, goes on when the
same command is given again, and ends as if never stopped.
"""

_PREPARE = """Prepare text as a data set of TensorFlow Datasets.

  ar_jax data prepare a.txt more/*.txt --name=my_text --data_dir=tfds
"""

_PREPARE_IMAGES = """Prepare MNIST or CIFAR-10 from their raw files, as TFDS.

  ar_jax data prepare-images mnist FOLDER --data_dir=data/tfds
  ar_jax data prepare-images cifar10 cifar-10-binary.tar.gz --data_dir=data/tfds

FOLDER holds the four files of MNIST, gzipped or not:
train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,
t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz. CIFAR-10 is taken in its
binary version, packed or unpacked; its python version is pickles, which can
run code when they are read. Nothing is downloaded. To be read as

  config.data = dict(name="tfds", dataset="mnist", data_dir="data/tfds",
      feature="image", label="label", splits="train[:50000]/train[50000:]/test")
"""


def add_arguments(parser):
  """Flags of the actions."""
  actions = parser.add_subparsers(
    dest="action", metavar="ACTION", required=True, title="actions"
  )

  def add(name, text, **inputs):
    action = actions.add_parser(
      name,
      help=text.split("\n")[0],
      description=text,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )
    for argument, options in inputs.items():
      action.add_argument(argument, **options)
    return action

  texts = dict(nargs="+", metavar="IN", help="UTF-8 files and globs")
  learn = add("tokenizer", _TOKENIZER, inputs=texts)
  learn.add_argument("--out", required=True, metavar="FILE", help="a new file")
  learn.add_argument("--vocab_size", type=int, default=1024, metavar="V")
  learn.add_argument(
    "--min_frequency",
    type=int,
    default=2,
    metavar="N",
    help="occurrences that a pair needs to be merged",
  )
  write = add("tokenize", _TOKENIZE, inputs=texts)
  write.add_argument(
    "--out", required=True, metavar="DIR", help="new, or one to go on with"
  )
  write.add_argument("--level", choices=("char", "byte", "bpe"), default="char")
  write.add_argument("--tokenizer", metavar="FILE", help="for --level=bpe")
  write.add_argument(
    "--split",
    metavar="S",
    help="0.9/0.1, fractions of the characters (the default), or 90M/5M/5M,"
    " bytes: train/valid or train/valid/test",
  )
  write.add_argument(
    "--valid",
    action="append",
    metavar="GLOB",
    help="files of the validation split; IN then trains, all of it",
  )
  write.add_argument(
    "--test", action="append", metavar="GLOB", help="files of the test split"
  )
  write.add_argument(
    "--workers", type=int, default=2, metavar="N", help="processes"
  )
  tfds = add("prepare", _PREPARE, inputs=texts)
  tfds.add_argument("--name", default="my_text", help="of the data set")
  tfds.add_argument("--data_dir", required=True, metavar="DIR")
  tfds.add_argument("--split", default="0.9/0.1", metavar="S")
  images = add(
    "prepare-images",
    _PREPARE_IMAGES,
    dataset=dict(choices=("mnist", "cifar10")),
    input=dict(metavar="IN", help="folder of raw files, or .tar.gz of cifar10"),
  )
  images.add_argument("--data_dir", required=True, metavar="DIR")


def run(args):
  """Does one of the actions."""
  from ar_jax import errors

  if args.overrides:
    raise errors.UsageError("`ar_jax data` reads no config")
  actions = {
    "tokenizer": _tokenizer,
    "tokenize": _tokenize,
    "prepare": _prepare,
    "prepare-images": _prepare_images,
  }
  actions[args.action](args)


def _tokenizer(args):
  from ar_jax.tokens import bpe

  made = bpe.train(args.out, args.inputs, args.vocab_size, args.min_frequency)
  print(
    f"{args.out}: {made['tokens']:,} tokens;"
    f" {made['bytes_per_token']:.2f} bytes a token on"
    f" the first {made['measured']:,} bytes"
  )
  if made["tokens"] < args.vocab_size:
    print(
      f"the text has no more pairs that occur {args.min_frequency} times:"
      f" {args.vocab_size:,} were asked for"
    )


def _tokenize(args):
  from ar_jax import errors
  from ar_jax.tokens import tokenwriter

  if (args.level == "bpe") != bool(args.tokenizer):
    raise errors.UsageError(
      "--level=bpe and --tokenizer=FILE go together; `ar_jax data tokenizer"
      " IN... --out=FILE` makes one"
    )
  if args.split and args.valid:
    raise errors.UsageError("give --split or --valid, not both")
  with _Progress() as progress:
    written = tokenwriter.write(
      args.out,
      args.inputs,
      level=args.level,
      tokenizer=args.tokenizer or "",
      split=args.split or "0.9/0.1",
      valid=args.valid or (),
      test=args.test or (),
      workers=args.workers,
      view=progress.view,
    )
  if not written.done:
    print(f"{args.out} is finished: nothing to do")
  elif written.kept:
    print(f"went on: {written.kept} blocks were done, {written.done} are new")
  dtype = written.manifest["dtype"]
  for name, figures in written.manifest["splits"].items():
    size = figures["units"]["byte"]
    print(
      f"{args.out}/{name}.bin: {figures['tokens']:,} tokens ({dtype}) of"
      f" {size:,} bytes of text, {size / figures['tokens']:.2f} a token"
    )


def _prepare(args):
  from ar_jax import prepare

  print(prepare.text(args.inputs, args.name, args.data_dir, args.split))


def _prepare_images(args):
  from ar_jax import prepare_images

  kinds = dict(mnist=prepare_images.mnist, cifar10=prepare_images.cifar10)
  print(kinds[args.dataset](args.input, args.data_dir))


class _Progress:
  """Bytes done, MB/s and time left; lines where output is no terminal."""

  def __init__(self):
    from rich import console, progress

    self._what = self._live = None
    out = console.Console()
    if out.is_terminal:
      self._live = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=out,
      )

  def __enter__(self):
    if self._live:
      self._live.start()
    return self

  def __exit__(self, *_):
    if self._live:
      self._live.stop()

  def view(self, what, done, total):
    """Shows that `done` of `total` bytes are done."""
    import time

    now = time.perf_counter()
    if what != self._what:
      self._what, self._since, self._first, self._last = what, now, done, now
      if self._live:
        self._task = self._live.add_task(what, total=total, completed=done)
    if self._live:
      self._live.update(self._task, completed=done)
      return
    quick = now - self._since < 1 and done == total
    if quick or (done < total and now - self._last < _PLAIN_SECONDS):
      return
    self._last = now
    rate = (done - self._first) / max(now - self._since, 1e-9)
    line = f"{what}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
    if rate:
      line += f"  {rate / 1e6:,.1f} MB/s  {(total - done) / rate:,.0f} s left"
    print(line, flush=True)
