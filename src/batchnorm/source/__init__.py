"""Python source that uses batch norms: its files, its text, its names, its layers.

What `rewrite` and `lint` both need; it parses, and never imports or evaluates what it reads. Files
in order of dependence: `text` (a file and edits to it, annotations in strings as what they quote),
`contents` (a file's bytes), `notebook` (code cells), `symbols` (what dotted paths mean), `scopes`
and `exports` (what binds a name), `names` (which path an expression stands for), `known` and
`guards` (what is sure at one point), `nets` (the classes of a file), `objects` (which expressions
are layers), `files` (folders).
"""

from batchnorm.source.contents import contents, special
from batchnorm.source.exports import plain
from batchnorm.source.files import (
    NOTEBOOK,
    AnyPath,
    Found,
    Outcome,
    expressions,
    find,
    listed,
    names_a_batch_norm,
    work_on,
    write,
)
from batchnorm.source.known import Thing
from batchnorm.source.names import Names
from batchnorm.source.notebook import Notebook
from batchnorm.source.objects import Objects
from batchnorm.source.scopes import Binding, Scope
from batchnorm.source.symbols import CLASSES, NAMES, Symbol, framework_at, keras_module, symbol_at
from batchnorm.source.text import Edit, Source, SourceError, apply, parse_source, parse_text

__all__ = [
    "CLASSES",
    "NAMES",
    "NOTEBOOK",
    "AnyPath",
    "Binding",
    "Edit",
    "Found",
    "Names",
    "Notebook",
    "Objects",
    "Outcome",
    "Scope",
    "Source",
    "SourceError",
    "Symbol",
    "Thing",
    "apply",
    "contents",
    "expressions",
    "find",
    "framework_at",
    "keras_module",
    "listed",
    "names_a_batch_norm",
    "parse_source",
    "parse_text",
    "plain",
    "special",
    "symbol_at",
    "work_on",
    "write",
]
