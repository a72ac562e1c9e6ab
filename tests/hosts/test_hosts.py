"""How hosts are loaded: when they are asked for, with a word about what is missing."""

import subprocess
import sys

import pytest

import batchnorm as bn


@pytest.mark.parametrize(
    ("host", "package"),
    [("jax", "jax"), ("keras", "keras"), ("mpi", "mpi4py"), ("torch", "torch")],
)
def test_a_host_without_its_package_says_what_to_install(host, package):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"import batchnorm as bn\ntry:\n    bn.hosts.{host}\n"
        "except bn.BatchNormError as error:\n"
        "    assert isinstance(error, ImportError)\n"
        "    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"batchnorm.hosts.{host} needs what `pip install {package}" in done.stdout


def test_nothing_is_loaded_before_it_is_asked_for():
    code = (
        "import sys, batchnorm as bn\n"
        "assert 'jax' in dir(bn.hosts)\n"
        "print({'jax', 'keras', 'torch', 'mpi4py', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_other_names_are_no_hosts():
    with pytest.raises(AttributeError, match="no attribute 'mxnet'"):
        bn.hosts.mxnet  # noqa: B018
