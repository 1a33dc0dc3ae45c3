"""p(x_A | x_B) of any sets of sites: exact, for what is given comes first."""

import itertools
import types

import contract
import jax
import numpy as np
import pytest
import tiny_data
from PIL import Image

from ar_jax import __main__ as program
from ar_jax import assemble, beginning, completion, errors, registry
from ar_jax import config as configs
from ar_jax import ordering as orders
from ar_jax import run as runs
from ar_jax.proofs import cases, chance
from ar_jax.types import Condition, DataSpec, Ordering

NETWORKS = dict(
  gpt=dict(
    spec=DataSpec((4,), 1, 3),
    model=dict(name="gpt", depth=1, width=8, heads=2, target=True),
  ),
  ardm=dict(
    spec=DataSpec((2, 2), 1, 3),
    model=dict(name="ardm", trunk="mlp", depth=1, width=8),
  ),
)


def _run(spec, model, ordering=None, name="all", dtype=np.float64):
  """A Run in memory, of random parameters; ordering: None is all orders."""
  ordering = ordering or registry.build(
    "orderings", dict(name=name), spec.shape
  )
  head = registry.build("heads", dict(name="categorical"), spec)
  made = registry.build("models", model, spec, head, ordering)
  sampler = registry.build("samplers", dict(name="ancestral"), made, head)
  net = assemble.Network(ordering, head, made, sampler)
  params = cases.random_params(made, scale=0.6, dtype=dtype)
  params = jax.tree.map(jax.numpy.asarray, params)
  section = types.SimpleNamespace
  config = section(
    seed=0,
    ordering=section(name=name),
    evaluate=section(batch_size=1000),
  )
  return runs.Run(None, config, spec, {}, net, params, params, 0)


def _every_mask(length):
  """bool [2 ** L, L]."""
  return np.array(list(itertools.product((False, True), repeat=length)))


def _sum_by(log_N, group_N):
  """exp(log) summed over the items of each group, for each item: [N]."""
  _, index_N = np.unique(group_N, axis=0, return_inverse=True)
  return np.bincount(index_N.ravel(), np.exp(log_N))[index_N.ravel()]


@pytest.mark.parametrize(("name", "seed"), (("gpt", 0), ("ardm", None)))
def test_conditionals_sum_to_one_and_make_up_the_joint(name, seed):
  with contract.precision("float64"):
    run = _run(**NETWORKS[name])
    L, V = run.spec.length, run.spec.num_values
    x_NLC = cases.sequences(V, L, 1)
    order_L = None
    if seed is not None:
      order_L = np.random.default_rng(seed).permutation(L)
    # One call: the masks of a batch differ from row to row.
    mask_ML = _every_mask(L)
    x_RLC = np.tile(x_NLC, (len(mask_ML), 1, 1))
    known_RL = mask_ML.repeat(len(x_NLC), 0)
    found_R = completion.conditional_log_prob(
      run, x_RLC, known_RL, order=order_L
    )
    found_MN = found_R.reshape(len(mask_ML), -1)
    for known_L, log_N in zip(mask_ML, found_MN, strict=True):
      given_NL = np.where(known_L, x_NLC[..., 0], -1)
      np.testing.assert_allclose(_sum_by(log_N, given_NL), 1, atol=1e-12)
      # By the definition, from the joint of the order written out.
      sites = np.arange(L) if order_L is None else order_L
      order = [s for s in sites if known_L[s]]
      order += [s for s in sites if not known_L[s]]
      joint_N = _joint(run, x_NLC, np.array(order, np.int32))
      log_given_N = np.log(_sum_by(joint_N, given_NL))
      np.testing.assert_allclose(log_given_N + log_N, joint_N, atol=1e-11)


def _joint(run, x_NLC, order_L):
  """log p(x) in one order, as the contract's checks find it: [N]."""
  case = cases.Case(run.net.model, run.net.head, run.spec, run.params)
  return cases.forward(case, x_NLC, order_L[None], None)[1].sum(1)


