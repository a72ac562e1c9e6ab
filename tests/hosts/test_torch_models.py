"""What people do with models, done with accelerated ones: as with torch's own, number by number."""

import copy
import io
import warnings

import pytest
import torch.ao.quantization as quantization
from torch.ao.nn.intrinsic import ConvReLU2d
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint
from torch_here import away, torch

from batchnorm.hosts.torch import accelerate, port, restore

nn, func = torch.nn, torch.func
CASES = {}
HOW = {
    "accelerate": accelerate,
    "fuse": lambda model: accelerate(model, fuse=True),
    "MindSpore's rule, which is torch's": lambda model: port(model, "mindspore"),
}


def case(function):
    CASES[function.__name__] = function
    return function


def values(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (4, 3, 5, 6), generator=generator).to(dtype)


def small(*more):
    return nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), *more)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), Block(), small(), nn.Conv2d(3, 2, 1))


class Own(nn.Module):
    """A batch norm in a `forward` that the case gives."""

    def __init__(self, forward, **attributes):
        super().__init__()
        self.bn, self.run = nn.BatchNorm2d(3), forward
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.run(self, x)


def outcome(model, y, x=None):
    """Everything that a backward leaves."""
    y.backward(values(*y.shape, seed=9, dtype=y.dtype))
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    inputs = [] if x is None else [x.grad]
    return [y, *inputs, *gradients, *(v.clone() for v in model.state_dict().values())]


def step(model, dtype=torch.float32):
    model.zero_grad()
    x = values(dtype=dtype).requires_grad_()
    return outcome(model, model(x), x)


def batch_norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


@case
def one_batch_norm_used_twice(change):
    norm = nn.BatchNorm2d(3)
    return step(change(nn.Sequential(norm, nn.ReLU(), nn.Conv2d(3, 3, 1, bias=False), norm)))


@case
def parameters_shared_by_two(change):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Tanh(), nn.BatchNorm2d(3))
    model[2].weight, model[2].running_var = model[0].weight, model[0].running_var
    return step(change(model))


@case
def one_batch_norm_in_two_models(change):
    model = small()
    other = nn.Sequential(model[0], nn.Sigmoid())
    change(model)
    return step(model) + step(other)


@case
def batch_norms_frozen_on_the_way(change):
    model = change(net())
    found = step(model)
    for norm in batch_norms(model):
        norm.eval()
    found += step(model) + step(model.train())
    return found + step(model.requires_grad_(False).eval())


@case
def settings_set_later(change):
    model = change(small())
    model[0].eps, model[0].momentum = 0.5, 0.9
    return step(model)


@case
def tensors_replaced_later(change):
    model = change(net())
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data * 2
    model.load_state_dict({k: v.clone() for k, v in model.state_dict().items()}, assign=True)
    return step(model) + step(model.double(), torch.float64)


@case
def made_without_memory(change):
    with torch.device("meta"):
        model = net()
    model = change(model).to_empty(device="cpu")
    model.load_state_dict(net().state_dict())
    return step(model)


@case
def sixteen_bits(change):
    return step(change(small()).half(), torch.float16)


@case
def odd_tensors(change):
    model = change(small())
    x = values(1, 3, 1, 1).requires_grad_()
    found = outcome(model, model(x.expand(4, 3, 5, 5)), x)
    with torch.inference_mode():
        return [*found, model(values()).clone(), model.eval()(values(0, 3, 4, 4)).clone()]


@case
def functional_calls(change):
    model = change(net())
    given = {k: v.clone() for k, v in model.state_dict().items()}
    return [func.functional_call(model, given, (values(),)), *given.values(), *step(model)]


@case
def transforms(change):
    model = change(net()).eval()
    x = values(2, 3, 3, 3)
    jvp = func.jvp(model, (x,), (values(2, 3, 3, 3, seed=1),))
    flat = change(nn.Sequential(nn.BatchNorm1d(3), nn.Tanh())).eval()
    hessian = func.hessian(lambda x: flat(x).sum())(values(4, 3))
    return [*jvp, func.jacrev(model)(x), func.vmap(model)(values(2, 2, 3, 4, 4)), hessian]


@case
def many_gradients_at_once(change):
    model = change(nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()))
    x = values(4, 3).requires_grad_()
    given = [x, *model.parameters()]
    unit = torch.eye(12).view(12, 4, 3)
    found = torch.autograd.grad(model(x), given, unit, is_grads_batched=True)
    return [*found, *torch.autograd.grad(model.eval()(x), given, unit, is_grads_batched=True)]


@case
def recomputed_in_the_backward(change):
    model = change(net())
    x = values().requires_grad_()
    return outcome(model, checkpoint(model, x, use_reentrant=False), x)


