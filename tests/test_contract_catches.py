"""Every check fails on what it is there for.

Broken models, heads, steps, orders, samplers and loops, each of a few lines:
by _replace, by a wrapper, by monkeypatch, or by one line of the library's own
source replaced. Each first passes its check unbroken.

Longer than 400 lines because it is one list: a check without a mutant here is
a check that nobody has seen fail.
"""

import functools
import math
import types

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_contract
from contract import caught
from test_contract import EVERY, LABELED, SPEC, small_case

from ar_jax import data, decode, evaluate, registry
from ar_jax import ordering as orders
from ar_jax.models import gpt
from ar_jax.nn import condition
from ar_jax.nn.dropout import dropout
from ar_jax.objectives import nll
from ar_jax.proofs import cases
from ar_jax.samplers import ancestral
from ar_jax.types import Condition, Dataset, Model, Ordering, Split

pytestmark = pytest.mark.slow  # tests of the tests

ORDER_KL = np.array([[0, 1, 2, 3], [1, 2, 3, 0], [2, 0, 3, 1]], np.int32)
Y = dict(label=np.array([0, 1, 1], np.int32))


@pytest.fixture(autouse=True)
def _float64():
  with contract.precision("float64"):
    yield


@functools.cache
def good():
  """A small GPT with labels, under three orders."""
  return small_case(LABELED, order_KL=ORDER_KL, y=Y)


@functools.cache
def table():
  """A table by previous value, source and target: quick to compile.

  Its steps see the step before them alone, and it declares so.
  """
  L, V = SPEC.length, SPEC.num_values

  def sites(order_BL):
    """(sources, targets); the start is source L."""
    order_BL = jnp.arange(L)[None] if order_BL is None else order_BL
    start = ((0, 0), (1, 0))
    return jnp.pad(order_BL, start, constant_values=L)[:, :-1], order_BL

  def init(key):
    shape = V + 1, L + 1, L, V
    return dict(table=jax.random.normal(key, shape, np.float32))

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    before = jnp.pad(x_BLC[..., 0], ((0, 0), (1, 0)), constant_values=V)
    return params["table"][before[:, :-1], *sites(order_BL)]

  def init_cache(params, batch, length, order_BL=None, y=None):
    decode.check_length(length, SPEC)
    return dict(sites=sites(order_BL), room=jnp.zeros(length))

  def step(params, cache, x_BC, t):
    before = jnp.where(t == 0, V, x_BC[:, 0])
    source, target = (a[:, t] for a in cache["sites"])
    return params["table"][before, source, target], cache

  def extend(params, cache, x_BKC, t, n=None):
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    return decode.extend_by_scan(step)(params, cache, x_BKC, t, n)

  sees = np.eye(L, k=-1, dtype=bool)
  model = Model(init, apply, init_cache, step, extend, sees)
  params = contract.random_params(model, scale=1.0)
  head = registry.build("heads", dict(name="categorical"), SPEC)
  return contract.Case(model, head, SPEC, params, ORDER_KL)


@functools.cache
def one_order():
  """The table under one order, with parameters that temperature changes."""
  return contract.spiky(table()._replace(order_KL=ORDER_KL[1:2]))


@functools.cache
def sampler_of(**settings):
  """A sampler of the table."""
  return ancestral.make(table().model, table().head, **settings)


def broken(**fields):
  """The good Case with parts of its model replaced."""
  return good()._replace(model=good().model._replace(**fields))


def mutant_gpt(module, **section):
  """The good Case with the GPT of a mutated module."""
  case = good()
  ordering = registry.build("orderings", EVERY, (4,))
  section = dict(depth=1, width=8, heads=2, target=True, **section)
  model = module.make(case.spec, case.head, ordering, **section)
  return case._replace(model=model)


# --- the forward ---


def test_mask_that_includes_the_next_step(mutated):
  changes = {"<= step_Q[:, None]": "<= 1 + step_Q[:, None]"}
  wrong = mutated("models.gpt", changes)
  caught(contract.causal, [good()], [mutant_gpt(wrong)], "theta of step")


def test_missing_shift():
  apply = good().model.apply

  def unshifted(params, x_BLC, *args, **kwargs):
    return apply(params, jnp.roll(x_BLC, -1, 1), *args, **kwargs)

  wrong = broken(apply=unshifted)
  caught(contract.causal, [good()], [wrong], "theta of step")
  caught(contract.normalised, [good()], [wrong], "sums of p")


