"""The record of a framework: its names, its version, and where the rest that is known of it stands.

A record is data alone and imports nothing of its room; a facet of the room (`record.room("live")`)
is a module, which is loaded when it is first asked for. Every room's facet of one name has
functions and data of the same names, so who asks compares no framework's name. Not here: which
frameworks there are (`frameworks`), and which of them a user's word means (`names.py`).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from batchnorm.errors import NotSupported
from batchnorm.frameworks import plain
from batchnorm.frameworks.arithmetic import Arithmetic
from batchnorm.frameworks.calls import Calls

if TYPE_CHECKING:
    from batchnorm.layer import Layer

__all__ = ["FACETS", "Framework"]

# Facet -> what needs it.
FACETS: Mapping[str, str] = {
    "layers": "the declaration of the layers, which everything needs",
    "initial": "writing and reading initializers that aren't Keras'",
    "live": "reading the framework's own live layers and models",
    "running": "watching its models run",
    "tracing": "seeing in a run which of its layers feeds which",
    "saved": "converting checkpoints with its names",
    "source": "linting and rewriting code that uses it",
    "oracle": "verifying against the framework itself",
    "groups": "gathering what several of its processes found",
    "samples": "verifying with drawn settings",
    "theory": "proving translations to and from it",
}


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework in one version, or a family of its layers: a dialect of batch normalization.

    Attributes:
        name: as users write it, "torch" or "mindspore@2.0"; older versions have theirs behind @.
        title: what people call it, "Keras 2".
        versioned: the same with a place for the version, "Keras {} (tf.keras)".
        version: the version that the declaration was verified with.
        package: the room, a package (or one module) with a module per facet.
        facets: facet -> module, for those that aren't the room's own file of that name.
        real_package: what the framework itself is imported as.
        layer: its batch norm for rank 4 as its users write it, from the real package on.
        prefix: what stands before the class in a call that we write.
        namespace: what stands before `initializers`, `regularizers` and `constraints`.
        aliases: other names that users write, in small letters, `_` for blanks and hyphens.
        places: dotted paths under which its users find the layers.
        lineage: a name of which it is a version too: `keras@2` is tf_keras.
        absent: parameters, of the constructor or the call, that this version doesn't have yet,
            though the dialect declares them.
        names_of: the framework whose names its files have, if that is another; and the formats
            of files, by their makers, that hold them.
        calls: how its calls are written.
        easier: for calls of one framework that are ported to another this one is the easier target:
            those two, and why.
        sourced: what is told by its source because it can't be run, in English and in Chinese.
        backends: names under which its other backends answer, behind a slash.
        arithmetic: in which types it computes, as far as that isn't float32 throughout.
        is_keras: whether one class serves all ranks and takes an axis.
    """

    name: str
    title: str
    versioned: str
    version: str
    package: str
    facets: Mapping[str, str] = field(default_factory=dict, hash=False)
    real_package: str
    layer: str
    prefix: str
    namespace: str
    aliases: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    lineage: str = ""
    absent: frozenset[str] = frozenset()
    names_of: tuple[str, str] | tuple[()] = ()
    calls: Calls = field(default_factory=Calls)
    easier: tuple[str, str, str] | tuple[()] = ()
    sourced: tuple[str, str] | tuple[()] = ()
    backends: tuple[str, ...] = ()
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    is_keras: bool = False

    @property
    def framework(self) -> str:
        """The name without a version, which the layers have as `FRAMEWORK`."""
        return self.name.partition("@")[0]

    @property
    def older(self) -> bool:
        """Whether it is a version that only a name with a version means."""
        return "@" in self.name

    @property
    def module(self) -> str:
        """The name of its layers' module in `batchnorm`."""
        return self.name.replace("@", "_").replace(".", "_")

    @property
    def class_name(self) -> str:
        """The class of its batch norm for rank 4."""
        return self.layer.rpartition(".")[2]

    @property
    def layer_class(self) -> type[Layer]:
        """Our class of that batch norm."""
        found: type[Layer] = getattr(self.room("layers"), self.class_name)
        return found

    def module_of(self, facet: str) -> str:
        """The full name of a facet's module, whether there is one or not."""
        return self.facets.get(facet, f"{self.package}.{facet}")

    def has(self, facet: str) -> bool:
        """Whether the room has a facet, or one can be made of the declaration."""
        return facet in plain.MADE or self.brings(facet)

    def brings(self, facet: str) -> bool:
        """Whether the room has a facet of its own."""
        try:
            return importlib.util.find_spec(self.module_of(facet)) is not None
        except ModuleNotFoundError:  # the room is one module, which has no others
            return False

    def room(self, facet: str) -> ModuleType:
        """A facet of the room, loaded when first asked for, or made of the declaration.

        What a room's own facet needn't say is then as `plain.DEFAULTS` has it.

        Raises:
            NotImplementedError: the room hasn't that facet; says what would make it.
        """
        name = self.module_of(facet)
        try:
            return plain.completed(importlib.import_module(name), facet)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # something that the facet imports
        if facet in plain.MADE:
            return _made(self, facet)
        raise NotSupported(
            f"{FACETS.get(facet, facet)} isn't known for {self.name}: its room has no {facet!r}; "
            f"a module {name} with the functions of the other frameworks' would make it work"
        )


@cache
def _made(record: Framework, facet: str) -> ModuleType:
    return plain.made(record, facet)
