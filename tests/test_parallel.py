"""One device, two and eight compute the same run."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).parent / "devices.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
  """Results by device count, from one process each."""
  folder = tmp_path_factory.mktemp("devices")
  found = {}
  for n in (1, 2, 8):
    flags = f"--xla_force_host_platform_device_count={n}"
    env = dict(os.environ, XLA_FLAGS=flags, JAX_PLATFORMS="cpu", NPROC="32")
    out = folder / f"{n}.npz"
    subprocess.run([sys.executable, str(SCRIPT), str(out)], env=env, check=True)
    found[n] = dict(np.load(out))
    assert found[n]["devices"] == n
  return found


@pytest.mark.parametrize("n", [2, 8])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_devices_agree(results, n, accumulate):
  one, many = results[1], results[n]
  assert one[f"weight_{accumulate}"] == many[f"weight_{accumulate}"]
  losses, other = (r[f"losses_{accumulate}"] for r in (one, many))
  assert abs(other[0] / losses[0] - 1) < 2e-6
  np.testing.assert_allclose(other, losses, rtol=1e-5)
  # The gradient itself: SGD would show a wrong scale, which Adam hides.
  params, other = (r[f"params_{accumulate}"] for r in (one, many))
  np.testing.assert_allclose(other, params, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("n", [2, 8])
def test_devices_draw_the_same_masks(results, n):
  masks = results[n]["masks"]
  np.testing.assert_array_equal(masks, results[1]["masks"])
  assert len({m.tobytes() for m in masks}) == len(masks)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_accumulation_changes_nothing(results, n):
  # Not the same bits: the sums have another order. Dropout is by example.
  one, two = results[n]["params_1"], results[n]["params_2"]
  np.testing.assert_allclose(two, one, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("n", [2, 8])
def test_devices_draw_the_same_rows(results, n):
  one, many = results[1], results[n]
  assert (one["drawn_over"], many["drawn_over"]) == (1, n)
  rows = one["drawn"]
  assert len({row.tobytes() for row in rows}) == len(rows) == 5
  np.testing.assert_array_equal(many["drawn"], rows)
  np.testing.assert_allclose(
    many["drawn_log_prob"], one["drawn_log_prob"], rtol=0, atol=1e-5
  )
