"""Goal: the folders depend on each other only as docs/architecture.md says.

Method: Bazel's own dependency graph of the programs (genquery, --output=graph) is read edge by edge; an edge from a
folder to one that is not in its list fails. A second check proves that the reader would notice: a forbidden edge
put into the same graph must be found.
"""

import re
import sys

THIRD_PARTY = {
    "absl", "cuda", "googletest", "grpc", "nlohmann_json", "openssl", "protobuf", "spng", "sqlite",
    "turbojpeg", "yaml_cpp", "zlib", "wheels",
}

# Folder (longest prefix counts) -> what it may depend on, itself apart.
ALLOWED = {
    "common": {"absl", "openssl"},
    "algo": {"common", "absl"},
    "proto": {"protobuf", "grpc"},
    "spec": {"algo", "common", "proto", "absl", "protobuf", "yaml_cpp"},
    "server/core": {"algo", "common", "spec", "proto", "absl", "protobuf"},
    "server/store": {"common", "proto", "absl", "protobuf", "sqlite", "server/core"},
    "server/loop": {"server/core", "server/store", "common", "proto", "absl", "protobuf"},
    "server/rpc": {"server/loop", "server/core", "server/store", "common", "spec", "proto", "absl", "grpc", "protobuf"},
    "server": {"server/loop", "server/rpc", "server/store", "server/core", "common", "absl", "grpc"},
    "worker/core": {"algo", "common", "spec", "proto", "absl", "protobuf"},
    "worker/kernels": {"algo", "common", "absl", "wheels:cudart"},
    "worker/collective": {"algo", "common", "absl", "openssl", "wheels:nccl", "wheels:cudart"},
    "worker/data": {
        "common", "spec", "absl", "algo", "nlohmann_json", "spng", "turbojpeg", "zlib", "wheels:torch",
    },
    "worker/models": {"common", "absl", "algo", "nlohmann_json", "wheels:torch"},
    "worker/problems": {"worker/data", "worker/models", "algo", "common", "spec", "proto", "absl", "protobuf", "wheels:torch"},
    "worker/engine": {
        "worker/kernels", "worker/problems", "worker/collective", "worker/data", "algo", "common", "spec", "proto",
        "absl", "protobuf", "wheels:torch", "wheels:cudart",
    },
    "worker/agent": {
        "worker/core", "worker/collective", "worker/engine:interface", "algo", "common", "spec", "proto", "absl",
        "protobuf", "grpc",
    },
    "worker": {"worker/agent", "worker/core", "worker/collective", "worker/engine", "common", "spec", "proto", "absl", "grpc", "protobuf"},
    "client/lib": {"proto", "common", "spec", "absl", "grpc", "protobuf"},
    "client/cli": {"client/lib", "proto", "common", "spec", "absl", "grpc", "protobuf"},
}

# What a program may never reach, however indirectly.
NEVER = {
    "server": ("@wheels//", "//worker", "//client", "//tests"),
    "client": ("@wheels//", "//worker", "//server", "//tests"),
    "worker": ("//server", "//client", "//tests"),
}


def folder(label):
    """The folder of ALLOWED that a label lies in, or the third party's name; None for what no rule is about."""
    match = re.match(r"@wheels//:?([^:]*):?(.*)", label)
    if match:
        return "wheels:" + (match.group(2) or match.group(1))
    match = re.match(r"//third_party/([a-z_]+)", label)
    if match:
        return match.group(1) if match.group(1) in THIRD_PARTY else None
    match = re.match(r"//([^:]*)(?::(.*))?", label)
    if not match or label.startswith("@"):
        return None
    path = match.group(1)
    while path and path not in ALLOWED:
        path = path.rpartition("/")[0]
    return path or None


def is_source(label):
    return "." in label.rpartition(":")[2]


def edges(graph):
    for line in graph.splitlines():
        match = re.match(r'\s*"(.+)" -> "(.+)"', line)
        if match:
            for source in match.group(1).split("\\n"):
                for target in match.group(2).split("\\n"):
                    yield source, target


def violations(graph):
    found = []
    for source, target in edges(graph):
        here, there = folder(source), folder(target)
        if here not in ALLOWED or there is None or here == there or is_source(target):
            continue
        allowed = ALLOWED[here]
        if there in allowed or target.lstrip("/") in allowed:
            continue
        found.append(f"{source} -> {target}: {here} may not depend on {there}")
    return found


def reachable_violations(name, graph):
    labels = {label for edge in edges(graph) for label in edge}
    return [f"//{name} reaches {label}" for label in sorted(labels) if label.startswith(NEVER[name])]


def main():
    found = []
    for path in sys.argv[1:]:
        name = path.rpartition("/")[2].removesuffix("_graph")
        with open(path, encoding="utf8") as f:
            graph = f.read()
        count = sum(1 for _ in edges(graph))
        if count < 20:
            sys.exit(f"{path} holds {count} edges: the graph was not read")
        found += violations(graph) + reachable_violations(name, graph)
        planted = '  "//server/core:x" -> "//worker/engine:engine"\n  "//client/lib:x" -> "@wheels//:torch"\n'
        if len(violations(graph + planted)) != len(violations(graph)) + 2:
            sys.exit("two forbidden edges put into the graph were not found: this test proves nothing")
        print(f"{name}: {count} edges read")
    if found:
        sys.exit("forbidden dependencies:\n  " + "\n  ".join(found))


main()
