"""Goal: a whole meta-step of MetaXL is what transformers' XLM-R and plain autograd give in the published form.

Method: a small randomly initialised model is saved by transformers in its own format, with a tokenizer trained by
sentencepiece and sentences in three languages. For each job below the C++ engine dumps one step; here transformers' model,
which must take the dumped parameters by their names, computes the same step from the dumped batch: the losses of all members
with all graphs alive, the softmax differentiated by autograd, double backward for t1t2. The transformation is put behind its
layer by a hook. Nothing is pinned. Last, numbers that are off by little must be noticed.
"""

import json
import os
import random
import subprocess
import sys
import tempfile

BINARY, SITE, PEERS = sys.argv[1:4]
sys.path[:0] = [PEERS, SITE]
os.environ["HF_HUB_OFFLINE"] = "1"

import sentencepiece
import torch
import transformers
from safetensors import safe_open
from torch.func import functional_call

torch.set_num_threads(1)
torch.manual_seed(4)

HIDDEN, LAYERS, RATE = 16, 3, 0.1
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
METAXL = "estimator { sigma: 0.05 population: 3 } "
T1T2 = "estimator { kind: T1T2 inner_learning_rate: 0.1 } "
NONE = "estimator { kind: NONE } "
# (fields of the problem, fields of the job)
JOBS = [
    ("", METAXL),
    ("", T1T2),
    ("", "virtual_workers: 2 " + METAXL),
    ("transformed_layer: 1", METAXL),
    ("transformed_layer: 1", T1T2),
    ("transformed_layer: 0 perturbed: ENCODER_TOP perturbed_layers: 2", METAXL),
    ("transformed_layer: 2 perturbed: ALL", METAXL),
    ("perturbed: ENCODER_TOP", "step_order: BASE_FIRST " + METAXL),
    ("task: CLASSIFICATION transformed_layer: 2", METAXL),
    ("task: CLASSIFICATION", T1T2),
    ("training: JOINT", NONE),
    ("training: TARGET_ONLY", NONE),
]
TOLERANCE = 1e-6


def write_folder(folder):
    """Encoder, tokenizer and data."""
    generator = random.Random(3)
    syllables = ["ka", "lo", "mi", "nu", "pe", "ri", "so", "tu", "wä", "зо", "ไม"]

    def word():
        return "".join(generator.choices(syllables, k=generator.randrange(1, 4)))

    text = []
    for language in ("en", "de", "qu"):
        os.makedirs(f"{folder}/data/{language}")
        os.makedirs(f"{folder}/texts/{language}")
        for split in ("train", "dev", "test"):
            sentences = [[word() for _ in range(generator.randrange(1, 7))] for _ in range(12)]
            text += [" ".join(sentence) for sentence in sentences]
            with open(f"{folder}/data/{language}/{split}", "w", encoding="utf8") as f:
                for sentence in sentences:
                    f.write("".join(f"{language}:{w}\t{generator.choice(TAGS)}\n" for w in sentence) + "\n")
            with open(f"{folder}/texts/{language}/{split}.tsv", "w", encoding="utf8") as f:
                f.write("label\ttext\n" + "".join(f"{generator.choice('abc')}\t{' '.join(s)}\n" for s in sentences))
    with open(f"{folder}/data/labels.txt", "w", encoding="utf8") as f:
        f.write("\n".join(TAGS) + "\n")
    with open(f"{folder}/texts/labels.txt", "w", encoding="utf8") as f:
        f.write("a\nb\nc\n")
    os.makedirs(f"{folder}/encoder")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_prefix=f"{folder}/encoder/sentencepiece.bpe", vocab_size=60, minloglevel=2,
        model_type="unigram", hard_vocab_limit=False)
    pieces = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/encoder/sentencepiece.bpe.model").vocab_size()
    config = transformers.XLMRobertaConfig(
        vocab_size=pieces + 2, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=60, type_vocab_size=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        initializer_range=0.3, layer_norm_eps=1e-5)
    transformers.XLMRobertaForMaskedLM(config).save_pretrained(f"{folder}/encoder")
    return config


