"""Goal: the recipe builds what its hashes say, and --verify notices what is damaged, missing or cut.

Method: cifar-shaped, which needs no download, is built in a temporary folder; the command then checks it whole and with
one file spoilt in three ways.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

RECIPE, PEERS, SITE = sys.argv[1:4]


def run(out, *arguments):
    environment = {**os.environ, "PYTHONPATH": f"{PEERS}:{SITE}"}
    command = ["/usr/bin/python3", RECIPE, str(out), "cifar-shaped", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def expect(good, done, *parts):
    text = done.stdout + done.stderr
    if (done.returncode == 0) != good or any(part not in text for part in parts):
        sys.exit(f"expected {'success' if good else 'a refusal'} and {parts}, got {done.returncode}:\n{text}")


with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder:
    out = pathlib.Path(folder)
    expect(False, run(out, "--verify"), "data_batch_1.bin: is missing")
    expect(True, run(out), "test_batch.bin: 30730000 bytes, good")
    victim = out / "cifar-shaped" / "data_batch_4.bin"
    whole = victim.read_bytes()
    if len(whole) != 10000 * 3073 or max(whole[::3073]) != 9:
        sys.exit("data_batch_4.bin is no CIFAR-10 batch")
    victim.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    expect(False, run(out, "--verify"), "data_batch_4.bin: its 30730000 bytes have SHA-256", "build the set again")
    victim.write_bytes(whole[:-1])
    expect(False, run(out, "--verify"), "data_batch_4.bin: its 30729999 bytes")
    victim.write_bytes(whole)
    expect(True, run(out, "--verify"), "batches.meta.txt: 65 bytes, good")
print("the recipe's set is whole, and damage is noticed")
