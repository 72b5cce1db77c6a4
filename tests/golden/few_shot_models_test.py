"""Goal: RelationNet on every backbone computes what modules of PyTorch compute, forward and backward.

Method: for each backbone the C++ program dumps weights, inputs and results of a training pass with feature-wise
transformations and of an evaluation (worker/models/testing/dump_few_shot_main.cc). PyTorch, running here and now,
computes the same from torch.nn's modules put together in the plainest way: normalisation, then transformation; ReLU,
then pooling; every pair of prototype and query concatenated and convolved. The noise is that of torch.manual_seed with
the same seed. Last, a result that is off by little must be noticed.
"""

import subprocess
import sys
import tempfile

BINARY, SITE = sys.argv[1:3]
sys.path.insert(0, SITE)

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

torch.set_num_threads(1)

# Backbone, extent, ways, support, query, seed of the noise.
CASES = [
    ("conv4", 84, 2, 1, 1, 3),
    ("conv4", 20, 5, 2, 3, 4),
    ("conv6", 32, 3, 2, 2, 5),
    ("resnet10", 64, 3, 2, 2, 6),
    ("resnet10", 96, 2, 1, 2, 7),
    ("resnet18", 64, 2, 1, 2, 8),
    ("resnet34", 64, 2, 1, 2, 9),
]
BLOCKS = {"resnet10": [1, 1, 1, 1], "resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3]}
# Of float32, in which results are dumped, relative to the largest element.
TOLERANCE = 2e-6


class Transformation(nn.Module):
    """A normalisation followed by a feature-wise transformation."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.spread = None  # gamma and beta: slices of lambda

    def forward(self, x):
        out = self.norm(x)
        if not self.training:
            return out
        gamma, beta = (F.softplus(s.view(1, -1, 1, 1), beta=100) for s in self.spread)
        scale = 1 + torch.randn(1, x.shape[1], 1, 1, dtype=x.dtype) * gamma
        return scale * out + torch.randn(1, x.shape[1], 1, 1, dtype=x.dtype) * beta


class Block(nn.Module):
    def __init__(self, width_in, width, stride):
        super().__init__()
        self.C1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.BN1 = nn.BatchNorm2d(width)
        self.C2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.BN2 = Transformation(width)
        if width_in != width:
            self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.BNshortcut = Transformation(width)

    def forward(self, x):
        out = self.BN2(self.C2(F.relu(self.BN1(self.C1(x)))))
        return F.relu(out + (self.BNshortcut(self.shortcut(x)) if hasattr(self, "shortcut") else x))


class ConvBlock(nn.Module):
    def __init__(self, width_in, pooled):
        super().__init__()
        self.C = nn.Conv2d(width_in, 64, 3, padding=0 if pooled else 1)
        self.BN = Transformation(64)
        self.pooled = pooled

    def forward(self, x):
        out = F.relu(self.BN(self.C(x)))
        return F.max_pool2d(out, 2) if self.pooled else out


class Backbone(nn.Module):
    def __init__(self, name):
        super().__init__()
        if name.startswith("conv"):
            depth = int(name[4:])
            self.trunk = nn.Sequential(*(ConvBlock(64 if i else 3, i < 2) for i in range(depth)))
            self.width = 64
            return
        layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.width = 64
        for stage, (count, width) in enumerate(zip(BLOCKS[name], (64, 128, 256, 512))):
            for i in range(count):
                layers.append(Block(self.width, width, 2 if stage and not i else 1))
                self.width = width
        self.trunk = nn.Sequential(*layers)

    def forward(self, x):
        return self.trunk(x)


class RelationBlock(nn.Module):
    def __init__(self, width_in, width, padding):
        super().__init__()
        self.C = nn.Conv2d(width_in, width, 3, padding=padding)
        self.BN = nn.BatchNorm2d(width, track_running_stats=False)

    def forward(self, x):
        out = F.relu(self.BN(self.C(x)))
        return F.max_pool2d(out, 2) if out.shape[-1] > 1 else out


class RelationModule(nn.Module):
    def __init__(self, width, extent):
        super().__init__()
        padding = 1 if extent < 10 else 0
        self.layer1 = RelationBlock(2 * width, width, padding)
        self.layer2 = RelationBlock(width, width, padding)
        with torch.no_grad():
            features = self.layer2(self.layer1(torch.zeros(2, 2 * width, extent, extent)))[0].numel()
        self.fc1, self.fc2 = nn.Linear(features, 8), nn.Linear(8, 1)

    def forward(self, pairs):
        return self.fc2(F.relu(self.fc1(self.layer2(self.layer1(pairs)).flatten(1))))


class RelationNet(nn.Module):
    def __init__(self, name, extent):
        super().__init__()
        self.feature = Backbone(name)
        with torch.no_grad():
            self.feature.eval()
            maps = self.feature(torch.zeros(1, 3, extent, extent))
        self.relation_module = RelationModule(self.feature.width, maps.shape[-1])

    def forward(self, images, ways, support):
        maps = self.feature(images)
        maps = maps.view(ways, -1, *maps.shape[1:])
        prototypes = maps[:, :support].mean(1)
        queries = maps[:, support:].flatten(0, 1)
        pairs = [torch.cat([prototype, query], 0) for query in queries for prototype in prototypes]
        return self.relation_module(torch.stack(pairs)).view(len(queries), ways)


def own_name(name):
    """Of a tensor here, as the C++ module has it."""
    return name.replace(".norm.", ".")


def close(actual, expected, what):
    scale = expected.abs().max().item()
    error = (actual.double() - expected).abs().max().item()
    if not scale > 0:
        raise AssertionError(f"{what}: nothing to compare")
    if not error <= TOLERANCE * scale:
        raise AssertionError(f"{what} is off by {error:.3g} of {scale:.3g}")


def check(case, file):
    name, extent, ways, support, query, seed = case
    net = RelationNet(name, extent).double()
    mine = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    mine = {key: value for key, value in mine.items() if not key.endswith("num_batches_tracked")}
    theirs = {key.split(".", 1)[1]: value for key, value in file.items() if key.startswith(("parameters.", "buffers."))}
    if {own_name(key) for key in mine} != set(theirs):
        raise AssertionError(f"other tensors: {set(map(own_name, mine)) ^ set(theirs)}")
    with torch.no_grad():
        for key, value in mine.items():
            value.copy_(theirs[own_name(key)].view(value.shape))
    values = file["lambda"].clone().requires_grad_()
    offset = 0
    for layer in net.modules():
        if isinstance(layer, Transformation):
            width = layer.norm.num_features
            layer.spread = values[offset : offset + width], values[offset + width : offset + 2 * width]
            offset += 2 * width
    if offset != len(values):
        raise AssertionError(f"lambda has {len(values)} numbers, the transformations {offset}")

    images = file["images"].double()
    net.eval()
    close(file["evaluation_scores"], net(images, ways, support).detach(), "evaluation scores")
    net.train()
    torch.manual_seed(seed)
    scores = net(images, ways, support)
    loss = F.cross_entropy(scores, torch.arange(ways).repeat_interleave(query))
    loss.backward()
    close(file["scores"], scores.detach(), "scores")
    close(file["loss"], loss.detach(), "loss")
    close(file["lambda_gradient"], values.grad, "gradient to lambda")
    for key, value in net.named_parameters():
        # What a normalisation takes away again, or the softmax of all scores, has a gradient of rounding only.
        if key.endswith(("C.bias", "fc2.bias")):
            continue
        close(file["gradient." + own_name(key)].view(value.shape), value.grad, f"gradient to {key}")
    for key, value in net.named_buffers():
        if not key.endswith("num_batches_tracked"):
            close(file["next." + own_name(key)], value, key)


def dump(case):
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/net.safetensors"
        subprocess.run([BINARY, path, *map(str, case)], check=True)
        return load_file(path)


def main():
    for case in CASES:
        try:
            check(case, dump(case))
        except AssertionError as e:
            sys.exit(f"{case}: {e}")
        print(f"{case}: equal")
    names = ["scores", "lambda_gradient", "evaluation_scores", "gradient.feature.trunk.0.BN.weight"]
    for name in names + ["next.feature.trunk.3.BN.running_var"]:
        file = dump(CASES[1])
        file[name] = file[name] * (1 + 1e-5)
        try:
            check(CASES[1], file)
        except AssertionError:
            continue
        sys.exit(f"{name} was changed by 1e-5 and nobody noticed: this test proves nothing")


main()
