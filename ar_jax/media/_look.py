"""The look of the figures of media: settings of matplotlib."""

INK = "#5c6370"
PLAIN = {
  "font.size": 8,
  "axes.linewidth": 0.6,
  "axes.spines.right": False,
  "axes.spines.top": False,
  "text.parse_math": False,
}
LOOK = PLAIN | {
  "axes.edgecolor": INK,
  "xtick.major.width": 0.6,
  "ytick.major.width": 0.6,
}
