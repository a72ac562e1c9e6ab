"""Run in a process of its own by test_recalibrate: `python recalibrating_real_models.py FRAMEWORK`.

The oracle is the framework itself: a net of two batch norms with something between them, run batch
by batch in training, its layers' inputs collected, and their statistics taken in float64 at the
end.
"""

import sys

import numpy as np
import pytest

import batchnorm as bn

RANDOM = np.random.default_rng(0)


def data(*shape):
    return (RANDOM.normal(size=shape) * 2 + 1).astype(np.float32)


def close(ours, theirs, what, tolerance=2e-6):
    theirs = np.asarray(theirs, np.float64)
    scale = max(np.abs(theirs).max(initial=0), 1e-3)
    apart = np.abs(np.asarray(ours, np.float64) - theirs).max(initial=0)
    assert apart <= tolerance * scale, f"{what}: {apart} apart at scale {scale}"


def truth(inputs, axis, ddof):
    """Mean and variance over all values of all batches, per channel."""
    whole = np.concatenate([np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]) for x in inputs])
    whole = whole.astype(np.float64)
    return whole.mean(axis=0), whole.var(axis=0, ddof=ddof)


def torch():
    import torch

    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)
            self.drop, self.second = nn.Dropout(0.5), nn.SyncBatchNorm(4, momentum=None)
            self.unused = nn.BatchNorm1d(2)
            self.untracked = nn.BatchNorm2d(4, track_running_stats=False)

        def forward(self, x):
            return self.untracked(self.second(input=self.drop(self.conv(self.first(x)).relu())))

    net = Net().eval()
    batches = [(torch.from_numpy(data(n, 3, 6, 6)), "label") for n in (4, 7, 2)]
    expected = {"first": [x.numpy() for x, _ in batches], "second": []}
    twin = Net()
    twin.load_state_dict(net.state_dict())
    twin.train()
    twin.drop.eval()
    twin.second.register_forward_pre_hook(
        lambda _, given, named: expected["second"].append(named["input"].detach().numpy()),
        with_kwargs=True,
    )
    for x, _ in batches:
        twin(x)
    with pytest.warns(UserWarning, match="no batch has reached unused"):
        found = bn.recalibrate(net, batches, progress=False)
    assert list(found) == ["first", "second"]
    for name, inputs in expected.items():
        layer = getattr(net, name)
        mean, var = truth(inputs, 1, 1)
        close(layer.running_mean, mean, name)
        close(layer.running_var, var, name)
        assert layer.num_batches_tracked == 0
        assert not layer.training
        assert not layer._forward_pre_hooks
    given = bn.recalibrate(net.first, [x for x, _ in batches], progress=False)
    close(given[""].mean, truth(expected["first"], 1, 1)[0], "a layer alone", 1e-12)
    called = []

    def call(model, batch):
        called.append(batch["image"].shape)
        return model(batch["image"])

    bn.recalibrate(net.first, [{"image": x} for x, _ in batches], call=call, progress=False)
    assert len(called) == 3

    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(ValueError, match="expected 4D"):  # if anything raises, all is as it was
        bn.recalibrate(net, [batches[0], (torch.zeros(1), "bad")], progress=False)
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not any(m.training for m in net.modules())
    with pytest.raises(ValueError, match="holds no batch norm"):
        bn.recalibrate(nn.Linear(2, 2), [], progress=False)
    with pytest.raises(ValueError, match="batches was empty"):
        bn.recalibrate(net, [], progress=False)


def gloo_worker(rank, meeting):
    import torch
    from torch import distributed

    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    data = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32) * 2 + 1e3
    layer = torch.nn.BatchNorm1d(3)
    mine = [torch.from_numpy(data[:2] if rank == 0 else data[2:])]
    bn.recalibrate(layer, mine, workers=distributed.group.WORLD, progress=False)
    mean, var = truth([data], 1, 1)
    close(layer.running_mean, mean, "mean")
    close(layer.running_var, var, "variance")
    distributed.destroy_process_group()


def torch_workers():
    import tempfile

    from torch import multiprocessing

    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(gloo_worker, (f"file://{folder}/meeting",), nprocs=2)


def mindspore():
    import contextlib

    import mindspore as ms
    from mindspore import nn

    ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
    with contextlib.suppress(SystemError):  # the first operation under NumPy 2.4
        ms.Tensor(np.ones(1, np.float32)) + 1
    seen = []

    class Spy(nn.Cell):
        def construct(self, x):
            seen.append(x.asnumpy().copy())
            return x

    net = nn.SequentialCell(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 4, 3),
        Spy(),
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, use_batch_statistics=False),
    )
    batches = [data(n, 3, 6, 6) for n in (4, 7, 2)]
    found = bn.recalibrate(net, [[ms.Tensor(x), 0] for x in batches], progress=False)
    assert list(found) == ["0", "3"], list(found)
    for layer, inputs in ((net[0], batches), (net[3], seen)):
        mean, var = truth(inputs, 1, 1)
        close(layer.moving_mean.asnumpy(), mean, "mean")
        close(layer.moving_variance.asnumpy(), var, "variance")
        assert not layer.training
    assert (net[4].moving_mean.asnumpy() == 0).all()
    layer = nn.BatchNorm3d(3)
    x = data(4, 3, 2, 3, 3)
    bn.recalibrate(layer, [ms.Tensor(x)], progress=False)
    close(layer.bn2d.moving_variance.asnumpy(), truth([x], 1, 1)[1], "BatchNorm3d")


def follow_keras(keras, ddof):
    layers = keras.layers
    seen = []

    class Spy(layers.Layer):
        def call(self, x):
            seen.append(np.array(x))
            return x

    model = keras.Sequential(
        [
            layers.BatchNormalization(),
            layers.Conv2D(4, 3),
            layers.Dropout(0.5),
            Spy(),
            layers.BatchNormalization(axis=-1, momentum=0.5),
            layers.BatchNormalization(trainable=False),
        ]
    )
    batches = [data(n, 6, 6, 3) for n in (4, 7, 2)]
    model(batches[0])
    seen.clear()
    first, second, frozen = (model.layers[i] for i in (0, 4, 5))
    found = bn.recalibrate(model, [(x, None) for x in batches], progress=False)
    assert list(found) == [first.name, second.name], list(found)
    for layer, inputs in ((first, batches), (second, seen)):
        mean, var = truth(inputs, -1, ddof)
        close(np.array(layer.moving_mean), mean, layer.name)
        close(np.array(layer.moving_variance), var, layer.name)
    assert (np.array(frozen.moving_mean) == 0).all()
    renorm = layers.BatchNormalization(renorm=True)
    x = data(50, 3)
    renorm(x)
    bn.recalibrate(renorm, [x[:20], x[20:]], progress=False)
    mean, var = truth([x], -1, 0)
    close(np.array(renorm.moving_variance), var, "renorm", 1e-5)
    close(np.array(renorm.renorm_stddev), np.sqrt(var + 1e-3), "renorm")
    close(np.array(renorm.renorm_mean), mean, "renorm")
    y = np.array(model(batches[0], training=True))  # trains as ever afterwards
    assert np.isfinite(y).all()
    assert not (np.array(second.moving_mean) == truth(seen, -1, ddof)[0]).all()


def keras2():
    import tf_keras

    follow_keras(tf_keras, 1)


def keras3():
    import keras

    follow_keras(keras, 0)


if __name__ == "__main__":
    cases = {"torch": torch, "mindspore": mindspore, "tf_keras": keras2, "keras": keras3}
    {**cases, "torch_workers": torch_workers}[sys.argv[1]]()
