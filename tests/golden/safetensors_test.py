"""Goal: the reader of safetensors files reads what Python's library writes, to the last bit, and takes no file that
Python's library refuses.

Method: a file with every type, scalars, empty tensors, odd names and metadata, and a sharded model of transformers'
save_pretrained, are copied by the C++ reader and writer; PyTorch compares. Then thousands of damaged files: whatever
Python's library refuses must be refused with the file's name (the C++ reader may be stricter).
"""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile

BINARY, SITE, PEERS = sys.argv[1:4]
sys.path[:0] = [SITE, PEERS]

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

torch.set_num_threads(1)
TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]


def same(a, b):
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.contiguous().view(-1).view(torch.uint8).equal(b.contiguous().view(-1).view(torch.uint8))


def tensors():
    torch.manual_seed(0)
    named = {}
    for kind in TYPES:
        for shape in [(), (3,), (2, 0, 5), (2, 3, 4), (1, 1)]:
            values = torch.randn(shape, dtype=torch.float64) * 50
            named[f"{kind}.{shape} \"é\"\\\n"] = (values > 0) if kind == torch.bool else values.to(kind)
    named["not finite"] = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])
    return named


def copy(source, target):
    subprocess.run([BINARY, source, target], check=True)
    return load_file(target)


def expect_copy(source, expected, target):
    copied = copy(source, target)
    if set(copied) != set(expected):
        sys.exit(f"{source}: other names: {set(copied) ^ set(expected)}")
    wrong = [name for name in expected if not same(copied[name], expected[name])]
    if wrong:
        sys.exit(f"{source}: other bits in {wrong}")
    print(f"{os.path.basename(source.rstrip('/'))}: {len(expected)} tensors are the same")


def transformers_model(folder):
    from transformers import XLMRobertaConfig, XLMRobertaModel

    model = XLMRobertaModel(XLMRobertaConfig(
        vocab_size=211, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40, type_vocab_size=1))
    for name, options in [("whole", {}), ("shards", {"max_shard_size": "20KB"})]:
        model.save_pretrained(f"{folder}/{name}", **options)
    if not os.path.exists(f"{folder}/shards/model.safetensors.index.json"):
        sys.exit("transformers wrote no shards: this test proves nothing")
    return {name: value.detach() for name, value in model.state_dict().items()}


def python_accepts(path):
    try:
        with safe_open(path, "pt") as f:
            for name in f.keys():
                f.get_tensor(name)
        return True
    except Exception:
        return False


def damaged(good, rng):
    """Variants of a good file: bytes changed, cut out, put in; numbers of the header changed; tensors exchanged."""
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8:8 + length])
    kind = rng.randrange(6)
    if kind < 3:
        at = rng.randrange(min(len(good), 8 + length + 8))
        part = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 4)))
        return good[:at] + (part if kind < 2 else b"") + good[at + (1 if kind else 0):]
    name = rng.choice([n for n in header if n != "__metadata__"])
    entry = header[name]
    if kind == 3:
        entry["data_offsets"][rng.randrange(2)] += rng.choice([-8, -4, -1, 1, 4, 8, 2**31, 2**62])
    elif kind == 4:
        entry["shape"].append(rng.choice([0, 1, 2, 2**32, 2**62, 2**63, -1]))
    else:
        entry["dtype"] = rng.choice(["F32", "F64", "I64", "BOOL", "U8", "F8_E5M2", "X", "f32"])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + good[8 + length:]


def fuzz(folder, count):
    rng = random.Random(1)
    good = save({"a": torch.arange(6.0).view(2, 3), "bb": torch.arange(3), "c": torch.zeros(0, 2)}, {"k": "v"})
    paths = []
    for i in range(count):
        paths.append(f"{folder}/damaged{i}")
        with open(paths[-1], "wb") as f:
            f.write(good if i == 0 else damaged(good, rng))
    result = subprocess.run([BINARY, "--check", *paths], check=True, capture_output=True, text=True, errors="replace")
    # A message may quote a name that holds a line break.
    answers = [line for line in result.stdout.split("\n") if line == "OK" or folder in line.split("damaged")[0]]
    if len(answers) != count or answers[0] != "OK":
        sys.exit(f"{len(answers)} answers for {count} files; the good one: {answers[0]}")
    stricter = refused = 0
    for path, answer in zip(paths, answers):
        accepted = answer == "OK"
        refused += not accepted
        if accepted and not python_accepts(path):
            sys.exit(f"{path} is taken but Python refuses it")
        if not accepted:
            stricter += python_accepts(path)
            if path + ":" not in answer:
                sys.exit(f"{path} is not named: {answer}")
    print(f"{count} damaged files: {refused} refused, {stricter} of them taken by Python")
    if refused < count // 2 or refused == count or stricter > count // 5:
        sys.exit("too few or too many were refused: this test proves nothing")


def main():
    with tempfile.TemporaryDirectory() as folder:
        named = tensors()
        save_file(named, f"{folder}/all.safetensors", {"format": "pt", "note": "two\nlines"})
        expect_copy(f"{folder}/all.safetensors", named, f"{folder}/copy.safetensors")
        with safe_open(f"{folder}/copy.safetensors", "pt") as f:
            if f.metadata() != {"format": "pt", "note": "two\nlines"}:
                sys.exit(f"other metadata: {f.metadata()}")
        weights = transformers_model(folder)
        expect_copy(f"{folder}/whole/", weights, f"{folder}/copy2.safetensors")
        expect_copy(f"{folder}/shards/", weights, f"{folder}/copy3.safetensors")
        other = dict(named)
        other["not finite"] = -named["not finite"]
        if all(same(named[n], other[n]) for n in named):
            sys.exit("a changed sign was not noticed: this test proves nothing")
        fuzz(folder, 1000)


main()
