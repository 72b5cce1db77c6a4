#!/usr/bin/env python3
"""Learning a rotation angle: vanilla, evograd, t1t2 and relatives.

  PYTHONPATH=$(third_party/wheels/install.sh) bench/reference/rotation.py DIR --estimator evograd --steps 800

DIR holds MNIST's four idx files. Training images are upright and turned by the learned angle, validation images (the
last ones of the training file) and test images by `--angle` degrees. First the base step, then the hyper step at the
updated parameters, as published.
"""

import math

import torch
from torch.nn import functional as F

import peer
from data import Cycle, read_split
from models import LeNet


def rotate(images, angle, mode="bilinear"):
    """By `angle` radians (a 0-d tensor), as affine_grid and grid_sample turn it."""
    zero = torch.zeros_like(angle)
    matrix = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero]).view(1, 2, 3)
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=mode, align_corners=False)


class Trainer:
    application = "rotation"

    def __init__(self, args):
        self.args = args
        self.generator = torch.Generator().manual_seed(args.seed)
        torch.manual_seed(args.seed)
        self.images, self.labels = read_split(args.dir, "train")
        pixels = self.images[:args.train].float() / 255
        self.mean, self.std = pixels.mean(), pixels.std()
        self.truth = torch.tensor(math.radians(args.angle))
        self.model, self.angle = LeNet(int(self.labels.max()) + 1), torch.zeros((), requires_grad=True)
        self.stateless = peer.Stateless(self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), args.lr)
        self.meta_optimizer = torch.optim.Adam([self.angle], args.meta_lr)
        self.train_batches = Cycle(args.train, args.batch, self.generator)
        self.validation_batches = Cycle(args.validation, args.batch, self.generator)
        self.steps = args.steps or args.epochs * (args.train // args.batch)

    def prepare(self, x, turned=False):
        x = x.float()
        return ((rotate(x, self.truth, "nearest") if turned else x) / 255 - self.mean) / self.std

    def step(self, i):
        picked = self.train_batches.next()
        # Turned as raw pixels, so that what comes in at the corners is black.
        raw, y = self.images[picked].float(), self.labels[picked]
        turn = lambda angle: (rotate(raw, angle) / 255 - self.mean) / self.std
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(turn(self.angle.detach())), y).backward()
        self.optimizer.step()
        if self.args.estimator == "vanilla":
            return
        picked = len(self.labels) - self.args.validation + self.validation_batches.next()
        u, v = self.prepare(self.images[picked], True), self.labels[picked]
        train_loss = lambda p: F.cross_entropy(self.stateless(p, turn(self.angle)), y)
        validation_loss = lambda p: F.cross_entropy(self.stateless(p, u), v)
        (self.angle.grad,) = peer.hypergradient(self.args, train_loss, validation_loss,
                                                dict(self.model.named_parameters()), [self.angle], self.args.lr)
        self.meta_optimizer.step()

    def held(self):
        return [self.model, self.angle, self.optimizer, self.meta_optimizer]

    @torch.no_grad()
    def evaluate(self):
        images, labels = read_split(self.args.dir, "t10k")
        if self.args.test:
            images, labels = images[:self.args.test], labels[:self.args.test]

        def accuracy(turned):
            outputs = torch.cat([self.model(self.prepare(part, turned)) for part in images.split(1000)])
            return (outputs.argmax(1) == labels).float().mean().item()

        return dict(accuracy_rotated=accuracy(True), accuracy_upright=accuracy(False),
                    angle_degrees=math.degrees(self.angle.item()))


def main():
    parser = peer.parser(__doc__)
    parser.add_argument("dir")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--meta_lr", type=float, default=1e-2)
    parser.add_argument("--angle", type=float, default=30)
    parser.add_argument("--train", type=int, default=40000)
    parser.add_argument("--validation", type=int, default=10000)
    parser.add_argument("--test", type=int, default=0, help="test images used; 0: all")
    peer.main(Trainer, parser)


if __name__ == "__main__":
    main()
