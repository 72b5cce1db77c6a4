"""Pictures from files: MNIST's idx (plain or gzip) and CIFAR's binary batches; label noise; crops and flips."""

import gzip
import pathlib

import numpy as np
import torch
from torch.nn import functional as F

# The published asymmetric pairs of CIFAR-10: truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog.
CIFAR10_PAIRS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def read_idx(path):
    path = pathlib.Path(path)
    opener = open if path.exists() else gzip.open
    with opener(path if path.exists() else path.with_name(path.name + ".gz"), "rb") as f:
        data = f.read()
    dimensions = data[3]
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(dimensions)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read_cifar(path, label_bytes):
    """(images [N, 3, 32, 32] uint8, labels [N, label_bytes])."""
    data = np.frombuffer(pathlib.Path(path).read_bytes(), np.uint8)
    record = label_bytes + 3072
    if len(data) % record:
        raise ValueError(f"{path}: {len(data)} bytes are not a multiple of a record's {record}")
    data = data.reshape(-1, record)
    return torch.from_numpy(data[:, label_bytes:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(data[:, :label_bytes].astype(np.int64))


def read_split(folder, name):
    """(images [N, C, H, W] uint8, labels [N] int64); name is "train" or "t10k" (of CIFAR: its test file)."""
    images, labels, _ = read_classes(folder, name)
    return images, labels


def read_classes(folder, name):
    """The same, and the coarse labels of CIFAR-100 (else None)."""
    folder = pathlib.Path(folder)
    if (folder / "data_batch_1.bin").exists():
        files = [f"data_batch_{i}.bin" for i in range(1, 6)] if name == "train" else ["test_batch.bin"]
        parts = [read_cifar(folder / file, 1) for file in files]
        return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])[:, 0], None
    if (folder / "train.bin").exists():
        images, labels = read_cifar(folder / ("train.bin" if name == "train" else "test.bin"), 2)
        return images, labels[:, 1], labels[:, 0]
    images = torch.from_numpy(read_idx(folder / f"{name}-images-idx3-ubyte").copy())[:, None]
    labels = torch.from_numpy(read_idx(folder / f"{name}-labels-idx1-ubyte").astype(np.int64))
    return images, labels, None


def noise_matrix(kind, rate, classes, generator, coarse=None):
    """[classes, classes]: row y is the distribution of the label that an example of class y is given."""
    matrix = torch.eye(classes) * (1 - rate)
    if kind == "uniform":
        return matrix + rate / classes
    if kind == "flip" or kind == "flip2":
        for row in range(classes):
            others = torch.randperm(classes - 1, generator=generator)[:1 if kind == "flip" else 2]
            for other in others.tolist():
                matrix[row, other + (other >= row)] += rate / len(others)
        return matrix
    if kind == "asymmetric" and classes == 10:
        for row in range(classes):
            matrix[row, CIFAR10_PAIRS.get(row, row)] += rate
        return matrix
    if coarse is None:
        raise ValueError(f"{kind} noise needs the coarse classes of CIFAR-100")
    for row in range(classes):
        same = [c for c in range(classes) if coarse[c] == coarse[row]]
        if kind == "hierarchical":
            for other in same:
                matrix[row, other] += rate / (len(same) - 1) if other != row else 0
        else:  # asymmetric: the next class of the coarse class, around
            matrix[row, same[(same.index(row) + 1) % len(same)]] += rate
    return matrix


def corrupt(labels, matrix, generator):
    return torch.multinomial(matrix[labels], 1, generator=generator)[:, 0]


def crop_and_flip(images, padding=4):
    """Random crops of reflect-padded float images [N, C, H, W], each turned left-right with probability 1/2."""
    n, _, height, width = images.shape
    padded = F.pad(images, [padding] * 4, mode="reflect")
    top, left = torch.randint(2 * padding + 1, (2, n, 1))
    rows = (top + torch.arange(height))[:, None, :, None]
    columns = left + torch.arange(width)
    columns = torch.where(torch.rand(n, 1) < 0.5, columns, columns.flip(1))[:, None, None, :]
    return padded[torch.arange(n)[:, None, None, None], torch.arange(images.shape[1])[None, :, None, None], rows, columns]


class Cycle:
    """Batches of indices: every pass over the data is a new permutation."""

    def __init__(self, count, batch, generator):
        self.count, self.batch, self.generator, self.left = count, min(batch, count), generator, []

    def next(self):
        if len(self.left) < self.batch:
            self.left = torch.randperm(self.count, generator=self.generator)
        picked, self.left = self.left[:self.batch], self.left[self.batch:]
        return picked
