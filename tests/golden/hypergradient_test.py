"""Goal: the factorised estimators compute what the published ones do, and a whole step what PyTorch's optimisers do.

Method: for each job below the C++ engine dumps one step of a small convolutional network (worker/engine/testing/
conv_problem.h). PyTorch, running here and now, computes the same step from the dumped theta, lambda and batches in the
published form: the softmax of K member losses differentiated by autograd with all K graphs alive; double backward
through the SGD step for t1t2; Hessians times vectors by double backward. Where g_V is not taken at the recombined
parameters, what is differentiated is its inner product with them. The noise comes from an own Philox in numpy and must equal the dumped one. Nothing is
pinned. Last, numbers that are off by little must be noticed.
"""

import json
import subprocess
import sys
import tempfile

BINARY, SITE = sys.argv[1:3]
sys.path.insert(0, SITE)

import numpy as np
import torch
from safetensors import safe_open
from torch.func import functional_call

torch.set_num_threads(1)

JOBS = [
    "",
    "estimator { population: 5 noise: NORMAL }",
    "estimator { kind: EVOGRAD_ANTITHETIC population: 4 }",
    "estimator { kind: EVOGRAD_SHARED population: 3 }",
    "estimator { kind: T1T2 inner_learning_rate: 0.05 }",
    "estimator { calibrated: true inner_learning_rate: 0.1 tau: 0.5 } base_optimizer { kind: SGD learning_rate: 0.1 }",
    "estimator { gradient_at: BASE population: 3 }",
    "estimator { gradient_at: LOOK_AHEAD inner_learning_rate: 0.05 kind: EVOGRAD_ANTITHETIC }",
    "estimator { kind: EVOGRAD_GUIDED inner_learning_rate: 0.05 sigma: 0.002 }",
    "estimator { kind: EVOGRAD_GUIDED guidance: 0.01 population: 4 inner_learning_rate: 0.05 }",
    "estimator { guidance: 0.5 gradient_at: BASE population: 3 noise: NORMAL sigma: 0.01 }",
    "estimator { kind: EVOGRAD_SHARED guidance: 0.1 gradient_at: LOOK_AHEAD inner_learning_rate: 0.05 population: 3 }",
    "estimator { kind: FINITE_DIFFERENCE inner_learning_rate: 0.05 difference_radius: 0.1 }",
    "estimator { kind: NEUMANN inner_learning_rate: 0.05 iterations: 3 damping: 0.1 }",
    "estimator { kind: NEUMANN inner_learning_rate: 0.05 iterations: 0 }",
    "estimator { kind: CG iterations: 3 damping: 2 }",
    "step_order: BASE_FIRST",
    "step_order: BASE_FIRST estimator { kind: EVOGRAD_GUIDED inner_learning_rate: 0.05 sigma: 0.002 }",
    "step_order: BASE_FIRST estimator { kind: FINITE_DIFFERENCE inner_learning_rate: 0.05 difference_radius: 0.1 }",
    "base_optimizer { kind: SGD learning_rate: 0.1 max_gradient_norm: 0.2 } meta_optimizer { max_gradient_norm: 1e-4 kind: SGD }",
    "step_order: BASE_FIRST estimator { kind: T1T2 inner_learning_rate: 0.05 }",
    "virtual_workers: 2 estimator { population: 3 }",
    "virtual_workers: 4 step_order: BASE_FIRST",
    "virtual_workers: 2 estimator { kind: EVOGRAD_SHARED population: 3 }",
    "virtual_workers: 2 estimator { kind: T1T2 inner_learning_rate: 0.05 }",
    "virtual_workers: 2 estimator { kind: EVOGRAD_GUIDED inner_learning_rate: 0.05 guidance: 0.01 }",
    "virtual_workers: 2 step_order: BASE_FIRST estimator { kind: EVOGRAD_GUIDED inner_learning_rate: 0.05 sigma: 0.002 }",
    "virtual_workers: 4 estimator { kind: CG iterations: 2 damping: 2 }",
]
# Relative to the largest element.
TOLERANCE = {"FLOAT64": 1e-6, "FLOAT32": 1e-3}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.out = torch.nn.Linear(64, 3)

    def forward(self, images):
        return self.out(torch.relu(self.norm(self.conv(images))).flatten(1))


