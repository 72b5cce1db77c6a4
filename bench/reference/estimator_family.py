#!/usr/bin/env python3
"""How good each estimator's hypergradient is, and what it does for learning to weigh noisy examples.

  PYTHONPATH=$(third_party/wheels/install.sh) bench/reference/estimator_family.py DATA --seeds 1 2 3

Meta-Weight-Net with a small perceptron (256-256) and its weighting net by SGD: 1,000 training examples of which 40 % get
a uniform label, 200 clean meta examples, batches of 100 each, SGD 0.1 with Nesterov momentum for both nets. DATA is a
folder of idx files, or a CSV (also .gz) of pixels and label a line, as scikit-learn's digits are stored. At every
`--compare`th step the exact second-order hypergradient of the same step is computed too: cosine and size are means over
those steps. One line of JSON for each estimator and seed.
"""

import argparse
import functools
import gzip
import json
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

import bilevel
from data import read_split
from models import WeightingNet

# name: (settings, what the weighting net is fed with)
GUIDED = dict(method="family", sigma=1e-5, guidance=1.0)
ESTIMATORS = {
    "vanilla": (None, "base"),
    "t1t2": (dict(method="t1t2"), "base"),
    "published": (dict(method="published"), "members"),
    "published-adam": (dict(method="published", optimizer="adam"), "members"),
    "published-base-losses": (dict(method="published"), "base"),
    "antithetic-16": (dict(method="family", population=16, sigma=1e-3, guidance=0.0, at="recombined"), "members"),
    "antithetic-16-base-losses": (dict(method="family", population=16, sigma=1e-3, guidance=0.0, at="recombined"), "base"),
    "guided-at-base": (dict(GUIDED, at="base"), "base"),
    "guided": (GUIDED, "base"),
    "guided-members-losses": (GUIDED, "members"),
    "guided-1%": (dict(GUIDED, sigma=1e-4, guidance=0.01), "base"),
    "antithetic-64-look-ahead": (dict(method="family", population=64, sigma=1e-3, guidance=0.0), "base"),
    "antithetic-2-look-ahead": (dict(method="family", population=2, sigma=1e-3, guidance=0.0), "base"),
    "finite-difference": (dict(method="difference"), "base"),
}


def perceptron(inputs, classes):
    return nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, classes))


def read(path, seed, train, meta):
    """Standardised (train x, noisy y), (meta x, y), (test x, y); the same examples whatever the estimator."""
    path = pathlib.Path(path)
    random = np.random.RandomState(seed)
    if path.is_dir():
        (x, y), (u, v) = read_split(path, "train"), read_split(path, "t10k")
        picked = torch.from_numpy(random.permutation(len(y))[:train + meta])
        x, y = torch.cat([x[picked], u]).flatten(1).float(), torch.cat([y[picked], v])
    else:
        text = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
        table = torch.from_numpy(np.loadtxt(text, delimiter=",", dtype=np.float32))
        table = table[torch.from_numpy(random.permutation(len(table)))]
        x, y = table[:, :-1], table[:, -1].long()
    x = x / x.max()
    x = (x - x[:train].mean()) / x[:train].std()
    parts = [(x[a:b], y[a:b].clone()) for a, b in ((0, train), (train, train + meta), (train + meta, len(y)))]
    return parts


def corrupt(labels, rate, classes, seed):
    random = np.random.RandomState(seed + 1000)
    wrong = torch.from_numpy(random.rand(len(labels)) < rate)
    labels[wrong] = torch.from_numpy(random.randint(classes, size=int(wrong.sum())))


def normalised(weights):
    total = weights.sum()
    return weights / total if total > 0 else weights


