"""What a diagnosis says: one cause and the layers that it holds for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batchnorm.diagnose.causes import CAUSES
from batchnorm.diagnose.chinese import said

__all__ = ["Finding", "Undecided", "grouped"]


@dataclass
class Finding:
    """One cause.

    Attributes:
        cause: a stable id, of those in `causes`.
        layers: the source's layers, in order of execution.
        port_layers: the port's, in the same order.
        evidence: numbers and words by name.
        runner_up: the next hypothesis and how far off it is, in units of the bound; "" for none.
        fix: what to write in the port, in its framework's words.
        place: where in the order of execution the first of its layers stands.
        phase: in which phase it was seen.
    """

    cause: str
    layers: list[str]
    port_layers: list[str]
    evidence: dict[str, Any] = field(default_factory=dict)
    runner_up: str = ""
    fix: str = ""
    place: int = 0
    phase: str = ""

    def says(self, lang: str = "en") -> str:
        """The cause in a sentence; `lang` is "en" or "zh"."""
        text = CAUSES[self.cause]
        template = text.zh if lang == "zh" else text.en
        return template + _numbers(self.evidence, lang)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "cause": self.cause,
            "layers": self.layers,
            "port_layers": self.port_layers,
            "phase": self.phase,
            "evidence": self.evidence,
            "runner_up": self.runner_up,
            "fix": self.fix,
            "says": {"en": self.says(), "zh": self.says("zh")},
        }


@dataclass(frozen=True)
class Undecided:
    """What can't be told, for which layers, and why."""

    what: str
    layers: tuple[str, ...]
    why: str

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"what": self.what, "layers": list(self.layers), "why": self.why}


def shown(value: Any) -> str:
    """A number as one writes it."""
    if isinstance(value, bool) or value is None:
        return str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _numbers(evidence: dict[str, Any], lang: str) -> str:
    parts = [f"{said(name, lang)} {said(shown(value), lang)}" for name, value in evidence.items()]
    if not parts:
        return ""
    return f"（{'，'.join(parts)}）" if lang == "zh" else f" ({', '.join(parts)})"


def grouped(findings: list[Finding]) -> list[Finding]:
    """Findings that say the same of several layers as one, in order of their first layer."""
    found: dict[Any, Finding] = {}
    for each in sorted(findings, key=lambda f: f.place):
        numbers = {k: _rounded(v) for k, v in each.evidence.items() if k not in VARYING}
        key = (each.cause, tuple(numbers.items()), each.fix)
        if key in found:
            first = found[key]
            new = [i for i, n in enumerate(each.layers) if n not in first.layers]
            first.layers += [each.layers[i] for i in new]
            first.port_layers += [each.port_layers[i] for i in new]
        else:
            found[key] = each
    return list(found.values())


VARYING = frozenset(
    {"measured", "distance", "largest difference", "places", "channels", "equals", "values"}
)


def _rounded(value: Any) -> Any:
    return float(f"{value:.2g}") if isinstance(value, float) else value
