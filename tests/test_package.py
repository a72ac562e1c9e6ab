"""The package's face: names, version, errors."""

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

import batchnorm as bn
from batchnorm import errors, frameworks

ROOT = Path(__file__).parent.parent


def test_public_names_are_there_and_sorted():
    assert bn.__all__ == sorted(bn.__all__, key=lambda name: (name[0].islower(), name))
    assert all(getattr(bn, name) is not None for name in bn.__all__)


def test_the_version_is_that_of_the_metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert bn.__version__ == project["version"]
    try:
        assert importlib.metadata.version("batchnorm") == bn.__version__
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("batchnorm runs from its source tree here")


def test_every_error_is_ours_and_a_built_in_one():
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, bn.BatchNormError)
        if error is not bn.BatchNormError:
            assert len([base for base in error.__bases__ if base.__module__ == "builtins"]) == 1


def test_every_layer_names_its_framework_and_version():
    for module in (
        bn.torch,
        bn.mindspore,
        bn.mindspore_2_0,
        bn.tf_keras,
        bn.tf_keras_2_6,
        bn.keras,
    ):
        for name in module.__all__:
            layer = getattr(module, name)
            if isinstance(layer, type):
                record = frameworks.of(layer)
                assert record.framework == layer.FRAMEWORK
                assert record.version == layer.VERIFIED_WITH
                assert layer.VERIFIED_WITH.count(".") == 2


def test_every_dialect_and_variant_is_reachable():
    layers = set()
    for found in pkgutil.walk_packages(frameworks.__path__, "batchnorm.frameworks."):
        module = importlib.import_module(found.name)
        exported = [getattr(module, n) for n in getattr(module, "__all__", [])]
        own = [x for x in exported if getattr(x, "__module__", "") == found.name]
        if any(hasattr(x, "VERIFIED_WITH") for x in own):
            layers.add(module)
    assert layers == {record.room("layers") for record in frameworks.OWN}
    assert all(getattr(bn, record.module) is record.room("layers") for record in frameworks.OWN)


@pytest.mark.parametrize(
    "first", ["", "diagnose.report", "explain", "translate.plan", "convert.match", "lint.run"]
)
def test_what_the_command_does_are_functions_whatever_was_imported_before(first):
    code = (
        f"{f'import batchnorm.{first}' if first else 'pass'}\n"
        "import types, batchnorm as bn\n"
        "names = ['explain', 'translate', 'convert', 'inspect', 'compare', 'lint', 'verify']\n"
        "names += ['diagnose']\n"
        "assert all(isinstance(getattr(bn, name), types.FunctionType) for name in names)\n"
        "import batchnorm.explain.build, batchnorm.verify.report, batchnorm.translate.plan\n"
        "assert all(isinstance(getattr(bn, name), types.FunctionType) for name in names)\n"
        "from batchnorm.explain import page\n"
        "assert callable(page)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_old_names_work_with_a_warning():
    with pytest.warns(DeprecationWarning, match=r"batchnorm.explain now"):
        page = bn.explain.explain("torch", "keras", format="text")
    assert page == bn.explain("torch", "keras", format="text")
    assert bn.explain.page("torch", "keras").title


def test_only_what_is_public_is_listed_and_nothing_of_it_is_loaded_at_first():
    assert set(dir(bn)) == {*bn.__all__, "__version__"}
    code = "import sys, batchnorm; print(*(m for m in sys.modules if m.startswith('batchnorm.')))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_the_version_is_said_before_readers_and_frameworks_are_loaded():
    code = (
        "import sys\nfrom batchnorm.cli import main\ntry: main(['--version'])\nexcept SystemExit: "
        "print(*{m.split('.')[1] for m in sys.modules if m.startswith('batchnorm.')})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    version, loaded = done.stdout.splitlines()
    assert version.startswith("batchnorm ")
    needed = {"_kernel", "arrays", "cli", "core", "errors", "printable", "vocabulary"}
    assert set(loaded.split()) <= needed
