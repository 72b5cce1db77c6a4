"""Six visual domains for cross-domain few-shot learning, drawn from pinned packages.

    PYTHONPATH=$(third_party/wheels/install.sh tools/data/requirements.lock 200) \\
        /usr/bin/python3 tools/data/lft_domains.py OUT --only icons,logos,emoji
    ... tools/data/lft_domains.py OUT --verify

    OUT/<domain>/images/<class>/<number>.png        RGB, 84 x 84
    OUT/filelists/<domain>/{base,val,novel}.json    with absolute names, or relative ones with --relative

icons (a concept, drawn by many designers), logos (a brand, in several versions) and emoji (a Unicode subgroup, by ten
vendors) need 112 MB of downloads and a minute; glyphs (a letter, in many fonts; 300 MB), textures (tiles of one game
texture; 94 MB) and clipart (a folder of Open Clip Art; 131 MB) come on request or with no --only at all. The same
packages give the same pixels. Licences of the pictures: those of the packages (docs of @iconify/json and Debian); only
free ones are taken. Do not commit the pictures.
"""

import argparse
import collections
import hashlib
import io
import json
import pathlib
import random
import re
import shutil
import sys
import zipfile

import filelists
import packages

ICONIFY = "@iconify/json", "2.2.535", "1a545f86fa224d6531d8fb101dcbe83aac2b28689a21cbed6fc68318a5af4d91"
UNICODE = "unicode-data", "15.0.0-1", "5efef23bbb1c6a133ecbdd63a2cfa07159ccacf5466a49e2426101c5ecd691fc"
TEXTURES = "openarena-081-textures", "0.8.5split-14", "72bf05abd5286a1523b56ca04e25bceb775813d747f92ecd20749d512361a81f"
CLIPART = "openclipart-png", "1:0.18+dfsg-19", "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"

LICENCES = {
    "MIT", "Apache-2.0", "CC0-1.0", "ISC", "OFL-1.1", "CC-BY-4.0", "CC-BY-3.0", "BSD-3-Clause", "Unlicense", "MPL-2.0",
    "CC-BY-SA-4.0", "CC-BY-SA-3.0",
}
# Words of an icon's name that say how it is drawn, not what it shows.
STYLE_WORDS = set(
    "fill filled line outline outlined solid bold thin light duotone twotone linear broken regular sharp rounded round logo "
    "logos brand brands icon alt square circle color wordmark two tone 12 16 20 24 28 32 48 s o b".split()
)
# Sets of brands' logos: a brand is what three of the first have; the rest is drawn from after these.
BRAND_SETS = ["simple-icons", "logos", "fa7-brands", "cib", "devicon", "streamline-logos", "skill-icons", "bxl"]
LOGO_SETS = set(BRAND_SETS) | {
    "thesvg-color", "material-icon-theme", "vscode-icons", "devicon-plain", "entypo-social", "brandico", "fa-brands",
    "fa6-brands", "selfhst", "arcticons", "thesvg",
}
EMOJI_SETS = [
    "twemoji", "noto", "noto-v1", "openmoji", "fluent-emoji", "fluent-emoji-flat", "emojione", "emojione-v1", "fxemoji",
    "streamline-emojis",
]
ICON_CLASSES, LOGO_CLASSES, TEXTURE_CLASSES = 140, 110, 120
MIN_IMAGES = filelists.MIN_IMAGES
# Flags look alike but for their colours; letters in frames are glyphs.
NO_EMOJI_CLASS = {"country-flag", "subdivision-flag", "flag", "keycap", "alphanum"}
NO_ICON_CATEGORY = {"Logos", "Emoji", "Flags / Maps", "Programming"}

LETTERS = (
    "ABCDEFGHIJKLMNPQRSTUVWXYZabdefghkmnqrt23456789&@?ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπσφψω"
    "БДЖИЛЦЧШЩЫЭЮЯФאבגדהזחטילמנסעפצקרשת"
    "กขคงจชซญดตถทนบปผพมยรลวสหอฮابجدرسصطعفقكلمنهو"
    "अआइउएकखगघचछजझटठडढतथदधनपफबभमयरलवशषसह"
    "가나다라마바사아자차카타파하국말물불집글あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん"
    "日月火水木金土山川田人口目手足心大小中上下学校先生年花雨車門"
)


def shuffled(things, key):
    things = list(things)
    random.Random(key).shuffle(things)
    return things


