"""Writes optimizers.txt: what torch.optim makes of five numbers in 100 steps, for each optimizer of a job, and what
transformers' and torch's schedulers make of some.

    PYTHONPATH=$(third_party/wheels/install.sh):$(third_party/wheels/install.sh third_party/peers/requirements.lock 1500) \\
        /usr/bin/python3 tests/golden/optimizers.py

Each run: a line `run NAME TYPE KIND lr momentum nesterov weight_decay beta1 beta2 epsilon max_norm warmup end factor
DECAY_STEP...`, then lines
`theta STEPS x x x x x` with theta after so many steps, hexadecimal so that nothing is rounded. There is no random
number in it: theta begins as START, and gradients follow the rule of `gradient`, exact in either type.
"""

import os

import torch
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

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
    ("sgd-steps", "sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "steps": [3, 40, 50], "factor": 0.3}),
    ("adam-warm-linear", "adam", {"lr": 0.01, "warmup": 10, "end": 90}),
    ("adamw-warm", "adamw", {"lr": 0.01, "weight_decay": 0.05, "warmup": 7}),
    ("adam-clip", "adam", {"lr": 0.01, "max_norm": 0.5}),
]
CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def gradient(step, dtype):
    """Numbers in [-4, 4), each element's 16 times as small as the one before; step counts from 0."""
    numbers = [(7919 * (len(START) * step + i + 1) % 2003 - 1001) / 256 / 16**i for i in range(len(START))]
    return torch.tensor(numbers, dtype=dtype)


def write_run(out, name, kind, options, dtype):
    theta = torch.tensor(START, dtype=dtype, requires_grad=True)
    own = ("steps", "factor", "warmup", "end", "max_norm")
    warmup, end, max_norm = (options.get(key, 0) for key in ("warmup", "end", "max_norm"))
    steps, factor = options.get("steps", []), options.get("factor", 0.1)
    options = {key: value for key, value in options.items() if key not in own}
    # AdamW's own default is not 0.
    optimizer = CLASSES[kind]([theta], **{"weight_decay": 0.0, **options})
    settings = [options["lr"], options.get("momentum", 0), int(options.get("nesterov", False)),
                options.get("weight_decay", 0), *options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8),
                max_norm, warmup, end, factor, *steps]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, steps, factor)
    if end:
        scheduler = get_linear_schedule_with_warmup(optimizer, warmup, end)
    elif warmup:
        scheduler = get_constant_schedule_with_warmup(optimizer, warmup)
    out.write(f"run {name} {str(dtype).removeprefix('torch.')} {kind} {' '.join(map(repr, settings))}\n")
    for step in range(max(SHOWN) + 1):
        if step in SHOWN:
            out.write(f"theta {step} {' '.join(x.hex() for x in theta.tolist())}\n")
        theta.grad = gradient(step, dtype)
        if max_norm:
            torch.nn.utils.clip_grad_norm_([theta], max_norm)
        optimizer.step()
        scheduler.step()


def main():
    torch.set_num_threads(1)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizers.txt")
    with open(path, "w", encoding="ascii") as out:
        out.write(f"# tests/golden/optimizers.py, torch {torch.__version__}\n")
        for name, kind, options in RUNS:
            for dtype in (torch.float32, torch.float64):
                write_run(out, name, kind, options, dtype)


main()
