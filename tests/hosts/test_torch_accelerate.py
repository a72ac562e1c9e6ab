"""Accelerated models against torch's own: numbers, errors, state, and the way back."""

import copy
import pickle

import pytest
from torch_here import away, step, torch, ulps

from batchnorm import BatchNormError
from batchnorm.hosts.torch import accelerate, port, restore, tasks
from batchnorm.hosts.torch import kernel as kernel_file
from batchnorm.hosts.torch.fuse import Fused

nn = torch.nn
common_modules = pytest.importorskip(
    "torch.testing._internal.common_modules", reason="needs expecttest", exc_type=ImportError
)
INFOS = [
    info
    for info in common_modules.module_db
    if info.module_cls in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
]
DTYPES = (torch.float32, torch.float64)


def samples(info, dtype, training):
    return info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=training
    )


def made(info, sample, dtype):
    given = sample.constructor_input
    return info.module_cls(*given.args, dtype=dtype, **given.kwargs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_torchs_own_module_inputs_give_what_the_real_module_gives(info, dtype, training):
    for sample in samples(info, dtype, training):
        real = made(info, sample, dtype).train(training)
        ours = accelerate(copy.deepcopy(real))
        (x,) = sample.forward_input.args
        for _ in range(2):
            dy = torch.randn_like(x)
            assert away(step(ours, x, dy), step(real, x, dy)) <= ulps(dtype, 32), sample.desc


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_torchs_own_error_inputs_raise_what_the_real_module_raises(info):
    inputs = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    )
    assert inputs
    for wrong in inputs:
        sample = wrong.module_error_input
        ours = accelerate(made(info, sample, torch.float32))
        with pytest.raises(wrong.error_type, match=wrong.error_regex):
            ours(*sample.forward_input.args, **sample.forward_input.kwargs)


def broken(name, value):
    layer = nn.BatchNorm2d(3)
    setattr(layer, name, value)
    return layer


WRONG = {
    "rank": (nn.BatchNorm2d(3), torch.ones(2, 3)),
    "channels": (nn.BatchNorm2d(3), torch.ones(2, 4, 2, 2)),
    "one value": (nn.BatchNorm2d(3), torch.ones(1, 3, 1, 1)),
    "integers": (nn.BatchNorm2d(3), torch.ones(2, 3, 2, 2, dtype=torch.int32)),
    "mixed types": (nn.BatchNorm2d(3), torch.ones(2, 3, 2, 2, dtype=torch.float64)),
    "complex": (nn.BatchNorm2d(3), torch.ones(2, 3, 2, 2, dtype=torch.complex64)),
    "one buffer": (broken("running_mean", None), torch.ones(2, 3, 2, 2)),
    "one buffer, evaluating": (broken("running_mean", None).eval(), torch.ones(2, 3, 2, 2)),
    "momentum": (broken("momentum", "much"), torch.ones(2, 3, 2, 2)),
    "eps": (broken("eps", None), torch.ones(2, 3, 2, 2)),
    "no tensor": (nn.BatchNorm2d(3), [1.0]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_torch_refuses_is_refused_with_its_own_words(case):
    real, x = WRONG[case]
    ours = accelerate(copy.deepcopy(real))
    with pytest.raises(Exception) as expected:  # noqa: PT011 (whatever torch raises)
        real(x)
    with pytest.raises(expected.type) as found:
        ours(x)
    assert str(found.value) == str(expected.value)
    counted = [layer.num_batches_tracked for layer in (real, ours)]
    assert torch.equal(*counted)


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "strided": lambda x: x.repeat(1, 1, 1, 2)[..., ::2],
    "expanded": lambda x: x[:1].expand(4, -1, -1, -1),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_types_and_layouts_come_out_as_torchs(kept, layout, training):
    torch.manual_seed(1)
    x = LAYOUTS[layout](torch.randn(4, 3, 5, 6)).to(kept)
    for parameters in {kept, torch.float32}:
        real = nn.BatchNorm2d(3, dtype=parameters).train(training)
        ours = accelerate(copy.deepcopy(real))
        wanted, found = real(x), ours(x)
        assert found.stride() == wanted.stride()
        dy = torch.randn_like(wanted)
        # torch sums 16-bit gradients less accurately than we do
        assert away(step(ours, x, dy), step(real, x, dy)) <= ulps(kept, 8)


@pytest.mark.parametrize("relu", [True, False])
def test_a_gradient_may_have_any_layout(relu):
    x = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    ours = accelerate(nn.BatchNorm2d(3))
    real = nn.BatchNorm2d(3)
    for dy in (torch.ones(()).expand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)):
        expected = step(nn.Sequential(real, nn.ReLU()) if relu else real, x, dy)
        assert away(step(ours, x, dy, relu=relu), expected) <= ulps(torch.float32)


def test_autocast_leaves_the_types_that_torch_leaves():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    ours = accelerate(copy.deepcopy(net))
    with torch.autocast("cpu", torch.bfloat16):
        wanted, found = net(torch.ones(2, 3, 4, 4)), ours(torch.ones(2, 3, 4, 4))
    assert found.dtype is wanted.dtype is torch.bfloat16
    assert ours[1].running_mean.dtype is torch.float32


class Residual(nn.Module):
    def __init__(self, channels, add):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.add = add

    def forward(self, x):
        out = self.relu(self.bn1(self.conv(x)))
        out = self.bn2(self.conv(out))
        return self.relu(self.add(out, x))


def add_in_place(a, b):
    a += b
    return a


def net(add=add_in_place):
    torch.manual_seed(3)
    blocks = [Residual(4, add), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)]
    return nn.Sequential(*blocks, nn.Sequential(nn.ReLU()))