def test_known_sites_move_to_the_front_in_their_order():
  order_BL = np.array([[3, 1, 0, 2], [2, 0, 3, 1]], np.int32)
  known_BL = np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool)
  first = orders.known_first(order_BL, known_BL)
  np.testing.assert_array_equal(first, [[3, 0, 1, 2], [3, 1, 2, 0]])
  assert first.dtype == np.int32
  first = orders.known_first(order_BL, known_BL[:1])
  np.testing.assert_array_equal(first, [[3, 0, 1, 2], [0, 3, 2, 1]])
  first = orders.known_first(None, known_BL)
  np.testing.assert_array_equal(first, [[0, 3, 1, 2], [1, 3, 0, 2]])
  for known in (False, True):
    first = orders.known_first(order_BL, np.full((2, 4), known))
    np.testing.assert_array_equal(first, order_BL)


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", ("gpt", pytest.param("ardm", marks=pytest.mark.slow))
)
def test_draws_follow_the_enumerated_conditional(name):
  draws = 20_000
  run = _run(**NETWORKS[name], dtype=np.float32)
  L, V = run.spec.length, run.spec.num_values
  known_L = np.array([False, True, False, True])
  x_NLC = cases.sequences(V, L, 1)
  x_LC = np.array([2, 1, 0, 2])[:, None]
  fits_N = (x_NLC[:, known_L] == x_LC[known_L]).all((1, 2))

  # Orders are random: those of B, and after them those of A, are alike.
  joint_KN = [
    _joint(run, x_NLC[fits_N], np.array([*given, *drawn], np.int32))
    for given in ((1, 3), (3, 1))
    for drawn in ((0, 2), (2, 0))
  ]
  prob_KN = np.exp(joint_KN) / np.exp(joint_KN).sum(1, keepdims=True)
  prob_N = prob_KN.mean(0)
  key = jax.random.key(1)
  drawn = completion.draw(run, key, x_LC[None], known_L, draws)
  assert (drawn.x_BLC[:, known_L] == x_LC[known_L]).all()
  counts_N = chance.count(drawn.x_BLC[:, ~known_L, 0], run.spec)
  chance.follows(counts_N, prob_N, f"{draws} draws", "p(x_A | x_B)")
  # So many draws tell p(x_A) apart, what is given drawn without knowing it.
  joint_N = _joint(run, x_NLC, np.arange(L, dtype=np.int32))
  alone_N = _sum_by(joint_N, x_NLC[:, ~known_L, 0])[fits_N]
  chance.power(prob_N, dict(alone=lambda: alone_N), draws)


def test_each_item_of_a_batch_has_a_mask_of_its_own():
  spec, model = NETWORKS["gpt"].values()
  order_1L = np.array([[2, 0, 3, 1]], np.int32)
  # All orders, of which one is drawn: that of each row is known here.
  every = Ordering(None, lambda key_B: order_1L)
  spec = spec._replace(conditions=dict(label=Condition("label", 2)))
  run = _run(spec, model, every, dtype=np.float32)
  y = dict(label=np.arange(16, dtype=np.int32) % 2)
  mask_NL, key = _every_mask(4), jax.random.key(0)
  rng = np.random.default_rng(0)
  x_NLC = rng.integers(0, 3, (16, 4, 1)).astype(np.uint8)
  drawn = completion.draw(run, key, x_NLC, mask_NL, 3, y)
  assert drawn.x_BLC.dtype == np.int32  # not of a file
  known_BL, x_BLC = mask_NL.repeat(3, 0), x_NLC.repeat(3, 0)
  np.testing.assert_array_equal(drawn.x_BLC[known_BL], x_BLC[known_BL])
  assert (drawn.log_prob_sampler_BL[known_BL] == 0).all()
  hidden = np.where(mask_NL[..., None], x_NLC, 2)
  again = completion.draw(run, key, hidden, mask_NL, 3, y)
  np.testing.assert_array_equal(again.x_BLC, drawn.x_BLC)
  y = dict(label=y["label"].repeat(3))
  log_B = completion.conditional_log_prob(
    run, drawn.x_BLC, known_BL, y, order_1L[0]
  )
  assert (log_B[~known_BL.all(1)] < 0).all()
  for log_BL in (drawn.log_prob_model_BL, drawn.log_prob_sampler_BL):
    sums_B = np.where(known_BL, 0, log_BL).sum(1)
    np.testing.assert_allclose(sums_B, log_B, atol=1e-5)


