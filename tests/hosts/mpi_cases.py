"""Run under mpirun by test_mpi: `python mpi_cases.py CASE`. Every process checks its own part.

The oracle is the same layer, alone, on the joined batch: each process computes that too, from the
same seed, and compares what belongs to its rows.
"""

import doctest
import os
import sys
import time

import numpy as np
import pytest
from mpi4py import MPI

import batchnorm as bn

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()
LAYERS = {
    "torch": (lambda: bn.torch.BatchNorm2d(3, momentum=0.3), (3, 4, 2)),
    "torch, cumulative": (lambda: bn.torch.BatchNorm1d(3, momentum=None, bias=False), (3,)),
    "mindspore": (lambda: bn.mindspore.BatchNorm2d(3).set_train(), (3, 4, 2)),
    "mindspore 2.0": (lambda: bn.mindspore_2_0.BatchNorm2d(3).set_train(), (3, 4, 2)),
    "tf_keras": (lambda: bn.tf_keras.BatchNormalization(momentum=0.5), (4, 2, 3)),
    "tf_keras, sync": (lambda: bn.tf_keras.BatchNormalization(synchronized=True), (4, 2, 3)),
    "keras": (lambda: bn.keras.BatchNormalization(axis=1, synchronized=True), (3, 5)),
    "renorm": (
        lambda: bn.keras.BatchNormalization(renorm=True, renorm_clipping={"rmax": 1.1}),
        (5, 3),
    ),
}
SPLITS = {"equal": [4, 4, 4, 4], "unequal": [1, 7, 2, 5], "one empty": [5, 0, 3, 1]}


def call(layer, x, **named):
    keras = "keras" in layer.FRAMEWORK
    return layer(x, training=True, **named) if keras else layer(x)


def rows(split):
    ends = np.cumsum(SPLITS[split][:SIZE])
    return slice(int(ends[RANK] - SPLITS[split][RANK]), int(ends[RANK])), int(ends[-1])


def close(ours, whole, what, digits=1e-12):
    whole = np.asarray(whole, np.float64)
    scale = np.abs(whole).max(initial=1e-3)
    apart = np.abs(np.asarray(ours, np.float64) - whole).max(initial=0)
    assert apart <= digits * scale, f"{what}: {apart} apart at scale {scale}"


def joined():
    for name, (make, shape) in LAYERS.items():
        for split in SPLITS:
            if (name, split) == ("mindspore 2.0", "one empty"):
                continue  # which has no empty tensors
            for offset in (1.0, 1e4):
                alone, mine = make(), bn.hosts.mpi.synchronize(make())
                own, total = rows(split)
                random = np.random.default_rng(7)
                for step in range(3):
                    x = (random.normal(size=(total, *shape)) * 2 + offset).astype(np.float32)
                    dy = random.normal(size=x.shape).astype(np.float32)
                    what = f"{name}, {split}, {offset}, step {step}"
                    ulp = float(np.finfo(np.float32).eps)
                    close(call(mine, x[own]), call(alone, x)[own], f"y of {what}", ulp)
                    # Alone, dx may be computed in float: within the 4e-7 of its largest value
                    # that are promised. By halves it is always computed in double.
                    close(mine.backward(dy[own]), alone.backward(dy)[own], f"dx of {what}", 4e-7)
                    for key, value in alone.state.items():
                        close(mine.state[key], value, f"{key} of {what}", ulp)
                    assert mine.gradients.keys() == alone.gradients.keys()
                    for key, value in alone.gradients.items():
                        parts = sum(COMM.allgather(mine.gradients[key].astype(np.float64)))
                        close(parts, value, f"gradient of {key} of {what}", 4 * ulp)
                states = COMM.allgather({k: v.tobytes() for k, v in mine.state.items()})
                assert states.count(states[0]) == SIZE, f"{what}: states differ between processes"


