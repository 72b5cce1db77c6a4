#!/usr/bin/env python3
"""MetaXL (M. Xia et al., NAACL 2021): transfer to a low-resource language through a learned transformation of hidden
states, with transformers' XLM-R: target-only, joint, metaxl by evograd or t1t2.

  PYTHONPATH=... bench/reference/metaxl.py DATA ENCODER --source en de --target fa --training metaxl --estimator evograd

DATA/<language>/{train,dev,test} in BIO (PAN-X's layout), or --task classification with {train,dev,test}.tsv (columns label
and text). ENCODER: config.json, sentencepiece.bpe.model and, without --random_encoder, model.safetensors. A step takes a
source batch and a target batch; metaxl trains on the source through the transformation and on half of the target, and
validates on the other half; first the hyper step. evograd perturbs the classifier alone, as published; t1t2
differentiates through the step of all parameters (`--perturbed` says otherwise). F1 is seqeval's, of the final
parameters; words that did not fit count as tagged O.
"""

import csv
import pathlib

import sentencepiece
import torch
from seqeval.metrics import f1_score, precision_score, recall_score
from torch import nn
from torch.nn import functional as F
from transformers import XLMRobertaConfig, XLMRobertaModel

import peer
from data import Cycle

PANX = ["O"] + [f"{kind}-{name}" for name in ("MISC", "PER", "ORG", "LOC") for kind in "BI"]
BEGIN, PAD, END, UNKNOWN = 0, 1, 2, 3


class Transformation(nn.Module):
    """h + sigmoid(gate) * f(h), f a perceptron of one hidden layer with one output more for the gate; h detached in f."""

    def __init__(self, size, bottleneck):
        super().__init__()
        self.down, self.up = nn.Linear(size, bottleneck), nn.Linear(bottleneck, size + 1)
        for layer in (self.down, self.up):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden):
        out = self.up(F.relu(self.down(hidden.detach())))
        return hidden + torch.sigmoid(out[..., -1:]) * out[..., :-1]


class SequenceHead(nn.Module):
    """Roberta's head for classification: dropout, dense, tanh, dropout, linear on the first position."""

    def __init__(self, size, labels, dropout):
        super().__init__()
        self.dense, self.dropout, self.out_proj = nn.Linear(size, size), nn.Dropout(dropout), nn.Linear(size, labels)

    def forward(self, hidden):
        x = torch.tanh(self.dense(self.dropout(hidden[:, 0])))
        return self.out_proj(self.dropout(x))


class TokenHead(nn.Linear):

    def __init__(self, size, labels, dropout):
        super().__init__(size, labels)
        self.rate = dropout

    def forward(self, hidden):
        return super().forward(F.dropout(hidden, self.rate, self.training))


class Model(nn.Module):

    def __init__(self, args, labels):
        super().__init__()
        folder = pathlib.Path(args.encoder)
        # Plain matrix products: a fused attention has no second derivative.
        options = dict(attn_implementation="eager")
        if args.random_encoder:
            config = XLMRobertaConfig.from_json_file(folder / "config.json")
            config._attn_implementation = "eager"
            self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
        else:
            self.roberta = XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32, **options)
        config = self.roberta.config
        head = TokenHead if args.task == "tagging" else SequenceHead
        self.classifier = head(config.hidden_size, labels, config.hidden_dropout_prob)
        for module in self.classifier.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, config.initializer_range)
                nn.init.zeros_(module.bias)
        self.transformation = None
        layer = args.transformed_layer or config.num_hidden_layers
        self.roberta.encoder.layer[layer - 1].register_forward_hook(self.transform)

    def transform(self, module, inputs, output):
        if self.transformation is None:
            return output
        if isinstance(output, tuple):
            return (self.transformation(output[0]), *output[1:])
        return self.transformation(output)

    def forward(self, ids, transformation=None):
        self.transformation = transformation
        hidden = self.roberta(input_ids=ids, attention_mask=(ids != PAD).long()).last_hidden_state
        self.transformation = None
        return self.classifier(hidden)