def test_own_value_leaks_a_little():
  apply = good().model.apply

  def leaky(params, x_BLC, *args, **kwargs):
    theta = apply(params, x_BLC, *args, **kwargs)
    return theta + 1e-9 * x_BLC * jnp.arange(3).reshape(1, 1, 3)

  caught(contract.causal, [good()], [broken(apply=leaky)], "theta of step 0")
  caught(contract.normalised, [good()], [broken(apply=leaky)], "sums of p")


def test_logits_averaged_over_orders():
  """Each order is exact alone; the mean of their logits is no distribution."""
  apply = good().model.apply

  def averaged(params, x_BLC, order_BL, y, **kwargs):
    theta = apply(params, x_BLC, order_BL, y, **kwargs)
    data_BLC = orders.unpermute(x_BLC, order_BL)
    other = order_BL[:, ::-1]
    x = orders.permute(data_BLC, other)
    theta_2 = orders.unpermute(apply(params, x, other, y), other)
    return (theta + orders.permute(theta_2, order_BL)) / 2

  wrong = broken(apply=averaged)
  caught(contract.normalised, [good()], [wrong], "sums of p")


def test_blind_spot_that_is_not_declared():
  apply = good().model.apply

  def blind(params, x_BLC, *args, **kwargs):
    theta = apply(params, x_BLC, *args, **kwargs)
    less = apply(params, x_BLC.at[:, 0].set(0), *args, **kwargs)
    far = (jnp.arange(4) > 2)[None, :, None]
    return jnp.where(far, less, theta)

  caught(contract.complete, [good()], [broken(apply=blind)], "3 misses step 0")


def test_dependence_that_sees_excludes():
  sees = np.tri(4, k=-1, dtype=bool)
  right = broken(sees=sees)
  narrow = broken(sees=sees & ~np.tri(4, k=-2, dtype=bool))
  caught(contract.complete, [right], [narrow], "2 reads step 0")


def test_source_is_the_target(mutated):
  """Causal, and sums to one: only what lies where is not known."""
  take = "positions.take(table, rows, t, K)"
  wrong = mutant_gpt(
    mutated("models.gpt", {take: take.replace("t,", "t + 1,")})
  )
  contract.normalised(wrong)
  contract.causal(wrong)
  contract.step_equals_apply(wrong)
  caught(contract.orders_matter, [good()], [wrong], "is the same")


def test_target_is_the_source(mutated):
  changes = {
    't + (name == "target")': "t",
    "take(table, rows, t + 1, K), source": "take(table, rows, t, K), source",
  }
  wrong = mutant_gpt(mutated("models.gpt", changes))
  contract.normalised(wrong)
  caught(contract.orders_matter, [good()], [wrong], "step 0 is the same")


def test_order_is_ignored():
  apply = good().model.apply
  wrong = broken(apply=lambda p, x, o=None, y=None, **k: apply(p, x, None, y))
  caught(contract.orders_matter, [good()], [wrong], "is the same")


def test_later_sites_of_the_order_are_read():
  apply = good().model.apply

  def peeking(params, x_BLC, order_BL=None, y=None, **kwargs):
    theta = apply(params, x_BLC, order_BL, y, **kwargs)
    return theta + 1e-6 * order_BL[:, -1:, None] * jnp.ones((1, 1, 3))

  wrong = broken(apply=peeking)
  caught(contract.orders_matter, [good()], [wrong], "that differ later")


def test_one_order_for_all_rows_is_misread():
  apply = good().model.apply

  def confused(params, x_BLC, order_BL=None, y=None, **kwargs):
    one = order_BL is not None and len(order_BL) == 1
    return apply(params, x_BLC, order_BL[:, ::-1] if one else order_BL, y)

  wrong = broken(apply=confused)
  caught(contract.order_shapes_agree, [good()], [wrong], "shape of the order")


@pytest.mark.parametrize("name", ["permute", "unpermute"])
def test_order_and_rank_are_swapped(monkeypatch, name):
  contract.causal(good())
  permute = orders.permute
  swapped = dict(
    permute=lambda x, order: permute(x, orders.rank(order)),
    unpermute=permute,
  )
  monkeypatch.setattr(orders, name, swapped[name])
  apply = good().model.apply
  wrong = broken(apply=lambda *args, **kwargs: apply(*args, **kwargs))
  what = dict(permute="theta of step", unpermute="log_prob at the site")
  with pytest.raises(AssertionError, match=what[name]):
    contract.causal(wrong)


def test_label_is_dropped():
  apply = good().model.apply
  wrong = broken(apply=lambda p, x, o=None, y=None, **k: apply(p, x, o, None))
  caught(contract.conditions_matter, [good()], [wrong], "label: theta of step")


