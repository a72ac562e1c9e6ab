"""Reports in Python: a screen by repr, all of it by str, HTML, JSON; names that stay public."""

import builtins
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.conformance import Report
from batchnorm.verify import Report as Verified

EXAMPLE = Path(__file__).parents[1] / "examples" / "resnet_tiny.pth"
NASTY = "bn\x1b[31m<b>"


def explained(folder):
    return bn.explain("torch", "keras")


def translated(folder):
    return bn.translate("nn.BatchNorm2d(64)", from_="torch", to="keras")


def inspected(folder):
    arrays = {f"{NASTY}{n}.{name}": np.ones(2) for n in range(100)
              for name in ("running_mean", "running_var")}  # fmt: skip
    return bn.inspect(arrays, framework="torch")


def converted(folder):
    return bn.convert(EXAMPLE, folder / "a.ckpt")


def compared(folder):
    shutil.copy(EXAMPLE, folder / "b.pth")
    return bn.compare(EXAMPLE, folder / "b.pth")


def linted(folder):
    (folder / "net.py").write_text("from torch import nn\nnorm = nn.BatchNorm2d(8, momentum=0.9)\n")
    return bn.lint([folder], ported_from="keras")


def verified(folder):
    return Verified((), {"torch": NASTY}, (), 0, 3)


def conforming(folder):
    return Report(NASTY, "torch", "2", 0, 0, ())


@pytest.mark.parametrize(
    "make",
    [explained, translated, inspected, converted, compared, linted, verified, conforming],
)
def test_a_report_is_one_screen_and_html_and_json(make, tmp_path):
    report = make(tmp_path)
    screen = repr(report).splitlines()
    assert 0 < len(screen) <= 25
    assert "\x1b" not in repr(report) + str(report) + report._repr_html_()
    assert "31m<b>" not in report._repr_html_()
    assert isinstance(json.loads(report.to_json()), dict)


def test_what_a_screen_has_no_room_for_is_counted_and_str_has_it(tmp_path):
    report = inspected(tmp_path)
    assert "lines more" in repr(report)
    assert str(report).count("running") >= 1
    assert len(str(report).splitlines()) > 100


def test_the_page_is_a_text_still():
    page = bn.explain("torch", "keras")
    assert isinstance(page, str)
    assert page.startswith("# ")
    assert repr(page).startswith("From PyTorch")
    assert max(map(len, repr(page).splitlines())) <= 80


def test_names_are_public_and_shadow_nothing():
    assert all(not name.startswith("_") for name in dir(bn) if name != "__version__")
    assert not {name for name in bn.__all__ if hasattr(builtins, name)}