class Step:
    """One dumped step, and transformers' own."""

    def __init__(self, path, config):
        with safe_open(path, "pt") as f:
            self.file = {name: f.get_tensor(name) for name in f.keys()}
            self.spec = json.loads(f.metadata()["spec"])
            self.base_first = f.metadata()["base_first"] == "true"
        self.problem, self.estimator = self.spec["problem"]["metaxl"], self.spec["estimator"]
        self.tagging = self.problem["task"] == "TAGGING"
        self.layer = self.problem.get("transformedLayer", LAYERS)
        kind = (transformers.XLMRobertaForTokenClassification if self.tagging
                else transformers.XLMRobertaForSequenceClassification)
        config.num_labels = len(TAGS) if self.tagging else 3
        config._attn_implementation = "eager"  # the others have no second derivative
        self.model = kind(config).double().eval()
        self.theta = {name.removeprefix("parameters."): value for name, value in self.file.items()
                      if name.startswith("parameters.")}
        self.model.load_state_dict(self.theta, strict=True)
        self.hook = None

    def transform(self, hidden, values):
        width = self.problem["bottleneckSize"]
        sizes = [width * HIDDEN, width, (HIDDEN + 1) * width, HIDDEN + 1]
        w1, b1, w2, b2 = values.split(sizes)
        inner = torch.relu(hidden.detach() @ w1.view(width, HIDDEN).t() + b1)
        out = inner @ w2.view(HIDDEN + 1, width).t() + b2
        return hidden + torch.sigmoid(out[..., HIDDEN:]) * out[..., :HIDDEN]

    def side_loss(self, theta, side, values):
        ids, mask, labels = side[:3]
        roberta = self.model.roberta
        place = roberta.encoder.layer[self.layer - 1] if self.layer > 0 else roberta.embeddings
        used = []

        def behind(module, inputs, output):
            used.append(True)
            if isinstance(output, tuple):
                return (self.transform(output[0], values), *output[1:])
            return self.transform(output, values)

        hook = place.register_forward_hook(behind) if values is not None else None
        try:
            logits = functional_call(self.model, theta, args=(ids,), kwargs={"attention_mask": mask.long()}).logits
        finally:
            if hook is not None:
                hook.remove()
        if values is not None and not used:
            raise AssertionError("the transformation was not run")
        return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))

    def side(self, kind, number):
        return [self.file[f"{kind}.{4 * number + i}"] for i in range(4)]

    def train_loss(self, theta, values):
        if self.problem["training"] == "TARGET_ONLY":
            return self.side_loss(theta, self.side("train", 0), None)
        source = values if self.problem["training"] == "METAXL" else None
        return self.side_loss(theta, self.side("train", 0), source) + self.side_loss(theta, self.side("train", 1), None)

    def validation_loss(self, theta):
        return self.side_loss(theta, self.side("validation", 0), None)

    def evograd(self, values):
        sigma, tau = self.estimator["sigma"], self.estimator["tau"]
        perturbed = self.problem["perturbed"]
        first = {"CLASSIFIER": LAYERS, "ENCODER_TOP": LAYERS - self.problem.get("perturbedLayers", 0), "ALL": -1}[perturbed]
        thetas, losses = [], []
        for k in range(self.estimator["population"]):
            theta = {}
            for name, value in self.theta.items():
                layer = int(name.split(".")[3]) if name.startswith("roberta.encoder.layer.") else -1
                moves = name.startswith("classifier.") or layer >= first
                epsilon = self.file.get(f"noise.{k}.{name}", torch.zeros_like(value))
                if not moves and epsilon.abs().max() > 0 or moves and not epsilon.abs().min() > 0:
                    raise AssertionError(f"noise of {name}: the wrong tensors are perturbed")
                theta[name] = value + sigma * epsilon
            thetas.append(theta)
            losses.append(self.train_loss(theta, values))
        losses = torch.stack(losses)
        weights = torch.softmax(-losses / tau, 0)
        self.check("member_losses", losses)
        self.check("weights", weights)
        return {name: sum(w * theta[name] for w, theta in zip(weights, thetas)) for name in self.theta}

    def t1t2(self, values):
        theta = {name: value.clone().requires_grad_() for name, value in self.theta.items()}
        gradients = torch.autograd.grad(self.train_loss(theta, values), list(theta.values()), create_graph=True,
                                        allow_unused=True)
        rate = self.estimator["innerLearningRate"]
        return {name: value if g is None else value - rate * g for (name, value), g in zip(theta.items(), gradients)}

    def hyper_step(self):
        if self.estimator["kind"] == "NONE":
            return
        values = self.file["lambda"].clone().requires_grad_()
        point = self.t1t2(values) if self.estimator["kind"] == "T1T2" else self.evograd(values)
        loss = self.validation_loss(point)
        (gradient,) = torch.autograd.grad(loss, values)
        self.check("validation_loss", loss)
        self.check("hypergradient", gradient)

    def base_step(self):
        values = self.file["lambda"] if self.base_first else self.file["next.lambda"]
        theta = {name: value.clone().requires_grad_() for name, value in self.theta.items()}
        loss = self.train_loss(theta, values)
        gradients = torch.autograd.grad(loss, list(theta.values()), allow_unused=True)
        self.check("train_loss", loss)
        after = {name: value if g is None else value - RATE * g for (name, value), g in zip(self.theta.items(), gradients)}
        for name, value in after.items():
            self.check(f"next.parameters.{name}", value)
        moved = sum((after[name] - value).abs().max() > 1e-9 for name, value in self.theta.items())
        if moved < len(after) - 1 - LAYERS:  # a key's bias adds the same to all scores of a softmax
            raise AssertionError(f"only {moved} of {len(after)} tensors moved")
        self.theta = {name: self.file["next.parameters." + name] for name in after}

    def run(self):
        for part in (self.base_step, self.hyper_step) if self.base_first else (self.hyper_step, self.base_step):
            part()

    def check(self, name, expected):
        expected = expected.detach().double()
        actual = self.file[name].double().reshape(expected.shape)
        scale = expected.abs().max().item()
        error = (actual - expected).abs().max().item()
        if not error <= TOLERANCE * max(scale, 1e-12):
            raise AssertionError(f"{name} is off by {error:.3g} of {scale:.3g} (allowed: {TOLERANCE:g})")


