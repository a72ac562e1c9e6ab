"""Files that torch exports as ONNX are read: names, values, epsilon, momentum, calls."""

import warnings

import numpy as np
import pytest

import batchnorm as bn
from batchnorm import CheckpointError, checkpoints
from batchnorm.checkpoints import onnx as reader
from batchnorm.checkpoints.source import Source

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")  # torch's exporter needs it too


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3, momentum=0.3))
        self.fc = nn.Linear(4, 5)
        self.bn1 = nn.BatchNorm1d(5)
        with torch.no_grad():
            for value in self.state_dict().values():
                if value.is_floating_point():
                    value.copy_(torch.rand(value.shape) + 0.5)

    def forward(self, x):
        return self.bn1(self.fc(torch.relu(self.stem(x)).mean((2, 3))))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


def exported(net, path, mode="PRESERVE"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, torch.zeros(2, 3, 9, 9), str(path), dynamo=False, do_constant_folding=False,
            training=getattr(torch.onnx.TrainingMode, mode),
        )  # fmt: skip
    return path


@pytest.mark.parametrize("mode", ["PRESERVE", "TRAINING"])
def test_names_and_values_are_the_models(net, tmp_path, mode):
    wanted = {n: v.numpy() for n, v in net.state_dict().items() if v.shape}
    with checkpoints.read(exported(net, tmp_path / "a.onnx", mode)) as found:
        assert found.format == "onnx"
        assert set(found) == set(wanted)
        for name, value in found.load().items():
            np.testing.assert_array_equal(value, wanted[name])


def test_it_is_a_source_of_convert_with_epsilon_and_momentum(net, tmp_path):
    path = exported(net, tmp_path / "a.onnx")
    torch.save(Net().state_dict(), tmp_path / "like.pth")
    done = bn.convert(path, tmp_path / "b.pth", like=tmp_path / "like.pth")
    assert done.report.exit_code == 0
    loaded = torch.load(tmp_path / "b.pth")
    other = Net().eval()
    other.load_state_dict(loaded, strict=True)
    other.stem[1].eps = 1e-3
    x = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(other(x), net(x))
    settings = done.metadata["batchnorm"]["settings"]
    assert settings["stem.1"]["epsilon"] == 1e-3
    assert settings["stem.1"]["weight_of_batch"] == 0.3
    assert settings["bn1"]["epsilon"] == 1e-5


def test_the_graph_has_the_calls(net, tmp_path):
    found = bn.graph(exported(net, tmp_path / "a.onnx"))
    assert found.wired
    edges = set(found.edges())
    assert {("stem.0", "stem.1"), ("fc", "bn1")} <= edges
    assert "from the file" in repr(found)


def test_fold_follows_the_calls(net, tmp_path):
    done = bn.convert(exported(net, tmp_path / "a.onnx"), tmp_path / "b.pth", to="torch", fold=True)
    assert done.report.exit_code == 0
    folded = torch.load(tmp_path / "b.pth")
    assert set(folded) == {f"{p}.{leaf}" for p in ("stem.0", "fc") for leaf in ("weight", "bias")}
    x = torch.randn(2, 3, 9, 9)
    f = torch.nn.functional
    with torch.no_grad():
        y = torch.relu(f.conv2d(x, folded["stem.0.weight"], folded["stem.0.bias"])).mean((2, 3))
        torch.testing.assert_close(f.linear(y, folded["fc.weight"], folded["fc.bias"]), net(x))


def test_a_quantized_model_and_computed_statistics_are_refused(net, tmp_path):
    h = onnx.helper
    value, array = h.make_tensor_value_info, onnx.numpy_helper.from_array
    ends = [value("x", 1, [1, 2])], [value("y", 1, [1, 2])]
    scale = array(np.float32(1), "s")
    nodes = [h.make_node("DequantizeLinear", ["q", "s"], ["w"]), h.make_node("MatMul", "xw", "y")]
    graph = h.make_graph(nodes, "g", *ends, [array(np.ones((2, 2), "i1"), "q"), scale])
    onnx.save(h.make_model(graph, producer_name="x"), str(tmp_path / "a.onnx"))
    with pytest.raises(CheckpointError, match="is quantized"):
        checkpoints.read(tmp_path / "a.onnx")
    node = h.make_node("BatchNormalization", ["x", "a", "b", "c", "d"], ["y"], "bn")
    graph = h.make_graph([node], "g", *ends, [array(np.ones(2, "f4"), n) for n in "abc"])
    onnx.save(h.make_model(graph, producer_name="x"), str(tmp_path / "a.onnx"))
    with pytest.raises(CheckpointError, match="takes 'd', which the file doesn't hold"):
        checkpoints.read(tmp_path / "a.onnx")


