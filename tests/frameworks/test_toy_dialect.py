"""A dialect of another package: the code of docs/adding-a-dialect.md, found by its entry point."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import batchnorm as bn
from batchnorm import frameworks
from batchnorm.lint.settings import Settings
from batchnorm.questions.subject import Ours
from batchnorm.translate import translate

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-dialect.md"
CODE, _ = re.findall(r"```(?:python|toml)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)


def install(folder, name, code, entry):
    """A package as pip leaves it: a module, and metadata with the entry point."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{frameworks.GROUP}]\n{name} = {name}:{entry}\n")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """What installs packages for one test."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(name="toynorm", code=CODE, entry="RECORD"):
        install(tmp_path, name, code, entry)
        frameworks.known.cache_clear()
        return name

    yield put
    for name in ("toynorm", "other"):
        sys.modules.pop(name, None)
        vars(bn).pop(name, None)
    monkeypatch.undo()
    frameworks.known.cache_clear()


@pytest.fixture
def toy(installed):
    """The toy's layers."""
    return frameworks.find(installed()).room("layers")


def test_the_toy_is_short():
    lines = [line for line in CODE.splitlines() if line.strip() and line[:3] != '"""']
    assert len(lines) < 60


def test_the_guide_says_what_every_facet_makes_possible():
    named = set(re.findall(r"^\| .*?facet `(\w+)`", GUIDE.read_text(encoding="utf-8"), re.M))
    assert named | {"layers"} == set(frameworks.FACETS)


def test_its_names_are_known(toy):
    for name in ("toynorm", "Toy", "toynorm@1.0", "toynorm.BatchNorm2d", "bn.toynorm"):
        assert frameworks.find(name).name == "toynorm"
    assert bn.toynorm is toy
    assert Settings(ported_from="toy").ported_from == "toynorm"
    with pytest.raises(ValueError, match="did you mean 'toynorm'"):
        frameworks.find("toynrom")


@pytest.mark.parametrize("other", ["torch", "mindspore", "keras", "tf_keras", "mint"])
def test_it_is_translated_both_ways_with_proof(toy, other):
    there = translate("toynorm.BatchNorm2d(8, decay=0.7)", to=other)
    assert there.inferred == "the prefix 'toynorm'"
    assert there.proof.holds
    channels = 8 if frameworks.find(other).is_keras else None
    back = translate(there.text, from_=other, to="toynorm", num_features=channels)
    assert back.text == "toynorm.BatchNorm2d(8, decay=0.7, eps=0.0001)"
    assert back.proof.holds
    names = {entry.role: (entry.source, entry.target) for entry in back.state}
    assert names["running_var"][1] == "_variance"


def test_a_live_layer_is_translated_and_its_state_carried(toy):
    layer = toy.BatchNorm2d(2, eps=0.25)
    layer._variance[...] = 5
    found = translate(layer, to="torch")
    assert found.text == "nn.BatchNorm2d(2, eps=0.25, momentum=0.2)"
    assert found.layer().state["running_var"].tolist() == [5, 5]


def test_the_ranks_that_it_has_are_named_where_another_is_asked_for(toy):
    with pytest.raises(ValueError, match="toynorm has batch norms for inputs of rank 4, but the"):
        translate("torch.nn.BatchNorm1d(8)", to="toynorm", rank=3)


