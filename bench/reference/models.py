"""The networks of the applications, as their published code has them."""

import torch
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class WeightingNet(nn.Module):
    """Meta-Weight-Net's VNet: loss of an example -> its weight in (0, 1)."""

    def __init__(self, hidden=100):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(1, hidden), nn.Linear(hidden, 1)

    def forward(self, losses):
        return torch.sigmoid(self.fc2(F.relu(self.fc1(losses[:, None]))))[:, 0]


class BasicBlock(nn.Module):
    """CIFAR's residual block with option-A shortcuts (K. He et al., CVPR 2016, section 4.2)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.stride, self.extra = stride, outputs - inputs

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.extra:
            before = self.extra // 2
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, before, self.extra - before))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """ResNet-32: 5 blocks of 16, 32 and 64 channels (times `width`)."""

    def __init__(self, classes, width=1, blocks=5, channels=3):
        super().__init__()
        sizes = [16 * width, 32 * width, 64 * width]
        self.conv1, self.bn1 = nn.Conv2d(channels, sizes[0], 3, 1, 1, bias=False), nn.BatchNorm2d(sizes[0])
        inputs, layers = sizes[0], []
        for stage, size in enumerate(sizes):
            for block in range(blocks):
                layers.append(BasicBlock(inputs, size, 2 if stage > 0 and block == 0 else 1))
                inputs = size
        self.layers, self.linear = nn.Sequential(*layers), nn.Linear(sizes[2], classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(x.mean((2, 3)))


class WideBlock(nn.Module):
    """Pre-activation block of wide residual networks (Zagoruyko and Komodakis, BMVC 2016)."""

    def __init__(self, inputs, outputs, stride, dropout):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None
        self.dropout = dropout

    def forward(self, x):
        out = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = F.dropout(F.relu(self.bn2(self.conv1(out))), self.dropout, self.training)
        return self.conv2(out) + shortcut


class WideResNet(nn.Module):
    """WRN-depth-width."""

    def __init__(self, classes, depth=28, width=10, dropout=0.0, channels=3):
        super().__init__()
        sizes = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        inputs, layers = 16, []
        for stage in range(3):
            for block in range((depth - 4) // 6):
                layers.append(WideBlock(inputs, sizes[stage + 1], 2 if stage > 0 and block == 0 else 1, dropout))
                inputs = sizes[stage + 1]
        self.layers, self.bn, self.linear = nn.Sequential(*layers), nn.BatchNorm2d(inputs), nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x):
        return self.linear(F.relu(self.bn(self.layers(self.conv1(x)))).mean((2, 3)))
