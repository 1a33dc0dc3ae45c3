"""PixelRNN on scikit-learn's 8x8 digits: Diagonal BiLSTM or Row LSTM.

  ar_jax train --config=configs/digits_pixelrnn.py --workdir=runs/digits_rnn
  ar_jax train --config=configs/digits_pixelrnn.py:cell=row_lstm \\
      --workdir=runs/digits_row
  ar_jax evaluate --workdir=runs/digits_rnn

Arguments: tiny; cell=diagonal_bilstm|row_lstm; ordering=raster|reverse;
labels=true|false.

measured: test bits/dim at the best validation, 180 images, s.e. .018, given
  the label, seed 0: diagonal_bilstm 1.626, --config.train.steps=7000; row_lstm
  1.646, steps=12400; 2026-11-21, 10 minutes on 2 CPU cores each:
  experiments/digits_models.py
"""

from configs import base


def get_config(arg=None):
  """See the header."""
  arg = base.parse(
    arg, tiny=False, cell="diagonal_bilstm", ordering="raster", labels=True
  )
  config = base.get_base()
  config.data = base.digits(arg)
  config.ordering = base.choose("ordering", arg.ordering, base.ORDERINGS)
  config.model = base.pixel_rnn(arg.tiny, arg.cell, layers=3, width=32)
  config.model.dropout = 0.2
  base.images(config, arg.tiny, steps=3000, batch_size=64)
  return config