def test_it_is_recalibrated(toy):
    layer = toy.BatchNorm2d(2)
    data = np.random.default_rng(0).normal(3, 2, (6, 2, 4, 4)).astype(np.float32)
    layer.learn(True)
    bn.recalibrate(layer, [data[:4], data[4:]], progress=False)
    np.testing.assert_allclose(layer.state["_variance"], data.var((0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_it_is_explained(toy, lang):
    page = bn.explain("toynorm", "torch", lang=lang)
    assert "decay" in page
    assert "_variance" in page


def test_it_is_asked_as_any_dialect(toy):
    from batchnorm.questions import question

    assert question("running-variance-denominator").experiment(Ours("toy")) == "biased"


def test_what_it_does_not_bring_and_nothing_can_make_is_refused_by_name(toy):
    with pytest.raises(NotImplementedError, match=r"module toynorm\.live .* would make it work"):
        frameworks.find("toynorm").room("live")


def alone(folder, code, toy=CODE):
    """What a program prints, in a process where the toy is installed."""
    install(folder, "toynorm", toy, "RECORD")
    paths = (str(folder), str(Path(bn.__file__).parents[1]))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_may_be_imported_first(tmp_path):
    code = "import toynorm, batchnorm; print(batchnorm.toynorm is toynorm)"
    assert alone(tmp_path, code) == "True\n"


def test_code_that_uses_it_is_linted(tmp_path):
    code = """
        import pathlib, batchnorm
        net = "import toynorm\\nbn = toynorm.BatchNorm2d(8, decay=0.001)\\nbn.running_mean = 3\\n"
        path = pathlib.Path("net.py")
        path.write_text(net)
        for finding in batchnorm.lint([path]).findings:
            print(finding.line, finding.rule, finding.message)
    """
    lines = alone(tmp_path, code).splitlines()
    assert [line[:7] for line in lines] == ["2 BN001", "3 BN005"]
    assert "_mean here" in lines[1]


REWRITTEN = {
    "toynorm": """
        import toynorm

        bn = toynorm.BatchNorm2d(8, decay=0.7, eps=1e-05)
        print(bn._mean)
    """,
    "torch": """
        from torch import nn

        bn = nn.BatchNorm2d(8, momentum=0.3, eps=1e-05)
        print(bn.running_mean)
    """,
}


@pytest.mark.parametrize("to", REWRITTEN)
def test_code_is_rewritten_both_ways(tmp_path, to):
    (from_,) = REWRITTEN.keys() - {to}
    source, wanted = (textwrap.dedent(REWRITTEN[name]).lstrip() for name in (from_, to))
    path = tmp_path / "net.py"
    path.write_text(source)
    call = f"batchnorm.rewrite(['net.py'], from_={from_!r}, to={to!r}, write=True)"
    alone(tmp_path, f"import batchnorm; {call}")
    assert path.read_text() == wanted


def test_checkpoints_get_its_own_names_and_come_back(tmp_path):
    code = """
        import numpy, batchnorm
        names = ("weight", "bias", "running_mean", "running_var")
        state = {f"stem.bn.{n}": numpy.arange(3, dtype="float32") + i for i, n in enumerate(names)}
        numpy.savez("a.npz", **state)
        batchnorm.convert("a.npz", "b.npz", from_framework="torch", to="toynorm")
        print(*(n for n in numpy.load("b.npz") if n[0] != "_"))
        batchnorm.convert("b.npz", "c.npz", to="torch")  # whose b.npz is, its names tell
        back = numpy.load("c.npz")
        print(all((back[name] == value).all() for name, value in state.items()))
    """
    names, same = alone(tmp_path, code).splitlines()
    assert names.split() == [f"stem.bn.{n}" for n in ("scale", "shift", "_mean", "_variance")]
    assert same == "True"


VERIFIED = """
    import batchnorm
    report = batchnorm.verify(frameworks=["toynorm"], examples=20)
    print(*(row.compared for row in report.rows if not row.crash), report.equal)
    print([row.raised for row in report.rows][-1])
"""


def test_it_is_verified_against_itself_in_a_process_of_its_own(tmp_path):
    assert alone(tmp_path, VERIFIED).splitlines() == ["4 0 56 20 True", "0"]


def test_a_real_package_that_does_something_else_is_told_from_it(tmp_path):
    (tmp_path / "real.py").write_text(CODE.replace("complement(self.decay)", "self.decay"))
    toy = CODE.replace('real_package="toynorm", layer="toynorm', 'real_package="real", layer="real')
    assert alone(tmp_path, VERIFIED, toy).splitlines() == ["4 0 56 20 False", "0"]


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_it_is_a_layer_inside_other_frameworks(toy, framework):
    pytest.importorskip(framework)
    layer = toy.BatchNorm2d(2, decay=0.5)
    layer.learn(True)
    x = np.random.default_rng(0).normal(3, 2, (6, 2, 4, 4)).astype(np.float32)
    if framework == "torch":
        import torch

        made = bn.hosts.torch.module(layer)
        y, state = made(torch.from_numpy(x)).detach().numpy(), made.state_dict()
    else:
        parameters, state = bn.hosts.jax.init(layer, x.shape)
        y, state = bn.hosts.jax.apply(layer, parameters, state, x)
    np.testing.assert_allclose(y, layer(x), rtol=1e-5, atol=1e-5)
    for name in ("_mean", "_variance"):
        np.testing.assert_allclose(state[name], layer.state[name], rtol=1e-5)


def test_torchs_own_modules_follow_its_rule(toy):
    torch = pytest.importorskip("torch")
    model = bn.hosts.torch.port(torch.nn.Sequential(torch.nn.BatchNorm2d(2)), "toy", verbose=False)
    x = torch.randn(4, 2, 3, 3)
    model(x)
    wanted = 0.9 + 0.1 * x.var((0, 2, 3), correction=0)
    torch.testing.assert_close(model[0].running_var, wanted)
    assert isinstance(bn.read(model[0]), toy.BatchNorm2d)
    with pytest.raises(ValueError, match="Toy has no batch norm for inputs of 2 dimensions"):
        bn.hosts.torch.port(torch.nn.BatchNorm1d(2), "toy", verbose=False)


def test_a_broken_package_is_left_out_with_a_warning(installed):
    installed("other", "import no_such_module\n")
    with pytest.warns(UserWarning, match=r"'other' .* is left out: ModuleNotFoundError"):
        assert "torch" in [record.name for record in frameworks.known()]


def test_a_name_that_is_taken_stays_whose_it_is(installed):
    installed("other", CODE.replace('name="toynorm"', 'name="torch"'))
    with pytest.warns(UserWarning, match="'torch' is known already"):
        assert frameworks.find("torch").title == "PyTorch"


def test_what_is_no_record_is_left_out(installed):
    installed("other", "RECORD = 3\n")
    with pytest.warns(UserWarning, match="3 is no record of a framework"):
        frameworks.known()
