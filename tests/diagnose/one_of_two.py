"""One of the two processes of test_processes.py: records models on its part of a batch, by gloo.

python one_of_two.py RANK MEETING FOLDER
"""

import sys

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from batchnorm.diagnose import record
from batchnorm.diagnose.files import save
from batchnorm.hosts.torch import accelerate

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, shared, **options):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6, **options)
        self.bn2 = nn.BatchNorm2d(6)
        if shared:  # torch's own takes no CPU tensors
            self.bn1 = accelerate(nn.SyncBatchNorm(6, **options))

    def forward(self, x):
        return self.bn2(torch.relu(self.bn1(self.conv(x))))


MODELS = {
    "shared": lambda: Net(True),
    "alone": lambda: Net(False),
    "inverted": lambda: Net(True, momentum=0.9),
    "alone and epsilon": lambda: Net(False, eps=1e-2),
}


def part(rank):
    draw = np.random.default_rng(rank)
    return (draw.normal(rank, 1 + rank, (4 + rank, 3, 6, 6))).astype(np.float32)


def main():
    rank, meeting, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    for name, make in MODELS.items():
        save(record(make(), part(rank), steps=2, rank=(rank, 2)), f"{folder}/{name}/{rank}.bnrec")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
