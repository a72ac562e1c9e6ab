"""A dialect of another package: the code of docs/adding-a-dialect.md, found by its entry point."""

import re
import sys
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


def test_what_it_does_not_bring_is_refused_by_name(toy):
    with pytest.raises(NotImplementedError, match=r"module toynorm\.saved .* would make it work"):
        frameworks.find("toynorm").room("saved")


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