@case
def gradients_added_up(change):
    model = change(net())
    for seed in range(3):
        found = outcome(model, model(values(seed=seed)))
    return found + outcome(model, model(values()) + model(values(seed=1)))


@case
def averaged_models(change):
    model = change(net())
    other = AveragedModel(model)
    step(model)
    other.update_parameters(model)
    return step(other)


@case
def copied_and_saved(change):
    model = change(net())
    step(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return step(torch.load(file, weights_only=False)) + step(copy.deepcopy(model))


@case
def parallel_and_parametrized(change):
    class Positive(nn.Module):
        def forward(self, x):
            return x * x + 0.5

    model = change(small())
    nn.utils.parametrize.register_parametrization(model[0], "weight", Positive())
    return step(model) + step(nn.DataParallel(change(net())))


@case
def saved_tensors_elsewhere(change):
    model = change(net())
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.double(), lambda t: t.float()):
        return step(model)


@case
def traced(change):
    model = change(net())
    training = torch.jit.trace(model, values(), check_trace=False)
    found = [training(values(seed=1)), *(v.clone() for v in training.state_dict().values())]
    return found + step(torch.fx.symbolic_trace(model))


@case
def traced_to_operators(change):
    model = change(net())
    found = [make_fx(lambda x: model(x))(values())(values(seed=1))]
    return [*found, make_fx(lambda x: model.eval()(x))(values())(values(seed=1))]


@case
def exported(change):
    program = torch.export.export(change(net()).eval(), (values(),))
    return [program.module()(values(seed=1))]


@case
def changed_after(change):
    """Another ReLU, more modules, another batch norm, synchronised ones."""
    found = []
    for place, other in ((1, nn.Sigmoid()), (0, nn.Identity()), (0, nn.BatchNorm2d(3))):
        model = change(small())
        model(values())
        model[place] = other
        found += step(model)
    model = change(small())
    model.append(nn.Tanh())
    found += step(model) + step(model[:1])
    return found + step(nn.SyncBatchNorm.convert_sync_batchnorm(change(small())).eval())


@case
def hooks_set_after(change):
    seen = []
    model = change(small())
    model[0].register_forward_hook(lambda m, i, o: seen.append(o.detach().clone()))
    model[1].register_forward_pre_hook(lambda m, i: seen.append(i[0].detach().clone()))
    model[0].register_full_backward_hook(lambda m, i, o: seen.extend((*i, *o)))
    found = step(model) + seen
    everywhere = register_module_forward_hook(lambda m, i, o: seen.append(o.detach().clone()))
    try:
        step(change(small()))
    finally:
        everywhere.remove()
    assert len(seen) == 4 + 3
    return found + seen


@case
def attributes_set_after(change):
    model = change(Own(lambda self, x: functional.relu(self.bn(x)) * self.scale[0], scale=[1.0]))
    found = step(model)
    model.scale[0] = 2.0
    found += step(model)
    model.scale = torch.full((1,), 3.0)
    return found + step(model)


@case
def what_a_forward_leaves_behind(change):
    def forward(self, x):
        self.calls.append(1)
        self.count.add_(1)
        return functional.relu(self.bn(x)) + self.count

    model = Own(forward, calls=[])
    model.register_buffer("count", torch.zeros(1))
    found = step(change(model)) + step(model)
    assert len(model.calls) == 2
    return found


@case
def inputs_of_other_kinds(change):
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm2d(3)

        def forward(self, x, skip=None, *, act=True):
            x = x if isinstance(x, torch.Tensor) else x["x"]
            y = self.bn(x) if skip is None else self.bn(x) + skip * 2
            return functional.relu(y) if act else y

    model, x = change(Optional()), values()
    found = [model(x), model(x, x), model(x, skip=x), model(x, act=False), model({"x": x})]
    return found + step(model)


@case
def changes_in_place(change):
    def forward(self, x):
        before = x = x * 1
        y = self.bn(x)
        x += 1
        return torch.relu(y) + before

    def of_the_norm(self, x):
        y = self.bn(x)
        y += x
        return torch.relu_(y)

    def of_what_is_added(self, x):
        other = x * 2
        y = torch.relu(self.bn(x) + other)
        other.add_(1)
        return y + other

    with torch.no_grad():
        found = [change(Own(forward))(values())]
    return found + step(change(Own(of_the_norm))) + step(change(Own(of_what_is_added)))


