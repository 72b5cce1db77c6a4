#!/usr/bin/env python3
"""Meta-Weight-Net under label noise with the published forms: vanilla, evograd or t1t2; LeNet on idx files.

  PYTHONPATH=$(third_party/wheels/install.sh) bench/reference/meta_weight_net.py DIR --noise uniform --rate 0.4

One split: `--meta` clean images (equal numbers of each class), `--train` images with noisy labels, none in both.
Prints one line of JSON with the final epoch's accuracy on the clean test images.
"""

import argparse
import json
import time

import torch
from torch.func import functional_call
from torch.nn import functional as F

from bilevel import evograd_hypergradient, t1t2_hypergradient
from data import read_split
from models import LeNet, WeightingNet


def corrupt(labels, kind, rate, classes, generator):
    """Labels drawn from the noise matrix's row of the true label."""
    matrix = torch.eye(classes) * (1 - rate)
    if kind == "uniform":
        matrix += rate / classes
    else:
        others = [torch.randperm(classes - 1, generator=generator)[:1 if kind == "flip" else 2] for _ in range(classes)]
        for row, picked in enumerate(others):
            for other in picked.tolist():
                matrix[row, other + (other >= row)] += rate / len(picked)
    return torch.multinomial(matrix[labels], 1, generator=generator)[:, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir")
    parser.add_argument("--estimator", choices=["vanilla", "evograd", "t1t2"], default="evograd")
    parser.add_argument("--noise", choices=["uniform", "flip", "flip2"], default="uniform")
    parser.add_argument("--rate", type=float, default=0.4)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--meta", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--meta_lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    images, labels = read_split(args.dir, "train")
    test_images, test_labels = read_split(args.dir, "t10k")
    classes = int(labels.max()) + 1
    order = torch.randperm(len(labels), generator=generator)
    meta = torch.cat([order[labels[order] == c][:args.meta // classes] for c in range(classes)])
    train = order[~torch.isin(order, meta)][:args.train]
    noisy = corrupt(labels[train], args.noise, args.rate, classes, generator)
    mean, std = images.float().mean() / 255, images.float().std() / 255
    prepare = lambda x: (x.float() / 255 - mean) / std

    model, net = LeNet(classes), WeightingNet()
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    meta_optimizer = torch.optim.Adam(net.parameters(), args.meta_lr)

    def weighted(losses):
        weights = net(losses.detach())
        total = weights.sum()
        return (weights / (total if total > 0 else 1) * losses).sum()

    started, step = time.perf_counter(), 0
    for epoch in range(args.epochs):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * (0.1 if epoch >= args.epochs * 2 // 3 else 1)
        shuffled = torch.randperm(len(train), generator=generator)
        for pick in shuffled.split(args.batch):
            x, y = prepare(images[train[pick]]), noisy[pick]
            if args.estimator != "vanilla":
                j = meta[torch.randint(len(meta), (args.batch,), generator=generator)]
                u, v = prepare(images[j]), labels[j]
                parameters = dict(model.named_parameters())
                train_loss = lambda p: weighted(F.cross_entropy(functional_call(model, p, x), y, reduction="none"))
                valid_loss = lambda p: F.cross_entropy(functional_call(model, p, u), v)
                hyper = list(net.parameters())
                if args.estimator == "evograd":
                    gradients, _ = evograd_hypergradient(train_loss, valid_loss, parameters, hyper)
                else:
                    gradients = t1t2_hypergradient(train_loss, valid_loss, parameters, hyper, group["lr"])
                for p, g in zip(hyper, gradients):
                    p.grad = g
                meta_optimizer.step()
            optimizer.zero_grad()
            losses = F.cross_entropy(model(x), y, reduction="none")
            if args.estimator == "vanilla":
                losses.mean().backward()
            else:
                with torch.no_grad():
                    weights = net(losses)
                    weights /= weights.sum() if weights.sum() > 0 else 1
                (weights * losses).sum().backward()
            optimizer.step()
            step += 1
    with torch.no_grad():
        hit = torch.cat([model(b) for b in prepare(test_images).split(1000)]).argmax(1) == test_labels
    print(json.dumps(dict(estimator=args.estimator, noise=args.noise, rate=args.rate, seed=args.seed, accuracy=hit.float().mean().item(),
                          seconds_per_step=(time.perf_counter() - started) / step)))


if __name__ == "__main__":
    main()
