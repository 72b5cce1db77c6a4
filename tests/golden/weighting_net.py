"""Writes weighting_net.txt: Meta-Weight-Net's weighting net and losses as torch.nn has them, in float64.

PYTHONPATH=$(third_party/wheels/install.sh) /usr/bin/python3 tests/golden/weighting_net.py > tests/golden/weighting_net.txt
"""
import torch
from torch import nn

HIDDEN = 100
net = nn.Sequential(nn.Linear(1, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1), nn.Sigmoid()).double()
values = torch.sin(0.7 * torch.arange(3 * HIDDEN + 1, dtype=torch.float64) + 0.2)
torch.nn.utils.vector_to_parameters(values, net.parameters())
seen = torch.tensor([0.05, 0.4, 1.1, 2.3, 4.0], dtype=torch.float64)
losses = torch.tensor([0.1, 0.35, 1.2, 2.2, 3.9], dtype=torch.float64, requires_grad=True)


def show(name, tensor):
    print(name, *(repr(value) for value in tensor.detach().flatten().tolist()))


show("weights", net(seen[:, None]))
for name, loss in {
    "sum_to_one": lambda w: (w / w.sum() * losses).sum(),
    "mean": lambda w: (w * losses).mean(),
}.items():
    net.zero_grad()
    losses.grad = None
    value = loss(net(seen[:, None]).flatten())
    value.backward()
    show(f"{name}.loss", value)
    show(f"{name}.lambda", nn.utils.parameters_to_vector([p.grad for p in net.parameters()]))
    show(f"{name}.losses", losses.grad)
