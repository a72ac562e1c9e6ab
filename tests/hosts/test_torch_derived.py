"""Classes derived from torch's batch norms: taken with what their forwards add, or named."""

import copy
import pickle

import pytest
from derived_nets import KINDS, BatchNormAct, Mine, NormAct, Ratio, Split, net
from torch.profiler import ProfilerActivity, profile
from torch_here import away, step, torch, ulps

import batchnorm as bn
from batchnorm.hosts.torch import accelerate, port, restore, tasks

nn, functional = torch.nn, torch.nn.functional


def trained(model, steps=2, dtype=torch.float32):
    """What three steps leave, and what evaluation then gives."""
    torch.manual_seed(1)
    for _ in range(steps):
        x = (torch.randn(4, 3, 9, 9) * 2 + 1).to(dtype)
        y = model.train()(x)
        found = step(model, x, torch.randn(y.shape, dtype=torch.float64).to(dtype))
    return [*found, model.eval()(x).detach()]


def computed_by_torch(model, x):
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        model(x)
    own = ("aten::native_batch_norm", "aten::_native_batch_norm_legit")
    return sum(e.count for e in seen.key_averages() if e.key in own)


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_taken_with_all_that_it_adds(kind, fuse, capsys):
    real = net(KINDS[kind]).double()
    ours = accelerate(copy.deepcopy(real), fuse=fuse)
    assert "not" not in capsys.readouterr().err
    assert [type(m) for m in ours.modules()] == [type(m) for m in real.modules()]
    assert away(trained(ours, dtype=torch.float64), trained(real, dtype=torch.float64)) <= 1e-10
    if tasks.TASKS is not None:
        assert computed_by_torch(ours.train(), torch.randn(4, 3, 9, 9, dtype=torch.float64)) == 0
    restore(ours)
    assert not any({"forward", "semantics"} & vars(m).keys() for m in ours.modules())


