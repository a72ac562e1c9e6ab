"""One framework's batch-norm call in another's words, with proof: `translate`.

A call is read into canonical arguments by the meanings that the source declares, and written from
them by those that the target declares; what the written call doesn't say is a `Difference`, and a
`Proof` runs both sides. `make_plan` alone serves a source rewriter.
"""

from batchnorm.translate.argument import Argument, complement
from batchnorm.translate.difference import Difference
from batchnorm.translate.form import Form, forms
from batchnorm.translate.plan import Plan, Side, make_plan
from batchnorm.translate.proof import Proof, Row, prove
from batchnorm.translate.state import StateName, carry
from batchnorm.translate.translation import Translation, translate

__all__ = [
    "Argument",
    "Difference",
    "Form",
    "Plan",
    "Proof",
    "Row",
    "Side",
    "StateName",
    "Translation",
    "carry",
    "complement",
    "forms",
    "make_plan",
    "prove",
    "translate",
]
