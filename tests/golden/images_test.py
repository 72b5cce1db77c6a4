"""Goal: pictures are read and transformed as Pillow and torchvision do it, to the bit.

Method: Pillow writes pictures of every kind that it can (here and now, from a fixed seed); the C++ code reads, crops,
resizes, jitters and normalises them, and torchvision does the same from the same boxes and factors. The boxes and
factors that the C++ code draws are compared with torchvision's own in distribution. Last, a difference of one in one
pixel must be noticed.

Pillow up to 12 resizes the width first and then the height, rounding between; Pillow 13 sometimes begins with the
height. The C++ code keeps the old order, so it is compared to the bit with two calls, one a side, and within one of 255
with torchvision's single call.
"""

import os
import subprocess
import sys
import tempfile

BINARY, SITE, PEERS = sys.argv[1:4]
sys.path[:0] = [SITE, PEERS]

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torchvision import transforms
from torchvision.transforms import functional as F

torch.set_num_threads(1)
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def ask(*lines):
    """What the C++ program answers to the commands: bytes with a height and a width, or an error's text."""
    run = subprocess.run([BINARY], input="\n".join(lines).encode(), stdout=subprocess.PIPE, check=True)
    out, answers = run.stdout, []
    for _ in lines:
        line, _, out = out.partition(b"\n")
        if line.startswith(b"error "):
            answers.append(line.decode()[6:])
            continue
        size, height, width = map(int, line.split())
        answers.append((out[:size], height, width))
        out = out[size:]
    if out:
        raise AssertionError(f"{len(out)} bytes more than were asked for")
    return answers


def pixels(answer):
    if isinstance(answer, str):
        raise AssertionError("unexpected error: " + answer)
    data, height, width = answer
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def floats(answer):
    if isinstance(answer, str):
        raise AssertionError("unexpected error: " + answer)
    data, height, width = answer
    return np.frombuffer(data, np.float32).reshape(3, height, width)


def same(got, expected, what):
    if got.shape != expected.shape:
        raise AssertionError(f"{what}: {got.shape} where {expected.shape} is expected")
    if not np.array_equal(got, expected):
        worst = np.abs(got.astype(float) - expected.astype(float)).max()
        share = np.mean(got != expected)
        raise AssertionError(f"{what}: {share:.3%} of the values differ, by up to {worst:g}")


