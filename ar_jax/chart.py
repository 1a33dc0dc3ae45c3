"""Curves of runs as an <svg> whose lines can be pointed at and switched off.

What moves is in page.js; without it the picture and its legend stand as they
are.
"""

import json
import math

from ar_jax import markup

# 3:1 or more on white and on near black, apart for the color-blind (Wong 2011,
# darkened), told apart by dashes where there are more lines than colors.
COLORS = (
  "#2f7de1",
  "#c2571a",
  "#0d8f6f",
  "#b0569c",
  "#8a7a12",
  "#4f8fb0",
  "#c0392b",
)
_DASHES = ("", "7 4", "2 3", "10 3 2 3")
_SIZE = 900, 430  # of the view box
_MARGIN = dict(left=64, right=24, top=12, bottom=44)
_LETTERS = 14  # height of a label


def draw(groups, levels, x_title, y_title, label):
  """The chart and its legend, as Html.

  Args:
    groups: {name: [(run, xs, ys)]}; the lines of a group share a color.
    levels: {name: y} of horizontal lines, as baselines and the entropy.
    x_title, y_title: of the axes, with units.
    label: the picture in words.
  """
  lines = [line for group in groups.values() for line in group]
  xs = [x for _, line_xs, _ in lines for x in line_xs]
  ys = _without_start(lines)
  beside = near(levels, ys)
  place = _Scale(0, max(xs), *_padded([*ys, *beside.values()]))
  inside = [_grid(place), _titles(x_title, y_title)]
  steps = steps_aside(beside, place.height(_LETTERS))
  inside += [_level(place, name, y, steps[name]) for name, y in beside.items()]
  for n, group in enumerate(groups.values()):
    drawn = [_line(place, *line) for line in group]
    inside.append(
      markup.tag("g", *drawn, class_="lines", data_group=n, style=_look(n))
    )
  dot = markup.tag("circle", r=4, class_="dot", visibility="hidden")
  width, height = _SIZE
  svg = markup.tag(
    "svg",
    *inside,
    dot,
    viewBox=f"0 0 {width} {height}",
    role="img",
    aria_label=label,
  )
  buttons = [
    markup.tag(
      "button",
      _swatch(n),
      name,
      type="button",
      data_group=n,
      aria_pressed="true",
    )
    for n, name in enumerate(groups)
  ]
  legend = markup.tag("div", *buttons, class_="switches")
  said = markup.tag("output", " ", class_="said")
  beyond = [f"{k} {v:.4g}" for k, v in levels.items() if k not in beside]
  if beyond:
    said = markup.join(said, markup.tag("p", "Beyond: ", ", ".join(beyond)))
  units = json.dumps([x_title, y_title])
  return markup.tag("div", svg, legend, said, class_="chart", data_units=units)


def near(levels, ys):
  """The levels that do not press what is between `ys` flat."""
  low, high = min(ys), max(ys)
  margin = 0.5 * (high - low) or abs(high)
  return {k: v for k, v in levels.items() if low - margin <= v <= high + margin}


def steps_aside(levels, height):
  """{name: steps} that labels of some height are moved aside not to touch."""
  steps, last = {}, []
  for name, level in sorted(levels.items(), key=lambda pair: pair[1]):
    free = [n for n, below in enumerate(last) if level - below >= height]
    steps[name] = free[0] if free else len(last)
    last[steps[name] : steps[name] + 1] = [level]
  return steps


class _Scale:
  """Data to the view box."""

  def __init__(self, left, right, low, high):
    self.left, self.right = left, right or 1
    self.low, self.high = low, high

  def x(self, value):
    width = _SIZE[0] - _MARGIN["left"] - _MARGIN["right"]
    share = (value - self.left) / (self.right - self.left)
    return _MARGIN["left"] + width * share

  def height(self, pixels):
    height = _SIZE[1] - _MARGIN["top"] - _MARGIN["bottom"]
    return pixels / height * (self.high - self.low)

  def y(self, value):
    height = _SIZE[1] - _MARGIN["top"] - _MARGIN["bottom"]
    share = (value - self.low) / (self.high - self.low)
    return _SIZE[1] - _MARGIN["bottom"] - height * min(max(share, 0), 1.02)


def _without_start(lines):
  """The figures that the axis shows: all but where long lines come down from.

  A first point far above the rest would press everything else flat.
  """
  return [y for *_, ys in lines for y in (ys[1:] if len(ys) > 2 else ys)]


def _padded(ys):
  low, high = min(ys), max(ys)
  margin = 0.05 * (high - low) or 0.05
  return low - margin, high + margin


def _ticks(low, high, count=6):
  """Round numbers between two."""
  step = 10 ** math.floor(math.log10((high - low) / count))
  for factor in (1, 2, 5, 10):
    if (high - low) / (step * factor) <= count:
      break
  step *= factor
  first = math.ceil(low / step)
  return [n * step for n in range(first, math.floor(high / step) + 1)]


def _grid(place):
  left, right = _MARGIN["left"], _SIZE[0] - _MARGIN["right"]
  bottom = _SIZE[1] - _MARGIN["bottom"]
  parts = []
  for value in _ticks(place.low, place.high):
    y = f"{place.y(value):.1f}"
    parts.append(markup.tag("line", x1=left, x2=right, y1=y, y2=y))
    parts.append(
      markup.tag("text", f"{value:.4g}", x=left - 8, y=y, class_="of_y")
    )
  for value in _ticks(place.left, place.right):
    x = f"{place.x(value):.1f}"
    shown = f"{value:,.0f}" if value < 1e6 else f"{value:.2g}"
    parts.append(markup.tag("text", shown, x=x, y=bottom + 18, class_="of_x"))
  return markup.tag("g", *parts, class_="grid")


def _titles(x_title, y_title):
  middle = (_SIZE[1] - _MARGIN["bottom"]) / 2
  return markup.tag(
    "g",
    markup.tag("text", x_title, x=_SIZE[0] / 2, y=_SIZE[1] - 6, class_="of_x"),
    markup.tag(
      "text",
      y_title,
      x=14,
      y=middle,
      transform=f"rotate(-90 14 {middle})",
      class_="of_x",
    ),
    class_="titles",
  )


def _level(place, name, value, steps):
  y = f"{place.y(value):.1f}"
  left, right = _MARGIN["left"], _SIZE[0] - _MARGIN["right"]
  return markup.tag(
    "g",
    markup.tag("line", x1=left, x2=right, y1=y, y2=y),
    markup.tag(
      "text", f"{name} {value:.4g}", x=right - 110 * steps, y=y, dy=-4
    ),
    class_="level",
  )


def _line(place, name, xs, ys):
  """A line whose data go with it; a ring where it is a point."""
  corners = " ".join(
    f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in zip(xs, ys, strict=True)
  )
  more = dict(data_name=name, data_xs=json.dumps(xs), data_ys=json.dumps(ys))
  line = markup.tag("polyline", points=corners, **more)
  if len(xs) > 1:
    return line
  x, y = corners.split(",")
  return markup.join(line, markup.tag("circle", cx=x, cy=y, r=3))


def _look(n):
  color = COLORS[n % len(COLORS)]
  dash = _DASHES[n // len(COLORS) % len(_DASHES)]
  return f"stroke:{color};stroke-dasharray:{dash or 'none'}"


def _swatch(n):
  line = markup.tag("line", x1=0, x2=24, y1=5, y2=5, style=_look(n))
  return markup.tag("svg", line, viewBox="0 0 24 10", aria_hidden="true")