def dump(folder, config, job):
    fields, others = job
    data = "texts" if "CLASSIFICATION" in fields else "data"
    languages = "source_languages: 'en' source_languages: 'de' target_language: 'qu'"
    text = (f"steps: 1 seed: 5 data_type: FLOAT64 base_optimizer {{ kind: SGD learning_rate: {RATE} }} {others} problem {{ "
            f"metaxl {{ data_dir: '{folder}/{data}' encoder_dir: '{folder}/encoder' {languages} batch_size: 6 "
            f"target_batch_size: 8 bottleneck_size: 5 {fields} }} }}")
    path = f"{folder}/step.safetensors"
    subprocess.run([BINARY, path, text], check=True)
    return Step(path, config)


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = write_folder(folder)
        for job in JOBS:
            try:
                step = dump(folder, config, job)
                step.run()
            except AssertionError as e:
                sys.exit(f"{job}: {e}")
            gradient = step.file.get("hypergradient", torch.zeros(1))
            print(f"{job}: train loss {step.file['train_loss'].item():.6f}, hypergradient {gradient.norm().item():.3g}")
        for name in ("hypergradient", "train_loss", "member_losses", "next.parameters.roberta.encoder.layer.0.output.dense.bias"):
            step = dump(folder, config, JOBS[0])
            step.file[name] = step.file[name] * (1 + 1e-5)
            try:
                step.run()
            except AssertionError:
                continue
            sys.exit(f"{name} was changed by 1e-5 and nobody noticed: this test proves nothing")


main()
