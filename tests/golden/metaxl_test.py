"""Goal: MetaXL's losses and their derivatives of first and second order are those of transformers' XLM-R and plain autograd.

Method: a small randomly initialised model is saved by transformers in its own format, with a tokenizer trained by
sentencepiece and sentences in three languages. For each job below the C++ problem dumps its batches and what its functions
give. Here transformers' model, which must take the dumped parameters by their names, computes the same from the dumped
batches; the transformation is put behind its layer by a hook; the second-order term is differentiated twice. Nothing is
pinned. Last, numbers that are off by little must be noticed. (How an estimator combines these is
hypergradient_test.py's.)
"""

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

HIDDEN, LAYERS, BOTTLENECK = 16, 3, 5
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
NONE = "estimator { kind: NONE }"
# (fields of the problem, fields of the job)
JOBS = [
    ("", ""),
    ("transformed_layer: 2", ""),
    ("transformed_layer: 1", ""),
    ("transformed_layer: 0 perturbed: ENCODER_TOP perturbed_layers: 2", ""),
    ("transformed_layer: 2 perturbed: ENCODER_TOP", ""),
    ("transformed_layer: 2 perturbed: ALL", ""),
    ("task: CLASSIFICATION transformed_layer: 2", ""),
    ("task: CLASSIFICATION", ""),
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
    """What one job's functions gave, and transformers' own."""

    def __init__(self, path, config, fields):
        with safe_open(path, "pt") as f:
            self.file = {name: f.get_tensor(name) for name in f.keys()}
        words = fields.split()
        self.fields = dict(zip([word.rstrip(":") for word in words[::2]], words[1::2]))
        tagging = self.fields.get("task") != "CLASSIFICATION"
        self.layer = int(self.fields.get("transformed_layer", LAYERS))
        self.training = self.fields.get("training", "METAXL")
        kind = transformers.XLMRobertaForTokenClassification if tagging else transformers.XLMRobertaForSequenceClassification
        config.num_labels = len(TAGS) if tagging else 3
        config._attn_implementation = "eager"  # the others have no second derivative
        self.model = kind(config).double().eval()
        self.theta = self.of_parameters("parameters")
        self.model.load_state_dict(self.theta, strict=True)

    def of_parameters(self, what):
        return {name.removeprefix(what + "."): value for name, value in self.file.items() if name.startswith(what + ".")}

    def transform(self, hidden, values):
        width = BOTTLENECK
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
            logits = functional_call(self.model, theta, args=(ids,), kwargs={"attention_mask": mask}).logits
        finally:
            if hook is not None:
                hook.remove()
        if values is not None and not used:
            raise AssertionError("the transformation was not run")
        return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))

    def side(self, kind, number):
        return [self.file[f"{kind}.{4 * number + i}"] for i in range(4)]

    def train_loss(self, theta, values):
        if self.training == "TARGET_ONLY":
            return self.side_loss(theta, self.side("train", 0), None)
        source = values if self.training == "METAXL" else None
        return self.side_loss(theta, self.side("train", 0), source) + self.side_loss(theta, self.side("train", 1), None)

    def validation_loss(self, theta):
        return self.side_loss(theta, self.side("validation", 0), None)

    def run(self):
        values = self.file["lambda"].clone().requires_grad_()
        theta = {name: value.clone().requires_grad_() for name, value in self.theta.items()}
        tensors = list(theta.values())

        loss = self.validation_loss(theta)
        self.check("validation_loss", loss)
        direction = self.check_gradient("validation_gradient", tensors, torch.autograd.grad(loss, tensors, allow_unused=True))
        loss = self.train_loss(theta, values)
        self.check("train_loss", loss)
        gradients = torch.autograd.grad(loss, tensors, create_graph=True, allow_unused=True)
        self.check_gradient("train_gradient", tensors, gradients)
        self.check_perturbed()
        if self.training != "METAXL":
            return
        (hypergradient,) = torch.autograd.grad(loss, values, retain_graph=True)
        self.check("train_hypergradient", hypergradient)
        self.check("hypergradient", hypergradient)
        self.check("member_loss", loss)
        product = sum((g * d).sum() for g, d in zip(gradients, direction) if g is not None)
        self.check("cross", torch.autograd.grad(product, values)[0])

    def check_gradient(self, what, tensors, gradients):
        """Relative to the largest number of all tensors: some have no gradient but rounding."""
        gradients = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients)]
        scale = max(g.abs().max().item() for g in gradients)
        for name, gradient in zip(self.theta, gradients):
            self.check(f"{what}.{name}", gradient, scale)
        return [gradient.detach() for gradient in gradients]

    def check_perturbed(self):
        first = {"CLASSIFIER": LAYERS, "ENCODER_TOP": LAYERS - int(self.fields.get("perturbed_layers", 1)), "ALL": -1}
        first = first[self.fields.get("perturbed", "CLASSIFIER")]
        for name, perturbed in self.of_parameters("perturbed").items():
            layer = int(name.split(".")[3]) if name.startswith("roberta.encoder.layer.") else -1
            if bool(perturbed) != (name.startswith("classifier.") or layer >= first):
                raise AssertionError(f"perturbed: {name}")

    def check(self, name, expected, scale=None):
        expected = expected.detach().double()
        actual = self.file[name].double().reshape(expected.shape)
        scale = scale or expected.abs().max().item()
        error = (actual - expected).abs().max().item()
        if not (scale > 1e-9 and error <= TOLERANCE * scale):
            raise AssertionError(f"{name} is off by {error:.3g} of {scale:.3g} (allowed: {TOLERANCE:g})")


def dump(folder, config, job):
    fields, others = job
    data = "texts" if "CLASSIFICATION" in fields else "data"
    languages = "source_languages: 'en' source_languages: 'de' target_language: 'qu'"
    text = (f"steps: 1 seed: 5 data_type: FLOAT64 {others} problem {{ metaxl {{ data_dir: '{folder}/{data}' "
            f"encoder_dir: '{folder}/encoder' {languages} batch_size: 6 target_batch_size: 8 bottleneck_size: {BOTTLENECK} "
            f"{fields} }} }}")
    path = f"{folder}/step.safetensors"
    subprocess.run([BINARY, path, text], check=True)
    return Step(path, config, fields)


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = write_folder(folder)
        losses = set()
        for job in JOBS:
            try:
                step = dump(folder, config, job)
                step.run()
            except AssertionError as e:
                sys.exit(f"{job}: {e}")
            losses.add(step.file["train_loss"].item())
            cross = step.file.get("cross", torch.zeros(1)).norm().item()
            print(f"{job}: train loss {step.file['train_loss'].item():.6f}, second-order term {cross:.3g}")
        if len(losses) < 7:
            sys.exit(f"{len(losses)} different losses: the jobs do not differ")
        name = "roberta.encoder.layer.1.attention.self.query.weight"
        dump(folder, config, JOBS[1])
        for name in ("hypergradient", "train_loss", "member_loss", "cross", f"validation_gradient.{name}"):
            step = Step(f"{folder}/step.safetensors", config, JOBS[1][0])
            # By a share of the largest number that the tensor is compared by.
            scale = max(g.abs().max() for g in step.of_parameters("validation_gradient").values()) if "." in name else 0
            step.file[name] = step.file[name] * (1 + 1e-5) + 1e-5 * scale
            try:
                step.run()
            except AssertionError:
                continue
            sys.exit(f"{name} was changed by 1e-5 and nobody noticed: this test proves nothing")


main()
