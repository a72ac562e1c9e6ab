"""Arguments are values and text at once; a literal is complemented as a decimal."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchnorm.translate.argument import complement, number, of_value, parse, tight, whether


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.01", "0.99"),
        ("0.9", "0.1"),
        ("0.9997", "0.0003"),
        ("0.99", "0.01"),
        ("1e-1", "0.9"),
        ("1e-08", "0.99999999"),
        ("0.99999999", "1e-08"),
        (".5", "0.5"),
        ("1_0.5", "-9.5"),
        ("0", "1.0"),
        ("1", "0.0"),
        ("1.", "0.0"),
        ("-0.5", "1.5"),
        ("+0.25", "0.75"),
        ("1 - 0.9997", "0.9997"),
        ("1 - m", "m"),
        ("1.0 - (a + b)", "a + b"),
        ("m", "1 - m"),
        ("cfg.bn['momentum']", "1 - cfg.bn['momentum']"),
        ("f(x)", "1 - f(x)"),
        ("m if m else 0.1", "1 - (m if m else 0.1)"),
        ("(m if m else 0.1)", "1 - (m if m else 0.1)"),
        ("a - b", "1 - (a - b)"),
        ("2 - b", "1 - (2 - b)"),
        ("1/10", "1 - (1/10)"),
        ("a or b", "1 - (a or b)"),
        ("(m := 0.1)", "1 - (m := 0.1)"),
    ],
)
def test_complement_is_written_as_a_person_would_write_it(text, expected):
    assert complement(parse(text, stand_in=0.07)).text == expected


@given(st.decimals(-10, 10, allow_nan=False, places=12))
def test_a_literal_and_its_complement_add_up_to_one_as_decimals(value):
    literal = parse(str(value))
    other = complement(literal)
    if "1 - " not in other.text:
        assert Decimal(other.text) + value == 1
        assert Decimal(complement(other).text) == value
    assert other.value == float(Decimal(1) - value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_live_number_is_exactly_that_number(value):
    assert parse(of_value(value).text).value == value
    twice = complement(complement(of_value(value)))
    assert twice.value == value or Decimal(repr(value)).adjusted() < -300
    assert Decimal(number(value)) == Decimal(repr(value))


NAMES = {"a": 0.25, "m": 0.5, "none": None}


@given(
    st.recursive(
        st.sampled_from(["a", "m", "0.25", "0.1", "(a if none else m)"]),
        lambda inner: st.builds("{} {} {}".format, inner, st.sampled_from("+-*"), inner),
        max_leaves=4,
    )
)
def test_text_and_value_of_a_complement_agree_whatever_the_expression(text):
    """Evaluated here, in a test, with the names that the stand-ins stand for."""
    value = eval(text, dict(NAMES))
    for argument, expected in (
        (complement(parse(text, stand_in=value)), 1 - value),
        (complement(complement(parse(text, stand_in=value))), value),
    ):
        assert argument.value == pytest.approx(expected, abs=1e-15)
        assert eval(argument.text, dict(NAMES)) == pytest.approx(expected, abs=1e-15)


def test_a_number_too_small_for_decimals_stays_an_expression():
    assert complement(parse("1e-999")).text == "1 - 1e-999"
    assert complement(parse("1e-99999999")).value == 1.0


@pytest.mark.parametrize(
    ("text", "negated", "expected"),
    [
        ("True", False, "None"),
        ("False", False, "True"),
        ("True", True, "True"),
        ("track", False, "None if track else True"),
        ("a or b", False, "None if (a or b) else True"),
        ("track", True, "True if track else None"),
    ],
)
def test_a_choice_by_a_condition_is_a_literal_where_the_condition_is(text, negated, expected):
    assert whether(parse(text, stand_in=True), "None", "True", negated=negated).text == expected


def test_a_choice_between_true_and_false_needs_no_if():
    condition = parse("u", stand_in=True)
    assert whether(condition, "True", "False").text == "u"
    assert whether(condition, "False", "True").text == "not u"


@pytest.mark.parametrize(
    ("text", "expected"), [("a.b[0]", "a.b[0]"), ("-a", "(-a)"), ("lambda: 1", "(lambda: 1)")]
)
def test_only_atoms_stand_beside_an_operator_without_parentheses(text, expected):
    assert tight(text) == expected


def test_nothing_is_evaluated():
    assert parse("__import__('os').system('true')").expression
    assert parse("1/0").expression
    assert parse("9**9**9").expression


@pytest.mark.parametrize(("value", "text"), [(float("nan"), "float('nan')"), (None, "None")])
def test_values_that_are_no_numbers_are_written_so_that_python_reads_them(value, text):
    assert of_value(value).text == text


def test_same_means_equal_numbers_or_the_same_expression():
    assert parse("0.10").same(parse("1e-1"))
    assert parse("a+b").same(parse("a + b"))
    assert not parse("a", stand_in=0.1).same(parse("0.1"))
    assert not parse("1").same(parse("True"))
