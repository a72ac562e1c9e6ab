"""The oracles: a conversation with each installed framework, and every way in which one ends."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from batchnorm.errors import InvalidValue
from batchnorm.questions.subject import Parameter, Raised
from batchnorm.verify import worker
from batchnorm.verify.oracle import (
    FRAMEWORKS,
    Crashed,
    Hung,
    NotInstalled,
    Oracle,
    OracleError,
    find,
    parse_oracle,
)

WORKER = Path(worker.__file__)
ROOMS = WORKER.parents[1] / "frameworks"
OF_TORCH = "batchnorm.frameworks.torch.oracle"
SHAPE = (4, 3, 2, 5)  # channels first everywhere
COUNT = 4 * 2 * 5
# class, arguments, call, epsilon, weight of the new batch, correction of the running variance
TORCH = ("BatchNorm2d", {"num_features": 3}, {}, 1e-5, 0.1, 1)
KERAS = ("BatchNormalization", {"axis": 1}, {"training": True}, 1e-3, 0.01, 0)
SETTINGS = {
    "torch": TORCH,
    "mindspore": TORCH,
    "tf_keras": (*KERAS[:5], 1),  # rank 4 is fused, which corrects
    "keras": KERAS,
    "keras/torch": KERAS,
    "keras/jax": KERAS,
}
ROLES = {
    "torch": ("weight", "bias", "running_mean", "running_var"),
    "mindspore": ("gamma", "beta", "moving_mean", "moving_variance"),
    "tf_keras": ("gamma", "beta", "moving_mean", "moving_variance"),
    "keras": ("gamma", "beta", "moving_mean", "moving_variance"),
}


@pytest.fixture(scope="module", params=FRAMEWORKS)
def oracle(request):
    try:
        started = Oracle(request.param).start()
    except NotInstalled as error:
        if os.environ.get("CI"):
            pytest.fail(f"in CI every framework is there, but {error}")
        pytest.skip(str(error))
    with started:
        yield started


def make(oracle, **more):
    class_name, arguments, _, _, _, _ = SETTINGS[oracle.framework]
    layer = oracle.layer(class_name, **arguments, **more)
    if "keras" in oracle.framework:
        layer.build(SHAPE)
    else:
        layer.train(True)
    return layer


def draw(seed):
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def close(got, expected):
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_one_step_follows_the_formula_and_moves_the_state_once(oracle):
    *_, call, epsilon, weight_of_batch, correction = SETTINGS[oracle.framework]
    gamma, beta, mean, var = ROLES[oracle.dialect]
    layer, x, dy = make(oracle), draw(1) * 3 + 2, draw(2)
    state = layer.state()
    start = {gamma: [1.5, -0.5, 2.0], beta: [0.5, 0.0, -1.0], mean: [1, 2, 3], var: [0.5, 1, 2]}
    layer.load_state({**state, **{name: np.float32(value) for name, value in start.items()}})

    run = layer.run(x, dy, **call)

    def per_channel(values):
        return np.reshape(values, (3, 1, 1))

    m, v = x.mean((0, 2, 3)), x.astype(np.float64).var((0, 2, 3))
    xhat = (x - per_channel(m)) / np.sqrt(per_channel(v) + epsilon)
    dgamma, dbeta = (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))
    slope = per_channel(start[gamma] / np.sqrt(v + epsilon))
    close(run.y, xhat * per_channel(start[gamma]) + per_channel(start[beta]))
    close(run.dx, slope * (dy - per_channel(dbeta) / COUNT - xhat * per_channel(dgamma) / COUNT))
    assert list(run.gradients) == [gamma, beta]
    close(run.gradients[gamma], dgamma)
    close(run.gradients[beta], dbeta)

    moved = layer.state()
    assert list(moved) == list(state)
    v = v * COUNT / (COUNT - correction)
    for name, new in ((mean, m), (var, v)):
        close(moved[name], (1 - weight_of_batch) * np.array(start[name]) + weight_of_batch * new)
    if oracle.dialect == "torch":
        assert moved["num_batches_tracked"] == 1

    assert layer.run(x).dx is None
    assert layer.run(x).gradients == {}


def test_a_layer_without_trainable_parameters_has_no_gradients(oracle):
    if "keras" in oracle.framework:
        run = make(oracle, scale=False, center=False).run(draw(1), draw(2), training=True)
    else:
        run = make(oracle, affine=False).run(draw(1), draw(2))
    assert run.gradients == {}
    assert np.abs(run.dx).max() > 0


def test_a_frozen_layer_keeps_its_gradients_where_the_framework_has_them(oracle):
    gamma, beta, *_ = ROLES[oracle.dialect]
    layer = make(oracle)
    if "keras" in oracle.framework:
        layer.set("trainable", False)
        assert list(layer.run(draw(1), draw(2), training=True).gradients) == [gamma, beta]
        assert layer.trainable() == []
    else:
        layer.set(f"{gamma}.requires_grad", False)
        assert list(layer.run(draw(1), draw(2)).gradients) == [beta]
        assert layer.trainable() == [beta]


def test_attributes_dtypes_and_signatures_travel(oracle):
    class_name, *_ = SETTINGS[oracle.framework]
    layer = make(oracle)
    layer.set("momentum", 0.25)
    assert layer.get("momentum") == 0.25
    assert class_name in layer.repr()
    constructor = oracle.signature(class_name, "__init__")
    assert any(p.name == "momentum" and p.default in ("0.1", "0.9", "0.99") for p in constructor)
    expected = {"torch": "input", "mindspore": "x"}.get(oracle.dialect, "inputs")
    called = oracle.signature(class_name, "call")
    assert called[0] == Parameter(expected, "POSITIONAL_OR_KEYWORD", None)
    half = make(oracle, dtype=np.float16).state()[ROLES[oracle.dialect][0]]
    assert half.dtype == (np.float32 if oracle.framework == "tf_keras" else np.float16)


def test_names_are_those_that_the_framework_saves(oracle):
    layer = make(oracle)
    if oracle.dialect == "torch":
        assert layer.names()[:2] == ["weight", "bias"]
        assert layer.names(nested=True)[-1] == "bn1.num_batches_tracked"
    elif oracle.dialect == "mindspore":
        assert layer.names() == ["mean", "variance", "gamma", "beta"]
        assert layer.names(nested=True)[0] == "bn1.moving_mean"
        assert layer.names()[0] == "mean"  # asking has not renamed the layer's own
    else:
        assert "bn1/gamma" in layer.names(nested=True)[0]


def test_what_the_framework_raises_is_an_answer_and_the_next_question_works(oracle):
    class_name, _, call, *_ = SETTINGS[oracle.framework]
    if oracle.dialect == "torch":
        with pytest.raises(Raised, match="eps must be positive") as caught:
            make(oracle, eps=0.0).run(draw(1), draw(2))
    elif oracle.dialect == "mindspore":
        with pytest.raises(Raised, match="must be at least 1, but got 0") as caught:
            oracle.layer(class_name, 0)
    else:
        with pytest.raises(Raised, match="ndim") as caught:
            make(oracle).run(draw(1)[0], draw(2)[0], **call)
        with pytest.raises(TypeError, match="no mode to set"):
            make(oracle).train(True)
    assert caught.value.name == "ValueError"
    assert caught.value.bases == ("ValueError", "Exception", "BaseException")
    layer = make(oracle)
    for wrong in ({"nonsense": np.ones(3)}, {name: np.ones(7) for name in layer.state()}):
        with pytest.raises(Raised, match="expected"):
            layer.load_state(wrong)
    assert layer.run(draw(1), draw(2), **call).y.shape == SHAPE


# From here on no framework is needed: a stand-in called torch does what frameworks shouldn't.

STAND_IN = """
import os, sys, time, types

