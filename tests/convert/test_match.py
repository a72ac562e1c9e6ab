"""`--like`: layers find their places by name, order or shape, and are never guessed."""

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.convert.mapping import read_map
from batchnorm.errors import CheckpointError

STATE = ("weight", "bias", "running_mean", "running_var")
KERAS = ("gamma", "beta", "moving_mean", "moving_variance")


def norm(path, value, channels=3):
    return {f"{path}.{n}": np.full(channels, value, np.float32) for n in STATE}


def place(layer, channels=3):
    return {f"{layer}/{n}": np.zeros(channels, np.float32) for n in KERAS}


def found(state, like, **more):
    return bn.convert(state, like=like, to="keras", **more)


def values(done):
    return {n.partition("/")[0]: float(e.load()[0]) for n, e in done.entries.items()}


def test_names_that_differ_in_separators_only_are_one():
    state = {**norm("layer1.0.downsample.1", 1), **norm("layer1.0.bn1", 2)}
    like = {**place("layer1_0_bn1"), **place("layer1_0_down_sample_1")}
    done = found(state, like)
    assert values(done) == {"layer1_0_down_sample_1": 1, "layer1_0_bn1": 2}
    assert done.report.exit_code == 0


def test_digits_with_a_separator_between_them_stay_apart():
    state = {**norm("block1.12", 1), **norm("block11.2", 2)}
    like = {**place("block11_2"), **place("block1_12")}
    assert values(found(state, like)) == {"block11_2": 2, "block1_12": 1}


def test_the_same_shapes_in_the_same_order_are_matched_by_order():
    state = {**norm("a", 1), **norm("b", 2), **norm("c", 3, 5)}
    like = {**place("batch_normalization"), **place("batch_normalization_1"), **place("x", 5)}
    done = found(state, like)
    assert values(done) == {"batch_normalization": 1, "batch_normalization_1": 2, "x": 3}


def test_two_layers_of_one_shape_in_another_order_are_not_guessed():
    state = {**norm("a", 1), **norm("b", 2), **norm("c", 3, 5)}
    like = {**place("x", 5), **place("p"), **place("q")}
    done = found(state, like)
    assert values(done) == {"x": 3}  # its shape occurs once
    assert done.report.exit_code == 1
    assert "'a', 'b' could each be 'p', 'q'" in done.report.problems[0]
    assert {row.layer for row in done.report.of("unused")} == {"a", "b"}
    assert {row.layer for row in done.report.of("missing")} == {"p", "q"}


def test_order_is_not_believed_where_names_say_the_reverse():
    state = {**norm("encoder.stage", 1), **norm("decoder.stage", 2)}
    like = {**place("decoder_x"), **place("encoder_x")}
    done = found(state, like)
    assert not done.entries
    assert "their names say the reverse" in done.report.problems[0]


def test_the_order_of_a_safetensors_file_is_no_evidence(tmp_path):
    path = tmp_path / "a.safetensors"
    bn.checkpoints.write(path, {**norm("a", 1), **norm("b", 2)}, framework="torch")
    done = found(path, {**place("p"), **place("q")})
    assert not done.entries
    assert "sorted by name" in done.report.problems[0]


def test_the_map_settles_it_and_a_dumped_map_says_the_same_again():
    state = {**norm("a", 1), **norm("b", 2), **norm("c", 3, 5)}
    like = {**place("x", 5), **place("p"), **place("q")}
    done = found(state, like, map={"layers": {"a": "q"}})
    assert values(done) == {"x": 3, "q": 1, "p": 2}
    assert done.report.exit_code == 0
    again = found(state, like, map=tomllib_loads(done.map))
    assert values(again) == values(done)
    assert again.map == done.map


def tomllib_loads(text):
    import tomllib

    return tomllib.loads(text)


def test_a_dumped_map_names_what_found_no_place():
    done = found({**norm("a", 1), **norm("b", 2)}, {**place("p", 4)})
    assert '# "a" = ""  # left out: no layer that is left has its shape' in done.map
    assert "# layers of the target that nothing in the source fits: p" in done.map


def test_the_map_leaves_out_on_purpose():
    done = found({**norm("a", 1), **norm("b", 2, 4)}, place("a"), map={"layers": {"b": ""}})
    assert done.report.exit_code == 0
    assert {row.layer for row in done.report.of("left out")} == {"b"}