@functools.cache
def conditioned():
  """A small GPT with every kind of condition, under three orders."""
  conditions = dict(
    pitch=Condition("aligned", None, (4, 2)),
    phone=Condition("aligned", 3, (4,)),
    score=Condition("sequence", None, (2, 2)),
  )
  spec = SPEC._replace(conditions=conditions)
  y = cases.conditions(spec, 3)
  return small_case(spec, order_KL=ORDER_KL, y=y)


@pytest.mark.parametrize(
  ("change", "match"),
  [
    (lambda v: jnp.roll(v, -1, 1), "pitch: step 0 reads the row of step 1"),
    (lambda v: jnp.roll(v, 1, 0), "pitch: an item reads that of another"),
    (lambda v: v.at[:, 1].set(0), "pitch: a step does not read its own row"),
    (lambda v: v * 0, "pitch: a step does not read its own row"),
  ],
)
def test_aligned_rows_go_astray(change, match):
  apply = conditioned().model.apply

  def astray(params, x_BLC, order_BL=None, y=None, **kwargs):
    y = y and {**y, "pitch": change(jnp.asarray(y["pitch"]))}
    return apply(params, x_BLC, order_BL, y, **kwargs)

  wrong = conditioned()._replace(
    model=conditioned().model._replace(apply=astray)
  )
  caught(contract.conditions_reach, [conditioned()], [wrong], match)


@pytest.mark.parametrize(
  ("name", "match"),
  [("phone", "phone: step 0 reads"), ("score", "a step does not see all rows")],
)
def test_rows_are_those_of_another_step(name, match):
  apply = conditioned().model.apply

  def astray(params, x_BLC, order_BL=None, y=None, **kwargs):
    if y:
      value = jnp.asarray(y[name])
      y = {**y, name: dict(phone=value[:, ::-1], score=value[:, :1])[name]}
      y["score"] = jnp.broadcast_to(y["score"][:, :1], (len(x_BLC), 2, 2))
    return apply(params, x_BLC, order_BL, y, **kwargs)

  wrong = conditioned()._replace(
    model=conditioned().model._replace(apply=astray)
  )
  caught(contract.conditions_reach, [conditioned()], [wrong], match)


def test_aligned_rows_stay_in_data_order(monkeypatch):
  contract.step_equals_apply(conditioned())
  monkeypatch.setattr(
    orders, "permute_conditions", lambda y, order_BL, aligned: y
  )
  apply = conditioned().model.apply  # as a new function: not yet compiled
  wrong = conditioned()._replace(
    model=conditioned().model._replace(apply=lambda *a, **k: apply(*a, **k))
  )
  with pytest.raises(AssertionError, match="theta of step"):
    contract.step_equals_apply(wrong)


def test_absent_label_is_label_0():
  apply = good().model.apply

  def confused(params, x_BLC, order_BL=None, y=None, **kwargs):
    y = y or dict(label=jnp.zeros(len(x_BLC), jnp.int32))
    return apply(params, x_BLC, order_BL, y)

  wrong = broken(apply=confused)
  caught(contract.conditions_matter, [good()], [wrong], "numbers 0 and 1")


def test_rows_feel_the_batch():
  apply = good().model.apply

  def normed(params, x_BLC, *args, **kwargs):
    theta = apply(params, x_BLC, *args, **kwargs)
    return theta - 1e-6 * theta.mean(0, keepdims=True)

  sampler = ancestral.make(good().model, good().head)
  right, wrong = [good(), sampler], [broken(apply=normed), sampler]
  caught(contract.rows_independent, right, wrong, "theta of row 0")


def test_plugin_without_tiny(monkeypatch):
  module = types.SimpleNamespace(make=gpt.make)
  monkeypatch.setattr(registry, "load", lambda kind, name: module)
  assert ("gpt", 0) in test_contract.entries("models")
  with pytest.raises(AssertionError, match="gpt.py has no TINY"):
    test_contract.section_of("models", "gpt", 0)


def test_init_ignores_its_key():
  init = good().model.init
  wrong = broken(init=lambda key: init(jax.random.key(0, impl="unsafe_rbg")))
  right = [good().model]
  caught(contract.initialized, right, [wrong.model], "does not use its key")


