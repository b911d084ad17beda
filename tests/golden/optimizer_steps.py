# SPDX-License-Identifier: MIT
"""Makes tests/unit/train/optimizer_steps.h: 20 steps of PyTorch's AdamW and SGD on fixed gradients.

Run: python tests/golden/optimizer_steps.py > tests/unit/train/optimizer_steps.h
"""
import torch

ELEMENTS, STEPS = 7, 20


def start():
    return torch.tensor([(i * 37 % 11 - 5) * 0.125 for i in range(ELEMENTS)], dtype=torch.float32)


def gradient(step):
    return torch.tensor([((i * 13 + step * 7) % 17 - 8) * 0.0625 for i in range(ELEMENTS)],
                        dtype=torch.float32)


CASES = [
    ("adamw", lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.95), eps=1e-8,
                                          weight_decay=0.1), 0.0),
    ("adamw_clipped", lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.8, 0.99), eps=1e-6,
                                                  weight_decay=0.0), 0.5),
    ("sgd", lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.01), 0.0),
    ("sgd_momentum", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1,
                                               weight_decay=0.01), 0.0),
    ("sgd_nesterov", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True), 1.0),
]


def run(make, clip):
    weight = torch.nn.Parameter(start())
    optimizer = make([weight])
    rows = []
    for step in range(STEPS):
        weight.grad = gradient(step)
        if clip:
            torch.nn.utils.clip_grad_norm_([weight], clip)
        optimizer.step()
        rows.append(weight.detach().clone())
    return rows


print("/* SPDX-License-Identifier: MIT")
print(" *")
print(" * Made by tests/golden/optimizer_steps.py with PyTorch %s. */" % torch.__version__.split("+")[0])
print("enum { GOLDEN_ELEMENTS = %d, GOLDEN_STEPS = %d };" % (ELEMENTS, STEPS))
for name, make, clip in CASES:
    print("static const float golden_%s[GOLDEN_STEPS][GOLDEN_ELEMENTS] = {" % name)
    for row in run(make, clip):
        print("    {" + ", ".join("%.9ef" % v for v in row.tolist()) + "},")
    print("};")
