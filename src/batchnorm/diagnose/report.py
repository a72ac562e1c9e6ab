"""A diagnosis as one reads it: causes first, what follows from them, what can't be told.

Not here: how it is found (`comparison.py`), and the page (`page.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from batchnorm.diagnose.chinese import said
from batchnorm.diagnose.finding import Finding, Undecided

__all__ = ["WORDS", "Depth", "Report"]

VERSION = 1
WIDTH = 3  # layers that a line names before it counts them


@dataclass(frozen=True)
class Depth:
    """How far a batch norm's output is off, relative to its largest value.

    Attributes:
        layer: the source's name.
        difference: the largest over all phases.
        place: in the order of execution.
    """

    layer: str
    difference: float
    place: int


@dataclass
class Report:
    """What makes a port differ from its source.

    Attributes:
        findings: first cause first.
        follows: layers whose outputs differ, as follows from a finding.
        undecided: what can't be told, and why.
        notes: differences that the frameworks' own rules predict.
        depth: how far each batch norm's output is off.
        pairs: names in the source and the port, and by what they were paired.
        frameworks: of the source and the port.
        phases: what was run.
        dropped: what the recordings left out.
    """

    findings: list[Finding] = field(default_factory=list)
    follows: list[str] = field(default_factory=list)
    undecided: list[Undecided] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    depth: list[Depth] = field(default_factory=list)
    pairs: list[tuple[str, str, str]] = field(default_factory=list)
    frameworks: tuple[str, str] = ("", "")
    phases: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 where nothing differs beyond the stated bounds, else 1."""
        return int(bool(self.findings))

    @property
    def causes(self) -> list[str]:
        """The findings' causes."""
        return [finding.cause for finding in self.findings]

    def text(self, lang: str = "en") -> str:
        """The report in words; `lang` is "en" or "zh"."""
        words = WORDS["zh" if lang == "zh" else "en"]
        why = Counter(w for _, _, w in self.pairs)
        aligned = ", ".join(f"{n} {words['by']} {words.get(w, w)}" for w, n in why.items())
        count = len(self.findings)
        head = words["equal"] if not count else words["differs"].format(n=count)
        lines = [f"{head}; {words['paired']} {aligned}" if aligned else head]
        for number, finding in enumerate(self.findings, 1):
            lines.append(f"{number:3}  {finding.cause:<24} {_layers(finding.layers, words)}")
            lines.append(f"     {finding.says(lang)}")
            if finding.runner_up:
                lines.append(f"     {words['next']}: {finding.runner_up}")
            if finding.fix:
                lines.append(f"     {words['fix']}: {said(finding.fix, lang)}")
        if self.follows:
            lines.append(f"{words['follows']}: {_layers(self.follows, words)}")
        for each in self.undecided:
            layers = _layers(list(each.layers), words)
            what, reason = said(each.what, lang), said(each.why, lang)
            lines.append(f"{words['undecided']}: {what} ({layers}): {reason}")
        lines += [f"{words['note']}: {note}" for note in self.notes]
        lines += [f"{words['dropped']}: {text}" for text in self.dropped]
        lines.append(f"{words['ran']}: {', '.join(self.phases)}; {words['noise']}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "version": VERSION,
            "frameworks": list(self.frameworks),
            "findings": [finding.as_json() for finding in self.findings],
            "follows": self.follows,
            "undecided": [each.as_json() for each in self.undecided],
            "notes": self.notes,
            "depth": [
                {"layer": d.layer, "difference": d.difference if d.difference < 1e300 else None}
                for d in self.depth
            ],
            "pairs": [{"source": s, "port": p, "by": w} for s, p, w in self.pairs],
            "phases": self.phases,
            "dropped": self.dropped,
        }

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(self.as_json(), ensure_ascii=False, allow_nan=False)

    def _repr_html_(self) -> str:
        from batchnorm.diagnose.page import page

        return page(self)


WORDS = {
    "en": {
        "equal": "no difference beyond the stated bounds",
        "differs": "port differs from source in {n} cause(s)",
        "paired": "layers paired:",
        "by": "by",
        "all": "all {n}",
        "more": "and {n} more",
        "next": "next",
        "fix": "write",
        "follows": "follows from these",
        "undecided": "can't tell",
        "note": "as the frameworks' rules predict",
        "dropped": "left out",
        "ran": "ran",
        "noise": "dropout was off",
    },
    "zh": {
        "equal": "在给定误差界内没有差异",
        "differs": "移植模型与源模型有 {n} 处不同原因",
        "paired": "层的对应：",
        "by": "按",
        "name": "名称",
        "order": "顺序",
        "input": "输入",
        "values": "数值",
        "map": "映射",
        "all": "全部 {n} 层",
        "more": "以及另外 {n} 层",
        "next": "次优假设",
        "fix": "应写为",
        "follows": "由此引起",
        "undecided": "无法判断",
        "note": "框架规则本身的差异",
        "dropped": "未记录",
        "ran": "已运行",
        "noise": "dropout 已关闭",
    },
}


def _layers(names: list[str], words: dict[str, str]) -> str:
    shown = [name or "the layer" for name in names[:WIDTH]]
    more = len(names) - len(shown)
    text = ", ".join(shown)
    return f"{text} {words['more'].format(n=more)}" if more > 0 else text
