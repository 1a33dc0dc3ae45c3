"""What a function does, counted in its jaxpr: operations, and bytes read.

Of a conditional the least of its branches is counted: what every call does.
"""

import math

import jax
from jax.extend.core import Literal

_PARTS = ("gather", "dynamic_slice", "slice")
_WRITES = ("scatter", "dynamic_update_slice")
_VIEWS = ("reshape", "squeeze", "transpose", "convert_element_type", "copy")
_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")


def flops(function, *args):
  """Operations of its matrix products and convolutions, loops included.

  A multiplication and an addition are two. A loop of a length that is not
  known counts once.
  """
  return float(_flops(jax.make_jaxpr(function)(*args).jaxpr))


def _flops(jaxpr):
  total = 0
  for eqn in jaxpr.eqns:
    name = eqn.primitive.name
    if name == "dot_general":
      (contracted, _), _ = eqn.params["dimension_numbers"]
      shape = eqn.invars[0].aval.shape
      inner = math.prod(shape[axis] for axis in contracted)
      total += 2 * math.prod(eqn.outvars[0].aval.shape) * inner
    elif name == "conv_general_dilated":
      kernel = eqn.invars[1].aval.shape
      features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
      inner = math.prod(kernel) // features
      total += 2 * math.prod(eqn.outvars[0].aval.shape) * inner
    elif name == "cond":
      total += min(map(_flops, _inner(eqn)))
    else:
      times = eqn.params["length"] if name == "scan" else 1
      total += times * sum(map(_flops, _inner(eqn)))
  return total


def _inner(eqn):
  """The jaxprs that an equation holds."""
  for value in eqn.params.values():
    for one in value if isinstance(value, tuple | list) else (value,):
      one = getattr(one, "jaxpr", one)
      if hasattr(one, "eqns"):
        yield one


def bytes_read(step, *args):
  """Bytes of its arguments that a function has to read."""
  jaxpr = jax.make_jaxpr(step)(*args).jaxpr
  return float(sum(_read(jaxpr, var)[0] for var in jaxpr.invars))


def _read(jaxpr, var):
  """(bytes read of a variable, which results hold it, written in place)."""
  same, count = {var}, 0
  for eqn in jaxpr.eqns:
    name, result = eqn.primitive.name, eqn.outvars[0]
    for i, used in enumerate(eqn.invars):
      if isinstance(used, Literal) or used not in same:
        continue
      if i == 0 and name in _PARTS:
        count += _size(result)
      elif name in _VIEWS or i == 0 and name in _WRITES:
        same.add(result)
      elif name == "cond" and i:
        branches = [getattr(b, "jaxpr", b) for b in eqn.params["branches"]]
        found = [_read(b, b.invars[i - 1]) for b in branches]
        count += min(more for more, _ in found)
        held = set.intersection(*(set(held) for _, held in found))
        same |= {eqn.outvars[j] for j in held}
      elif name in _CALLS:
        inner = eqn.params["jaxpr" if "jaxpr" in eqn.params else "call_jaxpr"]
        inner = getattr(inner, "jaxpr", inner)  # closed over constants or not
        more, held = _read(inner, inner.invars[i])
        count += more
        same |= {eqn.outvars[j] for j in held}
      else:
        return _size(var), ()
  held = [
    i
    for i, out in enumerate(jaxpr.outvars)
    if not isinstance(out, Literal) and out in same
  ]
  return min(count, _size(var)), held


def _size(var):
  return math.prod(var.aval.shape) * var.aval.dtype.itemsize
