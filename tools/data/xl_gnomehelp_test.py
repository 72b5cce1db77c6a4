"""Goal: the recipe's tokens, spans, splits and files are as it says, and --verify finds what is wrong. Method: small help pages
written here, through the recipe's own functions; each damage to a good folder must be refused with its place. (The whole
recipe downloads 9 MB: its output's SHA-256 is pinned in it.)
"""

import importlib.util
import pathlib
import sys
import tempfile

spec = importlib.util.spec_from_file_location("recipe", sys.argv[1])
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)

PAGE = """<page xmlns="http://projectmallard.org/1.0/">
<info><desc>{0} about <app>Files</app></desc><credit><name>Nobody at all</name></credit></info>
<title>{0} number one</title>
<p>{0} press <keyseq><key>Ctrl</key><key>C</key></keyseq> or <gui>Copy</gui><gui>Paste it</gui>, don't.</p>
</page>"""


def check(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")


def refused(action, text):
    try:
        action()
    except recipe.Failure as failure:
        check(text in str(failure), f"`{failure}` should say `{text}`")
    else:
        check(False, f"nothing said `{text}`")


def main():
    check(recipe.tokens_of("Don't co-operate: a_b, 3.5!", "en") == ["Don't", "co-operate", ":", "a_b", ",", "3", ".", "5", "!"],
          "tokens")
    check(recipe.tokens_of("日本 GNOME", "ja") == ["日", "本", "GNOME"], "tokens without blanks")
    check(recipe.tokens_of("end'", "en") == ["end", "'"], "a joiner at the end is a token")
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder) / "help"
        for language, word in (("C", "Help"), ("de", "Hilfe"), ("fr", "Help")):
            for name in ("power-a", "net-b", "other"):
                path = base / language / "gnome-help" / f"{name}.page"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(PAGE.format(f"{word} {name.split('-')[0]}"), encoding="utf8")
        (text, rows), *rest = recipe.blocks_of(base / "C/gnome-help/power-a.page", "en")
        check(rows == [("Help", "O"), ("power", "O"), ("about", "O"), ("Files", "B-APP")], f"description: {rows}")
        check(len(rest) == 2, "credits are left out")
        check(rest[1][1][3:8] == [("Ctrl", "B-KEY"), ("C", "I-KEY"), ("or", "O"), ("Copy", "B-GUI"), ("Paste", "B-GUI")],
              f"spans: {rest[1][1]}")
        check(rest[1][0].endswith("or CopyPaste it, don't."), rest[1][0])
        recipe.MIN_SENTENCES = 6
        types = set(recipe.SPAN_TYPES.values())
        data = recipe.read_help(base, types, [40, 10, 50])
        check(sorted(data) == ["de", "en"], "French is not translated")
        for language in data:
            subjects = sorted(label for _, texts in data[language].values() for label, _ in texts)
            check(subjects == ["network"] * 3 + ["power"] * 3, f"subjects {subjects}")
        split = {name: recipe.split_of(name + ".page", [40, 10, 50]) for name in ("power-a", "net-b", "other")}
        for name, where in split.items():
            word = name.split("-")[0]
            check(any(rows[1][0] == word for rows in data["de"][where][0]), f"{name} is in {where}")

        marked = recipe.read_help(base, types, [40, 10, 50], only_marked=True)
        for language in data:
            for where, (tagged, texts) in data[language].items():
                spans = [rows for rows in tagged if any(tag != "O" for _, tag in rows)]
                check(marked[language][where] == (spans, texts) and len(spans) * 3 == len(tagged) * 2, "only marked sentences")

        # Large enough a set that each split of each language has something.
        sentences = [[("Wort", "O"), ("Datei", "B-APP")]] * 3
        whole = {language: {s: (sentences, [("power", "a b")]) for s in recipe.SPLITS} for language in ("de", "en")}
        out = pathlib.Path(folder) / "out"
        stats = recipe.write(out, whole, types, {"split": [40, 10, 50]})
        check(recipe.tree_sha256(stats) == recipe.tree_sha256(recipe.write(out, whole, types, {"split": [40, 10, 50]})), "repeatable")
        check((out / "de/train").read_text(encoding="utf8").startswith("de:Wort\tO\nde:Datei\tB-APP\n\n"), "PAN-X layout")
        recipe.verify(out)

        def damage(name, text, message):
            path = out / name
            good = path.read_bytes()
            path.write_bytes(text)
            refused(lambda: recipe.verify(out), f"{path}{message}")
            path.write_bytes(good)
            recipe.verify(out)

        damage("de/dev", b"de:Wort\tO\nde:Datei\tB-CITY\n", ":2: tag `B-CITY` is not among the 11 labels")
        damage("de/dev", b"de:Wort\n", ":1: `de:Wort` has no tag")
        damage("de/dev", b"de:Wort\tO\n\xff\tO\n", ":2: is not UTF-8")
        damage("de/dev", b"\n", ": holds no sentence")
        damage("de/dev", b"de:Wort\tO\n", ": 3 sentences expected, 1 found")
        damage("de/dev", b"de:Wort\tO\n\n" * 3, ": differs from what stats.json says")
        damage("classification/en/test.tsv", b"label\ttext\nmusic\ta b\n", ":2: label `music` is not in labels.txt")
        damage("classification/en/test.tsv", b"power\ta b\n", ":1: the first line must be")
        (out / "fr").mkdir()
        refused(lambda: recipe.verify(out), "2 languages expected, 3 found: fr")
        (out / "fr").rmdir()
        refused(lambda: recipe.verify(out / "none"), "there is no such folder")
    print("the recipe keeps its promises")


main()