def picture(rng, height, width, channels):
    """Smooth patches, edges and noise; every value from 0 to 255 occurs."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        a, b, c = rng.uniform(0, 0.2, 3)
        wave = 128 + 150 * np.sin(a * x + b * y + 30 * c) + 60 * ((x // 7 + y // 5) % 2) + rng.normal(0, 12, (height, width))
        planes.append(np.clip(wave, 0, 255).astype(np.uint8))
    return np.stack(planes, 2)


def write_all(folder, rng):
    """Pictures of every kind: name -> path."""
    files = {}

    def save(name, image, **options):
        files[name] = os.path.join(folder, name)
        image.save(files[name], **options)

    for height, width in ((84, 84), (61, 97), (150, 40), (1, 7), (333, 500)):
        rgb = Image.fromarray(picture(rng, height, width, 3))
        size = f"{height}x{width}"
        save(f"rgb_{size}.png", rgb)
        for quality, subsampling in ((95, 0), (75, 1), (40, 2)):
            save(f"q{quality}_{size}.jpg", rgb, quality=quality, subsampling=subsampling)
        save(f"progressive_{size}.jpg", rgb, quality=80, progressive=True)
        save(f"grey_{size}.png", rgb.convert("L"))
        save(f"grey_{size}.jpg", rgb.convert("L"))
        save(f"bit_{size}.png", rgb.convert("1"))
        save(f"palette_{size}.png", rgb.convert("P"))
        save(f"four_colours_{size}.png", rgb.quantize(4), bits=2)
        save(f"clear_palette_{size}.png", rgb.convert("P"), transparency=3)
        save(f"alpha_{size}.png", Image.fromarray(picture(rng, height, width, 4), "RGBA"))
        save(f"grey_alpha_{size}.png", Image.fromarray(picture(rng, height, width, 2), "LA"))
        save(f"clear_{size}.png", rgb, transparency=(1, 2, 3))
        save(f"cmyk_{size}.jpg", Image.fromarray(picture(rng, height, width, 4), "CMYK"))
    save("jpeg_called.png", rgb, format="JPEG")
    save("png_called.jpg", rgb, format="PNG")
    save("restart.jpg", rgb, quality=80, restart_marker_blocks=3)
    files["rgb_16.png"] = png_of(folder, "rgb_16.png", rng.integers(0, 65536, (21, 34, 3)), 16, 2)
    files["alpha_16.png"] = png_of(folder, "alpha_16.png", rng.integers(0, 65536, (21, 34, 4)), 16, 6)
    files["grey_alpha_16.png"] = png_of(folder, "grey_alpha_16.png", rng.integers(0, 65536, (21, 34, 2)), 16, 4)
    for bits in (1, 2, 4):
        files[f"grey_{bits}.png"] = png_of(folder, f"grey_{bits}.png", rng.integers(0, 2**bits, (21, 33, 1)), bits, 0)
    return files


def png_of(folder, name, values, bits, colour_type):
    """PNGs that Pillow reads but cannot write."""
    import struct
    import zlib

    height, width, channels = values.shape

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b""
    for row in values.reshape(height, -1):
        line = b"".join(int(v).to_bytes(2, "big") for v in row) if bits == 16 else b""
        if bits < 16:
            text = "".join(f"{int(v):0{bits}b}" for v in row)
            text += "0" * (-len(text) % 8)
            line = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
        rows += b"\0" + line
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def check_reading(files):
    answers = ask(*(f"read {path}" for path in files.values()))
    for (name, path), answer in zip(files.items(), answers):
        with Image.open(path) as image:
            same(pixels(answer), np.asarray(image.convert("RGB")), name)
    return len(files)


def check_damage(folder, files):
    """Files that are cut short: an error that names them, where the whole file is read."""
    good = [name for name in ("q95_61x97.jpg", "progressive_61x97.jpg", "grey_61x97.jpg", "rgb_61x97.png", "palette_61x97.png")]
    for name in good:
        with open(files[name], "rb") as f:
            whole = f.read()
        for share in (0.3, 0.6, 0.95):
            path = os.path.join(folder, "cut_" + name)
            with open(path, "wb") as f:
                f.write(whole[: int(len(whole) * share)])
            answer = ask(f"read {path}")[0]
            if not isinstance(answer, str) or path not in answer or "get the file again" not in answer:
                raise AssertionError(f"{share:.0%} of {name}: {answer if isinstance(answer, str) else 'was read'}")


def resize(image, height, width):
    """The width first, whatever Pillow's version."""
    image = image.resize((width, image.height), Image.Resampling.BILINEAR)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def crop_and_resize(image, box, height, width):
    top, left, h, w = box
    return resize(image.crop((left, top, left + w, top + h)), height, width)


def check_resizing(files, rng):
    names = [name for name in files if name.startswith(("rgb_", "q75_")) and "16" not in name]
    lines, expected = [], []
    for name in names:
        image = Image.open(files[name]).convert("RGB")
        width, height = image.size
        for to_height, to_width in ((84, 84), (96, 96), (5, 301), (224, 224), (height, 50), (50, width), (height, width)):
            h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            for box in ((top, left, h, w), (0, 0, height, width)):
                lines.append(f"resize {files[name]} {' '.join(map(str, box))} {to_height} {to_width}")
                exact = np.asarray(crop_and_resize(image, box, to_height, to_width))
                once = F.resized_crop(image, *box, (to_height, to_width), F.InterpolationMode.BILINEAR)
                expected.append((exact, np.asarray(once)))
    for line, answer, (exact, once) in zip(lines, ask(*lines), expected):
        same(pixels(answer), exact, line)
        worst = np.abs(pixels(answer).astype(int) - once).max()
        if worst > 1:
            raise AssertionError(f"{line}: torchvision's pixels are up to {worst} away")
    return len(lines)


