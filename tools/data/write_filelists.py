"""Makes the file lists of cross-domain few-shot learning from image folders of your own.

    write_filelists.py OUT cub=/data/CUB_200_2011/images cars=/data/cars miniImagenet=/data/miniImagenet
    write_filelists.py --verify OUT             checks lists, counts, and that every image decodes

writes OUT/filelists/<domain>/{base,val,novel}.json. The domain's name says what its folder looks like:

    cub           200 folders of classes, sorted                    CUB_200_2011/images
    cars          cars_train/*.jpg and devkit/cars_train_annos.mat  196 classes of the training pictures
    places        365 folders; the first 200 files of each          places365_standard/train
    plantae       the 200 folders with most pictures, up to 600 of each
    miniImagenet  train, val, test with 64, 16, 20 folders of 600
    any other     one folder for each class, sorted
"""

import argparse
import pathlib
import struct
import sys
import zlib

import filelists

IMAGES = {".jpg", ".jpeg", ".png"}
CLASS_FOLDERS = {"cub": 200, "places": 365}
PER_CLASS = {"places": 200, "plantae": 600}
PLANTAE_CLASSES = 200
MINI_IMAGENET = {"base": ("train", 64), "val": ("val", 16), "novel": ("test", 20)}
MINI_IMAGENET_IMAGES = 600
CARS_CLASSES = 196


def class_folders(folder, expected=None):
    if not folder.is_dir():
        raise SystemExit(f"{folder}: there is no such folder")
    found = sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    if expected is not None and len(found) != expected:
        raise SystemExit(f"{folder}: {expected} folders expected, {len(found)} found (--any-counts takes them as they are)")
    if not found:
        raise SystemExit(f"{folder}: has no folders; each class is one")
    return found


def images_of(folder, most=None):
    found = sorted(f.absolute() for f in folder.iterdir() if f.suffix.lower() in IMAGES and not f.name.startswith("."))
    if not found:
        raise SystemExit(f"{folder}: has no images (.jpg, .jpeg, .png)")
    return found[:most]


def by_folders(name, folder, any_counts):
    folders = class_folders(folder, None if any_counts else CLASS_FOLDERS.get(name))
    return [(f.name, images_of(f, PER_CLASS.get(name))) for f in folders]


def plantae(name, folder, any_counts):
    classes = [(f.name, images_of(f)) for f in class_folders(folder)]
    if len(classes) < PLANTAE_CLASSES and not any_counts:
        raise SystemExit(f"{folder}: at least {PLANTAE_CLASSES} folders expected, {len(classes)} found")
    largest = sorted(classes, key=lambda c: (-len(c[1]), c[0]))[:PLANTAE_CLASSES]
    return [(label, images[: PER_CLASS[name]]) for label, images in sorted(largest)]


class MatFile:
    """As much of MATLAB's level 5 format as an array of structs with numbers and texts needs."""

    INTEGERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
    MATRIX, COMPRESSED, UTF8 = 14, 15, 16  # types of elements
    STRUCT, CHAR = 2, 4  # classes of matrices

    def __init__(self, path):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SystemExit(f"{path}: cannot be read: {error.strerror}") from None
        if len(data) < 128 or data[126:128] != b"IM":
            raise SystemExit(f"{path}: is not a little-endian MATLAB file of level 5")
        self.variables = {}
        try:
            for kind, body in self.elements(data[128:]):
                if kind == self.COMPRESSED:
                    ((kind, body),) = self.elements(zlib.decompress(body))
                if kind == self.MATRIX:
                    name, value = self.matrix(body)
                    self.variables[name] = value
        except (struct.error, zlib.error, ValueError, KeyError, IndexError) as error:
            raise SystemExit(f"{path}: is damaged ({error}); get the file again") from None

    @staticmethod
    def elements(data):
        at, found = 0, []
        while at + 8 <= len(data):
            kind, size = struct.unpack_from("<II", data, at)
            if kind >> 16:  # small: its bytes stand in the tag
                kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            else:
                start = at + 8
                after = start + size + (-size % 8 if kind != MatFile.COMPRESSED else 0)
            if start + size > len(data):
                raise ValueError("it ends within an element")
            found.append((kind, data[start : start + size]))
            at = after
        return found

    def numbers(self, element):
        kind, body = element
        code = self.INTEGERS[{17: 4}.get(kind, kind)]
        return list(struct.unpack(f"<{len(body) // struct.calcsize(code)}{code}", body))

    def matrix(self, body):
        parts = self.elements(body)
        if not parts:
            return "", []
        kind = parts[0][1][0]
        name = parts[2][1].decode("ascii")
        if kind == self.STRUCT:
            length = self.numbers(parts[3])[0]
            text = parts[4][1]
            fields = [text[i : i + length].split(b"\0")[0].decode("ascii") for i in range(0, len(text), length)]
            values = [self.matrix(part[1])[1] for part in parts[5:]]
            return name, [dict(zip(fields, values[i : i + len(fields)])) for i in range(0, len(values), len(fields))]
        if kind == self.CHAR and parts[3][0] == self.UTF8:
            return name, parts[3][1].decode("utf8")
        values = self.numbers(parts[3])
        return name, "".join(map(chr, values)) if kind == self.CHAR else values


