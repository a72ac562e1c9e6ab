"""Whatever a call holds, the answer is a translation or a refusal that says what was expected."""

import contextlib

import pytest

from batchnorm.errors import BatchNormError
from batchnorm.frameworks import current
from batchnorm.translate.form import forms
from batchnorm.translate.translation import translate

ODD = ("None", "'x'", "-1", "0", "[1]", "1e400")
PLACES = [
    (of.name, found.class_name, parameter)
    for of in current()
    for found in forms(of).values()
    if found.class_name in ("BatchNorm2d", "BatchNormalization")
    for parameter in found.parameters
]


@pytest.mark.parametrize(("source", "class_name", "parameter"), PLACES)
def test_odd_values_are_translated_or_refused_but_never_crash(source, class_name, parameter):
    given = {} if class_name == "BatchNormalization" else {"num_features": "4"}
    for odd in ODD:
        arguments = ", ".join(f"{key}={text}" for key, text in (given | {parameter: odd}).items())
        target = "mindspore" if source == "torch" else "torch"
        with contextlib.suppress(BatchNormError):
            found = translate(f"{class_name}({arguments})", from_=source, to=target)
            assert found.status in ("equal", "predicted", "different")
            assert found.state or "refused" in {d.key for d in found.differences}
