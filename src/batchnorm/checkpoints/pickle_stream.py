"""Read a pickle as data: a closed interpreter of a fixed list of opcodes.

Nothing is imported, looked up or called. A GLOBAL is a name; REDUCE, NEWOBJ and BUILD hand names
and plain values to a fixed table that the caller gives. An object of any other class is an
`Instance`: the class's name and the state that BUILD gives it, as data. A call of the standard
library's outside the table is an error, as no checkpoint needs what it does. Facts about opcodes:
CPython's pickletools. It is not an unpickler and knows nothing about tensors.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from batchnorm.checkpoints.source import Cursor, quoted, text_cost
from batchnorm.errors import CheckpointError

__all__ = ["LARGEST_KEY", "Dictionary", "Global", "Instance", "Opaque", "Pickle", "Rebuilder"]

Rebuilder = Callable[[tuple[Any, ...]], Any]
MOST_ARGUMENTS = 16
LARGEST_KEY = 1 << 53  # integers below are their own hash: colliding keys can't be made of them


# Modules of which no call is taken outside the table: what they do is no object's state.
LIBRARY = frozenset({*sys.stdlib_module_names, "__builtin__", "commands", "popen2"}) - {"__main__"}


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function; never the thing itself."""

    name: str


class Opaque:
    """An object whose content is of no use here, such as `argparse.Namespace`; of sets, texts."""

    __slots__ = ("name", "texts")

    def __init__(self, name: str, texts: Iterable[str] = ()) -> None:
        self.name = name
        self.texts = frozenset(texts)