def test_listed_orders_are_asked_where_one_of_them_can():
  listed_KL = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 3, 2]], np.int32)

  def draw(key_B):
    return np.broadcast_to(listed_KL[2:], (len(key_B), 4))

  spec, model = NETWORKS["gpt"].values()
  run = _run(spec, model, Ordering(listed_KL, draw), "three", np.float32)
  fits = {(): {0, 1, 2}, (0,): {0, 2}, (0, 1): {0, 2}, (0, 1, 2): {0}}
  fits |= {(3,): {1}, (0, 1, 3): {2}, (1, 2): set(), (0, 3): set()}
  x_NLC = cases.sequences(3, 4, 1)
  key_B = jax.random.split(jax.random.key(0), 600)
  for sites, wanted in fits.items():
    known_L = np.isin(np.arange(4), sites)
    assert completion.is_exact(run, known_L) == bool(wanted)
    known_BL = np.broadcast_to(known_L, (600, 4))
    orders_BL = completion._draw_order(run.net.ordering, key_B, known_BL)
    same_BK = (orders_BL[:, None] == listed_KL).all(-1)
    count_K = same_BK.sum(0)
    assert count_K.sum() == 600
    assert set(np.flatnonzero(count_K)) == (wanted or {0, 1, 2})
    even = 600 / len(wanted or listed_KL)
    assert (np.abs(count_K[count_K > 0] - even) < 60).all()
    if not wanted:
      with pytest.raises(errors.UsageError, match="in the order three some"):
        completion.conditional_log_prob(run, x_NLC, known_L)
      continue
    log_N = completion.conditional_log_prob(run, x_NLC, known_L)
    given_NL = np.where(known_L, x_NLC[..., 0], -1)
    joint_N = _joint(run, x_NLC, listed_KL[min(wanted)])
    log_given_N = np.log(_sum_by(joint_N, given_NL))
    np.testing.assert_allclose(log_given_N + log_N, joint_N, atol=1e-4)
  masks_NL = np.stack([np.isin(np.arange(4), s) for s in fits])
  assert not completion.is_exact(run, masks_NL)
  assert completion.is_exact(run, masks_NL[:6])
  with pytest.raises(errors.UsageError, match="knows the order three alone"):
    completion.conditional_log_prob(run, x_NLC, known_L, order=listed_KL[0])


def test_masks_have_the_shape_of_items():
  spec = DataSpec((2, 3), 1, 2)
  one = np.array([[1, 0, 0], [0, 1, 1]])
  for mask in (one, one.reshape(-1), one.astype(bool), one.astype(float)):
    np.testing.assert_array_equal(
      completion.masks(spec, mask, 4), np.tile(one.reshape(1, -1) > 0, (4, 1))
    )
  several = np.stack([one, 1 - one, one])
  for mask in (several, several.reshape(3, -1)):
    np.testing.assert_array_equal(
      completion.masks(spec, mask, 3), several.reshape(3, -1) > 0
    )
  for mask, message in (
    (one.T, r"has shape \[2, 3\] or \[6\], .*; got \[3, 2\]"),
    (several, "masks of 3 items, but 4 are given"),
    (2 * one, "a mask is 0 and 1; got 2"),
    (one * np.nan, "a mask is 0 and 1; got nan"),
    (one.astype(str), "a mask is 0 and 1; got <U"),
  ):
    with pytest.raises(errors.UsageError, match=f"^here: .*{message}"):
      completion.masks(spec, mask, 4, "here")


def test_orders_that_are_asked_for_are_orders():
  run = _run(**NETWORKS["gpt"], dtype=np.float32)
  x_NLC = np.zeros((2, 4, 1), np.int32)
  known_L = np.zeros(4, bool)
  with pytest.raises(errors.UsageError, match="each names every site once"):
    completion.conditional_log_prob(run, x_NLC, known_L, order=[0, 1, 2, 2])


