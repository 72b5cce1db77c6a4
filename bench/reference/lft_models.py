"""Backbones with feature-wise transformation layers, relation network, classifier heads: the modules of cross-domain
few-shot learning (H.-Y. Tseng et al., ICLR 2020), with the parameter names of their checkpoints (`feature.trunk...`)."""

import torch
from torch import nn
from torch.nn import functional as F

RESNETS = {"resnet10": (1, 1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
CONVNETS = {"conv4": 4, "conv6": 6}


# What puts kinks into the network; without_kinks() replaces both.
rectify, pool = F.relu, F.max_pool2d


def without_kinks():
    """SiLU and mean pooling in all networks from now on: to tell what kinks do to a hypergradient, no network of the paper."""
    global rectify, pool
    rectify, pool = F.silu, F.avg_pool2d


class Layer(nn.Module):
    """A function as a layer without parameters."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class TransformedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation, then in training mode (1 + n1 softplus(gamma)) x + n2 softplus(beta), n ~ N(0, 1) for each
    channel; `transformation` is None where and while there is none."""

    def __init__(self, channels, transformed=False):
        super().__init__(channels)
        self.transform = False
        if transformed:
            self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), 0.3))
            self.beta = nn.Parameter(torch.full((1, channels, 1, 1), 0.5))

    def forward(self, x):
        out = super().forward(x)
        if not (self.training and self.transform):
            return out
        gamma, beta = (F.softplus(p, beta=100) for p in (self.gamma, self.beta))
        return (1 + torch.randn_like(gamma) * gamma) * out + torch.randn_like(beta) * beta


def is_transformation(name):
    return name.endswith((".gamma", ".beta"))


def initialise(module):
    """Convolutions N(0, sqrt(2 / (k k out))), as the published code has them; the rest as PyTorch."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, (2 / (layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels))**0.5)


class ResidualBlock(nn.Module):

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.C1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.BN1 = TransformedBatchNorm(outputs)
        self.C2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.BN2 = TransformedBatchNorm(outputs, transformed=True)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.BNshortcut = TransformedBatchNorm(outputs, transformed=True)

    def forward(self, x):
        out = self.BN2(self.C2(rectify(self.BN1(self.C1(x)))))
        return rectify(out + (x if self.shortcut is None else self.BNshortcut(self.shortcut(x))))


class ConvBlock(nn.Module):
    """The first two pool and do not pad: relation networks need maps."""

    def __init__(self, inputs, outputs, pools):
        super().__init__()
        self.C = nn.Conv2d(inputs, outputs, 3, padding=0 if pools else 1)
        self.BN = TransformedBatchNorm(outputs, transformed=True)
        self.pools = pools

    def forward(self, x):
        out = rectify(self.BN(self.C(x)))
        return pool(out, 2) if self.pools else out


class Backbone(nn.Module):
    """images [N, 3, S, S] -> maps [N, channels, E, E]."""

    def __init__(self, kind):
        super().__init__()
        if kind in CONVNETS:
            self.channels = 64
            self.trunk = nn.Sequential(*[ConvBlock(64 if i else 3, 64, i < 2) for i in range(CONVNETS[kind])])
        else:
            layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), TransformedBatchNorm(64), Layer(lambda x: rectify(x)),
                      Layer(lambda x: pool(x, 3, 2, 1))]
            inputs = 64
            for stage, blocks in enumerate(RESNETS[kind]):
                for block in range(blocks):
                    outputs = 64 << stage
                    layers.append(ResidualBlock(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
                    inputs = outputs
            self.channels, self.trunk = inputs, nn.Sequential(*layers)
        initialise(self)

    def forward(self, x):
        return self.trunk(x)


class RelationBlock(nn.Module):

    def __init__(self, inputs, outputs, padding):
        super().__init__()
        self.C = nn.Conv2d(inputs, outputs, 3, padding=padding)
        # The batch's own statistics always.
        self.BN = nn.BatchNorm2d(outputs, track_running_stats=False)

    def forward(self, x):
        return self.finish(self.C(x))

    def finish(self, x):
        out = rectify(self.BN(x))
        return pool(out, 2) if out.shape[-1] > 1 else out


class RelationModule(nn.Module):
    """A pair of maps [N, 2 channels, E, E] -> score [N]."""

    def __init__(self, channels, extent):
        super().__init__()
        padding = 1 if extent < 10 else 0
        self.layer1 = RelationBlock(2 * channels, channels, padding)
        self.layer2 = RelationBlock(channels, channels, padding)
        with torch.no_grad():
            left = self.layer2(self.layer1(torch.zeros(2, 2 * channels, extent, extent))).shape[-1]
        self.fc1, self.fc2 = nn.Linear(channels * left * left, 8), nn.Linear(8, 1)
        initialise(self)

    def forward(self, x):
        return self.finish(self.layer1(x))

    def finish(self, x):
        return self.fc2(rectify(self.fc1(self.layer2(x).flatten(1))))[:, 0]


class RelationNet(nn.Module):

    def __init__(self, kind, extent, by_parts=False):
        super().__init__()
        self.by_parts = by_parts
        self.feature = Backbone(kind)
        self.feature.eval()
        with torch.no_grad():
            maps = self.feature(torch.zeros(1, 3, extent, extent))
        self.train()
        self.relation_module = RelationModule(self.feature.channels, maps.shape[-1])

    def transform(self, on):
        for layer in self.modules():
            if isinstance(layer, TransformedBatchNorm) and hasattr(layer, "gamma"):
                layer.transform = on
        return self

    def scores(self, maps, support):
        """Maps [ways, support + query, C, E, E] -> scores [ways * query, ways], the logits of a query's class."""
        prototypes, queries = maps[:, :support].mean(1), maps[:, support:].flatten(0, 1)
        ways, count = len(prototypes), len(queries)
        pairs = torch.cat([
            prototypes[None].expand(count, *prototypes.shape), queries[:, None].expand(count, ways, *queries.shape[1:])
        ], 2)
        return self.relation_module(pairs.flatten(0, 1)).view(count, ways)

    def scores_by_parts(self, maps, support):
        """The same numbers with less work: the first convolution of a pair is the sum of its halves' convolutions."""
        prototypes, queries = maps[:, :support].mean(1), maps[:, support:].flatten(0, 1)
        layer, channels = self.relation_module.layer1, self.feature.channels
        first = F.conv2d(prototypes, layer.C.weight[:, :channels], layer.C.bias, padding=layer.C.padding)
        second = F.conv2d(queries, layer.C.weight[:, channels:], padding=layer.C.padding)
        pairs = (first[None] + second[:, None]).flatten(0, 1)
        return self.relation_module.finish(layer.finish(pairs)).view(len(queries), len(prototypes))

    def forward(self, episode, support):
        """Episode [ways, support + query, 3, S, S] -> scores."""
        maps = self.feature(episode.flatten(0, 1))
        scores = self.scores_by_parts if self.by_parts else self.scores
        return scores(maps.view(*episode.shape[:2], *maps.shape[1:]), support)


class ClassifierHead(nn.Module):
    """Mean of each map, hidden layers of as many channels, classes: two hidden layers are the auxiliary classifier."""

    def __init__(self, channels, hidden, classes):
        super().__init__()
        sizes = [channels] * (hidden + 1) + [classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, maps):
        x = maps.mean((2, 3))
        for layer in self.layers[:-1]:
            x = rectify(layer(x))
        return self.layers[-1](x)
