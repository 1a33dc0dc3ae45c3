"""Files into TFDS data sets, prepared on disk, without TensorFlow.

What `datasets/tfds.py` reads: text here, images in prepare_images.py. Nothing
is downloaded.
"""

import contextlib
import io
import itertools
import json
import pathlib
import re

from ar_jax import corpus, errors

_TFDS_NAMES = dict(train="train", valid="validation", test="test")
_DEFAULT_SPLIT = "0.9/0.1"
_BLOCK = 2**13  # examples that are held at once
_SHARD = 2**18  # examples in a file

# What TFDS's own builder of lm1b looks for, and its glob patterns.
_LM1B = "1-billion-word-language-modeling-benchmark-r13output"
_LM1B_FILES = dict(
  train="training-monolingual.tokenized.shuffled/news.en-*",
  test="heldout-monolingual.tokenized.shuffled/news.en.heldout-*",
)


def text(paths, name, data_dir, split=_DEFAULT_SPLIT):
  """Prepares a data set of one feature, the Text `text`, and says so.

  A document is a line without its end, so that documents joined by newlines
  are the text, byte for byte. They are stored in its order. Names with a
  split of their own, as TFDS cuts them: tiny_shakespeare, from karpathy's
  input.txt; lm1b, from its unpacked folder.

  Args:
    paths: list of files and globs, read one after the other.
    name: of the data set, as "my_text".
    data_dir: folder that gets the files as name/version/.
    split: of corpus.cut, train/valid or train/valid/test.
  Returns:
    The message: what was prepared, or that it was prepared before.
  Raises:
    UsageError: a bad name or split. DataError: files that are not there or
      not UTF-8. StorageError: a folder that cannot be written.
  """
  if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
    raise errors.UsageError(
      f"--name {name!r}: allowed are lowercase letters, digits and _, a letter"
      " first, as my_text"
    )
  version, read = _PRESETS.get(name, ("1.0.0", _lines))
  if name in _PRESETS and split not in ("", None, _DEFAULT_SPLIT):
    raise errors.UsageError(
      f"--split {split}: {name} is cut as TFDS cuts it; leave --split out, or"
      " give another --name"
    )
  made = before(name, version, data_dir)
  if made:
    return made
  splits = {
    k: (dict(text=document) for document in documents)
    for k, documents in read(paths, split).items()
  }

  def describe(tfds):
    features = tfds.features.FeaturesDict(dict(text=tfds.features.Text()))
    return dict(features=features, description="Text files.")

  return write(splits, name, version, data_dir, describe, "documents")


def before(name, version, data_dir):
  """What to say where a data set is prepared already, else None.

  Raises:
    DataError: something else is in its place.
  """
  folder = pathlib.Path(data_dir).expanduser() / name / version
  if not _is_prepared(folder):
    return None
  return (
    f"{folder} was prepared before and stays as it is; to prepare it anew,"
    " remove it first"
  )


def write(splits, name, version, data_dir, describe, unit):
  """Prepares examples in the order they come, unless it was done meanwhile.

  Args:
    splits: {TFDS's name: iterable of examples, dicts by feature}.
    name, version: of the data set.
    data_dir: folder that gets the files as name/version/.
    describe: (tfds) -> keywords of tfds.core.DatasetInfo, features among them.
    unit: what examples are called.
  Returns:
    The message: what was prepared.
  Raises:
    UsageError: a library that TFDS lacks. StorageError: a folder that cannot
      be written.
  """
  folder = pathlib.Path(data_dir).expanduser() / name / version
  try:
    lengths = _write(splits, name, version, data_dir, describe, unit)
  except ImportError as e:
    raise errors.UsageError(
      f"TFDS needs {e.name} to prepare data: pip install {e.name}"
    ) from e
  except (OSError, RuntimeError) as e:  # array_record's is a RuntimeError
    made = before(name, version, data_dir)
    if made:  # by another process, meanwhile
      return made
    raise errors.StorageError(f"cannot write {folder}: {e}") from e
  counts = ", ".join(f"{k} {n:,}" for k, n in lengths.items())
  return f"prepared {folder}; {unit}: {counts}"


