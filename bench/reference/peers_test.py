"""Goal: the peers compute what they say. Method: estimators against each other and against closed forms in float64;
counts of parameters against the published ones; files that a test writes; last, every program takes a few steps with
every estimator on small data made here, and learns where it can be told."""

import contextlib
import importlib
import io
import json
import os
import pathlib
import struct
import sys
import tempfile

HERE, (SITE, PEERS) = pathlib.Path(__file__).resolve().parent, sys.argv[1:3]
sys.path[:0] = [str(HERE), SITE, PEERS]
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from torch.nn import functional as F

import bilevel
import data
import lft_models
import metaxl
import models
import peer

torch.set_num_threads(1)


def small_problem():
    """theta of two tensors, lambda of 3 numbers; neither loss is quadratic."""
    g = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)
    x, y, u, v = draw(6, 3), draw(6), draw(6, 3), draw(6)
    parameters = {"w": draw(3, 2), "b": draw(2)}
    hyper = [torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)]
    out = lambda p, inputs: torch.tanh(inputs @ p["w"] + p["b"]).sum(1)
    train = lambda p: ((out(p, x * torch.sigmoid(hyper[0])) - y)**2).mean()
    validation = lambda p: ((out(p, u) - v)**2).mean()
    return train, validation, parameters, hyper


def check_estimators():
    train, validation, parameters, hyper = problem = small_problem()
    exact = bilevel.t1t2_hypergradient(*problem, 0.1)
    # t1t2 against differences of the validation loss after one step.
    after = lambda: validation(bilevel.look_ahead(train, parameters, 0.1)).item()
    with torch.no_grad():
        for i in range(3):
            ends = []
            for sign in (1, -1):
                hyper[0][i] += sign * 1e-6
                with torch.enable_grad():
                    ends.append(after())
                hyper[0][i] -= sign * 1e-6
            assert abs((ends[0] - ends[1]) / 2e-6 - exact[0][i]) < 1e-7, (ends, exact)
    # The factorised estimator is the published one, number by number.
    for population in (2, 5):
        generator = lambda: torch.Generator().manual_seed(7)
        old, _ = bilevel.evograd_hypergradient(*problem, population, 0.03, 0.05, generator())
        new = FamilyDraws(problem, population, generator())
        assert torch.allclose(old[0], new, rtol=1e-9, atol=0), (old, new)
    for settings in (dict(sigma=1e-5), dict(sigma=1e-5, tau=1.0), dict(sigma=1e-5, population=4)):
        cosine, size = bilevel.compare(bilevel.family_hypergradient(*problem, 0.1, **settings), exact)
        assert cosine > 1 - 1e-6 and abs(size - 1) < 1e-4, (settings, cosine, size)
    cosine, size = bilevel.compare(bilevel.difference_hypergradient(*problem, 0.1, radius=1e-3), exact)
    assert cosine > 1 - 1e-6 and abs(size - 1) < 1e-4, (cosine, size)
    # Without guidance it holds in the mean over draws.
    for settings, enough in ((dict(guidance=0.0), 0.97), (dict(guidance=0.3), 0.97)):
        total, generator = 0, torch.Generator().manual_seed(1)
        for _ in range(1500):
            total = total + bilevel.family_hypergradient(*problem, 0.1, sigma=1e-4, generator=generator, **settings)[0]
        cosine, size = bilevel.compare([total / 1500], exact)
        assert cosine > enough and abs(size - 1) < 0.1, (settings, cosine, size)


def FamilyDraws(problem, population, generator):
    """family_hypergradient with the signs in the order in which the published form draws them."""
    original, signs = bilevel.rademacher, torch.Generator().manual_seed(0)
    # The family draws one sign more for each member, for what guidance would need.
    bilevel.rademacher = lambda p, g: original(p, signs if p.dim() == 0 else g)
    try:
        return bilevel.family_hypergradient(*problem, 1.0, population, 0.03, 0.05, 0.0, "recombined", False, False, generator)[0]
    finally:
        bilevel.rademacher = original


