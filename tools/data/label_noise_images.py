"""Real image sets for Meta-Weight-Net and rotation jobs, made from packages, in the formats that MNIST and CIFAR-10 have.

  label_noise_images.py OUT SET...            builds OUT/SET for each set named
  label_noise_images.py OUT SET... --verify   checks what is there and writes nothing

  cifar-shaped   60,000 photographs of clothes as CIFAR-10 binary, 32 x 32, three equal channels: Debian's package
                 dataset-fashion-mnist (Expat licence), which must be installed. Grey pictures in CIFAR-10's format, not
                 CIFAR-10: 50,000 for training, 10,000 for tests.
  animal-mnist   silhouettes of ten animals as idx.gz, 28 x 28: 7,716 + 2,000. PyPI animal-mnist 0.4 (MIT licence), fetched
                 with pip. The package's 284 exact repeats are left out.
  digits         handwritten digits as idx.gz, 28 x 28: 4,000 + 1,000. digits.png of Debian's package opencv-doc
                 (Apache-2.0), fetched with apt-get.

Fashion-MNIST itself needs no recipe: /usr/share/datasets/fashion-mnist of the Debian package is a folder that jobs take.
All labels are clean: jobs add their noise themselves. Needs numpy and, for digits, pillow:

  PYTHONPATH=$(third_party/wheels/install.sh third_party/peers/requirements.lock 1500) \\
    /usr/bin/python3 tools/data/label_noise_images.py /tmp/images digits

A set is the same bytes each time (before compression); --verify compares every file's SHA-256 with the one written here.
"""

import argparse
import gzip
import hashlib
import io
import pathlib
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
OPENCV_DOC = "4.6.0+dfsg-12"
ANIMAL_MNIST = "0.4"
NAMES = "tshirt trouser pullover dress coat sandal shirt sneaker bag boot"

# SHA-256 of each file, uncompressed.
EXPECTED = {
    "cifar-shaped": {
        "data_batch_1.bin": "27c6007b66680c1d4bbd87cf9fd98a5809875e6a43b15cfe0e2306f65387d606",
        "data_batch_2.bin": "56fb79bd893f69bca465ecefa2a41bfd91042960d147556a9e62ad2494c89a82",
        "data_batch_3.bin": "9b82701bc6663b052ed7fe1c16464dd565ec9e413b286d15c4ff27638dcca0cb",
        "data_batch_4.bin": "7d3133d9acc43c96aadcf531bd763b5edfe475270bfae5b7eb59402108c70d9d",
        "data_batch_5.bin": "90192aa90b0f0d3ebea62e96300d6f6481b19d6f675824b184a13b1ab80900eb",
        "test_batch.bin": "904b015df11c0b2b3eef9f9ab1468c42d3f40854e99ec08ef3e0ac3e012f54d6",
        "batches.meta.txt": "a8dde7f252e633cf2759c41e643952fd2f36303616f83f596b0fc4928fd9898f",
    },
    "animal-mnist": {
        "train-images-idx3-ubyte.gz": "dbbd8017accd93815b3858e2984057b7d5fa6207fe7ad81e168b53755b8fd341",
        "train-labels-idx1-ubyte.gz": "6da4d3693113fbeee39e8ee04d1019caf65e8e23afb16a26649414051c9207c6",
        "t10k-images-idx3-ubyte.gz": "20c35b8059f42ffb089185c57e0a2374abddb4f5a7a74d46d947644ce2edd8e7",
        "t10k-labels-idx1-ubyte.gz": "f7cb602d304fe2308c49c9ded9dd84139f1ee0badfbaf29caaa73a0d66f42fcc",
    },
    "digits": {
        "train-images-idx3-ubyte.gz": "e4eb37a480621995747b5240fc5d12867c9144fa47d5e86ed79d4ca929e857d8",
        "train-labels-idx1-ubyte.gz": "f550265f21248738f1e2de636a35aa0152f1886087db91b9b8c831664d576d0b",
        "t10k-images-idx3-ubyte.gz": "7401b775c2d84dcda09d86a70bd0e57052cdc2a1a17f1d01d4de6733e911c924",
        "t10k-labels-idx1-ubyte.gz": "fdc17f15dab26e1fa2ec8f6f6ffcea1331077aa900cd61b336d2dc2fc346c0b7",
    },
}


class Problem(Exception):
    """Something a person can mend; its text says what and how."""


def read_file(path):
    if not path.exists():
        raise Problem(f"{path}: is missing")
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, ValueError) as e:
        raise Problem(f"{path}: cannot be read: {e}") from e


