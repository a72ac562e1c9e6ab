"""Under torch.compile, as one graph: the same numbers and the same state as eagerly."""

import copy

import pytest
from torch_here import away, step, torch, ulps

import batchnorm as bn
from batchnorm.hosts.torch import accelerate, module, port

nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))


def keras(kind, **settings):
    layer = kind.BatchNormalization(axis=1, **settings)
    layer.build((4, 3, 6, 6))
    return module(layer)


MODELS = {
    "accelerated": lambda: accelerate(net()),
    "fused": lambda: accelerate(net(), fuse=True),
    "cumulative": lambda: accelerate(nn.BatchNorm2d(3, momentum=None)),
    "no buffers": lambda: accelerate(nn.BatchNorm2d(3, track_running_stats=False)),
    "ported to Keras 2": lambda: port(net(), "tf_keras"),
    "ported to Keras 3": lambda: port(net(), "keras"),
    "ported to MindSpore": lambda: port(net(), "mindspore"),
    "MindSpore": lambda: module(bn.mindspore.BatchNorm2d(3).set_train(), names="torch"),
    "Keras 2": lambda: keras(bn.tf_keras),
    "Keras 2, renorm": lambda: keras(bn.tf_keras, renorm=True),
    "Keras 3, renorm": lambda: keras(bn.keras, renorm=True, renorm_momentum=0.5),
    "Keras 2, ghosts": lambda: keras(bn.tf_keras, virtual_batch_size=2),
}


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def follow(name, backend, sizes):
    eager = MODELS[name]()
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend=backend)
    for training in (True, False):
        eager.train(training), compiled.train(training)
        for size in sizes:
            x = torch.randn(size, 3, 6, 6).to(memory_format=torch.channels_last)
            y = eager(x).detach()
            compiled(x)
            dy = torch.randn_like(y)
            assert away(step(compiled, x, dy), step(eager, x, dy)) <= ulps(torch.float32, 16)


@pytest.mark.parametrize("name", MODELS)
def test_one_graph_computes_what_eager_mode_does(name):
    follow(name, "aot_eager", (4,))


@pytest.mark.parametrize("name", ["fused", "Keras 2, ghosts"])
def test_batches_of_other_sizes_too(name):
    follow(name, "aot_eager", (4, 6))


def test_with_the_compiler_itself_too():
    follow("fused", "inductor", (4,))


def test_a_setting_changed_later_is_seen():
    eager = accelerate(nn.BatchNorm2d(3))
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 3, 2, 2)
    for momentum, eps in ((0.1, 1e-5), (0.5, 1e-2)):
        eager.momentum = compiled.momentum = momentum
        eager.eps = compiled.eps = eps
        assert away([eager(x)], [compiled(x)]) <= ulps(torch.float32)
        assert torch.equal(eager.running_var, compiled.running_var)


@pytest.mark.parametrize("kind", [bn.tf_keras, bn.keras])
def test_a_layers_setting_changed_later_is_seen(kind):
    eager = keras(kind)
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 3, 6, 6)
    for momentum, epsilon in ((0.9, 1e-3), (0.5, 1e-2), (0.3, 0.1)):
        for one in (eager, compiled):
            one.layer.momentum, one.layer.epsilon = momentum, epsilon
        assert away([eager(x)], [compiled(x)]) <= ulps(torch.float32)
        assert away([eager.moving_variance], [compiled.moving_variance]) <= ulps(torch.float32)


@pytest.mark.parametrize("kind", [bn.tf_keras, bn.keras])
def test_a_mask_is_taken_into_the_graph(kind):
    layer = kind.BatchNormalization(**({"fused": False} if kind is bn.tf_keras else {}))
    layer.build((4, 6, 3))
    eager = module(layer)
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    for size in (4, 6):
        x, mask = torch.randn(size, 6, 3), torch.rand(size, 6) < 0.5
        assert away([eager(x, mask)], [compiled(x, mask)]) <= ulps(torch.float32)
        assert away([eager.moving_mean], [compiled.moving_mean]) <= ulps(torch.float32)


def test_the_operators_keep_torchs_rules():
    operator = torch.ops.batchnorm.forward.default
    x, gamma, mean, var = torch.randn(4, 3, 2, 2), torch.ones(3), torch.zeros(3), torch.ones(3)
    x, gamma = x.requires_grad_(), gamma.requires_grad_()
    for given in ((None, None), (mean, var)):
        arguments = (x, gamma, None, x.detach() + 1, *given, [1], 1e-5, 1, True)
        torch.library.opcheck(operator, arguments)


def test_synchronised_modules_leave_the_graph_and_say_why(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        for make in (
            lambda: accelerate(nn.SyncBatchNorm(3, momentum=None)),
            lambda: keras(bn.tf_keras, fused=False, synchronized=True),
        ):
            eager = make()
            x, dy = torch.randn(2, 4, 3, 6, 6)
            compiled = torch.compile(copy.deepcopy(eager), backend="aot_eager")
            assert away(step(compiled, x, dy), step(eager, x, dy)) <= ulps(torch.float32)
            whole = torch.compile(make(), backend="aot_eager", fullgraph=True)
            with pytest.raises(torch._dynamo.exc.Unsupported, match="several processes"):
                whole(x)
            whole.eval()(x)  # by running statistics: nobody is asked
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")  # that the kernel isn't torch's breaks the graph, and works
def test_the_backward_alone_may_be_compiled():
    gradients = []
    for layer in (nn.BatchNorm2d(3), accelerate(nn.BatchNorm2d(3))):
        x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = (layer(x) ** 3).sum()
        with torch._dynamo.config.patch(compiled_autograd=True):
            torch.compile(lambda loss: loss.backward(), backend="eager")(loss)
        gradients.append((x.grad, layer.weight.grad, layer.bias.grad))
    torch.testing.assert_close(*gradients)


def test_a_trace_before_dispatch_sees_a_batch_norm():
    ours = accelerate(nn.BatchNorm2d(3)).eval()
    traced = torch.fx.experimental.proxy_tensor.make_fx(lambda x: ours(x), pre_dispatch=True)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(traced(x)(x + 7), ours(x + 7))
