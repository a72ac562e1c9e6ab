"""Records a model over and over in processes of its own, each of which is killed at another moment.

python recorded_and_killed.py FILE COUNT
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from built_nets import torch_net, vgg

from batchnorm.diagnose import record
from batchnorm.diagnose.files import save

torch.set_num_threads(1)


def main():
    path, count = sys.argv[1], int(sys.argv[2])
    net = vgg()
    model, batch = torch_net(net), net.batch()
    times = []
    for name in ("first", "whole"):
        start = time.perf_counter()
        save(record(model, batch), f"{path}.{name}")
        times.append(time.perf_counter() - start)
    for index in range(count):
        child = os.fork()
        if not child:
            save(record(model, batch), path, force=True)
            os._exit(0)
        time.sleep(1.2 * min(times) * index / count)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        there = Path(path).exists()
        if there:
            Path(path).rename(f"{path}.{index}")
        print(index, "killed" if os.WIFSIGNALED(status) else "ended", there, flush=True)


if __name__ == "__main__":
    main()
