"""Goal: precision, recall and F1 of spans are seqeval's. Method: random and adversarial tag sequences, every one of three
tags of a small set among them, are scored by the C++ counter and by the Python package, overall and for each type.
"""

import itertools
import os
import random
import subprocess
import sys
import tempfile

BINARY, SITE, PEERS = sys.argv[1:4]
sys.path[:0] = [PEERS, SITE]

from seqeval.metrics import f1_score, precision_score, recall_score

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-X"]
TYPES = ["PER", "LOC", "X"]


def run(folder, pairs):
    """What the C++ counter says: a list of numbers for all types, and one for each type."""
    with open(folder + "/pairs", "w", encoding="utf8") as f:
        for actual, predicted in pairs:
            f.write("".join(f"{a}\t{p}\n" for a, p in zip(actual, predicted)) + "\n")
    lines = subprocess.run([BINARY, folder + "/pairs", folder + "/labels"], check=True, capture_output=True, text=True)
    rows = [line.split() for line in lines.stdout.splitlines()]
    return [float(x) for x in rows[0]], {row[0]: [float(x) for x in row[1:]] for row in rows[1:]}


def only(sequences, kind):
    return [["O" if tag[2:] != kind else tag for tag in sequence] for sequence in sequences]


def expected(actual, predicted):
    return [score(actual, predicted) for score in (precision_score, recall_score, f1_score)]


def close(got, want, what):
    if any(abs(a - b) > 1e-12 for a, b in zip(got, want, strict=True)):
        sys.exit(f"{what}: {got} here, {want} by seqeval")


def compare(folder, pairs, what):
    actual, predicted = [list(a) for a, _ in pairs], [list(p) for _, p in pairs]
    overall, by_type = run(folder, pairs)
    close(overall, expected(actual, predicted), what)
    if list(by_type) != TYPES:
        sys.exit(f"types {list(by_type)}")
    for kind in TYPES:
        # Another type's tags end a span as O does, and begin none of this type.
        close(by_type[kind][:3], expected(only(actual, kind), only(predicted, kind)), f"{what}, {kind}")
    return overall[2]


def main():
    generator = random.Random(5)
    values = set()
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/labels", "w", encoding="utf8") as f:
            f.write("\n".join(TAGS) + "\n")
        triples = list(itertools.product(TAGS, repeat=3))
        shuffled = triples[:]
        generator.shuffle(shuffled)
        compare(folder, list(zip(triples, shuffled)), "all triples")
        compare(folder, [(t, t) for t in triples], "all triples, right")
        for trial in range(60):
            pairs = []
            for _ in range(generator.randrange(1, 30)):
                actual = generator.choices(TAGS, k=generator.randrange(1, 40))
                wrong = generator.random()
                predicted = [generator.choice(TAGS) if generator.random() < wrong else tag for tag in actual]
                pairs.append((actual, predicted))
            values.add(compare(folder, pairs, f"trial {trial}"))
        compare(folder, [(["O"], ["O"])], "nothing")
        compare(folder, [(["O"], ["I-X"])], "nothing true")
        compare(folder, [(["B-PER"], ["O"])], "nothing found")
    if len(values) < 30:
        sys.exit(f"only {len(values)} different scores: this test proves little")
    print(f"{60 + 5} sets of sequences scored as seqeval scores them; F1 from {min(values):.3f} to {max(values):.3f}")


main()