def on_white(image, size):
    from PIL import Image

    paper = Image.new("RGB", (size, size), "white")
    paper.paste(image, ((size - image.width) // 2, (size - image.height) // 2), image if image.mode == "RGBA" else None)
    return paper


class Icons:
    """The icon sets of @iconify/json that are free to use."""

    def __init__(self, size):
        self.size = size
        self.sets = {}
        for path in sorted((packages.npm(*ICONIFY) / "package" / "json").glob("*.json")):
            data = json.loads(path.read_text(encoding="utf8"))
            licence = data["info"]["license"]
            if (licence.get("spdx") or licence["title"]) in LICENCES:
                self.sets[data["prefix"]] = data

    @staticmethod
    def concept(name):
        return "-".join(word for word in name.split("-") if word not in STYLE_WORDS)

    def by_concept(self, wanted, drawings):
        """concept -> [(set, icon)], at most `drawings` of a set; the shortest names first."""
        found = collections.defaultdict(list)
        for prefix, data in self.sets.items():
            if not wanted(data["info"]):
                continue
            taken = collections.Counter()
            for name in sorted(data["icons"], key=lambda n: (len(n), n)):
                concept = self.concept(name)
                if taken[concept] < drawings:
                    taken[concept] += 1
                    found[concept].append((prefix, name))
        return found

    def brands(self):
        votes = collections.Counter()
        for prefix in BRAND_SETS:
            votes.update({self.concept(name) for name in self.sets.get(prefix, {"icons": ()})["icons"]})
        return {brand for brand, count in votes.items() if count >= 3 and brand}

    def draw(self, prefix, name):
        import resvg_py
        from PIL import Image

        data = self.sets[prefix]
        icon = data["icons"][name]
        width, height = (icon.get(side, data.get(side, 16)) for side in ("width", "height"))
        left, top = (icon.get(side, data.get(side, 0)) for side in ("left", "top"))
        text = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}" color="black">{icon["body"]}</svg>'
        )
        longest = {"width" if width >= height else "height": self.size * 7 // 8}
        png = bytes(resvg_py.svg_to_bytes(svg_string=text, **longest))
        return on_white(Image.open(io.BytesIO(png)).convert("RGBA"), self.size)


def icons(size):
    source = Icons(size)
    brands = source.brands()

    def plain(info):
        return not info.get("palette") and info.get("category") not in NO_ICON_CATEGORY

    found = source.by_concept(plain, 1)
    names = [name for name in found if re.fullmatch("[a-z]{3,}", name) and name not in brands]
    names.sort(key=lambda name: (-len(found[name]), name))
    for name in sorted(names[:ICON_CLASSES]):
        yield name, (source.draw(*icon) for icon in shuffled(found[name], name))


def logos(size):
    source = Icons(size)
    found = source.by_concept(lambda info: True, 2)
    # A few repeat each other and fall out.
    names = [name for name in source.brands() if len(found[name]) >= MIN_IMAGES + 4 and len(name) > 1]
    names.sort(key=lambda name: (-sum(prefix in LOGO_SETS for prefix, _ in found[name]), name))
    for name in sorted(names[:LOGO_CLASSES]):
        order = sorted(shuffled(found[name], name), key=lambda icon: icon[0] not in LOGO_SETS)
        yield name, (source.draw(*icon) for icon in order)


def emoji(size):
    source = Icons(size)
    table = packages.deb(*UNICODE) / "usr/share/unicode/emoji/emoji-test.txt"
    groups, group = collections.defaultdict(list), None
    for line in table.read_text(encoding="utf8").splitlines():
        if line.startswith("# subgroup:"):
            group = line.partition(":")[2].strip()
        match = re.match(r"[0-9A-F ]+; fully-qualified +# \S+ E[\d.]+ (.+)", line)
        if match and "skin tone" not in match[1]:
            groups[group].append(re.sub("[^a-z0-9]+", "-", match[1].lower()).strip("-"))
    for group in sorted(groups):
        drawn = [
            (prefix, name)
            for name in groups[group]
            for prefix in EMOJI_SETS
            if prefix in source.sets and name in source.sets[prefix]["icons"]
        ]
        if len(drawn) >= MIN_IMAGES and group not in NO_EMOJI_CLASS:
            yield group, (source.draw(*icon) for icon in shuffled(drawn, group))


def fonts_with_letters():
    """letter -> font files that have it."""
    from fontTools.ttLib import TTCollection, TTFont

    found = collections.defaultdict(list)
    lines = pathlib.Path(__file__).with_name("fonts.txt").read_text(encoding="utf8").splitlines()
    for name, version, sha256 in (line.split() for line in lines if not line.startswith("#")):
        for path in sorted(packages.deb(name, version, sha256).rglob("*")):
            suffix = path.suffix.lower()
            if suffix not in (".ttf", ".otf", ".ttc") or path.is_symlink():
                continue
            try:
                font = TTCollection(path).fonts[0] if suffix == ".ttc" else TTFont(path, lazy=True)
                letters = font.getBestCmap() or {}
            except Exception:  # some fonts are damaged in ways of their own; the others are enough
                continue
            for letter in LETTERS:
                if ord(letter) in letters:
                    found[letter].append(path)
    return found


def draw_letter(path, letter, size):
    from PIL import Image, ImageDraw, ImageFont

    try:
        font = ImageFont.truetype(str(path), size)
        left, top, right, bottom = font.getbbox(letter)
    except Exception:  # FreeType refuses some
        return None
    width, height = right - left, bottom - top
    if min(width, height) < 3 or max(width, height) > 4 * size:
        return None
    image = Image.new("L", (width + 4, height + 4), 255)
    ImageDraw.Draw(image).text((2 - left, 2 - top), letter, font=font, fill=0)
    scale = size * 0.75 / max(width, height)
    shape = max(2, int(image.width * scale)), max(2, int(image.height * scale))
    return on_white(image.resize(shape, Image.Resampling.LANCZOS), size)


def glyphs(size):
    found = fonts_with_letters()
    for letter in LETTERS:
        if len(found[letter]) >= MIN_IMAGES:
            yield f"u{ord(letter):04x}", (draw_letter(path, letter, size) for path in shuffled(found[letter], letter))


def textures(size):
    import numpy as np
    from PIL import Image

    (archive,) = packages.deb(*TEXTURES).rglob("*.pk3")
    good = []
    with zipfile.ZipFile(archive) as pack:
        for name in sorted(pack.namelist()):
            if not re.search(r"^textures/.*\.(jpg|jpeg|tga|png)$", name, re.I) or "/sfx" in name:
                continue
            image = Image.open(io.BytesIO(pack.read(name))).convert("RGB")
            if min(image.size) < 256:
                continue
            grey = np.asarray(image.resize((60, 60), Image.Resampling.BOX), float).mean(2)
            contrast = grey.reshape(5, 12, 5, 12).std((1, 3))
            if contrast.min() > 6:  # no tile is flat
                good.append((contrast.mean(), name, image))
    good.sort(key=lambda entry: (-entry[0], entry[1]))
    for _, name, image in sorted(good[:TEXTURE_CLASSES], key=lambda entry: entry[1]):
        side = min(image.size) // 5
        boxes = [
            (x * side, y * side, (x + 1) * side, (y + 1) * side)
            for y in range(image.height // side)
            for x in range(image.width // side)
        ]
        label = re.sub(r"\W+", "_", name[len("textures/") :].rpartition(".")[0])
        yield label, (image.crop(box).resize((size, size), Image.Resampling.BICUBIC) for box in shuffled(boxes, name))


def clipart(size):
    from PIL import Image

    root = packages.deb(*CLIPART)
    folders = collections.defaultdict(list)
    for path in sorted(root.rglob("*.png")):
        folder = str(path.parent.relative_to(root)).split("png/", 1)[1]
        if not path.is_symlink() and not re.match("unsorted|special|computer/(icons|buttons)|recreation/games/cards", folder):
            folders[folder.replace("/", "-")].append(path)

    def load(path):
        try:
            image = Image.open(path).convert("RGBA")
        except Exception:  # a few files are damaged
            return None
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        return on_white(image, size)

    for label in sorted(folders):
        if len(folders[label]) >= MIN_IMAGES:
            yield label, (load(path) for path in shuffled(folders[label], label))


DOMAINS = {"icons": icons, "logos": logos, "emoji": emoji, "glyphs": glyphs, "textures": textures, "clipart": clipart}


def write(domain, out, size, most, relative):
    import numpy as np

    root = out / domain / "images"
    shutil.rmtree(root, ignore_errors=True)
    classes = []
    for label, pictures in DOMAINS[domain](size):
        folder = root / label
        folder.mkdir(parents=True)
        seen, paths = set(), []
        for picture in pictures:
            if picture is None:
                continue
            values = np.asarray(picture)
            digest = hashlib.sha256(values.tobytes()).digest()
            if digest in seen or values.std() < 4:  # drawn already, or blank
                continue
            seen.add(digest)
            paths.append(folder / f"{len(paths):03d}.png")
            picture.save(paths[-1])
            if len(paths) == most:
                break
        if len(paths) >= MIN_IMAGES:
            classes.append((label, paths))
            if len(classes) % 25 == 0:
                print(f"  {domain}: {len(classes)} classes drawn", file=sys.stderr, flush=True)
        else:
            shutil.rmtree(folder)
    counts = filelists.write_domain(out, domain, classes, relative)
    print(f"{domain}: " + "; ".join(f"{split} {c} classes, {n} images" for split, (c, n) in counts.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--only", default=",".join(DOMAINS), metavar="DOMAINS", help="with commas [%(default)s]")
    parser.add_argument("--size", type=int, default=84, help="pixels a side [%(default)s]")
    parser.add_argument("--most", type=int, default=40, help="images of a class [%(default)s]")
    parser.add_argument("--relative", action="store_true", help="name images from the list's folder, so that OUT can be moved")
    parser.add_argument("--verify", action="store_true", help="check what is in OUT (the domains of --only, else all there)")
    arguments = parser.parse_args()
    names = [name for name in arguments.only.split(",") if name]
    if arguments.verify:
        given = arguments.only != parser.get_default("only")
        sys.exit(not filelists.verify(arguments.out, names if given else None))
    for name in names:
        if name not in DOMAINS:
            parser.error(f"there is no domain {name}; there are {', '.join(DOMAINS)}")
    if not 8 <= arguments.size <= 1024 or arguments.most < MIN_IMAGES:
        parser.error(f"--size is 8 to 1024 pixels, --most at least {MIN_IMAGES} images")
    for name in names:
        write(name, arguments.out.resolve(), arguments.size, arguments.most, arguments.relative)


if __name__ == "__main__":
    main()
