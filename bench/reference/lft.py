#!/usr/bin/env python3
"""Learned feature-wise transformation (H.-Y. Tseng et al., ICLR 2020) with a relation network: none, fixed, learned.

  PYTHONPATH=... bench/reference/lft.py FILELISTS --seen icons logos --test emoji --backbone resnet10 --extent 84

FILELISTS/<domain>/{base,val,novel}.json. An epoch is 100 episodes; at its start two of the seen domains become pseudo-seen
and pseudo-unseen. A step: auxiliary loss on a batch of the first seen (or the auxiliary) domain in evaluation mode; episode
loss on the pseudo-seen domain with the transformation; Adam step; then, `learned`, the hyper step at the new parameters:
the episode loss of the pseudo-seen domain, the validation loss on a pseudo-unseen episode in evaluation mode. The
auxiliary loss does not depend on the transformation and is no part of the members' losses. `--transformation none` and
`fixed` go with `--estimator vanilla`. At the end: mean accuracy and 95 % interval of novel episodes of each test domain.
"""

import statistics

import torch
from torch.nn import functional as F

import peer
from lft_data import Domain, load, load_episode, transform
from lft_models import CONVNETS, RESNETS, ClassifierHead, RelationNet, is_transformation, without_kinks


class Trainer:
    application = "lft"

    def __init__(self, args):
        if args.memory:
            args.transformation = "fixed" if args.estimator == "vanilla" else "learned"
        if (args.transformation == "learned") != (args.estimator != "vanilla"):
            raise SystemExit(f"--transformation {args.transformation} does not go with --estimator {args.estimator}")
        self.args = args
        if args.smooth:
            without_kinks()
        self.generator = torch.Generator().manual_seed(args.seed)
        torch.manual_seed(args.seed)
        self.seen = [Domain(args.lists, name, "base") for name in args.seen]
        self.auxiliary = Domain(args.lists, args.auxiliary or args.seen[0], "base")
        self.augmented, self.plain = transform(args.extent, True), transform(args.extent, False)
        self.net = RelationNet(args.backbone, args.extent, args.by_parts)
        self.head = ClassifierHead(self.net.feature.channels, 2, len(self.auxiliary.classes))
        if args.pretrained:
            load_backbone(self.net.feature, args.pretrained)
        self.stateless = peer.Stateless(self.net)
        own = {name: p for name, p in self.net.named_parameters()}
        self.hyper = [p for name, p in own.items() if is_transformation(name)]
        self.base_names = [name for name in own if not is_transformation(name)]
        self.optimizer = torch.optim.Adam([own[name] for name in self.base_names] + list(self.head.parameters()), args.lr)
        self.meta_optimizer = torch.optim.Adam(self.hyper, args.meta_lr, weight_decay=1e-8)
        self.steps = args.steps or args.epochs * args.episodes

    def labels(self, query):
        return torch.arange(self.args.ways).repeat_interleave(query)

    def batch(self, domain):
        return load_episode(domain.episode(self.args.ways, self.args.shot + self.args.query, self.generator), self.augmented)

    def auxiliary_loss(self, i):
        paths, labels = self.auxiliary.examples(self.args.auxiliary_batch, self.generator)
        self.net.eval()
        loss = F.cross_entropy(self.head(self.net.feature(load(paths, self.augmented))), labels)
        self.net.train()
        return 0.9**((20 * i) // self.steps) * loss

    def step(self, i):
        if i % self.args.episodes == 0:
            first, second = torch.randperm(len(self.seen), generator=self.generator)[:2].tolist()
            self.pseudo_seen, self.pseudo_unseen = self.seen[first], self.seen[second]
        images, labels = self.batch(self.pseudo_seen), self.labels(self.args.query)
        self.net.transform(self.args.transformation != "none")
        self.optimizer.zero_grad()
        loss = self.auxiliary_loss(i) if self.args.auxiliary_batch else 0
        (loss + F.cross_entropy(self.net(images, self.args.shot), labels)).backward()
        self.optimizer.step()
        self.net.zero_grad()
        if self.args.estimator == "vanilla":
            return
        unseen = self.batch(self.pseudo_unseen)
        hyper = {name: p for name, p in self.net.named_parameters() if is_transformation(name)}

        def train_loss(p):
            self.net.train()
            return F.cross_entropy(self.stateless({**p, **hyper}, images, self.args.shot), labels)

        def validation_loss(p):
            self.net.eval()
            return F.cross_entropy(self.stateless(p, unseen, self.args.shot), labels)

        base = {name: p for name, p in self.net.named_parameters() if name in set(self.base_names)}
        for p, g in zip(self.hyper, peer.hypergradient(self.args, train_loss, validation_loss, base, self.hyper, self.args.lr)):
            p.grad = g
        self.net.train()
        self.meta_optimizer.step()

    def held(self):
        return [self.net, self.head, self.optimizer, self.meta_optimizer]

    @torch.no_grad()
    def evaluate(self):
        self.net.eval()
        result = {}
        for name in self.args.test:
            domain = Domain(self.args.lists, name, "novel")
            generator = torch.Generator().manual_seed(1)  # the same episodes whatever the seed of training
            maps = {}
            accuracies = []
            for _ in range(self.args.evaluation_episodes):
                paths = domain.episode(self.args.ways, self.args.shot + self.args.evaluation_query, generator)
                missing = [p for images in paths for p in images if p not in maps]
                for first in range(0, len(missing), 64):
                    part = missing[first:first + 64]
                    maps.update(zip(part, self.net.feature(load(part, self.plain))))
                episode = torch.stack([torch.stack([maps[p] for p in images]) for images in paths])
                scores = self.net.scores_by_parts(episode, self.args.shot)
                accuracies.append((scores.argmax(1) == self.labels(self.args.evaluation_query)).float().mean().item())
            result[f"accuracy_{name}"] = statistics.mean(accuracies)
            result[f"interval_{name}"] = 1.96 * statistics.pstdev(accuracies) / len(accuracies)**0.5
        values = [F.softplus(p, beta=100).mean().item() for p in self.hyper]
        result.update(gamma=statistics.mean(values[::2]), beta=statistics.mean(values[1::2]))
        return result


def load_backbone(feature, path):
    """Keys `feature.*`, with or without `parameters.` and `buffers.` before them; all of the backbone's, no others."""
    from safetensors.torch import load_file
    found = {}
    for key, value in load_file(path).items():
        for prefix in ("parameters.", "buffers."):
            key = key[len(prefix):] if key.startswith(prefix) else key
        if key.startswith("feature."):
            found[key[len("feature."):]] = value
    own = feature.state_dict()
    wanted = {name for name in own if not is_transformation(name) and not name.endswith("num_batches_tracked")}
    found = {name: value for name, value in found.items() if name in wanted or not name.endswith("num_batches_tracked")}
    if set(found) != wanted:
        raise ValueError(f"{path}: missing {sorted(wanted - set(found))[:3]}, extra {sorted(set(found) - wanted)[:3]}")
    feature.load_state_dict(found, strict=False)


def main():
    parser = peer.parser(__doc__)
    parser.add_argument("lists")
    parser.add_argument("--seen", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--auxiliary", help="default: the first seen domain")
    parser.add_argument("--transformation", choices=["none", "fixed", "learned"], default="learned")
    parser.add_argument("--backbone", choices=[*CONVNETS, *RESNETS], default="resnet10")
    parser.add_argument("--extent", type=int, default=224)
    parser.add_argument("--pretrained", help="safetensors file with feature.*")
    parser.add_argument("--by_parts", action="store_true",
                        help="the first convolution of pairs from its halves, as evaluations do: the same numbers, sooner")
    parser.add_argument("--smooth", action="store_true", help="SiLU and mean pooling in place of ReLU and max pooling")
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--shot", type=int, default=5)
    parser.add_argument("--query", type=int, default=16)
    parser.add_argument("--auxiliary_batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--episodes", type=int, default=100, help="in an epoch")
    parser.add_argument("--evaluation_episodes", type=int, default=1000)
    parser.add_argument("--evaluation_query", type=int, default=15)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--meta_lr", type=float, default=1e-3)
    peer.main(Trainer, parser)


if __name__ == "__main__":
    main()
