"""A whole model's state from one framework to another: what the names and arrays of files mean.

`convert` is the front; `compare` and `inspect` read the same meaning. The files themselves are
`batchnorm.checkpoints`' business, which knows no dialect.
"""

from batchnorm.convert.compare import compare
from batchnorm.convert.comparison import Comparison
from batchnorm.convert.conversion import Conversion, convert
from batchnorm.convert.fold import Folded, fold, unfold
from batchnorm.convert.inspect import Inspection, inspect
from batchnorm.convert.report import Report, Row
from batchnorm.convert.structure import graph

__all__ = [
    "Comparison",
    "Conversion",
    "Folded",
    "Inspection",
    "Report",
    "Row",
    "compare",
    "convert",
    "fold",
    "graph",
    "inspect",
    "unfold",
]