def check_counts():
    count = lambda module: sum(p.numel() for p in module.parameters())
    assert count(models.WeightingNet()) == 301
    assert count(models.CifarResNet(10)) == 464154 and count(models.WideResNet(10)) == 36479194
    assert count(metaxl.Transformation(768, 384)) == 591361
    for kind, wanted, layers in (("resnet10", 3712, 7), ("resnet18", 5632, 11), ("resnet34", 9344, 19)):
        hyper = [p for name, p in lft_models.Backbone(kind).named_parameters() if lft_models.is_transformation(name)]
        assert sum(p.numel() for p in hyper) == wanted and len(hyper) == 2 * layers, kind
    net = lft_models.RelationNet("resnet10", 224)
    assert net.relation_module.fc1.in_features == 512 and net.relation_module.layer1.C.in_channels == 1024


def check_transformation():
    """Drawn in training mode where it is on, and only there; batch-norm statistics stay when a member is evaluated."""
    net = lft_models.RelationNet("conv4", 32).transform(True)
    images = torch.randn(2, 3, 3, 32, 32)
    before = {name: b.clone() for name, b in net.named_buffers()}
    member = peer.Stateless(net)
    first, second = (member(dict(net.named_parameters()), images, 1) for _ in range(2))
    assert not torch.equal(first, second)
    net.transform(False)
    assert torch.equal(*(member(dict(net.named_parameters()), images, 1) for _ in range(2)))
    for name, buffer in net.named_buffers():
        assert torch.equal(buffer, before[name]), name
    maps = torch.randn(3, 4, 64, 6, 6)
    assert torch.allclose(net.scores(maps, 2), net.scores_by_parts(maps, 2), atol=1e-5)
    net.transform(True).eval()
    assert torch.equal(*(net(images, 1) for _ in range(2)))


def check_noise():
    generator = torch.Generator().manual_seed(1)
    coarse = [c % 20 for c in range(100)]
    for kind, classes in (("uniform", 10), ("flip", 10), ("flip2", 10), ("asymmetric", 10), ("hierarchical", 100), ("asymmetric", 100)):
        matrix = data.noise_matrix(kind, 0.4, classes, generator, coarse if classes == 100 else None)
        assert torch.allclose(matrix.sum(1), torch.ones(classes)), kind
        wrong = 1 - matrix.diag()
        assert torch.allclose(wrong[wrong > 1e-6], torch.tensor(0.36 if kind == "uniform" else 0.4)), (kind, wrong)
        others = (matrix > 0).sum(1).max().item() - 1
        assert others == dict(uniform=9, flip=1, flip2=2, asymmetric=1, hierarchical=4)[kind], (kind, others)
    labels = torch.arange(10).repeat(2000)
    noisy = data.corrupt(labels, data.noise_matrix("flip", 0.4, 10, generator), generator)
    assert abs((noisy != labels).float().mean() - 0.4) < 0.02
    try:
        data.noise_matrix("hierarchical", 0.4, 10, generator)
    except ValueError as e:
        assert "coarse" in str(e)
    else:
        raise AssertionError("hierarchical noise without coarse classes")


def check_memory():
    def work():
        kept = torch.empty(3 << 20, dtype=torch.uint8)
        torch.empty(5 << 20, dtype=torch.uint8)
        return kept + 0  # 3 + 3 MiB, after the 5 are gone

    peak = peer.peak_bytes(work) / 2**20
    assert 7.99 < peak < 8.1, peak


