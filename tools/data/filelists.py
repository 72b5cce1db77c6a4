"""The file lists of cross-domain few-shot learning: written, and checked.

    ROOT/filelists/<domain>/{base,val,novel}.json    {"label_names": [...], "image_names": [...], "image_labels": [...]}

Class i of a domain is in base where i % 2 == 0, in val where i % 4 == 1, in novel where i % 4 == 3; labels keep i.
miniImagenet has folders for its splits instead, and labels begin at 0 in each.
"""

import collections
import json
import os
import pathlib
import sys

SPLITS = ("base", "val", "novel")

# Classes of base, val and novel, where a domain's name says which data it should be.
EXPECTED_CLASSES = {
    "cub": (100, 50, 50),
    "cars": (98, 49, 49),
    "places": (183, 91, 91),
    "plantae": (100, 50, 50),
    "miniImagenet": (64, 16, 20),
    "icons": (70, 35, 35),
    "logos": (55, 28, 27),
    "emoji": (45, 22, 22),
    "glyphs": (126, 63, 62),
    "textures": (60, 30, 30),
    "clipart": (28, 14, 14),
}
EXPECTED_IMAGES = {"miniImagenet": (64 * 600, 16 * 600, 20 * 600), "icons": (2800, 1400, 1400)}
# Five shots and fifteen queries.
MIN_IMAGES = 20
MAX_SIDE = 4096
MAX_REPORTED = 50


def split_of(i):
    return "base" if i % 2 == 0 else "val" if i % 4 == 1 else "novel"


def write_list(path, label_names, images, labels, relative):
    """One split; `relative` names images from the list's own folder, so that the whole tree can be moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.resolve()
    names = [os.path.relpath(image, folder) if relative else str(image) for image in images]
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"label_names": label_names, "image_names": names, "image_labels": labels}) + "\n")
    part.replace(path)


def write_domain(root, domain, classes, relative):
    """`classes`: (name, paths) in the order of their labels. Answers {split: (classes, images)}."""
    counts = {}
    for split in SPLITS:
        images, labels = [], []
        for i, (_, paths) in enumerate(classes):
            if split_of(i) == split:
                images += paths
                labels += [i] * len(paths)
        write_list(root / "filelists" / domain / f"{split}.json", [name for name, _ in classes], images, labels, relative)
        counts[split] = len(set(labels)), len(images)
    return counts


class Report:
    """What is wrong, each thing one sentence that names where."""

    def __init__(self):
        self.problems = 0

    def add(self, sentence):
        self.problems += 1
        if self.problems <= MAX_REPORTED:
            print(sentence, flush=True)
        elif self.problems == MAX_REPORTED + 1:
            print("... and more of the kind", flush=True)


def read_list(path, report):
    """(names, images, labels), or None after a sentence to the report."""
    try:
        data = json.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        return report.add(f"{path}: cannot be read: {error.strerror}")
    except ValueError as error:
        return report.add(f"{path}: is not JSON: {error}")
    for field, kind in (("label_names", str), ("image_names", str), ("image_labels", int)):
        if not isinstance(data, dict) or not isinstance(data.get(field), list):
            return report.add(f"{path}: has no list {field}")
        for i, entry in enumerate(data[field]):
            if not isinstance(entry, kind) or isinstance(entry, bool):
                return report.add(f"{path}: {field}[{i}] is {entry!r}, not {'a name' if kind is str else 'a whole number'}")
    names, images, labels = (data[field] for field in ("label_names", "image_names", "image_labels"))
    if len(images) != len(labels):
        return report.add(f"{path}: image_names has {len(images)} entries but image_labels {len(labels)}")
    if not images:
        return report.add(f"{path}: is an empty domain: image_names has no entry")
    for i, label in enumerate(labels):
        if label < 0 or (names and label >= len(names)):
            return report.add(f"{path}: image_labels[{i}] is {label}, outside 0 to {len(names) - 1}")
    return names, [path.parent / image for image in images], labels


def check_images(images, report):
    """Each is there and can be decoded, whole."""
    from PIL import Image

    for i, image in enumerate(images):
        if i and i % 5000 == 0:
            print(f"  {i} of {len(images)} images decoded", file=sys.stderr, flush=True)
        try:
            with Image.open(image) as picture:
                if picture.format not in ("JPEG", "PNG"):
                    report.add(f"{image}: is a {picture.format}; only JPEG and PNG are read")
                elif picture.mode.startswith("I"):
                    report.add(f"{image}: is a PNG of 16-bit grey; convert it to 8 bits")
                elif max(picture.size) > MAX_SIDE:
                    report.add(f"{image}: is {picture.width} x {picture.height} pixels; each side may be up to {MAX_SIDE}")
                else:
                    picture.load()
        except FileNotFoundError:
            report.add(f"{image}: is missing")
        except Exception as error:  # Pillow raises many kinds
            report.add(f"{image}: cannot be decoded: {error}")


def verify_domain(root, domain, report, decode=True, min_images=MIN_IMAGES):
    folder = root / "filelists" / domain
    read = {split: read_list(folder / f"{split}.json", report) for split in SPLITS}
    shown, seen = [], {}
    for i, split in enumerate(SPLITS):
        if read[split] is None:
            continue
        names, images, labels = read[split]
        per_class = collections.Counter(labels)
        shown.append(f"{split} {len(per_class)} classes, {len(images)} images")
        for what, expected, found in (
            ("classes", EXPECTED_CLASSES.get(domain), len(per_class)),
            ("images", EXPECTED_IMAGES.get(domain), len(images)),
        ):
            if expected and found != expected[i]:
                report.add(f"{domain} {split}: {expected[i]} {what} expected, {found} found")
        for label, count in sorted(per_class.items()):
            name = names[label] if names else label
            if count < min_images:
                report.add(f"{domain} {split}: class {label} ({name}) has {count} images, at least {min_images} are needed")
            if domain != "miniImagenet" and split_of(label) != split:
                report.add(f"{domain} {split}: class {label} ({name}) belongs to {split_of(label)}")
        for image in images:
            other = seen.setdefault(os.path.normpath(image), split)
            if other != split:
                report.add(f"{image}: is in {other} and in {split} of {domain}")
        if decode:
            check_images(images, report)
    print(f"{domain}: " + "; ".join(shown), flush=True)


def verify(root, domains=None, decode=True, min_images=MIN_IMAGES):
    """Checks the domains of ROOT/filelists (all that are there, unless named); answers whether all is well."""
    root, report = pathlib.Path(root), Report()
    lists = root / "filelists"
    if not domains:
        domains = sorted(f.name for f in lists.iterdir() if f.is_dir()) if lists.is_dir() else []
        if not domains:
            report.add(f"{lists}: has no domain; make some with lft_domains.py or write_filelists.py")
    for domain in domains:
        if not (lists / domain).is_dir():
            report.add(f"{domain}: there is no folder {lists / domain}")
        else:
            verify_domain(root, domain, report, decode, min_images)
    if not report.problems:
        print("all is well")
    else:
        print(f"{report.problems} problems")
    return not report.problems
