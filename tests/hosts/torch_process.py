"""One of several processes of test_torch_processes.py: its part of each case's batch, by gloo.

python torch_process.py RANK RENDEZVOUS OUTPUT SIZE...
"""

import os
import sys
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

import batchnorm as bn
from batchnorm.hosts.torch import accelerate, module, port

nn = torch.nn
torch.set_num_threads(1)


def built(layer, shape):
    layer.build(shape)
    return layer


def keras(kind, **settings):
    return built(kind.BatchNormalization(**settings), (4, 3, 2, 3))


# Each makes the module of one process of several, or of the only one.
CASES = {
    "torch": lambda s: accelerate(nn.SyncBatchNorm(3) if s else nn.BatchNorm2d(3)),
    "torch, no gamma": lambda s: accelerate(
        nn.SyncBatchNorm(3, affine=False) if s else nn.BatchNorm2d(3, affine=False)
    ),
    "torch, cumulative": lambda s: accelerate(
        nn.SyncBatchNorm(3, momentum=None) if s else nn.BatchNorm2d(3, momentum=None)
    ),
    "ported": lambda s: port(nn.SyncBatchNorm(3) if s else nn.BatchNorm2d(3), "keras"),
    "mindspore": lambda s: module(bn.mindspore.BatchNorm2d(3).set_train(), synchronized=s),
    "keras": lambda s: module(keras(bn.keras, axis=1, synchronized=s)),
    "tf_keras": lambda s: module(keras(bn.tf_keras, axis=1, fused=False, synchronized=s)),
    "keras, renorm": lambda s: module(keras(bn.keras, axis=1, renorm=True, synchronized=s)),
}


def batch(name, count):
    """Each sample has a mean of its own, large against deviations: merging must be exact."""
    draw = np.random.default_rng(list(CASES).index(name))
    x, dy, v = draw.normal(size=(3, count, 3, 2, 3)).astype(np.float32)
    return x + 50 + 5 * np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1), dy, v


def computed(name, part, arrays, synchronized):
    """Result, first and second gradients, and state after two steps, as arrays."""
    torch.manual_seed(0)
    made = CASES[name](synchronized)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.tensor([0.5, 1.0, 1.5]))
    x, dy, v = (torch.from_numpy(array[part]) for array in arrays)
    found = {}
    for step in range(2):
        own = (x * (step + 1)).requires_grad_()
        weight = dy.clone().requires_grad_()
        y = made(own)
        parameters = list(made.parameters())
        dx, *sums = torch.autograd.grad(y, [own, *parameters], weight, create_graph=True)
        second = torch.autograd.grad((dx * v).sum(), [own, weight])
        found |= {f"part y {step}": y, f"part dx {step}": dx}
        found |= {f"part of x {step}": second[0], f"part of dy {step}": second[1]}
        found |= {f"sum {i} {step}": s for i, s in enumerate(sums)}
    found |= {f"state {key}": value for key, value in made.state_dict().items()}
    made.eval()  # nobody is asked for anything
    found["part evaluated"] = made(x)
    return {key: value.detach().numpy() for key, value in found.items()}


def main(rank, rendezvous, output, *sizes):
    rank, sizes = int(rank), [int(size) for size in sizes]
    dist.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=rank,
        world_size=len(sizes),
        timeout=timedelta(seconds=60),
    )
    if output == "die":
        made = CASES["torch"](True)
        made(torch.randn(2, 3, 2, 2))
        if rank == 1:
            os._exit(7)
        try:
            made(torch.randn(2, 3, 2, 2))
        except RuntimeError as error:
            print("engine:", error)
            os._exit(0)
        os._exit(1)
    start = sum(sizes[:rank])
    part = slice(start, start + sizes[rank])
    for name in CASES:
        found = computed(name, part, batch(name, sum(sizes)), True)
        np.savez(f"{output}-{rank}-{list(CASES).index(name)}.npz", **found)
    if min(sizes) > 0:
        in_parallel(rank, f"{output}-{rank}-ddp.npz", part, sum(sizes))
    dist.destroy_process_group()


def in_parallel(rank, output, part, count):
    """A net under DistributedDataParallel, which averages gradients over processes."""
    torch.manual_seed(0)
    net = nn.SyncBatchNorm.convert_sync_batchnorm(parallel_net())
    net = nn.parallel.DistributedDataParallel(accelerate(net, fuse=True))
    x, dy, _ = (torch.from_numpy(array[part]) for array in batch("torch", count))
    y = net(x)
    y.backward(dy)
    gradients = {name: p.grad.numpy() for name, p in net.module.named_parameters()}
    np.savez(output, **gradients)


def parallel_net():
    return nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))


if __name__ == "__main__":
    main(*sys.argv[1:])
