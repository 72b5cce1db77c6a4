"""Goal: the countable house rules hold. Method: every tracked source file is read; each rule is a few lines below.

A planted violation of each rule must be found, so that a rule that matches nothing fails.
"""

import os
import re
import sys

MAX_COLUMNS = 100
MAX_FILE_LINES = 500
# A test is a list of stories, read one at a time.
MAX_TEST_LINES = 800
SOURCES = (".cc", ".h", ".cu")
# Left-overs and things that an engineer should not meet.
BANNED = [
    (re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), "a note to do something later"),
    (re.compile(r"\bstd::this_thread::sleep_for\b|\babsl::SleepFor\b|\busleep\("), "a sleep: wait on a condition"),
]
# Pure folders: no clock, random source, thread, file or socket.
PURE = ("algo/", "server/core/", "worker/core/", "spec/")
IMPURE = re.compile(r"absl::Now\(|std::chrono|std::thread|<fstream>|std::random_device|\bfopen\(|\bsocket\(|<thread>")
# A sleep is right where nothing can be waited on; each place says why.
SLEEP_ALLOWED = {
    # Measures the processor time of a second, and sends a byte now and then.
    "worker/collective/strangers_test.cc",
}


def problems(path, text):
    out = []
    lines = text.split("\n")
    most = MAX_TEST_LINES if path.endswith("_test.cc") else MAX_FILE_LINES
    if len(lines) > most:
        out.append(f"{path}: {len(lines)} lines, at most {most}")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS and "http" not in line and "#include" not in line:
            out.append(f"{path}:{number}: {len(line)} columns, at most {MAX_COLUMNS}")
        for pattern, why in BANNED:
            if pattern.search(line) and not ("sleep" in why and path in SLEEP_ALLOWED):
                out.append(f"{path}:{number}: {why}")
        test = path.endswith("_test.cc") or "/testing/" in path
        if path.startswith(PURE) and not test and IMPURE.search(line):
            out.append(f"{path}:{number}: {path.rpartition('/')[0]} is pure: no clock, thread, file or random source")
    if path.endswith(".h"):
        guard = "EVOGRAD_" + re.sub(r"[/.]", "_", path).upper() + "_"
        if f"#ifndef {guard}" not in text:
            out.append(f"{path}: the include guard is {guard}")
    if path.startswith(("server/", "client/", "common/", "algo/", "spec/")) and re.search(r"#include [<\"](torch|ATen|c10)/", text):
        out.append(f"{path}: LibTorch has no place here")
    return out


def main():
    root = os.path.dirname(os.path.realpath(sys.argv[1]))
    count, found = 0, []
    for folder, folders, files in os.walk(root):
        folders[:] = [d for d in folders if not d.startswith((".", "bazel-"))]
        for name in files:
            if name.endswith(SOURCES):
                path = os.path.relpath(os.path.join(folder, name), root)
                with open(os.path.join(folder, name), encoding="utf8") as f:
                    found += problems(path, f.read())
                count += 1
    planted = "x" * 101 + "\n// TODO\nabsl::SleepFor(1);\nabsl::Now();\n#include <torch/torch.h>\n" + "\n" * 500
    if len(problems("algo/planted.h", planted)) != 7:
        sys.exit(f"planted violations were not all found: {problems('algo/planted.h', planted)}")
    if count < 20:
        sys.exit(f"{count} files read under {root}: the tree was not found")
    if found:
        sys.exit("house rules broken:\n  " + "\n  ".join(found))
    print(f"{count} files read")


main()