class Reader:
    """Texts and their labels as ids: (pieces with specials, label of each piece or -100), or (pieces, label)."""

    def __init__(self, args):
        self.args = args
        self.root = pathlib.Path(args.data)
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(pathlib.Path(args.encoder) / "sentencepiece.bpe.model"))
        listed = self.root / "labels.txt"
        self.labels = []
        if args.task == "tagging":
            self.labels = listed.read_text().split() if listed.exists() else PANX
        else:
            self.labels = sorted({row["label"] for language in [*args.source, args.target] for row in self.rows(language, "train")})

    def ids(self, text):
        # XLM-R's numbers: <s> <pad> </s> <unk>, then SentencePiece's own, one later.
        return [i + 1 if i else UNKNOWN for i in self.pieces.encode(text)]

    def rows(self, language, split):
        with open(self.root / language / f"{split}.tsv", encoding="utf8") as f:
            return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))

    def sentences(self, language, split):
        words, tags, out = [], [], []
        for line in open(self.root / language / split, encoding="utf8"):
            line = line.rstrip("\n")
            if not line.strip():
                if words:
                    out.append((words, tags))
                words, tags = [], []
                continue
            word, tag = line.rsplit("\t", 1)
            prefix = language + ":"
            words.append(word[len(prefix):] if word.startswith(prefix) else word)
            tags.append(self.labels.index(tag))
        return out + ([(words, tags)] if words else [])

    def read(self, language, split, longest):
        if self.args.task == "classification":
            return [([BEGIN, *self.ids(row["text"])[:longest - 2], END], self.labels.index(row["label"]))
                    for row in self.rows(language, split)]
        out = []
        for words, tags in self.sentences(language, split):
            ids, labels = [BEGIN], [-100]
            for word, tag in zip(words, tags):
                pieces = self.ids(word) or [UNKNOWN]
                ids += pieces
                labels += [tag] + [-100] * (len(pieces) - 1)
            out.append((ids[:longest - 1] + [END], labels[:longest - 1] + [-100], tags))
        return out


def collate(examples):
    longest = max(len(e[0]) for e in examples)
    ids = torch.tensor([e[0] + [PAD] * (longest - len(e[0])) for e in examples])
    if isinstance(examples[0][1], int):
        return ids, torch.tensor([e[1] for e in examples])
    return ids, torch.tensor([e[1] + [-100] * (longest - len(e[1])) for e in examples])


def macro_f1(pairs):
    """Mean over the classes that occur, or are guessed, of 2 TP / (2 TP + FP + FN); pairs of (label, guess)."""
    classes = {c for pair in pairs for c in pair}
    f1 = lambda c: 2 * sum(a == b == c for a, b in pairs) / sum((a == c) + (b == c) for a, b in pairs)
    return sum(map(f1, classes)) / len(classes)