def test_one_array_can_be_mapped():
    state = {**norm("a", 1), "extra": np.array([[7.0, 8.0]], np.float32)}
    like = {**place("a"), "tokens/cls": np.zeros((1, 2), np.float32)}
    done = found(state, like, map={"arrays": {"extra": "tokens/cls"}})
    assert done.load()["tokens/cls"].tolist() == [[7, 8]]
    assert done.report.exit_code == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"version": 2},
        {"layer": {}},
        {"layers": {"a": 3}},
        {"layers": {"a": {"flatten": ["x"]}}},
        {"layers": {"a": {"kind": "unknown"}}},
        {"arrays": {"a": 1}},
        {"layers": []},
    ],
)
def test_a_bad_map_is_an_error(bad):
    with pytest.raises(CheckpointError, match="the map"):
        read_map(bad)


def test_a_map_of_layers_that_the_source_does_not_have_is_an_error():
    with pytest.raises(CheckpointError, match="'nowhere'"):
        found(norm("a", 1), place("a"), map={"layers": {"nowhere": "a"}})


def test_a_bias_free_kernel_finds_its_embedding_by_the_template():
    table = np.arange(21, dtype=np.float32).reshape(7, 3)
    state = {"e.weight": table, **norm("n", 1)}
    like = {"e.embedding_table": np.zeros((7, 3)), **{
        f"n.{k}": np.zeros(3) for k in ("moving_mean", "moving_variance", "gamma", "beta")
    }}  # fmt: skip
    done = bn.convert(state, like=like, to="mindspore")
    assert np.array_equal(done.load()["e.embedding_table"], table)
    assert done.report.exit_code == 0


def test_one_class_in_another_order_makes_no_class_s_order_evidence(tmp_path):
    def kernel(size):
        return np.ones((3, 3, size, size), np.float32)

    state = {"a.weight": kernel(3), **norm("an", 1), "s.weight": kernel(1), **norm("sn", 2)}
    path = tmp_path / "like.weights.h5"
    like = {"p/kernel": np.zeros((1, 1, 3, 3)), **place("pn"), "q/kernel": np.zeros((3, 3, 3, 3)),
            **place("qn"), "r/kernel": np.zeros((1, 1, 3, 3))}  # fmt: skip
    state["z.weight"] = kernel(1)
    classes = {n: {"class_name": "Conv2D" if len(n) == 1 else "BatchNormalization"}
               for n in ("p", "pn", "q", "qn", "r")}  # fmt: skip
    bn.checkpoints.write(path, like, framework="keras", metadata={"layers": classes})
    done = found(state, path)
    assert set(done.entries) == {"q/kernel"}  # its shape occurs once
    assert done.report.exit_code == 1


def test_a_template_that_lists_its_layers_by_class_is_matched_within_classes(tmp_path):
    def kernel(value, width):
        return np.full((width, 3, 1, 1), value, np.float32)

    state = {"a.weight": kernel(1, 3), **norm("b", 1), "c.weight": kernel(2, 3), **norm("d", 2)}
    path = tmp_path / "like.weights.h5"
    like = {f"{n}/kernel": np.zeros((1, 1, 3, 3), np.float32) for n in ("x", "y")}
    classes = {n: {"class_name": "Conv2D"} for n in ("x", "y")}
    for name in ("p", "q"):
        like |= place(name)
        classes[name] = {"class_name": "BatchNormalization"}
    bn.checkpoints.write(path, like, framework="keras", metadata={"layers": classes})
    done = found(state, path)
    assert {name.partition("/")[0]: v.load().ravel()[0] for name, v in done.entries.items()} == {
        "x": 1, "y": 2, "p": 1, "q": 2,
    }  # fmt: skip
    assert done.report.exit_code == 0


def keras_file(form, layers):
    """A file as Keras leaves it: entries in the order of its groups, facts of each layer."""
    entries = {f"{n}/0": bn.checkpoints.Entry.of(f"{n}/0", np.zeros((1, 1, 3, 3), np.float32))
               for n in layers}  # fmt: skip
    return bn.checkpoints.Checkpoint(entries, form, "keras", {"layers": layers})


def three():
    return {f"c{i}.weight": np.full((3, 3, 1, 1), i, np.float32) for i in range(3)}


def test_nested_models_make_the_order_of_weights_without_config_no_evidence():
    inner = "layers/functional/layers/conv2d"
    paths = {"out": "layers/conv2d", "inner/a": inner, "inner/b": f"{inner}_1"}
    layers = {n: {"path": path, "class_name": "Conv2D"} for n, path in paths.items()}
    done = bn.convert(three(), like=keras_file("keras-weights", layers), from_framework="torch")
    assert not done.entries
    assert "nesting" in done.report.problems[0]