def test_what_follows_the_end_of_an_item_was_not_drawn():
  known_BL = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1]], bool)
  x_BLC = np.array([[1, 2, 0, 1], [1, 2, 2, 1], [0, 1, 1, 1]])[..., None]
  ends = [[0, 1, 1, 0], [0, 1, 1, 1], [1, 0, 0, 0]]
  media = dict(kind="text", end=0, fill="unscored")
  run = types.SimpleNamespace(media=media)
  drawn_BL = completion.drawn_sites(run, known_BL, x_BLC)
  np.testing.assert_array_equal(drawn_BL, np.array(ends, bool))
  for other in (dict(media, fill="scored"), dict(kind="image")):
    run = types.SimpleNamespace(media=other)
    drawn_BL = completion.drawn_sites(run, known_BL, x_BLC)
    np.testing.assert_array_equal(drawn_BL, ~known_BL)


# --- the command ---

ROW, COLUMN = np.indices((8, 8))
HOLE = (ROW < 2) | (ROW > 5) | (COLUMN < 3) | (COLUMN > 5)  # around it
COARSE = (ROW % 2 == 0) & (COLUMN % 2 == 0)  # super-resolution is given it


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
  """An untrained network of all orders on digits, without labels."""
  return _written(
    tmp_path_factory, "configs/digits_gpt.py:tiny,ordering=all,labels=false"
  )


def _written(tmp_path_factory, path):
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(tiny_data.ROOT)
    config = configs.load(path, [])
  dataset = assemble.dataset(config)
  net = assemble.network(config, dataset.spec)
  params = jax.jit(net.model.init)(jax.random.key(0))
  folder = tmp_path_factory.mktemp("conditionals") / "run"
  beginning.write(folder, config, dataset.spec, dataset.media, params)
  return runs.load(folder)


@pytest.mark.slow
def test_the_command_fills_a_hole(digits, tmp_path, capsys):
  known_HW, file = HOLE, tmp_path / "hole.png"
  Image.fromarray(known_HW).save(file)  # one bit a pixel
  argv = ["sample", f"--workdir={digits.workdir}", f"--out={tmp_path}"]
  argv += ["--given=test", "--items=2", "--num=3", f"--mask={file}"]
  assert program.main(argv) == 0
  said = capsys.readouterr()
  assert f"sample 5: {64 - known_HW.sum()} tokens" in said.out
  assert said.err == ""  # exact: nothing to warn of
  x_NLC, _ = completion.read(digits, "test", 2)
  media = registry.load("media", "image")
  rows = []
  for row in range(6):
    with Image.open(tmp_path / f"sample_{row}.png") as drawn:
      rows.append(media.encode(digits.media, np.asarray(drawn)))
  known_L = known_HW.reshape(-1)
  kept = x_NLC.repeat(3, 0)[:, known_L]
  np.testing.assert_array_equal(np.stack(rows)[:, known_L], kept)
  assert len(np.unique(np.stack(rows)[:, ~known_L], axis=0)) == 6
  with Image.open(tmp_path / "sample_grid.png") as grid:
    first = np.asarray(grid)[2:130, 2:130][8::16, 8::16]
  assert (first[~known_HW] == 128).all()  # the ground, where nothing is given
  whole = media.decode(digits.media, x_NLC[0])
  np.testing.assert_array_equal(first[known_HW], whole[known_HW])


@pytest.mark.slow
def test_a_mask_for_each_item_of_a_file(digits, tmp_path, capsys):
  rng = np.random.default_rng(0)
  x_NHW = rng.integers(0, 17, (3, 8, 8))
  known_NHW = np.stack([HOLE, COARSE, np.ones((8, 8), bool)])
  np.save(tmp_path / "items.npy", x_NHW)
  np.save(tmp_path / "masks.npy", known_NHW.astype(np.uint8))
  argv = ["sample", f"--workdir={digits.workdir}", f"--out={tmp_path}"]
  argv += [f"--given={tmp_path}/items.npy", f"--mask={tmp_path}/masks.npy"]
  assert program.main(argv) == 0
  said = capsys.readouterr()
  assert said.err == ""
  for line in ("0: 12 tokens", "1: 48 tokens", "2: nothing to draw"):
    assert f"sample {line}" in said.out
  media = registry.load("media", "image")
  for n in range(3):
    with Image.open(tmp_path / f"sample_{n}.png") as drawn:
      x_HW = media.encode(digits.media, np.asarray(drawn)).reshape(8, 8)
    kept = x_NHW[n][known_NHW[n]]
    np.testing.assert_array_equal(x_HW[known_NHW[n]], kept)