print("chatter at import", flush=True)
os.write(1, b'{"answer": "forged"}\\n')
__version__ = "0.0"

def manual_seed(seed): ...

class BatchNorm2d:
    def __init__(self, deed):
        if deed == "print":
            os.system("echo from a child")
            print('{"answer": "forged"}', flush=True)
            assert sys.stdin.read() == ""
        if deed == "die":
            print("the last thing I saw", file=sys.stderr, flush=True)
            os.kill(os.getpid(), 9)
        if deed == "exit":
            sys.exit(7)
        if deed == "hang":
            time.sleep(60)
        if deed == "fork and hang":
            os.fork()
            time.sleep(60)

nn = types.SimpleNamespace(BatchNorm2d=BatchNorm2d)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "torch.py"


def test_printing_to_standard_output_does_not_reach_the_answers(stand_in):
    with Oracle("torch") as oracle:
        assert oracle.version == "0.0"
        oracle.layer("BatchNorm2d", "print")
        assert oracle.signature("BatchNorm2d", "__init__")[0].name == "deed"


def test_a_crash_tells_signal_and_last_words_and_stays_a_crash(stand_in):
    with Oracle("torch") as oracle:
        for _ in range(2):
            with pytest.raises(Crashed, match=r"(?s)SIGKILL.*the last thing I saw"):
                oracle.layer("BatchNorm2d", "die")
    with Oracle("torch") as oracle, pytest.raises(Crashed, match="ended with code 7"):
        oracle.layer("BatchNorm2d", "exit")
    with Oracle("torch") as oracle:
        os.kill(oracle.pid, signal.SIGSEGV)
        with pytest.raises(Crashed, match="torch worker died of SIGSEGV"):
            oracle.signature("BatchNorm2d", "__init__")


