#!/usr/bin/env python3
"""Meta-Weight-Net under label noise (J. Shu et al., NeurIPS 2019): vanilla, evograd, t1t2 and relatives.

  PYTHONPATH=$(third_party/wheels/install.sh) bench/reference/meta_weight_net.py DIR --noise uniform --rate 0.4

DIR holds idx files as MNIST's or CIFAR-10's or CIFAR-100's binary batches. One split, made with the seed: `--meta` clean
images (equal numbers of each class) and `--train` images with noisy labels (0: all the others), none in both. First the
hyper step, then the base step with the new weights, as published. What the published run of CIFAR does:

  ... CIFAR10 --model resnet32 --train 0 --meta 1000 --epochs 60 --decay 40 50 --lr 0.1 --noise flip2 --augment
"""

import torch
from torch.nn import functional as F

import peer
from data import Cycle, corrupt, crop_and_flip, noise_matrix, read_classes
from models import CifarResNet, LeNet, WeightingNet, WideResNet

NOISE = ["uniform", "flip", "flip2", "hierarchical", "asymmetric"]
# Of CIFAR's published runs.
CIFAR_MEAN, CIFAR_STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)


def make_model(args, classes, channels):
    if args.model == "lenet":
        return LeNet(classes)
    if args.model == "resnet32":
        return CifarResNet(classes, args.width, channels=channels)
    return WideResNet(classes, channels=channels)


