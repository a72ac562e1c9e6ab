"""What is read: a screen of it, the page, English and Chinese. What is found: the other tests."""

import re

import faults
import numpy as np
import pytest
from built_nets import torch_net, vgg

from batchnorm.diagnose import Finding, Report, Undecided, diagnose
from batchnorm.diagnose.chinese import said
from batchnorm.diagnose.page import document, page
from batchnorm.diagnose.report import Depth

NAMES = [f"layer{i}.conv" for i in range(40)]


def long(causes, doubts=0, width=1):
    findings = [Finding("epsilon-differs", [name], [name], {"port": 0.1 + i, "source": 1e-5},
                        f"epsilon 0.001, {i + 3} bounds away", "epsilon=1e-05", i)
                for i, name in enumerate(NAMES[:causes])]  # fmt: skip
    return Report(
        findings=findings,
        follows=NAMES[causes:],
        undecided=[Undecided("pairing", (f"a{i}",), "why " * 30 * width) for i in range(doubts)],
        phases=["inference", "training"],
        depth=[Depth(name, 0.1, i) for i, name in enumerate(NAMES)],
        pairs=[(name, name, "name") for name in NAMES],
        frameworks=("torch", "keras"),
    )


@pytest.mark.parametrize(("causes", "doubts"), [(1, 0), (4, 2), (30, 0), (30, 20), (40, 3)])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_screen_holds_the_first_causes_and_says_how_many_more_there_are(causes, doubts, lang):
    report = long(causes, doubts)
    lines = report.screen(lang).splitlines()
    rows = sum(1 + len(line) // 100 for line in lines)
    assert rows <= 24
    assert sum("epsilon-differs" in line for line in lines) >= min(causes, 3)
    left = causes - sum("epsilon-differs" in line for line in lines)
    told = [int(n) for line in lines if "more cause" in line or "个原因：" in line
            for n in re.findall(r"\d+", line)[:1]]  # fmt: skip
    assert told == ([left] if left else [])
    assert report.text(lang).count("epsilon-differs") == causes
    if not left and doubts < 3:
        assert "\n".join(lines) == report.text(lang)
    assert repr(report) == report.screen()


ENGLISH = re.compile(r"\b(the|and|of|in|by|fits|away|layers|left|is|are|as|or|not|port|source)\b")


@pytest.fixture(scope="module")
def faulty():
    pytest.importorskip("torch")
    pytest.importorskip("mindspore")
    keras = pytest.importorskip("keras")
    net, found = vgg(), []
    some = [
        [("momentum_inverted", "a.bn"), ("padding_differs", "c.conv"), ("bias_differs", "b.conv")],
        [("epsilon_differs", "a.bn"), ("activation_differs", "b.act"), ("wrong_layer", "a.bn")],
        [("statistics_not_loaded", "b.bn"), ("variance_is_std", "c.bn"), ("scale_differs", None)],
        [("kernel_transposed", "b.conv"), ("gamma_beta_swapped", "c.bn"), ("channel_order", None)],
        [("variance_shifted", "a.bn"), ("affine_not_loaded", "c.bn"),
         ("kernel_not_loaded", "d.conv"), ("channels_permuted", "d.bn")],
    ]  # fmt: skip
    from built_nets import keras_net, mindspore_net

    for index, each in enumerate(some):
        port = net.port()
        for fault, layer in each:
            getattr(faults, fault)(port, layer)
        built = (keras_net(port, keras), mindspore_net(port).set_train())[index % 2]
        found.append(diagnose(torch_net(net), built, net.batch(), steps=2))
    return found


def test_a_chinese_report_has_no_english_sentence(faulty):
    for report in faulty:
        assert report.findings
        for text in (report.text("zh"), re.sub(r"<[^>]*>", " ", _body(document(report, "zh")))):
            for line in text.splitlines():
                assert not ENGLISH.search(_plain(line, report)), line


def _body(page):
    return re.sub(r"<style>.*?</style>", "", page, flags=re.S)


def _plain(line, report):
    """Without names: of layers and causes, in backquotes, and what is written in code."""
    for name in {*report.causes, *(n for pair in report.pairs for n in pair[:2])}:
        line = line.replace(name, "")
    return re.sub(r"`[^`]*`|\w+=\S+", "", line)


@pytest.mark.parametrize(
    "text",
    [
        "running variance by n in the port and by n - 1 in the source (53 layers)",
        "updated-twice, 4.32e+05 noises away",
        "without gamma and epsilon 1e-06, 2.97 bounds away",
        "padding-differs and kernel-transposed fits as well",
        "n = 401408: its effect is 2.5e-06, below the noise",
        "of 49 large kernels all but some outputs' rows and sums",
        "no layer of the other model was found for these of the port; name it in a map",
        "the source's rule can't be read: x",
        "renorm: nothing is kept by which it could be replayed",
        "the source's statistics are those of all processes, which only the recordings of all, of "
        "as many in each model, can tell: `batchnorm record --rank`",
        "of all 2 processes",
        "relu or relu6 of a.bn + the input of b.conv",
    ],
)
def test_sentences_with_gaps_are_said_in_chinese(text):
    chinese = re.sub(r"`[^`]*`", "", said(text, "zh"))
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert not ENGLISH.search(chinese), chinese
    assert set(re.findall(r"\d+", text)) <= set(re.findall(r"\d+", chinese))


def test_numbers_of_no_size_are_shown():
    report = long(1)
    report.depth[0] = Depth("layer0.conv", float("inf"), 0)
    assert "∞" in document(report)
    assert np.isfinite(len(report.to_json()))


def test_the_picture_calls_equal_only_what_was_measured():
    """A convolution behind a fault gives other values, and nobody has compared them."""
    report = Report(
        pairs=[("a", "a", "name"), ("conv", "conv", "name"), ("b", "b", "name")],
        depth=[Depth("a", 0.0, 0), Depth("b", 0.5, 2)],
        follows=["b"],
    )
    boxes = re.findall(r'title="([^"]*)" class="layer (\w+)"', page(report))
    assert boxes == [
        ("a → a: equal", "equal"),
        ("conv → conv", "other"),
        ("b → b: follows", "follows"),
    ]
