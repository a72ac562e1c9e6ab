"""Which framework a word means: one rule for every command and function."""

import pytest

import batchnorm as bn
from batchnorm.cli import main
from batchnorm.errors import InvalidValue, NotSupported
from batchnorm.explain import page
from batchnorm.frameworks import Framework, current, find, known, plain
from batchnorm.frameworks.names import resolve
from batchnorm.lint.settings import Settings
from batchnorm.rewrite import rewrite_source
from batchnorm.translate import translate
from batchnorm.verify.oracle import named, parse_oracle

MEANT = {
    "torch": "torch Torch TORCH pytorch PyTorch torch@2.13 torch@2 torch==2.13.0+cpu torch.nn "
    "torch.nn.BatchNorm1d torch.nn.BatchNorm2d torch.nn.SyncBatchNorm torch.nn.LazyBatchNorm2d "
    "bn.torch.BatchNorm2d",
    "mindspore": "mindspore MindSpore ms mindspore@2.10 mindspore@2 MindSpore-2.10 "
    "mindspore.nn.BatchNorm2d",
    "mindspore@2.0": "mindspore@2.0 mindspore_2_0 ms@2.0 MindSpore@2.0.0",
    "tf_keras": "tf_keras keras2 Keras2 keras@2 tf.keras TF-Keras tensorflow tf tf2 tf_keras@2.21 "
    "tf.keras.layers.BatchNormalization tensorflow.keras.layers.BatchNormalization",
    "tf_keras@2.6": "tf_keras@2.6 tf_keras_2_6 keras@2.6 tensorflow@2.6 tf.keras@2.6 keras2@2.6",
    "keras": "keras Keras keras3 keras@3 keras@3.15 keras.layers.BatchNormalization",
}
WORDS = [(word, name) for name, words in MEANT.items() for word in words.split()]


@pytest.mark.parametrize(
    ("word", "name"), [*WORDS, ("Keras 2", "tf_keras"), ("Keras 3", "keras"), (" torch ", "torch")]
)
def test_a_word_means_a_framework(word, name):
    assert find(word).name == name


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("pytroch", "did you mean 'torch'"),
        ("mindspor", "did you mean 'mindspore'"),
        ("kears", "did you mean 'keras'"),
        ("tensorflwo", "did you mean 'tf_keras'"),
        ("torch.nn.LayerNorm", "did you mean 'torch'"),
        ("tf.compat.v1.layers", "did you mean 'tf_keras'"),
        ("torch@1.0", "known versions: torch@2.13.0"),
        ("keras@4", "known versions: tf_keras@2.21.0, keras@3.15.1, tf_keras@2.6.0"),
        ("tf1", "known versions: tf_keras@2.21.0"),
        ("caffe", "expected one of torch, mindspore"),
        ("nn.BatchNorm2d", "expected one of"),
        ("torch@", "did you mean 'torch'"),
        ("@2", "expected one of"),
        ("", "expected one of"),
        (None, "expected one of"),
    ],
)
def test_other_words_are_refused_with_the_nearest(word, said):
    with pytest.raises(InvalidValue, match=said):
        find(word)


def test_every_name_alias_and_place_means_its_own_record():
    for record in known():
        assert find(record.name) is find(record.module) is find(record) is record
        assert find(f"{record.framework}@{record.version}") is record
    for record in current():
        for word in (*record.aliases, *record.places, record.layer):
            assert find(word) is record


SURFACES = {
    "explain": lambda name, other: page(name, other),
    "translate to": lambda name, other: translate("BatchNorm2d(3)", from_="torch", to=name),
    "translate from": lambda name, other: translate("BatchNormalization()", from_=name, to=other),
    "rewrite": lambda name, other: rewrite_source(b"x = 1\n", from_=name, to=other),
    "lint": lambda name, other: Settings(ported_from=name),
    "verify": lambda name, other: named(name),
    "oracle": lambda name, other: parse_oracle(f"{name}=python"),
    "inspect": lambda name, other: bn.inspect({"bn/gamma": [1.0]}, framework=name),
}


