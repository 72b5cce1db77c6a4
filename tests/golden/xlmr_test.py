"""Goal: the C++ encoder computes what transformers' XLM-R computes, and refuses models that are not whole.

Method: small models with random weights are saved by transformers in its own format and run by both: hidden states of
every layer, logits of both heads, gradients to every parameter, and (float64) products with the Hessian, which T1-T2
needs. `published_quirks` is compared with transformers' BERT, whose positions count from 0. Then models of which a
tensor is missing, added, of another shape or not finite, and contradicting configurations, must be refused by name.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

BINARY, SITE, PEERS = sys.argv[1:4]
sys.path[:0] = [SITE, PEERS]

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig, BertModel, RobertaConfig, RobertaForTokenClassification, XLMRobertaConfig, XLMRobertaForMaskedLM,
    XLMRobertaForSequenceClassification, XLMRobertaForTokenClassification, XLMRobertaModel)

torch.set_num_threads(1)
SIZES = dict(
    vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=56,
    max_position_embeddings=24, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, num_labels=5,
    initializer_range=0.2)
# hidden states and logits: absolute; gradients: of a tensor's largest, and at least of FLOOR of the largest of all (a
# key's bias has no gradient but rounding).
TOLERANCE = {torch.float32: (1e-5, 1e-5), torch.float64: (1e-12, 1e-10)}
FLOOR = 0.05


def make(kind, config, dtype):
    torch.manual_seed(7)
    model = kind(config).to(dtype).eval()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 1:
                value.add_(0.3 * torch.randn_like(value))
    return model


def batch(pad, length=11, count=4):
    torch.manual_seed(8)
    ids = torch.randint(3, SIZES["vocab_size"], (count, length))
    mask = torch.ones(count, length, dtype=torch.int64)
    for row, size in enumerate([length, 7, 2, 5]):
        ids[row, size:] = pad
        mask[row, size:] = 0
    return ids, mask


def run(folder, inputs, quirks=False):
    save_file({name: value.contiguous() for name, value in inputs.items()}, f"{folder}/inputs")
    subprocess.run([BINARY, folder, f"{folder}/inputs", f"{folder}/out"] + ["quirks"] * quirks, check=True)
    return load_file(f"{folder}/out")


def short(name):
    return name.removeprefix("roberta.")


def expected(model, ids, mask, direction, logit_direction, vectors):
    encoder = getattr(model, "roberta", model)
    out = encoder(ids, attention_mask=mask, output_hidden_states=True)
    found = {f"hidden.{i}": h.detach() for i, h in enumerate(out.hidden_states)}
    found["forward"] = out.last_hidden_state.detach()
    loss = (out.last_hidden_state * direction).sum()
    if hasattr(model, "classifier"):
        logits = model.classifier(out.last_hidden_state)
        if model(ids, attention_mask=mask).logits.sub(logits).abs().max() > 1e-6:
            sys.exit("the model's own logits are others: this test compares the wrong thing")
        found["logits"] = logits.detach()
        loss = loss + (logits * logit_direction).sum()
    parameters = {n: p for n, p in model.named_parameters() if "pooler" not in n and "lm_head" not in n}
    for (name, _), g in zip(parameters.items(), torch.autograd.grad(loss, parameters.values(), retain_graph=True)):
        found["gradient." + short(name)] = g
    if vectors:
        square = (out.last_hidden_state * direction).square().sum()
        some = {n: p for n, p in parameters.items() if "classifier" not in n}
        gradients = torch.autograd.grad(square, some.values(), create_graph=True)
        product = sum((g * vectors["vector." + short(n)]).sum() for n, g in zip(some, gradients))
        for name, value in zip(some, torch.autograd.grad(product, some.values(), allow_unused=True)):
            if value is not None:
                found["product." + short(name)] = value
    return found


def worst(expected_tensors, actual):
    """(largest difference of hidden states and logits, of gradients and products in their scale, where)."""
    values, slopes = (0, ""), (0, "")
    largest = {
        kind: max([v.abs().max() for n, v in expected_tensors.items() if n.startswith(kind)] or [0])
        for kind in ("gradient.", "product.")
    }
    for name, want in expected_tensors.items():
        difference = (actual[name].double() - want.double()).abs().max().item()
        kind = name.partition(".")[0] + "."
        if kind in largest:
            scale = max(want.abs().max().item(), FLOOR * largest[kind].item())
            slopes = max(slopes, (difference / scale, name))
        else:
            values = max(values, (difference, name))
    return values, slopes


def compare(title, kind, config, dtype, hessian=False):
    with tempfile.TemporaryDirectory() as folder:
        model = make(kind, config, dtype)
        model.save_pretrained(folder)
        quirks = config.model_type == "bert"
        if quirks:
            with open(f"{folder}/config.json", encoding="utf8") as f:
                fields = json.load(f)
            with open(f"{folder}/config.json", "w", encoding="utf8") as f:
                json.dump({**fields, "model_type": "xlm-roberta"}, f)
        ids, mask = batch(config.pad_token_id)
        # What stands in padded places is compared with transformers too, since both see the same mask.
        direction = torch.randn(*ids.shape, config.hidden_size, dtype=dtype)
        inputs = {"ids": ids, "mask": mask, "direction": direction}
        if hasattr(model, "classifier"):
            shape = (len(ids), config.num_labels) if kind is XLMRobertaForSequenceClassification else (*ids.shape, config.num_labels)
            inputs["logit_direction"] = torch.randn(*shape, dtype=dtype)
        vectors = {}
        if hessian:
            for name, value in model.named_parameters():
                vectors["vector." + short(name)] = torch.randn_like(value)
        want = expected(model, ids, mask, direction, inputs.get("logit_direction"), vectors)
        got = run(folder, {**inputs, **vectors}, quirks)
        values, slopes = worst(want, got)
        missing = set(want) - set(got)
        tolerance = TOLERANCE[dtype]
        print(f"{title}: {len(want)} tensors; hidden states and logits differ by {values[0]:.1e} ({values[1]}), "
              f"gradients by {slopes[0]:.1e} ({slopes[1]})")
        if missing or values[0] > tolerance[0] or slopes[0] > tolerance[1]:
            sys.exit(f"{title}: too far off, or missing: {missing}")
        shifted = dict(got)
        shifted["hidden.2"] = got["hidden.2"] + 2 * tolerance[0]
        name = next(n for n in want if n.endswith("query.weight") and n.startswith("gradient"))
        shifted[name] = got[name] * (1 + 1e-3)
        noticed = worst(want, shifted)
        if noticed[0][0] <= tolerance[0] or noticed[1][0] <= tolerance[1]:
            sys.exit("numbers that are off were not noticed: this test proves nothing")


def refuse(folder, title, change, parts):
    """A copy of the good folder, changed, must be refused with all `parts` in the message."""
    with tempfile.TemporaryDirectory() as bad:
        for name in ("config.json", "model.safetensors", "inputs"):
            shutil.copy(f"{folder}/{name}", bad)
        weights = load_file(f"{bad}/model.safetensors")
        with open(f"{bad}/config.json", encoding="utf8") as f:
            config = json.load(f)
        change(weights, config)
        save_file(weights, f"{bad}/model.safetensors", {"format": "pt"})
        with open(f"{bad}/config.json", "w", encoding="utf8") as f:
            json.dump(config, f)
        result = subprocess.run([BINARY, bad, f"{bad}/inputs", f"{bad}/out"], capture_output=True, text=True)
        lacking = [p for p in [bad, *parts] if p not in result.stderr]
        if (result.returncode == 0) != (not parts) or (parts and lacking):
            sys.exit(f"{title}: code {result.returncode}, lacks {lacking}: {result.stderr}")
        print(f"{title}: {result.stderr.strip().replace(bad, 'FOLDER') or 'taken'}")


def bad_models():
    with tempfile.TemporaryDirectory() as folder:
        model = make(XLMRobertaForTokenClassification, XLMRobertaConfig(**SIZES), torch.float32)
        model.save_pretrained(folder)
        ids, mask = batch(1)
        run(folder, {"ids": ids, "mask": mask, "direction": torch.randn(*ids.shape, 32),
                     "logit_direction": torch.randn(*ids.shape, 5)})
        query = "roberta.encoder.layer.1.attention.self.query.weight"
        refuse(folder, "unchanged", lambda weights, config: None, [])
        refuse(folder, "missing", lambda weights, config: weights.pop(query), ["1 missing: encoder.layer.1.attention.self.query.weight"])
        refuse(folder, "extra", lambda weights, config: weights.update({"roberta.adapter.weight": torch.zeros(3)}),
               ["1 extra: roberta.adapter.weight"])
        refuse(folder, "shape", lambda weights, config: weights.update({query: torch.zeros(32, 31)}), [query, "[32, 31]", "[32, 32]"])
        refuse(folder, "NaN", lambda weights, config: weights[query][3].fill_(float("nan")), [query, "element 96 is nan"])
        refuse(folder, "vocabulary", lambda weights, config: config.update(vocab_size=98), ["word_embeddings.weight", "[97, 32]", "[98, 32]"])
        refuse(folder, "layers", lambda weights, config: config.update(num_hidden_layers=2), ["16 extra", "encoder.layer.2."])
        refuse(folder, "heads", lambda weights, config: config.update(num_attention_heads=5), ["num_attention_heads 5"])


def main():
    xlmr = XLMRobertaConfig(**SIZES)
    compare("token classification", XLMRobertaForTokenClassification, xlmr, torch.float32)
    compare("token classification, float64", XLMRobertaForTokenClassification, xlmr, torch.float64, hessian=True)
    compare("sequence classification", XLMRobertaForSequenceClassification, xlmr, torch.float32)
    compare("sequence classification, float64", XLMRobertaForSequenceClassification, xlmr, torch.float64)
    compare("masked language model's encoder", XLMRobertaForMaskedLM, xlmr, torch.float32)
    compare("encoder with pooler", XLMRobertaModel, xlmr, torch.float32)
    compare("RoBERTa", RobertaForTokenClassification, RobertaConfig(**{**SIZES, "type_vocab_size": 2}), torch.float32)
    compare("published quirks", BertModel, BertConfig(**{**SIZES, "pad_token_id": 0}), torch.float64, hessian=True)
    bad_models()


main()