def dropping(drop):
  """The good Case with dropout on theta."""
  apply = good().model.apply

  def dropped(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    return drop(apply(params, x_BLC, order_BL, y), key_B)

  return broken(apply=dropped)


def test_dropout_of_the_batch():
  def of_the_batch(theta, key_B):
    key_B = None if key_B is None else jax.random.split(key_B[0], len(theta))
    return dropout(theta, 0.5, key_B)

  right = dropping(lambda theta, key_B: dropout(theta, 0.5, key_B))
  wrong = dropping(of_the_batch)
  caught(contract.examples_own_dropout, [right], [wrong], "moved with its key")
  with pytest.raises(AssertionError, match="dropout stays off"):
    contract.examples_own_dropout(dropping(lambda theta, key_B: theta))


# --- the cached paths ---


def test_step_ignores_the_cache():
  step = good().model.step

  def forgetful(params, cache, x_BC, t):
    return step(params, cache, x_BC, t)[0], cache

  wrong = broken(step=forgetful)
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step")


def test_step_is_one_position_late():
  step = good().model.step

  def late(params, cache, x_BC, t):
    return step(params, cache, x_BC, jnp.maximum(t - 1, 0))

  wrong = broken(step=late)
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step")


def test_cache_of_other_rows():
  init_cache = good().model.init_cache

  def reversed_rows(params, batch, length, order_BL=None, y=None):
    return init_cache(params, batch, length, order_BL[::-1], y)

  wrong = broken(init_cache=reversed_rows)
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step")


def test_cache_drops_the_label():
  init_cache = good().model.init_cache

  def unlabeled(params, batch, length, order_BL=None, y=None):
    return init_cache(params, batch, length, order_BL, None)

  wrong = broken(init_cache=unlabeled)
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step")
  caught(contract.extend_equals_apply, [good()], [wrong], "extend by")


def test_tail_of_the_cache_is_read(mutated):
  changes = {"<= step_Q[:, None]": "<= 99 + step_Q[:, None]"}
  wrong = mutant_gpt(mutated("models.gpt", changes)).model
  wrong = broken(step=wrong.step, extend=wrong.extend)
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step")


def test_mask_that_garbage_outweighs(mutated):
  """Added to the scores, not put in their place: zeros would hide it."""
  added = "score + jnp.where(visible_QM[None, None], 0, -1e5)"
  changes = {"jnp.where(visible_QM[None, None], score, -1e30)": added}
  wrong = mutant_gpt(mutated("models.gpt", changes))
  contract.causal(wrong)
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step|finite")
  caught(contract.extend_equals_apply, [good()], [wrong], "extend by|finite")


def test_heads_of_the_cache_are_swapped(mutated):
  changes = {'args = cache["k"],': 'args = cache["k"][:, ::-1],'}
  wrong = mutant_gpt(mutated("models.gpt", changes))
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step")


def test_rotations_of_decoding_are_off_by_one(mutated):
  changes = {"rows, t + 1, K), source": "rows, t + (K > 1), K), source"}
  wrong = mutant_gpt(mutated("models.gpt", changes))
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step")


def test_step_reads_the_unread_value(mutated):
  first = "jnp.where(first, start_D[None, None], embedded)"
  leaky = first.replace("None]", "None] + 1e-9 * embedded")
  wrong = mutant_gpt(mutated("models.gpt", {first: leaky}))
  caught(contract.step_equals_apply, [good()], [wrong], "theta of step")


def test_completed_model_forgets_its_capacity():
  """A model of `init` and `apply` alone, and the naive parts by themselves."""
  model = good().model
  whole = decode.complete(model.init, model.apply, good().spec)
  naive = whole._replace(extend=decode.extend_by_scan(whole.step))
  right, wrong = (good()._replace(model=m) for m in (whole, naive))
  contract.step_equals_apply(right)
  caught(contract.capacity, [right], [wrong], "raised no ValueError")


def test_chunks_start_one_late():
  extend = good().model.extend

  def late(params, cache, x_BKC, t, n=None):
    return extend(params, cache, x_BKC, jnp.maximum(t - 1, 0), n)

  wrong = broken(extend=late)
  caught(contract.extend_equals_apply, [good()], [wrong], "extend by")


def test_refused_values_enter_the_state():
  """An attention cache is overwritten; a recurrent state is not."""
  right = recurrent()
  model = right.model

  def careless(params, cache, x_BKC, t, n=None):
    return model.extend(params, cache, x_BKC, t)

  wrong = right._replace(model=model._replace(extend=careless))
  contract.step_equals_apply(wrong)
  caught(contract.extend_equals_apply, [right], [wrong], "n = ")


def test_refused_values_are_not_seen_by_those_after_them():
  """The cache is right, but theta behind a refused value is another's."""
  right = recurrent()
  model = right.model

  def forgetful(params, cache, x_BKC, t, n=None):
    thetas = []
    for k in range(x_BKC.shape[1]):
      theta_BP, new = model.step(params, cache, x_BKC[:, k], t + k)
      kept = True if n is None else k < n
      cache = jax.tree.map(
        lambda a, b, kept=kept: jnp.where(kept, a, b), new, cache
      )
      thetas.append(theta_BP)
    return jnp.stack(thetas, 1), cache

  wrong = right._replace(model=model._replace(extend=forgetful))
  caught(contract.extend_equals_apply, [right], [wrong], "refused steps: ")


def test_capacity_is_not_checked(monkeypatch):
  contract.capacity(good())
  monkeypatch.setattr(decode, "check_capacity", lambda t, K, capacity: None)
  with pytest.raises(AssertionError, match="extend by 2"):
    contract.capacity(good())
  monkeypatch.setattr(decode, "check_length", lambda length, spec: None)
  init_cache = good().model.init_cache  # as a new function: not yet compiled
  wrong = broken(init_cache=lambda *args: init_cache(*args))
  with pytest.raises(AssertionError, match="init_cache for"):
    contract.capacity(wrong)


@pytest.mark.parametrize("name", ["recurrent", "table"])
def test_another_architecture_keeps_the_contract(name):
  """The checks are not about attention."""
  case = dict(recurrent=recurrent, table=table)[name]()
  contract.initialized(case.model)
  contract.normalised(case)
  contract.causal(case)
  contract.complete(case)
  contract.orders_matter(case)
  contract.order_shapes_agree(case)
  contract.conditions_matter(case)
  contract.step_equals_apply(case)
  contract.extend_equals_apply(case, (1,))
  contract.capacity(case)


@functools.cache
def recurrent():
  """A recurrent network told source and target; its cache is one state."""
  spec = good().spec
  bias = condition.Bias(condition.tupled(spec.conditions), 1, 8)
  shapes = dict(
    value=(4, 8), source=(5, 8), target=(4, 8), w=(8, 8), out=(8, 3)
  )

  def init(key):
    keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
    draw = jax.random.normal
    params = {k: draw(keys[k], s, np.float32) for k, s in shapes.items()}
    return dict(params, label=bias.init(key, None)["params"])

  def init_cache(params, batch, length, order_BL=None, y=None):
    decode.check_length(length, spec)
    order_BL = jnp.arange(4)[None] if order_BL is None else order_BL
    label = bias.apply(dict(params=params["label"]), y)[:, 0, 0]
    state = jnp.zeros((batch, 8), params["w"].dtype)
    room = jnp.zeros((length,), jnp.int32)
    return dict(state=state, label=label, order=order_BL, room=room)

  def step(params, cache, x_BC, t):
    order, first = cache["order"], t == 0
    value = jnp.where(first, 3, x_BC[:, 0])
    source = jnp.where(first, 4, order[:, t - 1])
    fed = params["value"][value] + params["source"][source] + cache["label"]
    state = jnp.tanh(fed + cache["state"] @ params["w"])
    theta = (state + params["target"][order[:, t]]) ** 2 @ params["out"]
    return theta, dict(cache, state=state)

  def extend(params, cache, x_BKC, t, n=None):
    decode.check_capacity(t, x_BKC.shape[1], len(cache["room"]))
    return decode.extend_by_scan(step)(params, cache, x_BKC, t, n)

  def apply(params, x_BLC, order_BL=None, y=None, *, key_B=None):
    cache = init_cache(params, len(x_BLC), 4, order_BL, y)
    return extend(params, cache, jnp.roll(x_BLC, 1, 1), 0)[0]

  model = Model(init, apply, init_cache, step, extend)
  return good()._replace(model=model, params=contract.random_params(model))


# --- samplers ---


def test_cached_sampling_differs_from_naive():
  init_cache, step = decode.naive_cache(table().model.apply, table().spec)
  naive = table().model._replace(init_cache=init_cache, step=step)
  naive = ancestral.make(naive, table().head)
  step = table().model.step

  def late(params, cache, x_BC, t):
    return step(params, cache, x_BC, jnp.maximum(t - 1, 0))

  wrong = ancestral.make(table().model._replace(step=late), table().head)
  right = [table(), sampler_of(), naive]
  wrong = [table(), wrong, naive]
  caught(contract.cached_equals_naive, right, wrong, "sampled values differ")


def test_sampler_scores_another_distribution():
  settings = dict(temperature=0.7)
  sampler = sampler_of(**settings)

  def model_twice(*args):
    sample = sampler(*args)
    return sample._replace(log_prob_sampler_BL=sample.log_prob_model_BL)

  def sampler_twice(*args):
    sample = sampler(*args)
    return sample._replace(log_prob_model_BL=sample.log_prob_sampler_BL)

  check = contract.sampled_equals_scored
  right = [table(), sampler, settings]
  caught(check, right, [table(), model_twice, settings], "what was drawn from")
  caught(check, right, [table(), sampler_twice, settings], "summed")


def test_log_probs_stay_in_generation_order():
  sampler = sampler_of()

  def steps(params, key, order, given, y):
    sample = sampler(params, key, order, given, y)
    log_prob_BL = orders.permute(sample.log_prob_model_BL, order)
    return sample._replace(log_prob_model_BL=log_prob_BL)

  right, wrong = [table(), sampler], [table(), steps]
  caught(contract.sampled_equals_scored, right, wrong, "by site")


def test_head_samples_at_another_temperature():
  case = one_order()
  head = case.head

  def warm(key, theta):
    return head.sample(key, theta / 1.02)

  check = contract.sampler_follows_model
  right = functools.partial(ancestral.make, case.model, head)
  wrong = functools.partial(
    ancestral.make,
    case.model,
    head._replace(sample=warm, noise=None, draw=None),
  )
  caught(check, [case, right], [case, wrong], "do not follow the model")
  theta_NP = 2 * np.random.default_rng(0).standard_normal((20, 3))
  right = [head, SPEC, theta_NP]
  wrong = [head._replace(sample=warm), SPEC, theta_NP]
  caught(contract.head_follows, right, wrong, "do not follow log_prob")


def test_a_test_without_power_says_so():
  case = one_order()
  make = functools.partial(ancestral.make, case.model, case.head)
  with pytest.raises(AssertionError, match="no power"):
    contract.sampler_follows_model(case, make, (), draws=1000)


def test_noise_is_shared_between_rows(mutated):
  changes = {
    "(None, 0))(key, jnp.arange(count))": "(None, 0))(key, jnp.arange(count)"
    " // 2)"
  }
  wrong = mutated("samplers.ancestral", changes).make(
    table().model, table().head
  )
  right, wrong = [table(), sampler_of()], [table(), wrong]
  caught(contract.rows_independent, right, wrong, "not independent")


def test_noise_is_shared_between_steps(mutated):
  case = one_order()
  wrong = mutated(
    "samplers.ancestral",
    {"(0, None))(state.row_B, t)": "(0, None))(state.row_B, 0)"},
  )
  check = contract.sampler_follows_model
  wrong = functools.partial(wrong.make, case.model, case.head)
  with pytest.raises(AssertionError, match="do not follow the model"):
    check(case, wrong)


def test_given_values_are_overwritten():
  sampler = sampler_of()

  def careless(params, key, order, given, y):
    x_BLC, known_BL = given
    known_BL = known_BL & (x_BLC[..., 0] != 0)  # token 0 as "not given"
    return sampler(params, key, order, (x_BLC, known_BL), y)

  right, wrong = [table(), sampler], [table(), careless]
  caught(contract.given_is_kept, right, wrong, "given values were changed")


def test_values_that_are_not_known_are_read():
  sampler = sampler_of()

  def careless(params, key, order, given, y):
    x_BLC, known_BL = given
    return sampler(
      params, key, order, (x_BLC, known_BL | (x_BLC[..., 0] > 1)), y
    )

  right, wrong = [table(), sampler], [table(), careless]
  caught(contract.given_is_kept, right, wrong, "that are not known")


def test_prompt_is_prefilled_without_the_shift(mutated):
  pad = "jnp.pad(prompt_BKC, ((0, 0), (1, 0), (0, 0)))[:, :-1]"
  wrong = mutated("samplers.ancestral", {pad: "prompt_BKC"})
  wrong = wrong.make(table().model, table().head)
  right, wrong = [table(), sampler_of()], [table(), wrong]
  caught(contract.prompts_are_forced, right, wrong, "forcing|given sites")


def test_greedy_is_not_greedy():
  right = [table(), sampler_of(temperature=0)]
  wrong = [table(), sampler_of(temperature=0.7)]
  caught(contract.greedy_is_argmax, right, wrong, "are not the argmax")


# --- heads ---


def test_head_that_is_not_normalised():
  head = good().head

  def log_prob(theta, x):
    return head.log_prob(theta, x) + 1e-9

  wrong_head = head._replace(log_prob=log_prob)
  wrong = good()._replace(head=wrong_head)
  caught(contract.normalised, [good()], [wrong], "sums of p")
  theta_NP = np.random.default_rng(0).standard_normal((20, 3))
  right, wrong = [head, SPEC, theta_NP], [wrong_head, SPEC, theta_NP]
  caught(contract.head_normalised, right, wrong, "sum over values")


HALF = {"log_mass(n - 0.5, n + 0.5,": "log_mass(n - 0.25, n + 0.25,"}
NO_TAILS = {"  edges[0], edges[-1] = -np.inf, np.inf\n": ""}


@pytest.mark.parametrize(
  ("name", "changes"),
  [
    ("gaussian_mixture", HALF),
    ("logistic_mixture", HALF),
    ("discretized_logistic", NO_TAILS),
  ],
)
def test_bins_of_half_the_width_or_without_tails(mutated, name, changes):
  section = test_contract.section_of("heads", name, 0)
  spec = section.pop("spec")
  right = registry.build("heads", section, spec)
  del section["name"]
  wrong = mutated(f"heads.{name}", changes).make(spec, **section)
  theta_NP = np.random.default_rng(0).standard_normal((8, right.num_params))
  right, wrong = [right, spec, theta_NP], [wrong, spec, theta_NP]
  caught(contract.head_normalised, right, wrong, "sum over values")


def test_head_adjusts_when_told_not_to():
  head = good().head

  def adjust(theta, **settings):
    return 0.99 * head.adjust(theta, **settings)

  theta_NP = np.random.default_rng(0).standard_normal((20, 3))
  right = [head, SPEC, theta_NP]
  wrong = [head._replace(adjust=adjust), SPEC, theta_NP]
  caught(contract.head_adjusts, right, wrong, "settings off")


# --- orders ---


def constant(order):
  order_1L = np.array([order], np.int32)
  return Ordering(order_1L, lambda key_B: order_1L)


def by_the_batch(key_B):
  """One order in the first rows and another below them."""
  return np.array([[0, 1, 2], [1, 2, 0]], np.int32)[np.arange(len(key_B)) // 32]


ORDERS = dict(
  a_site_comes_twice=(constant([0, 1, 1]), "no permutation"),
  int64=(constant([1, 0, 2])._replace(orders_KL=np.arange(3)[None]), "int64"),
  identity_drawn=(constant([0, 1, 2]), "None for the identity"),
  none_drawn=(constant([1, 0, 2])._replace(draw=lambda key_B: None), "None"),
  another_drawn=(
    constant([1, 0, 2])._replace(draw=constant([2, 0, 1]).draw),
    "draw",
  ),
  of_the_batch=(Ordering(None, by_the_batch), "other rows"),
)


@pytest.mark.parametrize("name", ORDERS)
def test_orders(name):
  wrong, match = ORDERS[name]
  contract.ordering_keeps(constant([2, 0, 1]), 3)
  with pytest.raises(AssertionError, match=match):
    contract.ordering_keeps(wrong, 3)


def test_orders_of_a_naive_shuffle():
  """Each site swapped with any other: 27 ways onto 6 orders."""

  @jax.jit
  @jax.vmap
  def draw(key):
    order = jnp.arange(3, dtype=jnp.int32)
    for t, other in enumerate(jax.random.randint(key, (3,), 0, 3)):
      swapped = order.at[t].set(order[other])
      order = swapped.at[other].set(order[t])
    return order

  right, wrong = registry.build("orderings", EVERY, (3,)), Ordering(None, draw)
  contract.ordering_keeps(wrong, 3)
  caught(contract.draws_uniform, [right, 3], [wrong, 3], "orders are drawn")


# --- objectives, data, baselines ---


def test_objectives():
  case, ordering = table(), constant([1, 2, 3, 0])
  right = nll.make(case.model, case.head, ordering)

  def averaged(params, batch, key_B):
    nats_BL, weight_BL = right(params, batch, key_B)
    return nats_BL.mean(1, keepdims=True), weight_BL

  def unweighted(params, batch, key_B):
    nats_BL, weight_BL = right(params, batch, key_B)
    return nats_BL, jnp.ones_like(weight_BL)

  def stopped(params, batch, key_B):
    return right(jax.lax.stop_gradient(params), batch, key_B)

  other = nll.make(case.model, case.head, constant([2, 1, 0, 3]))
  contract.objective_is_nll(right, case, ordering)
  for wrong, match in (
    (averaged, "of shape"),
    (unweighted, "weights"),
    (stopped, "all zero"),
    (other, "are not the exact"),
  ):
    with pytest.raises(AssertionError, match=match):
      contract.objective_is_nll(wrong, case, ordering)


def test_datasets():
  rng = np.random.default_rng(0)
  x_NLC = rng.integers(0, 3, (9, 4, 1), np.int32)
  weight_NL = np.ones((9, 4), np.float32)

  def dataset(get, **units):
    return Dataset(SPEC, dict(train=Split(9, get, units)), {})

  contract.dataset_keeps(
    dataset(lambda i: (x_NLC[i], weight_NL[i], {}), symbol=36)
  )
  for wrong, match in (
    (lambda i: (x_NLC[i] + 1, weight_NL[i], {}), "outside"),
    (lambda i: (x_NLC[i, ..., 0], weight_NL[i], {}), "spec"),
    (lambda i: (x_NLC[i], weight_NL[i, :3], {}), "weight"),
    (lambda i: (x_NLC[i], weight_NL[i], dict(label=i)), "conditions"),
    (lambda i: (x_NLC[i].astype(float), weight_NL[i], {}), "float64"),
    (lambda i: (rng.permutation(x_NLC)[i], weight_NL[i], {}), "read twice"),
    (lambda i: (x_NLC[np.sort(i)], weight_NL[i], {}), "one by one"),
  ):
    with pytest.raises(AssertionError, match=match):
      contract.dataset_keeps(dataset(wrong))
  with pytest.raises(AssertionError, match="units"):
    contract.dataset_keeps(
      dataset(lambda i: (x_NLC[i], weight_NL[i], {}), byte=0)
    )


def test_baselines():
  right = registry.build("baselines", dict(name="marginal"), SPEC)
  contract.baseline_keeps(right, SPEC)

  def tuned_on_the_test(train):
    return lambda split: dict(unigram=1.0)

  for wrong, match in (
    (lambda train: lambda split: {}, "no bars"),
    (lambda train: lambda split: dict(bar=math.nan), "nan"),
    (tuned_on_the_test, "entropy"),
  ):
    with pytest.raises(AssertionError, match=match):
      contract.baseline_keeps(wrong, SPEC)


# --- scores ---


def test_a_split_is_not_scored_whole():
  ordering = constant([1, 2, 3, 0])
  case = table()._replace(order_KL=None)

  def loop(sizes, masked):
    """An evaluation written anew, with batches of the given sizes."""

    def evaluate_split(score, params, split, name, batch_size, ordering):
      index = [np.arange(i, i + batch_size) for i in sizes]
      nats, weight = [], []
      for i in index:
        x_BLC, weight_BL, y = split.get(i % split.size)
        weight_BL = (
          weight_BL * (i < split.size)[:, None] if masked else weight_BL
        )
        batch = contract.Batch(x_BLC, weight_BL, y, i.astype(np.int32))
        nats_BL = np.asarray(score(params, batch), float)
        nats.append((nats_BL * weight_BL).sum(1))
        weight.append(weight_BL.sum(1))
      nats, weight = np.concatenate(nats)[:13], np.concatenate(weight)
      return evaluate.Score(
        nats.sum(), weight.sum(), nats, weight[:13], "exact", name, "items"
      )

    return evaluate_split

  check = contract.whole_split
  right = [case, ordering, loop((0, 4, 8, 12), True)]
  caught(check, [case, ordering], [case, ordering, loop((0, 4, 8), True)], "12")
  caught(check, right, [case, ordering, loop((0, 4, 8, 12), False)], "weight")
  caught(check, right, [case, ordering, loop((0, 4, 4, 8), True)], "weight")

  def mean_of_batch_means(score, units):
    nats, weight = (
      np.add.reduceat(a, [0, 4, 8, 12]) for a in (score.nats_N, score.weight_N)
    )
    return dict(nats_per_site=(nats / weight).mean())

  wrong = [case, ordering, evaluate.evaluate, mean_of_batch_means]
  caught(check, [case, ordering], wrong, "nats per site")


def test_last_batch_is_dropped_or_doubled():
  def dropped(split, batch_size):
    batches = list(data.eval_batches(split, batch_size))
    return batches[: split.size // batch_size]

  def doubled(split, batch_size):
    for batch in data.eval_batches(split, batch_size):
      yield batch._replace(weight_BL=np.ones_like(batch.weight_BL))

  right = [data.eval_batches, 13, 4]
  for wrong in (dropped, doubled):
    caught(contract.batches_cover, right, [wrong, 13, 4], "items are scored")


def test_gate_is_two_sided():
  check = contract.entropy_gate
  right = [0.501, 0.001, 0.5, 0.01]
  caught(check, right, [0.495, 0.001, 0.5, 0.01], "a leak")
  caught(check, right, [0.512, 0.001, 0.5, 0.01], "not learned")
  caught(check, right, [0.501, 0.02, 0.5, 0.01], "no power")
