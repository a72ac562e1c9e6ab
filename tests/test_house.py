"""The rules of the house that no linter holds: who imports whom, what is public, how long it is."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "batchnorm"
FILES = sorted(PACKAGE.rglob("*.py"))

TIERS = [  # each may import those above it, and its own
    {"errors", "printable", "newer_python", "_kernel"},
    {"vocabulary", "reported"},
    {"arrays"},
    {"core", "declaration", "checkpoints", "batches"},
    {"computation"},
    {"layer", "graph", "toml"},
    {"frameworks"},
    {"questions"},
    {"read"},
    {"verify"},
    {"conformance"},
    {"translate", "hosts"},
    {"explain", "convert", "diagnose", "recalibrate", "source"},
    {"rewrite", "lint"},
    {"cli"},
    {"__main__"},
]
ALONE = {  # may import less than their tier
    "core": {"errors", "vocabulary", "_kernel", "arrays"},
    "checkpoints": {"errors", "vocabulary", "printable"},
    "arrays": {"errors", "vocabulary", "_kernel"},
    "declaration": {"errors", "newer_python", "vocabulary"},
}
BESIDE = {"framework", "hosted", "calls", "arithmetic", "noise", "real"}  # what all rooms share
STANDS_ON = {
    "mint": {"torch", "mindspore"},  # one's rule in the other's cells
    "keras3": {"keras2", "torch"},  # its oracles run as they do, on several backends
}
VARIANTS = {"v2_0": "layers", "v2_6": "layers"}
FRAMEWORKS = {"torch", "mindspore", "tensorflow", "tf_keras", "keras", "jax", "flax"}
DIALECTS = {
    *("torch", "mindspore", "mindspore_2_0", "mint"),
    *("keras", "keras2", "keras3", "tf_keras", "tf_keras_2_6", "tensorflow"),
}
# Where a framework may be named: a checkpoint's format names its maker, a host is inside of one.
PLACES = re.compile(r"frameworks/|checkpoints/|hosts/(torch|jax|keras)\b")
ROOM = re.compile(r"batchnorm\.frameworks\.(?!framework$|names$|hosted$)\w")
LISTED = Path(__file__).with_name("house_frameworks.txt")
SHORT = 60  # characters of what is a name, and no sentence
LONGEST = 400


@cache
def tree(path):
    return ast.parse(path.read_text())


def imports(path):
    """(module, name or None) of every import statement, inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: import by full name"
            yield from ((node.module, alias.name) for alias in node.names)


def own_imports(path):
    """The package's modules that a file imports, as dotted paths inside the package."""
    for module, name in imports(path):
        if module == "batchnorm" or module.startswith("batchnorm."):
            parts = module.split(".")[1:] + ([name] if name else [])
            if parts and not parts[0].startswith("__"):
                yield tuple(parts)


def part_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def tier(part):
    found = [index for index, names in enumerate(TIERS) if part in names]
    assert found, f"{part}: put it into a tier of this test, and into the README.s picture"
    return found[0]


def in_every_file(rule):
    """A test that lists every breach of a rule, which yields them for one file."""

    def test():
        breaches = [f"{p.relative_to(PACKAGE)}: {text}" for p in FILES for text in rule(p)]
        assert not breaches, "\n".join(breaches)

    test.__doc__ = rule.__doc__
    return test


@in_every_file
def test_imports_go_one_way(path):
    part = part_of(path)
    for other in {parts[0] for parts in own_imports(path)} - {part} if part != "__init__" else ():
        if tier(other) >= tier(part) or (part in ALONE and other not in ALONE[part]):
            yield f"imports {other}"


@in_every_file
def test_a_room_imports_no_other_but_the_shared_one(path):
    """`frameworks/keras` holds what both Keras dialects share, and MindSpore's initializers."""
    room = path.relative_to(PACKAGE).parts[1:-1]
    if part_of(path) == "frameworks" and room:
        for parts in own_imports(path):
            other = parts[1] if parts[0] == "frameworks" and len(parts) > 1 else room[0]
            if other not in (room[0], "keras", *BESIDE, *STANDS_ON.get(room[0], ())):
                yield f"imports {other}"


@in_every_file
def test_only_the_hosts_import_a_framework(path):
    """Wherever they like, as they are imported on first use; oracles have their own processes."""
    if part_of(path) == "hosts" and path != PACKAGE / "hosts" / "__init__.py":
        own = path.relative_to(PACKAGE / "hosts").with_suffix("").parts[0]
        allowed = {own, "tensorflow"} if own == "keras" else {own}
        yield from {module.split(".")[0] for module, _ in imports(path)} & FRAMEWORKS - allowed
        return
    yield from {module.split(".")[0] for module, _ in imports(path)} & FRAMEWORKS


def test_importing_the_package_loads_no_framework_and_nothing_of_the_command():
    unwanted = FRAMEWORKS | {"click", "rich", "h5py", "hypothesis", "pytest"}
    code = (
        "import sys, batchnorm\n"
        "batchnorm.tf_keras.BatchNormalization(dtype='bfloat16').build((2, 3))\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & unwanted


def exported(path):
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    return None


def defined(nodes):
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.If):
            yield from defined([*node.body, *node.orelse])


@in_every_file
def test_all_is_sorted_and_names_what_is_there(path):
    names = exported(path) or []
    if names != sorted(set(names), key=lambda n: (not n.isupper(), not n[0].isupper(), n)):
        yield "not sorted: CONSTANTS, Classes, functions"
    modules = {child.stem for child in path.parent.iterdir()} if path.stem == "__init__" else set()
    yield from set(names) - set(defined(tree(path).body)) - modules


