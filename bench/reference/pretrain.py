#!/usr/bin/env python3
"""Pretraining of a backbone: plain classification of the base classes of one or more domains by Adam.

  PYTHONPATH=... bench/reference/pretrain.py FILELISTS --domains icons --backbone resnet10 --extent 84 --out icons.safetensors

Writes `feature.*` for lft.py and the service's `pretrained` field.
"""

import torch
from torch.nn import functional as F

import peer
from lft_data import Domain, load, transform
from lft_models import CONVNETS, RESNETS, Backbone, ClassifierHead, is_transformation


class Trainer:
    application = "pretrain"

    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        self.generator = torch.Generator().manual_seed(args.seed)
        self.train, self.held_out, classes = [], [], 0
        for name in args.domains:
            for images in Domain(args.lists, name, "base").classes:
                kept = max(1, round(len(images) * args.held_out))
                self.held_out += [(image, classes) for image in images[:kept]]
                self.train += [(image, classes) for image in images[kept:]]
                classes += 1
        self.feature = Backbone(args.backbone)
        self.head = ClassifierHead(self.feature.channels, 0, classes)
        self.optimizer = torch.optim.Adam([*self.feature.parameters(), *self.head.parameters()], args.lr)
        self.augmented, self.plain = transform(args.extent, True), transform(args.extent, False)
        self.per_epoch = len(self.train) // args.batch
        self.steps = args.epochs * self.per_epoch

    def step(self, i):
        batch = i % self.per_epoch
        if batch == 0:
            self.order = torch.randperm(len(self.train), generator=self.generator)
        picked = [self.train[j] for j in self.order[batch * self.args.batch:(batch + 1) * self.args.batch].tolist()]
        self.optimizer.zero_grad()
        outputs = self.head(self.feature(load([image for image, _ in picked], self.augmented)))
        F.cross_entropy(outputs, torch.tensor([c for _, c in picked])).backward()
        self.optimizer.step()

    def held(self):
        return [self.feature, self.head, self.optimizer]

    @torch.no_grad()
    def evaluate(self):
        self.feature.eval()
        right = 0
        for first in range(0, len(self.held_out), 64):
            part = self.held_out[first:first + 64]
            outputs = self.head(self.feature(load([image for image, _ in part], self.plain)))
            right += (outputs.argmax(1) == torch.tensor([c for _, c in part])).sum().item()
        if self.args.out:
            from safetensors.torch import save_file
            save_file({"feature." + name: value.contiguous() for name, value in self.feature.state_dict().items()
                       if not is_transformation(name) and not name.endswith("num_batches_tracked")}, self.args.out)
        return dict(accuracy=right / len(self.held_out))


def main():
    parser = peer.parser(__doc__, estimators=["vanilla"], estimator="vanilla")
    parser.add_argument("lists")
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument("--out")
    parser.add_argument("--backbone", choices=[*CONVNETS, *RESNETS], default="resnet10")
    parser.add_argument("--extent", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--held_out", type=float, default=0.1, help="share of each class's images for the accuracy")
    peer.main(Trainer, parser)


if __name__ == "__main__":
    main()
