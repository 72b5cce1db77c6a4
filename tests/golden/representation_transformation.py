"""Writes representation_transformation.txt: MetaXL's network as two torch.nn.Linear, and its derivatives.

PYTHONPATH=$(third_party/wheels/install.sh) /usr/bin/python3 tests/golden/representation_transformation.py \
  > tests/golden/representation_transformation.txt
"""

import torch

torch.set_num_threads(1)


def show(name, tensor):
    print(name, *(repr(value) for value in tensor.detach().flatten().tolist()))


HIDDEN, BOTTLENECK, CLASSES = 4, 3, 2
first, second = (torch.nn.Linear(i, o).double() for i, o in ((HIDDEN, BOTTLENECK), (BOTTLENECK, HIDDEN + 1)))
weights = [first.weight, first.bias, second.weight, second.bias]
count = sum(weight.numel() for weight in weights)
flat = torch.sin(0.7 * torch.arange(count, dtype=torch.float64))
for weight, part in zip(weights, flat.split([weight.numel() for weight in weights])):
    weight.data.copy_(part.view(weight.shape))

# A layer before the transformation and a classifier after it, so that both paths of the gradient show.
below = torch.cos(0.3 * torch.arange(HIDDEN * HIDDEN, dtype=torch.float64)).view(HIDDEN, HIDDEN).requires_grad_()
classifier = torch.sin(1 + torch.arange(CLASSES * HIDDEN, dtype=torch.float64)).view(CLASSES, HIDDEN).requires_grad_()
x = torch.sin(0.2 * torch.arange(2 * 3 * HIDDEN, dtype=torch.float64)).view(2, 3, HIDDEN)
labels = torch.tensor([0, 1, 1, 0, 1, 0])

hidden = x @ below.t()
out = second(torch.relu(first(hidden.detach())))
transformed = hidden + torch.sigmoid(out[..., -1:]) * out[..., :-1]
loss = torch.nn.functional.cross_entropy((transformed @ classifier.t()).flatten(0, 1), labels)
theta = [below, classifier]
gradients = torch.autograd.grad(loss, theta + weights, create_graph=True)
# The second-order term: the gradient to the hyperparameters of <d loss / d theta, a direction of ones>.
cross = torch.autograd.grad(sum(gradient.sum() for gradient in gradients[:2]), weights)

show("lambda", flat)
show("transformed", transformed)
show("loss", loss)
show("below", gradients[0])
show("classifier", gradients[1])
show("gradient", torch.cat([gradient.flatten() for gradient in gradients[2:]]))
show("cross", torch.cat([gradient.flatten() for gradient in cross]))
