"""The second language covers the first."""

import typing

from batchnorm.explain.sections.behaviours import CATEGORIES
from batchnorm.explain.words import MODES
from batchnorm.questions.question import Category, chinese
from batchnorm.vocabulary import GLOSSARY, Mode


def test_every_word_of_the_glossary_has_its_chinese_and_no_other():
    assert list(chinese("glossary")) == list(GLOSSARY)


def test_every_mode_and_category_has_words():
    assert set(MODES) == set(Mode)
    assert set(CATEGORIES) == set(typing.get_args(Category))
