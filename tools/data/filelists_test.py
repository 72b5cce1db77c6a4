"""Goal: file lists are made by the rule from people's own folders, and --verify says what is wrong with a tree.

Method: trees of tiny pictures made here; each bad one differs in one thing from a good one. The MATLAB file of cars was
written by scipy.io.savemat with the fields and types of the original and has 6 annotations.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SCRIPT, SITE, PEERS = sys.argv[1:4]
sys.path[:0] = [SITE, PEERS]

from PIL import Image

CARS = """TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IFR1ZSBOb3YgMjQgMjM6NTU6MDEgMjAyNgAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSU0PAAAAvAAAAHic42NgYNjBwcDABqSBFAMTAwSwQvmMDBA5EM0NxIl5efkliSWZ+XnF
UHUscHUGQJyUlF8RX2EIoSuhdIURlG/EkJyTWAzSmZaXmJsKpPmg+mD2c2KxH4YZwO5jZFDHoo+bgD4WoE4dRvL0KbKRp8+ahTz/MUP954CkjwWLPk4kfQ
JQvgEQGOplFaRDxUfDF9N/jBSGr9Fo+OL1HxOF4Ws8Gr40Tb8mo+FL0/RrOhq+NK3fzJDCFwC4uTeD"""


def run(*arguments):
    """(exit status, what was printed)"""
    environment = dict(os.environ, PYTHONPATH=f"{SITE}:{PEERS}", PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    return done.returncode, done.stdout


def expect(result, status, *parts):
    if result[0] != status or not all(part in result[1] for part in parts):
        sys.exit(f"exit {status} with {parts} expected, but it was {result[0]} with\n{result[1]}")


def make_classes(folder, classes, images, suffix="png"):
    for c in range(classes):
        one = folder / f"{c:03d}.name"
        one.mkdir(parents=True)
        for i in range(images):
            Image.new("RGB", (4, 4), (c, i, 7)).save(one / f"{i:03d}.{suffix}")


def read(root, domain, split):
    return json.loads((root / "filelists" / domain / f"{split}.json").read_text())


def check_rule(folder):
    make_classes(folder / "birds", 6, 3)
    (folder / "birds" / "000.name" / "notes.txt").write_text("no image")
    expect(run(folder / "out", f"birds={folder / 'birds'}"), 0, "birds: base 3 classes, 9 images; val 2 classes", "novel 1 ")
    base = read(folder / "out", "birds", "base")
    assert base["image_labels"] == [0] * 3 + [2] * 3 + [4] * 3, base
    assert base["label_names"] == [f"{c:03d}.name" for c in range(6)], base
    assert base["image_names"][3] == str(folder / "birds/002.name/000.png"), base
    assert read(folder / "out", "birds", "val")["image_labels"] == [1] * 3 + [5] * 3
    assert read(folder / "out", "birds", "novel")["image_labels"] == [3] * 3
    expect(run(folder / "moved", f"birds={folder / 'birds'}", "--relative"), 0)
    name = read(folder / "moved", "birds", "base")["image_names"][3]
    assert (folder / "moved/filelists/birds" / name).samefile(folder / "birds/002.name/000.png"), name


def check_counts(folder):
    cub = f"cub={folder / 'birds'}"
    expect(run(folder / "out", cub), 1, "birds: 200 folders expected, 6 found")
    expect(run(folder / "out", cub, "--any-counts"), 0, "cub: base 3 classes")
    expect(run(folder / "out", "--verify", "cub", "--min-images", 3), 1, "cub base: 100 classes expected, 3 found")
    make_classes(folder / "places", 2, 203)
    expect(run(folder / "out", f"places={folder / 'places'}", "--any-counts"), 0, "places: base 1 classes, 200 images")
    expect(run(folder / "out", f"x={folder / 'none'}"), 1, "none: there is no such folder")
    (folder / "empty" / "one").mkdir(parents=True)
    expect(run(folder / "out", f"x={folder / 'empty'}"), 1, "one: has no images")


def check_mini_imagenet(folder):
    for part, classes in (("train", 3), ("val", 2), ("test", 1)):
        make_classes(folder / "mini" / part, classes, 2, "jpg")
    mini = f"miniImagenet={folder / 'mini'}"
    expect(run(folder / "out", mini), 1, "mini/train: 64 folders expected, 3 found")
    expect(run(folder / "out", mini, "--any-counts"), 0, "base 3 classes, 6 images; val 2 classes, 4 images; novel 1 ")
    assert read(folder / "out", "miniImagenet", "val")["image_labels"] == [0, 0, 1, 1]


def check_cars(folder):
    (folder / "cars/devkit").mkdir(parents=True)
    annotations = folder / "cars/devkit/cars_train_annos.mat"
    annotations.write_bytes(base64.b64decode(CARS))
    cars = f"cars={folder / 'cars'}"
    expect(run(folder / "out", cars), 1, "196 classes expected, 3 found")
    expect(run(folder / "out", cars, "--any-counts"), 0, "cars: base 2 classes, 4 images; val 1 classes, 2 images")
    names = read(folder / "out", "cars", "base")
    assert names["image_labels"] == [0, 0, 2, 2], names
    assert names["image_names"][1] == str(folder / "cars/cars_train/00004.jpg"), names
    annotations.write_bytes(base64.b64decode(CARS)[:200])
    expect(run(folder / "out", cars), 1, "cars_train_annos.mat: is damaged")


def check_verify(folder):
    root = folder / "tree"
    make_classes(root / "images", 6, 20)
    expect(run(root, f"birds={root / 'images'}"), 0)
    expect(run(root, "--verify"), 0, "birds: base 3 classes, 60 images; val 2 classes, 40 images", "all is well")
    expect(run(root, "--verify", "--min-images", 21), 1, "birds base: class 0 (000.name) has 20 images, at least 21")
    expect(run(root, "--verify", "fish"), 1, "fish: there is no folder")
    expect(run(folder / "nothing", "--verify"), 1, "has no domain; make some")

    image = root / "images/002.name/003.png"
    good = image.read_bytes()
    image.write_bytes(good[:50])
    expect(run(root, "--verify"), 1, f"{image}: cannot be decoded", "1 problems")
    expect(run(root, "--verify", "--quick"), 0, "all is well")
    Image.new("RGB", (4, 4)).save(image, format="GIF")
    expect(run(root, "--verify"), 1, f"{image}: is a GIF; only JPEG and PNG")
    image.unlink()
    expect(run(root, "--verify"), 1, f"{image}: is missing", "1 problems")
    image.write_bytes(good)
    expect(run(root, "--verify"), 0, "all is well")

    path = root / "filelists/birds/val.json"
    text = path.read_text()
    for change, part in (
        (lambda d: d["image_labels"].pop(), f"{path}: image_names has 40 entries but image_labels 39"),
        (lambda d: d["image_labels"].__setitem__(3, -1), f"{path}: image_labels[3] is -1, outside 0 to 5"),
        (lambda d: d["image_labels"].__setitem__(3, "1"), f"{path}: image_labels[3] is '1', not a whole number"),
        (lambda d: d["image_names"].__setitem__(3, 1), f"{path}: image_names[3] is 1, not a name"),
        (lambda d: d.pop("label_names"), f"{path}: has no list label_names"),
        (lambda d: d.update(image_names=[], image_labels=[]), f"{path}: is an empty domain"),
        (lambda d: d["image_labels"].__setitem__(3, 2), "birds val: class 2 (002.name) belongs to base"),
        (lambda d: d["image_names"].__setitem__(3, str(root / "images/000.name/000.png")), "is in base and in val of birds"),
    ):
        data = json.loads(text)
        change(data)
        path.write_text(json.dumps(data))
        expect(run(root, "--verify", "--quick"), 1, part)
    path.write_text(text[:40])
    expect(run(root, "--verify"), 1, f"{path}: is not JSON")
    path.unlink()
    expect(run(root, "--verify"), 1, f"{path}: cannot be read: No such file")
    path.write_text(text)
    expect(run(root, "--verify"), 0, "all is well")
    shutil.rmtree(root)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name).resolve()
        for check in (check_rule, check_counts, check_mini_imagenet, check_cars, check_verify):
            check(folder)
            print(f"{check.__name__}: well")


main()