def test_what_is_no_mask_is_named(digits, tmp_path, capsys):
  np.save(tmp_path / "wide.npy", np.ones((8, 9)))
  np.save(tmp_path / "two.npy", np.ones((2, 64)))
  np.save(tmp_path / "gray.npy", np.full((8, 8), 0.5))
  (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
  (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
  (tmp_path / "mask.txt").write_text("1 0 1")
  Image.new("L", (9, 8), 255).save(tmp_path / "wide.png")
  Image.new("L", (8, 8), 128).save(tmp_path / "gray.png")
  Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
  argv = ["sample", f"--workdir={digits.workdir}", "--given=test", "--items=3"]
  for name, code, message in (
    ("wide.npy", 2, "has shape [8, 8] or [64], or one such for each item"),
    ("wide.npy", 2, "got [8, 9]"),
    ("two.npy", 2, "masks of 2 items, but 3 are given"),
    ("gray.npy", 2, "a mask is 0 and 1; got 0.5"),
    ("cut.npy", 3, "cannot be read as .npy"),
    ("cut.png", 3, "cut.png cannot be read"),
    ("none.npy", 3, "none.npy cannot be read"),
    ("none.png", 3, "none.png cannot be read"),
    ("mask.txt", 2, "neither an .npy nor"),
    ("wide.png", 2, "shape [8, 9], the images of this run are [8, 8]"),
    ("gray.png", 3, "row 0, column 0 is [128, 128, 128]"),
    ("red.png", 3, "row 0, column 0 is [255, 0, 0]"),
  ):
    assert program.main([*argv, f"--mask={tmp_path / name}"]) == code, name
    said = " ".join(capsys.readouterr().err.split())
    assert message in said, name
    assert name in said
  for flags, message in (
    ([*argv, "--mask=a.npy", "--keep=0.5"], "--keep or --mask, not both"),
    ([*argv[:2], "--mask=a.npy"], "--keep and --mask are of items"),
    ([*argv[:2], "--keep=0.5"], "--keep and --mask are of items"),
    ([*argv, "--prompt=a"], "no --prompt"),
  ):
    assert program.main(flags) == 2
    assert message in capsys.readouterr().err


def test_a_picture_masks_all_colors_of_a_pixel(tmp_path):
  white_HW = np.array([[True, False, True], [False, False, True]])
  for mode in ("1", "L", "P", "RGB", "RGBA"):
    Image.fromarray(white_HW).convert(mode).save(tmp_path / "mask.png")
    for shape, channels in (((2, 3), 3), ((2, 3, 3), 1)):
      run = types.SimpleNamespace(
        spec=DataSpec(shape, channels, 4), media=dict(kind="image")
      )
      known = completion.read_mask(run, tmp_path / "mask.png", 2)
      wanted = white_HW.reshape(2, 3, *(1,) * len(shape[2:]))
      wanted = np.broadcast_to(wanted, shape).reshape(-1)
      np.testing.assert_array_equal(known, [wanted, wanted])


@pytest.mark.slow
def test_text_is_filled_in(tmp_path_factory, tmp_path, capsys):
  run = _written(tmp_path_factory, "configs/markov_gpt.py:tiny,ordering=all")
  known_L = np.ones(run.spec.length, bool)
  known_L[2:5] = False
  np.save(tmp_path / "mask.npy", known_L)
  argv = ["sample", f"--workdir={run.workdir}", "--given=valid", "--items=2"]
  assert program.main([*argv, f"--mask={tmp_path}/mask.npy"]) == 0
  said = capsys.readouterr().out
  assert "sample 1: 3 tokens" in said
  x_NLC, _ = completion.read(run, "valid", 2)
  words = completion.text.decode(run.media, x_NLC[1, 5:, 0])
  assert words in said.replace("\n", "")