@pytest.mark.parametrize("semantics", ["keras", "tf_keras", "mindspore"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_follows_another_rule_wherever_it_normalizes(kind, semantics):
    """keras averages the batch's own variance; the two others its unbiased one."""
    real, ours = net(KINDS[kind]), port(net(KINDS[kind]), semantics)
    seen, given = [], torch.randn(4, 3, 9, 9) * 2 + 1
    for module in real.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_var.fill_(1.0)
            module.momentum = 1.0
            seen.append(module)
    y = real(given)
    ported = [m for m in ours.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for module in ported:
        module.momentum = 1.0
    assert away([ours(given)], [y]) <= ulps(torch.float32, 64)
    sizes = {"1": 4 * 49, "3": 4 * 25, "5": 4 * 25}
    names = [name for name, m in ours.named_modules() if m in ported]
    for name, module, own in zip(names, ported, seen, strict=True):
        n = sizes[name.split(".")[0]] // (2 if kind == "two helpers" and name[0] != "3" else 1)
        scale = (n - 1) / n if semantics == "keras" else 1
        torch.testing.assert_close(module.running_var, own.running_var * scale, rtol=3e-6, atol=0)
        torch.testing.assert_close(module.running_mean, own.running_mean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("change", [accelerate, lambda m: port(m, "keras")])
def test_copies_go_on_by_themselves(change, again):
    ours = change(nn.Sequential(NormAct(3), BatchNormAct(3), Split(3)))
    other = again(ours)
    x, dy = torch.randn(2, 4, 3, 5, 5)
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    found = step(other, x, dy)
    assert all(torch.equal(v, before[k]) for k, v in ours.state_dict().items())
    assert away(found, step(ours, x, dy)) == 0


def test_a_relu_among_the_children_is_computed_with_the_batch_norm_and_may_change_later():
    ours = accelerate(nn.Sequential(BatchNormAct(3)))
    x = torch.randn(4, 3, 5, 5)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ours(x.clone().requires_grad_())
    if tasks.TASKS is not None:
        assert len([t for t in kept if t.numel() == x.numel()]) == 2  # x and y, which is all
    seen = []
    handle = ours[0].act.register_forward_pre_hook(lambda m, i: seen.append(i[0].min().item()))
    ours(x)
    assert seen[0] < 0
    handle.remove()
    ours[0].act = nn.Tanh()
    real = BatchNormAct(3, nn.Tanh)
    assert away([ours.train()(x)], [real(x)]) <= ulps(torch.float32)


def test_what_is_no_batch_norm_is_named_and_refused_where_it_would_keep_another_rule(capsys):
    model = nn.Sequential(Ratio(3), nn.BatchNorm2d(3), Mine(3))
    x = torch.randn(4, 3, 5, 5)
    wanted = Ratio(3)(x)
    assert away([accelerate(model)[0](x)], [wanted]) == 0
    text = capsys.readouterr().err
    assert "2 of 3 batch norms taken; not 0 (Ratio): its forward calls no batch norm" in text
    restore(model)
    with pytest.raises(TypeError, match=r"0 \(Ratio\): its forward calls no batch norm.*strict"):
        port(model, "keras")
    assert not any("forward" in vars(m) for m in model)
    port(model, "keras", strict=False)
    assert [getattr(m, "semantics", None) for m in model] == [None, "keras", "keras"]
    assert "2 of 3" in capsys.readouterr().err
    port(model, "torch", verbose=False)
    assert capsys.readouterr().err == ""


def test_a_forward_that_somebody_gave_an_instance_stays():
    model = nn.Sequential(nn.BatchNorm2d(3))
    model[0].forward = lambda x: x * 2
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(accelerate(model)(x), x * 2)
    with pytest.raises(TypeError, match="its instance was given a forward"):
        port(model, "keras")
    assert torch.equal(restore(model)(x), x * 2)


def test_a_forward_that_needs_more_than_a_batch_is_named():
    class Conditional(nn.BatchNorm2d):
        def forward(self, x, condition):
            return super().forward(x) * condition

    with pytest.raises(TypeError, match=r"raises TypeError: .*condition"):
        port(nn.Sequential(Conditional(3)), "keras")


def test_a_call_that_leaves_the_rule_out_is_refused_when_it_happens():
    class Sometimes(nn.BatchNorm2d):
        normalizes = True

        def forward(self, x):
            return super().forward(x) if self.normalizes else x

    model = port(nn.Sequential(Sometimes(3)), "keras")
    model(torch.randn(2, 3, 4, 4))
    model[0].normalizes = False
    with pytest.raises(TypeError, match="did no batch norm"):
        model(torch.randn(2, 3, 4, 4))


def test_a_tried_copy_leaves_the_model_and_random_numbers_alone():
    class Noisy(nn.BatchNorm2d):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) + torch.rand(())

    model = nn.Sequential(Noisy(3))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    accelerate(model)
    assert model[0].calls == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("change", [accelerate, lambda m: port(m, "keras")])
@pytest.mark.parametrize("kind", ["an activation", "children", "two helpers"])
def test_they_compile_to_one_graph_are_exported_and_traced(kind, change):
    torch._dynamo.reset()
    eager = change(net(KINDS[kind]))
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    x, dy = torch.randn(4, 3, 9, 9), torch.randn(4, 4, 5, 5)
    assert away(step(compiled, x, dy), step(eager, x, dy)) <= ulps(torch.float32, 64)
    eager.eval()
    program = torch.export.export(eager, (x,)).module()
    assert away([program(x)], [eager(x)]) <= ulps(torch.float32)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_they_are_scripted_from_their_own_source():
    ours = accelerate(net(lambda c: BatchNormAct(c)), fuse=True)
    scripted = torch.jit.script(ours)
    x = torch.randn(4, 3, 9, 9)
    assert away([scripted(x)], [copy.deepcopy(ours)(x)]) <= 1e-5
    assert all("forward" in vars(m) for m in (ours[1], ours[3], ours[5]))


def test_settings_are_read_and_what_a_forward_adds_is_said():
    model = nn.Sequential(nn.BatchNorm2d(3), NormAct(3, eps=1e-3, momentum=0.01), Mine(3)).eval()
    nn.init.uniform_(model[1].running_var, 0.5, 2)
    with pytest.warns(UserWarning, match="batch norms alone: 1: NormAct holds act=SiLU"):
        found = bn.read(model)
    assert list(found) == ["0", "1", "2"]
    layer, x = found["1"], torch.randn(2, 3, 4, 4)
    assert (layer.eps, layer.momentum, type(layer)) == (1e-3, 0.01, bn.torch.BatchNorm2d)
    state = (model[1].running_mean, model[1].running_var, model[1].weight, model[1].bias)
    wanted = functional.batch_norm(x, *state, False, 0.0, 1e-3).detach().numpy()
    assert abs(layer(x.numpy()) - wanted).max() <= 1e-6
    with pytest.warns(UserWarning, match="NormAct holds"):
        ported = bn.read(port(model[1], "keras"))
    assert type(ported) is bn.keras.BatchNormalization


@pytest.mark.parametrize("change", [lambda m: m, accelerate])
def test_statistics_are_taken_of_what_reaches_the_call_inside(change):
    """Of a class that splits its batch, each half's; of one that calls none, all that it gets."""
    torch.manual_seed(0)
    model = change(nn.Sequential(NormAct(3), Split(3), Ratio(3)).eval())
    batches = [torch.randn(4, 3, 5, 5) * 3 + 2 for _ in range(3)]
    bn.recalibrate(model, batches, progress=False)
    data = torch.cat(batches).double()
    torch.testing.assert_close(
        model[0].running_var.double(), data.var((0, 2, 3)), rtol=1e-5, atol=0
    )
    seen = [functional.silu(functional.batch_norm(b, None, None, training=True)) for b in batches]
    for norm, half in ((model[1], 0), (model[1].other, 1)):
        own = torch.cat([s.split(2)[half] for s in seen]).double()
        torch.testing.assert_close(norm.running_var.double(), own.var((0, 2, 3)), rtol=1e-4, atol=0)
    assert float((model[2].running_var - 1).abs().max()) > 1e-3
    assert not model.training
