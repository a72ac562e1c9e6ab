"""What Python 3.11 brings and 3.10 lacks; this file goes when 3.10 does."""

import ast
import sys
from typing import Any

if sys.version_info >= (3, 11):
    from ast import TryStar
    from typing import NotRequired, Required, Self, Unpack, get_type_hints

    import tomllib
else:
    import types
    import typing

    import tomli as tomllib
    from typing_extensions import NotRequired, Required, Self, Unpack

    class TryStar(ast.Try):
        """No node of 3.10's trees is one."""

    def get_type_hints(obj: Any, include_extras: bool = False) -> dict[str, Any]:
        """The hints as they are written: 3.10 makes one optional where the default is None."""
        if not isinstance(obj, types.FunctionType):
            return typing.get_type_hints(obj, include_extras=include_extras)
        bare = types.FunctionType(obj.__code__, obj.__globals__, closure=obj.__closure__)
        bare.__annotations__ = obj.__annotations__
        return typing.get_type_hints(bare, include_extras=include_extras)


__all__ = ["NotRequired", "Required", "Self", "TryStar", "Unpack", "get_type_hints", "tomllib"]