def cars(name, folder, any_counts):
    path = folder / "devkit" / "cars_train_annos.mat"
    classes = {}
    for i, entry in enumerate(MatFile(path).variables.get("annotations", [])):
        try:
            label, image = int(entry["class"][0]), folder / "cars_train" / entry["fname"]
        except (KeyError, IndexError, TypeError):
            raise SystemExit(f"{path}: annotations({i + 1}) has no class or no fname") from None
        classes.setdefault(label - 1, []).append(image.absolute())
    if not any_counts and sorted(classes) != list(range(CARS_CLASSES)):
        raise SystemExit(f"{path}: {CARS_CLASSES} classes expected, {len(classes)} found (--any-counts takes them as they are)")
    if not classes:
        raise SystemExit(f"{path}: has no annotations")
    return [(str(label), sorted(classes.get(label, []))) for label in range(max(classes) + 1)]


def mini_imagenet(root, name, folder, any_counts, relative):
    counts = {}
    for split, (part, expected) in MINI_IMAGENET.items():
        folders = class_folders(folder / part, None if any_counts else expected)
        images, labels = [], []
        for label, one in enumerate(folders):
            found = images_of(one)
            if len(found) != MINI_IMAGENET_IMAGES and not any_counts:
                raise SystemExit(f"{one}: {MINI_IMAGENET_IMAGES} images expected, {len(found)} found")
            images += found
            labels += [label] * len(found)
        path = root / "filelists" / name / f"{split}.json"
        filelists.write_list(path, [f.name for f in folders], images, labels, relative)
        counts[split] = len(folders), len(images)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("domains", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--any-counts", action="store_true", help="take fewer or more classes and images than the data sets have")
    parser.add_argument("--relative", action="store_true", help="name images from the list's folder, not from the root")
    parser.add_argument("--verify", action="store_true", help="check what is in OUT (the domains named, else all)")
    parser.add_argument("--quick", action="store_true", help="with --verify: do not open the images")
    parser.add_argument("--min-images", type=int, default=filelists.MIN_IMAGES, help="with --verify: of each class [%(default)s]")
    arguments = parser.parse_intermixed_args()
    if arguments.verify:
        names = [text.partition("=")[0] for text in arguments.domains]
        sys.exit(not filelists.verify(arguments.out, names, not arguments.quick, arguments.min_images))
    if not arguments.domains:
        parser.error("no domains: give some as NAME=FOLDER")
    for text in arguments.domains:
        name, separator, folder = text.partition("=")
        if not name or not separator or not folder or "/" in name:
            parser.error(f"{text}: a domain is given as NAME=FOLDER")
        folder = pathlib.Path(folder)
        if name == "miniImagenet":
            counts = mini_imagenet(arguments.out, name, folder, arguments.any_counts, arguments.relative)
        else:
            read = {"cars": cars, "plantae": plantae}.get(name, by_folders)
            classes = read(name, folder, arguments.any_counts)
            counts = filelists.write_domain(arguments.out, name, classes, arguments.relative)
        print(f"{name}: " + "; ".join(f"{split} {c} classes, {n} images" for split, (c, n) in counts.items()), flush=True)


if __name__ == "__main__":
    main()
