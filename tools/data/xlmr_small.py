#!/usr/bin/env python3
"""A small multilingual encoder for MetaXL, made here from a folder of text: for machines that reach no model hub.

    xlmr_small.py DATA OUT [--languages en,de,…] [--steps 6000] [--vocabulary 8000] [--hidden 128] [--layers 4] …
    xlmr_small.py --verify OUT     checks that OUT is whole and as it was written

DATA is a folder of the PAN-X layout, <lang>/{train,dev,test} with "<lang>:<token>\\t<tag>" lines and a blank line after
each sentence (tools/data/xl_gnomehelp.py makes one). On the train sentences of all languages, without their tags: a
SentencePiece unigram model with XLM-R's normalisation and special pieces is trained, then an XLM-R of the given size as a
masked language model (15 % of the tokens; of these 80 % <mask>, 10 % another, 10 % kept), languages drawn in proportion to
(number of sentences)^alpha. OUT is a folder in Hugging Face's format:

    OUT/{config.json, model.safetensors, sentencepiece.bpe.model}
    OUT/recipe.json     the options, the loss on dev sentences before and after, SHA-256 of the files

Training first finds how frequent pieces are ("by frequency alone" is that loss: 7.16 for twelve languages of the GNOME help), which
takes 600 steps, then what stands beside them: 5.15 after 6,000, half an hour on one core. One thread; the same options
give the same files on the same kind of machine. Needs the pinned packages:

    PYTHONPATH=$(third_party/wheels/install.sh):$(third_party/wheels/install.sh third_party/peers/requirements.lock 1500) \\
        /usr/bin/python3 tools/data/xlmr_small.py DATA OUT
"""

import argparse
import collections
import hashlib
import io
import json
import math
import pathlib
import random
import sys

FILES = ("config.json", "model.safetensors", "sentencepiece.bpe.model")
BEGIN, PAD, END, UNKNOWN = 0, 1, 2, 3
MASKED, REPLACED, KEPT = 0.15, 0.1, 0.1
IGNORED = -100
DEV_SENTENCES = 1000
POOLED_BATCHES = 16
GRADIENT_NORM, WARMUP = 1.0, 0.1


def stop(message):
    sys.exit(f"xlmr_small.py: {message}")


def read_sentences(path, language):
    """The sentences of a PAN-X file, each a list of tokens."""
    sentences, tokens = [], []
    try:
        text = path.read_text(encoding="utf8")
    except FileNotFoundError:
        stop(f"{path} does not exist; DATA must have <lang>/train and <lang>/dev for each language")
    except UnicodeDecodeError as error:
        stop(f"{path}: is not UTF-8 at byte {error.start}")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            if tokens:
                sentences.append(tokens)
            tokens = []
            continue
        token, tab, _ = line.rpartition("\t")
        if not tab:
            stop(f"{path}:{number}: has no tab; lines are '{language}:<token><tab><tag>'")
        tokens.append(token.removeprefix(f"{language}:"))
    return sentences + ([tokens] if tokens else [])


def find_languages(data, wanted):
    found = sorted(p.parent.name for p in data.glob("*/train") if p.is_file())
    if not found:
        stop(f"{data} has no <lang>/train; make one with tools/data/xl_gnomehelp.py")
    missing = sorted(set(wanted) - set(found))
    if missing:
        stop(f"{data} has no {', '.join(f'{name}/train' for name in missing)}; there are {', '.join(found)}")
    return wanted or found


