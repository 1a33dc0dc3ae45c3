"""The train step of GPT-2 in PyTorch, to be timed beside ours.

  ar_jax bench train --config=configs/shakespeare_char.py --values=65 \\
      --peer=experiments/peers/nanogpt_step.py

Written from GPT-2's definition (Radford et al. 2019) as nanoGPT sets it: no
biases, tied tables, tanh-GELU, attention by scaled_dot_product_attention. It
holds our own parameters, so both compute the same function; the start symbol
stands before the first site.
"""


def make(config, spec, tensors):
  """The logits of sites: (x int64 [B, L], y) -> float [B, L, V].

  Args:
    config: plain dict of a config whose model is a GPT with GPT-2's parts.
    spec: DataSpec, V values in one channel.
    tensors: {path: parameter of our model}, kernels [F, D, kh, kw].
  Raises:
    ValueError: another network.
  """
  from torch.nn import functional as F

  model = config["model"]
  D, heads = model["width"], model["heads"]
  wanted = dict(name="gpt", norm="layernorm", mlp="gelu", position="learned")
  wanted |= dict(tied=True, start=0, bias=False, qk_norm=False, dropout=0.0)
  wanted |= dict(source=True, target=False, step=False)
  for key, value in wanted.items():
    if model[key] != value:
      raise ValueError(f"this peer has model.{key}={value}, not {model[key]}")

  def norm(h, name):
    return F.layer_norm(h, (D,), tensors[f"gpt/{name}/scale"], None, 1e-5)

  def linear(h, name):
    return h @ tensors[f"gpt/{name}/kernel"]

  def block(h, name):
    B, L, _ = h.shape
    qkv = linear(norm(h, f"{name}/norm_1"), f"{name}/attention/qkv")
    qkv = [a.view(B, L, heads, -1).transpose(1, 2) for a in qkv.split(D, 2)]
    a = F.scaled_dot_product_attention(*qkv, is_causal=True)
    a = a.transpose(1, 2).reshape(B, L, D)
    h = h + linear(a, f"{name}/attention/out")
    m = F.gelu(
      linear(norm(h, f"{name}/norm_2"), f"{name}/up"), approximate="tanh"
    )
    return h + linear(m, f"{name}/down")

  def logits(x_BL, y):
    del y  # there is none
    before = F.pad(x_BL[:, :-1], (1, 0))  # the start symbol is value 0
    table = tensors["gpt/embed/embedding"][0]
    h = F.embedding(before, table) + tensors["gpt/source_0"][: x_BL.shape[1]]
    for i in range(model["depth"]):
      h = block(h, f"block_{i}")
    return norm(h, "norm") @ table[: spec.num_values].T

  return logits
