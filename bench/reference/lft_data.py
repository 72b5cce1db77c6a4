"""Pictures of cross-domain few-shot learning: file lists, torchvision's transforms, episodes."""

import functools
import json
import pathlib

import torch
from PIL import Image, ImageEnhance
from torchvision import transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JITTER = 0.4


@functools.lru_cache(maxsize=16384)
def decoded(path):
    with Image.open(path) as image:
        return image.convert("RGB")


class Jitter:
    """Brightness, contrast, colour in that order, each by a factor 1 + 0.4 (2 u - 1)."""

    def __call__(self, image):
        factors = 1 + JITTER * (2 * torch.rand(3) - 1)
        for enhance, factor in zip((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors.tolist()):
            image = enhance(image).enhance(factor)
        return image


def transform(extent, augment):
    after = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    if augment:
        return transforms.Compose([transforms.RandomResizedCrop(extent), Jitter(), transforms.RandomHorizontalFlip()] + after)
    larger = int(extent * 1.15)
    return transforms.Compose([transforms.Resize((larger, larger)), transforms.CenterCrop(extent)] + after)


class Domain:
    """One file list: images by class."""

    def __init__(self, lists, name, split):
        path = pathlib.Path(lists) / name / f"{split}.json"
        listed = json.loads(path.read_text())
        classes = {}
        for image, label in zip(listed["image_names"], listed["image_labels"]):
            classes.setdefault(label, []).append(image)
        if not classes:
            raise ValueError(f"{path}: no images")
        self.name, self.path, self.classes = name, path, [classes[label] for label in sorted(classes)]

    def episode(self, ways, count, generator):
        """`count` different images of each of `ways` classes, as paths."""
        out = []
        for c in torch.randperm(len(self.classes), generator=generator)[:ways].tolist():
            images = self.classes[c]
            if len(images) < count:
                raise ValueError(f"{self.path}: class {c} has {len(images)} images and an episode needs {count}")
            out.append([images[i] for i in torch.randperm(len(images), generator=generator)[:count].tolist()])
        if len(out) < ways:
            raise ValueError(f"{self.path}: {len(out)} classes and an episode needs {ways}")
        return out

    def examples(self, count, generator):
        """`count` images drawn from all of them, and the numbers of their classes."""
        flat = [(image, c) for c, images in enumerate(self.classes) for image in images]
        picked = [flat[i] for i in torch.randint(len(flat), (count,), generator=generator).tolist()]
        return [image for image, _ in picked], torch.tensor([c for _, c in picked])


def load(paths, change):
    """[n, 3, S, S]."""
    return torch.stack([change(decoded(path)) for path in paths])


def load_episode(paths, change):
    """[ways, n, 3, S, S]."""
    return torch.stack([load(images, change) for images in paths])
