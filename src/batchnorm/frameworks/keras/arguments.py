"""What the arguments mean that both Keras dialects take the same way.

Not here: how they are read and written (`initializers.py`, `regularizers.py`, `constraints.py`,
`policies.py`), and the arguments that only Keras 2 has in `**kwargs` (`tf_keras_options.py`).
"""

from __future__ import annotations

from typing import Annotated

from batchnorm.frameworks.keras.constraints import ConstraintLike
from batchnorm.frameworks.keras.initializers import KerasInitializerLike
from batchnorm.frameworks.keras.policies import PolicyLike
from batchnorm.frameworks.keras.regularizers import RegularizerLike
from batchnorm.vocabulary import Meaning

__all__ = [
    "BetaConstraint",
    "BetaInit",
    "BetaRegularizer",
    "DtypePolicy",
    "GammaConstraint",
    "GammaInit",
    "GammaRegularizer",
    "MeanInit",
    "VarInit",
]

BetaInit = Annotated[KerasInitializerLike, Meaning("init", "beta")]
GammaInit = Annotated[KerasInitializerLike, Meaning("init", "gamma")]
MeanInit = Annotated[KerasInitializerLike, Meaning("init", "running_mean")]
VarInit = Annotated[KerasInitializerLike, Meaning("init", "running_var")]
BetaRegularizer = Annotated[RegularizerLike, Meaning("regularizer", "beta")]
GammaRegularizer = Annotated[RegularizerLike, Meaning("regularizer", "gamma")]
BetaConstraint = Annotated[ConstraintLike, Meaning("constraint", "beta")]
GammaConstraint = Annotated[ConstraintLike, Meaning("constraint", "gamma")]
DtypePolicy = Annotated[PolicyLike, Meaning("dtype_policy")]
