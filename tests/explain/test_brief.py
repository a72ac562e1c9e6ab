"""The first screen: short, ranked by harm, and right about what to write."""

import io
import itertools

import pytest
from rich.console import Console

from batchnorm.explain import brief, page
from batchnorm.explain.renderers.screen import print_screen
from batchnorm.explain.sections.rules import TOPICS, Rules
from batchnorm.explain.sides import NEWEST, resolve
from batchnorm.explain.words import LANGUAGES

PAIRS = list(itertools.permutations(NEWEST, 2))


def screen(page):
    out = io.StringIO()
    print_screen(page, Console(file=out, width=80, color_system=None))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_it_fits_a_screen(a, b, lang):
    assert len(screen(brief(a, b, lang))) <= 25


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_rules_come_worst_first_and_each_topic_once(a, b):
    found = Rules(resolve(a), resolve(b), "en").ranked
    harms = [rule.harm for rule in found if rule.harm is not None]
    assert harms == sorted(harms, reverse=True)
    assert all(rule.harm is None for rule in found[len(harms) :])
    topics = [rule.topic for rule in found]
    assert len(set(topics)) == len(topics)
    assert set(topics) <= set(TOPICS)


def rules(a, b):
    return {rule.topic: rule for rule in Rules(resolve(a), resolve(b), "en").ranked}


def test_momentum_is_told_with_the_number_to_write():
    text = rules("torch", "mindspore")["momentum"].text
    assert text.startswith("write 1 - m")
    assert "`momentum=0.9` (its default)" in text
    assert "`momentum=0.01` (its default is 0.1)" in rules("keras", "torch")["momentum"].text
    assert "`momentum=0.9`" in rules("mindspore", "keras")["momentum"].text


def test_what_is_the_same_has_no_rule():
    assert "epsilon" not in rules("torch", "mindspore")
    assert "variance" not in rules("torch", "mindspore")
    assert "axis" not in rules("keras", "tf_keras")
    assert "variance" in rules("torch", "keras")


def test_silent_ones_raise_no_error():
    shown = {row.id for row in brief("keras", "torch", silent=True).sections[0].blocks[0].rows}
    assert "rule-momentum" in shown
    assert not shown & {"rule-state", "rule-axis"}


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_can_be_cut_to_a_topic(topic):
    whole, cut = page("torch", "keras"), page("torch", "keras", about=topic)
    assert 0 < len(cut.ids()) < len(whole.ids())
    assert set(cut.ids()) <= set(whole.ids())
    assert f"rule-{topic}" in cut.ids()


def test_the_page_begins_with_the_same_rules():
    (table, *_) = page("torch", "mindspore").sections[0].blocks
    assert table == brief("torch", "mindspore").sections[0].blocks[0]
