"""Write a run as a GPT-2 that Hugging Face's transformers reads.

  ar_jax export-gpt2 --workdir=runs/g --out=gpt2-mine

The run must have GPT-2's arithmetic: configs/gpt2.py, what `import-gpt2`
made, or preset=gpt2. A run of bytes or characters has no tokenizer.json to
write: its ids are those of its spec.json. The weights are the averaged ones
where the run keeps an average.
"""


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument("--workdir", required=True, metavar="DIR", help="a run")
  parser.add_argument(
    "--out", required=True, metavar="DIR", help="a new directory"
  )


def run(args):
  """Opens, converts, writes, and says what it is."""
  from ar_jax import config as configs
  from ar_jax import gpt2, huggingface
  from ar_jax import run as runs
  from ar_jax.commands import _show

  trained = runs.load(args.workdir)
  config = configs.plain(trained.config)
  values = gpt2.to_hf(config, trained.spec, trained.media)
  tensors = gpt2.to_tensors(trained.params, config["model"], trained.spec)
  huggingface.write(args.out, values, tensors, trained.media)
  if not trained.media.get("tokenizer"):
    _show.say(
      "without tokenizer.json: this run has none, and its ids are those of"
      f" {args.workdir}/spec.json"
    )
  size = sum(t.size for t in tensors.values())
  _show.say(
    f"GPT-2 of {size:,} parameters after {trained.step:,} steps in {args.out}"
  )
