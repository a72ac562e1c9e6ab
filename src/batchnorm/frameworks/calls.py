"""How calls of a framework's layers are written, and what is done by hand where none says it.

Data of a record, with defaults for a framework that has nothing of its own to say. Not here: what
a parameter means (the declaration's annotations), and whether a difference exists (`translate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Calls"]


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What writing, reading and explaining a call need beyond the declaration.

    Attributes:
        prefixes: first words of a dotted path that say the framework; `nn` says none.
        bare: whether a call whose prefix says no framework may be one of its.
        lazy: whether each class has one called Lazy… that finds its number of channels by itself.
        synchronized: SyncBatchNorm's parameter for the processes, and the one that it stands
            behind; empty where there is no such class.
        mode: in which mode a layer starts, and how that is changed.
        mode_method: the layer's method that sets the mode; empty where each call says it.
        momentum_by_hand: what comes before the advice to recompute statistics, where momentum=None
            can't be said.
        freeze: what keeps a parameter from training.
        fill: initializer -> the statement that fills a parameter after construction.
        channels_last: where else than by permuting channels can come last, for rank 4.
        biased: what makes the running variance biased.
        synchronized_limits: where synchronized=True doesn't work, and what to do.
        converts: whether it converts literals that aren't of the parameter's type.
        many_axes: whether an axis may be a list of several.
        numpy_integers: whether NumPy's integers are taken for a number of channels.
        dtypes: the parameters' types with which a layer runs; empty for any.
        wide_parameters: whether layers of 16 bits have parameters in float32.
        checks_when_called: whether some arguments are refused at the first call only.
        statistics_first: whether a net saves the running statistics before scale and offset.
        gradient_flags: whether running statistics can be asked to require a gradient.
        variable: how a file calls an entry of a layer; with `/` for a bare layer too.
    """

    prefixes: tuple[str, ...] = ()
    bare: bool = True
    lazy: bool = False
    synchronized: tuple[str, str] | tuple[()] = ()
    mode: tuple[str, str] = ("has modes of its own", "set the mode as that framework wants it")
    mode_method: str = ""
    momentum_by_hand: str = ""
    freeze: str = "keep {role} out of the optimizer's variables"
    fill: Mapping[str, str] = field(default_factory=dict, hash=False)
    channels_last: str = ""
    biased: str = ""
    synchronized_limits: tuple[str, str] | tuple[()] = ()
    converts: bool = False
    many_axes: bool = True
    numpy_integers: bool = True
    dtypes: tuple[str, ...] = ()
    wide_parameters: bool = False
    checks_when_called: bool = False
    statistics_first: bool = False
    gradient_flags: bool = False
    variable: str = "{layer}.{name}"
