"""BN005: attributes that the layer's framework calls by another name."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache

from batchnorm.frameworks import current, find, known
from batchnorm.lint.fix import Fix, renamed
from batchnorm.lint.linted import Linted
from batchnorm.lint.rule import Hit, Rule
from batchnorm.source import Thing
from batchnorm.translate.form import forms

__all__ = ["RULE", "foreign", "spelled"]

_LOOKS_LIKE_ONE = ("bn", "norm")
_NOTHING = "nothing of the kind"
_ROLES = {"gamma", "beta", "running_mean", "running_var", "count"}


def check(file: Linted) -> Iterator[Hit]:
    """An attribute has another framework's name: `running_var` on a MindSpore layer.

    ## What is found

    Uses of `weight`, `bias`, `running_mean`, `running_var`, `num_batches_tracked` (torch), `gamma`,
    `beta`, `moving_mean`, `moving_variance` (MindSpore and Keras) and `eps` or `epsilon` on a layer
    whose framework has no such attribute. An object counts as such a layer if

    - the file makes it, annotates it, or asks `isinstance` of it, also of several normalizations
      none of which has the attribute; or
    - the file imports one framework only, and one function takes both from the object
      (`bn.moving_variance` beside `bn.weight`), or a running statistic from an object that is
      called `bn` or `norm`. Attributes that a class of the file gives itself don't count here.

    What a `hasattr` of the same name guards is not reported.

    ## Why it matters

    Reading fails with an AttributeError, but only when the line is reached: most of these sit in
    code that fuses layers for deployment, which nobody ran after the port. Assigning does not even
    fail: it adds a new attribute to the object, and the layer goes on with its own.

    ## Example

    MindCV 0.3.0 fuses RepMLP's layers (`mindcv/models/repmlp.py`) by torch's names:

    ```python
    from mindspore import nn, ops


    def fuse(conv, bn):
        std = ops.sqrt(bn.running_var + bn.eps)
        return conv.weight * (bn.weight / std).reshape(-1, 1, 1, 1)


    norm = nn.BatchNorm2d(64)
    ```

    ## How to fix it

    `--fix` does so for layers that are known, `--unsafe-fixes` for what is called like one.

    ```python
    from mindspore import nn, ops


    def fuse(conv, bn):
        std = ops.sqrt(bn.moving_variance + bn.eps)
        return conv.weight * (bn.gamma / std).reshape(-1, 1, 1, 1)


    norm = nn.BatchNorm2d(64)
    ```
    """
    known = set()
    inner: dict[ast.Attribute, str | None] = {}
    uses: dict[tuple[ast.AST, str, str, str], list[ast.Attribute]] = {}
    for node in file.nodes:
        if isinstance(node, ast.Attribute):
            thing = _layer(node, file)
            if thing is None:
                continue
            framework = file.framework(thing)
            known.add(node)
            if node.attr in foreign(framework) and not _guarded(node, file):
                key = file.function(node), _text(file, node.value), node.attr, framework
                uses.setdefault(key, []).append(node)
                inner[node] = _inner(thing, node)
    for (_, of, name, framework), nodes in uses.items():
        message, fix = _told(of, {name: nodes}, framework, file, inner=inner[nodes[0]])
        yield Hit(min(nodes, key=file.place), message, fix)
    yield from _by_company(file, known)


def _layer(node: ast.Attribute, file: Linted) -> Thing | None:
    """The layer that has an attribute: also one of several normalizations, none of which has it."""
    thing = file.objects.thing(node.value)
    if thing is not None and thing.others and len({s.framework for s in thing.symbols}) == 1:
        norms = find(file.framework(thing)).room("source").NORMS
        return (
            thing if all(node.attr not in norms.get(o, {node.attr}) for o in thing.others) else None
        )
    return file.layer(node.value)


def _by_company(file: Linted, known: set[ast.Attribute]) -> Iterator[Hit]:
    """What one function takes from one object that isn't known, but that looks like a layer."""
    if len(file.frameworks) != 1:
        return
    (framework,) = file.frameworks
    foreign_ones, own = foreign(framework), _running(framework)
    used: dict[tuple[ast.AST, str], dict[str, list[ast.Attribute]]] = {}
    defined = {
        node.attr
        for node in file.nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    # What a layer of this framework is made from may be the other's: its initial values.
    carried = {node for site in file.sites for node in ast.walk(site.node)}
    for node in file.nodes:
        if not isinstance(node, ast.Attribute) or node in known or node in carried:
            continue
        if isinstance(node.value, ast.Name | ast.Attribute):
            of = file.text(node.value)
            if of not in ("self", "cls"):
                key = file.function(node), of
                used.setdefault(key, {}).setdefault(node.attr, []).append(node)
    for (_, of), taken in used.items():
        wrong = {name: taken[name] for name in taken if name in foreign_ones - defined}
        running = {name for name in wrong if name in _all_running()}
        named = any(part in of.rpartition(".")[2].lower() for part in _LOOKS_LIKE_ONE)
        if not wrong or not (own & taken.keys() or (running and named)):
            continue
        first = min((nodes[0] for nodes in wrong.values()), key=file.place)
        beside = [node for name in own & taken.keys() for node in taken[name]]
        either = beside and all(_either(first, node, file) for node in beside)
        if not (either or _guarded(first, file) or _other_class(first.value, file)):
            yield Hit(first, *_told(of, wrong, framework, file, safe=False))


def _either(one: ast.AST, other: ast.AST, file: Linted) -> bool:
    """Whether two nodes are in different branches of one `if`: then they may be of two classes."""
    sides = _sides(one, file)
    return any(sides.get(outer, side) != side for outer, side in _sides(other, file).items())


def _sides(node: ast.AST, file: Linted) -> dict[ast.AST, bool]:
    """The ifs around a node, and whether it is in what is done otherwise."""
    found: dict[ast.AST, bool] = {}
    for outer in file.source.around(node):
        if isinstance(outer, ast.If):
            found[outer] = node in outer.orelse
        node = outer
    return found


def _other_class(node: ast.expr, file: Linted) -> bool:
    """Whether a name is made by a class that isn't known to be a batch norm: it has its own."""
    bound = file.names.bindings(node) if isinstance(node, ast.Name) else []
    made = [each.value.func for each in bound if isinstance(each.value, ast.Call)]
    names = [func.attr if isinstance(func, ast.Attribute) else file.text(func) for func in made]
    return bool(bound) and len(made) == len(bound) and all(name[:1].isupper() for name in names)


def _told(
    of: str,
    wrong: Mapping[str, list[ast.Attribute]],
    framework: str,
    file: Linted,
    *,
    safe: bool = True,
    inner: str | None = "",
) -> tuple[str, Fix | None]:
    """The message, and the framework's own names, if it has all of them."""
    right = ", ".join(f"{name} ({_own_name(name, framework)} here)" for name in wrong)
    lines = sorted({file.place(node)[0] for nodes in wrong.values() for node in nodes})
    where = f", lines {', '.join(map(str, lines))}" if len(lines) > 1 else ""
    stored = any(isinstance(node.ctx, ast.Store) for nodes in wrong.values() for node in nodes)
    what = "assigning it changes nothing" if stored else "no such attribute"
    pairs = [
        (node, f"{inner}{_own_name(name, framework)}")
        for name, nodes in wrong.items()
        for node in nodes
    ]
    known = inner is not None and all(_own_name(n, framework) != _NOTHING for n in wrong)
    fix = renamed(file, pairs, safe=safe) if known else None
    return f"{of}.{right}: {what} on {framework}'s batch norm{where}", fix


def _text(file: Linted, node: ast.expr) -> str:
    """What has the attribute, as it is written before the dot."""
    plain = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return file.text(node) if plain else f"({file.text(node)})"


def _inner(thing: Thing, node: ast.Attribute) -> str | None:
    """The layer inside that has the attributes, with a dot; None where not all have it."""
    within = find(next(iter(thing.symbols)).framework).room("source").INNER
    found = {within.get(symbol.name, "") for symbol in thing.symbols}
    if len(found) != 1:
        return None
    name = found.pop()
    return f"{name}." if name and getattr(node.value, "attr", "") != name else ""


def _guarded(node: ast.Attribute, file: Linted) -> bool:
    """Whether a `hasattr` or `getattr` around asks for the attribute first."""
    for outer in file.source.around(node):
        test = getattr(outer, "test", None)
        if test is not None and f'"{node.attr}"' in ast.unparse(test).replace("'", '"'):
            return True
    return False


@cache
def spelled(framework: str) -> dict[str, str]:
    """What a framework's layer calls its state and its epsilon: role -> name."""
    form = next(iter(forms(find(framework)).values()))
    names = {e.role: name for name, e in form.layer.STATE.items() if e.role in _ROLES}
    epsilon = next(p.name for p in form.parameters.values() if p.meaning.word == "epsilon")
    return {**names, "epsilon": epsilon}


@cache
def foreign(framework: str) -> frozenset[str]:
    """The names that only other frameworks have."""
    others = {name for each in current() for name in spelled(each.name).values()}
    return frozenset(others - set(spelled(framework).values()))


def _running(framework: str) -> set[str]:
    roles = spelled(framework)
    return {roles["running_mean"], roles["running_var"]}


def _all_running() -> set[str]:
    return {name for each in current() for name in _running(each.name)}


def _own_name(name: str, framework: str) -> str:
    role = next(r for each in known() for r, n in spelled(each.name).items() if n == name)
    return spelled(framework).get(role, _NOTHING)


RULE = Rule("BN005", "attribute-of-another-framework", check, ("state-names",))
