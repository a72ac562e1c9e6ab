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
SCREEN, COLUMNS = 24, 100  # of a terminal
TAIL = 7  # rows of it that what can't be told and notes take


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
        head, causes, tail = self._parts(lang)
        return "\n".join([head, *(line for cause in causes for line in cause), *tail])

    def _parts(self, lang: str) -> tuple[str, list[list[str]], list[str]]:
        """The first line, the lines of each cause, and what comes after them."""
        words = WORDS["zh" if lang == "zh" else "en"]
        why = Counter(w for _, _, w in self.pairs)
        aligned = ", ".join(words["by"].format(n=n, why=words.get(w, w)) for w, n in why.items())
        count = len(self.findings)
        head = words["equal"] if not count else words["differs"].format(n=count)
        head = f"{head}{words['paired']}{aligned}" if aligned else head
        causes = []
        for number, finding in enumerate(self.findings, 1):
            lines = [f"{number:3}  {finding.cause:<24} {_layers(finding.layers, words)}",
                     f"     {finding.says(lang)}"]  # fmt: skip
            if finding.runner_up:
                lines.append(f"     {words['next']}: {said(finding.runner_up, lang)}")
            if finding.fix:
                lines.append(f"     {words['fix']}: {said(finding.fix, lang)}")
            causes.append(lines)
        tail = []
        if self.follows:
            tail.append(f"{words['follows']}: {_layers(self.follows, words)}")
        for each in self.undecided:
            layers = f" ({_layers(list(each.layers), words)})" if each.layers else ""
            what, reason = said(each.what, lang), said(each.why, lang)
            tail.append(f"{words['undecided']}: {what}{layers}: {reason}")
        tail += [f"{words['note']}: {said(note, lang)}" for note in self.notes]
        tail += [f"{words['dropped']}: {said(text, lang)}" for text in self.dropped]
        phases = ", ".join(said(phase, lang) for phase in self.phases)
        return head, causes, [*tail, f"{words['ran']}: {phases}; {words['noise']}"]

    def screen(self, lang: str = "en", more: str = "print(report.text())") -> str:
        """What fits on a screen: the first causes, how many more there are, and how to see them."""
        words = WORDS["zh" if lang == "zh" else "en"]
        head, causes, (*tail, last) = self._parts(lang)
        fitting = _fitting([[line] for line in tail], TAIL)
        left = len(tail) - len(fitting)
        ending = [line for lines in fitting for line in lines]
        ending += [words["lines left"].format(n=left, more=more)] if left else []
        shown = _fitting(causes, SCREEN - sum(map(_rows, [head, *ending, last])) - 1)
        left = len(causes) - len(shown)
        first = [line for lines in shown for line in lines]
        first += [words["causes left"].format(n=left, more=more)] if left else []
        return "\n".join([head, *first, *ending, last])

    def __repr__(self) -> str:
        return self.screen()

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
        "paired": "; layers paired: ",
        "by": "{n} by {why}",
        "all": "all {n}",
        "more": "and {n} more",
        "next": "next",
        "fix": "write",
        "follows": "follows from these",
        "undecided": "can't tell",
        "note": "as the frameworks' rules predict",
        "dropped": "left out",
        "ran": "ran",
        "noise": "dropout and drop-path were off",
        "causes left": "… {n} more cause(s): {more}",
        "lines left": "… {n} more line(s): {more}",
    },
    "zh": {
        "equal": "在给定误差界内没有差异",
        "differs": "移植模型与源模型有 {n} 处不同原因",
        "paired": "；层的对应：",
        "by": "按{why} {n} 层",
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
        "noise": "dropout 与 drop-path 已关闭",
        "causes left": "…… 还有 {n} 个原因：{more}",
        "lines left": "…… 还有 {n} 行：{more}",
    },
}


def _rows(line: str) -> int:
    """Of a terminal; what isn't Latin is twice as wide."""
    return -(-sum(1 + (letter > "\u2e7f") for letter in line) // COLUMNS)


def _fitting(parts: list[list[str]], rows: int) -> list[list[str]]:
    """As many of the first parts as fit."""
    total = 0
    for index, lines in enumerate(parts):
        total += sum(map(_rows, lines))
        if total > rows:
            return parts[:index]
    return parts


def _layers(names: list[str], words: dict[str, str]) -> str:
    shown = [name or "the layer" for name in names[:WIDTH]]
    more = len(names) - len(shown)
    text = ", ".join(shown)
    return f"{text} {words['more'].format(n=more)}" if more > 0 else text
