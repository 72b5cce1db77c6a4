"""MNIST's idx files, plain or gzip."""

import gzip
import pathlib

import numpy as np
import torch


def read_idx(path):
    path = pathlib.Path(path)
    opener = open if path.exists() else gzip.open
    with opener(path if path.exists() else path.with_name(path.name + ".gz"), "rb") as f:
        data = f.read()
    dimensions = data[3]
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(dimensions)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read_split(folder, name):
    """(images [N, 1, 28, 28] uint8, labels [N] int64); name is "train" or "t10k"."""
    folder = pathlib.Path(folder)
    images = torch.from_numpy(read_idx(folder / f"{name}-images-idx3-ubyte").copy())[:, None]
    labels = torch.from_numpy(read_idx(folder / f"{name}-labels-idx1-ubyte").astype(np.int64))
    return images, labels
