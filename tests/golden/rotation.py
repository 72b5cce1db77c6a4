"""Writes rotation.txt: pictures turned by PyTorch's affine_grid and grid_sample, and the derivative to the angle.

PYTHONPATH=$(third_party/wheels/install.sh) /usr/bin/python3 tests/golden/rotation.py > tests/golden/rotation.txt
"""
import math

import torch
import torch.nn.functional as F


def turn(images, angle, mode):
    c, s, o = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([c, -s, o]), torch.stack([s, c, o])])
    grid = F.affine_grid(matrix.expand(images.shape[0], 2, 3), images.shape, align_corners=False)
    return F.grid_sample(images, grid, mode=mode, align_corners=False)


def show(name, tensor):
    print(name, *(repr(value) for value in tensor.detach().flatten().tolist()))


index = torch.arange(2 * 10 * 10, dtype=torch.float64)
images = torch.sin(0.3 * index).view(2, 1, 10, 10)
weights = torch.cos(0.11 * index).view(2, 1, 10, 10)
angles = [0.05, math.pi / 6, -1.3]
print("angles", *map(repr, angles))
for number, radians in enumerate(angles):
    angle = torch.tensor(radians, dtype=torch.float64, requires_grad=True)
    turned = turn(images, angle, "bilinear")
    (turned * weights).sum().backward()
    show(f"turned{number}", turned)
    show(f"derivative{number}", angle.grad)

picture = (torch.arange(28 * 28) % 251).double().view(1, 1, 28, 28)
for degrees in [30, -77.5, 135]:
    turned = turn(picture, torch.tensor(math.radians(degrees), dtype=torch.float64), "nearest")
    print("nearest", degrees, *turned.int().flatten().tolist())
