#!/usr/bin/env python3
"""Learning a rotation angle with the published forms: vanilla, evograd or t1t2.

  PYTHONPATH=$(third_party/wheels/install.sh) bench/reference/rotation.py DIR --estimator evograd --steps 600

Prints one line of JSON: accuracy on the rotated test images, the learned angle, seconds a step.
"""

import argparse
import json
import math
import time

import torch
from torch.func import functional_call
from torch.nn import functional as F

from bilevel import evograd_hypergradient, t1t2_hypergradient
from data import read_split
from models import LeNet


def rotate(images, angle, mode="bilinear"):
    """By `angle` radians (a 0-d tensor), as affine_grid and grid_sample turn it."""
    zero = torch.zeros_like(angle)
    matrix = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero]).view(1, 2, 3)
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=mode, align_corners=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir")
    parser.add_argument("--estimator", choices=["vanilla", "evograd", "t1t2"], default="evograd")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--population", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--meta_lr", type=float, default=1e-2)
    parser.add_argument("--angle", type=float, default=30)
    parser.add_argument("--validation", type=int, default=10000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    images, labels = read_split(args.dir, "train")
    test_images, test_labels = read_split(args.dir, "t10k")
    scale = images[:40000].float() / 255
    mean, std = scale.mean(), scale.std()
    truth = torch.tensor(math.radians(args.angle))

    def prepare(x, turned=False):
        x = x.float()
        return ((rotate(x, truth, "nearest") if turned else x) / 255 - mean) / std

    model = LeNet()
    angle = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    meta_optimizer = torch.optim.Adam([angle], args.meta_lr)
    train_order = torch.randperm(40000)
    valid_order = 60000 - args.validation + torch.randperm(args.validation)
    started = time.perf_counter()
    for step in range(args.steps):
        pick = lambda order: order[(torch.arange(args.batch) + step * args.batch) % len(order)]
        i, j = pick(train_order), pick(valid_order)
        x, y = prepare(images[i]), labels[i]
        optimizer.zero_grad()
        F.cross_entropy(model(rotate(x, angle.detach())), y).backward()
        optimizer.step()
        if args.estimator == "vanilla":
            continue
        u, v = prepare(images[j], True), labels[j]
        parameters = dict(model.named_parameters())
        train = lambda p: F.cross_entropy(functional_call(model, p, rotate(x, angle)), y)
        valid = lambda p: F.cross_entropy(functional_call(model, p, u), v)
        if args.estimator == "evograd":
            (gradient,), _ = evograd_hypergradient(train, valid, parameters, [angle], args.population)
        else:
            (gradient,) = t1t2_hypergradient(train, valid, parameters, [angle], 1e-3)
        angle.grad = gradient
        meta_optimizer.step()
    seconds = (time.perf_counter() - started) / args.steps
    with torch.no_grad():
        hit = lambda turned: (torch.cat([model(b) for b in prepare(test_images, turned).split(1000)]).argmax(1) == test_labels)
        print(json.dumps(dict(estimator=args.estimator, seed=args.seed, accuracy_rotated=hit(True).float().mean().item(),
                              accuracy_upright=hit(False).float().mean().item(), angle_degrees=math.degrees(angle.item()),
                              seconds_per_step=seconds)))


if __name__ == "__main__":
    main()
