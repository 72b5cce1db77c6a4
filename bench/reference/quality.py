#!/usr/bin/env python3
"""How good each estimator's hypergradient is: cosine and size against exact t1t2 of the same step, their spread, cost.

  PYTHONPATH=... bench/reference/quality.py --at 0 100 400 --draws 8 meta_weight_net.py DIR --estimator t1t2 --feed base

runs the given peer, and at the given steps computes the hypergradient by every estimator below, `draws` times with
fresh perturbations. Layer noise (dropout, feature-wise transformation) is the same for all members and for the exact
one, so that only the estimator differs. One line of JSON for each estimator: over all steps and draws the mean and standard
deviation of the cosine, the median of the size, and the median seconds; a plain training step's seconds beside them.
`--plot FILE` draws them.
"""

import argparse
import importlib
import json
import pathlib
import statistics
import sys
import time

import torch

import bilevel
import peer


def family(**settings):
    return lambda problem, rate, generator: bilevel.family_hypergradient(*problem, rate, generator=generator, **settings)


def published(population, sigma=1e-3):
    # In the units of t1t2, as all others.
    return lambda problem, rate, generator: [
        g * 0.05 * rate / sigma**2
        for g in bilevel.evograd_hypergradient(*problem, population, sigma, 0.05, generator)[0]
    ]


ESTIMATORS = {
    **{f"evograd K={k}": published(k) for k in (2, 8, 32)},
    **{f"antithetic, look-ahead K={k}": family(population=k, sigma=1e-3, guidance=0.0) for k in (2, 8, 32)},
    **{f"guided {g:g}, sigma {s:g}": family(sigma=s, guidance=g) for g, s in
       ((1.0, 1e-7), (1.0, 1e-6), (1.0, 1e-5), (1.0, 1e-4), (1.0, 1e-3), (0.1, 1e-5), (0.01, 1e-4), (0.001, 1e-4), (0.001, 1e-3))},
    "guided 1, sigma 1e-05, tau 0.5": family(sigma=1e-5, tau=0.5),
    # Far enough to cross many kinks of ReLU and max pooling; the larger tau keeps the softmax from saturating.
    "guided 1, sigma 0.001, tau 0.5": family(sigma=1e-3, tau=0.5),
    "guided 1, sigma 1e-05, at base": family(sigma=1e-5, at="base"),
    "finite difference": lambda problem, rate, generator: bilevel.difference_hypergradient(*problem, rate),
}


def repeatable(loss, seed):
    """The same layer noise at every call; the training's own random numbers are left alone."""

    def same(parameters):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return loss(parameters)

    return same


class Observer:

    def __init__(self, steps, draws, names):
        self.steps, self.draws, self.names = steps, draws, names
        self.step = 0
        self.figures = {name: dict(cosine=[], size=[], seconds=[]) for name in names}

    def __call__(self, problem, rate):
        if self.step not in self.steps:
            return
        train_loss, validation_loss, parameters, hyper = problem
        problem = (repeatable(train_loss, 1), repeatable(validation_loss, 2), parameters, hyper)
        exact = bilevel.t1t2_hypergradient(*problem, rate)
        for name in self.names:
            for draw in range(self.draws):
                started = time.perf_counter()
                gradients = ESTIMATORS[name](problem, rate, torch.Generator().manual_seed(1000 * self.step + draw))
                figures = self.figures[name]
                figures["seconds"].append(time.perf_counter() - started)
                cosine, size = bilevel.compare(gradients, exact)
                figures["cosine"].append(cosine)
                figures["size"].append(size)


def plot(lines, path, title):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for line in lines:
        axes.errorbar(line["cost"], line["cosine"], yerr=line["cosine_std"], fmt="o", capsize=3)
        axes.annotate(line["estimator"], (line["cost"], line["cosine"]), fontsize=6, xytext=(4, 4), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_xlabel("seconds of a hypergradient over those of a plain training step")
    axes.set_ylabel("cosine with exact second order")
    axes.set_title(title)
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", nargs="+", type=int, required=True, help="steps at which to look")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--estimators", nargs="+", choices=list(ESTIMATORS), default=list(ESTIMATORS))
    parser.add_argument("--plot", metavar="FILE")
    parser.epilog = "Then the peer: rotation.py, meta_weight_net.py, lft.py or metaxl.py, and its own arguments."
    where = next((i for i, word in enumerate(sys.argv[1:], 1) if word.endswith(".py")), len(sys.argv))
    args = parser.parse_args(sys.argv[1:where])
    if where == len(sys.argv):
        parser.error("no peer is named")
    program = importlib.import_module(pathlib.Path(sys.argv[where]).stem)
    sys.argv = sys.argv[where:]
    found = {}
    peer.main = lambda trainer_type, arguments: found.update(type=trainer_type, args=arguments.parse_args())
    program.main()
    torch.set_num_threads(found["args"].threads)
    torch.manual_seed(found["args"].seed)
    trainer = found["type"](found["args"])
    observer = peer.observer = Observer(set(args.at), args.draws, args.estimators)
    plain = []
    for step in range(max(args.at) + 1):
        observer.step = step
        trainer.step(step)
    # What a plain step costs here and now.
    peer.observer, found["args"].estimator = None, "vanilla"
    for step in range(5):
        plain.append(peer.seconds_of(lambda: trainer.step(max(args.at) + 1 + step)))
    lines = []
    for name, figures in observer.figures.items():
        lines.append(dict(application=found["type"].application, estimator=name, cosine=statistics.mean(figures["cosine"]),
                          cosine_std=statistics.pstdev(figures["cosine"]), size=statistics.median(figures["size"]),
                          cost=statistics.median(figures["seconds"]) / statistics.median(plain), draws=len(figures["cosine"])))
        print(json.dumps(lines[-1]))
    if args.plot:
        plot(lines, args.plot, found["type"].application)


if __name__ == "__main__":
    main()