def fused_in(model):
    return [name for name, m in model.named_modules() if isinstance(m.forward, Fused)]


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("add", [add_in_place, torch.add, lambda a, b: b + a])
def test_a_model_keeps_its_numbers_its_names_and_its_own_classes_when_restored(fuse, add):
    real = net(add)
    ours = copy.deepcopy(real)
    kept = [id(v) for v in ours.state_dict(keep_vars=True).values()]
    assert accelerate(ours, fuse=fuse) is ours
    assert fused_in(ours) == (["", "0"] if fuse else [])
    x = torch.randn(3, 4, 6, 6)
    for training in (True, False):
        real.train(training), ours.train(training)
        dy = torch.randn(3, 4, 4, 4)
        assert away(step(ours, x, dy), step(real, x, dy)) <= ulps(torch.float32, 64)
    assert list(ours.state_dict()) == list(real.state_dict())
    restore(ours)
    assert [type(m) for m in ours.modules()] == [type(m) for m in real.modules()]
    assert [id(v) for v in ours.state_dict(keep_vars=True).values()] == kept
    assert not any("forward" in vars(m) for m in ours.modules())
    assert str(ours) == str(real)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_fused_models_copy_computes_with_its_own_modules(again):
    ours = accelerate(net(torch.add), fuse=True)
    other = again(ours)
    x, dy = torch.randn(3, 4, 6, 6), torch.randn(3, 4, 4, 4)
    before = ours[0].bn1.running_mean.clone()
    found = step(other, x, dy)
    assert torch.equal(ours[0].bn1.running_mean, before)
    assert not torch.equal(other[0].bn1.running_mean, before)
    assert away(found, step(ours, x, dy)) == 0


class Untouched:
    """Modules whose `forward` must not be fused."""

    class Flow(nn.Sequential):
        def forward(self, x):
            y = self[0](x)
            return torch.relu(y) if y.sum() > 0 else y

    class ByMode(nn.Sequential):
        def forward(self, x):
            return torch.relu(nn.functional.dropout(self[0](x), 0.5, self.training))

    class Counting(nn.Sequential):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return torch.relu(self[0](x))

    class Twice(nn.Sequential):
        def forward(self, x):
            y = self[0](x)
            return torch.relu(y) + y


@pytest.mark.parametrize("kind", ["Flow", "ByMode", "Counting", "Twice"])
def test_what_a_graph_would_not_show_is_not_fused(kind):
    torch.manual_seed(0)
    real = getattr(Untouched, kind)(nn.BatchNorm2d(3))
    ours = accelerate(copy.deepcopy(real), fuse=True)
    assert fused_in(ours) == []
    assert ours.training
    x = torch.randn(2, 3, 4, 4)
    if kind != "ByMode":
        assert away([ours(x)], [real(x)]) <= ulps(torch.float32)
    assert getattr(ours, "calls", 1) == 1


def test_a_hook_keeps_what_it_is_on_from_being_fused():
    seen = []
    ours = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    ours[0].register_forward_hook(lambda m, i, o: seen.append(float(o.detach().min())))
    accelerate(ours, fuse=True)(torch.randn(2, 3, 4, 4))
    assert seen[0] < 0


def test_an_addend_of_another_shape_or_type_is_added_as_torch_adds_it():
    real, ours = nn.BatchNorm2d(3), accelerate(nn.BatchNorm2d(3))
    x = torch.randn(2, 3, 4, 4)
    for addend in (torch.ones(3, 1, 1), torch.ones(2, 3, 4, 4, dtype=torch.float64)):
        wanted = torch.relu(real(x) + addend)
        found = ours(x, addend=addend, relu=True)
        assert found.dtype is wanted.dtype
        assert away([found], [wanted]) <= ulps(torch.float32)


def test_the_kernel_really_computes_it(monkeypatch):
    calls = []
    for place, name in ((tasks, "tensors"), (kernel_file.core, "arrays")):

        def run(*given, run=place.forward, name=name, **more):
            found = run(*given, **more)
            calls.extend([name] if found is not None else [])
            return found

        monkeypatch.setattr(place, "forward", run)
    ours = accelerate(nn.BatchNorm2d(3))
    ours(torch.randn(2, 3, 4, 4))
    assert calls == ["tensors"]
    ours(torch.randn(2, 4, 4, 3).permute(0, 3, 1, 2)[:, :, ::2])
    assert calls == ["tensors"] * 2
    ours.to("meta")(torch.empty(2, 3, 4, 4, device="meta"))
    assert calls == ["tensors"] * 2


def test_a_batch_changed_before_the_backward_is_noticed():
    ours = accelerate(nn.BatchNorm2d(3))
    x = torch.randn(2, 3, 4, 4, requires_grad=True) * 1
    y = ours(x)
    x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own
def test_other_ways_to_differentiate_go_on_to_torchs_own():
    ours, real = accelerate(nn.BatchNorm1d(3).eval()), nn.BatchNorm1d(3).eval()
    x = torch.randn(4, 3)
    found = torch.func.vmap(lambda row: ours(row[None])[0])(x)
    assert away([found], [real(x)]) <= ulps(torch.float32)
    y, tangent = torch.func.jvp(ours, (x,), (torch.ones_like(x),))
    assert away([y, tangent], list(torch.func.jvp(real, (x,), (torch.ones_like(x),)))) < 1e-6


@pytest.mark.parametrize("change", [accelerate, restore, lambda m: port(m, "keras")])
def test_only_modules_are_taken(change):
    with pytest.raises(BatchNormError, match=r"torch\.nn\.Module"):
        change([nn.BatchNorm2d(3)])
