"""Pages are generated with the reference, whose every digit is the same on any processor."""

import pytest

from batchnorm.core import kernel, reference


@pytest.fixture(autouse=True, scope="module")
def reference_kernel():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("reduce", "normalize", "reduce_gradient", "input_gradient"):
            patch.setattr(kernel, name, getattr(reference, name))
        for name in ("forward", "infer", "backward"):
            patch.setattr(kernel, f"whole_{name}", lambda *_: None)
        yield