def read_idx(folder, prefix):
    """Images [n, rows, columns] and labels [n] of an idx pair, each checked against its header."""
    path = folder / f"{prefix}-images-idx3-ubyte.gz"
    data = read_file(path)
    magic, count, rows, columns = struct.unpack(">IIII", data[:16])
    if magic != 2051 or len(data) != 16 + count * rows * columns:
        raise Problem(f"{path}: the header ({magic}, {count} x {rows} x {columns}) does not fit its {len(data)} bytes")
    images = np.frombuffer(data, np.uint8, offset=16).reshape(count, rows, columns)
    path = folder / f"{prefix}-labels-idx1-ubyte.gz"
    data = read_file(path)
    magic, labels = struct.unpack(">II", data[:8])
    if magic != 2049 or len(data) != 8 + labels:
        raise Problem(f"{path}: the header ({magic}, {labels}) does not fit its {len(data)} bytes")
    if labels != count:
        raise Problem(f"{path}: {labels} labels for {count} images")
    return images, np.frombuffer(data, np.uint8, offset=8)


def idx_files(train, test):
    files = {}
    for prefix, (images, labels) in {"train": train, "t10k": test}.items():
        head = struct.pack(">IIII", 2051, *images.shape)
        files[f"{prefix}-images-idx3-ubyte.gz"] = head + np.ascontiguousarray(images, np.uint8).tobytes()
        files[f"{prefix}-labels-idx1-ubyte.gz"] = struct.pack(">II", 2049, len(labels)) + labels.astype(np.uint8).tobytes()
    return files


def fetch(command, pattern):
    """The one file of this name that the command leaves in a folder, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        found = list(pathlib.Path(folder).glob(pattern))
        if done.returncode != 0 or len(found) != 1:
            raise Problem(f"`{' '.join(command)}` did not bring a file {pattern}:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
        return found[0].read_bytes()


class ArraysOnly(pickle.Unpickler):
    """The wheel holds pickled arrays: nothing but what an array is made of may be named in them."""

    def find_class(self, module, name):
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            import numpy._core.multiarray

            return numpy._core.multiarray._reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise Problem(f"animal-mnist {ANIMAL_MNIST}: its pickle names {module}.{name}, which no array needs")


def cifar_shaped():
    if not FASHION.is_dir():
        raise Problem(f"{FASHION} is missing; apt-get install dataset-fashion-mnist")

    def records(images, labels):
        colour = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None].repeat(3, 1).reshape(len(images), -1)
        return np.concatenate([labels[:, None], colour], 1).astype(np.uint8).tobytes()

    images, labels = read_idx(FASHION, "train")
    order = np.random.RandomState(0).permutation(len(images))[:50000]
    files = {f"data_batch_{i + 1}.bin": records(images[part], labels[part]) for i, part in enumerate(np.split(order, 5))}
    files["test_batch.bin"] = records(*read_idx(FASHION, "t10k"))
    files["batches.meta.txt"] = "".join(name + "\n" for name in NAMES.split()).encode()
    return files


def animal_mnist():
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"animal-mnist=={ANIMAL_MNIST}"]
    with zipfile.ZipFile(io.BytesIO(fetch(pip, "*.whl"))) as wheel:

        def array(kind):
            name = f"animal_mnist/data/Animal_MNIST/animal_{kind}_version_3.gz"
            return ArraysOnly(io.BytesIO(gzip.decompress(wheel.read(name)))).load()

        images, labels = array("data"), array("label")
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    order = np.random.RandomState(0).permutation(np.sort(first))
    return idx_files((images[order[2000:]], labels[order[2000:]]), (images[order[:2000]], labels[order[:2000]]))


def digits():
    from PIL import Image

    package = fetch(["apt-get", "download", f"opencv-doc={OPENCV_DOC}"], "*.deb")
    tree = subprocess.run(["dpkg-deb", "--fsys-tarfile", "/dev/stdin"], input=package, capture_output=True, check=True).stdout
    inside = "./usr/share/doc/opencv-doc/examples/data/digits.png"
    picture = subprocess.run(["tar", "-xO", inside], input=tree, capture_output=True, check=True).stdout
    # 50 rows of 100 digits of 20 x 20 pixels, five rows for each digit.
    grid = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    images = grid.reshape(50, 20, 100, 20).swapaxes(1, 2).reshape(5000, 20, 20)
    images, labels = np.pad(images, ((0, 0), (4, 4), (4, 4))), np.repeat(np.arange(10), 500)
    order = np.random.RandomState(0).permutation(5000)
    return idx_files((images[order[1000:]], labels[order[1000:]]), (images[order[:1000]], labels[order[:1000]]))


SETS = {"cifar-shaped": cifar_shaped, "animal-mnist": animal_mnist, "digits": digits}


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(gzip.compress(data, 9, mtime=0) if name.endswith(".gz") else data)


def verify(folder, expected):
    for name, digest in expected.items():
        data = read_file(folder / name)
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise Problem(f"{folder / name}: its {len(data)} bytes have SHA-256 {found}, not {digest}; build the set again")
        print(f"{folder / name}: {len(data)} bytes, good")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("sets", nargs="+", choices=sorted(SETS), metavar="SET")
    parser.add_argument("--verify", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.sets:
        if not arguments.verify:
            write(arguments.out / name, SETS[name]())
        verify(arguments.out / name, EXPECTED[name])


if __name__ == "__main__":
    try:
        main()
    except Problem as e:
        sys.exit(f"label_noise_images: {e}")
