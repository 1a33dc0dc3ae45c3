"""Families of orders: bijections with the neighbors that they promise."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats

from ar_jax import (
  assemble,
  errors,
  launch,
  order_statistics,
  ordering,
  registry,
)
from ar_jax import config as configs
from ar_jax import run as runs

SHAPES = [
  (1,),
  (7,),
  (1, 1),
  (1, 9),
  (6, 1),
  (5, 7),
  (16, 8),
  (28, 28),
  (4, 3, 3),
]
# What a family cannot be made without.
NEEDS = dict(
  blocks=dict(size=(3, 2), inner=dict(name="reverse")),
  interpolated=dict(share=0.4),
  k_set=dict(count=3, of=(dict(name="snake"), dict(name="hilbert"))),
)
FAMILIES = [n for n in registry.names("orderings") if n != "from_file"]
ONE = [n for n in FAMILIES if n not in ("all", "annealed", "k_set")]


def build(name, shape, **section):
  section = {**NEEDS.get(name, {}), **section}
  return registry.build("orderings", dict(section, name=name), shape)


def order_of(name, shape, **section):
  return ordering.only(build(name, shape, **section), name)


def name_of(shape):
  return "x".join(map(str, shape))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_every_order_is_a_bijection(name, shape):
  length = int(np.prod(shape))
  family = build(name, shape)
  key_B = jax.random.split(jax.random.key(0), 4)
  rows = [family.draw(key_B)]
  rows += [family.orders_KL]
  if family.training is not None:
    rows += [family.training(key_B, done) for done in (0.0, 0.6, 1.0)]
  for row in rows:
    if row is None:
      continue
    row = np.asarray(row)
    assert row.dtype == np.int32
    assert row.ndim == 2
    assert (np.sort(row, 1) == np.arange(length)).all()
    rank = np.asarray(ordering.rank(row))
    assert (np.take_along_axis(row, rank, 1) == np.arange(length)).all()
  again = build(name, shape)
  assert np.array_equal(again.draw(key_B), rows[0])


OF_SITES = ("interpolated", "middle_out", "random")  # and not of pixels


@pytest.mark.parametrize("name", [n for n in ONE if n not in OF_SITES])
def test_sub_pixels_follow_one_another_or_lie_in_planes(name):
  order_L = order_of(name, (4, 5, 3))
  if name == "planes":
    assert (order_L % 3 == np.repeat([0, 1, 2], 20)).all()
    assert (order_L.reshape(3, 20) // 3 == np.arange(20)).all()
  else:
    pixel = order_L.reshape(20, 3) // 3
    assert (pixel[:, 0] == order_of(name, (4, 5))).all()
    assert (pixel == pixel[:, :1]).all()


@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_paths_go_to_neighbors(shape):
  if len(shape) == 3:
    shape = shape[:2]
  snake = order_statistics.jumps(order_of("snake", shape), shape)
  assert (snake == 1).all()
  for out in (False, True):
    spiral = order_of("spiral", shape, out=out)
    assert (order_statistics.jumps(spiral, shape) == 1).all()
  middle = order_statistics.jumps(order_of("middle_out", (30,)), (30,))
  assert sorted(middle)[-2:] == [1, 15]


def test_hilbert_jumps_to_a_neighbor_on_every_size():
  """One diagonal step at the most, and none where a side can be halved."""
  for H, W in itertools.product(range(1, 18), repeat=2):
    jump = order_statistics.jumps(order_of("hilbert", (H, W)), (H, W))
    assert (jump < 1.5).all(), (H, W)
    assert (jump > 1).sum() <= 1, (H, W)
    if max(H, W) % 2 == 0:
      assert (jump == 1).all(), (H, W)
  for n in (2, 4, 8, 16):  # there it is Hilbert's own: quadrants in turn
    order = order_of("hilbert", (n, n)).reshape(4, -1)
    row, column = order // n // (n // 2), order % n // (n // 2)
    quadrant = 2 * row + column
    assert (quadrant == quadrant[:, :1]).all()
    assert len(set(quadrant[:, 0])) == 4


def test_orders_by_hand():
  def grid(name, shape, **section):
    return np.argsort(order_of(name, shape, **section)).reshape(shape).tolist()

  assert grid("column", (2, 3)) == [[0, 2, 4], [1, 3, 5]]
  assert grid("snake", (3, 2), by_columns=True) == [[0, 5], [1, 4], [2, 3]]
  assert grid("z_curve", (2, 4)) == [[0, 1, 4, 5], [2, 3, 6, 7]]
  assert grid("spiral", (3, 4)) == [[0, 1, 2, 3], [9, 10, 11, 4], [8, 7, 6, 5]]
  assert grid("spiral", (2, 2), out=True) == [[3, 2], [0, 1]]
  assert grid("diagonal", (2, 3)) == [[0, 1, 3], [2, 4, 5]]
  assert grid("checkerboard", (2, 3)) == [[0, 3, 1], [4, 2, 5]]
  assert grid("subsample", (4, 4)) == [
    [0, 4, 1, 5],
    [6, 7, 8, 9],
    [2, 10, 3, 11],
    [12, 13, 14, 15],
  ]
  assert order_of("bit_reversal", (8,)).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
  assert order_of("bit_reversal", (4, 4)).tolist()[:8] == [
    *(0, 2, 8, 10),
    *(1, 3, 9, 11),
  ]
  assert order_of("center_out", (5,)).tolist() == [2, 1, 3, 0, 4]
  assert order_of("middle_out", (5,)).tolist() == [2, 3, 4, 1, 0]
  assert order_of("middle_out", (5,), start=0).tolist() == [0, 1, 2, 3, 4]
  assert grid("blocks", (3, 3), size=(2, 2), inner=None) == [
    [0, 1, 4],
    [2, 3, 5],
    [6, 7, 8],
  ]
  assert order_of("planes", (1, 2, 3)).tolist() == [0, 3, 1, 4, 2, 5]


def test_symmetries_are_the_eight_that_geometric_stacks_take():
  shape, seen = (3, 4), set()
  for by_columns, upward, leftward in itertools.product((0, 1), repeat=3):
    order_L = order_of(
      "symmetry", shape, by_columns=by_columns, upward=upward, leftward=leftward
    )
    turned = ordering.symmetry(shape, order_L[None])
    assert turned == (shape[::-1] if by_columns else shape)
    seen.add(tuple(order_L))
  assert len(seen) == 8
  for name in ("raster", "reverse", "column"):
    assert tuple(order_of(name, shape)) in seen


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
@pytest.mark.parametrize("end", ["reverse", "random"])
def test_interpolated_lies_at_the_requested_distance(share, end):
  shape = (9, 8)
  start_L = order_of("snake", shape)
  end_L = order_of(end, shape)
  between_L = order_of(
    "interpolated",
    shape,
    share=share,
    start=dict(name="snake"),
    end=dict(name=end),
    seed=3,
  )
  whole = order_statistics.discordant(start_L, end_L)
  there = order_statistics.discordant(start_L, between_L)
  assert there == round(share * whole)
  # On a shortest path: what lies behind and ahead add up.
  assert there + order_statistics.discordant(between_L, end_L) == whole


def test_a_set_of_orders_chooses_all_of_its_orders():
  family = build("k_set", (2, 3))
  assert family.orders_KL.shape == (5, 6)
  assert (family.orders_KL[0] == order_of("snake", (2, 3))).all()
  drawn = np.asarray(family.draw(jax.random.split(jax.random.key(1), 2000)))
  count = [(drawn == order).all(1).sum() for order in family.orders_KL]
  assert sum(count) == 2000
  assert scipy.stats.chisquare(count).pvalue > 1e-6


def test_annealed_orders_end_in_the_one_they_are_scored_in():
  to = dict(name="reverse")
  family = build("annealed", (8,), start=0.2, stop=0.8, to=to)
  assert (family.orders_KL == np.arange(8)[::-1]).all()
  assert ordering.trained(family) is None
  key_B = jax.random.split(jax.random.key(0), 4000)
  for done, share in ((0.0, 1), (0.2, 1), (0.35, 0.75), (0.65, 0.25), (0.8, 0)):
    order_BL = np.asarray(family.training(key_B, done))
    random = (order_BL != np.arange(8)[::-1]).any(1).mean()
    assert random == pytest.approx(share, abs=0.03), done
  at_once = build("annealed", (8,), start=0.5, stop=0.5)
  for done, share in ((0.49, 1), (0.5, 0)):
    order_BL = np.asarray(at_once.training(key_B, done))
    random = (order_BL != np.arange(8)).any(1).mean()
    assert random == pytest.approx(share, abs=1e-3)


def test_an_order_from_a_file(tmp_path):
  path = tmp_path / "order.npy"
  np.save(path, np.array([2, 0, 1, 3]))
  section = dict(name="from_file", path=str(path), order=None)
  made = registry.build("orderings", section, (2, 2))
  assert made.orders_KL.tolist() == [[2, 0, 1, 3]]
  kept = registry.load("orderings", "from_file").keep(section)
  path.unlink()
  again = registry.build("orderings", kept, (2, 2))
  assert again.orders_KL.tolist() == [[2, 0, 1, 3]]
  with pytest.raises(errors.DataError, match=r"order\.npy cannot be read"):
    registry.build("orderings", section, (2, 2))
  for wrong in ([2, 0, 1], [0, 1, 2, 2], [0, 1, 2, 4], [0.0, 1.0, 2.0, 3.0]):
    np.save(path, np.array(wrong))
    with pytest.raises(errors.DataError, match="an order (is|of 3)"):
      registry.build("orderings", section, (2, 2))


@pytest.mark.parametrize(
  ("name", "section", "message"),
  [
    ("blocks", dict(size=(0, 2)), "two numbers"),
    ("blocks", dict(size=(2, 2), inner=dict(name="all")), "not one order"),
    ("planes", dict(of=dict(name="annealed")), "not one order"),
    ("interpolated", dict(share=1.5), "from 0"),
    ("k_set", dict(count=0, of=()), "at the least"),
    ("annealed", dict(start=0.5, stop=0.2), "start <= stop"),
    ("middle_out", dict(start=20), "no site"),
    ("from_file", dict(), "give the file"),
  ],
)
def test_a_section_that_says_no_order_is_refused(name, section, message):
  with pytest.raises(ValueError, match=message):
    build(name, (4, 5), **section)


def test_more_axes_than_a_grid_has_are_refused():
  with pytest.raises(ValueError, match="2 x 2 x 2 x 2"):
    build("snake", (2, 2, 2, 2))


def test_an_order_within_an_order_is_kept_too(tmp_path):
  path = tmp_path / "order.npy"
  np.save(path, np.random.default_rng(0).permutation(64))
  config = configs.load("configs/digits_gpt.py:tiny")
  file = dict(name="from_file", path=str(path))
  ordering = dict(name="k_set", of=(dict(name="snake"), file))
  values = dict(configs.plain(config), ordering=ordering)
  kept = assemble.kept(configs.restore(values))
  before = registry.build("orderings", ordering, (8, 8)).orders_KL
  path.unlink()
  section = configs.plain(kept.ordering)
  after = registry.build("orderings", section, (8, 8)).orders_KL
  assert (before == after).all()
  assert assemble.kept(kept) is kept


def test_what_numpy_reads_but_is_no_order(tmp_path):
  np.savez(tmp_path / "order.npz", order=np.arange(4))
  (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04 no zip")
  for name in ("order.npz", "zip.npy"):
    section = dict(name="from_file", path=str(tmp_path / name))
    with pytest.raises(errors.DataError, match=name):
      registry.build("orderings", section, (2, 2))


@pytest.mark.slow
def test_a_run_keeps_the_order_of_its_file(tmp_path):
  path = tmp_path / "order.npy"
  np.save(path, np.random.default_rng(0).permutation(64))
  flags = [("ordering.path", str(path)), ("train.steps", 2)]
  name = "configs/digits_gpt.py:tiny,ordering=from_file"
  config = configs.load(name, flags)
  run, _ = launch.train(config, tmp_path / "run")
  path.rename(tmp_path / "moved.npy")
  opened = runs.load(tmp_path / "run")
  assert (opened.net.ordering.orders_KL == run.net.ordering.orders_KL).all()
  flags[0] = ("ordering.path", str(tmp_path / "moved.npy"))
  again = configs.load(name, flags)
  launch.train(again, tmp_path / "run")
  np.save(tmp_path / "moved.npy", np.arange(64))
  with pytest.raises(errors.UsageError, match=r"ordering\.order is"):
    launch.train(again, tmp_path / "run")
