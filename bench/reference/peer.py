"""What the peers' programs share: one shape of command line, one line of JSON as the result, memory and time of a step.

A program is a trainer class and `peer.main(Trainer, parser)`. A trainer is made from the arguments; it has `steps`,
`step(i)`, `held()` (what lives between steps: modules and optimisers) and `evaluate()`, which returns the figures of the
*final* parameters, never those of the best epoch. Progress goes to stderr, the result to stdout.
"""

import argparse
import json
import os
import statistics
import sys
import time

os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch

import bilevel

ESTIMATORS = ["vanilla", "evograd", "evograd-guided", "t1t2", "finite-difference"]
WARM_UP_STEPS = 2
# Called with the problem and the inner learning rate of every hypergradient (quality.py looks on so).
observer = None


def parser(doc, estimators=ESTIMATORS, estimator="evograd"):
    out = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--seed", type=int, default=1)
    out.add_argument("--steps", type=int, default=0, help="stop after so many steps; 0: the whole schedule")
    out.add_argument("--json", metavar="FILE", help="append the result to this file too")
    out.add_argument("--threads", type=int, default=1)
    out.add_argument("--quiet", action="store_true")
    out.add_argument("--memory", type=int, metavar="STEPS", default=0,
                     help="no training: peak tensor memory and median seconds of STEPS steps of each estimator")
    group = out.add_argument_group("estimator")
    group.add_argument("--estimator", choices=estimators, default=estimator)
    group.add_argument("--population", type=int, default=2)
    group.add_argument("--sigma", type=float, help="default 1e-3, guided 1e-5")
    group.add_argument("--tau", type=float, default=0.05)
    group.add_argument("--guidance", type=float, default=1.0, help="of evograd-guided")
    group.add_argument("--gradient_at", choices=["base", "look-ahead"], default="look-ahead", help="of evograd-guided")
    group.add_argument("--calibrated", action="store_true", help="evograd in the units of t1t2")
    group.add_argument("--inner_lr", type=float, help="of the inner SGD step; default: the base optimiser's")
    return out


def sigma_of(args):
    return args.sigma or (1e-5 if args.estimator == "evograd-guided" else 1e-3)


def hypergradient(args, train_loss, validation_loss, parameters, hyperparameters, learning_rate):
    """By the estimator that the arguments name; `parameters` are the perturbed ones."""
    rate = args.inner_lr or learning_rate
    problem = (train_loss, validation_loss, parameters, hyperparameters)
    if observer is not None:
        observer(problem, rate)
    if args.estimator == "evograd":
        sigma = sigma_of(args)
        gradients, _ = bilevel.evograd_hypergradient(*problem, args.population, sigma, args.tau)
        unit = args.tau * rate / sigma**2 if args.calibrated else 1
        return [unit * g for g in gradients]
    if args.estimator == "t1t2":
        return bilevel.t1t2_hypergradient(*problem, rate)
    if args.estimator == "finite-difference":
        return bilevel.difference_hypergradient(*problem, rate)
    if args.estimator == "evograd-guided":
        return bilevel.family_hypergradient(*problem, rate, args.population, sigma_of(args), args.tau, args.guidance,
                                            args.gradient_at)
    raise ValueError(args.estimator)


class Stateless:
    """A module as a pure function of parameters: its buffers (batch-norm statistics) stay as they are."""

    def __init__(self, module):
        self.module = module

    def __call__(self, parameters, *args, **kwargs):
        state = {name: b.clone() for name, b in self.module.named_buffers()}
        state.update(parameters)
        return torch.func.functional_call(self.module, state, args, kwargs)


def held_bytes(items):
    """Parameters, their gradients and buffers of modules, states of optimisers; each storage once."""
    tensors = []
    for item in items:
        if isinstance(item, torch.optim.Optimizer):
            tensors += [t for state in item.state.values() for t in state.values() if torch.is_tensor(t)]
        elif isinstance(item, torch.nn.Module):
            tensors += list(item.buffers())
            for p in item.parameters():
                tensors += [p] if p.grad is None else [p, p.grad]
        else:
            tensors.append(item)
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def peak_bytes(function):
    """The largest sum of tensors' bytes that `function` allocated and had not freed, as LibTorch's allocator reports
    them; worker/engine/memory_meter.h counts the same."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True,
                                acc_events=True) as profile:
        function()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    if not events:
        raise RuntimeError("the profiler saw no allocation")
    return peak


def seconds_of(function):
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def measure(trainer_type, args, estimators=("vanilla", "evograd", "t1t2")):
    """Peak tensor memory (held between steps + what a step adds) and time, the estimators stepped in turn."""
    trainers, seconds, peaks = {}, {name: [] for name in estimators}, {}
    for name in estimators:
        trainers[name] = trainer_type(argparse.Namespace(**{**vars(args), "estimator": name}))
    for step in range(WARM_UP_STEPS + args.memory):
        for name, trainer in trainers.items():
            taken = seconds_of(lambda: trainer.step(step))
            if step >= WARM_UP_STEPS:
                seconds[name].append(taken)
    for name, trainer in trainers.items():
        before = held_bytes(trainer.held())
        peaks[name] = before + peak_bytes(lambda: trainer.step(WARM_UP_STEPS + args.memory))
    result = {}
    for name in estimators:
        result[name] = dict(mib=round(peaks[name] / 2**20, 2), memory_ratio=round(peaks[name] / peaks[estimators[0]], 3))
        if args.memory:
            result[name]["seconds_per_step"] = statistics.median(seconds[name])
    return result


def train(trainer, args):
    """Median seconds of a step."""
    steps = min(args.steps, trainer.steps) if args.steps else trainer.steps
    seconds, told = [], time.perf_counter()
    for step in range(steps):
        seconds.append(seconds_of(lambda: trainer.step(step)))
        if not args.quiet and time.perf_counter() - told > 10:
            told = time.perf_counter()
            print(f"step {step + 1} of {steps}, {statistics.median(seconds):.3f} s each", file=sys.stderr)
    return dict(steps=steps, seconds_per_step=statistics.median(seconds) if seconds else 0)


def main(trainer_type, arguments):
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    result = dict(application=trainer_type.application)
    if args.memory:
        result["memory"] = measure(trainer_type, args)
    else:
        torch.manual_seed(args.seed)
        trainer = trainer_type(args)
        result.update(estimator=args.estimator, seed=args.seed, **train(trainer, args), metrics=trainer.evaluate())
        if args.estimator not in ("vanilla", "t1t2"):
            result["settings"] = dict(population=args.population, sigma=sigma_of(args), tau=args.tau)
    result["torch"] = torch.__version__
    line = json.dumps(result)
    print(line)
    if args.json:
        with open(args.json, "a") as f:
            f.write(line + "\n")
