#!/usr/bin/env python3
"""Data for MetaXL: tagging and text classification in some thirty languages, from the GNOME help.

The help's pages are translated by people and mark window controls (gui), keys (key), applications (app), cross references
(link) and system names (file, cmd, sys, code, input, output) inside the running text; translators keep the marks. Each
paragraph, title or description that differs from the English one becomes a sentence, its marks become spans.

    OUT/<lang>/{train,dev,test}                       PAN-X layout: "<lang>:<token>\\t<tag>", a blank line after each sentence
    OUT/labels.txt                                    the tags, one a line
    OUT/classification/<lang>/{train,dev,test}.tsv    "label\\ttext": the subject of the page that a paragraph stands on
    OUT/classification/labels.txt
    OUT/stats.json                                    sentences, spans and SHA-256 of every file

A page belongs, with all its sentences and in every language, to one split (by a hash of its name): no translation of a test
sentence is trained on. A sentence that stands on several pages of a language is kept once, on the first. --only_marked
leaves out sentences without a span, two thirds of them.

    xl_gnomehelp.py OUT [--split 40 10 50] [--types APP,GUI,KEY,LINK,SYS] [--only_marked] [--package FILE.deb]
    xl_gnomehelp.py --verify OUT     checks a folder of this layout, this recipe's or one's own; says what is wrong and where

The text: Debian's gnome-user-docs 43.0-2, CC-BY-SA-3.0, fetched by `apt-get download` and checked. Standard library only.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unicodedata
import xml.etree.ElementTree as ET

PACKAGE, VERSION = "gnome-user-docs", "43.0-2"
PACKAGE_SHA256 = "0d635a840747958ca84da778b40d341f1155603851f922c9a171f5a181d6a39f"
# Of the files of the default options, names and contents.
TREE_SHA256 = "4f0332b03ded7747f7d80659293ceef4ab8ca24f9ebe478540946956d5cd20a2"

MALLARD = "{http://projectmallard.org/1.0/}"
SPAN_TYPES = {
    "app": "APP", "gui": "GUI", "guiseq": "GUI", "key": "KEY", "keyseq": "KEY", "link": "LINK", "file": "SYS", "cmd": "SYS",
    "sys": "SYS", "code": "SYS", "input": "SYS", "output": "SYS",
}
BLOCKS = {MALLARD + name for name in ("p", "title", "desc")}
BOOKS = ("gnome-help", "system-admin-guide")
SPLITS = ("train", "dev", "test")
# The beginning of a page's file name -> its subject.
SUBJECTS = {
    "a11y": "accessibility", "color": "color", "files": "files", "nautilus": "files", "keyboard": "input", "mouse": "input",
    "net": "network", "network": "network", "power": "power", "printing": "printing", "shell": "desktop",
}
# Written without spaces: a character is a token.
UNSPACED = {"ja", "zh_CN", "th"}
MIN_TOKENS, MAX_TOKENS = 3, 60
MIN_SENTENCES = 100
JOINERS = "'’_-"


class Failure(Exception):
    """What is wrong and where, for a person."""


def tokens_of(text, language):
    """Words (letters with their marks, digits, inner apostrophes and hyphens) and single punctuation marks."""
    found, word = [], ""

    def end_word():
        nonlocal word
        if len(word) > 1 and word[-1] in JOINERS:
            found.extend((word[:-1], word[-1]))
        elif word:
            found.append(word)
        word = ""

    for character in text:
        category = unicodedata.category(character)
        inside = category[0] in "LMN" or character in "\u200c\u200d"
        if inside and language in UNSPACED and ord(character) >= 0x2E80:
            end_word()
            found.append(character)
        elif inside or (word and character in JOINERS and word[-1] not in JOINERS):
            word += character
        else:
            end_word()
            if not character.isspace() and category[0] != "C":
                found.append(character)
    end_word()
    return found


def runs_of(element, span=None):
    """(text, span) in document order; a span is (type, number of its outermost element) or None."""
    kind = SPAN_TYPES.get(element.tag.replace(MALLARD, ""))
    span = span or (kind and (kind, id(element)))
    if element.text:
        yield element.text, span
    for child in element:
        if child.tag not in BLOCKS and isinstance(child.tag, str):
            yield from runs_of(child, span)
        if child.tail:
            yield child.tail, span


def blocks_of(path, language):
    """For each block of a page its text and its [(token, tag)]."""
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise Failure(f"{path}: is no well-formed XML: {error}") from error
    # Credits and licences repeat on every page.
    skipped = {
        id(inner) for info in root.iter(MALLARD + "info") for child in info if child.tag != MALLARD + "desc"
        for inner in child.iter()
    }
    for element in root.iter():
        if element.tag not in BLOCKS or id(element) in skipped:
            continue
        rows, text, last = [], "", None
        for piece, span in runs_of(element):
            text += piece
            for token in tokens_of(piece, language):
                rows.append((token, "O" if span is None else ("I-" if span == last else "B-") + span[0]))
                last = span
            if span is None:
                last = None
        yield " ".join(text.split()), rows


def split_of(page, shares):
    percent = int(hashlib.sha256(page.encode()).hexdigest(), 16) % 100
    return "train" if percent < shares[0] else "dev" if percent < shares[0] + shares[1] else "test"


def read_help(base, types, shares, only_marked=False):
    """{language: {split: ([[(token, tag)]], [(subject, text)])}}; English first, as translations are told by it."""
    languages = ["C"] + sorted(path.name for path in base.iterdir() if path.name != "C")
    english, data = set(), {}
    for folder in languages:
        language = "en" if folder == "C" else folder.replace("@", "-")
        splits = {split: ([], []) for split in SPLITS}
        seen = set()
        for book in BOOKS:
            for path in sorted((base / folder / book).glob("*.page")):
                tagged, texts = splits[split_of(path.name, shares)]
                subject = SUBJECTS.get(re.split(r"[-.]", path.name)[0])
                for text, rows in blocks_of(path, language):
                    rows = [(token, tag if tag == "O" or tag[2:] in types else "O") for token, tag in rows]
                    key = " ".join(token for token, _ in rows)
                    words = sum(any(map(str.isalpha, token)) for token, _ in rows)
                    if not MIN_TOKENS <= len(rows) <= MAX_TOKENS or words < 2 or key in seen or key in english:
                        continue
                    seen.add(key)
                    if not only_marked or any(tag != "O" for _, tag in rows):
                        tagged.append(rows)
                    if subject is not None:
                        texts.append((subject, text))
        if language == "en":
            english = seen
        if sum(len(tagged) for tagged, _ in splits.values()) >= MIN_SENTENCES:
            data[language] = splits
    return data


def tags_of(types):
    return ["O"] + [f"{prefix}-{kind}" for kind in sorted(types) for prefix in "BI"]


def write(out, data, types, options):
    """Writes the tree and its stats.json; returns the stats."""
    stats = {"package": f"{PACKAGE} {VERSION}", **options, "languages": {}, "files": {}}

    def write_file(name, text):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        stats["files"][name] = hashlib.sha256(text.encode()).hexdigest()

    for language, splits in data.items():
        spans, figures = collections.Counter(), {}
        for split, (tagged, texts) in splits.items():
            lines = [f"{language}:{token}\t{tag}" if token else "" for rows in tagged for token, tag in rows + [("", "")]]
            write_file(f"{language}/{split}", "".join(line + "\n" for line in lines))
            write_file(f"classification/{language}/{split}.tsv",
                       "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in texts))
            spans.update(tag[2:] for rows in tagged for _, tag in rows if tag[0] == "B")
            figures[split] = len(tagged)
            figures[split + "_texts"] = len(texts)
        stats["languages"][language] = {**figures, "spans": dict(sorted(spans.items()))}
    write_file("labels.txt", "".join(tag + "\n" for tag in tags_of(types)))
    write_file("classification/labels.txt", "".join(label + "\n" for label in sorted(set(SUBJECTS.values()))))
    (out / "stats.json").write_text(json.dumps(stats, indent=1, sort_keys=True) + "\n", encoding="utf8")
    return stats


def tree_sha256(stats):
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in sorted(stats["files"].items())).encode()).hexdigest()


def read_lines(path):
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: cannot be read: {error.strerror}") from error
    lines = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError as error:
            raise Failure(f"{path}:{number}: is not UTF-8 at byte {error.start} of the line") from error
    return lines[:-1] if lines and not lines[-1] else lines


def verify_tagged(path, tags):
    """The number of sentences of a BIO file."""
    sentences, inside = 0, False
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            sentences += inside
            inside = False
            continue
        if line.startswith("-DOCSTART-"):
            continue
        columns = line.split("\t") if "\t" in line else line.split()
        if len(columns) < 2 or not columns[0]:
            raise Failure(f"{path}:{number}: `{line}` has no tag; a line is a token, a tab and its tag")
        if columns[-1] not in tags:
            raise Failure(f"{path}:{number}: tag `{columns[-1]}` is not among the {len(tags)} labels ({' '.join(sorted(tags))})")
        inside = True
    return sentences + inside


def verify_texts(path, labels):
    lines = read_lines(path)
    if not lines or sorted(lines[0].split("\t")) != ["label", "text"]:
        raise Failure(f"{path}:1: the first line must be `label`, a tab and `text` (or the other way round)")
    column = lines[0].split("\t").index("label")
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != 2:
            raise Failure(f"{path}:{number}: has {len(fields)} columns where the first line has 2")
        if fields[column] not in labels:
            raise Failure(f"{path}:{number}: label `{fields[column]}` is not in labels.txt ({' '.join(sorted(labels))})")
    return len(lines) - 1


PANX_TAGS = {"O"} | {f"{prefix}-{kind}" for kind in ("MISC", "PER", "ORG", "LOC") for prefix in "BI"}


def verify(out):
    """Checks the tree; raises Failure at the first thing that is wrong."""
    if not out.is_dir():
        raise Failure(f"{out}: there is no such folder")
    stats_path = out / "stats.json"
    stats = json.loads("\n".join(read_lines(stats_path))) if stats_path.exists() else None
    labels = out / "labels.txt"
    tags = set(filter(None, read_lines(labels))) if labels.exists() else PANX_TAGS
    languages = sorted(path.name for path in out.iterdir() if path.is_dir() and path.name != "classification")
    if stats is not None and languages != sorted(stats["languages"]):
        different = sorted(set(languages) ^ set(stats["languages"]))
        raise Failure(f"{out}: {len(stats['languages'])} languages expected, {len(languages)} found: {' '.join(different)}")
    if not languages:
        raise Failure(f"{out}: has no language folders; a language is a folder with the files train, dev and test")
    for language in languages:
        counts = []
        for split in SPLITS:
            path = out / language / split
            count = verify_tagged(path, tags)
            if count == 0:
                raise Failure(f"{path}: holds no sentence")
            if stats is not None and count != stats["languages"][language][split]:
                raise Failure(f"{path}: {stats['languages'][language][split]} sentences expected, {count} found")
            counts.append(count)
        print(language, "sentences", *counts)
    classification = out / "classification"
    if classification.is_dir():
        subjects = set(filter(None, read_lines(classification / "labels.txt")))
        for folder in sorted(path for path in classification.iterdir() if path.is_dir()):
            print(folder.name, "texts", *(verify_texts(folder / f"{split}.tsv", subjects) for split in SPLITS))
    if stats is not None:
        for name, digest in stats["files"].items():
            if hashlib.sha256((out / name).read_bytes()).hexdigest() != digest:
                raise Failure(f"{out / name}: differs from what stats.json says was written; make the folder again")
    print(f"{out}: {len(languages)} languages are as they should be")


def fetch(folder):
    """The pinned package as a file in `folder`."""
    result = subprocess.run(["apt-get", "-q", "download", f"{PACKAGE}={VERSION}"], cwd=folder, capture_output=True, text=True)
    if result.returncode:
        raise Failure(f"apt-get could not download {PACKAGE}={VERSION} (is this Debian 12, and apt-get update done?):\n"
                      f"{result.stderr.strip()}\ngive the package's file with --package instead")
    return next(pathlib.Path(folder).glob("*.deb"))


def build(arguments):
    types = set(arguments.types.split(","))
    unknown = types - set(SPAN_TYPES.values())
    if unknown:
        raise Failure(f"--types: there is no {' '.join(sorted(unknown))}; choose of {' '.join(sorted(set(SPAN_TYPES.values())))}")
    if min(arguments.split) < 0 or sum(arguments.split) != 100:
        raise Failure(f"--split: {arguments.split} are no shares that sum to 100")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # apt-get downloads as a user of its own
        package = arguments.package or fetch(folder)
        digest = hashlib.sha256(pathlib.Path(package).read_bytes()).hexdigest()
        if digest != PACKAGE_SHA256:
            raise Failure(f"{package}: its SHA-256 is {digest}, that of {PACKAGE} {VERSION} is {PACKAGE_SHA256}")
        subprocess.run(["dpkg-deb", "-x", str(package), f"{folder}/x"], check=True)
        data = read_help(pathlib.Path(folder) / "x/usr/share/help", types, arguments.split, arguments.only_marked)
    options = {"split": list(arguments.split), "types": sorted(types), "only_marked": arguments.only_marked}
    stats = write(arguments.out, data, types, options)
    for language, figures in stats["languages"].items():
        print(language, *(figures[split] for split in SPLITS), "texts", *(figures[split + "_texts"] for split in SPLITS),
              "spans", sum(figures["spans"].values()))
    sha256 = tree_sha256(stats)
    print(f"{arguments.out}: {len(data)} languages, tree sha256 {sha256}")
    default = list(arguments.split) == [40, 10, 50] and types == set(SPAN_TYPES.values()) and not arguments.only_marked
    if default and sha256 != TREE_SHA256:
        raise Failure(f"the files differ from those of the default options, whose tree sha256 is {TREE_SHA256}: another Python "
                      "may know other Unicode characters")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT")
    parser.add_argument("--split", type=int, nargs=3, default=[40, 10, 50], help="percent of pages: train dev test")
    parser.add_argument("--types", default="APP,GUI,KEY,LINK,SYS", help="the kinds of marks that are spans")
    parser.add_argument("--only_marked", action="store_true", help="leave out sentences without a span")
    parser.add_argument("--package", help="the package's file, instead of downloading it")
    parser.add_argument("--verify", action="store_true", help="check OUT instead of making it")
    arguments = parser.parse_args()
    try:
        if arguments.verify:
            verify(arguments.out)
        else:
            build(arguments)
    except Failure as failure:
        sys.exit(f"xl_gnomehelp: {failure}")


if __name__ == "__main__":
    main()