@case
def additions_of_all_kinds(change):
    def forward(self, x):
        y = torch.relu(self.bn(x) + 1) + torch.relu(torch.add(self.bn(x), x, alpha=2))
        return y + functional.relu(self.bn(x) + x[:1]) + torch.relu(self.bn(x) + self.bn(2 * x))

    return step(change(Own(forward)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("how", HOW)
def test_it_comes_out_as_with_torchs_own(how, name):
    torch.manual_seed(0)
    wanted = CASES[name](lambda model: model)
    torch.manual_seed(0)
    found = CASES[name](HOW[how])
    narrow = wanted[0].dtype is torch.float16
    assert away(found, wanted) <= (4e-3 if narrow else 2e-5)


@pytest.mark.parametrize("how", ["accelerate", "fuse"])
def test_what_torch_refuses_in_place_is_refused(how):
    for forward in (
        lambda self, x: torch.relu(self.bn(x)).mul_(2),
        lambda self, x: functional.dropout(torch.relu(self.bn(x)), 0.5, inplace=True),
    ):
        model = HOW[how](Own(forward))
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            step(model)


def test_statistics_are_taken_anew_and_where_the_rule_has_no_mean_it_says_so():
    batches = [values(seed=seed) for seed in range(3)]
    real, ours = AveragedModel(net()), AveragedModel(accelerate(net(), fuse=True))
    update_bn(batches, real), update_bn(batches, ours)
    assert away(list(ours.state_dict().values()), list(real.state_dict().values())) <= 1e-6
    with pytest.raises(ValueError, match=r"momentum=None.*batchnorm\.recalibrate"):
        update_bn(batches, AveragedModel(port(net(), "keras")))


@pytest.mark.parametrize("change", [accelerate, HOW["fuse"]])
def test_torchs_compiler_of_source_gets_torchs_own_class(change):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.jit.script(change(small()))
        with pytest.raises(TypeError, match="semantics='keras'"):
            torch.jit.script(port(small(), "keras"))
    assert away(step(compiled), step(small())) <= 1e-6


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tools_for_torchs_exact_classes_work_on_a_restored_model():
    def model():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 3, 1), *small())

    names, x = [["0", "1", "2"]], values()
    real = quantization.fuse_modules(model().eval(), names)
    ours = quantization.fuse_modules(restore(accelerate(model(), fuse=True)).eval(), names)
    assert type(ours[0]) is ConvReLU2d
    assert torch.equal(ours(x), real(x))


def test_a_lazy_one_is_taken_after_its_first_call(capsys):
    model = accelerate(nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU()))
    assert "not 0 (LazyBatchNorm2d): it has no shape" in capsys.readouterr().err
    assert away([model(values())], [small()(values())]) <= 1e-6
    accelerate(model)
    assert "1 of 1 batch norms taken" in capsys.readouterr().err


@pytest.mark.parametrize("fuse", [False, True])
def test_what_hooks_on_saved_tensors_give_back_may_lie_otherwise_in_memory(fuse):
    def contiguous(tensor):
        return tensor.clone(memory_format=torch.contiguous_format)

    net = torch.nn.Sequential(torch.nn.BatchNorm2d(6), torch.nn.ReLU())
    ours = accelerate(copy.deepcopy(net), fuse=fuse)
    x = torch.randn(4, 6, 5, 7).to(memory_format=torch.channels_last)
    weights, found = torch.randn(x.shape), []
    for model in (net, ours):
        given = x.clone(memory_format=torch.preserve_format).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(contiguous, contiguous):
            y = model(given)
        (y * weights).sum().backward()
        found.append(given.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_a_batch_norm_called_twice_before_an_addition_keeps_the_order_of_its_batches():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = torch.nn.BatchNorm2d(3)

        def forward(self, a, b):
            out = self.bn(a)
            again = self.bn(b)
            return torch.relu(out + again)

    net = Twice()
    ours = accelerate(copy.deepcopy(net), fuse=True)
    a, b = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5) + 3
    torch.testing.assert_close(ours(a, b), net(a, b))
    torch.testing.assert_close(ours.bn.running_mean, net.bn.running_mean)


def test_memory_that_is_not_aligned_is_computed_too():
    x = torch.frombuffer(bytearray(4 * 300 + 1), dtype=torch.float32, offset=1)
    x = x.copy_(torch.randn(300)).view(4, 3, 5, 5)
    net = torch.nn.BatchNorm2d(3)
    ours = accelerate(copy.deepcopy(net))
    torch.testing.assert_close(ours(x), net(x))


def test_a_vectorised_jacobian_can_be_differentiated_again():
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    net, found = torch.nn.BatchNorm1d(2).double(), []
    for model in (net, accelerate(copy.deepcopy(net))):
        jacobian = torch.autograd.functional.jacobian(
            lambda z, model=model: model(z).pow(3), x, vectorize=True, create_graph=True
        )
        found.append(torch.autograd.grad(jacobian.pow(2).sum(), x)[0])
    torch.testing.assert_close(found[1], found[0])