def test_two_keras_files_of_the_same_groups_are_matched_by_place():
    paths = ("layers/conv2d", "layers/functional/layers/conv2d", "layers/conv2d_1")

    def file(names):
        layers = {n: {"path": p, "class_name": "Conv2D"} for n, p in zip(names, paths, strict=True)}
        return keras_file("keras-weights", layers)

    done = bn.convert(file(("a", "in/b", "c")), to="tf_keras", like=file(("x", "p/q", "z")))
    pairs = {row.source: row.target for row in done.report.rows}
    assert pairs == {"a/0": "x/0", "in/b/0": "p/q/0", "c/0": "z/0"}


def test_a_scalar_parameter_is_no_trainer_s_number_where_both_sides_have_it():
    like = bn.convert({**norm("a", 1), "scale": np.float32(1)}, to="mindspore").load()
    done = bn.convert({**norm("a", 2), "scale": np.float32(3)}, to="mindspore", like=like)
    assert done.report.exit_code == 0
    assert done.load()["scale"] == 3
    back = bn.convert(done.load(), to="torch", like={**norm("a", 0), "scale": np.float32(0)})
    assert back.load()["scale"] == 3


def test_the_attributes_of_a_subclassed_model_are_sorted_and_so_no_evidence():
    layers = {n: {"path": n} for n in ("body", "head", "stem")}
    done = bn.convert(three(), like=keras_file("keras", layers), from_framework="torch")
    assert not done.entries
    assert done.report.exit_code == 1


def test_layers_inside_a_class_of_the_user_s_are_not_matched_by_order():
    known = {"class_name": "Conv2D", "config": {"filters": 3}}
    layers = {"a": {**known, "path": "layers/conv2d"}, "b": {**known, "path": "layers/conv2d_1"},
              "block/conv": {"path": "layers/block/conv"}}  # fmt: skip
    done = bn.convert(three(), like=keras_file("keras", layers), from_framework="torch")
    assert not done.entries
    assert "config doesn't list" in done.report.problems[0]


def ms(path):
    names = ("moving_mean", "moving_variance", "gamma", "beta")
    return {f"{path}.{n}": np.zeros(3, np.float32) for n in names}


def test_a_name_that_ends_as_the_other_s_is_found_whatever_the_order():
    state = {**norm("model.n", 1), **norm("model.m", 2), **norm("model.head.fc", 3)}
    done = bn.convert(state, like={**ms("fc"), **ms("m"), **ms("n")}, to="mindspore")
    found = {n.partition(".")[0]: float(e.load()[0]) for n, e in done.entries.items()}
    assert found == {"fc": 3, "m": 2, "n": 1}
    assert done.report.exit_code == 0


def test_two_names_with_one_end_are_not_guessed():
    state = {**norm("model.n", 1), **norm("twin.n", 2)}
    done = bn.convert(state, like=ms("n"), to="mindspore")
    assert not done.entries
    assert "they are 2 here and 1 there" in done.report.problems[0]


def test_another_head_does_not_stop_the_rest():
    state = {**norm("a", 1), **norm("b", 2), "c.weight": np.ones((5, 3)), "c.bias": np.ones(5)}
    like = {**place("x"), **place("y"), "z/kernel": np.ones((3, 9)), "z/bias": np.ones(9)}
    done = found(state, like)
    assert values(done) == {"x": 1, "y": 2}
    assert {row.layer for row in done.report.of("unused")} == {"c"}
    assert {row.layer for row in done.report.of("missing")} == {"z"}
    assert any("2 layers whose names differ" in note for note in done.report.notes)


def test_a_template_whose_batch_norms_are_folded_is_told_by_its_biases():
    kernel = lambda path, n: {f"{path}.weight": np.full((3, 3, 1, 1), n, np.float32)}  # noqa: E731
    bias = lambda path: {f"{path}.bias": np.zeros(3, np.float32)}  # noqa: E731
    state = {**kernel("a", 1), **norm("a_bn", 1), **kernel("b", 2), **norm("b_bn", 2)}
    like = {**kernel("p", 0), **bias("p"), **kernel("q", 0), **bias("q")}
    problem = bn.convert(state, like=like, to="torch", from_framework="torch").report.problems[0]
    assert "2 batch norms and the template none" in problem
    assert "--fold" in problem
    folded = bn.convert(state, like=like, to="torch", from_framework="torch", fold=True)
    assert set(folded.load()) == set(like)
    two = {**like, **{k.replace("q", "r"): v for k, v in norm("q", 0).items()}}
    assert "--fold" not in str(
        bn.convert(state, like=two, to="torch", from_framework="torch").report.problems
    )
