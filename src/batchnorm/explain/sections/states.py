"""The state entries of both sides beside each other: names, order, and how files spell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from batchnorm.explain.page import Column, Paragraph, Row, Section, Table
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, label, say
from batchnorm.layer import Entry
from batchnorm.questions.question import Text

__all__ = ["entries", "make", "spelled", "table"]

TITLE = Text("State")
INTRO = Text(
    "Names of the entries with their place in the layer's own order, and when an entry exists."
)
FILES = Text(
    "How parameter files spell them: for a layer saved by itself, and for the layer `bn1` of a "
    "network."
)
KERAS_FILES = Text(
    "For {sides} these are the names in an old .h5 file (in one of a Keras 3 Sequential model, "
    "after the model's name); .keras and .weights.h5 name the class and an index: see "
    "[weight files](#names-in-weight-files)."
)
ROLE, NEW = Text("role"), Text("in a new layer")
EXISTS_IF, ALWAYS = Text("{side}: exists"), Text("always")
AND = Text(" and ")
IF = Text("if {names}")
BARE, NESTED = Text("{side}, alone"), Text("{side}, in `bn1`")
ROLES: Mapping[str, Text] = {
    "gamma": Text("scale (gamma)"),
    "beta": Text("shift (beta)"),
    "running_mean": Text("running mean"),
    "running_var": Text("running variance"),
    "count": Text("number of batches seen"),
    "stddev": Text("running standard deviation"),
    "renorm_mean": Text("renorm's running mean"),
    "renorm_stddev": Text("renorm's running standard deviation"),
}


def make(a: Side, b: Side, lang: Lang) -> Section:
    """Both tables; ids are `state-` and the role."""
    files = say(FILES, lang)
    keras = [label(s, other) for s, other in ((a, b), (b, a)) if s.framework.is_keras]
    if keras:
        space = " " if lang == "en" else ""
        files += space + say(KERAS_FILES, lang, sides=say(AND, lang).join(keras))
    return Section(
        "state",
        say(TITLE, lang),
        (Paragraph(say(INTRO, lang)), table((a, b), lang), Paragraph(files), _files(a, b, lang)),
    )


def entries(side: Side) -> dict[str, tuple[int, str, Entry]]:
    """The state by role: place (from 1), attribute name, and the declaration's entry."""
    state = enumerate(side.layer_class.STATE.items(), 1)
    return {entry.role: (place, name, entry) for place, (name, entry) in state}


def spelled(side: Side, net: str = "") -> dict[str, str]:
    """Attribute name -> name in a file, for a bare layer or one called `net` in a network.

    Keras saves no bare layers; of one in a network all that it may have is named, renorm's too.
    """
    layer = side.layer()
    if hasattr(layer, "parameters_dict"):
        return dict(zip(layer.state, layer.parameters_dict(name=net), strict=True))
    if hasattr(layer, "state_dict"):
        prefix = f"{net}." if net else ""
        return dict(zip(layer.state, layer.state_dict(prefix=prefix), strict=True))
    form, state = side.framework.calls.variable, side.layer_class.STATE
    return {name: form.format(layer=net, name=name) for name in state} if net else {}


def _built(side: Side) -> Any:
    layer = side.layer()
    if hasattr(layer, "build"):
        layer.build((2, 2, 2, 3))
    return layer


def table(sides: tuple[Side, ...], lang: Lang) -> Table:
    """The entries of one side or two, beside each other by role."""
    declared = {side: entries(side) for side in sides}
    layers = {side: _built(side).state for side in sides}
    rows = []
    for role in ROLES:
        if not any(role in found for found in declared.values()):
            continue
        cells, new = [], []
        for side, found in declared.items():
            if role not in found:
                cells += ["-", "-"]
                continue
            place, name, entry = found[role]
            needs = " and ".join(f"`{need}`" for need in entry.needs)
            if lang == "zh":
                needs = needs.replace(" and ", " 且 ")
            exists = say(IF, lang, names=needs) if needs else say(ALWAYS, lang)
            cells += [f"{place}. `{name}`", exists]
            if name in layers[side]:
                new.append(_value(layers[side][name]))
        values = ", ".join(dict.fromkeys(new)) or "-"
        rows.append(Row((say(ROLES[role], lang), *cells, values), f"state-{role}"))
    columns = [Column("role", say(ROLE, lang))]
    for key, side, other in zip("ab", sides, reversed(sides), strict=False):
        name = label(side, other)
        columns.append(Column(key, name))
        columns.append(Column(f"{key}_exists", say(EXISTS_IF, lang, side=name)))
    columns.append(Column("new", say(NEW, lang)))
    return Table(tuple(columns), tuple(rows))


def _value(array: np.ndarray[Any, Any]) -> str:
    shape = "(C,)" if array.ndim else "()"
    return f"{array.ravel()[0]:g}, `{array.dtype.name}`, `{shape}`"


def _files(a: Side, b: Side, lang: Lang) -> Table:
    columns, by_role = [Column("role", say(ROLE, lang))], []
    for key, side, other in (("a", a, b), ("b", b, a)):
        name = label(side, other)
        found = {role: own for role, (_, own, _) in entries(side).items()}
        bare, nested = spelled(side), spelled(side, "bn1")
        if bare:
            columns.append(Column(f"{key}_alone", say(BARE, lang, side=name)))
            by_role.append((found, bare))
        columns.append(Column(f"{key}_in_bn1", say(NESTED, lang, side=name)))
        by_role.append((found, nested))
    rows = []
    for role in ROLES:
        cells = [names.get(found.get(role, ""), "") for found, names in by_role]
        if any(cells):
            shown = (f"`{cell}`" if cell else "-" for cell in cells)
            rows.append(Row((say(ROLES[role], lang), *shown)))
    return Table(tuple(columns), tuple(rows))
