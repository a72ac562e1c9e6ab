"""There and back again gives the same arguments, as decimals, for whatever both sides can say."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from batchnorm.frameworks import find
from batchnorm.translate.argument import Argument
from batchnorm.translate.call import parse_call
from batchnorm.translate.plan import make_plan
from batchnorm.translate.proof import prove

FRAMEWORKS = ("torch", "mindspore", "tf_keras", "keras")
DECIMALS = st.decimals("0.0001", "0.9999", places=4).map(lambda d: str(d.normalize()))
EXPRESSIONS = st.sampled_from(["m", "cfg['m']", "m if m else 0.1", "1 - k", "a + b"])
EPSILONS = st.sampled_from(["1e-5", "0.001", "1e-3", "1.001e-5", "eps", "cfg.eps or 1e-5"])


@st.composite
def calls(draw, framework):
    """A call whose every argument the other frameworks can say too."""
    given = {}
    channels = draw(st.sampled_from(["64", "c", "2 * c"]))
    if draw(st.booleans()):
        name = "eps" if framework in ("torch", "mindspore") else "epsilon"
        given[name] = draw(EPSILONS)
    if draw(st.booleans()):
        given["momentum"] = draw(DECIMALS | EXPRESSIONS)
    switched_off = draw(st.sampled_from(["", "False", "flag"]))
    if framework in ("torch", "mindspore"):
        if switched_off:
            given["affine"] = switched_off
        given = {"num_features": channels, **given}
        name = "nn.BatchNorm2d"
    else:
        given["axis"] = "1"
        if switched_off:
            given["center"] = given["scale"] = switched_off
        name = "BatchNormalization"
    return f"{name}({', '.join(f'{key}={text}' for key, text in given.items())})"


def there_and_back(framework, call, other):
    first = parse_call(call, find(framework))
    there = make_plan(first.form, first.arguments, find(other))
    again = parse_call(there.target.text, find(other))
    channels = first.arguments.get("num_features")
    back = make_plan(again.form, again.arguments, find(framework))
    arguments = dict(back.target.arguments)
    if "num_features" in arguments and arguments["num_features"].text == "NUM_FEATURES":
        arguments["num_features"] = channels  # which Keras can't have kept
    return first, there, back, arguments


def assert_same(before, after, parameters):
    for name, argument in before.items():
        other = after.get(name, Argument(repr(parameters[name].default), parameters[name].default))
        assert argument.same(other), (name, argument.text, other.text)
        if argument.literal and isinstance(argument.value, float):
            assert Decimal(argument.text) == Decimal(other.text), name


@given(st.data(), st.permutations(FRAMEWORKS))
def test_arguments_survive_any_detour(data, names):
    framework, other = names[:2]
    call = data.draw(calls(framework))
    first, _, _, arguments = there_and_back(framework, call, other)
    assert_same(first.arguments, arguments, first.form.parameters)


@given(st.data(), st.permutations(FRAMEWORKS))
def test_the_written_call_says_what_the_plan_says(data, names):
    """The text, read again, has the values that the proof runs with, stand-ins aside."""
    framework, other = names[:2]
    first = parse_call(data.draw(calls(framework)), find(framework))
    made = make_plan(first.form, first.arguments, find(other))
    again = parse_call(made.target.text, find(other))
    assert list(again.arguments) == list(made.target.arguments)
    for name, argument in made.target.arguments.items():
        assert argument.same(again.arguments[name]), name


@settings(max_examples=40)  # each one is a proof
@given(st.data(), st.permutations(FRAMEWORKS))
def test_a_detour_gives_the_same_layer(data, names):
    framework, other = names[:2]
    first, there, _, arguments = there_and_back(framework, data.draw(calls(framework)), other)
    assert prove(there).holds
    direct = make_plan(first.form, arguments, find(framework))
    assert direct.source.canonical["epsilon"].same(there.source.canonical["epsilon"])
    ours = direct.source.canonical["exponential_average_factor"]
    assert ours.same(there.source.canonical["exponential_average_factor"])
