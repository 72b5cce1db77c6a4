"""Goal: the recipe makes an encoder that the C++ readers take, the same one each time, and says what is wrong with its data.

Method: a tiny folder of two languages is written here; the recipe runs twice, for a few steps; the files are compared, the
C++ tokenizer must give the recipe's own ids, and the C++ encoder transformers' hidden states. Then bad data and a changed
file, each beside the good one.
"""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile

SCRIPT, TOKENIZE, RUN, SITE, PEERS = sys.argv[1:6]
sys.path[:0] = [SITE, PEERS, os.path.dirname(SCRIPT)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{SITE}:{PEERS}", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
WORDS = {
    "en": "the open file menu press key to close window settings and click save button of your network".split(),
    "ru": "откройте файл меню нажмите клавишу чтобы закрыть окно настройки и сохраните кнопку вашей сети".split(),
}


def write_data(folder):
    for language, words in WORDS.items():
        for split, count in (("train", 60), ("dev", 20)):
            path = folder / language / split
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = []
            for i in range(count):
                lines += [f"{language}:{words[(i * 7 + j * (i + 1)) % len(words)]}\tO" for j in range(3 + i % 5)] + [""]
            path.write_text("\n".join(lines), encoding="utf8")


def recipe(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, env=ENVIRONMENT)


def make(data, out, steps=30):
    result = recipe(data, out, "--vocabulary", 90, "--hidden", 16, "--layers", 2, "--heads", 2, "--max-tokens", 20,
                    "--steps", steps, "--batch", 16)
    if result.returncode != 0:
        sys.exit(f"the recipe failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def refused(title, parts, *arguments):
    result = recipe(*arguments)
    message = result.stderr.strip().splitlines()[-1] if result.stderr.strip() else ""
    if result.returncode == 0 or not all(str(part) in message for part in parts):
        sys.exit(f"{title}: code {result.returncode}, {message!r} lacks one of {parts}")
    print(f"{title}: {message}")


def check_encoder(out, folder):
    import sentencepiece
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import XLMRobertaForMaskedLM
    from xlmr_small import encode

    processor = sentencepiece.SentencePieceProcessor(model_file=str(out / "sentencepiece.bpe.model"))
    sentences = [words[:9] for words in WORDS.values()]
    records = b""
    for words in sentences:
        records += b"w" + struct.pack("<II", 20, len(words))
        records += b"".join(struct.pack("<I", len(w.encode())) + w.encode() for w in words)
    lines = subprocess.run([TOKENIZE, out / "sentencepiece.bpe.model"], input=records, capture_output=True, check=True)
    got = [[int(i) for i in line.split("|")[0].split()] for line in lines.stdout.decode().splitlines()[1:]]
    want = [encode(processor, words, 20) for words in sentences]
    if got != want:
        sys.exit(f"the C++ tokenizer gives {got}, the recipe {want}")
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(w) for w in want], batch_first=True, padding_value=1)
    inputs = {"ids": ids, "mask": ids.ne(1).long(), "direction": torch.ones(*ids.shape, 16)}
    save_file(inputs, folder / "inputs")
    subprocess.run([RUN, out, folder / "inputs", folder / "hidden"], check=True)
    model = XLMRobertaForMaskedLM.from_pretrained(out).eval()
    with torch.no_grad():
        hidden = model.roberta(ids, attention_mask=inputs["mask"]).last_hidden_state
    difference = (hidden - load_file(folder / "hidden")["forward"]).abs().max().item()
    print(f"the C++ encoder differs by {difference:.1e}")
    if not difference < 1e-5:
        sys.exit("the C++ encoder gives other hidden states")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data, out, twin = folder / "data", folder / "out", folder / "twin"
        write_data(data)
        print(make(data, out).strip())
        make(data, twin)
        for path in sorted(out.iterdir()):
            if path.read_bytes() != (twin / path.name).read_bytes():
                sys.exit(f"a second run gave another {path.name}")
        import json

        losses = json.loads((out / "recipe.json").read_text())
        if not losses["dev_loss_after"] < losses["dev_loss_before"] - 0.1:
            sys.exit(f"training did nothing: {losses}")
        # 18 words of each language, all about as frequent, cut into few pieces: below the vocabulary's ln 84 = 4.43.
        if not 2 < losses["dev_loss_by_frequency"] < 4.43:
            sys.exit(f"frequencies are off: {losses}")
        check_encoder(out, folder)

        if recipe("--verify", out).returncode != 0:
            sys.exit("a good folder is not verified")
        weights = out / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
        refused("changed weights", [weights, "SHA-256"], "--verify", out)
        weights.unlink()
        refused("missing weights", [weights, "does not exist"], "--verify", out)
        refused("unknown language", ["xx/train", "en, ru"], data, out, "--languages", "xx")
        refused("no data", [folder / "none", "<lang>/train"], folder / "none", out)
        train = data / "ru" / "train"
        good = train.read_text(encoding="utf8")
        train.write_text(good.replace("\tO", " O", 1), encoding="utf8")
        refused("no tab", [f"{train}:1: has no tab"], data, out)
        train.write_bytes(good.encode()[:5] + b"\xff" + good.encode()[5:])
        refused("not UTF-8", [train, "not UTF-8 at byte 5"], data, out)


main()
