"""One table of all runs under a directory: settings that differ, and figures.

  ar_jax results runs/orders
  ar_jax results runs/orders --where="optimizer.lr<1e-3" --format=csv
  ar_jax results runs/orders --by=ordering.name
  ar_jax results runs/orders --by=ordering.name --base=raster
  ar_jax results runs/heads --where=tags.data=digits --by=tags.head

By groups it gives the mean, its standard error and Student's 95 % interval
over the runs of each, which are seeds if nothing else differs; against a base
the gap of each group, paired by seed: its interval, p adjusted by Holm for the
number of groups, and the gap that would be found four times in five. Columns
tags.KEY are what a study calls its runs.
"""


def add_arguments(parser):
  """Flags of the command."""
  parser.add_argument(
    "folder", metavar="DIR", help="of a sweep, or any that holds runs"
  )
  parser.add_argument(
    "--where",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="of these runs; also !=, <, >, <=, >=",
  )
  parser.add_argument(
    "--by", default="", metavar="KEY,...", help="groups of runs, as model.name"
  )
  parser.add_argument("--base", help="group that the others are compared with")
  parser.add_argument(
    "--metric", help="of groups (default: bits_per_dim, bits_per_byte or nats)"
  )
  parser.add_argument(
    "--format", choices=("table", "csv", "markdown"), default="table"
  )


def run(args):
  """Prints the table."""
  from ar_jax import errors, paper, results
  from ar_jax.commands import _show

  if args.base is not None and not args.by:
    raise errors.UsageError("--base is one of the groups that --by makes")
  rows = results.chosen(results.rows(args.folder), args.where)
  if not rows:
    raise errors.UsageError("no run is left: see --where")
  if args.by:
    metric = results.metric(rows, args.metric)
    by = args.by.split(",")
    groups = results.grouped(rows, by)
    titles, cells = _groups(results, groups, " ".join(by), metric)
    if args.base is not None:
      more = _compared(results, groups, args.base, metric)
      titles += more.pop("")
      cells = [line + more.get(line[0], []) for line in cells]
  else:
    titles = results.columns(rows)
    cells = [[_cell(row.get(key)) for key in titles] for row in rows]
  if args.format == "csv":
    print(paper.to_csv(titles, cells), end="")
    return
  if args.format == "markdown":
    print(paper.markdown(titles, cells), end="")
    return
  _show.show(paper.table(None, titles, cells))


def _groups(results, groups, by, metric):
  """(titles, lines) of the means."""
  from ar_jax import paper

  titles = [by, "runs", metric, "s.e.", "95 % low", "high"]
  lines = []
  for group in results.summary(groups, metric):
    figures = group.mean, group.error, group.low, group.high
    cells = [paper.known(value, ".6g") for value in figures]
    lines.append([group.label, str(group.count), *cells])
  return titles, lines


def _compared(results, groups, base, metric):
  """{label: cells} of the gaps; titles at ""."""
  from ar_jax import paper

  names = f"gap to {base}", "95 % low", "high", "p (Holm)", "detectable"
  found = {"": list(names), base: [""] * len(names)}
  for label, row in results.paired(groups, base, metric).items():
    figures = row.paired.mean, row.paired.low, row.paired.high
    cells = [paper.known(value, "+.4f") for value in figures]
    cells += [
      paper.known(row.holm, ".2g"),
      paper.known(row.paired.detectable, ".4f"),
    ]
    found[label] = cells
  return found


def _cell(value):
  from ar_jax import results

  if isinstance(value, float):
    return format(value, ".6g")
  return results.shown(value)
