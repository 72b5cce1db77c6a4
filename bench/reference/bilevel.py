"""The published forms of one meta-step in PyTorch, differentiated by autograd alone.

`evograd_hypergradient`: Bohdal, Yang and Hospedales, NeurIPS 2021, eq. 3-6: K perturbed copies, softmax of their
training losses, the validation loss at their weighted mean. `t1t2_hypergradient`: the exact second-order gradient
through one SGD step. Both take pure functions of a dict of parameters and return the gradients to the
hyperparameters; the peer that the service is compared with.
"""

import torch


def evograd_hypergradient(train_loss, validation_loss, parameters, hyperparameters, population=2, sigma=1e-3, tau=0.05,
                          generator=None):
    """train_loss(parameters) may depend on `hyperparameters` (leaves); returns (gradients, member losses)."""
    base = {name: p.detach() for name, p in parameters.items()}
    members, losses = [], []
    for _ in range(population):
        member = {name: p + sigma * torch.randn(p.shape, generator=generator, dtype=p.dtype).sign() for name, p in base.items()}
        members.append(member)
        losses.append(train_loss(member))
    losses = torch.stack(losses)
    weights = torch.softmax(-losses / tau, 0)
    merged = {name: sum(w * member[name] for w, member in zip(weights, members)) for name in base}
    gradients = torch.autograd.grad(validation_loss(merged), hyperparameters)
    return gradients, losses.detach()


def t1t2_hypergradient(train_loss, validation_loss, parameters, hyperparameters, learning_rate):
    """Through theta' = theta - learning_rate * d train_loss / d theta; returns the gradients."""
    base = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    inner = torch.autograd.grad(train_loss(base), list(base.values()), create_graph=True)
    ahead = {name: p - learning_rate * g for (name, p), g in zip(base.items(), inner)}
    return torch.autograd.grad(validation_loss(ahead), hyperparameters)
