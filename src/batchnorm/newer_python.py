"""What Python 3.11 brings and 3.10 lacks; this file goes when 3.10 does."""

import sys

if sys.version_info >= (3, 11):
    from typing import Self, Unpack

    import tomllib
else:
    import tomli as tomllib
    from typing_extensions import Self, Unpack

__all__ = ["Self", "Unpack", "tomllib"]
