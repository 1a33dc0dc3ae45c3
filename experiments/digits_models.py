"""Which network models real digits best in the same time?

  ar_jax sweep experiments/digits_models.py --workdir=runs/digits_models

PixelCNN, gated PixelCNN, PixelRNN with both cells, and GPT, all on p(image |
digit) of scikit-learn's 8x8 digits in 17 levels. The figure compares networks
as they stand here, not the ideas behind them. Bars: each site alone, the
Chow-Liu tree, and a PNG of the split.

The updates of a network are what it takes in twenty minutes of CPU time, ten on
two threads, at its time of an update: 52, 138, 85, 48 and 228 ms (2026-11-20).
Each run is scored by its best validation.

measured: test bits/dim, 180 images, s.e. .018, seed 0; test images whose digit
  is inferred from p(x | y): Diagonal BiLSTM 1.626, 98.9 %; Row LSTM 1.646,
  99.4 %; PixelCNN 1.662, 98.3 %; GPT 1.675, 98.3 %; gated PixelCNN 1.703, 100
  %; Chow-Liu 2.201, factorised 2.410, PNG 4.031. All of them have their best
  validation within nine minutes and overfit from there on, the gated one and
  the Diagonal BiLSTM least (docs/digits_models.png); 2026-11-21, 2 busy CPU
  cores
"""

import numpy as np

from ar_jax import paper, writer

_MINUTES = 20
# Updates.
STEPS = {
  "digits_pixelcnn.py": 11_500,
  "digits_gated_pixelcnn.py": 4_300,
  "digits_pixelrnn.py": 7_000,
  "digits_pixelrnn.py:cell=row_lstm": 12_400,
  "digits_gpt.py": 2_600,
}
_NAMES = dict(
  zip(
    STEPS,
    ("PixelCNN", "gated PixelCNN", "Diagonal BiLSTM", "Row LSTM", "GPT"),
    strict=True,
  )
)


def sweep():
  """One cell for each network."""
  return [
    {
      "config": f"configs/{name}",
      "checkpoint": "best",
      "split": "test",
      "train.steps": steps,
      "train.eval_every": steps // 20,
    }
    for name, steps in STEPS.items()
  ]


def report(rows, folder):
  """The table of networks and bars, and curves.png in `folder`."""
  curves = {
    _NAMES[key]: _curve(row["workdir"], STEPS[key])
    for key, row in zip(STEPS, rows, strict=True)
  }
  _draw(curves, rows[0]["baselines"], folder / "curves")
  figures = dict(rows[0]["baselines"])
  lines = [(f["bits_per_dim"], name, "", "") for name, f in figures.items()]
  for name, row in zip(STEPS, rows, strict=True):
    model = row["model"]
    error = model["standard_error"] / np.log(2)
    line = (
      model["bits_per_dim"],
      _NAMES[name],
      f"{error:.4f}",
      f"{row['step']:,} of {STEPS[name]:,}",
    )
    lines.append(line)
  title = "test bits/dim of 8x8 digits, given the label"
  cells = [[name, f"{bits:.4f}", *more] for bits, name, *more in sorted(lines)]
  return [paper.table(title, ["", "bits/dim", "s.e.", "updates"], cells)]


def _curve(workdir, steps):
  """(CPU minutes, bits/dim of the validation split) of a run."""
  valid = [x for x in writer.read(workdir) if x["kind"] == "valid"]
  minutes = [_MINUTES * line["step"] / steps for line in valid]
  return minutes, [line["bits_per_dim"] for line in valid]


def _draw(curves, bars, path):
  most = 1.2 * max(max(bits) for _, bits in curves.values())
  with paper.picture(path, (7, 4)) as figure:
    axes = figure.subplots()
    for name, (minutes, bits) in curves.items():
      axes.plot(minutes, bits, marker="o", ms=2.5, label=name)
    for name, row in bars.items():
      level = row["bits_per_dim"]
      if level > most:  # it would flatten all that is below
        axes.plot([], [], color="gray", ls=":", label=f"{name}: {level:.2f}")
        continue
      axes.axhline(level, color="gray", lw=0.8, ls=":")
      axes.text(0, level, name, fontsize=7, va="bottom")
    axes.set_xlabel("CPU minutes: updates times the time of one")
    axes.set_ylabel("validation bits/dim; bars: test")
    axes.legend(frameon=False)
