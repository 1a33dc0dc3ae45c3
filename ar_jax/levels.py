"""Dependency levels: which steps of an order can be drawn at once.

A step's level is the longest chain of steps that it depends on. The steps of
one level are independent given those of lower levels: a raster of 16 x 16
pixels that see by 3 x 3 kernels has 46 levels, by whole rows 256.
"""

import numpy as np

from ar_jax import decode


def levels(sees_LL):
  """int [L], the level of each step: 0 for one that depends on none.

  Args:
    sees_LL: bool [L, L], [t, s]: whether step t can depend on step s, an
      earlier one; of `decode.sees`.
  Raises:
    ValueError: a step that depends on itself or on a later one.
  """
  sees_LL = np.asarray(sees_LL, bool)
  if np.triu(sees_LL).any():
    t, s = np.argwhere(np.triu(sees_LL))[0]
    raise ValueError(f"step {t} depends on step {s}, which does not precede it")
  level_L = np.zeros(len(sees_LL), int)
  for t, sees_L in enumerate(sees_LL):
    level_L[t] = 1 + level_L[sees_L].max(initial=-1)
  return level_L


def of(model, length, order_L=None):
  """The levels of a model's steps under an order.

  Args:
    model: Model.
    length: L; fewer steps than an item has only of a model whose `sees` is no
      function of the order.
    order_L: int [L]; None: the identity.
  """
  return levels(decode.sees(model, length, order_L)[:length, :length])


def sort(level_L):
  """The steps by level, those of a level in turn: int [L].

  `order_L[sort(level_L)]` is another linear extension of the same graph.
  """
  return np.argsort(level_L, kind="stable")


def sizes(level_L):
  """How many steps each level has: int [levels]."""
  return np.bincount(level_L)


def same_function(model, order_L, other_L):
  """Whether a model is one function of x under two orders of its sites.

  A model whose `sees` is a function of the order is told of the order by its
  dependency graph alone: it is, where that is the same. Any other may depend
  on an order in ways that its graph does not show.
  """
  if not callable(model.sees):
    return np.array_equal(order_L, other_L)
  one, other = (_graph(model, np.asarray(o)) for o in (order_L, other_L))
  return np.array_equal(one, other)


def _graph(model, order_L):
  """bool [L, L] in data coordinates: whether a site can depend on another."""
  site_LL = np.empty((len(order_L),) * 2, bool)
  sees_LL = decode.sees(model, len(order_L), order_L)
  site_LL[np.ix_(order_L, order_L)] = sees_LL
  return site_LL
