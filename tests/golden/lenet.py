"""Writes lenet.txt: LeNet's logits, loss and gradients as torch.nn has them, in float64.

PYTHONPATH=$(third_party/wheels/install.sh) /usr/bin/python3 tests/golden/lenet.py > tests/golden/lenet.txt
"""
import math

import torch
from torch import nn
import torch.nn.functional as F


def wave(shape, scale, phase):
    count = math.prod(shape)
    return (scale * torch.sin(0.7 * torch.arange(count, dtype=torch.float64) + phase)).view(shape)


def show(name, tensor):
    print(name, *(repr(value) for value in tensor.detach().flatten().tolist()))


layers = {
    "conv1": nn.Conv2d(1, 6, 5, padding=2),
    "conv2": nn.Conv2d(6, 16, 5),
    "fc1": nn.Linear(400, 120),
    "fc2": nn.Linear(120, 84),
    "fc3": nn.Linear(84, 10),
}
net = nn.ModuleDict(layers).double()
for number, parameter in enumerate(net.parameters()):
    fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
    parameter.data = wave(parameter.shape, 2 / math.sqrt(fan_in), number + 1)

x = wave((4, 1, 28, 28), 1.5, 0.25)
x = F.max_pool2d(F.relu(layers["conv1"](x)), 2)
x = F.max_pool2d(F.relu(layers["conv2"](x)), 2)
x = F.relu(layers["fc1"](x.flatten(1)))
x = F.relu(layers["fc2"](x))
logits = layers["fc3"](x)
loss = F.cross_entropy(logits, torch.arange(4))
loss.backward()
show("logits", logits)
show("loss", loss)
for name, parameter in net.named_parameters():
    gradient = parameter.grad.flatten()
    show(name, torch.stack([gradient.sum(), gradient.square().sum(), gradient[0]]))