@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_takes_the_same_words(surface):
    for word in ("Keras 2", "tf.keras", "TensorFlow", "tf.keras.layers.BatchNormalization"):
        SURFACES[surface](word, "mindspore")
    with pytest.raises(InvalidValue, match=r"unknown framework .* \(did you mean 'torch'\?\)"):
        SURFACES[surface]("pytroch", "mindspore")


def test_what_is_told_has_the_framework_s_own_name():
    assert Settings(ported_from="PyTorch").ported_from == "torch"
    assert parse_oracle("Keras 3/JAX=python") == ("keras/jax", "python")
    plan = translate("nn.BatchNorm2d(3)", from_="PyTorch", to="ms").plan
    assert plan.target.form.dialect.name == "mindspore"


def test_an_older_version_is_verified_where_it_lives(capsys):
    with pytest.raises(SystemExit) as done:
        main(["verify", "--framework", "mindspore@2.0", "--examples", "0"])
    assert done.value.code == 2
    assert "--oracle mindspore=/path/to/python" in capsys.readouterr().err


def record(**changes):
    fields = {
        "name": "toy",
        "title": "Toy",
        "versioned": "Toy {}",
        "version": "1.2.3",
        "package": "toy",
        "real_package": "toy",
        "layer": "toy.BatchNorm2d",
        "prefix": "toy.",
        "namespace": "toy",
    }
    return Framework(**fields | changes)


def test_the_first_of_two_versions_is_meant_by_a_short_one():
    known = (record(), record(name="toy@1.0", version="1.0.1"))
    assert resolve("toy@1", known).name == "toy"
    assert resolve("Toy 1.0", known).name == "toy@1.0"


@pytest.mark.parametrize("facet", ["saved", "source"])
def test_every_rooms_facet_of_one_name_has_the_same_names(facet):
    rooms = {r.name: r.room(facet) for r in current()}  # what two share may stand in a third
    rooms["made"] = plain.made(find("torch"), facet)
    names = {name for room in rooms.values() for name in getattr(room, "__all__", ())}
    names |= set(plain.DEFAULTS[facet]) | set(plain.MADE[facet](find("torch")))
    lacking = {of: [n for n in names if not hasattr(room, n)] for of, room in rooms.items()}
    assert not any(lacking.values()), lacking


@pytest.mark.parametrize("facet", plain.DEFAULTS)
def test_no_room_says_what_is_taken_anyway(facet):
    usual = plain.DEFAULTS[facet]
    for room in (each.room(facet) for each in current()):
        assert not [n for n in room.__all__ if n in usual and getattr(room, n) == usual[n]]


def test_a_rooms_own_facet_needs_to_say_only_what_differs(tmp_path, monkeypatch):
    (tmp_path / "small_room").mkdir()
    (tmp_path / "small_room" / "__init__.py").write_text("")
    (tmp_path / "small_room" / "source.py").write_text("FROZEN = 'still=True'\n")
    monkeypatch.syspath_prepend(tmp_path)
    room = record(package="small_room").room("source")
    assert room.FROZEN == "still=True"
    assert room.NORMS == {}
    assert room.owns("toy.BatchNorm", None)


def test_a_missing_facet_says_what_would_make_it_work():
    assert find("torch").has("layers")
    assert not find("torch").has("orchestra")
    # What a room doesn't say of its files is made of its layers, which nothing stands for.
    with pytest.raises(NotSupported, match=r"toy: its room has no 'layers'; a module toy\.layers"):
        record().room("saved")
    with pytest.raises(NotSupported, match=r"toy: its room has no 'live'; a module toy\.live"):
        record().room("live")


def test_what_a_facet_misses_itself_is_not_taken_for_a_missing_facet(tmp_path, monkeypatch):
    (tmp_path / "toy_room").mkdir()
    (tmp_path / "toy_room" / "__init__.py").write_text("")
    (tmp_path / "toy_room" / "saved.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        record(package="toy_room").room("saved")
