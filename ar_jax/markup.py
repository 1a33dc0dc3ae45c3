"""Elements of a page, and text colored by how much each token surprises.

`tag` escapes all that it did not make itself.
"""

import base64
import codecs
import hashlib
import html
import json
import math

_TYPES = {".png": "image/png", ".wav": "audio/wav"}
_SPACES = {" ": "space", "\n": "newline", "\t": "tab"}


class Html(str):
  """Markup, which is not escaped again."""


def tag(name, *inside, **attributes):
  """An element; `class_` is class, and aria_label aria-label."""
  said = "".join(
    f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
    for key, value in attributes.items()
  )
  return Html(f"<{name}{said}>{join(*inside)}</{name}>")


def join(*inside):
  """Markup of several parts; what is no Html is escaped."""
  parts = (p if isinstance(p, Html) else html.escape(str(p)) for p in inside)
  return Html("".join(parts))


def document(title, style, *inside, script=""):
  """A whole page, which forbids itself requests and all scripts but one."""
  policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'"
  policy += "; img-src data:; media-src data:"
  if script:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
    policy += f"; script-src 'sha256-{digest.decode()}'"
  head = tag(
    "head",
    Html('<meta charset="utf-8">'),
    Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
    Html('<meta name="viewport" content="width=device-width">'),
    Html('<meta name="color-scheme" content="light dark">'),
    tag("title", title),
    tag("style", Html(style)),
  )
  last = [tag("script", Html(script))] if script else []
  body = tag("body", tag("main", *inside), *last)
  page = tag("html", head, body, lang="en")
  return f"<!DOCTYPE html>\n{page}\n"


def section(title, body):
  """A part of the page, named by its title."""
  name = title.lower().replace(" ", "-")
  return tag("section", tag("h2", title, id=name), body, aria_labelledby=name)


def table(titles, rows, **attributes):
  """A table.

  Args:
    titles: of the columns; all "": no head.
    rows: lists of cells, the first of which is the header; or Html of a row.
    **attributes: of the element.
  """
  body = [row if isinstance(row, Html) else _row(*row) for row in rows]
  inside = tag("tbody", *body)
  if any(titles):
    cells = [tag("th", title, scope="col") for title in titles]
    inside = join(tag("thead", tag("tr", *cells)), inside)
  return tag("table", inside, **attributes)


def sortable(titles, rows):
  """A table whose columns sort; every title is a button of page.js."""
  heads = [
    tag("th", tag("button", title, type="button"), scope="col")
    for title in titles
  ]
  head = tag("thead", tag("tr", *heads))
  body = tag("tbody", *(_row(*row) for row in rows))
  return tag("table", head, body, class_="sorts")


def medium(path, label, class_="medium"):
  """A picture, or sound that can be played, inside the page; else nothing."""
  if path.suffix not in _TYPES:
    return Html("")
  data = base64.b64encode(path.read_bytes()).decode()
  source = f"data:{_TYPES[path.suffix]};base64,{data}"
  label = html.escape(label)
  if path.suffix == ".png":
    return Html(f'<img class="{class_}" src="{source}" alt="{label}">')
  return tag("audio", controls="", src=source, aria_label=label)


def scroll(label, wide):
  """What may be wider than the page; `label` names it where none is seen."""
  more = dict(role="region", aria_label=label, tabindex=0)
  return tag("div", wide, class_="scroll", **more)


def _row(first, *cells):
  cells = [tag("td", cell) for cell in cells]
  return tag("tr", tag("th", first, scope="row"), *cells)


def pairs(values, name):
  """{title: value} as a list of class `name`."""
  items = [tag("div", tag("dt", k), tag("dd", v)) for k, v in values.items()]
  return tag("dl", *items, class_=name)


def number(value, unit=""):
  """Four digits to read, all of them in the markup."""
  if isinstance(value, int):
    shown = f"{value:,}"
  elif math.isnan(value):
    shown = "unknown"
  elif abs(value) < 1e7:
    shown = f"{value:.4f}" if abs(value) < 100 else f"{value:,.2f}"
  else:
    shown = f"{value:.4g}"
  return tag("data", shown + unit, value=repr(value))


def whole(value):
  """A number without its fraction."""
  return tag("data", f"{value:,.0f}", value=repr(value))


