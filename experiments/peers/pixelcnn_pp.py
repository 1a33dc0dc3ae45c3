"""PixelCNN++ in PyTorch, to be timed beside ours.

  ar_jax bench train --config=configs/digits_pixelcnn_pp.py \\
      --peer=experiments/peers/pixelcnn_pp.py

Written from Salimans et al. 2017, section 2, with the scales, blocks and skips
of ours, weight normalization, dropout and labels. It holds our own parameters,
so both compute the same function; the head is a softmax.
"""

import itertools

_KERNELS = dict(u=(2, 3), l=(2, 2))


def make(config, spec, tensors):
  """The logits of sites: (x int64 [B, L], y) -> float [B, L, V].

  Args:
    config: plain dict of a config whose model is a PixelCNN++.
    spec: DataSpec, V values in one channel, of shape (H, W); labels at most.
    tensors: {path: parameter of our model}, kernels [F, D, kh, kw].
  Raises:
    ValueError: another network.
  """
  import torch
  from torch.nn import functional as F

  model = config["model"]
  if model["name"] != "pixelcnn_pp" or spec.channels != 1:
    raise ValueError("this peer is a pixelcnn_pp of one channel")
  (H, W), V = spec.shape, spec.num_values
  scales, blocks = model["scales"], model["blocks"]
  layout, count = {}, itertools.count()  # as ours numbers the blocks
  for stream in _KERNELS:
    for s in range(scales):
      down = [next(count) for _ in range(blocks)]
      up = [next(count) for _ in range(blocks + (s + 1 < scales))]
      layout[stream, s] = down, up

  def conv(x, name, stride=1):
    kernel, scale, bias = (
      tensors[f"net/{name}/{k}"] for k in ("kernel", "scale", "bias")
    )
    kernel = torch._weight_norm(kernel, scale.view(-1, 1, 1, 1), 0)
    return F.conv2d(x, kernel, bias, stride)

  def concat_elu(x):
    return F.elu(torch.cat([x, -x], 1))

  def pad(stream, x):
    return F.pad(x, (1, _KERNELS[stream][1] - 2, 1, 0))

  def block(name, stream, number, x, other, bias):
    z = conv(pad(stream, concat_elu(x)), f"{name}/into")
    if other is not None:
      z = z + conv(concat_elu(other), f"{name}/beside")
    z = concat_elu(z)
    z = F.dropout(z, model["dropout"], torch.is_grad_enabled())
    z = conv(pad(stream, z), f"{name}/out")
    a, b = (z if bias is None else z + bias[:, number]).chunk(2, 1)
    return x + a * torch.sigmoid(b)

  def spread(x, name, stream):
    """To twice the height and width; see `up` of our model."""
    (B, D, R, C), kw = x.shape, _KERNELS[stream][1]
    z = conv(x, name).permute(0, 2, 3, 1).reshape(B, R, C, 2, kw, D)
    if stream == "u":
      left, even, odd = z.unbind(4)
      left = F.pad(left[:, :, 1:], (0, 0, 0, 0, 0, 1))
      z = torch.stack([even, odd + left], 4)
    z = z.transpose(2, 3).reshape(B, 2 * R, 2 * C, D)
    return z.permute(0, 3, 1, 2)

  def visit(stream, s, x, beside, bias):
    """[(down, up)] of scale s and those below."""
    numbers, at = layout[stream, s], f"{stream}{s}"
    enc, dec = beside[0] if beside else (None, None)
    seen, lower = [x], []
    for n, number in enumerate(numbers[0]):
      other = None if enc is None else enc[n + 1]
      name = f"way_down_{at}_{n}"
      seen.append(block(name, stream, number, seen[-1], other, bias))
    skips, h = seen[:-1], seen[-1]
    if s + 1 < scales:
      coarse = conv(pad(stream, h), f"strided_{at}", 2)
      lower = visit(stream, s + 1, coarse, beside[1:], bias)
      h = spread(lower[0][1][-1], f"spread_{at}", stream)
      h, skips = h[:, :, : x.shape[2], : x.shape[3]], seen
    outs = []
    for n, number in enumerate(numbers[1]):
      other = skips[-1 - n]
      other = other if dec is None else torch.cat([dec[n], other], 1)
      h = block(f"way_up_{at}_{n}", stream, number, h, other, bias)
      outs.append(h)
    return [(seen, outs), *lower]

  def logits(x_BL, y):
    x = 2 * x_BL.view(-1, 1, H, W) / max(V - 1, 1) - 1
    x = torch.cat([x, torch.ones_like(x)], 1)  # the edge is told from values
    x = x.contiguous(memory_format=torch.channels_last)
    bias = None
    if "condition/label" in tensors:
      table = tensors["condition/label"]
      last = torch.full((1,), len(table) - 1)
      bias = F.embedding(y.get("label", last), table.flatten(1))
      bias = bias.view(-1, *table.shape[1:], 1, 1)
    above = pad("u", F.pad(x, (0, 0, 1, 0))[:, :, :-1])
    before = F.pad(F.pad(x, (1, 0))[..., :-1], (0, 0, 1, 0))
    u = visit("u", 0, conv(above, "first_above"), [], bias)
    h = conv(above[:, :, 1:], "first_row") + conv(before, "first_left")
    h = visit("l", 0, h, u, bias)[0][1][-1]
    h = conv(F.elu(h), "theta")
    return h.permute(0, 2, 3, 1).reshape(len(x), H * W, V)

  return logits
