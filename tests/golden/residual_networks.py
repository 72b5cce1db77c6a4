"""Writes residual_networks.txt: the two residual networks as torch.nn has them, in float64 and default memory layout.

Logits and loss in training and in evaluation mode (after two training passes), three figures of every gradient (sum,
sum of squares, first value), the running statistics' sums, and the numbers of parameters of the published sizes.

PYTHONPATH=$(third_party/wheels/install.sh) /usr/bin/python3 tests/golden/residual_networks.py > tests/golden/residual_networks.txt
"""
import math

import torch
from torch import nn
import torch.nn.functional as F

torch.set_num_threads(1)


def wave(shape, scale, phase):
    count = math.prod(shape)
    return (scale * torch.sin(0.7 * torch.arange(count, dtype=torch.float64) + phase)).view(shape)


def show(name, tensor):
    print(name, *(repr(value) for value in tensor.detach().flatten().tolist()))


class Basic(nn.Module):
    """Block of He et al. 2016, section 4.2, option A."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, self.extra = stride, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        zeros = x.new_zeros(x.shape[0], self.extra // 2, *y.shape[2:])
        return F.relu(y + torch.cat([zeros, F.avg_pool2d(x, 1, self.stride), zeros], 1))


class ResNet(nn.Module):
    def __init__(self, depth, width, channels, classes):
        super().__init__()
        planes = [16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(channels, planes[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        for g in range(3):
            for i in range((depth - 2) // 6):
                inputs = planes[g] if i or not g else planes[g - 1]
                self.add_module(f"layer{g + 1}_{i}", Basic(inputs, planes[g], 2 if g and not i else 1))
        self.linear = nn.Linear(planes[2], classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for name, block in self.named_children():
            if name.startswith("layer"):
                x = block(x)
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Wide(nn.Module):
    """Block of Zagoruyko and Komodakis 2016."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        first = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(first))))
        return y + (self.shortcut(first) if hasattr(self, "shortcut") else x)


class WideResNet(nn.Module):
    def __init__(self, depth, width, channels, classes):
        super().__init__()
        planes = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        for g in range(1, 4):
            for i in range((depth - 4) // 6):
                self.add_module(f"block{g}_{i}", Wide(planes[g] if i else planes[g - 1], planes[g], 2 if g > 1 and not i else 1))
        self.bn = nn.BatchNorm2d(planes[3])
        self.linear = nn.Linear(planes[3], classes)

    def forward(self, x):
        x = self.conv1(x)
        for name, block in self.named_children():
            if name.startswith("block"):
                x = block(x)
        return self.linear(F.adaptive_avg_pool2d(F.relu(self.bn(x)), 1).flatten(1))


def run(tag, net, channels, extent):
    net = net.double()
    for number, (name, parameter) in enumerate(net.named_parameters()):
        if parameter.dim() > 1:
            parameter.data = wave(parameter.shape, 2 / math.sqrt(parameter[0].numel()), number + 1)
        else:
            parameter.data = wave(parameter.shape, 0.3, number + 1) + (1 if "bn" in name and "weight" in name else 0)
    images = wave((2, channels, extent, extent), 1.5, 0.25)
    labels = torch.arange(2)
    for _ in range(2):
        net.zero_grad()
        logits = net(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
    show(f"{tag}.train.logits", logits)
    show(f"{tag}.train.loss", loss)
    for name, parameter in net.named_parameters():
        g = parameter.grad.flatten()
        show(f"{tag}.{name}", torch.stack([g.sum(), g.square().sum(), g[0]]))
    show(f"{tag}.means", torch.stack([b.sum() for n, b in net.named_buffers() if n.endswith("running_mean")]))
    show(f"{tag}.variances", torch.stack([b.sum() for n, b in net.named_buffers() if n.endswith("running_var")]))
    net.eval()
    show(f"{tag}.eval.logits", net(images))


run("resnet14", ResNet(14, 1, 3, 10), 3, 16)
run("resnet8x2", ResNet(8, 2, 1, 7), 1, 28)
run("wrn16x1", WideResNet(16, 1, 3, 10), 3, 16)
run("wrn10x2", WideResNet(10, 2, 1, 7), 1, 12)


def count(net):
    return torch.tensor(sum(p.numel() for p in net.parameters()), dtype=torch.float64)


with torch.device("meta"):
    nets = {"resnet32": ResNet(32, 1, 3, 10), "resnet32.100": ResNet(32, 1, 3, 100), "wrn28x10": WideResNet(28, 10, 3, 10)}
for name, net in nets.items():
    show(f"count.{name}", count(net))
