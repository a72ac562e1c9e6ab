"""The report as one page of HTML, which needs nothing else: causes, the model as a picture, a plot.

The picture lists the layers in order, those with a cause in red, those that only follow in orange;
the plot shows how far each batch norm's output is off. Colours are never alone: each has a word.
"""

from __future__ import annotations

import math
from html import escape

from batchnorm.diagnose.report import WORDS, Report

__all__ = ["page"]

STYLE = (
    "font-family:system-ui,sans-serif;max-width:60em;line-height:1.45;color:#222;background:#fff;"
    "padding:1em"
)
HEADS = {
    "en": ("Diagnosis", "Causes", "The model, in order", "Difference by depth", "cause", "follows",
           "equal", "largest relative difference of the output"),
    "zh": ("诊断", "原因", "模型各层（按执行顺序）", "各层差异", "原因", "由此引起", "相同",
           "输出的最大相对差异"),
}  # fmt: skip
COLOURS = {"cause": "#c0392b", "follows": "#e08e0b", "equal": "#5b8c5a"}
LOWEST, WIDTH, HEIGHT = 1e-8, 640, 160


def page(report: Report, lang: str = "en") -> str:
    """The page; `lang` is "en" or "zh".

    >>> "<h2" in page(Report())
    True
    """
    title, causes, model, depth, *_ = HEADS[lang]
    source, port = (escape(name) for name in report.frameworks)
    parts = [
        f'<div lang="{lang}" style="{STYLE}"><h2>{title}: {source} → {port}</h2>',
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


def _is_tail(line: str, lang: str) -> bool:
    words = WORDS[lang]
    return line.startswith(
        tuple(words[k] for k in ("follows", "undecided", "note", "dropped", "ran"))
    )


def _causes(report: Report, lang: str) -> str:
    words, rows = WORDS[lang], []
    for number, finding in enumerate(report.findings, 1):
        names = ", ".join(escape(name or "·") for name in finding.layers)
        more = [f"{words['next']}: {escape(finding.runner_up)}"] if finding.runner_up else []
        fix = (
            f"<br><b>{words['fix']}: <code>{escape(finding.fix)}</code></b>" if finding.fix else ""
        )
        rows.append(
            f"<tr><td>{number}</td><td><code>{finding.cause}</code></td><td>{names}</td>"
            f"<td>{escape(finding.says(lang))}{''.join('<br>' + m for m in more)}{fix}</td></tr>"
        )
    style = "border-collapse:collapse;border-spacing:.6em"
    return f'<table style="{style}" border="1" cellpadding="6">{"".join(rows)}</table>'


def _kinds(report: Report) -> dict[str, str]:
    found = dict.fromkeys(report.follows, "follows")
    found.update({name: "cause" for f in report.findings for name in f.layers})
    return found


def _picture(report: Report, lang: str) -> str:
    kinds = _kinds(report)
    words = dict(zip(("cause", "follows", "equal"), HEADS[lang][4:7], strict=True))
    boxes = []
    for name, port, _ in report.pairs:
        kind = kinds.get(name, "equal")
        label = escape(name or "·")
        tip = f"{label} → {escape(port or '·')}: {words[kind]}"
        mark = "" if kind == "equal" else f" ▸ {words[kind]}"
        boxes.append(
            f'<span title="{tip}" style="display:inline-block;border:2px solid {COLOURS[kind]};'
            f'border-radius:4px;padding:1px 6px;margin:2px;font-size:.8em">{label}{mark}</span>'
        )
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
            f'height="{high + 1:.1f}" fill="{COLOURS[kinds.get(each.layer, "equal")]}">'
            f"<title>{escape(each.layer or '·')}: {shown}</title></rect>"
        )
    lines = []
    for power in range(0, int(span) + 1, 2):
        y = HEIGHT * power / span
        lines.append(
            f'<text x="0" y="{y + 9:.1f}" font-size="9">1e-{power}</text>'
            f'<line x1="38" x2="{WIDTH + 40}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        )
    return (
        f'<svg role="img" viewBox="0 -4 {WIDTH + 50} {HEIGHT + 14}" width="100%" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{HEADS[lang][7]}</title>'
        f"{''.join(lines)}{''.join(bars)}</svg><p>{HEADS[lang][7]}</p>"
    )
