"""Live models run once while watched: each framework tells the same, and is left as it was."""

import numpy as np
import pytest
from built_nets import BUILD, Net, plain

from batchnorm import frameworks
from batchnorm.diagnose import diagnose


def heard(name, net, x, **options):
    room = frameworks.find(name).room("running")
    model = room.eager(BUILD[name](net))
    layers = room.parameterised(model)
    events = {}

    def tell(path, what, a, b):
        key = path.replace(".", "_")
        last = name.endswith("keras") and a.ndim == 4
        a, b = (v if v is None or not last else np.moveaxis(v, -1, 1) for v in (a, b))
        events[key, what] = (a, b) if what == "forward" else a

    given = np.moveaxis(x, 1, -1) if name.endswith("keras") else x
    with room.unchanged(model):
        before = {p: room.state(m) for p, m in layers.items() if "bn" in p}

        def weigh(outputs):
            return [np.ones_like(o) for o in outputs]

        outputs, gradients = room.run(model, given, layers, tell, weigh=weigh, **options)
    after = {p: room.state(m) for p, m in layers.items() if "bn" in p}
    for path, values in before.items():
        for role, value in values.items():
            np.testing.assert_array_equal(after[path][role], value)
    return outputs, {k.replace(".", "_"): v for k, v in gradients.items()}, events


def test_a_value_with_several_users_has_the_gradient_of_the_layer_alone():
    net = Net(shape=(3, 4, 5, 5))
    net.add("bn", "bn", "input")
    net.add("sum", "add", "bn", "input")
    x = net.batch()
    _, _, events = heard("torch", net, x, training=False)
    own = net.parameters["bn"]
    slope = own["gamma"] / np.sqrt(own["running_var"] + 1e-5)
    np.testing.assert_allclose(events["bn", "x"][0, :, 0, 0], slope, rtol=1e-6)


@pytest.mark.parametrize("name", ["mindspore", "keras", "tf_keras"])
def test_frameworks_tell_the_same_of_one_net(name):
    pytest.importorskip(frameworks.find(name).real_package)
    net = plain(shape=(3, 3, 8, 8))
    x = net.batch()
    for training in (True, False):
        ours = heard("torch", net, x, training=training)
        theirs = heard(name, net, x, training=training)
        np.testing.assert_allclose(ours[0][0], theirs[0][0], atol=1e-4)
        # Keras pads before the first convolution, so nobody differentiates by its input.
        assert set(ours[2]) - set(theirs[2]) <= {("a_conv", "x")}
        assert set(theirs[2]) <= set(ours[2])
        for key, told in theirs[2].items():
            forward = key[1] == "forward"
            pairs = zip(ours[2][key], told, strict=True) if forward else [(ours[2][key], told)]
            for a, b in pairs:
                if a.shape == b.shape:  # else padded before, in a layer of its own
                    tolerance = 2e-4 * max(1, np.abs(a).max())
                    np.testing.assert_allclose(a, b, atol=tolerance, err_msg=str(key))
        for path, own in ours[1].items():
            if "bn" in path:
                for role, value in own.items():
                    np.testing.assert_allclose(theirs[1][path][role], value, rtol=1e-3, atol=1e-3)


def test_layers_of_mint_are_watched():
    """Their kernels run on Ascend only, so one is derived from that computes here."""
    mindspore = pytest.importorskip("mindspore")
    torch = pytest.importorskip("torch")
    mint, ops = mindspore.mint, mindspore.ops

    class Here(mint.nn.BatchNorm2d):
        def construct(self, x):
            mean, var = self.running_mean, self.running_var
            if self.training:
                n = x.size // x.shape[1]
                mean = x.mean((0, 2, 3))
                var = ((x - mean.reshape(1, -1, 1, 1)) ** 2).mean((0, 2, 3))
                for old, new in ((self.running_mean, mean), (self.running_var, var * n / (n - 1))):
                    ops.assign(old, (1 - self.momentum) * old + self.momentum * new)
            wide = [v.reshape(1, -1, 1, 1) for v in (mean, var, self.weight, self.bias)]
            return (x - wide[0]) / ops.sqrt(wide[1] + self.eps) * wide[2] + wide[3]

    source = torch.nn.BatchNorm2d(4)
    x = np.random.default_rng(0).normal(0.5, 2, (6, 4, 5, 5)).astype(np.float32)
    for momentum, causes in ((0.1, []), (0.9, ["momentum-inverted"])):
        report = diagnose(source, Here(4, momentum=momentum).set_train(), x, steps=2)
        assert report.causes == causes, f"{report}"
    room = frameworks.find("mindspore").room("running")
    found = room.described(mint.nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False))
    assert (found["strides"], found["padding"], found["groups"]) == ([2, 2], [[1, 1]] * 2, 1)
    assert found["bias"] is None
    assert room.described(mint.nn.Linear(3, 4))["kernel"].shape == (4, 3)