def masked():
    """Unequal counts per channel's batch, one process with nothing counted."""
    alone, mine = bn.keras.BatchNormalization(), bn.keras.BatchNormalization()
    bn.hosts.mpi.synchronize(mine)
    own, total = rows("unequal")
    random = np.random.default_rng(3)
    x = random.normal(size=(total, 6, 3)).astype(np.float32)
    mask = random.random((total, 6)) < 0.5
    if SIZE > 1:
        mask[: SPLITS["unequal"][0]] = False
    close(call(mine, x[own], mask=mask[own]), call(alone, x, mask=mask)[own], "y", 1e-6)
    dy = random.normal(size=x.shape).astype(np.float32)
    close(mine.backward(dy[own]), alone.backward(dy)[own], "dx", 1e-6)
    for key, value in alone.state.items():
        close(mine.state[key], value, key, 1e-6)


def edges():
    """What one process says of the joined batch, all say."""
    layer = bn.hosts.mpi.synchronize(bn.torch.BatchNorm1d(2))
    x = np.ones((1 if RANK == 0 else 0, 2), np.float32)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(x)
    before = layer.state
    assert layer(np.empty((0, 2), np.float32)).shape == (0, 2)
    assert np.array_equal(layer.state["running_var"], before["running_var"])
    one_each = layer(np.full((1, 2), RANK, np.float32))  # 1 per process, but more in all
    assert np.isfinite(one_each).all()
    keras = bn.hosts.mpi.synchronize(bn.tf_keras.BatchNormalization(momentum=0.0))
    keras(np.full((1, 1, 1, 2), RANK, np.float32), training=True)
    expected = np.var(np.arange(SIZE), ddof=1)
    close(keras.state["moving_variance"], [expected] * 2, "fused, one value each", 1e-6)
    layer.eval()
    if RANK == 0:  # inference exchanges nothing
        layer(np.ones((3, 2), np.float32))
    layer.train()
    channels = 2 if RANK else 3
    other = bn.hosts.mpi.synchronize(bn.torch.BatchNorm1d(channels))
    with pytest.raises(ValueError, match="different numbers of channels"):
        other(np.zeros((4, channels), np.float32))


def recalibrated():
    layer, alone = bn.torch.BatchNorm2d(3), bn.torch.BatchNorm2d(3)
    random = np.random.default_rng(5)
    batches = [(random.normal(size=(n, 3, 4, 4)) * 3 + 2).astype(np.float32) for n in (3, 5, 1)]
    mine = batches[RANK::SIZE]  # of four processes one has nothing
    found = bn.recalibrate(layer, mine, workers=COMM, progress=False)
    bn.recalibrate(alone, batches, progress=False)
    assert found[""].count[0] == 9 * 16
    for key, value in alone.state.items():
        close(layer.state[key], value, key, 1e-7)


def refused():
    """What means one process."""
    for options in ({"virtual_batch_size": 2}, {"adjustment": lambda shape: (1.0, 0.0)}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} can't be synchronised"):
            bn.hosts.mpi.synchronize(bn.tf_keras.BatchNormalization(**options))
    with pytest.raises(TypeError, match="takes a layer of batchnorm, but got object"):
        bn.hosts.mpi.synchronize(object())
    result = doctest.testmod(bn.hosts.mpi)
    assert result.attempted > 0
    assert result.failed == 0


def dies(how):
    layer = bn.hosts.mpi.synchronize(bn.torch.BatchNorm1d(2))
    x = np.random.default_rng(RANK).normal(size=(4, 2)).astype(np.float32)
    layer(x)
    if RANK == SIZE - 1:
        if how == "killed":
            os.kill(os.getpid(), 9)
        if how == "exits":
            sys.exit(3)
        if how == "leaves":
            return
        raise RuntimeError("this process has had enough")
    layer(x)
    time.sleep(60)
    raise AssertionError("the others went on without the dead process")


if __name__ == "__main__":
    case = sys.argv[1]
    if case in ("killed", "raises", "exits", "leaves"):
        dies(case)
        sys.exit()
    cases = (joined, masked, edges, recalibrated, refused)
    {function.__name__: function for function in cases}[case]()
    print(f"process {RANK} of {SIZE}: {case} ok", flush=True)
