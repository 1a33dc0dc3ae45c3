"""The rooms of the house: who may import whom, read off the syntax trees.

The rules are tables, the walk is one
function from a file's path and source to what breaks them.

Longer than 400 lines because what the walk has to catch stands beside it.
"""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("ar_jax", "configs", "examples", "experiments", "tests")

CORE = {
  "__init__": ("run",),
  "types": (),
  "errors": (),
  "filters": (),
  "bins": ("types", "errors", "filters"),
  "operations": (),
  "schedules": (),
  "writer": ("errors", "registry.nearest"),
  "ordering": ("types",),
  "order_statistics": (),
  "compare": ("errors",),
  "hyper": ("errors",),
  "likelihood": ("types", "ordering"),
  "decode": ("types", "ordering"),
  "levels": ("types", "ordering", "decode"),
  "registry": ("errors",),
  "proposal": ("types", "registry"),
  "penalties": ("types", "proposal"),
  "guidance": ("types", "proposal"),
  "beam": ("types", "proposal"),
  "debugging": ("errors",),
  "parallel": ("errors", "debugging", "optim"),
  "compute": ("errors", "registry.nearest", "nn.kept"),
  "optim": ("errors", "registry.nearest"),
  "data": ("types", "errors"),
  "text": ("errors", "registry.nearest"),
  "corpus": ("types", "errors", "data", "text", "registry.nearest"),
  "stream": ("types", "data", "ordering"),
  "stops": ("text",),
  "checkpoint": ("types", "errors"),
  "commit": (),
  "states": ("errors", "checkpoint", "commit"),
  "preemption": ("errors",),
  "claims": ("errors", "checkpoint"),
  "markup": (),
  "paper": (),
  "maps": (),
  "inputs": ("errors",),
  "prepare": ("errors", "corpus"),
  "prepare_images": ("errors", "prepare"),
  "prepared": ("errors", "registry.nearest"),
  "huggingface": ("errors", "text"),
  "gpt2": ("types", "errors", "registry", "huggingface"),
  "peer": ("errors", "gpt2"),
  "record": ("errors", "checkpoint"),
  "preflight": ("errors", "checkpoint", "config"),
  "config": ("errors", "registry"),
  "peer_step": ("errors", "config", "optim"),
  "train": ("types", "errors", "likelihood", "data", "optim.path_name"),
  "fleet": ("errors", "claims", "preemption"),
  "slurm": ("errors", "checkpoint", "fleet"),
  "evaluate": ("types", "errors", "likelihood", "data", "parallel"),
  "report": ("types", "errors", "likelihood", "data", "writer"),
  "__main__": ("errors", "registry"),
}
_PARTS = tuple(name for name in CORE if not name.startswith("__"))
ROOMS = {
  **CORE,
  "assemble": _PARTS,
  "drawing": (*_PARTS, "assemble"),
  "run": (*_PARTS, "assemble", "drawing"),
  "scoring": (*_PARTS, "assemble", "run"),
  "gallery": (*_PARTS, "assemble"),
  "completion": (*_PARTS, "run", "scoring"),
  "classify": (*_PARTS, "run"),
  "views": (*_PARTS, "assemble", "drawing"),
  "tradeoff": (*_PARTS, "views", "classify"),
  "bench": (*_PARTS, "assemble"),
  "cost": (*_PARTS, "assemble", "operations"),
  "keeper": ("errors", "parallel", "record", "run", "scoring"),
  "beginning": (*_PARTS, "assemble", "run"),
  "launch": (
    *_PARTS,
    "assemble",
    "beginning",
    "cost",
    "keeper",
    "run",
    "scoring",
  ),
  "members": (*_PARTS, "assemble", "launch", "run"),
  "sweep": (
    "errors",
    "checkpoint",
    "config",
    "preflight",
    "assemble",
    "writer",
  ),
  "worker": (*_PARTS, "launch", "members", "run", "scoring", "sweep"),
  "results": (*_PARTS, "sweep"),
  "studies": ("checkpoint", "config", "assemble", "paper"),
  "bench_train": (*_PARTS, "assemble", "bench", "cost", "run"),
  "page": (*_PARTS, "cost", "run", "scoring", "media"),
  "chart": ("markup",),
  "sweep_page": (*_PARTS, "chart", "cost", "page", "results", "run"),
  "nn": ("types", "ordering", "nn"),
  "models": ("types", "ordering", "nn", "decode", "errors"),
  "heads": ("types", "filters", "bins", "errors"),
  "orderings": (
    "types",
    "ordering",
    "order_statistics",
    "errors",
    "registry.build",
  ),
  "tokens": ("errors", "corpus", "text", "registry.nearest", "tokens"),
  "proofs": (
    "types",
    "decode",
    "likelihood",
    "states",
    "optim",
    "registry",
    "train",
    "proofs",
  ),
  "media": ("types", "errors", "registry", "media"),
  "objectives": (
    "types",
    "ordering",
    "likelihood",
    "filters",
    "decode",
    "nn.dropout.fold",
  ),
  "datasets": (
    "types",
    "data",
    "prepared",
    "text",
    "corpus",
    "tokens.tokenfile",
    "media",
    "errors",
    "registry.nearest",
    "datasets._known",
  ),
  "baselines": ("types", "likelihood", "data", "errors"),
  "commands": (
    *_PARTS,
    "assemble",
    "run",
    "scoring",
    "classify",
    "completion",
    "cost",
    "bench",
    "bench_train",
    "beginning",
    "launch",
    "sweep",
    "worker",
    "results",
    "page",
    "sweep_page",
    "media",
    "proofs",
    "tokens",
    "commands",
    "gallery",
    "views",
    "tradeoff",
  ),
}
ROOMS["samplers"] = (*ROOMS["objectives"], "levels", "samplers._shared")
PLUGINS = (
  "models",
  "heads",
  "orderings",
  "objectives",
  "samplers",
  "datasets",
  "baselines",
)