def test_after_a_crash_a_new_worker_starts_if_asked_and_old_layers_stay_lost(stand_in):
    with Oracle("torch", restart=True) as oracle:
        layer = oracle.layer("BatchNorm2d", "live")
        with pytest.raises(Crashed):
            oracle.layer("BatchNorm2d", "die")
        assert "BatchNorm2d" in oracle.layer("BatchNorm2d", "live").repr()
        with pytest.raises(Crashed):
            layer.repr()


def test_a_hang_ends_with_the_timeout_even_if_children_hold_the_pipe(stand_in):
    with Oracle("torch", timeout=0.5) as oracle:
        start = time.monotonic()
        with pytest.raises(Hung, match=r"did not answer within 0\.5 s"):
            oracle.layer("BatchNorm2d", "fork and hang")
        assert time.monotonic() - start < 10


def test_layers_that_nobody_holds_are_dropped_in_the_worker(stand_in):
    with Oracle("torch") as oracle:
        layer = oracle.layer("BatchNorm2d", "live")
        process, number = oracle._ready(), layer._number
        assert "BatchNorm2d" in process.ask("repr", layer=number)
        del layer
        oracle.layer("BatchNorm2d", "live")
        with pytest.raises(Raised, match=str(number)):
            process.ask("repr", layer=number)


def test_a_missing_framework_a_broken_one_and_a_missing_python_are_told_apart(stand_in):
    stand_in.write_text("raise ModuleNotFoundError('No module named torch')")
    with pytest.raises(NotInstalled, match="No module named torch"):
        Oracle("torch").start()
    with find(["torch"]) as found:
        assert found.oracles == []
        assert "No module named torch" in str(found.missing["torch"])
    wrong = find([], {"torch": "no-such-python"})
    with pytest.raises(NotInstalled, match="no-such-python"), wrong:
        pass
    stand_in.write_text("raise RuntimeError('half an installation')")
    with pytest.raises(OracleError, match="half an installation") as caught:
        Oracle("torch").start()
    assert not isinstance(caught.value, NotInstalled)


def test_found_oracles_are_closed_together(stand_in):
    with find(["torch"], timeout=9.0) as found:
        (oracle,) = found.oracles
        assert oracle.timeout == 9.0
        process = oracle._ready().process
    assert process.returncode == 0


def test_a_closed_oracle_has_ended_its_worker_and_says_so(stand_in):
    with Oracle("torch") as oracle:
        layer, process = oracle.layer("BatchNorm2d", "live"), oracle._ready().process
    assert process.returncode == 0
    with pytest.raises(Crashed, match="closed"):
        layer.repr()
    with pytest.raises(OracleError, match="not started"):
        oracle.layer("BatchNorm2d", "live")