def file_of(parts):
    """The file of the package that a dotted path names, and what is taken from it."""
    for length in range(len(parts), 0, -1):
        base = PACKAGE.joinpath(*parts[:length])
        for path in (base.with_suffix(".py"), base / "__init__.py", base.with_suffix(".pyi")):
            if path.exists():
                return path, parts[length:]
    return None, ()


@in_every_file
def test_what_is_imported_is_public_where_it_comes_from(path):
    for parts in own_imports(path):
        source, rest = file_of(parts)
        if source is None:
            yield f"{'.'.join(parts)} is not there"
            continue
        public = exported(source) or rest
        if source.stem == VARIANTS.get(path.stem):  # which is one with its base
            public = rest
        if rest and (rest[0].startswith("_") or rest[0] not in public):
            yield f"{'.'.join(parts)} is not in __all__"


@in_every_file
def test_every_module_and_public_thing_says_what_it_is(path):
    if path.stat().st_size and not ast.get_docstring(tree(path)):
        yield "no module docstring"
    names = set(exported(path) or ())
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
            if not ast.get_docstring(node):
                yield node.name
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                named = isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
                if named and not method.name.startswith("visit"):  # ast.NodeVisitor's words
                    setter = any(isinstance(d, ast.Attribute) for d in method.decorator_list)
                    if not setter and not ast.get_docstring(method):
                        yield f"{node.name}.{method.name}"


@in_every_file
def test_files_stay_short(path):
    lines = len(path.read_text().splitlines())
    if lines > LONGEST:
        yield f"{lines} lines; at most {LONGEST}"


@in_every_file
def test_names_say_what_a_file_is(path):
    if path.stem in {"utils", "util", "helpers", "common", "misc", "base"}:
        yield path.stem


def alone(tree):
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # strings that stand alone: docstrings, also of attributes
            yield from (id(each.value) for each in body if isinstance(each, ast.Expr))


def in_all(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            yield from map(id, ast.walk(node.value))


def from_rooms(tree):
    """Names that are bound to modules or classes of rooms."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and ROOM.match(node.module or ""):
            yield from (alias.asname or alias.name for alias in node.names)


def names_in(tree):
    """The places of a file that name a framework: (line, what)."""
    aside = {*alone(tree), *in_all(tree)}
    rooms = set(from_rooms(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in aside:
            if len(node.value) < SHORT and re.split(r"[.@/]", node.value)[0] in DIALECTS:
                yield node.lineno, repr(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            for name in ast.walk(node.args[1]):
                if isinstance(name, ast.Name) and name.id in rooms:
                    yield node.lineno, ast.unparse(node)


def with_names():
    for path in FILES:
        name = path.relative_to(PACKAGE).as_posix()
        if not PLACES.match(name):
            found = list(names_in(tree(path)))
            if found:
                yield name, found


def test_no_file_outside_the_rooms_names_a_framework_but_those_listed():
    """What a framework decides stands in its room; who needs it asks the room's facet.

    A name is a string constant whose part before the first `.`, `@` or `/` is a framework's,
    docstrings and `__all__` aside; `isinstance` on a room's class asks the same in another way.
    """
    listed = [line for line in LISTED.read_text().splitlines() if line and line[0] != "#"]
    found = dict(with_names())
    breaches = {name: where for name, where in found.items() if name not in listed}
    assert not breaches, "\n".join(
        f"{name}:{line}: {what}" for name, where in breaches.items() for line, what in where
    )
    assert listed == sorted(listed)
    free = [name for name in listed if name not in found]
    assert not free, f"take these out of {LISTED.name}: they need no exception any more: {free}"


def test_what_counts_as_a_name():
    text = '''
"""torch"""
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.hosted import is_host
__all__ = ["torch"]
A = {"torch": 1, "mindspore@2.0": 2, "a torch": 3, "torchvision": 4}
B = isinstance(A, KerasLayer), isinstance(A, dict)
C = f"keras.{A}"
'''
    found = [what for _, what in names_in(ast.parse(text))]
    assert sorted(found) == ["'keras.'", "'mindspore@2.0'", "'torch'", "isinstance(A, KerasLayer)"]


@in_every_file
def test_what_python_3_10_lacks_comes_from_one_place(path):
    newer = {"LiteralString", "Never", "NotRequired", "Required", "Self", "Unpack", "assert_never"}
    for module, name in imports(path) if path.stem != "newer_python" else ():
        if module == "tomllib" or (module == "typing" and name in newer):
            yield f"{module} {name or ''}: import it from newer_python"


def test_momentum_is_no_word_of_the_core():
    """It means opposite things in the frameworks; the core says exponential_average_factor."""
    for path in (PACKAGE / "core").glob("*.py"):
        names = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
        names |= {node.arg for node in ast.walk(tree(path)) if isinstance(node, ast.arg)}
        names |= {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
        assert not {name for name in names if "momentum" in name}


def tracked():
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git work tree")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def test_no_file_names_a_place_of_the_machine_it_was_written_on():
    homes = re.compile(rb"(?<![\w.-])/(?:work|root|home)/\w")
    for path in tracked():
        if path.is_file() and path != Path(__file__):
            found = homes.search(path.read_bytes())
            assert found is None, f"{path.relative_to(ROOT)}: {found}"


def test_test_files_have_names_of_their_own():
    """Pytest takes two of one name for one module."""
    files = [path for path in tracked() if path.name.startswith("test_") and path.exists()]
    names = [path.name for path in files]
    assert sorted(set(names)) == sorted(names)