# What else a room may import, beside the standard library.
PURE = ("jax", "numpy", "flax")
LIBRARIES = dict.fromkeys(
  ("nn", "models", "heads", "orderings", "objectives", "samplers"), PURE
)
LIBRARIES |= dict(datasets=("numpy",), baselines=("numpy", "PIL"))
NOT_PURE = ("jax.sharding", "jax.experimental", "jax.distributed", "logging")
CONFIGS = ("config", "assemble", "commands")  # and the folder configs/

NEVER = ("pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal")
BUILTINS = ("eval", "exec", "__import__", "compile")
LINEN = ("BatchNorm", "Dropout", "variable", "sow", "put_variable")
NAMES = ("utils.py", "common.py", "helpers.py")
LINES = 400


def violations(path, source):
  """What a file breaks, as "line: what"; path relative to the root."""
  file = pathlib.PurePosixPath(path)
  tree = ast.parse(source)
  found = [*_safe(tree), *_linen(tree, file), *_shape(tree, file, source)]
  if file.parts[0] == "ar_jax":
    found += _rooms(tree, file)
  if file.parts[0] == "configs":
    found += _of_configs(tree)
  if file.parts[0] in ("ar_jax", "experiments") and _room(file) not in CONFIGS:
    for node, name, _ in _imports(tree):
      if _within(name, "ml_collections"):
        found.append(f"{node.lineno}: imports ml_collections")
  return found


def _room(file):
  """ "models" of ar_jax/models/gpt.py, "train" of ar_jax/train.py."""
  return file.stem if len(file.parts) == 2 else file.parts[1]


