"""Writes label_noise.txt: where NumPy's random numbers of seed 1 (the published one) and of seed 5 send a class's flipped labels.

A line per kind, number of classes and seed: for each class in turn its one other class, or its two.

PYTHONPATH=$(third_party/wheels/install.sh) /usr/bin/python3 tests/golden/label_noise.py > tests/golden/label_noise.txt
"""
import numpy as np

for classes in (3, 10, 100):
    for seed in (1, 5):
        for targets in (1, 2):
            random = np.random.RandomState(seed)
            chosen = []
            for label in range(classes):
                others = np.delete(np.arange(classes), label)
                if targets == 1:
                    chosen.append(random.choice(others))
                else:
                    chosen.extend(random.choice(others, 2, replace=False))
            print(f"flip{targets}.{classes}.{seed}", *chosen)