class Trainer:
    application = "meta-weight-net"

    def __init__(self, args):
        self.args = args
        self.generator = torch.Generator().manual_seed(args.seed)
        torch.manual_seed(args.seed)
        self.read()
        self.model, self.net = make_model(args, self.classes, self.images.shape[1]), WeightingNet()
        self.stateless = peer.Stateless(self.model)
        sgd = dict(momentum=0.9, nesterov=True, weight_decay=args.weight_decay)
        self.optimizer = torch.optim.SGD(self.model.parameters(), args.lr, **sgd)
        if args.meta_optimizer == "sgd":
            self.meta_optimizer = torch.optim.SGD(self.net.parameters(), args.meta_lr, momentum=0.9, nesterov=True,
                                                  weight_decay=args.meta_weight_decay)
        else:
            self.meta_optimizer = torch.optim.Adam(self.net.parameters(), args.meta_lr, weight_decay=args.meta_weight_decay)
        self.per_epoch = -(-len(self.train) // args.batch)
        self.steps = args.steps or args.epochs * self.per_epoch
        self.meta_batches = Cycle(len(self.meta), args.batch, self.generator)
        self.feed = args.feed or ("members" if args.estimator == "evograd" else "base")
        epochs = args.decay if args.decay is not None else [args.epochs * 2 // 3, args.epochs * 5 // 6]
        self.decay_steps = args.decay_steps if args.decay_steps is not None else [e * self.per_epoch for e in epochs]

    def read(self):
        args, generator = self.args, self.generator
        self.images, labels, coarse_labels = read_classes(args.dir, "train")
        self.labels, self.classes = labels, int(labels.max()) + 1
        coarse = None
        if coarse_labels is not None:
            coarse = [int(coarse_labels[labels == c][0]) for c in range(self.classes)]
        order = torch.randperm(len(labels), generator=generator)
        per_class = args.meta // self.classes
        self.meta = torch.cat([order[labels[order] == c][:per_class] for c in range(self.classes)])
        rest = order[~torch.isin(order, self.meta)]
        self.train = rest[:args.train] if args.train else rest
        self.held_out = rest[len(self.train):][:args.held_out]
        if len(self.held_out) < args.held_out:
            raise SystemExit(f"--held_out {args.held_out}: only {len(self.held_out)} training pictures are left")
        matrix = noise_matrix(args.noise, args.rate, self.classes, generator, coarse)
        self.noisy = corrupt(labels[self.train], matrix, generator)
        if self.images.shape[1] == 3:
            self.mean, self.std = (torch.tensor(v).view(1, 3, 1, 1) for v in (CIFAR_MEAN, CIFAR_STD))
        else:
            pixels = self.images[self.train].float()
            self.mean, self.std = pixels.mean(), pixels.std()

    def prepare(self, images, augment=False):
        x = (images.float() - self.mean) / self.std
        return crop_and_flip(x) if augment else x

    def weights(self, losses):
        weights = self.net(losses.detach())
        if self.args.normalization == "mean":
            return weights / len(weights)
        total = weights.sum()
        return weights / total if total > 0 else weights

    def hyper_step(self, x, y, rate):
        picked = self.meta[self.meta_batches.next()]
        u, v = self.prepare(self.images[picked], self.args.augment), self.labels[picked]
        parameters = dict(self.model.named_parameters())
        losses_at = lambda p: F.cross_entropy(self.stateless(p, x), y, reduction="none")
        validation_loss = lambda p: F.cross_entropy(self.stateless(p, u), v)
        if self.feed == "base":
            with torch.no_grad():
                fed = losses_at(parameters)
            train_loss = lambda p: (self.weights(fed) * losses_at(p)).sum()
        else:

            def train_loss(p):
                losses = losses_at(p)
                return (self.weights(losses) * losses).sum()

        hyper = list(self.net.parameters())
        for p, g in zip(hyper, peer.hypergradient(self.args, train_loss, validation_loss, parameters, hyper, rate)):
            p.grad = g
        self.meta_optimizer.step()

    def step(self, i):
        batch = i % self.per_epoch
        if batch == 0:
            self.order = torch.randperm(len(self.train), generator=self.generator)
        rate = self.args.lr * 0.1**sum(i >= d for d in self.decay_steps)
        self.optimizer.param_groups[0]["lr"] = rate
        picked = self.order[batch * self.args.batch:(batch + 1) * self.args.batch]
        x, y = self.prepare(self.images[self.train[picked]], self.args.augment), self.noisy[picked]
        self.model.train()
        if self.args.estimator != "vanilla":
            self.hyper_step(x, y, rate)
        self.optimizer.zero_grad()
        losses = F.cross_entropy(self.model(x), y, reduction="none")
        if self.args.estimator == "vanilla":
            losses.mean().backward()
        else:
            with torch.no_grad():
                weights = self.weights(losses)
            (weights * losses).sum().backward()
        self.optimizer.step()

    def held(self):
        return [self.model, self.net, self.optimizer, self.meta_optimizer]

    @torch.no_grad()
    def outputs(self, images):
        self.model.eval()
        return torch.cat([self.model(self.prepare(part)) for part in images.split(500)])

    @torch.no_grad()
    def evaluate(self):
        if self.args.held_out:
            images, labels = self.images[self.held_out], self.labels[self.held_out]
        else:
            images, labels = read_classes(self.args.dir, "t10k")[:2]
        if self.args.test:
            images, labels = images[:self.args.test], labels[:self.args.test]
        outputs = self.outputs(images)
        result = dict(accuracy=(outputs.argmax(1) == labels).float().mean().item(),
                      test_loss=F.cross_entropy(outputs, labels).item())
        if self.args.estimator == "vanilla":
            return result
        some = slice(0, 10000)
        weights = self.net(F.cross_entropy(self.outputs(self.images[self.train[some]]), self.noisy[some], reduction="none"))
        clean = self.noisy[some] == self.labels[self.train[some]]
        result["weight_clean"] = weights[clean].mean().item()
        if not clean.all():
            result["weight_noisy"] = weights[~clean].mean().item()
        return result


def main():
    parser = peer.parser(__doc__)
    parser.add_argument("dir")
    parser.add_argument("--model", choices=["lenet", "resnet32", "wrn-28-10"], default="lenet")
    parser.add_argument("--width", type=int, default=1, help="multiplies ResNet-32's channels")
    parser.add_argument("--noise", choices=NOISE, default="uniform")
    parser.add_argument("--rate", type=float, default=0.4)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--meta", type=int, default=200)
    parser.add_argument("--test", type=int, default=0, help="test images used; 0: all")
    parser.add_argument("--held_out", type=int, default=0,
                        help="evaluate on so many training pictures of neither set instead, as choosing settings needs")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--decay", type=int, nargs="*", help="epochs at which the rate is divided by 10; default 2/3, 5/6")
    parser.add_argument("--decay_steps", type=int, nargs="*", help="the same in steps")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--weight_decay", type=float, default=5e-4)
    parser.add_argument("--meta_lr", type=float, default=1e-3)
    parser.add_argument("--meta_optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--meta_weight_decay", type=float, default=5e-4)
    parser.add_argument("--normalization", choices=["sum", "mean"], default="sum")
    parser.add_argument("--feed", choices=["base", "members"], help="whose losses the weighting net sees when members are "
                        "evaluated; default: each member's own for evograd, as published, else the base point's")
    parser.add_argument("--augment", action="store_true", help="random crops and flips")
    peer.main(Trainer, parser)


if __name__ == "__main__":
    main()