def test_the_worker_ends_when_its_parent_is_killed(stand_in, monkeypatch):
    root = str(Path(worker.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{stand_in.parent}{os.pathsep}{root}")
    code = (
        "import os; from batchnorm.verify.oracle import Oracle; oracle = Oracle('torch').start();"
        "print(oracle.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    status = Path(f"/proc/{int(parent.stdout)}/stat")
    deadline = time.monotonic() + 10
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_that_hangs_outlives_the_end_of_its_input_by_a_limited_time(stand_in):
    code = (
        f"import sys; sys.path.insert(0, {str(WORKER.parent)!r}); import worker;"
        f"worker.SECONDS_AFTER_END_OF_INPUT = 0.1; worker.main('torch', {OF_TORCH!r})"
    )
    construct = b'{"op": "construct", "layer": 0, "class_name": "BatchNorm2d", '
    line = construct + b'"args": ["hang"], "kwargs": {}}\n'
    ended = subprocess.run(
        [sys.executable, "-c", code], input=line, stderr=subprocess.PIPE, timeout=30, check=False
    )
    assert ended.returncode == 3


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", 0),
        (b"not JSON\n", 2),
        (b"[]\n", 2),
        (b'{"op": "__init__", "framework": 1}\n', 2),
        (b'{"op": "repr"}\n', 2),
    ],
)
def test_a_request_that_cannot_be_read_ends_the_worker(line, code):
    ended = subprocess.run(
        [sys.executable, str(WORKER), "torch", OF_TORCH],
        input=line,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, b"")
    assert (b"can't be read" in ended.stderr) == (code == 2)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(24.0).reshape(2, 3, 4).transpose(0, 2, 1),
        np.array([np.nan, np.inf, -0.0], ">f4"),
        np.zeros((0, 3), np.float16),
        np.array(7),
        np.array([1 + 2j]),
        np.array([True]),
        np.array([1.5]).astype("bfloat16"),
        np.broadcast_to(np.arange(3.0), (2, 3)),
        np.arange(6.0)[::-2],
    ],
)
def test_arrays_travel_bit_for_bit(value):
    got = worker.unpack(worker.pack(value))
    assert got.dtype == value.dtype.newbyteorder("=")
    assert got.shape == value.shape
    assert got.tobytes() == value.astype(got.dtype).tobytes()
    assert got.flags.writeable


def test_channels_last_stays_channels_last_on_the_wire():
    value = np.zeros((2, 5, 6, 3)).transpose(0, 3, 1, 2)
    assert worker.unpack(worker.pack(value)).strides == value.strides


def test_plain_values_travel_and_others_are_refused():
    value = {"a": (1, [2.5, None]), "b": {"c": True}, "d": np.dtype("int8"), "e": np.float64(0.1)}
    got = worker.unpack(worker.pack(value))
    assert got == value
    assert type(got["e"]) is np.float64
    assert worker.unpack(worker.pack(np.float32)) == np.dtype(np.float32)
    for refused in ({1: 2}, {"$array": 1}, object(), np.array(["text"]), np.array([None])):
        with pytest.raises(TypeError, match="travel"):
            worker.pack(refused)


@pytest.mark.parametrize(
    "file", [WORKER, ROOMS / "real.py", *ROOMS.glob("*/oracle.py")], ids=lambda f: f.parent.name
)
def test_what_runs_beside_a_framework_needs_python_3_9_and_numpy_alone(file):
    tree = ast.parse(file.read_text(), feature_version=(3, 9))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    own = {name for name in imported if name.startswith("batchnorm.")}
    assert all(name.endswith((".real", ".oracle")) for name in own)
    others = {name.partition(".")[0] for name in imported - own}
    assert others - set(sys.stdlib_module_names) <= {"numpy", "ml_dtypes"}


def test_a_rooms_oracle_is_loaded_without_the_rest_of_the_package():
    code = (
        f"import sys; sys.path.insert(0, {str(WORKER.parent)!r}); import worker;"
        f"found = worker.load({OF_TORCH!r}).ORACLES;"
        "print(*found, *[name for name in sys.modules if name.startswith('batchnorm')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["torch"]


def test_an_oracle_is_given_as_framework_and_python():
    assert parse_oracle("mindspore=/opt/python") == ("mindspore", "/opt/python")
    for wrong in ("mindspore", "mindspore=", "paddle=/opt/python"):
        with pytest.raises(InvalidValue, match="FRAMEWORK=PYTHON"):
            parse_oracle(wrong)
    with pytest.raises(InvalidValue, match="unknown framework 'paddle'"):
        Oracle("paddle")
