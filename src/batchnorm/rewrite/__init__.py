"""Source rewritten from one framework's batch norms to another's: `rewrite`, `rewrite_source`.

A file is parsed and never evaluated; what no site touches stays as it was, byte for byte.
"""

from batchnorm.rewrite.report import Report
from batchnorm.rewrite.rewriter import Rewritten, rewrite_source
from batchnorm.rewrite.run import rewrite
from batchnorm.rewrite.site import Site
from batchnorm.rewrite.written_as import rewrite_written

__all__ = ["Report", "Rewritten", "Site", "rewrite", "rewrite_source", "rewrite_written"]