def philox(counter, key):
    """Philox4x32-10 over arrays of counters [n, 4] (J. Salmon et al., SC 2011)."""
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    k0, k1, low = key & 0xFFFFFFFF, key >> 32, np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, 1)


def noise_bits(domain, seed, step, member, blocks):
    n = np.arange(blocks, dtype=np.uint64)
    counter = np.zeros((blocks, 4), np.uint64)
    counter[:, 0], counter[:, 2], counter[:, 3] = n, step, member | domain << 24
    return philox(counter, seed)


def noise(kind, seed, step, member, elements):
    """epsilon of elements 0 .. elements - 1 of the flat buffer."""
    if kind == "RADEMACHER":
        words = noise_bits(0, seed, step, member, elements // 128 + 1)
        bits = words[:, :, None] >> np.arange(32, dtype=np.uint64) & np.uint64(1)
        return (1.0 - 2.0 * bits.astype(np.float64)).reshape(-1)[:elements]
    words = noise_bits(1, seed, step, member, elements // 2 + 1)
    low, m = np.uint64(32), np.uint64(0xFFFFF)
    radius_bits, angle_bits = (words[:, 1] & m) << low | words[:, 0], (words[:, 3] & m) << low | words[:, 2]
    radius = np.sqrt(-2 * np.log((radius_bits.astype(np.float64) + 0.5) / 2.0**52))
    angle = 2 * np.pi * (angle_bits.astype(np.float64) / 2.0**52)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:elements]


class Step:
    """One dumped step, and PyTorch's own."""

    def __init__(self, path):
        with safe_open(path, "pt") as f:
            self.file = {name: f.get_tensor(name) for name in f.keys()}
            self.spec = json.loads(f.metadata()["spec"])
            self.base_first = f.metadata()["base_first"] == "true"
        self.estimator = self.spec["estimator"]
        self.shards = self.spec["virtualWorkers"]
        self.type = torch.float64 if self.spec["dataType"] == "FLOAT64" else torch.float32
        self.net = Net().to(self.type)
        self.theta = {name: self.file["parameters." + name] for name, _ in self.net.named_parameters()}
        self.buffers = {name: self.file["buffers." + name] for name, _ in self.net.named_buffers()}
        self.values = self.file["lambda"]
        self.next_buffers = self.buffers

    def split(self, kind):
        return list(zip(self.file[kind + ".0"].chunk(self.shards), self.file[kind + ".1"].chunk(self.shards)))

    def train_loss(self, theta, values, batch):
        self.net.train()
        images, labels = batch
        buffers = {name: value.clone() for name, value in self.buffers.items()}
        out = functional_call(self.net, {**theta, **buffers}, images * values[:2].view(1, 2, 1, 1))
        losses = torch.nn.functional.cross_entropy(out, labels, reduction="none")
        self.last_buffers = buffers
        return (torch.sigmoid(values[2:5])[labels] * losses).mean()

    def sharded_train_loss(self, theta, values):
        losses, after = [], []
        for batch in self.split("train"):
            losses.append(self.train_loss(theta, values, batch))
            after.append(self.last_buffers)
        self.after = {name: sum(b[name] for b in after) / self.shards for name in self.buffers}
        return sum(losses) / self.shards

    def validation_loss(self, theta):
        self.net.eval()
        losses = [
            torch.nn.functional.cross_entropy(functional_call(self.net, {**theta, **self.buffers}, images), labels)
            for images, labels in self.split("validation")
        ]
        return sum(losses) / self.shards

    def validation_gradient(self, point):
        """(l_V, g_V) at `point`; g_V is compared with the dumped one."""
        point = {name: value.detach().requires_grad_() for name, value in point.items()}
        loss = self.validation_loss(point)
        gradients = dict(zip(point, torch.autograd.grad(loss, list(point.values()))))
        scale = max(g.abs().max().item() for g in gradients.values())
        for name, gradient in gradients.items():
            got = self.file["validation_gradient." + name]
            if (got - gradient).abs().max().item() > self.tolerance() * scale:
                raise AssertionError(f"g_V of {name} is off\n{got}\n{gradient}")
        return loss.detach(), gradients

    def train_gradients(self, values, create_graph=False):
        theta = {name: value.clone().requires_grad_() for name, value in self.theta.items()}
        loss = self.sharded_train_loss(theta, values)
        return theta, torch.autograd.grad(loss, list(theta.values()), create_graph=create_graph)

    def look_ahead(self, values):
        rate = self.estimator["innerLearningRate"]
        _, gradients = self.train_gradients(values.detach())
        return {name: value - rate * g for (name, value), g in zip(self.theta.items(), gradients)}

    def members(self, guide):
        """epsilon of each member; `guide` is g_V where members need it."""
        alignment = 256 // self.type.itemsize
        slots, elements = {}, 0
        for name, value in self.theta.items():
            slots[name] = elements
            elements += -(-value.numel() // alignment) * alignment
        kind, guidance, members = self.estimator["kind"], self.estimator["guidance"], []
        count = sum(value.numel() for value in self.theta.values())
        norm = sum(g.double().square().sum() for g in guide.values()).sqrt() if guide else 1
        pairs = kind in ("EVOGRAD_ANTITHETIC", "EVOGRAD_GUIDED")
        for k in range(self.estimator["population"]):
            member = k - k % 2 if pairs else k
            scale = 1.0 - 2.0 * (k % 2) if pairs or guidance > 0 else 1.0
            if kind == "EVOGRAD_SHARED" and k == 0:
                scale = 0.0
            flat = noise(self.estimator["noise"], int(self.spec.get("seed", 0)), 0, member, elements)
            flat = scale * (1 - guidance) ** 0.5 * flat
            epsilon = {}
            for name, value in self.theta.items():
                own = torch.from_numpy(flat[slots[name] : slots[name] + value.numel()]).view(value.shape)
                if guidance > 0:
                    own = own + scale * (guidance * count) ** 0.5 * guide[name].double() / norm
                dumped = self.file[f"noise.{k}.{name}"]
                exact = 1e-14 if self.type == torch.float64 else 1e-6
                close(dumped.double(), own, self.tolerance() if guidance > 0 else exact, f"noise of member {k}, {name}")
                epsilon[name] = own.to(self.type)
            members.append(epsilon)
        return members

    def evograd(self, values):
        sigma, tau, at = self.estimator["sigma"], self.estimator["tau"], self.estimator["gradientAt"]
        everything = (self.file["train.0"], self.file["train.1"])
        guide = None
        if at != "RECOMBINED":
            loss, guide = self.validation_gradient(self.theta if at == "BASE" else self.look_ahead(values))
        members = self.members(guide)
        thetas, losses = [], []
        for k, epsilon in enumerate(members):
            thetas.append({name: value + sigma * epsilon[name] for name, value in self.theta.items()})
            base = self.estimator["kind"] == "EVOGRAD_SHARED" and k == 0
            losses.append(
                self.sharded_train_loss(self.theta, values) if base else self.train_loss(thetas[-1], values, everything)
            )
        losses = torch.stack(losses)
        weights = torch.softmax(-losses / tau, 0)
        merged = {name: sum(w * theta[name] for w, theta in zip(weights, thetas)) for name in self.theta}
        self.check("member_losses", losses)
        self.check("weights", weights)
        if at == "RECOMBINED":
            loss, guide = self.validation_gradient(merged)
            (gradient,) = torch.autograd.grad(self.validation_loss(merged), values, retain_graph=True)
        else:
            steps = {name: sum(w * epsilon[name] for w, epsilon in zip(weights, members)) for name in self.theta}
            along = sigma * sum((guide[name] * step).sum() for name, step in steps.items())
            (gradient,) = torch.autograd.grad(along, values, retain_graph=True)
        w = weights.detach().double()
        projections = torch.stack([sigma * sum((g * e[name]).sum().double() for name, g in guide.items()) for e in members])
        self.check("projections", projections)
        self.check("coefficients", -w * (projections - (w * projections).sum()) / tau)
        unit = 1
        if self.estimator["calibrated"]:
            guidance, count = self.estimator["guidance"], sum(value.numel() for value in self.theta.values())
            unit = tau * self.estimator["innerLearningRate"] / sigma**2 / (1 - guidance + guidance * count)
        return loss, unit * gradient

    def t1t2(self, values):
        theta, gradients = self.train_gradients(values, create_graph=True)
        rate = self.estimator["innerLearningRate"]
        ahead = {name: value - rate * g for (name, value), g in zip(theta.items(), gradients)}
        self.validation_gradient(ahead)
        loss = self.validation_loss(ahead)
        return loss, torch.autograd.grad(loss, values)[0]

    def finite_difference(self, values):
        loss, guide = self.validation_gradient(self.look_ahead(values))
        radius = self.estimator["differenceRadius"] / sum(g.double().square().sum() for g in guide.values()).sqrt().item()
        sides = []
        for side in (1, -1):
            theta = {name: value + side * radius * guide[name] for name, value in self.theta.items()}
            at_side = self.train_loss(theta, values, (self.file["train.0"], self.file["train.1"]))
            sides.append(torch.autograd.grad(at_side, values)[0].double())
        return loss, -self.estimator["innerLearningRate"] * (sides[0] - sides[1]) / (2 * radius)

    def implicit(self, values):
        loss, right = self.validation_gradient(self.theta)
        theta, gradients = self.train_gradients(values, create_graph=True)
        damping, iterations = self.estimator.get("damping", 0), self.estimator["iterations"]
        rate = self.estimator["innerLearningRate"]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        b = torch.cat([right[name].reshape(-1) for name in theta])

        def multiply(v):
            product = torch.autograd.grad(flat, list(theta.values()), v, retain_graph=True)
            return torch.cat([p.reshape(-1) for p in product]) + damping * v

        if self.estimator["kind"] == "CG":
            x, residual = torch.zeros_like(b), b.clone()
            direction = residual.clone()
            for _ in range(iterations):
                product = multiply(direction)
                if not direction.dot(product) > 0:
                    raise AssertionError("the curvature is not positive: the job tests nothing")
                step = residual.dot(residual) / direction.dot(product)
                after = residual - step * product
                x = x + step * direction
                direction = after + after.dot(after) / residual.dot(residual) * direction
                residual = after
        else:
            term, x = b, b
            for _ in range(iterations):
                term = term - rate * multiply(term)
                x = x + term
            x = rate * x
        return loss, -torch.autograd.grad(flat, values, x)[0]

    def hyper_step(self):
        values = self.values.to(self.type, copy=True).requires_grad_()
        methods = {
            "T1T2": self.t1t2, "FINITE_DIFFERENCE": self.finite_difference, "NEUMANN": self.implicit, "CG": self.implicit
        }
        loss, gradient = methods.get(self.estimator["kind"], self.evograd)(values)
        self.check("validation_loss", loss)
        self.check("hypergradient", gradient)
        # The dumped gradient, so that Adam's first step, which is its sign, does not hang on a last bit.
        self.next_values = self.optimise("metaOptimizer", [self.values], [self.file["hypergradient"]])[0]
        close(self.file["next.lambda"], self.next_values, 1e-12, "lambda")

    def base_step(self):
        theta = {name: value.clone().requires_grad_() for name, value in self.theta.items()}
        loss = self.sharded_train_loss(theta, self.values.to(self.type))
        gradients = torch.autograd.grad(loss, list(theta.values()))
        self.check("train_loss", loss)
        moved = self.optimise("baseOptimizer", list(self.theta.values()), gradients)
        for (name, before), after, gradient in zip(self.theta.items(), moved, gradients):
            # Adam's first step is the gradient's sign: where the gradient is only rounding, so is the step.
            sure = gradient.abs() > 1e-4 * gradient.abs().max()
            if name == "conv.bias":  # batch norm takes it away: its gradient is rounding
                continue
            close((self.file["next.parameters." + name] - before)[sure], (after - before)[sure], self.tolerance(), name)
        for name, value in self.after.items():
            close(self.file["next.buffers." + name], value, self.tolerance(), name)
        self.theta = {name: self.file["next.parameters." + name] for name in self.theta}
        self.buffers = self.after

    def optimise(self, which, tensors, gradients):
        spec = self.spec[which]
        leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        kinds = {"ADAM": torch.optim.Adam, "SGD": torch.optim.SGD}
        optimizer = kinds[spec["kind"]](leaves, lr=spec["learningRate"])
        for leaf, gradient in zip(leaves, gradients):
            leaf.grad = gradient.clone()
        if spec.get("maxGradientNorm", 0) > 0:
            norm = torch.nn.utils.clip_grad_norm_(leaves, spec["maxGradientNorm"])
            if not norm > spec["maxGradientNorm"]:
                raise AssertionError(f"{which}: a norm of {norm} is not clipped: the job tests nothing")
        optimizer.step()
        return [leaf.detach() for leaf in leaves]

    def shares_base_pass(self):
        """Whether both updates come from the same theta and lambda."""
        ahead = self.estimator["gradientAt"] == "LOOK_AHEAD" or self.estimator["kind"] == "FINITE_DIFFERENCE"
        return self.estimator["kind"] == "EVOGRAD_SHARED" or (self.base_first and ahead)

    def run(self):
        if self.base_first and not self.shares_base_pass():
            self.base_step()
            self.hyper_step()
            return
        self.hyper_step()
        if not self.shares_base_pass():
            self.values = self.next_values
        self.base_step()

    def tolerance(self):
        return TOLERANCE[self.spec["dataType"]]

    def check(self, name, expected):
        close(self.file[name], expected.detach().double().reshape(-1), self.tolerance(), name)


def close(actual, expected, tolerance, what):
    scale = expected.abs().max().item()
    if not scale > 0 and what.startswith(("hyper", "member", "train", "valid")):
        raise AssertionError(f"{what}: nothing to compare")
    error = (actual - expected).abs().max().item()
    if not error <= tolerance * max(scale, 1e-30):
        raise AssertionError(f"{what} is off by {error:.3g} of {scale:.3g} (allowed: {tolerance:g})\n{actual}\n{expected}")


def dump(job):
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/step.safetensors"
        subprocess.run([BINARY, path, job], check=True)
        return Step(path)


def job_text(job, data_type):
    """With members so far apart that float32's rounding of their losses is small against the differences."""
    estimator = "estimator { " if "sigma" in job else "estimator { sigma: 0.04 "
    job = job.replace("estimator { ", estimator) if "estimator" in job else f"{job} {estimator}}}"
    return f"data_type: {data_type} {job}"


def main():
    for job in JOBS:
        for data_type in ("FLOAT64", "FLOAT32"):
            text = job_text(job, data_type)
            try:
                step = dump(text)
                step.run()
            except AssertionError as e:
                sys.exit(f"{text}: {e}")
            print(f"{text}: hypergradient {step.file['hypergradient'].tolist()}")
    for name in ("hypergradient", "train_loss", "member_losses", "next.lambda", "noise.1.out.weight"):
        step = dump(job_text("", "FLOAT64"))
        step.file[name] = step.file[name] * (1 + 1e-5)
        try:
            step.run()
        except AssertionError:
            continue
        sys.exit(f"{name} was changed by 1e-5 and nobody noticed: this test proves nothing")


main()
