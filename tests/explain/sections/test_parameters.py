"""The parameter table: what a reader must write on the other side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchnorm.explain import page
from batchnorm.explain.sections import parameters


def row(a, b, id):
    (table,) = next(s for s in page(a, b).sections if s.id == "parameters").blocks
    found = next(row for row in table.rows if row.id == id)
    return dict(zip([column.key for column in table.columns], found.cells, strict=True))


def test_momentum_of_torch_and_mindspore_is_opposite_with_one_default():
    found = row("torch", "mindspore", "parameter-momentum")
    assert (found["a"], found["b"]) == ("`momentum = 0.1`", "`momentum = 0.9`")
    assert "opposite" in found["difference"]
    assert "the defaults mean the same" in found["difference"]


@pytest.mark.parametrize(
    ("a", "b", "id", "write"),
    [
        ("torch", "keras", "parameter-momentum", "`momentum=0.9`"),
        ("keras", "torch", "parameter-momentum", "`momentum=0.01`"),
        ("tf_keras", "mindspore", "parameter-momentum", "`momentum=0.99`"),
        ("mindspore", "tf_keras", "parameter-eps", "`epsilon=1e-05`"),
        ("keras", "torch", "parameter-epsilon", "`eps=0.001`"),
    ],
)
def test_other_defaults_say_what_to_write(a, b, id, write):
    assert f"write {write}" in row(a, b, id)["difference"]


def test_what_corresponds_is_found_by_making_layers():
    found = row("torch", "keras", "parameter-affine")["difference"]
    assert "`affine=True, bias=True` ↔ `center=True, scale=True`" in found
    assert "`bias=False` ↔ `center=False`" in found
    assert "in Keras 3 only: `scale=False`" in found
    found = row("torch", "mindspore", "parameter-affine")["difference"]
    assert "in MindSpore only: `affine=False`" in found
    found = row("torch", "mindspore", "parameter-track_running_stats")["difference"]
    assert "`track_running_stats=True` ↔ `use_batch_statistics=None`" in found
    assert "in PyTorch only: `track_running_stats=False`" in found
    found = row("keras", "mindspore", "parameter-axis")["difference"]
    assert "`axis=-1` ↔ `data_format='NHWC'`" in found
    found = row("torch", "keras", "parameter-axis")["difference"]
    assert "PyTorch as it always is ↔ `axis=1`" in found


def test_inputs_are_rows_too():
    assert row("torch", "mindspore", "input-input")["difference"] == "same meaning, other name"
    assert row("tf_keras", "mindspore", "input-training")["b"] == "-"
    assert row("tf_keras", "keras", "input-mask")["difference"] == "-"


def test_variants_have_their_own_signatures():
    assert row("mindspore@2.0", "mindspore", "parameter-dtype")["a"] == "-"
    assert row("tf_keras@2.6", "tf_keras", "parameter-synchronized")["a"] == "-"
    assert row("tf_keras@2.6", "tf_keras", "input-mask")["a"] == "-"


def test_every_parameter_of_both_sides_is_in_one_row():
    for a, b in (("torch", "mindspore"), ("tf_keras", "keras")):
        found = page(a, b)
        (table,) = next(s for s in found.sections if s.id == "parameters").blocks
        for key, name in (("a", a), ("b", b)):
            shown = [own for row in table.rows for own in row.data.get(key, ())]
            declared = list(parameters.effects.by_aspect(parameters_of(name)).values())
            assert sorted(shown) == sorted(p.name for group in declared for p in group)


def parameters_of(name):
    from batchnorm.explain.sides import resolve

    return resolve(name)


@given(st.decimals(min_value=0, max_value=1, places=6))
def test_complement_is_decimal_and_its_own_inverse(weight):
    value = float(weight)
    assert parameters.complement(parameters.complement(value)) == value
    assert parameters.complement(0.1) == 0.9


def test_a_default_axis_says_what_to_write():
    assert "write `axis=1`" in row("mindspore", "tf_keras", "parameter-data_format")["difference"]
    assert "no other axis" in row("keras", "torch", "parameter-axis")["difference"]


def test_values_that_only_one_side_takes_are_linked_to():
    found = row("mindspore", "tf_keras", "parameter-gamma_init")["difference"]
    assert "same meaning" not in found
    assert "[numbers](#gamma-from-a-number)" in found
    assert "names" not in found
    found = row("mindspore", "tf_keras", "parameter-dtype")["difference"]
    assert "`float32` on both sides" in found