def test_folded_exports_have_the_layers_that_are_left(net, tmp_path):
    with checkpoints.read(exported(net, tmp_path / "a.onnx", "EVAL")) as found:
        assert "stem.0.weight" in found  # under its node's name: the exporter renamed the array
        assert found["stem.0.weight"].shape == (4, 3, 3, 3)


def test_values_as_floats_are_read_and_files_beside_it_refused(net, tmp_path):
    model = onnx.load(str(exported(net, tmp_path / "a.onnx")))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.helper.make_tensor(tensor.name, 1, values.shape, values.ravel()))
        assert tensor.float_data
    onnx.save(model, str(tmp_path / "floats.onnx"))
    with checkpoints.read(tmp_path / "floats.onnx") as found:
        np.testing.assert_array_equal(found["fc.weight"].load(), net.fc.weight.detach().numpy())
    onnx.save(model, str(tmp_path / "two.onnx"), save_as_external_data=True, size_threshold=0,
              location="two.data")  # fmt: skip
    model = onnx.load(str(tmp_path / "a.onnx"))
    onnx.save(model, str(tmp_path / "two.onnx"), save_as_external_data=True, size_threshold=0,
              location="three.data")  # fmt: skip
    with pytest.raises(CheckpointError, match="lies in another file"):
        checkpoints.read(tmp_path / "two.onnx")


def test_a_transposed_matrix_is_turned(tmp_path):
    h = onnx.helper
    w = np.arange(6, dtype="f4").reshape(2, 3)
    value = h.make_tensor_value_info

    def saved(what, **numbers):
        graph = h.make_graph(
            [h.make_node(what, ["x", "w"], ["y"], "dense", **numbers)], "g",
            [value("x", 1, [1, 2])], [value("y", 1, [1, 3])],
            [onnx.numpy_helper.from_array(w, "w")],
        )  # fmt: skip
        onnx.save(h.make_model(graph, producer_name="x"), str(tmp_path / "a.onnx"))
        return tmp_path / "a.onnx"

    for what, numbers in (("MatMul", {}), ("Gemm", {"transB": 0}), ("Gemm", {})):
        with checkpoints.read(saved(what, **numbers)) as found:
            np.testing.assert_array_equal(found["dense.weight"].load(), w.T)
    with checkpoints.read(saved("Gemm", transB=1)) as found:
        np.testing.assert_array_equal(found["dense.weight"].load(), w)
    with pytest.raises(CheckpointError, match="scales its matrix"):
        checkpoints.read(saved("Gemm", alpha=0.5))


def test_a_dense_layer_on_more_axes_has_its_place_and_its_bias(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Conv1d(5, 5, 1)).eval()
    path = tmp_path / "a.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, torch.zeros(2, 5, 3), str(path), dynamo=False,
                          do_constant_folding=False)  # fmt: skip
    with checkpoints.read(path) as found:
        for name, value in net.state_dict().items():
            np.testing.assert_array_equal(found[name].load(), value.numpy())
    assert [layer.path for layer in bn.graph(path).layers] == ["0", "1"]


def test_damaged_files_are_refused_and_nothing_else_happens(net, tmp_path):
    whole = exported(net, tmp_path / "a.onnx").read_bytes()
    random = np.random.default_rng(0)
    path, refused = tmp_path / "b.onnx", 0
    for i in range(300):
        data = bytearray(whole)
        if i % 3:
            for at in random.integers(0, len(whole), 3):
                data[at] = random.integers(256)
        else:
            del data[random.integers(len(whole)) :]
        path.write_bytes(data)
        source = Source(path)
        try:
            reader.read(source).load()  # not `checkpoints.read`, which says CheckpointError of all
        except CheckpointError:
            refused += 1
        source.close()
    assert refused > 100
