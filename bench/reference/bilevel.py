"""Hypergradients of one meta-step in PyTorch, by autograd alone: the peer that the service is compared with.

Published forms: `evograd_hypergradient` (Bohdal, Yang and Hospedales, NeurIPS 2021, eq. 3-6: K perturbed copies, the
softmax of their training losses, the validation loss at their weighted mean) and `t1t2_hypergradient` (exact second
order through one SGD step; Luketina et al., ICML 2016). Beside them `family_hypergradient`: the same idea with a
choice of population, guidance along the validation gradient, the point where that is taken, and calibration; and
`difference_hypergradient` (DARTS: Liu, Simonyan and Yang, ICLR 2019, eq. 8).

train_loss(parameters) depends on `hyperparameters` (leaf tensors), validation_loss(parameters) does not; both are pure
functions of a dict of tensors. `parameters` holds what a step perturbs: a problem that perturbs only a part closes
over the rest. All return one gradient for each hyperparameter.
"""

import torch


def detached(parameters):
    return {name: p.detach() for name, p in parameters.items()}


def leaves(parameters):
    return {name: p.detach().requires_grad_() for name, p in parameters.items()}


def rademacher(p, generator):
    # Drawn as the published code does: the sign of a normal number.
    return torch.randn(p.shape, generator=generator, dtype=p.dtype, device=p.device).sign()


def evograd_hypergradient(train_loss, validation_loss, parameters, hyperparameters, population=2, sigma=1e-3, tau=0.05,
                          generator=None):
    """As published; all K graphs are alive until the end. Returns (gradients, member losses)."""
    base = detached(parameters)
    members, losses = [], []
    for _ in range(population):
        member = {name: p + sigma * rademacher(p, generator) for name, p in base.items()}
        members.append(member)
        losses.append(train_loss(member))
    losses = torch.stack(losses)
    weights = torch.softmax(-losses / tau, 0)
    merged = {name: sum(w * member[name] for w, member in zip(weights, members)) for name in base}
    gradients = torch.autograd.grad(validation_loss(merged), hyperparameters)
    return gradients, losses.detach()


def t1t2_hypergradient(train_loss, validation_loss, parameters, hyperparameters, learning_rate):
    """Through theta' = theta - learning_rate * d train_loss / d theta."""
    base = leaves(parameters)
    inner = torch.autograd.grad(train_loss(base), list(base.values()), create_graph=True)
    ahead = {name: p - learning_rate * g for (name, p), g in zip(base.items(), inner)}
    return torch.autograd.grad(validation_loss(ahead), hyperparameters)


def look_ahead(train_loss, parameters, learning_rate):
    base = leaves(parameters)
    inner = torch.autograd.grad(train_loss(base), list(base.values()))
    return {name: (p - learning_rate * g).detach() for (name, p), g in zip(base.items(), inner)}


def gradient_at(loss, parameters):
    point = leaves(parameters)
    return dict(zip(point, torch.autograd.grad(loss(point), list(point.values()))))


def family_hypergradient(train_loss, validation_loss, parameters, hyperparameters, learning_rate, population=2,
                         sigma=1e-5, tau=0.05, guidance=1.0, at="look-ahead", antithetic=True, calibrated=True,
                         generator=None):
    """The estimator family by its factors: sum_k c_k d l_k / d lambda with c_k = -w_k (s_k - sum_j w_j s_j) / tau and
    s_k = sigma <g_V, epsilon_k>.

    epsilon = sqrt(1 - guidance) r + sqrt(guidance n) z u, r a Rademacher vector of the n perturbed parameters, z a sign,
    u the unit vector along g_V: its total variance is n whatever the guidance, and along u it is
    v = 1 - guidance + guidance n. `at` says where g_V is taken: "base", "look-ahead" (one SGD step of `learning_rate`
    further) or, without guidance, "recombined". Calibrated, the result is multiplied by tau learning_rate / (sigma^2 v),
    which puts it into the units of t1t2.
    """
    base = detached(parameters)
    if at == "look-ahead":
        direction = gradient_at(validation_loss, look_ahead(train_loss, parameters, learning_rate))
    elif at == "base":
        direction = gradient_at(validation_loss, base)
    elif guidance == 0:
        direction = None
    else:
        raise ValueError("guidance needs the validation gradient before there are members to recombine")
    count = sum(p.numel() for p in base.values())
    along = 0.0
    if guidance > 0:
        norm = torch.sqrt(sum(g.square().sum() for g in direction.values()))
        if norm == 0:
            return [torch.zeros_like(h) for h in hyperparameters]
        along = (guidance * count) ** 0.5 / norm

    noises = []
    for k in range(population):
        if antithetic and k % 2 == 1:
            noises.append({name: -e for name, e in noises[-1].items()})
            continue
        sign = rademacher(torch.zeros(()), generator).item()
        noises.append({
            name: ((1 - guidance) ** 0.5 * rademacher(p, generator) if guidance < 1 else 0) +
                  (sign * along * direction[name] if guidance > 0 else 0) for name, p in base.items()
        })
    losses = torch.stack([train_loss({name: p + sigma * e[name] for name, p in base.items()}) for e in noises])
    weights = torch.softmax(-losses.detach() / tau, 0)
    if direction is None:
        merged = {name: p + sigma * sum(w * e[name] for w, e in zip(weights, noises)) for name, p in base.items()}
        direction = gradient_at(validation_loss, merged)
    projections = sigma * torch.stack([sum((g * e[name]).sum() for name, g in direction.items()) for e in noises])
    coefficients = -weights * (projections - (weights * projections).sum()) / tau
    unit = tau * learning_rate / (sigma**2 * (1 - guidance + guidance * count)) if calibrated else 1.0
    return torch.autograd.grad(unit * (coefficients * losses).sum(), hyperparameters)


def difference_hypergradient(train_loss, validation_loss, parameters, hyperparameters, learning_rate, radius=0.01):
    """-learning_rate (d l(theta + e g) - d l(theta - e g)) / (2 e), e = radius / |g|, g at the look-ahead point."""
    base = detached(parameters)
    direction = gradient_at(validation_loss, look_ahead(train_loss, parameters, learning_rate))
    norm = torch.sqrt(sum(g.square().sum() for g in direction.values()))
    if norm == 0:
        return [torch.zeros_like(h) for h in hyperparameters]
    step = radius / norm
    ends = [train_loss({name: p + sign * step * direction[name] for name, p in base.items()}) for sign in (1, -1)]
    return torch.autograd.grad(-learning_rate * (ends[0] - ends[1]) / (2 * step), hyperparameters)


def flat(gradients):
    return torch.cat([g.reshape(-1) for g in gradients]).double()


def compare(gradients, exact):
    """(cosine, size) of a hypergradient against the exact one."""
    a, b = flat(gradients), flat(exact)
    return (a @ b / (a.norm() * b.norm())).item(), (a.norm() / b.norm()).item()
