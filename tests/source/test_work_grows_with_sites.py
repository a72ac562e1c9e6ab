"""Four times as many sites are at most five times the work, counted in calls of functions."""

import sys

import pytest

from batchnorm.lint import Settings, lint_text
from batchnorm.rewrite import calls, rewrite_source

HEAD = "from torch import nn\n"
KINDS = {
    "layers": lambda i: f"a{i} = nn.BatchNorm2d({i + 1}, momentum=0.01)\n",
    "functions": lambda i: f"def f{i}(x):\n    a = nn.BatchNorm2d({i})\n    return a.running_var\n",
    "classes": lambda i: (f"class A{i}(nn.Module):\n    def __init__(self):\n"
                          f"        self.a = nn.BatchNorm2d({i})\n"),
    "attributes": lambda i: f"self.a{i} = nn.BatchNorm2d({i})\nx = self.a{i}.running_var\n",
    "uses": lambda i: "bn = nn.BatchNorm2d(8)\nbn.eval()\n" if i == 0 else "bn.running_var\n",
    "dictionaries": lambda i: "kw = {}\n" if i == 0 else f"nn.BatchNorm2d({i}, **kw)\n",
    "marks": lambda i: f"a{i} = nn.BatchNorm2d({i + 1}, momentum=None); b = {i}\n",
}  # fmt: skip


def visits(task):
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        task()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_work_grows_with_the_number_of_sites(kind):
    def rewritten(text):
        calls._plan.cache_clear()
        return visits(lambda: rewrite_source(text, from_="torch", to="mindspore"))

    def linted(text):
        return visits(lambda: lint_text(text.encode(), Settings()))

    few, many = (HEAD + "".join(map(KINDS[kind], range(n))) for n in (60, 240))
    assert rewritten(many) < 5 * rewritten(few)
    assert linted(many) < 5 * linted(few)
