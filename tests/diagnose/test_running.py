"""Live models run once while watched: each framework tells the same, and is left as it was."""

import numpy as np
import pytest
from built_nets import BUILD, plain

from batchnorm import frameworks


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
