"""Source rewritten from one framework's batch norms to another's: `rewrite_source`.

A file is parsed and never evaluated; what no site touches stays as it was, byte for byte.
"""

from batchnorm.rewrite.rewriter import Rewritten, rewrite_source
from batchnorm.rewrite.site import Site
from batchnorm.rewrite.written import rewrite_written

__all__ = ["Rewritten", "Site", "rewrite_source", "rewrite_written"]
