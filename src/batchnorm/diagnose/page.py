"""The report as one page of HTML, which needs nothing else: causes, the model as a picture, a plot.

The picture lists the layers in order, those with a cause in red, batch norms that only follow in
orange and equal ones in green; the plot shows how far each batch norm's output is off. Colours are
never alone: each has a word.
"""

from __future__ import annotations

import math
import re
from html import escape

from batchnorm.diagnose.chinese import said
from batchnorm.diagnose.report import WORDS, Report

__all__ = ["document", "page"]

STYLE = """
.bn-diagnosis{--ink:#222;--paper:#fff;--line:#bbb;--faint:#ddd;--cause:#b03426;--follows:#b26a00;
--equal:#4b7a4a;font-family:system-ui,sans-serif;max-width:60em;line-height:1.45;color:var(--ink);
background:var(--paper);padding:1em;overflow-wrap:break-word}
@media (prefers-color-scheme:dark){.bn-diagnosis{--ink:#ddd;--paper:#181818;--line:#555;
--faint:#333;--cause:#ff8a7a;--follows:#f0b050;--equal:#8fc98d}}
.bn-diagnosis table{border-collapse:collapse;width:100%;color:inherit;background:none}
.bn-diagnosis td{border:1px solid var(--line);padding:.4em;text-align:left;vertical-align:top;
background:none;white-space:normal}
.bn-diagnosis td:first-child{width:1.5em}
.bn-diagnosis code{color:inherit;background:none;font-size:.9em}
.bn-diagnosis .layer{display:inline-block;border:2px solid;border-radius:4px;padding:1px 6px;
margin:2px;font-size:.8em}
.bn-diagnosis .cause{border-color:var(--cause);fill:var(--cause)}
.bn-diagnosis .follows{border-color:var(--follows);fill:var(--follows)}
.bn-diagnosis .equal{border-color:var(--equal);fill:var(--equal)}
.bn-diagnosis .other{border-color:var(--line)}
.bn-diagnosis svg text{fill:var(--ink)}
.bn-diagnosis .plot{overflow-x:auto}
.bn-diagnosis svg{min-width:32em}
.bn-diagnosis svg line{stroke:var(--faint)}
@media (max-width:40em){.bn-diagnosis td{display:block;border:0;padding:.1em .4em;width:auto}
.bn-diagnosis tr{display:block;border-top:1px solid var(--line);padding:.4em 0}}
"""
HEADS = {
    "en": ("Diagnosis", "Causes", "The model, in order", "Difference by depth", "cause", "follows",
           "equal", "largest relative difference of the output"),
    "zh": ("诊断", "原因", "模型各层（按执行顺序）", "各层差异", "原因", "由此引起", "相同",
           "输出的最大相对差异"),
}  # fmt: skip
CODE = re.compile(r"[\w.]+[=(]")  # with which a fix that is code begins
LOWEST, WIDTH, HEIGHT = 1e-8, 640, 160


def page(report: Report, lang: str = "en") -> str:
    """The page; `lang` is "en" or "zh".

    >>> "<h2" in page(Report())
    True
    """
    title, causes, model, depth, *_ = HEADS[lang]
    source, port = (escape(name) for name in report.frameworks)
    parts = [
        f'<div lang="{lang}" class="bn-diagnosis"><style>{STYLE}</style>',
        f"<h2>{title}: {source} → {port}</h2>",
        f"<p><b>{escape(report.text(lang).splitlines()[0])}</b></p>",
    ]
    if report.findings:
        parts += [f"<h3>{causes}</h3>", _causes(report, lang)]
    tail = [line for line in report.text(lang).splitlines() if _is_tail(line, lang)]
    parts += [f"<p>{escape(line)}</p>" for line in tail]
    if report.depth:
        parts += [f"<h3>{model}</h3>", _picture(report, lang)]
        parts += [f"<h3>{depth}</h3>", _plot(report, lang)]
    return "".join([*parts, "</div>"])


def document(report: Report, lang: str = "en") -> str:
    """The page as a file of its own.

    >>> document(Report()).startswith("<!doctype html>")
    True
    """
    title = f"{HEADS[lang][0]}: {' → '.join(map(escape, report.frameworks))}"
    return (
        f'<!doctype html><html lang="{lang}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><body>{page(report, lang)}</body></html>"
    )


def _is_tail(line: str, lang: str) -> bool:
    words = WORDS[lang]
    return line.startswith(
        tuple(words[k] for k in ("follows", "undecided", "note", "dropped", "ran"))
    )


def _causes(report: Report, lang: str) -> str:
    words, rows = WORDS[lang], []
    for number, finding in enumerate(report.findings, 1):
        names = ", ".join(escape(name or "·") for name in finding.layers)
        more = (
            [f"{words['next']}: {escape(said(finding.runner_up, lang))}"]
            if finding.runner_up
            else []
        )
        fix = escape(said(finding.fix, lang))
        if CODE.match(finding.fix):
            fix = f"<code>{fix}</code>"
        fix = f"<br><b>{words['fix']}: {fix}</b>" if fix else ""
        rows.append(
            f"<tr><td>{number}</td><td><code>{finding.cause}</code></td><td>{names}</td>"
            f"<td>{escape(finding.says(lang))}{''.join('<br>' + m for m in more)}{fix}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _kinds(report: Report) -> dict[str, str]:
    found = dict.fromkeys(report.follows, "follows")
    found.update({name: "cause" for f in report.findings for name in f.layers})
    return found


def _picture(report: Report, lang: str) -> str:
    kinds = dict.fromkeys([each.layer for each in report.depth], "equal") | _kinds(report)
    words = dict(zip(("cause", "follows", "equal"), HEADS[lang][4:7], strict=True))
    boxes = []
    for name, port, _ in report.pairs:
        kind = kinds.get(name, "other")  # of what feeds a batch norm only its own faults are known
        label = escape(name or "·")
        tip = f"{label} → {escape(port or '·')}" + (f": {words[kind]}" if kind in words else "")
        mark = f" ▸ {words[kind]}" if kind in ("cause", "follows") else ""
        boxes.append(f'<span title="{tip}" class="layer {kind}">{label}{mark}</span>')
    return f"<p>{' → '.join(boxes)}</p>"


def _plot(report: Report, lang: str) -> str:
    kinds = _kinds(report)
    wide = WIDTH / max(len(report.depth), 1)
    span = -math.log10(LOWEST)
    bars = []
    for index, each in enumerate(report.depth):
        size = min(max(each.difference, LOWEST), 1.0)
        high = HEIGHT * (math.log10(size) + span) / span
        shown = "∞" if math.isinf(each.difference) else f"{each.difference:.2g}"
        bars.append(
            f'<rect x="{40 + index * wide:.1f}" y="{HEIGHT - high:.1f}" width="{wide * 0.8:.1f}" '
            f'height="{high + 1:.1f}" class="{kinds.get(each.layer, "equal")}">'
            f"<title>{escape(each.layer or '·')}: {shown}</title></rect>"
        )
    lines = []
    for power in range(0, int(span) + 1, 2):
        y = HEIGHT * power / span
        lines.append(
            f'<text x="0" y="{y + 11:.1f}" font-size="13">{f"1e-{power}" if power else "1"}</text>'
            f'<line x1="38" x2="{WIDTH + 40}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    return (
        f'<div class="plot"><svg role="img" viewBox="0 -4 {WIDTH + 50} {HEIGHT + 20}" width="100%" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{HEADS[lang][7]}</title>'
        f"{''.join(lines)}{''.join(bars)}</svg></div><p>{HEADS[lang][7]}</p>"
    )