def hypergradient(settings, args, train_loss, validation_loss, parameters, hyper):
    settings = {k: v for k, v in settings.items() if k != "optimizer"}
    method = settings.pop("method")
    if method == "published":
        gradients, _ = bilevel.evograd_hypergradient(train_loss, validation_loss, parameters, hyper)
        # In the units of t1t2, so that the learning rate of the weighting net means the same.
        return [g * 0.05 * args.lr / 1e-3**2 for g in gradients]
    function = dict(t1t2=bilevel.t1t2_hypergradient, difference=bilevel.difference_hypergradient,
                    family=bilevel.family_hypergradient)[method]
    return function(train_loss, validation_loss, parameters, hyper, args.lr, **settings)


def run(name, seed, args):
    settings, feed = ESTIMATORS[name]
    (x, y), (u, v), (test_x, test_y) = read(args.data, seed, args.train, args.meta)
    classes = int(test_y.max()) + 1
    corrupt(y, args.rate, classes, seed)
    torch.manual_seed(seed)
    model, net = perceptron(x.shape[1], classes), WeightingNet()
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, nesterov=True)
    adam = args.meta_optimizer == "adam" or settings is not None and settings.get("optimizer") == "adam"
    meta_optimizer = (torch.optim.Adam(net.parameters(), args.meta_lr if args.meta_optimizer == "adam" else 1e-3)
                      if adam else torch.optim.SGD(net.parameters(), args.meta_lr, momentum=0.9, nesterov=True))
    hyper = list(net.parameters())
    cosines, sizes, step, started = [], [], 0, time.perf_counter()
    for _ in range(args.epochs):
        for pick in torch.randperm(len(y)).split(args.batch):
            if settings is not None:
                parameters = dict(model.named_parameters())
                meta = torch.randint(len(v), (args.batch,))
                validation_loss = lambda p: F.cross_entropy(functional_call(model, p, u[meta]), v[meta])
                losses_at = lambda p: F.cross_entropy(functional_call(model, p, x[pick]), y[pick], reduction="none")

                def train_loss(p, fed=None):
                    losses = losses_at(p)
                    return (normalised(net(losses.detach() if fed is None else fed)) * losses).sum()

                with torch.no_grad():
                    fed = losses_at(parameters)
                at_base = functools.partial(train_loss, fed=fed)
                chosen = train_loss if feed == "members" else at_base
                gradients = hypergradient(settings, args, chosen, validation_loss, parameters, hyper)
                if args.compare and step % args.compare == 0 and name != "t1t2":
                    exact = bilevel.t1t2_hypergradient(at_base, validation_loss, parameters, hyper, args.lr)
                    cosine, size = bilevel.compare(gradients, exact)
                    cosines.append(cosine)
                    sizes.append(size)
                for p, g in zip(hyper, gradients):
                    p.grad = g.clone()
                meta_optimizer.step()
            optimizer.zero_grad()
            losses = F.cross_entropy(model(x[pick]), y[pick], reduction="none")
            with torch.no_grad():
                weights = torch.full_like(losses, 1 / len(losses)) if settings is None else normalised(net(losses))
            (weights * losses).sum().backward()
            optimizer.step()
            step += 1
    with torch.no_grad():
        accuracy = (model(test_x).argmax(1) == test_y).float().mean().item()
    result = dict(estimator=name, seed=seed, epochs=args.epochs, rate=args.rate, meta_optimizer=args.meta_optimizer,
                  meta_lr=args.meta_lr, accuracy=accuracy)
    if cosines:
        result.update(cosine=np.nanmean(cosines), cosine_std=np.nanstd(cosines), size=np.nanmedian(sizes), compared=len(cosines))
    result["seconds_per_step"] = (time.perf_counter() - started) / step
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--estimators", nargs="+", choices=list(ESTIMATORS), default=list(ESTIMATORS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--rate", type=float, default=0.4)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--meta", type=int, default=200)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--meta_lr", type=float, default=0.1)
    parser.add_argument("--meta_optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--compare", type=int, default=25, help="compare with t1t2 every n-th step; 0: never")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.estimators:
        for seed in args.seeds:
            print(json.dumps(run(name, seed, args)))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