def big(value):
  """Three digits and k, M, G, T, P or E."""
  power = min(6, int(math.log10(value)) // 3) if value >= 1 else 0
  shown = f"{value / 1000**power:.3g} {' kMGTPE'[power]}".strip()
  return tag("data", shown, value=repr(value))


def duration(seconds):
  """Hours, minutes and seconds."""
  minutes, s = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  parts = {"h": hours, "min": minutes, "s": s}
  shown = " ".join(f"{n} {unit}" for unit, n in parts.items() if n)
  return tag("data", shown or "0 s", value=repr(round(seconds, 3)))


def plain(value):
  """A JSON value; a str without quotes where it is not empty."""
  if isinstance(value, str) and value:
    return value
  return json.dumps(value, ensure_ascii=False)


def tokens(piece_T, bits_T, given_T, top):
  """A text, each token a span whose ground tells its surprise.

  Tokens that hold parts of one character share a span. White space stays
  what it is, and what cannot be shown stands as its escape.

  Args:
    piece_T: list of T bytes; a str stands for a token without text.
    bits_T: -log2 p of each.
    given_T: bool [T]: of the prompt.
    top: bits of the strongest color.
  """
  spans = []
  for first, end, shown in _characters(piece_T):
    bits = [float(b) for b in bits_T[first:end]]
    title = " + ".join(f"{b:.4f}" for b in bits)
    title += f" bits, p {2 ** -sum(bits):.3g}"
    if end - first > 1 or len(shown) != 1:
      title += ": " + " + ".join(map(repr, piece_T[first:end]))
    classes = "given" if all(given_T[first:end]) else ""
    label = isinstance(piece_T[first], str)
    inside = tag("i", shown, class_="raw") if label else _visible(shown)
    spans.append(surprise("span", inside, sum(bits), top, classes, title))
  return tag("pre", *spans, translate="no")


def grid(value_T, bits_T, width, top):
  """Values on the same colors, `width` in a row."""
  cells = [
    surprise("td", value, bits, top)
    for value, bits in zip(value_T, bits_T.tolist(), strict=True)
  ]
  rows = []
  for first in range(0, len(cells), width):
    header = tag("th", first, scope="row")
    rows.append(tag("tr", header, *cells[first : first + width]))
  label = "Values of the sites"
  return scroll(label, table([""], rows, class_="values"))


def surprise(name, inside, bits, top, classes="", title=None):
  """An element on the ground of its bits; those over `top` are underlined."""
  classes += " over" if bits > top else ""
  title = f"{bits:.4f} bits, p {2**-bits:.3g}" if title is None else title
  share = min(max(bits / top, 0), 1)
  more = dict(class_=classes.strip()) if classes.strip() else {}
  return tag(name, inside, **more, style=f"--b:{share:.3f}", title=title)


def legend(top, note):
  """The scale of the colors, 0 to `top` bits."""
  ticks = [tag("span", f"{top * k / 4:.3g}") for k in range(5)]
  return tag(
    "div",
    tag("div", class_="ramp", role="img", aria_label=f"0 to {top:.3g} bits"),
    tag("div", *ticks, class_="ticks"),
    tag("p", note),
    class_="legend",
  )


def _characters(piece_T):
  """(first, end, text) of the shortest runs of tokens that end a character.

  Bytes that are no UTF-8 come as lone surrogates.
  """
  first, raw = 0, b""
  for at, piece in enumerate([*piece_T, ""]):
    label = isinstance(piece, str)
    raw += b"" if label else piece
    shown, used = codecs.utf_8_decode(raw, "surrogateescape", label)
    if raw and used == len(raw):
      end = at if label else at + 1
      yield first, end, shown
      first, raw = end, b""
    if label and piece:
      yield at, at + 1, piece
      first = at + 1


def _visible(shown):
  parts = []
  for c in shown:
    if c in _SPACES:
      parts.append(tag("i", c, class_=_SPACES[c]))
    elif c.isprintable():
      parts.append(html.escape(c))
    elif "\udc80" <= c <= "\udcff":
      parts.append(tag("i", f"\\x{ord(c) - 0xDC00:02x}", class_="raw"))
    else:
      escape = c.encode("unicode_escape").decode()
      parts.append(tag("i", escape, class_="raw"))
  return Html("".join(parts))