def train_vocabulary(sentences, options):
    """The bytes of a SentencePiece model of XLM-R's kind."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(" ".join(tokens) for tokens in sentences), model_writer=model, model_type="unigram",
        # Its own special pieces take the place of <pad> and <mask>, which fairseq's order of ids adds.
        vocab_size=options.vocabulary - 2, hard_vocab_limit=False, character_coverage=options.character_coverage,
        normalization_rule_name="nmt_nfkc", unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1, minloglevel=1,
        max_sentence_length=1 << 16)
    return model.getvalue()


def encode(processor, tokens, max_tokens):
    """Ids of a sentence whose words are encoded one by one, as they are for tagging."""
    ids = [BEGIN]
    for token in tokens:
        ids += [i + 1 if i else UNKNOWN for i in processor.encode(token)] or [UNKNOWN]
    return ids[:max_tokens - 1] + [END]


def masked_batch(sequences, mask_id, rng):
    """(ids, attention, labels): labels are IGNORED where nothing is to be told."""
    import torch

    length = max(map(len, sequences))
    ids = torch.full((len(sequences), length), PAD)
    labels = torch.full((len(sequences), length), IGNORED)
    for row, sequence in enumerate(sequences):
        ids[row, :len(sequence)] = torch.tensor(sequence)
        for at in range(1, len(sequence) - 1):
            if rng.random() >= MASKED:
                continue
            labels[row, at] = sequence[at]
            draw = rng.random()
            if draw < REPLACED:
                ids[row, at] = rng.randrange(UNKNOWN + 1, mask_id)
            elif draw >= REPLACED + KEPT:
                ids[row, at] = mask_id
    return ids, ids.ne(PAD).long(), labels


def masked_loss(model, batch):
    """The mean over masked tokens; None where there are none. Scores are made for those alone."""
    import torch

    ids, attention, labels = batch
    hidden = model.roberta(ids, attention_mask=attention).last_hidden_state
    told = labels.ne(IGNORED)
    if not told.any():
        return None
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[told]), labels[told])


def dev_loss(model, batches):
    """Mean over all masked tokens of the batches."""
    import torch

    model.eval()
    total = count = 0
    with torch.no_grad():
        for batch in batches:
            loss = masked_loss(model, batch)
            if loss is not None:
                size = batch[2].ne(IGNORED).sum().item()
                total, count = total + loss.item() * size, count + size
    model.train()
    return total / max(count, 1)


def batches_of(sequences, size, mask_id, seed):
    rng = random.Random(seed)
    ordered = sorted(sequences, key=len)
    return [masked_batch(ordered[i:i + size], mask_id, rng) for i in range(0, len(ordered), size)]


def frequency_loss(train, batches, vocabulary_size):
    """The loss of a model that knows how frequent tokens are and nothing of their context: what training must get below."""
    counts = collections.Counter(i for sequences in train.values() for s in sequences for i in s[1:-1])
    total = sum(counts.values()) + vocabulary_size
    told = [i for batch in batches for i in batch[2][batch[2].ne(IGNORED)].tolist()]
    return sum(-math.log((counts[i] + 1) / total) for i in told) / max(1, len(told))


def training_batches(train, mask_id, options, rng):
    """Without end. Sentences of a pool are put together by length, so that little of a batch is padding."""
    languages = sorted(train)
    weights = [len(train[name]) ** options.alpha for name in languages]
    while True:
        names = rng.choices(languages, weights, k=POOLED_BATCHES * options.batch)
        pool = sorted((rng.choice(train[name]) for name in names), key=len)
        cuts = list(range(0, len(pool), options.batch))
        rng.shuffle(cuts)
        for cut in cuts:
            yield masked_batch(pool[cut:cut + options.batch], mask_id, rng)


def pretrain(model, train, dev, mask_id, options):
    """Adam with linear warm-up and decay; prints as it goes. Losses on dev sentences: (before, after, by frequency)."""
    import torch

    rng = random.Random(options.seed)
    flat = [sequence for name in sorted(dev) for sequence in dev[name]]
    held_out = batches_of(rng.sample(flat, min(DEV_SENTENCES, len(flat))), options.batch, mask_id, options.seed)
    before = dev_loss(model, held_out)
    frequency = frequency_loss(train, held_out, model.config.vocab_size)
    print(f"masked language model: loss {before:.4f} on dev sentences before; {frequency:.4f} by frequency alone", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    warmup = max(1, int(WARMUP * options.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warmup, (options.steps - s) / max(1, options.steps - warmup)))
    model.train()
    mean = None
    batches = training_batches(train, mask_id, options, rng)
    for step in range(options.steps):
        loss = masked_loss(model, next(batches))
        if loss is not None:
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            optimizer.step()
            mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        schedule.step()
        if (step + 1) % max(1, options.steps // 20) == 0:
            print(f"step {step + 1} of {options.steps}: training loss about {mean:.4f}", flush=True)
    after = dev_loss(model, held_out)
    print(f"masked language model: loss {after:.4f} on dev sentences after {options.steps} steps", flush=True)
    return before, after, frequency


def make_model(vocabulary_size, options):
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    torch.manual_seed(options.seed)
    return XLMRobertaForMaskedLM(XLMRobertaConfig(
        vocab_size=vocabulary_size, hidden_size=options.hidden, num_hidden_layers=options.layers,
        num_attention_heads=options.heads, intermediate_size=options.intermediate or 4 * options.hidden,
        max_position_embeddings=options.max_tokens + 2, type_vocab_size=1, layer_norm_eps=1e-5,
        hidden_dropout_prob=options.dropout, attention_probs_dropout_prob=options.dropout))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verify(out):
    recipe = out / "recipe.json"
    if not recipe.is_file():
        stop(f"{recipe} does not exist; is {out} a folder that this recipe wrote?")
    wanted = json.loads(recipe.read_text(encoding="utf8"))["sha256"]
    for name in FILES:
        if not (out / name).is_file():
            stop(f"{out / name} does not exist; run the recipe again")
        if digest(out / name) != wanted.get(name):
            stop(f"{out / name} is not what the recipe wrote (other SHA-256); run the recipe again")
    print(f"{out}: {', '.join(FILES)} are as they were written")


def run(options):
    languages = find_languages(options.data, options.languages)
    texts = {split: {name: read_sentences(options.data / name / split, name) for name in languages}
             for split in ("train", "dev")}
    # After the data's faults are told: these take seconds.
    import sentencepiece
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    count = sum(map(len, texts["train"].values()))
    print(f"{len(languages)} languages, {count} train sentences: training a vocabulary of {options.vocabulary}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    vocabulary = train_vocabulary([s for name in languages for s in texts["train"][name]], options)
    (options.out / FILES[2]).write_bytes(vocabulary)
    processor = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
    mask_id = processor.get_piece_size() + 1
    train, dev = ({name: [encode(processor, s, options.max_tokens) for s in sentences]
                   for name, sentences in texts[split].items() if sentences} for split in ("train", "dev"))
    model = make_model(mask_id + 1, options)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {mask_id + 1} ids", flush=True)
    before, after, frequency = pretrain(model, train, {name: dev.get(name, []) for name in train}, mask_id, options)
    model.save_pretrained(options.out)
    (options.out / "generation_config.json").unlink(missing_ok=True)
    (options.out / FILES[1]).chmod(0o644)
    fields = {k: v for k, v in vars(options).items() if k not in ("data", "out", "verify")}
    (options.out / "recipe.json").write_text(json.dumps({
        "options": {**fields, "languages": languages}, "dev_loss_before": before, "dev_loss_after": after,
        "dev_loss_by_frequency": frequency,
        "sha256": {name: digest(options.out / name) for name in FILES}}, indent=1) + "\n", encoding="utf8")
    print(f"{options.out}: written", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, nargs="?")
    parser.add_argument("out", type=pathlib.Path, nargs="?")
    parser.add_argument("--verify", type=pathlib.Path, metavar="OUT")
    parser.add_argument("--languages", type=lambda text: [name for name in text.split(",") if name], default=[])
    for name, default in [("vocabulary", 8000), ("hidden", 128), ("layers", 4), ("heads", 4), ("intermediate", 0),
                          ("max-tokens", 256), ("steps", 6000), ("batch", 32), ("seed", 1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in [("learning-rate", 1e-3), ("dropout", 0.1), ("alpha", 0.7), ("character-coverage", 0.9995)]:
        parser.add_argument(f"--{name}", type=float, default=default)
    options = parser.parse_args()
    if options.verify:
        return verify(options.verify)
    if not options.data or not options.out:
        parser.error("DATA and OUT are needed (or --verify OUT)")
    if options.hidden % options.heads:
        parser.error(f"--hidden {options.hidden} is not a multiple of --heads {options.heads}")
    if min(options.vocabulary, options.hidden, options.layers, options.heads, options.batch, options.steps + 1) < 1:
        parser.error("sizes must be 1 or more, steps 0 or more")
    return run(options)


if __name__ == "__main__":
    main()