def write_idx(path, array):
    path.write_bytes(struct.pack(">I", 0x800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def write_pictures(folder):
    """Ten classes that a small network can tell: a bright row each, under noise."""
    random = np.random.RandomState(0)
    for name, count in (("train", 600), ("t10k", 200)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = random.randint(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels):
            image[2 * label + 4:2 * label + 6] = 250
        write_idx(folder / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels)


def write_cifar(folder):
    random = np.random.RandomState(0)
    folder.mkdir()
    records = lambda n: random.randint(0, 256, (n, 3073)).astype(np.uint8)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        part = records(40)
        part[:, 0] = np.arange(40) % 10
        (folder / f"{name}.bin").write_bytes(part.tobytes())
    images, labels, coarse = data.read_classes(folder, "train")
    assert images.shape == (200, 3, 32, 32) and labels[:10].tolist() == list(range(10)) and coarse is None
    (folder / "bad.bin").write_bytes(b"x" * 3074)
    try:
        data.read_cifar(folder / "bad.bin", 1)
    except ValueError as e:
        assert "3074" in str(e)
    else:
        raise AssertionError("a wrong record size was not noticed")


def write_lists(folder):
    from PIL import Image
    random = np.random.RandomState(0)
    for domain in ("a", "b", "c"):
        names, labels = [], []
        (folder / domain).mkdir(parents=True)
        for label in range(4):
            for i in range(4):
                path = folder / domain / f"{label}-{i}.png"
                Image.fromarray(random.randint(0, 256, (40, 40, 3)).astype(np.uint8)).save(path)
                names.append(str(path))
                labels.append(label)
        for split in ("base", "val", "novel"):
            listed = dict(label_names=list("wxyz"), image_names=names, image_labels=labels)
            (folder / domain / f"{split}.json").write_text(json.dumps(listed))


def write_languages(folder, encoder):
    import sentencepiece
    from transformers import XLMRobertaConfig
    random = np.random.RandomState(0)
    words = ["".join(random.choice(list("abcdefghij"), 4)) for _ in range(60)]
    lines = []
    for language in ("en", "xx"):
        (folder / language).mkdir(parents=True)
        (folder / "classification" / language).mkdir(parents=True)
        for split in ("train", "dev", "test"):
            sentences = [[words[i] for i in random.randint(0, 60, 5)] for _ in range(24)]
            lines += [" ".join(s) for s in sentences]
            tag = lambda w: "B-PER" if w[0] in "ab" else "O"
            (folder / language / split).write_text("\n".join("".join(f"{language}:{w}\t{tag(w)}\n" for w in s) for s in sentences))
            rows = [f"{'yes' if s[0][0] in 'abcde' else 'no'}\t{' '.join(s)}" for s in sentences]
            (folder / "classification" / language / f"{split}.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n")
    encoder.mkdir()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_prefix=str(encoder / "sentencepiece.bpe"),
                                             vocab_size=60, hard_vocab_limit=False, unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
                                             num_threads=1, minloglevel=2)
    XLMRobertaConfig(vocab_size=120, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                     max_position_embeddings=64, type_vocab_size=1, pad_token_id=1).save_pretrained(encoder)


def run(program, *arguments):
    """In this process: importing the libraries takes longer than the steps."""
    module, kept = importlib.import_module(program[:-3]), peer.main
    quiet = [] if program == "quality.py" else ["--quiet"]
    sys.argv, out = [program, *quiet, *map(str, arguments)], io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            module.main()
    finally:
        peer.main, peer.observer = kept, None
    lines = [json.loads(line) for line in out.getvalue().strip().split("\n")]
    print(lines[-1], flush=True)
    return lines if program == "quality.py" else lines[-1]


def check_programs(folder):
    pictures, cifar, lists, languages, encoder = (folder / name for name in ("pictures", "cifar", "lists", "xl", "encoder"))
    pictures.mkdir()
    write_pictures(pictures)
    write_cifar(cifar)
    write_lists(lists)
    write_languages(languages, encoder)
    mwn = (pictures, "--train", 400, "--meta", 100, "--lr", 0.05)
    plain = run("meta_weight_net.py", *mwn, "--estimator", "vanilla", "--rate", 0, "--epochs", 15)
    assert plain["metrics"]["accuracy"] > 0.9 and plain["steps"] == 60
    again = run("meta_weight_net.py", *mwn, "--estimator", "vanilla", "--rate", 0, "--epochs", 15)
    assert again["metrics"] == plain["metrics"]
    for estimator in ("evograd", "evograd-guided", "t1t2", "finite-difference"):
        metrics = run("meta_weight_net.py", *mwn, "--estimator", estimator, "--steps", 6)["metrics"]
        assert 0 < metrics["weight_noisy"] < 1 and 0 < metrics["weight_clean"] < 1
    run("meta_weight_net.py", cifar, "--train", 100, "--meta", 20, "--batch", 10, "--model", "resnet32", "--augment", "--noise",
        "asymmetric", "--steps", 1)
    turned = ("rotation.py", pictures, "--train", 400, "--validation", 100, "--steps", 3, "--batch", 32)
    assert run(*turned, "--estimator", "t1t2")["metrics"]["angle_degrees"] != 0
    assert run(*turned, "--estimator", "vanilla")["metrics"]["angle_degrees"] == 0
    few = (lists, "--seen", "a", "b", "--test", "c", "--backbone", "conv4", "--extent", 32, "--ways", 3, "--shot", 1, "--query", 2,
           "--auxiliary_batch", 4, "--evaluation_query", 2, "--evaluation_episodes", 3, "--steps", 2, "--episodes", 2)
    for estimator, transformation in (("vanilla", "none"), ("vanilla", "fixed"), ("evograd", "learned"), ("t1t2", "learned"),
                                      ("evograd-guided", "learned")):
        metrics = run("lft.py", *few, "--estimator", estimator, "--transformation", transformation)["metrics"]
        assert 0 <= metrics["accuracy_c"] <= 1
        assert (metrics["gamma"] != run.fixed_gamma) == (transformation == "learned"), metrics
    run("pretrain.py", lists, "--domains", "a", "--backbone", "conv4", "--extent", 32, "--batch", 4, "--steps", 2, "--out",
        folder / "conv4.safetensors")
    run("lft.py", *few, "--pretrained", folder / "conv4.safetensors")
    far = (languages, encoder, "--random_encoder", "--target", "xx", "--batch", 4, "--steps", 2, "--bottleneck", 8)
    for estimator, training in (("vanilla", "target-only"), ("vanilla", "joint"), ("evograd", "metaxl"), ("t1t2", "metaxl"),
                                ("evograd-guided", "metaxl")):
        metrics = run("metaxl.py", *far, "--source", "en", "--estimator", estimator, "--training", training)["metrics"]
        assert 0 <= metrics["target_test_f1"] <= 1
    far = (languages / "classification", *far[1:])
    assert "target_test_accuracy" in run("metaxl.py", *far, "--source", "en", "--task", "classification")["metrics"]
    memory = run("meta_weight_net.py", *mwn, "--memory", 1)["memory"]
    assert memory["t1t2"]["memory_ratio"] > memory["evograd"]["memory_ratio"] > 1, memory
    lines = run("quality.py", "--at", 0, 2, "--draws", 1, "--estimators", "finite difference", "guided 1, sigma 1e-05", "--plot",
                folder / "plot.png", "meta_weight_net.py", *mwn, "--estimator", "t1t2")
    assert all(line["cosine"] > 0.99 for line in lines) and (folder / "plot.png").stat().st_size > 1000, lines


# softplus(0.3; 100) where nothing is learned.
run.fixed_gamma = F.softplus(torch.full((1, 64, 1, 1), 0.3), beta=100).mean().item()


def main():
    check_counts()
    check_estimators()
    check_transformation()
    check_noise()
    check_memory()
    with tempfile.TemporaryDirectory() as folder:
        check_programs(pathlib.Path(folder))
    print("peers: all held")


main()