class Instance:
    """An object of a class that is not known here: its name and what BUILD gave it."""

    __slots__ = ("name", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Dictionary | None = None


class Dictionary(dict[Any, Any]):
    """A dict, an OrderedDict or a like; `attributes` holds what BUILD sets, such as `_metadata`.

    Keys that are no names, such as the numbers of somebody's table, are left out with what they
    hold; `odd` counts them by their type.
    """

    __slots__ = ("attributes", "odd")

    def __init__(self) -> None:
        super().__init__()
        self.attributes: dict[Any, Any] = {}
        self.odd: dict[str, int] = {}

    def put(self, key: Any, value: Any) -> None:
        """Add an item, if its key is a name; other keys are not even hashed."""
        if isinstance(key, str | None) or (_is_int(key) and abs(key) < LARGEST_KEY):
            self[key] = value
        else:
            kind = type(key).__name__.lower()
            self.odd[kind] = self.odd.get(kind, 0) + 1


class Pickle:
    """One run over one pickle.

    Args:
        cursor: where the pickle begins; left behind its end.
        rebuild: what each allowed GLOBAL makes of its arguments.
        persistent: what BINPERSID makes of its operand.
    """

    def __init__(
        self, cursor: Cursor, rebuild: Mapping[str, Rebuilder], persistent: Callable[[Any], Any]
    ) -> None:
        self._cursor, self._rebuild, self._persistent = cursor, rebuild, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []  # every pickler counts up from 0, Python 2's C one from 1
        self._names: dict[str, Global] = {}

    def run(self) -> Any:
        """The pickled object."""
        take = self._cursor.take
        while True:
            opcode = take(1, "pickle")
            if opcode == b".":
                if len(self._stack) != 1 or self._marks:
                    self._fail("ends with a stack that is not one object")
                return self._stack.pop()
            step = _STEPS.get(opcode)
            if step is None:
                self._fail(f"opcode {opcode!r} is not one that a checkpoint needs")
            step(self)

    def _fail(self, reason: str) -> NoReturn:
        self._cursor.source.fail(f"pickle, byte {self._cursor.position}", reason)

    def _pop(self) -> Any:
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) <= floor:
            self._fail("takes from an empty stack")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _popped_mark(self) -> list[Any]:
        if not self._marks:
            self._fail("a mark is missing")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _mark(self) -> None:
        self._cursor.source.spend(48, "pickle")
        self._marks.append(len(self._stack))

    def _push(self, value: Any, cost: int = 10) -> None:
        """Put a value on the stack; `cost` is what it takes there and by itself."""
        self._cursor.source.spend(cost, "pickle")
        self._stack.append(value)

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self._cursor.take(struct.calcsize(layout), "pickle"))
        return int(value)

    # What follows is one method per group of opcodes.

    def _proto(self) -> None:
        version = self._number("<B")
        if version > 5:
            self._fail(f"protocol {version}; protocols up to 5 are known")

    def _text(self, layout: str, encoding: str) -> None:
        data = self._cursor.take(self._number(layout), "pickle")
        try:
            cost = text_cost(data) + len(data)  # the text, and the bytes while it is made
            self._cursor.source.spend(cost, "pickle")
            self._push(data.decode(encoding))
        except UnicodeDecodeError:
            self._fail("a string is not UTF-8")

    def _raw(self, layout: str) -> None:
        data = self._cursor.take(self._number(layout), "pickle")
        self._push(data, 64 + len(data))

    def _integer(self, layout: str) -> None:
        data = self._cursor.take(self._number(layout), "pickle")
        if len(data) > 256:
            self._fail(f"an integer of {len(data)} bytes")
        self._push(int.from_bytes(data, "little", signed=True), 48 + 2 * len(data))

    def _float(self) -> None:
        self._push(struct.unpack(">d", self._cursor.take(8, "pickle"))[0], 32)

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)), 72 + 8 * count)

    def _marked(self, make: Callable[[list[Any]], Any]) -> None:
        items = self._popped_mark()
        self._push(make(items), 96 + 16 * len(items))

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) in (Opaque, Instance):
            return
        if type(target) is not list:
            self._fail(f"appends to a {type(target).__name__}")
        self._cursor.source.spend(12 * len(items), "pickle")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) in (Opaque, Instance):
            return
        if type(target) is not Dictionary:
            self._fail(f"sets an item of a {type(target).__name__}")
        self._fill(target, items)

    def _fill(self, target: Dictionary, items: list[Any]) -> Dictionary:
        if len(items) % 2:
            self._fail("a dictionary has a key without a value")
        self._cursor.source.spend(128 * (len(items) // 2), "pickle")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target.put(key, value)
        return target

    def _remember(self, index: int) -> None:
        value = self._top()
        if index < len(self._memo):
            self._memo[index] = value
        elif index <= len(self._memo) + 1:
            self._cursor.source.spend(24, "pickle")
            self._memo += [None] * (index - len(self._memo))
            self._memo.append(value)
        else:
            self._fail(f"memo {index} is written before memo {len(self._memo)}")

    def _recall(self, index: int) -> None:
        if index >= len(self._memo):
            self._fail(f"memo {index} was never written")
        self._push(self._memo[index])

    def _global(self, module: object, name: object) -> None:
        known = f"{module}.{name}"
        if known not in self._names:
            self._cursor.source.spend(256 + 4 * len(known), "pickle")
        self._push(self._names.setdefault(known, Global(known)))

    def _text_global(self) -> None:
        lines = [self._cursor.line(256, "pickle").decode("utf-8", "replace") for _ in range(2)]
        self._global(*lines)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            self._fail("a global whose name is not text")
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, target = self._pop(), self._pop()
        if type(target) is not Global or type(arguments) is not tuple:
            self._fail("calls something that is not a known name")
        if target.name not in self._rebuild:
            if target.name.partition(".")[0] in LIBRARY:
                self._fail(
                    f"calls {quoted(target.name)}, which is not part of a state dictionary; "
                    "nothing of it was run. Where the file is trusted, load it in its own "
                    "framework and save `model.state_dict()`"
                )
            self._push(Instance(target.name), 224)
            return
        if len(arguments) > MOST_ARGUMENTS:
            self._fail(f"{target.name} with {len(arguments)} arguments")
        try:
            self._push(self._rebuild[target.name](arguments), 224)
        except CheckpointError:
            raise
        except (TypeError, ValueError, IndexError, OverflowError):
            self._fail(f"{target.name} with arguments that it can't have")

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if type(target) is Dictionary and type(state) is Dictionary:
            self._cursor.source.spend(128 * len(state), "pickle")
            target.attributes.update(state)
        elif type(target) is Instance:
            target.state = state if type(state) is Dictionary else target.state
        elif type(target) is not Opaque:
            self._fail(f"sets the state of a {type(target).__name__}")

    def _new_with_names(self) -> None:
        self._pop()  # arguments by name
        self._reduce()

    def _add_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is Opaque:  # a set
            self._cursor.source.spend(64 * len(items), "pickle")
            target.texts |= {item for item in items if isinstance(item, str)}

    def _persistent_id(self) -> None:
        self._push(self._persistent(self._pop()), 160)


def _is_int(value: object) -> bool:
    return type(value) in (int, bool)


def _dictionary(pickle: Pickle) -> None:
    items = pickle._popped_mark()
    pickle._push(pickle._fill(Dictionary(), items), 320)


_STEPS: dict[bytes, Callable[[Pickle], Any]] = {
    b"\x80": Pickle._proto,
    b"\x95": lambda p: p._number("<Q"),  # FRAME: only a hint
    b"(": Pickle._mark,
    b"0": lambda p: p._pop(),
    b"1": lambda p: p._popped_mark(),
    b"2": lambda p: p._push(p._top()),
    b"N": lambda p: p._push(None),
    b"\x88": lambda p: p._push(True),
    b"\x89": lambda p: p._push(False),
    b"J": lambda p: p._push(p._number("<i"), 40),
    b"K": lambda p: p._push(p._number("<B")),
    b"M": lambda p: p._push(p._number("<H"), 40),
    b"\x8a": lambda p: p._integer("<B"),
    b"\x8b": lambda p: p._integer("<I"),
    b"G": Pickle._float,
    b"X": lambda p: p._text("<I", "utf-8"),
    b"\x8c": lambda p: p._text("<B", "utf-8"),
    b"\x8d": lambda p: p._text("<Q", "utf-8"),
    b"U": lambda p: p._text("<B", "utf-8"),  # Python 2's str
    b"T": lambda p: p._text("<I", "utf-8"),
    b"C": lambda p: p._raw("<B"),
    b"B": lambda p: p._raw("<I"),
    b"\x8e": lambda p: p._raw("<Q"),
    b"\x96": lambda p: p._raw("<Q"),
    b")": lambda p: p._push(()),
    b"\x85": lambda p: p._tuple(1),
    b"\x86": lambda p: p._tuple(2),
    b"\x87": lambda p: p._tuple(3),
    b"t": lambda p: p._marked(tuple),
    b"]": lambda p: p._push([], 80),
    b"l": lambda p: p._marked(list),
    b"a": lambda p: p._append([p._pop()]),
    b"e": lambda p: p._append(p._popped_mark()),
    b"}": lambda p: p._push(Dictionary(), 288),
    b"d": _dictionary,
    b"s": lambda p: p._set_items([p._pop(), p._pop()][::-1]),
    b"u": lambda p: p._set_items(p._popped_mark()),
    b"\x8f": lambda p: p._push(Opaque("set"), 64),
    b"\x90": lambda p: p._add_items(p._popped_mark()),
    b"\x91": lambda p: p._marked(lambda _: Opaque("frozenset")),
    b"q": lambda p: p._remember(p._number("<B")),
    b"r": lambda p: p._remember(p._number("<I")),
    b"\x94": lambda p: p._remember(len(p._memo)),
    b"h": lambda p: p._recall(p._number("<B")),
    b"j": lambda p: p._recall(p._number("<I")),
    b"c": Pickle._text_global,
    b"\x93": Pickle._stack_global,
    b"R": Pickle._reduce,
    b"\x81": Pickle._reduce,  # NEWOBJ: the same arguments for the classes of the table
    b"\x92": Pickle._new_with_names,
    b"b": Pickle._build,
    b"Q": Pickle._persistent_id,
}