def _is_prepared(folder):
  """Whether a folder holds a data set; DataError where it is in the way."""
  if not folder.exists():
    return False
  try:
    info = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    found = info.get("fileFormat", "tfrecord")
  except (OSError, ValueError, AttributeError):
    found = "nothing that TFDS knows"
  if found != "array_record":
    raise errors.DataError(
      f"{folder} exists and holds {found}, not array_record files: remove it,"
      " or give another --data_dir"
    )
  return True


def _write(splits, name, version, data_dir, describe, unit):
  """Lets a TFDS builder prepare {split: examples}; {split: how many}."""
  import tensorflow_datasets as tfds
  import tqdm

  class _Given(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version(version)

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self, disable_shuffling=True, **describe(tfds)
      )

    # The base class asks for these two; _download_and_prepare calls neither.
    def _split_generators(self, dl_manager):
      raise NotImplementedError

    def _generate_examples(self):
      raise NotImplementedError

    def _download_and_prepare(self, dl_manager, download_config):
      # TFDS's own holds a whole split in memory, to sort it, and past 1 GB
      # needs TensorFlow. This one writes what comes, in that order.
      info = self._info()  # of the folder that is renamed in the end
      writer = tfds.core.SequentialWriter(
        info, max_examples_per_shard=_SHARD, file_format="array_record"
      )
      for split, examples in splits.items():
        writer.initialize_splits([split])
        bar = tqdm.tqdm(examples, split, unit=f" {unit}", disable=None)
        rest = iter(bar)
        while block := list(itertools.islice(rest, _BLOCK)):
          writer.add_examples({split: block})
      writer.close_all()
      self.info.set_splits(info.splits)

  _Given.name = name
  root = pathlib.Path(data_dir).expanduser()
  builder = _Given(data_dir=root, file_format="array_record")
  with contextlib.redirect_stdout(io.StringIO()):  # TFDS's own messages
    builder.download_and_prepare()
  return {k: builder.info.splits[k].num_examples for k in splits}


def _lines(paths, split):
  """The lines of all files together, by split."""
  parts = corpus.cut(_read(paths), split, "char")
  return {_TFDS_NAMES[k]: raw.split(b"\n") for k, raw in parts.items()}


def _read(paths):
  return b"".join(corpus.read(path, "IN") for path in paths)


def _tiny_shakespeare(paths, _):
  """One document a split, 90/5/5 % of the characters.

  tensorflow_datasets/datasets/tiny_shakespeare, version 1.0.0, which halves
  what nine tenths leave: the same characters.
  """
  parts = corpus.cut(_read(paths), "0.9/0.05/0.05", "char")
  return {_TFDS_NAMES[k]: [raw] for k, raw in parts.items()}


def _lm1b(paths, _):
  """One document a line, train and test; nothing is held in memory.

  tensorflow_datasets/datasets/lm1b, version 1.1.0.
  """
  if len(paths) != 1:
    raise errors.UsageError(f"lm1b takes one folder, {_LM1B}, got {len(paths)}")
  given = pathlib.Path(paths[0]).expanduser()
  root = given / _LM1B if (given / _LM1B).is_dir() else given
  splits = {}
  for split, pattern in _LM1B_FILES.items():
    files = sorted(root.glob(pattern))
    if not files:
      raise errors.DataError(
        f"IN: no {root.absolute() / pattern}; lm1b takes the unpacked folder"
        f" {_LM1B}"
      )
    splits[split] = _sentences(files)
  return splits


def _sentences(files):
  for file in files:
    try:
      with file.open(encoding="utf-8") as lines:
        for line in lines:
          yield line.strip()
    except (OSError, UnicodeDecodeError) as e:
      raise errors.DataError(f"{file} cannot be read: {e}") from e


_PRESETS = dict(
  tiny_shakespeare=("1.0.0", _tiny_shakespeare), lm1b=("1.1.0", _lm1b)
)