class Trainer:
    application = "metaxl"

    def __init__(self, args):
        if args.memory:
            args.training = "joint" if args.estimator == "vanilla" else "metaxl"
        if (args.training == "metaxl") != (args.estimator != "vanilla"):
            raise SystemExit(f"--training {args.training} does not go with --estimator {args.estimator}")
        self.args = args
        self.reader = reader = Reader(args)
        chosen = torch.Generator().manual_seed(args.data_seed)
        subset = lambda all, count: [all[i] for i in torch.randperm(len(all), generator=chosen)[:count or len(all)].tolist()]
        self.source = []
        if args.training != "target-only":
            everything = [e for language in args.source for e in reader.read(language, "train", args.max_length)]
            self.source = subset(everything, args.train_size)
        self.target = subset(reader.read(args.target, "train", args.max_length), args.target_train_size)
        torch.manual_seed(args.seed)
        generator = torch.Generator().manual_seed(args.seed)
        self.target_batches = Cycle(len(self.target), args.batch, generator)
        self.source_batches = Cycle(max(1, len(self.source)), args.batch, generator)
        self.steps = args.steps or args.epochs * -(-(len(self.source) or len(self.target)) // args.batch)
        self.model = Model(args, len(reader.labels))
        self.transformation = Transformation(self.model.roberta.config.hidden_size, args.bottleneck)
        self.stateless = peer.Stateless(self.model)
        adam = dict(weight_decay=args.weight_decay, eps=1e-8)
        self.optimizer = torch.optim.Adam(self.model.parameters(), args.lr, **adam)
        self.meta_optimizer = torch.optim.Adam(self.transformation.parameters(), args.meta_lr, **adam)
        perturbed = args.perturbed or ("all" if args.estimator == "t1t2" else "classifier")
        self.perturbed = lambda name: perturbed == "all" or name.startswith("classifier.")

    def factor(self, i):
        """Linear warm-up, then linearly to 0."""
        warm = max(1, int(self.args.warmup * self.steps))
        return (i + 1) / warm if i < warm else max(0, (self.steps - i) / max(1, self.steps - warm))

    def loss(self, parameters, batch, transformation=None):
        ids, labels = batch
        scores = self.stateless(parameters, ids, transformation)
        return F.cross_entropy(scores.flatten(0, -2), labels.flatten(), ignore_index=-100)

    def train_loss(self, parameters):
        loss = self.loss(parameters, self.target_batch)
        if self.source:
            through = self.transformation if self.args.training == "metaxl" else None
            loss = loss + self.loss(parameters, self.source_batch, through)
        return loss

    def hyper_step(self):
        own = dict(self.model.named_parameters())
        rest = {name: p.detach() for name, p in own.items() if not self.perturbed(name)}
        some = {name: p for name, p in own.items() if self.perturbed(name)}
        hyper = list(self.transformation.parameters())
        gradients = peer.hypergradient(self.args, lambda p: self.train_loss({**rest, **p}),
                                       lambda p: self.loss({**rest, **p}, self.validation_batch), some, hyper,
                                       self.optimizer.param_groups[0]["lr"])
        for p, g in zip(hyper, gradients):
            p.grad = g
        self.meta_optimizer.step()

    def step(self, i):
        self.model.train()
        for optimizer, rate in ((self.optimizer, self.args.lr), (self.meta_optimizer, self.args.meta_lr)):
            optimizer.param_groups[0]["lr"] = rate * self.factor(i)
        target = [self.target[j] for j in self.target_batches.next().tolist()]
        half = len(target) // 2
        if self.args.training == "metaxl":
            self.target_batch, self.validation_batch = collate(target[:half]), collate(target[half:])
        else:
            self.target_batch = collate(target)
        if self.source:
            self.source_batch = collate([self.source[j] for j in self.source_batches.next().tolist()])
        if self.args.estimator != "vanilla":
            self.hyper_step()
        self.optimizer.zero_grad()
        self.train_loss(dict(self.model.named_parameters())).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.args.clip)
        self.optimizer.step()

    def held(self):
        return [self.model, self.transformation, self.optimizer, self.meta_optimizer]

    def predictions(self, examples):
        for first in range(0, len(examples), 32):
            part = examples[first:first + 32]
            for example, guess in zip(part, self.model(collate(part)[0]).argmax(-1).tolist()):
                yield example, guess

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        result, names = {}, self.reader.labels
        for kind, language, split in (("target_dev", self.args.target, "dev"), ("target_test", self.args.target, "test")):
            examples = self.reader.read(language, split, self.args.evaluation_length)
            if self.args.task == "classification":
                guesses = [(e[1], guess) for e, guess in self.predictions(examples)]
                result[kind + "_accuracy"] = sum(a == b for a, b in guesses) / len(guesses)
                result[kind + "_macro_f1"] = macro_f1(guesses)
                continue
            actual, predicted = [], []
            for (ids, labels, tags), guess in self.predictions(examples):
                found = [names[g] for label, g in zip(labels, guess) if label >= 0]
                actual.append([names[t] for t in tags])
                predicted.append(found + ["O"] * (len(tags) - len(found)))
            for name, score in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
                result[f"{kind}_{name}"] = float(score(actual, predicted))
        return result


def main():
    parser = peer.parser(__doc__)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("--source", nargs="*", default=[])
    parser.add_argument("--target", required=True)
    parser.add_argument("--task", choices=["tagging", "classification"], default="tagging")
    parser.add_argument("--training", choices=["target-only", "joint", "metaxl"], default="metaxl")
    parser.add_argument("--perturbed", choices=["classifier", "all"])
    parser.add_argument("--random_encoder", action="store_true")
    parser.add_argument("--transformed_layer", type=int, default=0, help="0: after the last")
    parser.add_argument("--bottleneck", type=int, default=384)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--train_size", type=int, default=5000)
    parser.add_argument("--target_train_size", type=int, default=100)
    parser.add_argument("--data_seed", type=int, default=42)
    parser.add_argument("--max_length", type=int, default=200)
    parser.add_argument("--evaluation_length", type=int, default=512)
    parser.add_argument("--lr", type=float, default=3e-5)
    parser.add_argument("--meta_lr", type=float, default=1e-6)
    parser.add_argument("--weight_decay", type=float, default=5e-4, help="of both optimisers")
    parser.add_argument("--warmup", type=float, default=0.1, help="share of the steps")
    parser.add_argument("--clip", type=float, default=10)
    peer.main(Trainer, parser)


if __name__ == "__main__":
    main()
