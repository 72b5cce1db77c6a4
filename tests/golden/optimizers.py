"""Writes optimizers.txt: what torch.optim makes of five numbers in 100 steps, for each optimizer of a job.

    PYTHONPATH=$(third_party/wheels/install.sh) /usr/bin/python3 tests/golden/optimizers.py

Each run: a line `run NAME TYPE KIND lr momentum nesterov weight_decay beta1 beta2 epsilon`, then lines
`theta STEPS x x x x x` with theta after so many steps, hexadecimal so that nothing is rounded. There is no random
number in it: theta begins as START, and gradients follow the rule of `gradient`, exact in either type.
"""

import os

import torch

START = [1.5, -0.75, 0.25, -3.0, 0.0]
SHOWN = [0, 1, 2, 3, 4, 5, *range(10, 101, 10)]
RUNS = [
    ("sgd-plain", "sgd", {"lr": 0.1}),
    ("sgd-weight-decay", "sgd", {"lr": 0.1, "weight_decay": 0.01}),
    ("sgd-momentum", "sgd", {"lr": 0.05, "momentum": 0.9}),
    ("sgd-nesterov", "sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
    ("adam", "adam", {"lr": 0.01}),
    ("adam-weight-decay", "adam", {"lr": 0.01, "weight_decay": 0.05}),
    ("adam-other-betas", "adam", {"lr": 0.01, "betas": (0.4, 0.95), "eps": 1e-4}),
    ("adamw", "adamw", {"lr": 0.01, "weight_decay": 0.05}),
]
CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def gradient(step, dtype):
    """Numbers in [-4, 4), each element's 16 times as small as the one before; step counts from 0."""
    numbers = [(7919 * (len(START) * step + i + 1) % 2003 - 1001) / 256 / 16**i for i in range(len(START))]
    return torch.tensor(numbers, dtype=dtype)


def write_run(out, name, kind, options, dtype):
    theta = torch.tensor(START, dtype=dtype, requires_grad=True)
    # AdamW's own default is not 0.
    optimizer = CLASSES[kind]([theta], **{"weight_decay": 0.0, **options})
    settings = [options["lr"], options.get("momentum", 0), int(options.get("nesterov", False)),
                options.get("weight_decay", 0), *options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8)]
    out.write(f"run {name} {str(dtype).removeprefix('torch.')} {kind} {' '.join(map(repr, settings))}\n")
    for steps in range(max(SHOWN) + 1):
        if steps in SHOWN:
            out.write(f"theta {steps} {' '.join(x.hex() for x in theta.tolist())}\n")
        theta.grad = gradient(steps, dtype)
        optimizer.step()


def main():
    torch.set_num_threads(1)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizers.txt")
    with open(path, "w", encoding="ascii") as out:
        out.write(f"# tests/golden/optimizers.py, torch {torch.__version__}\n")
        for name, kind, options in RUNS:
            for dtype in (torch.float32, torch.float64):
                write_run(out, name, kind, options, dtype)


main()