def _imports(tree):
  """(node, dotted name, name it is bound to) of every import, at any depth."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        yield node, alias.name, bound
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        module = "." * node.level + (node.module or "")
        yield node, f"{module}.{alias.name}", alias.asname or alias.name


def _within(name, prefix):
  return name == prefix or name.startswith(prefix + ".")


def _rooms(tree, file):
  """Imports against the direction of the house."""
  room = _room(file)
  if room not in ROOMS:
    yield f"1: room {room!r} is in no table of test_architecture.py"
    return
  top_level = set(tree.body)
  for node, name, bound in _imports(tree):
    if name.startswith("."):
      yield f"{node.lineno}: relative import {name}"
    elif _within(name, "ar_jax"):
      if not _may(room, name, bound, tree):
        yield f"{node.lineno}: {room} imports {name}"
    else:
      yield from _library(room, node, name, node in top_level)


def _may(room, name, bound, tree):
  """Whether a room may import a name of ar_jax, or all that it uses of it."""
  inside = name.removeprefix("ar_jax").removeprefix(".")
  if inside in ("", "__version__"):
    return room in ("record", "commands", "__main__")
  if any(_within(inside, allowed) for allowed in ROOMS[room]):
    return True
  used = {
    node.attr
    for node in ast.walk(tree)
    if isinstance(node, ast.Attribute)
    and isinstance(node.value, ast.Name)
    and node.value.id == bound
  }
  return bool(used) and all(
    any(_within(f"{inside}.{attr}", allowed) for allowed in ROOMS[room])
    for attr in used
  )


def _library(room, node, name, top_level):
  """Third-party imports; data readers belong inside the function."""
  package = name.partition(".")[0]
  pure = LIBRARIES.get(room) == PURE
  if pure and any(_within(name, n) for n in NOT_PURE):
    yield f"{node.lineno}: {room} imports {name}"
  if room not in LIBRARIES or package in sys.stdlib_module_names:
    return
  if package in LIBRARIES[room] or room == "datasets" and not top_level:
    return
  yield f"{node.lineno}: {room} imports {name}"


def _of_configs(tree):
  for node, name, _ in _imports(tree):
    package = name.partition(".")[0]
    known = package == "ml_collections" or _within(name, "configs.base")
    if not known and package not in sys.stdlib_module_names:
      yield f"{node.lineno}: a config imports {name}"


def _safe(tree):
  """Nothing that runs what it reads."""
  for node, name, _ in _imports(tree):
    if name.partition(".")[0] in NEVER:
      yield f"{node.lineno}: imports {name}"
  for node in ast.walk(tree):
    if not isinstance(node, ast.Call):
      continue
    called = ast.unparse(node.func)
    if called in BUILTINS:
      yield f"{node.lineno}: calls {called}"
    if called in ("yaml.load", "yaml.unsafe_load", "os.system", "os.popen"):
      yield f"{node.lineno}: calls {called}"
    for keyword in node.keywords:
      off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
      if keyword.arg in ("allow_pickle", "shell") and not off:
        yield f"{node.lineno}: {keyword.arg} in a call of {called}"


def _linen(tree, file):
  """The subset: modules that map params and inputs to outputs."""
  if file.parts[0] == "tests":
    return
  for node, name, _ in _imports(tree):
    if _within(name, "flax.training") or name.startswith("flax.linen.BatchN"):
      yield f"{node.lineno}: imports {name}"
    if name in ("flax.linen.Dropout", "flax.nnx") or _within(name, "flax.nnx"):
      yield f"{node.lineno}: imports {name}"
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and node.attr in LINEN:
      owner = ast.unparse(node.value)
      if owner in ("nn", "linen", "flax.linen", "self"):
        yield f"{node.lineno}: {owner}.{node.attr}"
    if isinstance(node, ast.keyword) and node.arg == "mutable":
      yield f"{node.lineno}: mutable"


def _shape(tree, file, source):
  """Names of files, and their lengths."""
  if file.name in NAMES:
    yield f"1: a file named {file.name} has no one reason to exist"
  count = len(source.splitlines())
  if count > LINES and "lines because" not in (ast.get_docstring(tree) or ""):
    yield (
      f"1: {count} lines; over {LINES} the docstring says why it is one file:"
      " 'Longer than 400 lines because ...'"
    )


def files():
  found = [p for f in FOLDERS for p in sorted((ROOT / f).rglob("*.py"))]
  return [p.relative_to(ROOT).as_posix() for p in found]


@pytest.mark.parametrize("path", files())
def test_file_keeps_to_its_room(path):
  found = violations(path, (ROOT / path).read_text())
  assert not found, "\n".join([path, *found])


def test_every_plugin_folder_has_its_rules():
  folders = {p.parent.name for p in (ROOT / "ar_jax").glob("*/__init__.py")}
  assert folders - set(ROOMS) == set()
  assert set(PLUGINS) <= folders
  for room, allowed in ROOMS.items():
    if room != "commands":
      assert not set(allowed) & {*PLUGINS, "commands"}, room


# (path, source, what is found); each is one broken rule.
BROKEN = {
  "types import nothing": (
    "ar_jax/types.py",
    "from ar_jax import ordering",
    "types imports ar_jax.ordering",
  ),
  "ordering below likelihood": (
    "ar_jax/ordering.py",
    "from ar_jax.likelihood import log_prob",
    "ordering imports ar_jax.likelihood.log_prob",
  ),
  "decode below likelihood": (
    "ar_jax/decode.py",
    "import ar_jax.likelihood",
    "decode imports ar_jax.likelihood",
  ),
  "nn below decode": (
    "ar_jax/nn/dense.py",
    "from ar_jax import decode",
    "nn imports ar_jax.decode",
  ),
  "model to head": (
    "ar_jax/models/gpt.py",
    "from ar_jax.heads import categorical",
    "models imports ar_jax.heads.categorical",
  ),
  "model to model": (
    "ar_jax/models/gpt.py",
    "from ar_jax.models.rnn import make",
    "models imports ar_jax.models.rnn.make",
  ),
  "model to train": (
    "ar_jax/models/gpt.py",
    "def f():\n  from ar_jax import train",
    "2: models imports ar_jax.train",
  ),
  "model to checkpoint": (
    "ar_jax/models/gpt.py",
    "from ar_jax import checkpoint",
    "models imports ar_jax.checkpoint",
  ),
  "model to sharding": (
    "ar_jax/models/gpt.py",
    "from jax.sharding import Mesh",
    "models imports jax.sharding.Mesh",
  ),
  "model to logging": (
    "ar_jax/models/gpt.py",
    "import logging",
    "models imports logging",
  ),
  "model to optax": (
    "ar_jax/models/gpt.py",
    "import optax",
    "models imports optax",
  ),
  "head to decode": (
    "ar_jax/heads/mol.py",
    "from ar_jax import decode",
    "heads imports ar_jax.decode",
  ),
  "sampler to model": (
    "ar_jax/samplers/beam.py",
    "from ar_jax.models import gpt",
    "samplers imports ar_jax.models.gpt",
  ),
  "sampler to assemble": (
    "ar_jax/samplers/beam.py",
    "from ar_jax import assemble",
    "samplers imports ar_jax.assemble",
  ),
  "sampler to a layer": (
    "ar_jax/samplers/beam.py",
    "from ar_jax.nn import dense",
    "samplers imports ar_jax.nn.dense",
  ),
  "objective to dropout itself": (
    "ar_jax/objectives/nll.py",
    "from ar_jax.nn.dropout import dropout, fold",
    "objectives imports ar_jax.nn.dropout.dropout",
  ),
  "objective to run": (
    "ar_jax/objectives/nll.py",
    "from ar_jax.run import load",
    "objectives imports ar_jax.run.load",
  ),
  "data set to all of registry": (
    "ar_jax/datasets/text.py",
    "from ar_jax import registry\nregistry.build('models', {})",
    "datasets imports ar_jax.registry",
  ),
  "data set to a reader at the top": (
    "ar_jax/datasets/text.py",
    "import tensorflow_datasets",
    "datasets imports tensorflow_datasets",
  ),
  "baseline to train": (
    "ar_jax/baselines/ngram.py",
    "from ar_jax import train",
    "baselines imports ar_jax.train",
  ),
  "baseline to scipy": (
    "ar_jax/baselines/ngram.py",
    "import scipy.stats",
    "baselines imports scipy.stats",
  ),
  "core to plugin": (
    "ar_jax/train.py",
    "from ar_jax.objectives import nll",
    "train imports ar_jax.objectives.nll",
  ),
  "assemble to run": (
    "ar_jax/assemble.py",
    "from ar_jax import run",
    "assemble imports ar_jax.run",
  ),
  "run to commands": (
    "ar_jax/run.py",
    "from ar_jax.commands import train",
    "run imports ar_jax.commands.train",
  ),
  "the package": (
    "ar_jax/models/gpt.py",
    "import ar_jax",
    "models imports ar_jax",
  ),
  "relative import": (
    "ar_jax/models/gpt.py",
    "from ..heads import categorical",
    "relative import ..heads.categorical",
  ),
  "unknown room": ("ar_jax/trainer.py", "", "room 'trainer'"),
  "ml_collections in a model": (
    "ar_jax/models/gpt.py",
    "from ml_collections import config_dict",
    "imports ml_collections",
  ),
  "ml_collections in train": (
    "ar_jax/train.py",
    "import ml_collections",
    "imports ml_collections",
  ),
  "ml_collections in a study": (
    "experiments/orders.py",
    "import ml_collections",
    "imports ml_collections",
  ),
  "config to the library": (
    "configs/text.py",
    "from ar_jax.models import gpt",
    "a config imports ar_jax.models.gpt",
  ),
  "config to jax": (
    "configs/text.py",
    "import jax",
    "a config imports jax",
  ),
  "config to config": (
    "configs/text.py",
    "from configs import image",
    "a config imports configs.image",
  ),
  "pickle": ("tests/test_a.py", "import pickle", "imports pickle"),
  "pickle's load": (
    "ar_jax/checkpoint.py",
    "from pickle import load",
    "imports pickle.load",
  ),
  "eval": ("configs/base.py", "eval('1')", "calls eval"),
  "exec": ("ar_jax/config.py", "exec('a = 1')", "calls exec"),
  "__import__": ("ar_jax/registry.py", "__import__('os')", "calls __import__"),
  "yaml": ("ar_jax/config.py", "yaml.load(f)", "calls yaml.load"),
  "numpy's pickle": (
    "ar_jax/checkpoint.py",
    "np.load(f, allow_pickle=True)",
    "allow_pickle in a call of np.load",
  ),
  "numpy's pickle by a name": (
    "ar_jax/checkpoint.py",
    "np.load(f, allow_pickle=flag)",
    "allow_pickle",
  ),
  "shell": (
    "ar_jax/run.py",
    "subprocess.run('ls', shell=True)",
    "shell in a call of subprocess.run",
  ),
  "os.system": ("ar_jax/run.py", "os.system('ls')", "calls os.system"),
  "mutable": (
    "ar_jax/models/gpt.py",
    "net.apply(v, x, mutable=['cache'])",
    "mutable",
  ),
  "self.variable": (
    "ar_jax/models/gpt.py",
    "class A:\n  def f(self):\n    self.variable('cache', 'k')",
    "3: self.variable",
  ),
  "BatchNorm": ("ar_jax/nn/rnn.py", "nn.BatchNorm()", "nn.BatchNorm"),
  "nn.Dropout": ("ar_jax/models/gpt.py", "nn.Dropout(0.1)", "nn.Dropout"),
  "Dropout by name": (
    "ar_jax/models/gpt.py",
    "from flax.linen import Dropout",
    "imports flax.linen.Dropout",
  ),
  "flax.training": (
    "ar_jax/models/gpt.py",
    "from flax.training import train_state",
    "imports flax.training.train_state",
  ),
  "utils": ("ar_jax/nn/utils.py", "", "a file named utils.py"),
  "common": ("ar_jax/models/common.py", "", "a file named common.py"),
  "long": ("ar_jax/models/gpt.py", "a = 1\n" * 401, "401 lines"),
  "long, without a why": (
    "ar_jax/models/gpt.py",
    '"""GPT."""\n' + "a = 1\n" * 400,
    "401 lines",
  ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_walk_catches(name):
  path, source, what = BROKEN[name]
  found = violations(path, source)
  assert any(what in v for v in found), found


KEPT = {
  "ar_jax/models/gpt.py": (
    "import functools\nimport jax\nfrom flax import linen as nn\n"
    "from ar_jax import decode, errors\nfrom ar_jax.nn import dense\n"
    "nn.Dense(3)\nself.param('w', init)"
  ),
  "ar_jax/objectives/nll.py": (
    "from ar_jax.nn import dropout\ndropout.fold(key_B, 0)"
  ),
  "ar_jax/datasets/text.py": (
    "from ar_jax import registry\nregistry.nearest('a', [])\n"
    "def make():\n  import tensorflow_datasets"
  ),
  "ar_jax/commands/train.py": (
    "import ml_collections\nfrom ar_jax import run\nimport rich"
  ),
  "configs/text.py": "import difflib\nfrom configs import base",
  "ar_jax/config.py": (
    "import ast\nast.literal_eval('1')\nspec.loader.exec_module(m)\n"
    "np.load(f, allow_pickle=False)\nsubprocess.run(['ls'], shell=False)"
  ),
  "ar_jax/models/long.py": (
    '"""Longer than 400 lines because it is one thing."""\n' + "a = 1\n" * 400
  ),
}


@pytest.mark.parametrize("path", KEPT)
def test_walk_lets_pass(path):
  assert violations(path, KEPT[path]) == []
