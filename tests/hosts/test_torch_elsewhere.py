"""Where our kernel doesn't compute: what a ported layer runs, keeps and gives there.

No such device is needed: meta tensors list the operations, and a dispatch mode that changes nothing
sends the CPU's tensors the same way.
"""

import copy
import cProfile
import pstats

import pytest
from derived_nets import BatchNormAct, NormAct
from torch.utils._python_dispatch import TorchDispatchMode
from torch_here import away, step, torch, ulps

import batchnorm as bn
from batchnorm.hosts.torch import accelerate, formulas, module, port

nn = torch.nn
RULES = ("keras", "mindspore", "tf_keras", "tf_keras_2_6")
FREE = ("empty", "view", "reshape", "expand", "detach", "alias", "permute", "unsqueeze", "squeeze")
FREE += ("as_strided", "slice", "select", "ones_like", "new_zeros", "movedim")
SIZES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Watch(TorchDispatchMode):
    """Lists the operations on tensors of some size."""

    def __init__(self, size=0):
        super().__init__()
        self.size, self.seen = size, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = str(func).split(".")[1].lstrip("_")
        leaves = torch.utils._pytree.tree_leaves((args, kwargs, out))
        sizes = [t.numel() for t in leaves if isinstance(t, torch.Tensor)]
        if not name.startswith(FREE) and max(sizes, default=0) >= self.size:
            self.seen.append(name)
        return out


def operations(make, shape, dtype, training=True):
    """Those on whole tensors, forward and backward."""
    layer = make().to("meta").train(training)
    x = torch.empty(shape, device="meta", dtype=dtype, requires_grad=True)
    with Watch(x.numel()) as forward:
        y = layer(x)
    with Watch(x.numel()) as backward:
        y.backward(torch.empty_like(y))
    return len(forward.seen), len(backward.seen)


def ported(kind, rule):
    return lambda: port(nn.Sequential(kind(8)), rule)


def keras_layer(**settings):
    layer = bn.keras.BatchNormalization(**settings)
    layer.build((4, 6, 6, 8))
    return module(layer)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("rule", RULES)
def test_no_operation_on_whole_tensors_more_than_torchs_own_layer(rule, dtype, training):
    given = ((4, 8, 6, 6), SIZES[dtype], training)
    for kind in (nn.BatchNorm2d, BatchNormAct, NormAct):
        own = operations(lambda kind=kind: nn.Sequential(kind(8)), *given)
        assert operations(ported(kind, rule), *given) == own


def test_channels_that_lie_last_cost_a_layout_at_most():
    own = operations(lambda: nn.BatchNorm2d(8), (4, 8, 6, 6), torch.float32)
    forward, backward = operations(keras_layer, (4, 6, 6, 8), torch.float32)
    assert forward <= own[0] + 1
    assert backward <= own[1] + 1  # of dy


def kept_bytes(layer, shape, dtype):
    x = torch.empty(shape, device="meta", dtype=dtype, requires_grad=True)
    seen, alive = {}, []

    def pack(t):
        alive.append(t)
        seen[t.untyped_storage()._cdata] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        layer.to("meta")(x)
    return sum(seen.values())


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("rule", RULES)
def test_no_more_is_kept_for_the_backward(rule, dtype):
    given = ((8, 16, 32, 32), SIZES[dtype])
    own = kept_bytes(nn.BatchNorm2d(16), *given)
    assert kept_bytes(port(nn.BatchNorm2d(16), rule), *given) <= 1.05 * own


