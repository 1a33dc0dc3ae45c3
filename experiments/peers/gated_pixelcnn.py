"""The gated PixelCNN in PyTorch, to be timed beside ours.

  ar_jax bench train --config=configs/digits_gated_pixelcnn.py \\
      --peer=experiments/peers/gated_pixelcnn.py

Written from van den Oord et al. 2016, figure 2, with the two stacks as
convolutions of what is above and what is at the left, as ours are: the same
kernels, widths, skips, dropout and labels. It holds our own parameters, so
both compute the same function.
"""


def make(config, spec, tensors):
  """The logits of sites: (x int64 [B, L], y) -> float [B, L, V].

  Args:
    config: plain dict of a config whose model is a gated PixelCNN.
    spec: DataSpec, V values in one channel, of shape (H, W); labels at most.
    tensors: {path: parameter of our model}, kernels [F, D, kh, kw].
  Raises:
    ValueError: another network.
  """
  import torch
  from torch.nn import functional as F

  model = config["model"]
  if model["name"] != "gated_pixelcnn" or set(model["dilations"]) != {1}:
    raise ValueError("this peer is a gated_pixelcnn without dilations")
  if len(spec.shape) != 2 or spec.channels != 1:
    raise ValueError("this peer models images of one channel")
  (H, W), N, V = spec.shape, model["layers"], spec.num_values

  def conv(x, name):
    kernel, bias = (tensors.get(f"net/{name}/{k}") for k in ("kernel", "bias"))
    if kernel.ndim == 2:  # 1 x 1
      kernel = kernel.T[:, :, None, None]
    return F.conv2d(x, kernel, bias)

  def gate(z):
    a, b = z.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)

  def dropped(x):
    return F.dropout(x, model["dropout"], torch.is_grad_enabled())

  def logits(x_BL, y):
    x = 2 * x_BL.view(-1, 1, H, W) / max(V - 1, 1) - 1
    x = torch.cat([x, torch.ones_like(x)], 1)  # the edge is told from values
    x = x.contiguous(memory_format=torch.channels_last)
    up = F.pad(x, (0, 0, 1, 0))[:, :, :-1]
    left = F.pad(x, (1, 0))[..., :-1]
    bias = torch.zeros(1, 2 * N, 1, 1, 1)
    if "condition/label" in tensors:
      table = tensors["condition/label"]
      last = torch.full((1,), len(table) - 1)
      bias = F.embedding(y.get("label", last), table.flatten(1))
      bias = bias.view(-1, 2 * N, table.shape[-1], 1, 1)
    said = []
    for n in range(N):
      r = (model["first_kernel"] if n == 0 else model["kernel"]) // 2
      v = conv(F.pad(dropped(up), (r, r, r, 0)), f"up_{n}") + bias[:, n]
      h = conv(F.pad(dropped(left), (r, 0)), f"left_{n}")
      h = gate(h + conv(v, f"across_{n}") + bias[:, N + n])
      up = gate(v)
      said.append(h)
      if n < N - 1:
        h = conv(h, f"residual_{n}")
        left = h + left if n else h
    h = F.relu(conv(torch.cat(said, 1), "skip"))
    h = conv(F.relu(conv(h, "tail/hidden")), "tail/theta")
    return h.permute(0, 2, 3, 1).reshape(len(x), H * W, V)

  return logits
