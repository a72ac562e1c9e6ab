"""What a layer is given, where the class is the target's and the numbers another framework's.

Momentum and epsilon are corrected, and what isn't written gets the original's default. Not here:
which calls make a layer (`written_as`, `indirect_layers`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from batchnorm.declaration import Parameter
from batchnorm.rewrite.call_arguments import given
from batchnorm.rewrite.job import Job
from batchnorm.rewrite.site import Left
from batchnorm.source.arguments import Arguments
from batchnorm.translate import Argument, Form, complement, forms
from batchnorm.translate.argument import parse
from batchnorm.translate.reading import default_of

__all__ = ["corrected", "defaults", "means_the_opposite"]

_MOMENTUM = ("weight_of_batch", "weight_of_running")
_WORDS = (_MOMENTUM, ("epsilon",))


def corrected(
    job: Job, call: ast.Call, name: str, *, skip: int = 0, fill: bool = True
) -> tuple[str, str]:
    """The call with the original's numbers said in the target's way, and what is still to be seen.

    Args:
        job: the file.
        call: it makes a layer, or says what one will be given.
        name: the layer's class.
        skip: how many arguments come before the layer's, as a partial's class.
        fill: whether what isn't written gets the original's default.

    Raises:
        Left: what is given can't be told.
    """
    found = given(job, call, skip)
    form = _form(job, name)
    if len(found.items) != len(set(found.items)):
        raise Left("a starred argument holds several: see to its numbers")
    own = [*list(form.parameters)[: len(found.positional)], *found.keywords]
    texts = dict(zip(own, (*found.positional, *found.keywords.values()), strict=False))
    items = dict(zip(own, found.items, strict=False))
    listed = Arguments(job.source.text(call), len(job.source.text(call.func)))
    opposite = means_the_opposite(job, name)
    ours = _parameter(form.parameters.values(), _MOMENTUM).name
    if opposite and ours in texts:
        value = parse(texts[ours])
        if value.literal and value.value is None:
            raise Left(f"{job.task.to.name} has no cumulative average (momentum = None)")
        keyword = f"{ours}=" if ours in found.keywords else ""
        listed.items[items[ours]].new = keyword + complement(value).text
    hides = f"**{found.hidden[0]} hides which arguments are given" if found.hidden else ""
    wanted = defaults(job, name) if fill and not hides else {}
    added = [f"{n}={argument.text}" for n, argument in wanted.items() if n not in texts]
    seen = hides and f"{hides}: see to its numbers"
    return job.source.text(call.func) + listed.written(added), seen


def means_the_opposite(job: Job, name: str) -> bool:
    """Whether momentum is the other weight in the original."""
    ours = _parameter(_form(job, name).parameters.values(), _MOMENTUM)
    return ours.meaning.word != _parameter(_theirs(job), _MOMENTUM).meaning.word


def defaults(job: Job, name: str) -> dict[str, Argument]:
    """What must be written since the class has another default: parameter and value."""
    found = {}
    for words in _WORDS:
        ours = _parameter(_form(job, name).parameters.values(), words)
        original = _parameter(_theirs(job), words)
        wanted = default_of(original)
        if ours.meaning.word != original.meaning.word:
            wanted = complement(wanted)
        if wanted.value != default_of(ours).value:
            found[ours.name] = wanted
    return found


def _form(job: Job, name: str) -> Form:
    known = forms(job.task.to)
    return known.get(name) or next(iter(known.values()))


def _theirs(job: Job) -> Iterable[Parameter]:
    return next(iter(forms(job.task.from_).values())).parameters.values()


def _parameter(parameters: Iterable[Parameter], words: tuple[str, ...]) -> Parameter:
    return next(p for p in parameters if p.meaning.word in words)