def definition(x, w, b, eps):
    d = x - x.mean((0, 2, 3), keepdim=True)
    v = d.pow(2).mean((0, 2, 3), keepdim=True)
    return d / (v + eps).sqrt() * w.view(1, -1, 1, 1) + b.view(1, -1, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (4, 7, 9, 5), (8, 5, 1, 1)], ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_the_numbers_are_the_rules_there_too(rule, shape, dtype):
    """Against the definition in float64, whose variance is averaged over n or n - 1."""
    torch.manual_seed(0)
    layer = port(nn.BatchNorm2d(shape[1], eps=1e-3, momentum=0.3), rule).to(dtype)
    for t in (layer.weight, layer.bias, layer.running_mean):
        nn.init.normal_(t.data)
    wide = dtype is torch.float64  # where Keras 2 has no fused kernel
    correction = 0 if rule == "keras" or ("tf_keras" in rule and wide) else 1
    start = layer.running_mean.double().clone()
    x = (torch.randn(shape, dtype=torch.float64) * 2 - 3).to(dtype).requires_grad_()
    g = torch.randn(shape, dtype=torch.float64).to(dtype)
    with Watch():
        y = layer(x)
        y.backward(g)
    z = x.detach().double().requires_grad_()
    w, b = (t.detach().double().requires_grad_() for t in (layer.weight, layer.bias))
    wanted = definition(z, w, b, 1e-3)
    wanted.backward(g.double())
    found = [y, x.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]
    right = [wanted, z.grad, w.grad, b.grad, 0.7 * start + 0.3 * z.mean((0, 2, 3))]
    right.append(0.7 + 0.3 * z.var((0, 2, 3), correction=correction))
    bound = 1e-10 if wide else 2e-5
    if wide and "tf_keras" in rule:
        bound = 1e-7  # its factor 1 - momentum is a float32
    assert away([t.double() for t in found], right) <= bound


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_the_numbers_are_the_kernels_and_the_layout_is_kept(rule, form, kind):
    torch.manual_seed(0)
    x = torch.randn(4, 6, 5, 5).to(kind).to(memory_format=form)
    here = port(nn.BatchNorm2d(6), rule)
    there = copy.deepcopy(here)
    dy = torch.randn_like(x)
    for training in (True, False):
        wanted = step(here.train(training), x, dy)
        with Watch():
            found = step(there.train(training), x, dy)
        assert found[0].stride() == wanted[0].stride()
        # torch's own sums of 16-bit gradients are the less accurate ones
        assert away(found, wanted) <= ulps(kind, 32 if kind is torch.float32 else 8)


def test_formulas_of_other_devices_sum_in_float32(monkeypatch):
    """Masks, renorm and ghost batches on CUDA take this branch; its digits are float32's."""
    settings = {"axis": 1, "virtual_batch_size": 2}
    layer = bn.tf_keras.BatchNormalization(**settings)
    layer.build((4, 3, 5, 5))
    made, other = module(layer), module(layer)
    x, dy = torch.randn(2, 4, 3, 5, 5)
    wanted, kinds = step(made, x, dy), []

    def narrow(x):
        kinds.append(torch.float32)
        return torch.float32

    monkeypatch.setattr(formulas, "width", narrow)
    assert away(step(other, x, dy), wanted) <= ulps(torch.float32, 32)
    assert kinds


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.BatchNorm1d, BatchNormAct, NormAct])
def test_accelerate_costs_next_to_nothing_there(kind, training):
    """In calls of Python, which is what a small layer's time goes to."""
    layer = kind(8).to("meta").train(training)
    x = torch.empty((4, 8, 6, 6) if kind is not nn.BatchNorm1d else (4, 8), device="meta")

    def calls(one):
        for _ in range(3):
            one(x)
        counted = cProfile.Profile()
        counted.enable()
        one(x)
        counted.disable()
        return pstats.Stats(counted).total_calls

    assert calls(accelerate(copy.deepcopy(layer))) <= calls(layer) + 12


def kept_beside(layer, x):
    """Bytes kept for backward, beyond the input's own memory."""
    seen, alive = {}, []

    def pack(t):
        alive.append(t)
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = layer(x)
    return sum(v for k, v in seen.items() if k != x.untyped_storage().data_ptr()), y


@pytest.mark.parametrize(
    "view",
    [lambda t: t[:, :8], lambda t: t[:, :8, ::2], lambda t: t[:, :8].transpose(2, 3)],
    ids=["channels", "rows", "transposed"],
)
@pytest.mark.parametrize("change", [accelerate, lambda m: port(m, "keras")])
def test_of_a_view_no_copy_is_kept(change, view):
    x = view(torch.randn(4, 16, 32, 32, requires_grad=True))
    own, y = kept_beside(nn.BatchNorm2d(8), x)
    ours, z = kept_beside(change(nn.BatchNorm2d(8)), x)
    assert torch.allclose(y, z, atol=1e-5)
    assert ours <= own + 4096


@pytest.mark.parametrize("fuse", [False, True])
def test_of_a_view_the_gradients_are_torchs(fuse):
    x, weights, found = torch.randn(4, 16, 6, 6, requires_grad=True), torch.randn(4, 8, 6, 6), []
    for change in (lambda m: m, lambda m: accelerate(m, fuse=fuse)):
        model = change(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()))
        found.append(torch.autograd.grad((model(x[:, ::2]) * weights).sum(), x))
    assert away(found[1], found[0]) <= ulps(torch.float32, 16)


@pytest.mark.parametrize("rule", RULES)
def test_whole_steps_are_one_graph_on_other_devices(rule):
    """Traced on meta tensors, where nothing of ours computes."""
    torch._dynamo.reset()
    eager = port(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), NormAct(4)), rule)
    compiled = torch.compile(eager.to("meta"), fullgraph=True, backend="aot_eager")
    x = torch.empty(4, 3, 6, 6, device="meta")
    compiled(x).sum().backward()
    assert eager[1].weight.grad.shape == (4,)