def jitter(image, factors):
    for enhance, factor in zip((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors):
        image = enhance(image).enhance(factor)
    return image


def to_tensor(image):
    return transforms.Normalize(MEAN, DEVIATION)(transforms.ToTensor()(image)).numpy()


def check_transforms(files, rng):
    names = [name for name in files if name.startswith(("rgb_", "q75_", "grey_6", "cmyk_6"))]
    lines, expected = [], []
    for name in names:
        image = Image.open(files[name]).convert("RGB")
        width, height = image.size
        for trial in range(6):
            # Float32 values, as torch.rand gives them, and the ends of the range.
            factors = [float(np.float32(1 + 0.4 * (2 * u - 1))) for u in rng.uniform(0, 1, 3)]
            if trial < 3:
                factors[trial] = (0.6, 1.0, 1.4)[int(rng.integers(3))]
            text = " ".join(f"{factor:.9g}" for factor in factors)
            lines.append(f"jitter {files[name]} {text}")
            expected.append(np.asarray(jitter(image, factors)))
            box = transforms.RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3))
            mirror, extent = trial % 2, (84, 224)[trial // 3]
            lines.append(f"train {files[name]} {' '.join(map(str, box))} {text} {mirror} {extent}")
            one = jitter(crop_and_resize(image, box, extent, extent), factors)
            expected.append(to_tensor(F.hflip(one) if mirror else one))
        for extent in (84, 224, 32):
            lines.append(f"test {files[name]} {extent}")
            whole = int(extent * 1.15)
            expected.append(to_tensor(transforms.CenterCrop(extent)(resize(image, whole, whole))))
    for line, answer, wanted in zip(lines, ask(*lines), expected):
        same(pixels(answer) if line.startswith("jitter") else floats(answer), wanted, line)
    return len(lines)


def distance(a, b):
    """Kolmogorov and Smirnov's, of two samples."""
    both = np.sort(np.concatenate([a, b]))
    left = np.searchsorted(np.sort(a), both, side="right") / len(a)
    right = np.searchsorted(np.sort(b), both, side="right") / len(b)
    return np.abs(left - right).max()


def check_distribution():
    count = 20000
    torch.manual_seed(0)
    bound = 2.2 * (2 / count) ** 0.5  # exceeded by chance once in ten thousand comparisons
    for height, width in ((84, 84), (375, 500), (40, 300), (300, 40)):
        data = ask(f"draw {height} {width} {count}")[0][0]
        drawn = np.frombuffer(data, np.float64).reshape(count, 8)
        image = torch.empty(3, height, width)
        box = transforms.RandomResizedCrop.get_params
        wanted = np.array([box(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)], np.float64)
        columns = {"top": 0, "left": 1, "height": 2, "width": 3}
        for name, i in columns.items():
            d = distance(drawn[:, i], wanted[:, i])
            if d > bound:
                raise AssertionError(f"{name} of crops from {height} x {width}: distance {d:.4f} > {bound:.4f}")
        ours, theirs = (x[:, 2] * x[:, 3] for x in (drawn, wanted))
        if distance(ours, theirs) > bound or distance(drawn[:, 2] / drawn[:, 3], wanted[:, 2] / wanted[:, 3]) > bound:
            raise AssertionError(f"areas or shapes of crops from {height} x {width} are distributed otherwise")
        for i in (4, 5, 6):
            uniform = 0.6 + 0.8 * (np.arange(count) + 0.5) / count
            if distance(drawn[:, i], uniform) > bound:
                raise AssertionError(f"factor {i - 4} is not uniform over 0.6 to 1.4")
        choices = drawn[:, 4:]
        if np.abs(np.corrcoef(choices.T) - np.eye(4)).max() > 0.04 or abs(choices[:, 3].mean() - 0.5) > 0.02:
            raise AssertionError("the choices depend on each other, or mirror images are not one half")
    if distance(drawn[:, 4], drawn[:, 4] * 1.05) < bound:
        raise AssertionError("factors 5 % larger would not be noticed: this test proves nothing")


def main():
    rng = np.random.default_rng(7)
    torch.manual_seed(7)
    with tempfile.TemporaryDirectory() as folder:
        files = write_all(folder, rng)
        print(f"{check_reading(files)} files are read as Pillow reads them")
        check_damage(folder, files)
        print(f"{check_resizing(files, rng)} crops are resized as torchvision does it")
        print(f"{check_transforms(files, rng)} pictures are transformed as torchvision does it")
        check_distribution()
        print("crops and factors are distributed as torchvision's")
        with Image.open(files["rgb_61x97.png"]) as image:
            changed = np.array(image.convert("RGB"))
        changed[30, 40, 1] ^= 1
        try:
            same(pixels(ask("read " + files["rgb_61x97.png"])[0]), changed, "")
        except AssertionError:
            return
        sys.exit("a changed pixel was not noticed: this test proves nothing")


main()
